"""Areas under the ROC and precision-recall curve under many weightings of the same studies at once; numpy and scipy.

Both curves change their area only at scores that a positive has (*steps*), so weights are summed by step, in one sparse product
with all weightings, before anything is ranked: with few positives little is left. What belongs here: that arithmetic. What does
not: other metrics, draws and intervals (metrics).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TINY = np.finfo(np.float64).tiny
"""Keeps 0 / 0 at 0: before the first draw of an example nothing is called positive."""


@dataclass(frozen=True, slots=True)
class Areas:
    """Under R weightings, each [R]."""

    auroc: Floats
    """NaN with one class; ties count half."""
    auprc: Floats
    """Average precision (step-wise); NaN with no positive."""
    positive: Floats
    """Weight of the positives."""
    negative: Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """K steps of N studies, the highest score first. sums [2 K + 1 (+ K), N]: positives at each step; negatives between the
    step before and it, and below the last; where a negative has the score of a step, negatives at each step besides."""

    sums: sparse.csr_array
    n_steps: int

    def areas(self, weights: Floats) -> Areas:
        """Both areas under weights [R, N], fastest where these lie study by study in memory (`metrics.draws_of`)."""
        k = self.n_steps
        sums = self.sums @ weights.T  # [rows, R]
        positive, false = sums[:k].T.copy(), sums[k : 2 * k].T.copy()  # [R, K]
        tied = sums[2 * k + 1 :].T.copy() if len(sums) > 2 * k + 1 else None
        if tied is not None:
            false += tied
        true, false = positive.cumsum(1), false.cumsum(1)  # positives, negatives at or above each step
        n_positive = true[:, -1].copy() if k else np.zeros(len(weights))
        n_negative = (false[:, -1] if k else 0.0) + sums[2 * k]
        lost = np.einsum("rk,rk->r", positive, false)
        if tied is not None:
            lost -= 0.5 * np.einsum("rk,rk->r", positive, tied)
        false += true
        true /= np.maximum(false, _TINY, out=false)
        pairs, precise = n_positive * n_negative, np.einsum("rk,rk->r", true, positive)
        return Areas(ratio(pairs - lost, pairs), ratio(precise, n_positive), n_positive, n_negative)


def curve(targets: Floats, scores: Floats, place: Ints | None = None, n: int | None = None) -> Curve:
    """The steps of targets [M] in 0..1 by their scores [M]. place [M]: their columns among n weights; none: M in this order."""
    place, n = (np.arange(len(targets)), len(targets)) if place is None else (place, n)
    values = np.unique(-scores[targets > 0])
    k = len(values)
    at = np.searchsorted(values, -scores)
    positive, negative = np.flatnonzero(targets > 0), np.flatnonzero(targets < 1)
    is_tied = np.isin(scores[negative], -values)
    rows = np.concatenate([at[positive], np.where(is_tied, 2 * k + 1, k) + at[negative]])
    columns = place[np.concatenate([positive, negative])]
    share = np.concatenate([targets[positive], 1 - targets[negative]])
    n_rows = 3 * k + 1 if is_tied.any() else 2 * k + 1
    return Curve(sparse.csr_array((share, (rows, columns)), shape=(n_rows, n)), k)


def ratio(part: Floats, whole: Floats) -> Floats:
    """[R] part over whole; NaN where the whole is 0."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan))
