"""Finished runs set side by side: the same studies, the same truth, the same bootstrap draws, so that differences are paired.

What belongs here: what each arm gives on the studies that runs have in common. What does not: which those are (shared_studies),
a run on its own (evaluate), drawing (ui). Every run and arm is weighed by one set of patient-cluster draws; a difference of two runs is
taken draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.records import ConfigurationError
from training import continuous, metrics, survival
from training.shared_studies import ARMS, MEASURED, TIME, Common

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Measure = Callable[[Floats], dict[str, Floats]]
"""Weights [R, n] -> metric -> [R]."""

ALL = "all"


@dataclass(frozen=True, slots=True)
class Line:
    """One estimate: of an arm (or the gain) of a run, at a site or `all`."""

    run_id: str
    arm: str
    site: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_patients: int
    reason: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Run minus other, both tuned, paired over the draws."""

    run_id: str
    other: str
    site: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    n_patients: int


def compare(
    common: Common, metric: str | None = None, *, n_replicates: int = 1000, seed: int = 7
) -> tuple[list[Line], list[Difference]]:
    """Every arm and gain of every run, and every pair of tuned runs, over all sites and at each.

    metric: one of `common.metrics`; none: the first of them. Estimates with 95 % percentile intervals of the patient-cluster
    bootstrap; of several labels the mean over those of which both classes, or two values, are there.
    """
    metric = common.metrics[0] if metric is None else metric
    if metric not in common.metrics:
        raise ConfigurationError(
            f"These runs are compared by {', '.join(common.metrics)}, not by {metric!r}."
        )
    lines: list[Line] = []
    differences: list[Difference] = []
    for site in (ALL, *sorted(set(common.site.tolist()))):
        rows = np.flatnonzero((common.site == site) | (site == ALL))
        rows = rows[np.isfinite(common.truth[rows]).any(1)]
        if not len(rows):
            continue
        values = _values(common, rows, metric, n_replicates, seed)
        size = (len(rows), len(set(common.patient[rows].tolist())))
        for run in common.run_ids:
            both = {arm: values[run, arm] for arm in ARMS}
            both["gain"] = both["tuned"] - both["untuned"]
            for arm, replicates in both.items():
                e = metrics.estimate(replicates)
                lines.append(Line(run, arm, site, e.value, e.low, e.high, *size, e.reason))
        for at, run in enumerate(common.run_ids):
            for other in common.run_ids[at + 1 :]:
                gap = values[run, "tuned"] - values[other, "tuned"]
                e = metrics.estimate(gap)
                p = metrics.sign_p_value(gap) if e.low is not None else None
                differences.append(Difference(run, other, site, e.value, e.low, e.high, p, *size))
    return lines, differences


def _values(
    common: Common, rows: Ints, metric: str, n_replicates: int, seed: int
) -> dict[tuple[str, str], Floats]:
    """(run, arm) -> [1 + B] of the metric on these rows, under draws that all share."""
    columns = range(common.truth.shape[1])
    both = [c for c in columns if _has_both(common.truth[rows, c])]
    judged = both or [c for c in columns if np.isfinite(common.truth[rows, c]).any()][:1]
    measure = {
        key: [_measure(common, rows, scores, c) for c in judged] for key, scores in common.scores.items()
    }
    found: dict[tuple[str, str], list[Floats]] = {key: [] for key in measure}
    for weights in _draws(common.patient[rows], n_replicates, seed):
        for key, of_labels in measure.items():
            found[key].append(np.mean([m(weights)[metric] for m in of_labels], axis=0))
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _measure(common: Common, rows: Ints, scores: Floats, c: int) -> Measure:
    """The metrics of one label by the answers [N, L] of one arm."""
    truth, answers = common.truth[rows, c], scores[rows, c]
    if common.kind == MEASURED:
        return continuous.measure(truth, answers)
    if common.kind != TIME:
        return metrics.measure(truth, answers, np.full(len(rows), np.nan))
    known = np.flatnonzero(np.isfinite(truth))
    days, event, risk = common.days[rows][known], truth[known] == 1, answers[known]
    return lambda weights: {"c_index": survival.harrell(days, event, risk, weights[:, known])}


def _has_both(truth: Floats) -> bool:
    known = truth[np.isfinite(truth)]
    return bool(len(known) and known.min() < known.max())


def _draws(patients: Ints, n_replicates: int, seed: int) -> Iterator[Floats]:
    """Weights [r, n] of the patient-cluster bootstrap in chunks of bounded size, the row of ones first."""
    _, dense = np.unique(patients, return_inverse=True)
    draws = metrics.cluster_draws(dense, n_replicates, seed)
    return metrics.draws_of(draws, dense)
