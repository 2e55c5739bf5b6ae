"""How often the shortcut audit's verdict is right: 100 confounded cohorts and 100 that are not, on real chest X-rays.

    python -m benchmarks.tuning.bench_alarm [--side test] [--data ../shared/data/cxr] [--cache DIR] [--out FILE]

A cohort is drawn afresh for every seed: patients into splits, a SIMULATED artefact onto images, values into recorded columns,
a probe on frozen features (builtin:vits14, 112 px) without any repair, then the product's own audit (training.audits).

Confounded: an artefact goes with the label (80 to 98 % concordance), one column records it, and the model uses it. Not
confounded: an artefact that goes with the label and is not used; one that goes with nothing; a column that goes with the label
but cannot be seen; one of each; neither. Whether a model uses an artefact is known because it is simulated: harm is its AUROC on
the test images minus that on the same images with every artefact swapped, which no audit can see. Used is 0.03 and more, not used
less than 0.01; cohorts between are drawn, listed and not counted. Every cohort has besides a column of the real hospital
(visible, tied to nothing) and columns of chance. `--side dev` draws seeds below 1,000, on which the rule was fixed, and leaves
out the artefacts `noise` and `jpeg`, which only test cohorts have. An alarm is `suspicious` or `shortcut`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.tuning import confounded
from training import probe
from training.audits.crossfit import principal
from training.audits.reliance import Judged, Reliance, reliance
from training.audits.verdict import judge, read_rule

RESULT = Path(__file__).parents[1] / "results" / "alarm.json"
CLEAN_KINDS = ("visible, tied to nothing", "tied, not visible", "one of each", "neither")
CONFOUNDED, NOT_USED, BETWEEN = "confounded", "tied, visible, not used", "between"
USED, UNUSED = 0.03, 0.01
"""Harm from which an artefact is used, and below which it is not."""
UNSEEN = ("noise", "jpeg")
EACH = 100
"""Cohorts of either sort."""
STRENGTH = 0.01
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """What one cohort was, and what the audit said of it."""

    seed: int
    kind: str
    artefact: str
    concordance: float
    column: str
    auroc: float
    harm: float
    level: str
    sentence: str
    figures: tuple[Reliance, ...]

    @property
    def is_confounded(self) -> bool:
        """Whether the label goes with what the model uses."""
        return self.kind == CONFOUNDED


def main() -> None:
    """Draws the cohorts, counts the verdicts, writes the result of the test side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=("dev", "test"), default="test")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cxr"))
    parser.add_argument("--cache", type=Path, default=Path("build/confounded"))
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    source = confounded.read_source(asked.data)
    variants = {
        name: confounded.features_of(source, asked.cache, name, change)
        for name, change in confounded.ARTEFACTS.items()
        if asked.side == "test" or name not in UNSEEN
    }
    began, cpu = time.perf_counter(), time.process_time()
    first = 0 if asked.side == "dev" else 1000
    found = draw_all(source, variants, first)
    result = summary(found, source.is_real, asked.side)
    result |= {
        "seconds": round(time.perf_counter() - began),
        "cpu_seconds": round(time.process_time() - cpu),
        "machine": f"{os.cpu_count()} shared cores, load {os.getloadavg()[0]:.1f}",
    }
    kept = ("seed", "kind", "artefact", "concordance", "column", "auroc", "harm", "level", "figures")
    if asked.side == "test":
        kept = kept[:-1]
    cohorts = [{k: v for k, v in asdict(d).items() if k in kept} for d in found]
    asked.out.write_text(json.dumps({**result, "cohorts": cohorts}, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def draw_all(
    source: confounded.Source, variants: Mapping[str, NDArray[np.float32]], first: int
) -> list[Drawn]:
    """Cohorts by rising seed, every other one with a tied artefact, until there are EACH of both sorts and no more of one."""
    found: list[Drawn] = []
    count = {True: 0, False: 0}
    seed = first
    while min(count.values()) < EACH:
        one = one_cohort(source, variants, seed, seed % 2 == 0)
        seed += 1
        if one.kind == BETWEEN:
            found.append(one)
        elif count[one.is_confounded] < EACH:
            found.append(one)
            count[one.is_confounded] += 1
    return found


def one_cohort(
    source: confounded.Source, variants: Mapping[str, NDArray[np.float32]], seed: int, is_tied: bool
) -> Drawn:
    """The cohort of a seed."""
    rng = np.random.default_rng([seed, 2])
    kind = CONFOUNDED if is_tied else CLEAN_KINDS[seed // 2 % 4]
    artefact = str(rng.choice([name for name in variants if name != "clean"]))
    concordance = float(rng.uniform(0.8, 0.98))
    tied = confounded.draw_cohort(source, concordance, seed)
    free = confounded.draw_cohort(source, 0.5, seed)
    shown = {CONFOUNDED: tied.site, "visible, tied to nothing": free.site, "one of each": free.site}.get(kind)
    column = str(rng.choice(["site", "manufacturer", "view"]))
    columns = _columns(source, rng, column)
    if kind in (CONFOUNDED, "tied, not visible"):
        columns[column] = tied.site.astype(str)
    elif kind == "visible, tied to nothing":
        columns[column] = free.site.astype(str)
    elif kind == "one of each":
        columns |= {column: free.site.astype(str), "station_software": tied.site.astype(str)}
    seen = np.zeros(len(source.label), np.int64) if shown is None else shown
    score, swapped, features = _scores(source, variants["clean"], variants[artefact], seen, tied.split)
    test = tied.split == "test"
    auroc = float(roc_auc_score(source.label[test], score[test]))
    harm = 0.0 if shown is None else auroc - float(roc_auc_score(source.label[test], swapped[test]))
    if is_tied:
        kind = CONFOUNDED if harm >= USED else NOT_USED if harm < UNUSED else BETWEEN
    judged = Judged(source.label.astype(np.float64), score, tied.split, source.patient)
    shown_to_probe = principal(features, seed)
    figures = [
        r
        for name, values in columns.items()
        if not isinstance(r := reliance(name, values, judged, shown_to_probe, seed), str)
    ]
    word = judge(confounded.LABEL, figures, [], read_rule())
    return Drawn(
        seed, kind, artefact, concordance, column, auroc, harm, word.level, word.sentence, tuple(figures)
    )


def _columns(source: confounded.Source, rng: np.random.Generator, but: str) -> dict[str, NDArray[np.str_]]:
    """Columns that go with nothing: the real hospital, sex and age band by chance, and the other names by chance."""
    n = len(source.label)
    chance = {
        name: rng.choice(["a", "b", "c"], size=n) for name in ("site", "manufacturer", "view") if name != but
    }
    sex, age = rng.choice(["F", "M"], size=n), rng.choice(["0-17", "18-39", "40-64", "65+"], size=n)
    return {"model": source.stratum, "sex": sex, "age_band": age, **chance}


def _scores(
    source: confounded.Source,
    clean: NDArray[np.float32],
    changed: NDArray[np.float32],
    shown: NDArray[np.int64],
    split: NDArray[np.str_],
) -> tuple[Floats, Floats, NDArray[np.float32]]:
    """Logits of a probe fitted on the train split, without any repair: on the images as drawn, and with the artefact swapped."""
    features = np.where(shown[:, None] == 1, changed, clean)
    opposite = np.where(shown[:, None] == 1, clean, changed)
    train = split == "train"
    head = probe.fit_head(features[train], source.label[train, None].astype(np.float64), STRENGTH)
    return head.logits(features)[:, 0], head.logits(opposite)[:, 0], features


def summary(found: list[Drawn], is_real: bool, side: str) -> dict[str, Any]:
    """Sensitivity and specificity of `suspicious or shortcut`, with exact intervals, and by kind, artefact and harm."""
    positive = [d for d in found if d.is_confounded]
    negative = [d for d in found if not d.is_confounded and d.kind != BETWEEN]
    tied = [d for d in found if d.kind in (CONFOUNDED, NOT_USED, BETWEEN)]
    return {
        "command": f"python -m benchmarks.tuning.bench_alarm --side {side}",
        "images": "real chest X-rays of two hospitals (../shared/data/cxr)" if is_real else "synthetic",
        "artefacts": "simulated",
        "rule": asdict(read_rule()),
        "seeds": [found[0].seed, found[-1].seed],
        "sensitivity": _rate(positive, "alarm"),
        "specificity": _rate(negative, "quiet"),
        "alarm_wherever_an_artefact_is_tied_used_or_not": _rate(tied, "alarm"),
        "between_not_counted": _rate([d for d in found if d.kind == BETWEEN], "alarm"),
        "called_shortcut_among_confounded": _rate(positive, "shortcut"),
        "by_artefact": {
            a: _rate([d for d in positive if d.artefact == a], "alarm")
            for a in sorted({d.artefact for d in positive})
        },
        "by_kind": {
            k: _rate([d for d in negative if d.kind == k], "quiet") for k in (NOT_USED, *CLEAN_KINDS)
        },
        "median_harm": {
            "confounded": round(float(np.median([d.harm for d in positive])), 3),
            "not": round(float(np.median([d.harm for d in negative])), 3),
        },
    }


def _rate(cohorts: list[Drawn], what: str) -> dict[str, Any]:
    """Share, its exact 95 % interval (Clopper-Pearson 1934), and the counts."""
    from scipy.stats import binomtest

    right = {
        "alarm": lambda d: d.level != "ok",
        "quiet": lambda d: d.level == "ok",
        "shortcut": lambda d: d.level == "shortcut",
    }
    k, n = sum(right[what](d) for d in cohorts), len(cohorts)
    if not n:
        return {"n": 0}
    limits = binomtest(k, n).proportion_ci()
    return {
        "share": round(k / n, 3),
        "low": round(float(limits.low), 3),
        "high": round(float(limits.high), 3),
        "k": k,
        "n": n,
    }


if __name__ == "__main__":
    main()
