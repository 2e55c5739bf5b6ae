"""Real chest X-rays, one hospital left out: what makes a head that was fitted at one hospital hold at another.

    python -m benchmarks.tuning.bench_unseen DATA [--home DIR] [--seeds 1,2,3,4,5]

DATA holds metadata.csv and JPEGs (benchmarks/tuning/cxr.py walks the whole road with them, and tells where tuning fails). Here
frozen features are made once (builtin:vits14, 112 px), straight from the JPEGs through curation.tile, and heads are fitted at
one hospital and judged at the other. A seed draws which of its patients teach (80 %) and which tune (20 %).

    untuned             nearest class mean, tiles as they are
    tuned               the probe, strength by the tune split, tiles as they are
    untuned, harmonised nearest class mean, tiles harmonised
    tuned, harmonised   the probe on harmonised tiles
    tuned, all tools    besides: directions of the features that tell sharpness and exposure projected out; the hospital's films in
                        thirds by sharpness, which count as sites: weights site_x_label, and the strength that does best on the
                        third left out

Which harmonisation is taken is decided at the hospital that teaches: that under which sharpness and exposure alone tell the label
least. `tuned, all tools` against `untuned` is the figure, said before it was looked at. The third collection (hannover) holds one
class and is judged by sensitivity alone. Writes benchmarks/results/unseen.json and unseen.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from curation.tile import letterbox
from training import batches, metrics, probe

RESULTS = Path(__file__).parents[1] / "results"
SIZE, SOFT = 112, 56
SITES = ("nih", "guangzhou")
ARMS = ("untuned", "tuned", "untuned, harmonised", "tuned, harmonised", "tuned, all tools")
Grey = np.ndarray


@dataclass(frozen=True)
class Films:
    """N films: who, where, what, and for each harmonisation features [N, F] and measures of the acquisition [N, M]."""

    site: np.ndarray
    patient: np.ndarray
    y: np.ndarray
    features: Mapping[str, np.ndarray]
    measures: Mapping[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--home", type=Path, default=Path("unseen-home"))
    parser.add_argument(
        "--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[1, 2, 3, 4, 5]
    )
    asked = parser.parse_args()
    films = read_films(asked.data, asked.home)
    write(asked.seeds, {site: left_out(films, site, asked.seeds) for site in SITES})


# ---- films -----------------------------------------------------------------------------------------------------------


def as_they_are(grey: Grey) -> Grey:
    return letterbox(grey, SIZE)[0]


def equalised(grey: Grey) -> Grey:
    """The middle square, every grey level as frequent as any other."""
    return letterbox(_ranked(_square(grey)), SIZE)[0]


def equalised_soft(grey: Grey) -> Grey:
    """Besides, no detail finer than SOFT pixels a side: as sharp as the least sharp."""
    small = letterbox(_ranked(_square(grey)), SOFT)[0].astype(np.float64)
    return letterbox(small, SIZE)[0]


HARMONISATIONS: Mapping[str, Callable[[Grey], Grey]] = {
    "as they are": as_they_are,
    "equalised": equalised,
    "equalised, soft": equalised_soft,
}


def _square(grey: Grey) -> Grey:
    side = min(grey.shape)
    top, left = ((n - side) // 2 for n in grey.shape)
    return grey[top : top + side, left : left + side]


def _ranked(grey: Grey) -> Grey:
    _, place, count = np.unique(grey.ravel(), return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - count / 2) / grey.size
    return (255 * rank / rank[-1])[place].reshape(grey.shape)


def measures(tiles: Grey) -> Grey:
    """[N, 7] of exposure and sharpness: mean, deviation, two of the Laplacian, black share, two percentiles."""
    x = tiles.astype(np.float64)
    edges = np.stack([ndimage.laplace(t) for t in x])
    columns = [x.mean((1, 2)), x.std((1, 2)), np.abs(edges).mean((1, 2)), np.log(edges.var((1, 2)) + 1)]
    columns += [(x == 0).mean((1, 2)), *(np.percentile(x, q, axis=(1, 2)) for q in (5, 95))]
    return np.stack(columns, 1)


def read_films(data: Path, home: Path) -> Films:
    """Features are kept in `home`, so that a second run is quick."""
    rows = [
        r
        for r in csv.DictReader((data / "metadata.csv").open())
        if r["label"] in ("normal", "pneumonia")
    ]  # fmt: skip
    kept = home / "features.npz"
    if not kept.is_file():
        home.mkdir(parents=True, exist_ok=True)
        grey = [np.asarray(Image.open(data.parent / r["path"]).convert("L")).astype(np.float64) for r in rows]
        found = {}
        for name, harmonise in HARMONISATIONS.items():
            tiles = np.stack([harmonise(g) for g in grey])
            found[f"features {name}"], found[f"measures {name}"] = embed(tiles), measures(tiles)
        np.savez(kept, **found)
    with np.load(kept) as found:
        _, patient = np.unique([r["patient_id"] for r in rows], return_inverse=True)
        return Films(
            np.array([r["site"] for r in rows]),
            patient,
            np.array([float(r["label"] == "pneumonia") for r in rows]),
            {name: found[f"features {name}"] for name in HARMONISATIONS},
            {name: found[f"measures {name}"] for name in HARMONISATIONS},
        )


def embed(tiles: Grey) -> Grey:
    """[N, 2D] frozen features."""
    import torch

    from training.backbone import load_backbone
    from training.cache import pool

    torch.set_num_threads(1)
    backbone = load_backbone("builtin:vits14", SIZE)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(tiles), 16):
            images = backbone.preprocess(torch.from_numpy(tiles[start : start + 16]))
            parts.append(pool(*backbone.embed(images), 1).numpy())
    return np.concatenate(parts)


# ---- heads -----------------------------------------------------------------------------------------------------------


def left_out(films: Films, unseen: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Every arm taught at the other hospital: replicates there and, on the patients that tuned, at home."""
    teacher = next(s for s in SITES if s != unseen)
    home = films.site == teacher
    alone = {name: measures_alone(films, name, home) for name in HARMONISATIONS}
    chosen = min((n for n in HARMONISATIONS if n != "as they are"), key=alone.__getitem__)
    away = np.flatnonzero(films.site == unseen)
    _, patient = np.unique(films.patient[away], return_inverse=True)
    draws = metrics.cluster_draws(patient, 2000, 0)[:, patient].astype(np.float64)
    replicates: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    at_home: dict[str, list[float]] = {arm: [] for arm in ARMS}
    sensitivity: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in seeds:
        train, tune = split(films, home, seed)
        for arm, score in arms(films, train, tune, chosen).items():
            replicates[arm].append(metrics.auroc(films.y[away], score[away], draws))
            at_home[arm].append(float(metrics.auroc(films.y[tune], score[tune], np.ones((1, len(tune))))[0]))
            point = metrics.operating_point(films.y[tune], score[tune])
            third = films.site == "hannover"
            sensitivity[arm].append(float((score[third] >= (point or 0.0)).mean()))
    mean = {arm: np.mean(of, axis=0) for arm, of in replicates.items()}
    return {
        "taught at": teacher,
        "films": {"taught and tuned": int(home.sum()), "left out": len(away)},
        "harmonisation": chosen,
        "AUROC of sharpness and exposure alone, at home": {k: round(v, 4) for k, v in alone.items()},
        "auroc": {arm: told(v) for arm, v in mean.items()},
        "gain over untuned": {arm: told(mean[arm] - mean["untuned"]) for arm in ARMS[1:]},
        "tuned, all tools minus tuned": told(mean["tuned, all tools"] - mean["tuned"]),
        "by seed": {arm: [round(float(v[0]), 4) for v in of] for arm, of in replicates.items()},
        "tune split at home": {arm: round(float(np.mean(v)), 4) for arm, v in at_home.items()},
        "sensitivity at hannover": {arm: round(float(np.mean(v)), 4) for arm, v in sensitivity.items()},
    }


