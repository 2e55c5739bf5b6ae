"""Task x modality: does one generic tuner learn a planted signal in each cell? Figures to benchmarks/results/cells.json.

    nice python -m benchmarks.tuning.bench_cells [--patients 300] [--only CT,US] [--tasks regression] [--work DIR]

Input is simulated DICOM of every modality (simulated_modalities), taken in as deliveries, de-identified, frozen as one cohort a
modality and packed as tokens by rwid's own road: nothing is laid down by hand. The backbone is the random tiny ViT, the method a
cut with one block. A cell counts where the training loss falls and the held-out site's figure passes its mark:

* multilabel, multiclass: macro AUROC > 0.95; survival: macro AUROC over the horizons > 0.95;
* regression: R2 > 0.9 (a measurement has no AUROC).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from benchmarks.tuning.simulated_modalities import MODALITIES, SITES, deliver
from curation import catalog
from curation.cohort import build_cohort
from curation.cohort_spec import parse_spec as parse_cohort
from curation.deid.pseudonyms import Pseudonyms
from curation.delivery import curate, register
from curation.lake import Lake
from curation.settings import load_key, load_settings, open_home
from curation.site import load_sites
from training.spec import parse_spec
from training.tune import tune

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cells.json"
TASKS: Mapping[str, tuple[dict[str, Any], str, float]] = {
    "multilabel": ({"kind": "multilabel", "labels": ["old", "male"]}, "auroc", 0.95),
    "multiclass": ({"kind": "multiclass", "labels": ["class"]}, "auroc", 0.95),
    "regression": ({"kind": "regression", "labels": ["age"]}, "r2", 0.9),
    "survival": ({"kind": "survival", "labels": ["days", "died"]}, "auroc", 0.95),
}
LABELS = {
    "old": "age_years >= 55",
    "male": "sex = 'M'",
    "class": "CASE WHEN sex = 'M' THEN 2 WHEN age_years >= 55 THEN 1 ELSE 0 END",
    "age": "age_years",
    "days": "outcome_days('death')",
    "died": "outcome_observed('death')",
}


def main() -> None:
    """Every cell, then the file."""
    asked = _parser().parse_args()
    wanted = [m for m in MODALITIES if not asked.only or m.name in asked.only.split(",")]
    tasks = asked.tasks.split(",") if asked.tasks else list(TASKS)
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="rwid-cells-") as scratch:
        lake_root, refused = _take_in(Path(asked.work or scratch), asked.patients, asked.seed)
        print(f"taken in after {time.monotonic() - began:.0f} s; refused: {refused}", flush=True)
        cells = []
        for modality in wanted:
            cohort = build_cohort(Lake(lake_root), parse_cohort(yaml.safe_dump(_cohort(modality.name))))
            for task in tasks:
                cells.append(
                    {
                        "modality": modality.name,
                        "title": modality.title,
                        **_cell(lake_root, cohort.name, task),
                    }
                )
                print(json.dumps(cells[-1]), flush=True)
    facts = {
        "what": "task x modality cells with one generic tuner on simulated DICOM with a planted signal",
        "command": "python " + " ".join(["-m benchmarks.tuning.bench_cells", *sys.argv[1:]]),
        "code": _commit(),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_at_start": round(load, 1),
        },
        "seconds": round(time.monotonic() - began),
        "patients_a_modality": asked.patients,
        "seed": asked.seed,
        "refused_on_arrival": refused,
        "n_cells": len(cells),
        "n_passed": sum(c["is_passed"] for c in cells),
        "cells": cells,
    }
    asked.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{facts['n_passed']} of {facts['n_cells']} cells; {asked.out}")


def _take_in(work: Path, n: int, seed: int) -> tuple[Path, dict[str, int]]:
    """Root of the lake that holds the simulated deliveries, and how many items were refused, by reason."""
    home = work / "home"
    settings = load_settings(home).model_copy(update={"verify_sample": 0})
    places = open_home(settings)
    parts, refused = {}, {}
    for site, folder in deliver(work / "deliveries", n, seed):
        register(settings, folder, site, site)
        curated = curate(settings, site)
        parts[site] = curated.part_list
        for reason, count in curated.refusals.items():
            refused[reason] = refused.get(reason, 0) + count
    catalog.publish(Lake(places.lake), parts, load_sites(places), Pseudonyms(load_key(settings)).split_bucket)
    return places.lake, refused


def _cohort(modality: str) -> dict[str, Any]:
    return {
        "cohort": f"simulated-{modality.lower()}",
        "purpose": f"Simulated {modality} with a planted signal of age and sex; one site is held out.",
        "index": "study",
        "include": [{"name": modality, "where": f"modality = '{modality}'"}],
        "labels": LABELS,
        "series": {"keep": "is_whole", "order": "n_instances DESC", "per_study": 1},
        "split": {"train": 0.6, "tune": 0.2, "test": 0.2, "holdout_sites": [SITES[-1]]},
        "min_cell": 5,
    }


def _cell(lake_root: Path, cohort: str, task: str) -> dict[str, Any]:
    """One run: the figure on the held-out site, and how far the training loss fell."""
    asked, metric, mark = TASKS[task]
    spec = {
        "name": f"cell-{task}",
        "cohort": cohort,
        "model": {"id": "builtin:tiny-vit", "input": {"size": 28}},
        "task": asked,
        "method": {"kind": "cut", "blocks": 1, "batch_size": 16, "lr": 1e-3, "head_lr": 3e-3},
        "data": {"augment": "none"},
        "budget": {"max_minutes": 5, "max_epochs": 10, "patience": 10},
        "compute": {"device": "cpu", "threads": 1},
        "report": {"bootstrap": 200, "min_cell": 5},
    }
    began = time.monotonic()
    run = tune(lake_root, parse_spec(spec), report=lambda facts: None)
    losses = [
        r["value"] for r in pq.read_table(run / "history.parquet").to_pylist() if r["name"] == "train/loss"
    ]
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    arms = {
        r["arm"]: r
        for r in rows
        if (r["split"], r["site"], r["subgroup"], r["name"]) == ("holdout", "all", "all", metric)
        and r["label"] == ("macro" if task != "regression" else "age")
    }
    quarter = max(1, len(losses) // 4)
    first, last = float(np.mean(losses[:quarter])), float(np.mean(losses[-quarter:]))
    tuned = arms["tuned"]
    return {
        "task": task, "metric": metric, "mark": mark, "value": round(tuned["value"], 4),
        "low": round(tuned["low"], 4), "high": round(tuned["high"], 4), "untuned": round(arms["untuned"]["value"], 4),
        "studies": tuned["n"], "loss_first_quarter": round(first, 5), "loss_last_quarter": round(last, 5),
        "is_passed": bool(tuned["value"] > mark and last < first), "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def _commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Task x modality cells with one generic tuner.")
    parser.add_argument("--patients", type=int, default=300, help="patients a modality")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="", help="modalities, such as CT,US")
    parser.add_argument("--tasks", default="", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--work", type=Path, help="keep the simulated lake here")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
