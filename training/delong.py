"""Covariance of areas under ROC curves on the same studies, without resampling; numpy and scipy, no torch.

What belongs here: DeLong et al. 1988 for correlated curves, with Obuchowski's extension (1997) for patients with several
studies; the two are the same where each patient has one. What does not: bootstrap intervals (metrics).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Difference:
    """AUROC of the second arm minus that of the first."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided, of no difference."""


def auc_covariance(targets: Floats, scores: Floats, cluster: Ints) -> tuple[Floats, Floats]:
    """AUROC [K] of K scores [K, N] of targets [N] in {0, 1}, and their covariance [K, K] over clusters [N] (patients).

    Raises ValueError where fewer than two clusters hold a positive, or a negative.
    """
    positive = targets == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    _, member = np.unique(cluster, return_inverse=True)
    n_clusters = int(member.max()) + 1 if len(member) else 0
    of_positive = np.bincount(member[positive], minlength=n_clusters).astype(np.float64)
    of_negative = np.bincount(member[~positive], minlength=n_clusters).astype(np.float64)
    with_positive, with_negative = int((of_positive > 0).sum()), int((of_negative > 0).sum())
    if min(with_positive, with_negative) < 2:
        raise ValueError("fewer than two patients with, or without, the finding")
    v10 = np.stack([_placements(row[positive], row[~positive]) for row in scores])  # [K, positives]
    v01 = 1 - np.stack([_placements(row[~positive], row[positive]) for row in scores])  # [K, negatives]
    areas = v10.mean(1)
    sums10 = np.stack([np.bincount(member[positive], row, n_clusters) for row in v10]) - np.outer(
        areas, of_positive
    )
    sums01 = np.stack([np.bincount(member[~positive], row, n_clusters) for row in v01]) - np.outer(
        areas, of_negative
    )
    s10 = with_positive / ((with_positive - 1) * n_positive) * (sums10 @ sums10.T)
    s01 = with_negative / ((with_negative - 1) * n_negative) * (sums01 @ sums01.T)
    s11 = n_clusters / (n_clusters - 1) * (sums10 @ sums01.T)
    return areas, s10 / n_positive + s01 / n_negative + (s11 + s11.T) / (n_positive * n_negative)


def compare(targets: Floats, first: Floats, second: Floats, cluster: Ints) -> Difference:
    """How much better `second` [N] tells the targets apart than `first` [N], with a 95 % interval.

    Raises ValueError as `auc_covariance` does.
    """
    areas, covariance = auc_covariance(targets, np.stack([first, second]), cluster)
    value = float(areas[1] - areas[0])
    error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    if error < 1e-12:
        return Difference(value, value, value, 1.0 if abs(value) < 1e-12 else 0.0)
    reach = float(norm.ppf(0.975)) * error
    return Difference(value, value - reach, value + reach, float(2 * norm.sf(abs(value) / error)))


def _placements(own: Floats, others: Floats) -> Floats:
    """Share of `others` that lies below each of `own`; ties count half."""
    both = rankdata(np.concatenate([own, others]))[: len(own)]
    return np.asarray((both - rankdata(own)) / len(others))
