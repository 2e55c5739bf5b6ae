"""AUROC over pairs of studies that may be weighted and matched, with an interval in closed form; numpy and scipy, no torch.

What belongs here: the share of (positive, negative) pairs in the right order, over pairs within strata, under fixed weights,
and its influence function, so that differences of two such shares on the same studies have an interval too. What does not:
which pairs say something (reliance), plain AUROCs of the arms (metrics, delong).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REACH = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Share:
    """Share of pairs in the right order, and each study's influence on it [N] (0 for studies in no pair)."""

    value: float
    influence: Floats


def pair_share(targets: Floats, scores: Floats, weights: Floats, stratum: Ints) -> Share | None:
    """P(score of a positive > score of a negative), ties half, over pairs that share a stratum; None where there is none.

    targets [N] in {0, 1}, weights [N] >= 0: a pair counts with the product. One stratum and equal weights give the AUROC.
    """
    influence_sum = np.zeros(len(targets))
    pair_weight = np.zeros(len(targets))
    total = won = 0.0
    for name in np.unique(stratum):
        here = np.flatnonzero((stratum == name) & (weights > 0))
        positive, negative = here[targets[here] == 1], here[targets[here] == 0]
        if not len(positive) or not len(negative):
            continue
        wp, wn = weights[positive], weights[negative]
        above = _below(scores[positive], scores[negative], wn)  # weight of negatives below each positive
        beaten = wp.sum() - _below(
            scores[negative], scores[positive], wp
        )  # weight of positives above each negative
        total += wp.sum() * wn.sum()
        won += float(wp @ above)
        influence_sum[positive], influence_sum[negative] = wp * above, wn * beaten
        pair_weight[positive], pair_weight[negative] = wp * wn.sum(), wn * wp.sum()
    if not total:
        return None
    value = won / total
    return Share(value, (influence_sum - value * pair_weight) / total)


def _below(own: Floats, others: Floats, weights: Floats) -> Floats:
    """Weight of `others` below each of `own`; ties count half."""
    order = np.argsort(others, kind="stable")
    ranked, running = others[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(
        (running[np.searchsorted(ranked, own, "left")] + running[np.searchsorted(ranked, own, "right")]) / 2
    )


def error(influence: Floats, cluster: Ints) -> float:
    """Standard error of the share whose influences [N] these are; studies of one cluster (patient) go together."""
    _, member = np.unique(cluster, return_inverse=True)
    sums = np.bincount(member, influence)
    n = int((np.bincount(member, influence != 0) > 0).sum())
    return float(np.sqrt((sums**2).sum() * n / max(n - 1, 1)))


def interval(share: Share, cluster: Ints) -> tuple[float, float]:
    """95 % interval, within 0..1."""
    reach = REACH * error(share.influence, cluster)
    return max(0.0, share.value - reach), min(1.0, share.value + reach)


def follow(side: Floats, scores: Floats, label: Floats, cluster: Ints) -> tuple[float, float] | None:
    """How far scores follow a yes/no property among studies of the same label: (share, z of no such thing).

    Van Elteren's stratified Mann-Whitney statistic. A patient counts once for each label and side, with the mean score.
    None where no label has both sides.
    """
    _, person = np.unique(cluster, return_inverse=True)
    kept, member = np.unique(
        4 * person + 2 * side.astype(np.int64) + label.astype(np.int64), return_inverse=True
    )
    mean = np.bincount(member, scores) / np.bincount(member)
    sides, labels = kept // 2 % 2, kept % 2
    won = weight = variance = 0.0
    for name in (0, 1):
        with_it, without = mean[(labels == name) & (sides == 1)], mean[(labels == name) & (sides == 0)]
        n, m = len(with_it), len(without)
        if not n or not m:
            continue
        ranks = rankdata(np.concatenate([with_it, without]))
        share = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
        own = n * m / (n + m + 1)  # locally best weight: the inverse of the variance under no effect
        won, weight, variance = (
            won + own * share,
            weight + own,
            variance + own**2 * (n + m + 1) / (12 * n * m),
        )
    if not weight:
        return None
    return won / weight, (won / weight - 0.5) / (float(np.sqrt(variance)) / weight)
