"""Metrics of binary scores with patient-cluster bootstrap intervals; numpy and scipy.

Every metric is computed for many weightings of the same studies at once: scores are sorted once (ranks), and a bootstrap
replicate is a row of whole-number weights (how often its patient was drawn). The estimate is the row of ones. All
metrics and both arms share the rows, so a gain is paired by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training import ranks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_BINS = 10
"""Equal-mass bins of the calibration error."""

LOWER_IS_BETTER = frozenset({"brier", "ece", "mae", "rmse", "log_loss", "hd95_mm", "area_error"})
"""Metrics of which a fall is a gain."""

MIN_DEFINED = 0.8
"""Share of replicates that must have a value for an interval to be given."""

_CHUNK = 200_000
"""Weights held at once by the bootstrap: few, so that they stay in the processor's cache."""


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


def draws_of(draws: NDArray[np.int32], cluster: Ints) -> Iterator[Floats]:
    """Weights [r, n] of studies of clusters [n] under draws [R, P], in chunks of bounded size; each chunk lies study by study
    in memory, for sums over studies of all draws at once.
    """
    step = max(1, _CHUNK // max(1, len(cluster)))
    for start in range(0, len(draws), step):
        by_cluster = draws[start : start + step].T.astype(np.float64, order="C")  # [P, r]
        yield np.take(by_cluster, cluster, axis=0).T


def auroc(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] area under the ROC curve of targets [N] in {0, 1} under weights [R, N]; ties count half; NaN with one class."""
    return ranks.curve(targets, scores).areas(weights).auroc


def auprc(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] average precision (step-wise, as scikit-learn's); NaN with no positive."""
    return ranks.curve(targets, scores).areas(weights).auprc


def brier(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] mean squared difference of probability and truth."""
    return _mean((scores - targets) ** 2, weights)


def ece(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] expected calibration error over at most N_BINS equal-mass bins, fixed on the studies as they are."""
    rows, gap = _gaps(targets, scores)
    gaps = sparse.csr_array((gap, (rows, np.arange(len(scores)))))
    return ranks.ratio(np.abs(gaps @ weights.T).sum(0), weights.sum(1))


def _gaps(targets: Floats, scores: Floats) -> tuple[Ints, Floats]:
    """[N] bin of each study, [N] score minus truth."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_BINS + 1)[1:-1])) if len(scores) else scores
    return np.searchsorted(edges, scores, side="right"), scores - targets


def sensitivity(targets: Floats, scores: Floats, weights: Floats, thresholds: Floats) -> Floats:
    """[R] share of positives with a score at or above its threshold [N]; NaN with no positive."""
    return _share(targets * (scores >= thresholds), targets, weights)


def specificity(targets: Floats, scores: Floats, weights: Floats, thresholds: Floats) -> Floats:
    """[R] share of negatives with a score below its threshold [N]; NaN with no negative."""
    return _share((1 - targets) * (scores < thresholds), 1 - targets, weights)


def operating_point(targets: Floats, scores: Floats) -> float | None:
    """The threshold with the largest Youden index; None where only one class is there."""
    known = ~np.isnan(targets)
    targets, scores = targets[known], scores[known]
    if not 0 < targets.sum() < len(targets):
        return None
    order, ends = _sorted_groups(scores)
    positive = np.add.reduceat(targets[order], np.r_[0, ends[:-1] + 1])
    negative = np.add.reduceat(1 - targets[order], np.r_[0, ends[:-1] + 1])
    at_or_above = (
        np.cumsum(positive[::-1])[::-1] / positive.sum() - np.cumsum(negative[::-1])[::-1] / negative.sum()
    )
    return float(scores[order][ends][at_or_above.argmax()])


def measure(targets: Floats, scores: Floats, thresholds: Floats) -> Callable[[Floats], dict[str, Floats]]:
    """Every metric of one label and one arm, as a function of weights [R, N] that gives each [R].

    Unknown targets (NaN) count nowhere. Without thresholds (NaN) no sensitivity and specificity. What does not depend on
    the weights is done once.
    """
    known = np.flatnonzero(np.isfinite(targets))
    y, p, points = targets[known], scores[known], thresholds[known]
    curve, (bins, gap), n = ranks.curve(y, p, known, len(targets)), _gaps(y, p), N_BINS
    has_thresholds = bool(np.isfinite(points).all())
    found_positive, found_negative = y * (p >= points), (1 - y) * (p < points)
    rows = np.concatenate([bins, np.full(len(y), n), np.full(len(y), n + 1), np.full(len(y), n + 2)])
    values = np.concatenate([gap, gap**2, found_positive, found_negative])
    used = values != 0
    sums = sparse.csr_array(
        (values[used], (rows[used], np.tile(known, 4)[used])), shape=(n + 3, len(targets))
    )

    def under(weights: Floats) -> dict[str, Floats]:
        areas, summed = curve.areas(weights), sums @ weights.T  # [bins + 3, R]
        total = areas.positive + areas.negative
        found = {
            "auroc": areas.auroc,
            "auprc": areas.auprc,
            "brier": ranks.ratio(summed[n], total),
            "ece": ranks.ratio(np.abs(summed[:n]).sum(0), total),
        }
        if has_thresholds:
            found["sensitivity"] = ranks.ratio(summed[n + 1], areas.positive)
            found["specificity"] = ranks.ratio(summed[n + 2], areas.negative)
        return found

    return under


def estimate(values: Floats) -> Estimate:
    """Estimate and 95 % percentile interval from [1 + B] values, the first of which is the estimate itself."""
    if not len(values) or np.isnan(values[0]):
        return Estimate(None, None, None, "only one class, or one value, is there")
    replicates = values[1:]
    defined = replicates[~np.isnan(replicates)]
    if not len(replicates) or len(defined) < MIN_DEFINED * len(replicates):
        reason = (
            "too few replicates hold both classes, or two values"
            if len(replicates)
            else "no bootstrap asked for"
        )
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
    return _share(values, np.ones_like(values), weights)


def _share(part: Floats, whole: Floats, weights: Floats) -> Floats:
    """[R] sums of part [N] over sums of whole [N] under weights [R, N]; NaN where the whole is 0."""
    return ranks.ratio(weights @ part, weights @ whole)


def _sorted_groups(scores: Floats) -> tuple[Ints, Ints]:
    """Ascending order of the scores, and the index of the last study of each group of equal scores in that order."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
