"""Metrics of measurements under the draws of the bootstrap: errors in their unit, correlation, and what a prediction means.

What belongs here: the arithmetic, and the lines of a report that need no resampling. What does not: the task (tasks/regression),
metrics of yes/no questions (metrics). Sources: Spearman 1904 (midranks for ties); Cox 1958 and Miller et al. 1991 (calibration
line of truth on prediction); Bland and Altman 1986 (limits of agreement); Kelley 1935 (correlation ratio, corrected for the
number of groups). No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.audit import ARMS, Item, Scores
from training.examples import Examples

Floats = NDArray[np.float64]

JUDGED = ("test", "holdout")
_FEWEST = 3
"""Studies from which a spread can be told."""


def measure(truth: Floats, answers: Floats) -> Callable[[Floats], dict[str, Floats]]:
    """MAE, RMSE, bias (in the unit of truth), R2, Pearson, Spearman, slope of truth on answers (1 is right): each [R] of
    weights [R, N]. Unknown truth (NaN) counts nowhere; what has no value is NaN.
    """
    known = np.flatnonzero(np.isfinite(truth))
    y, p = truth[known], answers[known]
    error = p - y
    order_y, order_p = _ties(y), _ties(p)

    def under(weights: Floats) -> dict[str, Floats]:
        w = np.take(weights, known, axis=1)
        total = w.sum(1)
        whole = np.where(total > 0, total, np.nan)
        mean_y, mean_p = (w @ y) / whole, (w @ p) / whole
        squares = (w @ error**2) / whole
        var_y, var_p = (w @ y**2) / whole - mean_y**2, (w @ p**2) / whole - mean_p**2
        both = (w @ (y * p)) / whole - mean_y * mean_p
        tiny_y, tiny_p = 1e-12 * (1 + y.var()), 1e-12 * (1 + p.var())
        var_y, var_p = np.where(var_y > tiny_y, var_y, np.nan), np.where(var_p > tiny_p, var_p, np.nan)
        return {
            "mae": (w @ np.abs(error)) / whole,
            "rmse": np.sqrt(squares),
            "bias": (w @ error) / whole,
            "r2": 1 - squares / var_y,
            "pearson": both / np.sqrt(var_y * var_p),
            "spearman": _correlation(_midranks(w, *order_y), _midranks(w, *order_p), w),
            "slope": both / var_p,
        }

    return under


def correlation_ratio(groups: NDArray[np.str_], values: Floats) -> float | None:
    """Share of the spread [N] that the groups tell, as a correlation from 0 to 1, corrected for their number; None where
    there is one group, or no spread.
    """
    names, number = np.unique(groups, return_inverse=True)
    n, k = len(values), len(names)
    total = float(((values - values.mean()) ** 2).sum()) if n else 0.0
    if k < 2 or n <= k or total == 0:
        return None
    means = np.bincount(number, values) / np.bincount(number)
    within = float(((values - means[number]) ** 2).sum())
    share = 1 - (within / (n - k)) / (total / (n - 1))
    return float(np.sqrt(max(0.0, share)))


def lines(examples: Examples, names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """Section `regression`: what knowing nothing, or the site alone, would give; and the limits of agreement."""
    train = examples.split == "train"
    for split in JUDGED:
        here = np.flatnonzero(scores.split == split)
        for c, label in enumerate(names) if len(here) else ():
            y, site = truth[scores.index[here], c], examples.site[scores.index[here]]
            known = np.isfinite(y)
            taught = train & np.isfinite(truth[:, c])
            if known.sum() < _FEWEST or not taught.any():
                text = f"fewer than {_FEWEST} studies of known value"
                yield Item("regression", f"{split}: {label}", "not_applicable", None, text)
                continue
            middle = float(np.median(truth[taught, c]))
            yield _reference(f"{split}: {label}, knowing nothing", y[known], np.full(known.sum(), middle))
            alone = {s: float(np.median(truth[taught & (examples.site == s), c])) for s in
                     set(examples.site[taught].tolist())}  # fmt: skip
            guess = np.array([alone.get(s, middle) for s in site[known].tolist()])
            yield _reference(f"{split}: {label}, knowing nothing but the site", y[known], guess)
            for arm in ARMS:
                error = (scores.probability[arm][here, c] - y)[known]
                low, high = error.mean() + np.array([-1.96, 1.96]) * error.std(ddof=1)
                text = f"prediction minus truth lies from {low:+.3g} to {high:+.3g} in 95 % of {known.sum()} studies"
                name = f"{split}: {label}, limits of agreement, {arm}"
                yield Item("regression", name, "computed", float(high - low), text)


def _reference(where: str, y: Floats, guess: Floats) -> Item:
    text = "mean absolute error of the train split's median"
    return Item("regression", where, "computed", float(np.abs(guess - y).mean()), text)


def _ties(values: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ascending order, and the number of each study's group of equal values, in that order."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    return order, np.cumsum(np.append(False, ranked[1:] != ranked[:-1])).astype(np.int64)


def _midranks(weights: Floats, order: NDArray[np.int64], group: NDArray[np.int64]) -> Floats:
    """[R, N] rank of each study where it stands as often as its weight says; equal values share the mean of theirs."""
    if not len(order):
        return weights
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    held = np.add.reduceat(np.take(weights, order, axis=1), starts, axis=1)  # [R, groups]
    middle = np.cumsum(held, axis=1) - held + (held + 1) / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = middle[:, group]
    return ranks


def _correlation(a: Floats, b: Floats, weights: Floats) -> Floats:
    """[R] weighted Pearson correlation of rows [R, N]; NaN where either has no spread."""
    total = weights.sum(1, keepdims=True)
    whole = np.where(total > 0, total, np.nan)
    a = a - (weights * a).sum(1, keepdims=True) / whole
    b = b - (weights * b).sum(1, keepdims=True) / whole
    spread = (weights * a**2).sum(1) * (weights * b**2).sum(1)
    return np.asarray((weights * a * b).sum(1) / np.sqrt(np.where(spread > 0, spread, np.nan)))
