"""Does a model lean on what is recorded of a study instead of on what its image shows? Figures of one label and one column.

What belongs here: how far the label goes with the column, how far the scores follow it among studies of the same label, and
the AUROC where the association is turned round. What does not: where columns come from (columns), what is concluded
(verdict). numpy, no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.audits import pairs
from training.audits.crossfit import out_of_fold
from training.cells import UNKNOWN

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
Bools = NDArray[np.bool_]

MIN_VALUE = 5
"""Values of fewer studies of the train split are not looked at."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reliance:
    """What one column has to do with one label, and with a model's scores of it."""

    column: str
    association: float
    """Cramer's V on the train split, corrected for chance (Bergsma 2013)."""
    follows: float
    """Of two studies with the same label, how often the one with the value that goes with the label scores higher; 0.5 is
    no reliance."""
    z: float
    """Of that being 0.5."""
    readable: float
    """z of the same for an out-of-fold probe of the column on the features: what cannot be read cannot be used. NaN where it
    was not asked."""
    plain: Interval
    """AUROC on the test split."""
    turned: Interval | None
    """AUROC on the test split under weights that turn the association of the train split round; None where it has no study
    for that."""
    drop: Interval | None
    """plain minus turned."""
    n_effective: float
    """Studies that the turned AUROC rests on (Kish 1965): 1 / sum of squared shares of weight."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One label's studies that no model learned from, and those that taught. All [N] in the order of the cohort."""

    truth: Floats
    """0, 1, NaN unknown."""
    score: Floats
    """NaN where the model was not asked."""
    split: Strings
    patient: Ints


def association(values: Strings, truth: Floats) -> float | None:
    """Cramer's V of a column and a label, corrected for chance; unknown values left out. None where either has one value."""
    known = np.isfinite(truth) & (values != UNKNOWN)
    if len(set(truth[known].tolist())) < 2 or len(set(values[known].tolist())) < 2:
        return None
    _, rows = np.unique(values[known], return_inverse=True)
    n, k, r = int(known.sum()), int(rows.max()) + 1, 2
    table = np.zeros((k, r))
    np.add.at(table, (rows, truth[known].astype(np.int64)), 1)
    expected = table.sum(1, keepdims=True) @ table.sum(0, keepdims=True) / n
    phi2 = max(0.0, float(((table - expected) ** 2 / expected).sum()) / n - (k - 1) * (r - 1) / (n - 1))
    sides = min(k - (k - 1) ** 2 / (n - 1), r - (r - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, np.sqrt(phi2 / sides))) if sides > 0 else None


def sides(values: Strings, judged: Judged) -> Floats | None:
    """[N] 1 where the value goes with the label on the train split, 0 where it goes with its absence, NaN where it is rare
    or unknown; None where one side is empty."""
    taught = (judged.split == "train") & np.isfinite(judged.truth)
    overall = float(judged.truth[taught].mean()) if taught.any() else np.nan
    found = np.full(len(values), np.nan)
    for value in set(values[taught].tolist()) - {UNKNOWN}:
        here = taught & (values == value)
        if here.sum() >= MIN_VALUE:
            found[values == value] = float(judged.truth[here].mean() > overall)
    return found if {0.0, 1.0} <= set(found[taught].tolist()) else None


def turned_weights(side: Floats, judged: Judged, rows: Ints) -> Floats | None:
    """[len(rows)] weights under which a positive has the sides that negatives have on the train split, and the other way
    round: P_train(side | other label) / P_rows(side | label). None where that needs a cell without a study."""
    taught = (judged.split == "train") & np.isfinite(judged.truth) & np.isfinite(side)
    weights = np.zeros(len(rows))
    for label in (0.0, 1.0):
        other = side[taught & (judged.truth == 1 - label)]
        here = judged.truth[rows] == label
        for s in (0.0, 1.0):
            wanted, cell = float((other == s).mean()) if len(other) else 0.0, here & (side[rows] == s)
            if wanted and not cell.any():
                return None
            if cell.any():
                weights[cell] = wanted * here.sum() / cell.sum()
    return weights


def reliance(
    column: str, values: Strings, judged: Judged, principal: NDArray[np.float32] | None, seed: int
) -> Reliance | str:
    """The figures, or why there are none. principal [N, K]: components of the model's features, the same for all columns."""
    taught = judged.split == "train"
    strength = association(values[taught], judged.truth[taught])
    side = sides(values, judged)
    if strength is None or side is None:
        return "one value, or one class, on the train split"
    known = np.isfinite(judged.truth) & np.isfinite(judged.score) & np.isfinite(side)
    unseen = np.flatnonzero(known & np.isin(judged.split, ["tune", "test"]))
    leaning = pairs.follow(side[unseen], judged.score[unseen], judged.truth[unseen], judged.patient[unseen])
    if leaning is None:
        return "no label has both kinds of value on tune and test"
    readable = float("nan") if principal is None else _readable(side, judged, principal, seed)
    rows = np.flatnonzero(known & (judged.split == "test"))
    y, score, patient = judged.truth[rows], judged.score[rows], judged.patient[rows]
    everyone, ones = np.zeros(len(rows), np.int64), np.ones(len(rows))
    plain = pairs.pair_share(y, score, ones, everyone)
    if plain is None:
        return "the test split holds one class"
    weights = turned_weights(side, judged, rows)
    turned = None if weights is None else pairs.pair_share(y, score, weights, everyone)
    drop, n_effective = None, 0.0
    if turned is not None and weights is not None:
        lost = pairs.Share(plain.value - turned.value, plain.influence - turned.influence)
        reach = pairs.REACH * pairs.error(lost.influence, patient)
        drop = Interval(lost.value, lost.value - reach, lost.value + reach)
        n_effective = float(weights.sum() ** 2 / (weights**2).sum())
    return Reliance(
        column,
        strength,
        *leaning,
        readable,
        _given(plain, patient),
        None if turned is None else _given(turned, patient),
        drop,
        n_effective,
    )


def _readable(side: Floats, judged: Judged, principal: NDArray[np.float32], seed: int) -> float:
    """How surely features tell the side among studies of the same label: z of an out-of-fold probe, all splits together."""
    here = np.flatnonzero(
        np.isfinite(side) & np.isfinite(judged.truth) & np.isin(judged.split, ["train", "tune", "test"])
    )
    share = out_of_fold(principal[here], side[here, None], judged.patient[here], seed)[:, 0]
    if np.isnan(share).any():
        return float("nan")
    found = pairs.follow(side[here], share, judged.truth[here], judged.patient[here])
    return float("nan") if found is None else found[1]


def _given(share: pairs.Share, patient: Ints) -> Interval:
    return Interval(share.value, *pairs.interval(share, patient))
