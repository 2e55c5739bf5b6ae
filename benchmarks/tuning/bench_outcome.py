"""What an image adds to clinical variables about an outcome: simulated patients, and one real collection.

    python -m benchmarks.tuning.bench_outcome [--home DIR] [--seeds 1,2,3,4,5] [--real DATA --clinical data.csv]

Simulated: phantoms (simulated.py) of patients with age and sex. Twice the same pictures, with two outcomes: `image`, whose
hazard grows with age, sex and what the picture shows (nodule, emphysema, fibrosis), and the control `none`, whose hazard
grows with age and sex alone. Task `survival`, method `probe`; the figure is the metric `c_index_over_clinical`: Harrell's
concordance of age and sex, and of age, sex and the tuned risk, both fitted on the tune split, paired by patient bootstrap.
Seeds draw other people, so the standard error of their mean is that of a mean of independent figures.

Real: DATA holds `metadata.csv` and the JPEGs of the Hannover COVID-19 Image Repository (CC BY 3.0); data.csv is the table
of its public repository (ml-workgroup/covid-19-image-repository), which is not shipped here. Outcome: ever in intensive care.
Every patient is judged by fits on other patients. Without DATA the recorded figures stay. Writes
benchmarks/results/outcome.json and outcome.md; runs that are done lie under --home and are not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.tuning.simulated import Scanner, Study, lay_down, make_disease, picture
from curation.synth.chance import stream
from curation.synth.people import Disease
from curation.tile import letterbox
from training import metrics
from training.spec import parse_spec
from training.tune import tune

RESULTS = Path(__file__).parents[1] / "results"
SIZE = 112
OUTCOMES = ("image", "none")
METRIC = "c_index_over_clinical"
STRENGTH = 0.3
PREVALENCE = {"nodule": 0.5, "emphysema": 0.4, "fibrosis": 0.4}
SCANNERS = {
    s.site: s
    for s in (
        Scanner("north", 1.0, 5.0, 0.0, 340, 0, PREVALENCE),
        Scanner("south", 1.6, 2.5, 0.6, 370, 10, PREVALENCE),
        Scanner("unseen", 1.3, 3.0, 0.75, 385, 20, PREVALENCE),
    )
}
PATIENTS = {"train": 400, "tune": 240, "test": 240, "holdout": 240}


def main() -> None:
    asked = arguments()
    runs = [run for seed in asked.seeds for run in one_seed(asked.home / "lake", seed)]
    write(
        asked,
        runs,
        real_collection(asked.real, asked.clinical) if asked.real and asked.clinical else recorded(),
    )


def recorded() -> dict[str, Any] | None:
    """The real collection's figures of an earlier run that was given its files."""
    earlier = RESULTS / "outcome.json"
    return dict(json.loads(earlier.read_text())["real"]) if earlier.exists() else None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("outcome-home"))
    parser.add_argument(
        "--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[1, 2, 3, 4, 5]
    )
    parser.add_argument("--real", type=Path, help="folder with metadata.csv and the Hannover JPEGs")
    parser.add_argument("--clinical", type=Path, help="data.csv of the public repository")
    return parser.parse_args()


def one_seed(lake: Path, seed: int) -> list[dict[str, Any]]:
    """Both outcomes on one cohort: the frozen features are shared."""
    began = time.perf_counter()
    studies = []
    for split, n in PATIENTS.items():
        sites = ("unseen",) if split == "holdout" else ("north", "south")
        for k in range(n):
            studies.append(person(seed, sites[k % len(sites)], f"{split}-{k}", split, len(studies)))
    labels = [f"{what}_{outcome}" for outcome in OUTCOMES for what in ("days", "died")]
    folder = lay_down(lake, f"outcome-{seed}", studies, labels)
    found = []
    for outcome in OUTCOMES:
        run = tune(lake, spec(folder.name, seed, outcome), report=lambda facts: None)
        rows = [
            {k: r[k] for k in ("split", "arm", "name", "value", "low", "high", "n", "n_positive")}
            for r in pq.read_table(run / "metrics.parquet").to_pylist()
            if r["name"] in (METRIC, "c_index") and r["site"] == r["subgroup"] == "all"
        ]
        found.append({"seed": seed, "outcome": outcome, "metrics": rows})
        print(json.dumps(found[-1]), flush=True)
    found[-1]["seconds_of_the_seed"] = round(time.perf_counter() - began, 1)
    return found


