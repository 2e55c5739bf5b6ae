"""Metrics of binary scores with patient-cluster bootstrap intervals; numpy, and torch for running sums alone.

Every metric is computed for many weightings of the same studies at once: scores are sorted once, and a bootstrap
replicate is a row of whole-number weights (how often its patient was drawn). The estimate is the row of ones. All
metrics and both arms share the rows, so a gain is paired by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_BINS = 10
"""Equal-mass bins of the calibration error."""

LOWER_IS_BETTER = frozenset({"brier", "ece", "mae", "rmse", "log_loss", "hd95_mm", "area_error"})
"""Metrics of which a fall is a gain."""

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
    return _auroc(*_ranked(targets[order], weights, order, ends))


def auprc(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] average precision (step-wise, as scikit-learn's); NaN with no positive."""
    order, ends = _sorted_groups(scores)
    return _auprc(*_ranked(targets[order], weights, order, ends))


def _ranked(ranked_targets: Floats, weights: Floats, order: Ints, ends: Ints) -> tuple[Floats, Floats]:
    """Weights of positives and of negatives, each [R, G], by ascending score, equal scores together."""
    every = np.take(weights, order, axis=1)
    positive = every * ranked_targets
    negative = every - positive
    if len(ends) < len(order):
        return _grouped(positive, ends), _grouped(negative, ends)
    return positive, negative


def _auroc(positive: Floats, negative: Floats) -> Floats:
    below = _summed(negative)
    pairs = positive.sum(1) * below[:, -1]
    below -= 0.5 * negative
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.einsum("rg,rg->r", positive, below) / np.where(pairs > 0, pairs, np.nan))


def _auprc(positive: Floats, negative: Floats) -> Floats:
    positive, negative = positive[:, ::-1].copy(), negative[:, ::-1].copy()
    true, called = _summed(positive), _summed(positive + negative)
    total = true[:, -1].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        true /= np.maximum(called, _TINY)
        return np.asarray(np.einsum("rg,rg->r", true, positive) / np.where(total > 0, total, np.nan))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """While several threads measure, torch starts none of its own in each of them."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _summed(values: Floats) -> Floats:
    """Running sums along each row, by torch: twice as fast as numpy's."""
    import torch

    # a single column counts as contiguous whatever its stride, and torch takes none that is negative
    return np.asarray(
        torch.from_numpy(values.copy() if min(values.strides) < 0 else values).cumsum(1).numpy()
    )


_TINY = np.finfo(np.float64).tiny
"""Keeps 0 / 0 at 0: before the first draw of an example nothing is called positive."""


def brier(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] mean squared difference of probability and truth."""
    return _mean((scores - targets) ** 2, weights)


def ece(targets: Floats, scores: Floats, weights: Floats) -> Floats:
    """[R] expected calibration error over at most N_BINS equal-mass bins, fixed on the studies as they are."""
    return _ece(_gaps(targets, scores), np.ones_like(targets), weights)


def _gaps(targets: Floats, scores: Floats) -> Floats:
    """[N, bins] score minus truth, in the bin of each study."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    member = np.searchsorted(edges, scores, side="right")[:, None] == np.arange(len(edges) + 1)[None, :]
    return np.asarray(member * (scores - targets)[:, None])


def _ece(gaps: Floats, every: Floats, weights: Floats) -> Floats:
    gap = weights @ gaps
    total = weights @ every
    return np.asarray(np.abs(gap).sum(1) / np.where(total > 0, total, np.nan))


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
    order, ends = _sorted_groups(p)
    ranked_y, place = y[order], known[order]

    def spread(values: Floats) -> Floats:
        whole = np.zeros((len(targets), *values.shape[1:]))
        whole[known] = values
        return whole

    gaps, squares, every = spread(_gaps(y, p)), spread((p - y) ** 2), spread(np.ones_like(y))
    positive, negative = spread(y), spread(1 - y)
    found_positive, found_negative = spread(y * (p >= points)), spread((1 - y) * (p < points))
    has_thresholds = bool(np.isfinite(points).all())

    def under(weights: Floats) -> dict[str, Floats]:
        ranked = _ranked(ranked_y, weights, place, ends)
        found = {
            "auroc": _auroc(*ranked),
            "auprc": _auprc(*ranked),
            "brier": _share(squares, every, weights),
            "ece": _ece(gaps, every, weights),
        }
        if has_thresholds:
            found["sensitivity"] = _share(found_positive, positive, weights)
            found["specificity"] = _share(found_negative, negative, weights)
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
    total = weights @ whole
    return np.asarray((weights @ part) / np.where(total > 0, total, np.nan))


def _sorted_groups(scores: Floats) -> tuple[Ints, Ints]:
    """Ascending order of the scores, and the index of the last study of each group of equal scores in that order."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)


def _grouped(weights: Floats, ends: Ints) -> Floats:
    """[R, N] sorted weights -> [R, groups] sums."""
    return np.asarray(np.diff(np.cumsum(weights, axis=1)[:, ends], axis=1, prepend=0))
