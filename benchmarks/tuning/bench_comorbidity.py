"""Nodules on simulated lung CT where emphysema or fibrosis look alike: untuned, tuned at one site, tuned at varied ones.

    python -m benchmarks.tuning.bench_comorbidity [--home DIR] [--seeds 7,8,9,10,11] [--method JSON] [--dry]

Five simulated hospitals (simulated.py): `one` sees hardly any comorbidity, three others see much of it by other scanners,
`unseen` lends no patient to any training. Each seed draws new people. Two cohorts with equally many training patients:
all of them from `one`, or a quarter from each of the four. Four arms on the same judged patients:

    untuned, one        a logistic probe on the frozen backbone, fitted at `one`
    tuned, one          its last blocks tuned there
    untuned, varied     the probe fitted on all four
    tuned, varied       its last blocks tuned on all four

The gap is AUROC without either comorbidity minus AUROC with one or both; intervals by bootstrap of patients, the same draws for
every arm, within each seed and averaged over seeds. Blocks, learning rate and the size of a tile (224 px; at 112 px, measured
before on seeds 2 to 5, the gap stayed) were chosen on the tune splits of seeds 0 and 1 (the rate at 112 px: 2e-5, 5e-5 and 1e-4
give 0.908, 0.930 and 0.935), which also showed how alike scanners and nodules had to be for the task to be neither trivial nor
hopeless; those seeds are not among the reported. A seed that is done is kept under --home and not run again.
Writes benchmarks/results/comorbidity.json and comorbidity.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.tuning.simulated import Scanner, Study, lay_down, make_disease, picture
from curation.synth.chance import stream
from training.metrics import auroc, cluster_draws, estimate
from training.spec import parse_spec
from training.tune import tune

RESULTS = Path(__file__).parents[1] / "results"
SIZE = 224
N_TRAIN, N_TUNE, N_TEST, N_UNSEEN = 800, 200, 200, 600
"""Patients: of each of the two training cohorts, its tune split, held-out patients of the four sites, the unseen site."""
NODULE_MM = (12.0, 30.0)
"""As the generator's own (curation.synth.people)."""

ONE, UNSEEN = "one", "unseen"
SCANNERS = {
    s.site: s
    for s in (
        Scanner(ONE, 1.0, 5.0, 0.0, 340, 0, {"nodule": 0.5, "emphysema": 0.06, "fibrosis": 0.06}),
        Scanner("east", 1.6, 2.5, 0.6, 370, 10, {"nodule": 0.5, "emphysema": 0.5, "fibrosis": 0.3}),
        Scanner("south", 0.7, 1.25, 0.9, 325, -10, {"nodule": 0.5, "emphysema": 0.3, "fibrosis": 0.5}),
        Scanner("west", 2.0, 5.0, 0.3, 355, 0, {"nodule": 0.5, "emphysema": 0.45, "fibrosis": 0.45}),
        Scanner(UNSEEN, 1.3, 3.0, 0.4, 350, 5, {"nodule": 0.5, "emphysema": 0.4, "fibrosis": 0.4}),
    )
}
TRAINING = tuple(s for s in SCANNERS if s != UNSEEN)
ARMS = ("untuned, one", "tuned, one", "untuned, varied", "tuned, varied")
STRATA = ("clean", "emphysema", "fibrosis", "either")


def main() -> None:
    asked = arguments()
    found = []
    for seed in asked.seeds:
        found.append(kept(asked.home, seed, json.loads(asked.method)))
        print(json.dumps({k: v for k, v in found[-1].items() if k != "replicates"}), flush=True)
        if not asked.dry:
            write(asked, found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("comorbidity-home"))
    parser.add_argument(
        "--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[7, 8, 9, 10, 11]
    )
    parser.add_argument("--method", default=json.dumps(METHOD), help="method of the TuneSpec, as JSON")
    parser.add_argument("--dry", action="store_true", help="print, write nothing: choosing on the tune split")
    return parser.parse_args()


METHOD = {"kind": "cut", "blocks": 2, "lr": 1e-4, "head_lr": 2e-4, "batch_size": 16}


def people(seed: int, site: str, first: int, n: int, split: str) -> list[Study]:
    """n persons of one site from number `first` on."""
    found = []
    for number in range(first, first + n):
        rng = stream(seed, site, number, "person")
        scanner = SCANNERS[site]
        disease = make_disease(rng, scanner.prevalence, NODULE_MM)
        tile = picture(seed, scanner, number, disease, "FM"[number % 2], SIZE)
        values = {
            "nodule": float(disease.nodule_mm > 0),
            "emphysema": float(disease.emphysema > 0),
            "fibrosis": float(disease.fibrosis > 0),
            "either": float(disease.emphysema > 0 or disease.fibrosis > 0),
        }
        found.append(Study(site, number, split, tile, values))
    return found