def person(seed: int, site: str, name: str, split: str, number: int) -> Study:
    """One patient with both outcomes, which differ in nothing but the hazard."""
    rng = stream(seed, site, name, "person")
    disease = make_disease(rng, SCANNERS[site].prevalence, (9.0, 24.0))
    age, is_male = float(np.clip(rng.normal(64, 12), 30, 90)), float(rng.random() < 0.5)
    luck, lost = float(rng.exponential()), float(rng.uniform(200, 1500))
    values: dict[str, float] = {"age": round(age), "is_male": is_male}
    for outcome in OUTCOMES:
        days = luck / (0.25 / 365 * np.exp(log_hazard(age, is_male, disease, outcome)))
        values |= {f"days_{outcome}": float(np.ceil(min(days, lost))), f"died_{outcome}": float(days <= lost)}
    tile = picture(seed, SCANNERS[site], number, disease, "M" if is_male else "F", SIZE)
    return Study(site, number, split, tile, values)


def log_hazard(age: float, is_male: float, disease: Disease, outcome: str) -> float:
    """Relative to a woman of 64 with clear lungs."""
    clinical = 0.04 * (age - 64) + 0.3 * is_male
    if outcome == "none":
        return clinical
    return clinical + 0.05 * disease.nodule_mm + 1.2 * disease.emphysema + 1.2 * disease.fibrosis


def spec(cohort: str, seed: int, outcome: str) -> Any:
    return parse_spec(
        {
            "name": f"outcome-{outcome}-{seed}",
            "cohort": cohort,
            "model": {"id": "builtin:vits14", "input": {"size": SIZE}},
            "task": {
                "kind": "survival",
                "labels": [f"days_{outcome}", f"died_{outcome}"],
                "horizons": [180, 365, 730],
                "covariates": ["age", "is_male"],
            },
            "method": {"kind": "probe"},
            "compute": {"device": "cpu", "threads": 1},
            "report": {"subgroups": ["site"], "bootstrap": 1000},
            "seed": seed,
        }
    )


def real_collection(data: Path, clinical: Path) -> dict[str, Any]:
    """Concordance (of a yes-or-no outcome: AUROC) of sex and projection alone, and with the image; one row an image."""
    from sklearn.linear_model import LogisticRegression

    known = {r["image_id"]: r for r in csv.DictReader(clinical.open())}
    icu = dict.fromkeys({r["patient_id"] for r in known.values()}, False)
    for r in known.values():
        icu[r["patient_id"]] |= bool(r["icu_admission_offset"])
    deaths = {r["patient_id"] for r in known.values() if r["death_offset"]}
    rows = [
        (r, known[Path(r["path"]).stem]["patient_id"])
        for r in csv.DictReader((data / "metadata.csv").open())
        if Path(r["path"]).stem in known
    ]
    y = np.array([icu[p] for _, p in rows]).astype(np.float64)
    _, patient = np.unique([p for _, p in rows], return_inverse=True)
    plain = np.array([[r["sex"] == "M", r["view"] == "AP"] for r, _ in rows]).astype(np.float64)
    seen = features([data.parent / r["path"] for r, _ in rows])
    n = int(patient.max()) + 1
    # the strengths are fixed, not chosen: thirty patients choose nothing; all image columns together weigh as three
    columns = {
        "alone": (plain, np.ones(plain.shape[1])),
        "image": (seen, np.full(seen.shape[1], 3 / np.sqrt(seen.shape[1]))),
    }
    columns["both"] = tuple(np.concatenate(pair, axis=-1) for pair in zip(*columns.values(), strict=True))  # type: ignore[assignment]
    scores = {name: np.zeros(len(y)) for name in columns}
    for one in range(n):
        away, here = patient != one, patient == one
        once = 1 / np.bincount(patient)[patient[away]]  # a patient with many images counts once
        for name, (x, weight) in columns.items():
            mean, std = x[away].mean(0), x[away].std(0) + 1e-6
            model = LogisticRegression(C=STRENGTH, max_iter=500)
            model.fit((x[away] - mean) / std * weight, y[away], sample_weight=once)
            scores[name][here] = model.decision_function((x[here] - mean) / std * weight)
    draws = metrics.cluster_draws(patient, 2000, 0)[:, patient].astype(np.float64)
    alone, both, image = (metrics.auroc(y, scores[name], draws) for name in ("alone", "both", "image"))
    return {
        "images": len(rows),
        "patients": n,
        "patients_in_intensive_care": len({p for (_, p) in rows if icu[p]}),
        "patients_who_died": len({p for (_, p) in rows if p in deaths}),
        "sex and projection alone": told(alone),
        "image alone": told(image),
        "sex, projection and image": told(both),
        "what the image adds": told(both - alone),
    }


