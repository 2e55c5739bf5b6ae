"""Heads on frozen features that do not lean on a property which goes with the label: the site, or a covariate of the cohort.

What belongs here: which directions of feature space tell the property, how many of them are taken out, and the head solved on
what is left. What does not: loss weights (batches), the same directions while a backbone learns (method.LinearHead), whether a
run leans on something (audits). numpy and scikit-learn, no torch.

Three things together, each of which alone recovers less (benchmarks/results/shortcut.md). Weights give every cell of property
and label the same say. An intercept for each value of the property, dropped afterwards, takes what the value alone explains out
of what the features must explain (Frisch and Waugh 1933). And directions by which a linear probe tells the property are projected
out one after another (Ravfogel et al. 2020, ACL 7237). How many, and how strongly the head is regularised, is judged where it
matters: by the AUROC with the association turned round, on the tune split and on train patients left out of the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from training.audits import pairs
from training.audits.reliance import Judged, sides, turned_weights
from training.cells import UNKNOWN
from training.probe import MIN_JUDGES, N_FOLDS, Head, Log, Seats, Solver, standardise

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]

MAX_ROUNDS = 3
_INTERCEPT = 10.0
"""Scale of a value's column: its coefficient is penalised a hundredth as much as a feature's."""
_STRENGTH = 0.01
"""Inverse regularisation of the probe that tells the property."""


@dataclass(frozen=True)
class _Given:
    """x [N, F] standardised, and all that a fit needs beside it."""

    x: Floats
    targets: Floats
    weights: Floats
    value: Floats
    """[N, V] one column a value of the property, centred on the train split; 0 where it is not known."""


def fit_repaired(
    features: NDArray[np.float32],
    targets: Floats,
    weights: Floats,
    truth: Floats,
    seats: Seats,
    *,
    property_of: Strings,
    solver: Solver,
    log: Log,
) -> Head:
    """The head whose AUROC stands best where the property's association with the label is turned round.

    As probe.fit_probe; property_of [N]: each study's value, `unknown` where there is none. The head's `removed` are the
    directions taken out; its matrix does not see them.
    """
    train = seats.train
    mean, std = standardise(features[train])
    given = _Given((features - mean) / std, targets, weights, _columns(property_of, train))
    judge = _judges(truth, property_of, seats)
    fits = [(train, seats.tune)]
    if int(np.isfinite(truth[seats.tune]).any(1).sum()) < MIN_JUDGES:
        fold = seats.patient[train] % N_FOLDS
        fits += [(train[fold != k], train[fold == k]) for k in sorted(set(fold.tolist()))]
    bases = [_directions(given, rows, property_of) for rows, _ in fits]
    rows_judged = np.concatenate([judged for _, judged in fits])
    best: tuple[float, Head] | None = None
    for step, (rounds, strength) in enumerate(product(range(MAX_ROUNDS + 1), solver.strengths)):
        logits = np.full(truth.shape, np.nan)
        for part, (rows, judged) in reversed(
            list(enumerate(fits))
        ):  # the whole train split last: its head is kept
            removed = bases[part][min(rounds, len(bases[part]) - 1)]
            matrix, bias = _solve(given, rows, removed, solver, strength)
            logits[judged] = given.x[judged] @ matrix + bias
        turned, cost = judge(logits), solver.cost(logits[rows_judged], truth[rows_judged])
        log(
            step,
            {"tune/loss": cost, "repair/directions": float(removed.shape[1])}
            | ({} if turned is None else {"repair/turned_auroc": turned}),
        )
        score = -cost if turned is None else turned
        if best is None or score > best[0] + 1e-9:
            best = (score, Head(mean, std, matrix, bias, removed))
    assert best is not None
    return best[1]


def _columns(property_of: Strings, train: Ints) -> Floats:
    names = sorted(set(property_of[train].tolist()) - {UNKNOWN})
    shown = (property_of[:, None] == np.array(names)).astype(np.float64)
    shown -= shown[train].mean(0)
    shown[~np.isin(property_of, names)] = 0
    return np.asarray(shown)


def _solve(
    given: _Given, rows: Ints, removed: Floats, solver: Solver, strength: float
) -> tuple[Floats, Floats]:
    """Matrix [F, C] that is blind to `removed`, and bias [C]; fitted with an intercept a value, which is dropped."""
    x = given.x[rows] - (given.x[rows] @ removed) @ removed.T
    wide = np.concatenate([x, _INTERCEPT * given.value[rows]], axis=1)  # [n, F + V]
    matrix, bias = solver.solve(wide, given.targets[rows], given.weights[rows], strength)
    kept = matrix[: x.shape[1]]
    return np.asarray(kept - removed @ (removed.T @ kept)), bias


def _directions(given: _Given, rows: Ints, property_of: Strings) -> list[Floats]:
    """After 0, 1, .. MAX_ROUNDS rounds: orthonormal directions [F, k] by which a linear probe told the property."""
    from sklearn.linear_model import LogisticRegression

    rows = rows[property_of[rows] != UNKNOWN]
    found = [np.zeros((given.x.shape[1], 0))]
    if len(set(property_of[rows].tolist())) < 2:
        return found
    for _ in range(MAX_ROUNDS):
        removed = found[-1]
        x = given.x[rows] - (given.x[rows] @ removed) @ removed.T
        coefficients = (
            LogisticRegression(C=_STRENGTH, max_iter=300, tol=1e-3).fit(x, property_of[rows]).coef_.T
        )  # [F, V]
        coefficients -= removed @ (removed.T @ coefficients)
        axes, size, _ = np.linalg.svd(coefficients, full_matrices=False)
        found.append(np.concatenate([removed, axes[:, size > 1e-6 * size[0]]], axis=1))
    return found


def _judges(truth: Floats, property_of: Strings, seats: Seats) -> Callable[[Floats], float | None]:
    """Logits [N, C], NaN where not judged -> mean AUROC with the association turned round; None where none can be turned."""
    split = np.full(len(truth), "", dtype="<U5")
    split[seats.train], split[seats.tune] = "train", "tune"

    def judge(logits: Floats) -> float | None:
        found = []
        for c in range(truth.shape[1]):
            judged = Judged(truth[:, c], logits[:, c], split, seats.patient)
            side = sides(property_of, judged)
            if side is None:
                continue
            rows = np.flatnonzero(np.isfinite(truth[:, c]) & np.isfinite(logits[:, c]) & np.isfinite(side))
            weights = turned_weights(side, judged, rows)
            if weights is not None:
                share = pairs.pair_share(
                    truth[rows, c], logits[rows, c], weights, np.zeros(len(rows), np.int64)
                )
                found += [] if share is None else [share.value]
        return float(np.mean(found)) if found else None

    return judge
