"""Metrics of binary scores with patient-cluster bootstrap intervals; numpy alone, no torch.

Every metric is computed for many weightings of the same studies at once: scores are sorted once, and a bootstrap
replicate is a row of whole-number weights (how often its patient was drawn). The estimate is the row of ones. All
metrics and both arms share the rows, so a gain is paired by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_BINS = 10
"""Equal-mass bins of the calibration error."""

MIN_DEFINED = 0.8
"""Share of replicates that must have a value for an interval to be given."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number with its interval; value None says `reason`."""

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def cluster_draws(clusters: Ints, n_replicates: int, seed: int) -> NDArray[np.int32]:
    """[1 + B, P] how often each cluster (patient) counts: a row of ones, then B draws with replacement."""
    n = int(clusters.max()) + 1
    draws = np.random.Generator(np.random.Philox(key=seed)).multinomial(
        n, np.full(n, 1 / n), size=n_replicates
    )
    return np.concatenate([np.ones((1, n), np.int32), draws.astype(np.int32)])


def auroc(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] area under the ROC curve of targets [N] in {0, 1} under weights [R, N]; ties count half; NaN with one class."""
    order, ends = _sorted_groups(scores)
    positive = _grouped(weights[:, order] * targets[order], ends)
    negative = _grouped(weights[:, order] * (1 - targets[order]), ends)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(1) * negative.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positive * (below + 0.5 * negative)).sum(1) / np.where(pairs > 0, pairs, np.nan))


def auprc(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] average precision (step-wise, as scikit-learn's); NaN with no positive."""
    order, ends = _sorted_groups(-scores)
    positive = _grouped(weights[:, order] * targets[order], ends)
    every = _grouped(weights[:, order], ends)
    total = positive.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(np.cumsum(positive, axis=1) / np.cumsum(every, axis=1))
        return np.asarray((precision * positive).sum(1) / np.where(total > 0, total, np.nan))


def brier(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] mean squared difference of probability and truth."""
    return _mean((scores - targets) ** 2, weights)


def ece(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] expected calibration error over at most N_BINS equal-mass bins, fixed on the studies as they are."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    member = np.searchsorted(edges, scores, side="right")[:, None] == np.arange(len(edges) + 1)[None, :]
    gap = (weights * (scores - targets)) @ member.astype(np.float64)  # [R, N] @ [N, bins]
    total = weights.sum(1)
    return np.asarray(np.abs(gap).sum(1) / np.where(total > 0, total, np.nan))


def sensitivity(targets: Floats, scores: Floats, weights: Floats, thresholds: Floats) -> Floats:
    """[R] share of positives with a score at or above its threshold [N]; NaN with no positive."""
    return _mean((scores >= thresholds).astype(np.float64), weights * targets)


def specificity(targets: Floats, scores: Floats, weights: Floats, thresholds: Floats) -> Floats:
    """[R] share of negatives with a score below its threshold [N]; NaN with no negative."""
    return _mean((scores < thresholds).astype(np.float64), weights * (1 - targets))


def operating_point(targets: Floats, scores: Floats) -> float | None:
    """The threshold with the largest Youden index; None where only one class is there."""
    known = ~np.isnan(targets)
    targets, scores = targets[known], scores[known]
    if not 0 < targets.sum() < len(targets):
        return None
    candidates = np.unique(scores)
    at_or_above = scores[None, :] >= candidates[:, None]
    youden = at_or_above @ targets / targets.sum() - at_or_above @ (1 - targets) / (1 - targets).sum()
    return float(candidates[youden.argmax()])


def all_metrics(targets: Floats, scores: Floats, weights: Floats, thresholds: Floats) -> dict[str, Floats]:
    """Every metric of one label and one arm, each [R]. Without thresholds (NaN) no sensitivity and specificity."""
    found = {
        "auroc": auroc(targets, scores, weights),
        "auprc": auprc(targets, scores, weights),
        "brier": brier(targets, scores, weights),
        "ece": ece(targets, scores, weights),
    }
    if np.isfinite(thresholds).all():
        found["sensitivity"] = sensitivity(targets, scores, weights, thresholds)
        found["specificity"] = specificity(targets, scores, weights, thresholds)
    return found


def estimate(values: Floats) -> Estimate:
    """Estimate and 95 % percentile interval from [1 + B] values, the first of which is the estimate itself."""
    if not len(values) or np.isnan(values[0]):
        return Estimate(None, None, None, "only one class is there")
    replicates = values[1:]
    defined = replicates[~np.isnan(replicates)]
    if not len(replicates) or len(defined) < MIN_DEFINED * len(replicates):
        reason = "too few replicates hold both classes" if len(replicates) else "no bootstrap asked for"
        return Estimate(float(values[0]), None, None, reason)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


def sign_p_value(gains: Floats) -> float | None:
    """Two-sided bootstrap p-value of a gain [1 + B]: twice the smaller share of replicates on either side of 0."""
    replicates = gains[1:][~np.isnan(gains[1:])]
    if not len(replicates):
        return None
    share = min((replicates <= 0).mean(), (replicates >= 0).mean())
    return float(min(1.0, 2 * max(share, 1 / (len(replicates) + 1))))


def reliability(targets: Floats, scores: Floats) -> list[tuple[float, float, int]]:
    """Points of the reliability diagram: (mean score, share positive, studies) of each equal-mass bin."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, scores, side="right")
    held = [bins == b for b in range(len(edges) + 1)]
    return [(float(scores[m].mean()), float(targets[m].mean()), int(m.sum())) for m in held if m.any()]


def cramers_v(a: NDArray[np.str_], b: NDArray[np.str_]) -> float | None:
    """Association of two categorical columns, 0 none to 1 complete; None where either has one value."""
    _, rows = np.unique(a, return_inverse=True)
    _, columns = np.unique(b, return_inverse=True)
    if not len(a) or rows.max() == 0 or columns.max() == 0:
        return None
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    expected = table.sum(1, keepdims=True) @ table.sum(0, keepdims=True) / table.sum()
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi2 / table.sum() / (min(table.shape) - 1)))


def _mean(values: Floats, weights: Floats) -> Floats:
    """[R] weighted means of values [N] under weights [R, N]; NaN where all weights are 0."""
    total = weights.sum(1)
    return np.asarray((weights * values).sum(1) / np.where(total > 0, total, np.nan))


def _sorted_groups(scores: Floats) -> tuple[Ints, Ints]:
    """Ascending order of the scores, and the index of the last study of each group of equal scores in that order."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)


def _grouped(weights: Floats, ends: Ints) -> Floats:
    """[R, N] sorted weights -> [R, groups] sums."""
    return np.asarray(np.diff(np.cumsum(weights, axis=1)[:, ends], axis=1, prepend=0))
