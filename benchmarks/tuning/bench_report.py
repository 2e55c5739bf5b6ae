"""How long the evaluation of a large cohort takes: 14 labels, 25,000 studies, five sites and all of them, 1,000 bootstraps.

Run: python -m benchmarks.tuning.bench_report [--rows 25000] [--bootstrap 1000]
Writes benchmarks/results/report.json. The scores are **synthetic**; what is timed is training.evaluate.evaluate, all of it,
and the ratio is to the same bootstrap with scikit-learn, label by label and draw by draw (a few draws, scaled up). The
values of the untouched cohort are compared with scikit-learn's.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from training.audit import Scores
from training.evaluate import evaluate
from training.examples import Examples
from training.spec import TuneSpec

RESULT = Path(__file__).parents[1] / "results" / "report.json"
LABELS, SITES, PEER_DRAWS = 14, 5, 5
MEASURES = {"auroc": roc_auc_score, "auprc": average_precision_score, "brier": brier_score_loss}


def cohort(folder: Path, n: int) -> tuple[Examples, np.ndarray[Any, Any], Scores]:
    """n studies of n / 1.25 patients at five sites; a twentieth of the labels is unknown."""
    rng = np.random.default_rng(1)
    truth = (rng.random((n, LABELS)) < np.linspace(0.02, 0.4, LABELS)).astype(np.float64)
    tuned = 1 / (1 + np.exp(-(1.5 * truth - 1 + rng.normal(size=truth.shape))))
    untuned = 1 / (1 + np.exp(-(0.5 * truth - 1 + rng.normal(size=truth.shape))))
    truth[rng.random(truth.shape) < 0.05] = np.nan
    patient = np.sort(rng.integers(0, int(n / 1.25), n))
    ids = tuple(UUID(int=i) for i in range(n))
    (folder / "cohort.json").write_text(json.dumps({"cohort_id": "synthetic", "snapshot": 1, "min_cell": 5}))
    names = tuple(f"finding_{c}" for c in range(LABELS))
    site, split = np.array([f"site-{i % SITES}" for i in range(n)]), np.full(n, "test")
    examples = Examples("synthetic", folder, ids, ids, ids, patient, site, split, names, truth, {})
    half = np.full(truth.shape, 0.5)
    scores = Scores(
        np.arange(n), split, {"tuned": tuned, "untuned": untuned}, {"tuned": half, "untuned": half}
    )
    return examples, truth, scores


def peer_seconds(truth: np.ndarray[Any, Any], scores: Scores, bootstrap: int) -> float:
    """Seconds that scikit-learn needs for the same draws over all studies, from PEER_DRAWS of them, times two for the sites."""
    rng = np.random.default_rng(2)
    start = time.perf_counter()
    for _ in range(PEER_DRAWS):
        drawn = rng.integers(0, len(truth), len(truth))
        for c in range(LABELS):
            known = drawn[np.isfinite(truth[drawn, c])]
            for arm in ("tuned", "untuned"):
                for measure in MEASURES.values():
                    measure(truth[known, c], scores.probability[arm][known, c])
    return (time.perf_counter() - start) / PEER_DRAWS * bootstrap * 2


def main() -> None:
    """Times the evaluation, compares its values, writes the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--bootstrap", type=int, default=1_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        examples, truth, scores = cohort(Path(temporary), arguments.rows)
        spec = TuneSpec.model_validate(
            {
                "name": "report",
                "cohort": "synthetic",
                "model": {"id": "builtin:tiny-vit"},
                "task": {"kind": "multilabel", "labels": list(examples.label_names)},
                "method": {"kind": "probe"},
                "report": {"subgroups": [], "bootstrap": arguments.bootstrap},
            }
        )
        features = np.random.default_rng(3).normal(size=(arguments.rows, 64)).astype(np.float32)
        load = os.getloadavg()[0]
        start, cpu_start = time.perf_counter(), time.process_time()
        found = evaluate(Path(temporary), examples, examples.label_names, truth, scores, spec, "r", features)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    worst = 0.0
    for row in found.metrics:
        if row.site == "all" and row.name in MEASURES and row.arm != "gain" and row.label != "macro":
            c = examples.label_names.index(row.label)
            known = np.isfinite(truth[:, c])
            theirs = MEASURES[row.name](truth[known, c], scores.probability[row.arm][known, c])
            worst = max(worst, abs(float(row.value or 0) - float(theirs)))
    theirs_s = peer_seconds(truth, scores, arguments.bootstrap)
    result = {
        "command": "python -m benchmarks.tuning.bench_report",
        "synthetic": True,
        "rows": arguments.rows,
        "labels": LABELS,
        "partitions": SITES + 1,
        "bootstrap": arguments.bootstrap,
        "metrics": len(found.metrics),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "scikit_learn_seconds_extrapolated": round(theirs_s, 1),
        "times_faster": round(theirs_s / seconds, 1),
        "largest_difference_to_scikit_learn": worst,
        "machine": f"{os.cpu_count()} cores, load {load:.1f} at the start, nice {os.nice(0)}",
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