def cohorts(lake: Path, seed: int) -> dict[str, Path]:
    """Both cohorts; the judged are the same. A site that a cohort does not learn from is its holdout."""
    share = len(TRAINING)
    judged = people(seed, UNSEEN, 0, N_UNSEEN, "holdout")
    held_out = {s: people(seed, s, 0, N_TEST // share, "test") for s in TRAINING}
    learned = {s: people(seed, s, 1000, N_TRAIN // share, "train") for s in TRAINING}
    watched = {s: people(seed, s, 5000, N_TUNE // share, "tune") for s in TRAINING}
    more = people(seed, ONE, 1000, N_TRAIN, "train") + people(seed, ONE, 5000, N_TUNE, "tune")
    others = [Study(s.site, s.number, "holdout", s.tile, s.values) for t in TRAINING if t != ONE for s in held_out[t]]  # fmt: skip
    varied = [s for part in (learned, watched, held_out) for t in TRAINING for s in part[t]]
    return {
        "one": lay_down(lake, f"comorbidity-one-{seed}", more + held_out[ONE] + others + judged, ["nodule"]),
        "varied": lay_down(lake, f"comorbidity-varied-{seed}", varied + judged, ["nodule"]),
    }


def kept(home: Path, seed: int, method: Mapping[str, Any]) -> dict[str, Any]:
    """The seed's figures as one_seed gives them, from --home where they are there."""
    place = home / f"seed-{seed}.json"
    if not place.exists():
        facts = one_seed(home / "lake", seed, method)
        aside = place.with_suffix(".part")
        aside.write_text(json.dumps(facts, default=lambda values: values.tolist()))
        aside.rename(place)
    facts = dict(json.loads(place.read_text()))
    for arms in facts["replicates"].values():
        for strata in arms.values():
            strata.update({name: np.array(values) for name, values in strata.items()})
    return facts


def one_seed(lake: Path, seed: int, method: Mapping[str, Any]) -> dict[str, Any]:
    """Both runs, and the replicates of every stratum's AUROC by arm and place."""
    began, cpu = time.perf_counter(), time.process_time()
    scores: dict[str, dict[Any, float]] = {}
    facts: dict[str, Any] = {"seed": seed}
    for name, folder in cohorts(lake, seed).items():
        run = tune(lake, spec(folder.name, seed, method), report=lambda f: None)
        for row in pq.read_table(run / "predictions.parquet").to_pylist():
            scores.setdefault(f"{row['arm']}, {name}", {})[row["study_id"]] = row["score"]
        report = json.loads((run / "report.json").read_text())
        facts[name] = {"loop": report["loop"], "tune_auroc": tune_auroc(run)}
    members = pq.read_table(
        folder / "members.parquet"
    ).to_pylist()  # of the varied cohort: all judged are in it
    facts["replicates"] = {
        place: replicates([m for m in members if m["split"] == split], scores, seed)
        for place, split in (("unseen site", "holdout"), ("held-out patients of the four sites", "test"))
    }
    facts["seconds"] = round(time.perf_counter() - began, 1)
    facts["cpu_seconds"] = round(time.process_time() - cpu, 1)
    facts["gap"] = {
        place: {
            arm: [round(float(reps[arm][s][0]), 4) for s in STRATA]
            + [round(float(reps[arm]["clean"][0] - reps[arm]["either"][0]), 4)]
            for arm in ARMS
        }
        for place, reps in facts["replicates"].items()
    }
    return facts


def tune_auroc(run: Path) -> dict[str, float]:
    """AUROC of both arms on the tune split: what choices may rest on."""
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    wanted = ("tune", "all", "all", "auroc")
    return {r["arm"]: r["value"] for r in rows if (r["split"], r["site"], r["subgroup"], r["name"]) == wanted}


def spec(cohort: str, seed: int, method: Mapping[str, Any]) -> Any:
    return parse_spec(
        {
            "name": f"comorbidity-{seed}",
            "cohort": cohort,
            "model": {"id": "builtin:vits14", "input": {"size": SIZE}},
            "task": {
                "kind": "multilabel",
                "labels": ["nodule"],
                "covariates": ["emphysema", "fibrosis", "either"],
            },
            "method": dict(method),
            "budget": {"max_minutes": 60, "max_epochs": 8, "patience": 8},
            "compute": {"device": "cpu", "threads": 1, "precision": "bf16"},
            "report": {"subgroups": ["site"], "bootstrap": 200},
            "seed": seed,
        }
    )


def replicates(
    members: Sequence[Mapping[str, Any]], scores: Mapping[str, Mapping[Any, float]], seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """arm -> stratum -> [1 + B] AUROC, the same patients drawn for every arm and stratum."""
    values = [{v["name"]: v["value"] for v in (*m["labels"], *m["covariates"])} for m in members]
    y = np.array([v["nodule"] for v in values])
    has = {name: np.array([v[name] == 1 for v in values]) for name in ("emphysema", "fibrosis", "either")}
    rows = {"clean": ~has["either"], **has}
    draws = cluster_draws(np.arange(len(members)), 1000, seed).astype(np.float64)
    return {
        arm: {
            s: auroc(y[rows[s]], np.array([scores[arm][m["study_id"]] for m in members])[rows[s]], draws[:, rows[s]])
            for s in STRATA
        }
        for arm in ARMS
    }  # fmt: skip


def pooled(found: Sequence[Mapping[str, Any]], place: str) -> dict[str, dict[str, np.ndarray]]:
    """arm -> stratum or `gap` -> [1 + B], the mean over seeds: each draws its own people, so draw b of one goes with any other."""
    pool: dict[str, dict[str, np.ndarray]] = {}
    for arm in ARMS:
        by_stratum = {s: np.mean([f["replicates"][place][arm][s] for f in found], axis=0) for s in STRATA}
        pool[arm] = {**by_stratum, "gap": by_stratum["clean"] - by_stratum["either"]}
    return pool


def figures(pool: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Every arm's AUROC by stratum and its gap; what tuning on varied sites leaves of the untuned gap."""
    told: dict[str, Any] = {
        arm: {name: shown(values) for name, values in of.items()} for arm, of in pool.items()
    }
    first, last = pool["untuned, one"]["gap"], pool["tuned, varied"]["gap"]
    told["gap closed (untuned, one minus tuned, varied)"] = shown(first - last)
    told["share of the gap left"] = shown(last / first)
    told["AUROC with comorbidity: tuned, varied minus untuned, one"] = shown(
        pool["tuned, varied"]["either"] - pool["untuned, one"]["either"]
    )
    told["AUROC with comorbidity: tuned, varied minus tuned, one"] = shown(
        pool["tuned, varied"]["either"] - pool["tuned, one"]["either"]
    )
    return told


def shown(values: np.ndarray) -> dict[str, float | None]:
    e = estimate(values)
    return {k: None if v is None else round(v, 4) for k, v in (("value", e.value), ("low", e.low), ("high", e.high))}  # fmt: skip


def write(asked: argparse.Namespace, found: Sequence[Mapping[str, Any]]) -> None:
    seeds = ",".join(str(f["seed"]) for f in found)
    command = f"python -m benchmarks.tuning.bench_comorbidity --seeds {seeds}"
    places = {place: figures(pooled(found, place)) for place in found[0]["replicates"]}
    facts = {
        "command": command,
        "what": "simulated phantoms at simulated hospitals; the backbone's weights are real (builtin:vits14)",
        "method": json.loads(asked.method),
        "patients": {"train": N_TRAIN, "tune": N_TUNE, "held out": N_TEST, "unseen site": N_UNSEEN},
        "machine": {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "load_1_5_15": [round(v, 1) for v in os.getloadavg()],
        },
        "figures": places,
        "seeds": [{k: v for k, v in f.items() if k != "replicates"} for f in found],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "comorbidity.json").write_text(json.dumps(facts, indent=1) + "\n")
    lines = [
        "# Nodules on simulated lung CT, with and without comorbidity",
        "",
        f"`{command}`: {len(found)} seeds, each with people of its own; {N_TRAIN} training patients in either cohort. Pictures, hospitals",
        "and patients are **simulated**; the backbone is `builtin:vits14`. AUROC with 95 % patient-bootstrap intervals, mean over seeds.",
        "`gap` is AUROC without emphysema or fibrosis minus AUROC with either.",
        "",
    ]
    for place, told in places.items():
        n = N_UNSEEN if place == "unseen site" else N_TEST
        lines += [f"## {place[0].upper()}{place[1:]} ({n} patients a seed)", ""]
        lines += ["| arm | clean | emphysema | fibrosis | either | gap |", "|---|---|---|---|---|---|"]
        for arm in ARMS:
            cells = " | ".join(words(told[arm][s]) for s in (*STRATA, "gap"))
            lines.append(f"| {arm} | {cells} |")
        lines.append("")
        lines += [f"* {name}: {words(value)}" for name, value in told.items() if name not in ARMS]
        lines.append("")
    (RESULTS / "comorbidity.md").write_text("\n".join(lines).rstrip() + "\n")
    print("\n".join(lines))


def words(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


if __name__ == "__main__":
    main()
