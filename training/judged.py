"""Logits of both arms as answers for those who are judged, with the operating points of the fold's own tune split.

What belongs here: that step, the same whatever a run shows, and its rows. What does not: fitting (tune, reading), metrics (evaluate).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.records import Prediction, to_table
from training.audit import Scores, Watched
from training.job import Fold, Job

Floats = NDArray[np.float64]


def judge(job: Job, fold: Fold, untuned: Floats, tuned: Floats) -> Scores:
    """Answers for the judged, with the operating point that the fold's own tune split gives each output."""
    arms, thresholds, watched = {}, {}, {}
    for arm, logits in (("untuned", untuned), ("tuned", tuned)):
        share = _answers(job, logits)
        points = job.task.operating_points(job.truth[fold.tune], share[fold.tune])
        row = np.array([np.nan if p is None else p for p in points])
        if arm == "tuned" and fold.name == "cohort":
            job.run.write_json("operating_points.json", dict(zip(job.names, points, strict=True)))
        arms[arm], thresholds[arm] = share[fold.judged], np.tile(row, (len(fold.judged), 1))
        watched[arm] = share[fold.tune]
    folds = np.full(len(fold.judged), fold.name)
    return Scores(fold.judged, fold.split, arms, thresholds, folds, {fold.name: Watched(fold.tune, watched)})


def _answers(job: Job, logits: Floats) -> Floats:
    import torch

    return np.asarray(job.task.answers(torch.from_numpy(logits)).numpy(), dtype=np.float64)


def predictions(job: Job, scores: Scores) -> Any:
    """Rows of predictions.parquet: one a judged series, output and arm."""
    rows = []
    e = job.examples
    for arm, share in scores.probability.items():
        for row, i in enumerate(scores.index):
            for c, label in enumerate(job.names):
                truth = job.truth[i, c]
                rows.append(
                    Prediction(
                        run_id=job.run.run_id,
                        study_id=e.study_id[i],
                        series_id=e.series_id[i],
                        patient_id=e.patient_id[i],
                        site=str(e.site[i]),
                        split=str(scores.split[row]),
                        arm=arm,
                        label=label,
                        target=None if np.isnan(truth) else float(truth),
                        score=float(share[row, c]),
                    )
                )
    return to_table(Prediction, rows)