def features(paths: Sequence[Path]) -> np.ndarray:
    """[N, 2D] frozen features of JPEGs."""
    import torch

    from training.backbone import load_backbone
    from training.cache import pool

    backbone = load_backbone("builtin:vits14", SIZE)
    tiles = [letterbox(np.asarray(Image.open(p).convert("L")).astype(np.float64), SIZE)[0] for p in paths]
    with torch.inference_mode():
        images = backbone.preprocess(torch.from_numpy(np.stack(tiles)))
        return pool(*backbone.embed(images), 1).numpy().astype(np.float64)


def told(replicates: np.ndarray) -> dict[str, float | None]:
    e = metrics.estimate(replicates)
    return {k: None if v is None else round(v, 4) for k, v in (("value", e.value), ("low", e.low), ("high", e.high))}  # fmt: skip


def pooled(
    runs: Sequence[Mapping[str, Any]], outcome: str, split: str, arm: str, name: str
) -> dict[str, float]:
    """Mean over seeds with a normal interval: independent people, so their standard errors add in squares."""
    rows = [
        m
        for run in runs
        if run["outcome"] == outcome
        for m in run["metrics"]
        if (m["split"], m["arm"], m["name"]) == (split, arm, name)
    ]
    mean = float(np.mean([m["value"] for m in rows]))
    error = float(np.sqrt(np.sum([((m["high"] - m["low"]) / 3.92) ** 2 for m in rows])) / len(rows))
    return {
        "value": round(mean, 4),
        "low": round(mean - 1.96 * error, 4),
        "high": round(mean + 1.96 * error, 4),
        "seeds": len(rows),
        "seeds above 0": sum(m["value"] > 0 for m in rows),
    }


def write(
    asked: argparse.Namespace, runs: Sequence[Mapping[str, Any]], real: Mapping[str, Any] | None
) -> None:
    arms = {"untuned": "age and sex", "tuned": "age, sex and image", "gain": "what the image adds"}
    figures = {
        outcome: {
            split: {words: pooled(runs, outcome, split, arm, METRIC) for arm, words in arms.items()}
            for split in ("test", "holdout")
        }
        for outcome in OUTCOMES
    }
    command = f"python -m benchmarks.tuning.bench_outcome --seeds {','.join(str(s) for s in asked.seeds)}"
    facts = {
        "command": command,
        "command_of_real": "python -m benchmarks.tuning.bench_outcome --real DATA --clinical data.csv",
        "simulated": figures,
        "patients_a_seed": PATIENTS,
        "real": real,
        "machine": {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "load_1_5_15": [round(v, 1) for v in os.getloadavg()],
        },
        "runs": list(runs),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "outcome.json").write_text(json.dumps(facts, indent=1) + "\n")
    lines = [
        "# What an image adds to clinical variables about an outcome",
        "",
        f"`{facts['command']}`. The first table is **simulated**: {len(asked.seeds)} seeds, each with {PATIENTS['train']} patients to learn from, {PATIENTS['tune']} to",
        f"fit on, {PATIENTS['test']} held out (`test`) and {PATIENTS['holdout']} of a site never seen (`holdout`). Harrell's concordance, mean over seeds, 95 % interval.",
        "",
        "| hazard depends on | judged on | age and sex | age, sex and image | what the image adds | seeds above 0 |",
        "|---|---|---|---|---|---|",
    ]
    meaning = {"image": "age, sex and what the image shows", "none": "age and sex alone (control)"}
    for outcome, by_split in figures.items():
        for split, cells in by_split.items():
            numbers = " | ".join(said(cells[w], w == arms["gain"]) for w in arms.values())
            gain = cells[arms["gain"]]
            lines.append(
                f"| {meaning[outcome]} | {split} | {numbers} | {gain['seeds above 0']} of {gain['seeds']} |"
            )
    if real:
        lines += [
            "",
            f"Real, Hannover COVID-19 Image Repository (CC BY 3.0): {real['images']} images of {real['patients']} patients, {real['patients_in_intensive_care']} of them ever in intensive",
            f"care, {real['patients_who_died']} died. Ever in intensive care, each patient judged by fits on the others; AUROC, patient bootstrap.",
            "",
            "| sex and projection | image alone | sex, projection and image | what the image adds |",
            "|---|---|---|---|",
            "| "
            + " | ".join(
                said(real[k], k == "what the image adds")
                for k in (
                    "sex and projection alone",
                    "image alone",
                    "sex, projection and image",
                    "what the image adds",
                )
            )
            + " |",
        ]
    (RESULTS / "outcome.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def said(figure: Mapping[str, Any], is_gain: bool = False) -> str:
    sign = "+" if is_gain else ""
    return f"{figure['value']:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"


if __name__ == "__main__":
    main()