def split(films: Films, home: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that teach and rows that tune; a patient is in one of them."""
    patients = np.unique(films.patient[home])
    judges = np.random.default_rng(seed).permutation(patients)[: len(patients) // 5]
    is_judge = np.isin(films.patient, judges)
    return np.flatnonzero(home & ~is_judge), np.flatnonzero(home & is_judge)


def measures_alone(films: Films, name: str, home: np.ndarray) -> float:
    """AUROC of a model of the acquisition's measures, patients out of fold: how far they tell the label by themselves."""
    x, rows = films.measures[name], np.flatnonzero(home)
    score = np.zeros(len(films.y))
    for fold in range(5):
        inside, out = rows[films.patient[rows] % 5 != fold], rows[films.patient[rows] % 5 == fold]
        score[out] = probe.fit_head(x[inside], films.y[inside][:, None], 1.0).logits(x[out])[:, 0]
    return float(metrics.auroc(films.y[rows], score[rows], np.ones((1, len(rows))))[0])


def arms(films: Films, train: np.ndarray, tune: np.ndarray, chosen: str) -> dict[str, np.ndarray]:
    """arm -> score of every film."""
    found = {}
    for name, suffix in (("as they are", ""), (chosen, ", harmonised")):
        x = films.features[name]
        found[f"untuned{suffix}"] = probe.fit_prototypes(x[train], films.y[train][:, None]).logits(x)[:, 0]
        found[f"tuned{suffix}"] = fitted(x, films, train, tune)
    found["tuned, all tools"] = all_tools(films, train, tune, chosen)
    return found


def fitted(x: np.ndarray, films: Films, train: np.ndarray, tune: np.ndarray) -> np.ndarray:
    """The product's probe: both classes weigh the same, strength by the tune split."""
    y = films.y[:, None]
    weights = np.zeros_like(y)
    weights[train] = balanced(y[train], films.site[train])
    seats = probe.Seats(train, tune, films.patient)
    head = probe.fit_probe(
        x, y, weights, y, seats, solver=probe.logistic(False), log=lambda step, values: None
    )
    return head.logits(x)[:, 0]


def balanced(y: np.ndarray, site: np.ndarray) -> np.ndarray:
    """Every cell of site and label has the same say."""
    return batches.loss_weights(y, site, "site_x_label", lambda column: (column >= 0.5).astype(np.int64))


def all_tools(films: Films, train: np.ndarray, tune: np.ndarray, chosen: str) -> np.ndarray:
    """Projection of the acquisition, thirds by sharpness as sites, strength by the third left out."""
    x = projected(films.features[chosen], films.measures[chosen], train)
    sharpness = films.measures["as they are"][:, 2]
    third = np.digitize(sharpness, np.quantile(sharpness[train], [1 / 3, 2 / 3])).astype(str)
    y = films.y[:, None]

    def fit(rows: np.ndarray, strength: float) -> np.ndarray:
        weights = balanced(y[rows], third[rows])
        mean, std = probe.standardise(x[rows])
        matrix, bias = probe.logistic(False).solve((x[rows] - mean) / std, y[rows], weights, strength)
        return probe.Head(mean, std, matrix, bias).logits(x)[:, 0]

    learned = np.concatenate([train, tune])

    def across(strength: float) -> float:
        areas = []
        for name in sorted(set(third[learned].tolist())):
            inside, out = train[third[train] != name], learned[third[learned] == name]
            areas.append(metrics.auroc(films.y[out], fit(inside, strength)[out], np.ones((1, len(out))))[0])
        return float(np.nanmean(areas))

    return fit(train, max(probe.STRENGTHS, key=across))


def projected(x: np.ndarray, acquisition: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Standardised features without the directions that tell the measures of the acquisition (ridge, fitted on train)."""
    mean, std = probe.standardise(x[train])
    z = (x - mean) / std
    m_mean, m_std = probe.standardise(acquisition[train])
    target = (acquisition[train] - m_mean) / m_std
    a = z[train]
    directions = np.linalg.solve(a.T @ a + 100.0 * np.eye(a.shape[1]), a.T @ target)  # [F, M]
    basis, _ = np.linalg.qr(directions)
    return np.asarray(z - (z @ basis) @ basis.T)


READ = """How to read it: fitted at one hospital, the probe is better at home and far below chance at the other, for it has learned what goes
with sharpness and exposure there. Equalised grey levels without any fit gain at both hospitals left out, with intervals above 0;
fitting on top loses it again, even with every tool, which only makes up for most of the harm. So the figure that was asked for, all
tools against untuned, shows no gain: two collections of one hospital each, children at one and adults at the other, cannot teach
what is the finding and what is the hospital. Harmonisation is done by this script; `model.input.levels: equalised`
equalises a run's tiles likewise (not the softening), and was not measured here."""


# ---- what is said ----------------------------------------------------------------------------------------------------


def told(replicates: np.ndarray) -> dict[str, float | None]:
    e = metrics.estimate(replicates)
    return {k: None if v is None else round(v, 4) for k, v in (("value", e.value), ("low", e.low), ("high", e.high))}  # fmt: skip


def write(seeds: Sequence[int], found: Mapping[str, Mapping[str, Any]]) -> None:
    command = f"python -m benchmarks.tuning.bench_unseen DATA --seeds {','.join(str(s) for s in seeds)}"
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    machine["load_1_5_15"] = [round(v, 1) for v in os.getloadavg()]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "unseen.json").write_text(
        json.dumps({"command": command, "machine": machine, "left out": found}, indent=1) + "\n"
    )
    lines = [
        "# Pneumonia on real chest X-rays: one hospital left out",
        "",
        f"`{command}`: real films and labels, {len(seeds)} seeds. AUROC at the hospital left out, mean over seeds, 95 % interval by",
        "bootstrap of its patients, the same for every arm. What the arms are stands in the script.",
        "",
        "| left out | arm | AUROC there | gain over untuned | AUROC at home, tune split |",
        "|---|---|---|---|---|",
    ]
    for unseen, of in found.items():
        for arm in ARMS:
            gain = of["gain over untuned"].get(arm)
            words = "-" if gain is None else said(gain, True)
            lines.append(
                f"| {unseen} | {arm} | {said(of['auroc'][arm])} | {words} | {of['tune split at home'][arm]:.3f} |"
            )
    for unseen, of in found.items():
        alone = ", ".join(
            f"{k} {v:.2f}" for k, v in of["AUROC of sharpness and exposure alone, at home"].items()
        )
        lines += [
            "",
            f"Taught at {of['taught at']}: AUROC of sharpness and exposure alone at home: {alone}; taken: {of['harmonisation']}. "
            f"All tools against the plain probe at {unseen}: {said(of['tuned, all tools minus tuned'], True)}.",
        ]
    lines += ["", READ]
    (RESULTS / "unseen.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def said(figure: Mapping[str, float | None], is_gain: bool = False) -> str:
    if figure["value"] is None:
        return "-"
    sign = "+" if is_gain else ""
    return f"{figure['value']:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"


if __name__ == "__main__":
    main()
