"""Metrics of time-to-event predictions under many weightings at once; numpy and scipy, no torch.

What belongs here: concordance, time-dependent AUC, Brier scores, Kaplan-Meier curves, the log-rank test. What does not: the model's loss
(tasks/survival), which studies are judged (evaluate). As in `metrics`, `weights` [R, N] are rows of whole numbers (how often
a patient was drawn), the first one ones; both arms share the rows, so a gain is paired by construction.

Times are days; `event` is true where the event was seen and false where observation ended first. A higher risk means an
earlier event. Sources: Harrell et al. 1982 (C), Uno et al. 2011 (C with inverse probability of censoring weights), Uno et al.
2007 (cumulative-dynamic AUC), Graf et al. 1999 (Brier score), Kaplan and Meier 1958.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from training import metrics

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BLOCK = 8_000_000
"""Pairs held at once."""


def kaplan_meier(time: Floats, event: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """Distinct times [T] and the share still free of the event just after each, [R, T]."""
    times, member = np.unique(time, return_inverse=True)
    seen = _by_time(weights * event, member, len(times))
    left = _by_time(weights, member, len(times))
    at_risk = left.sum(1, keepdims=True) - np.cumsum(left, axis=1) + left
    with np.errstate(invalid="ignore", divide="ignore"):
        return times, np.cumprod(1 - np.where(at_risk > 0, seen / at_risk, 0.0), axis=1)


def uncensored(time: Floats, event: Bools, at: Floats) -> Floats:
    """[len(at)] probability of being under observation at a time, from the studies as they are.

    Where an event and an end of observation fall on one day the event comes first, so that who had an event is not at risk of
    being lost on that day.
    """
    times, member = np.unique(time, return_inverse=True)
    ones = np.ones((1, len(time)))
    lost, had = (_by_time(ones * which, member, len(times))[0] for which in (~event, event))
    at_risk = len(time) - np.cumsum(lost + had) + lost
    share = np.cumprod(1 - np.divide(lost, at_risk, out=np.zeros_like(lost), where=at_risk > 0))
    place = np.searchsorted(times, at, side="right") - 1
    return np.where(place >= 0, share[np.maximum(place, 0)], 1.0)


def harrell(time: Floats, event: Bools, risk: Floats, weights: Floats) -> Floats:
    """[R] share of comparable pairs in which the earlier event has the higher risk; ties of risk count half."""
    return _concordance(time, event, risk, weights, event.astype(np.float64))


def uno(time: Floats, event: Bools, risk: Floats, weights: Floats, until: float | None = None) -> Floats:
    """[R] the same with each event weighed by one over its squared chance of being observed, up to a time.

    until: events later than this count no more; without it every event whose chance is not zero counts.
    """
    chance = uncensored(time, event, time)
    counts = event & (chance > 0) & (time < (np.inf if until is None else until))
    each = np.divide(1.0, chance**2, out=np.zeros_like(chance), where=counts)
    return _concordance(time, event, risk, weights, each)


def auc_at(time: Floats, event: Bools, risk: Floats, weights: Floats, at: float) -> Floats:
    """[R] how well risk tells who has the event by a time from who is free of it then; NaN with one of them alone."""
    is_case, is_control = event & (time <= at), time > at
    chance = uncensored(time, event, time)
    share = np.divide(1.0, chance, out=np.zeros_like(chance), where=is_case & (chance > 0))
    judged = is_case | is_control
    rows = weights[:, judged] * np.where(is_control, 1.0, share)[judged]
    return metrics.auroc(is_case[judged].astype(np.float64), risk[judged], rows)


def brier_at(time: Floats, event: Bools, survival: Floats, weights: Floats, at: Floats) -> Floats:
    """[R, T] weighted squared error of survival [N, T] at times [T]; who was lost before a time is made up for by weights."""
    own, then = uncensored(time, event, time), uncensored(time, event, at)
    had = event[:, None] & (time[:, None] <= at[None, :])
    free = time[:, None] > at[None, :]
    error = np.where(had, survival**2 * _inverse(own)[:, None], 0.0)
    error += np.where(free, (1 - survival) ** 2 * _inverse(then)[None, :], 0.0)
    total = weights.sum(1, keepdims=True)
    return np.asarray(weights @ error / np.where(total > 0, total, np.nan))


def integrated_brier(time: Floats, event: Bools, survival: Floats, weights: Floats, at: Floats) -> Floats:
    """[R] mean of `brier_at` over the span of `at`, by the trapezoidal rule."""
    return np.asarray(
        np.trapezoid(brier_at(time, event, survival, weights, at), at, axis=1) / (at[-1] - at[0])
    )


def logrank(time: Floats, event: Bools, group: NDArray[np.int64]) -> float:
    """p of no difference between the curves of K groups, numbered 0..K-1 (Mantel 1966; chi-squared with K - 1 degrees).

    Raises ValueError where fewer than two groups are there, or no event was seen.
    """
    n_groups = int(group.max()) + 1 if len(group) else 0
    if n_groups < 2 or not event.any():
        raise ValueError("fewer than two groups, or no event")
    times, member = np.unique(time, return_inverse=True)
    own = (group[None, :] == np.arange(n_groups)[:, None]).astype(np.float64)  # [K, N]
    seen, left = _by_time(own * event, member, len(times)), _by_time(own, member, len(times))
    at_risk = left.sum(1, keepdims=True) - np.cumsum(left, axis=1) + left  # [K, T]
    n, d = at_risk.sum(0), seen.sum(0)
    expected = at_risk * d / n
    share = at_risk / n
    spread = np.divide(d * (n - d), n - 1, out=np.zeros_like(n), where=n > 1)  # hypergeometric
    covariance = np.diag((share * spread).sum(1)) - (share * spread) @ share.T
    excess = (seen - expected).sum(1)[:-1]  # the groups' excesses add up to 0
    return float(chi2.sf(excess @ np.linalg.pinv(covariance[:-1, :-1]) @ excess, n_groups - 1))


def _inverse(chance: Floats) -> Floats:
    return np.divide(1.0, chance, out=np.zeros_like(chance), where=chance > 0)


def _by_time(weights: Floats, member: NDArray[np.intp], n_times: int) -> Floats:
    """[R, T] sums of weights [R, N] over the studies of each time."""
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(n_times))
    return np.asarray(np.add.reduceat(weights[:, order].astype(np.float64), starts, axis=1))


def _concordance(time: Floats, event: Bools, risk: Floats, weights: Floats, each: Floats) -> Floats:
    """[R] weighted share of concordant pairs; `each` [N] is what a pair counts by its earlier event."""
    good, total = np.zeros(len(weights)), np.zeros(len(weights))
    weights = weights.astype(np.float64)
    for rows in _blocks(np.flatnonzero(each > 0), len(time)):
        later = time[None, :] > time[rows, None]
        later |= (time[None, :] == time[rows, None]) & ~event[None, :]
        order = risk[rows, None] - risk[None, :]
        agrees = later * ((order > 0) + 0.5 * (order == 0))
        own = weights[:, rows] * each[rows]
        good += (own * (weights @ agrees.T)).sum(1)
        total += (own * (weights @ later.T.astype(np.float64))).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(good / np.where(total > 0, total, np.nan))


def _blocks(rows: NDArray[np.intp], n: int) -> Iterator[NDArray[np.intp]]:
    size = max(1, _BLOCK // max(n, 1))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
