"""How a probe on frozen features gets better with patients, and where that leads: many small fits, seconds on a CPU.

What belongs here: repeated draws of who teaches and who judges, ridge probes on subsets, the power law. What does not: which
subsets are asked for besides (site_value). The test split has no say: what to collect next is a choice, so teachers and judges
are drawn from the train and tune splits alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.metrics import Estimate
from training.probe import standardise

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

JUDGES = 0.25
"""Share of the patients who judge in one draw; the others teach."""
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
"""Shares of the teachers, each inside the next."""
AHEAD = (2.0, 4.0)
"""How many times as many patients the power law is followed."""
COMPONENTS = 256
"""Features are turned to their principal components, and no more than so many are kept: a probe then takes milliseconds."""
MIN_PATIENTS = 8
MIN_SIZES = 4
RIDGES = tuple(10.0**k for k in range(-2, 5))
EXPONENTS = np.linspace(0.1, 1.5, 29)
"""Exponents tried; Hestness et al. 2017 found 0.07 to 0.35 for deep learners, shallow ones go up to 1 and above."""


@dataclass(frozen=True)
class Draws:
    """Development members (train and tune split), and S draws of who teaches and who judges, by patient."""

    x: Floats
    """[N, F] principal components of the standardised features, at most COMPONENTS."""
    truth: Floats
    """[N, C] 0 or 1, NaN unknown."""
    patient: Ints
    """[N] 0..P-1"""
    order: Ints
    """[S, P] patients in a random order: the first JUDGES of them judge, the others teach, nested from the end."""
    weights: Floats
    """[1 + R, P] patient-cluster bootstrap, ones first."""

    @property
    def n_patients(self) -> int:
        """Patients of the train and tune split."""
        return int(self.order.shape[1])

    @property
    def n_judges(self) -> int:
        """Patients who judge in each draw."""
        return max(1, round(JUDGES * self.n_patients))


@dataclass(frozen=True, slots=True)
class Point:
    """AUROC with n_patients teaching. is_measured: else the power law says it."""

    n_patients: int
    auroc: Estimate
    is_measured: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """error = floor + scale * patients ** -exponent, error being 1 - AUROC; reason says why there is no law."""

    points: Sequence[Point]
    exponent: Estimate | None
    reason: str = ""


def draw(
    features: NDArray[np.float32], truth: Floats, patient: Ints, *, n_draws: int, n_replicates: int, seed: int
) -> Draws:
    """Who teaches and who judges, n_draws times. Rows are those of the train and tune split with a known truth."""
    mean, std = standardise(features)
    _, dense = np.unique(patient, return_inverse=True)
    n = int(dense.max()) + 1
    order = np.stack(
        [np.random.Generator(np.random.Philox(key=[seed, 61 + s])).permutation(n) for s in range(n_draws)]
    )
    weights = metrics.cluster_draws(np.arange(n), n_replicates, seed).astype(np.float64)
    x = (features - mean) / std
    if x.shape[1] > COMPONENTS:
        _, axes = np.linalg.eigh(x.T @ x)
        x = x @ axes[:, -COMPONENTS:]
    return Draws(x, truth, dense, order, weights)


def judged(draws: Draws, s: int, teachers: Bools) -> Floats:
    """[1 + R] macro AUROC, in draw s, of a ridge probe taught by the patients [P] who are teachers and do not judge.

    NaN where the judges hold one class of every output; 0.5 where the teachers do, for nothing could be learned.
    """
    is_judge = np.zeros(draws.n_patients, bool)
    is_judge[draws.order[s, : draws.n_judges]] = True
    learn, judge = (teachers & ~is_judge)[draws.patient], is_judge[draws.patient]
    found = []
    for c in range(draws.truth.shape[1]):
        known = np.isfinite(draws.truth[:, c])
        rows, asked = np.flatnonzero(known & learn), np.flatnonzero(known & judge)
        y, y_asked = draws.truth[rows, c], draws.truth[asked, c]
        if not 0 < y_asked.sum() < len(asked):
            continue
        one_class = not 0 < y.sum() < len(rows)
        scores = np.zeros(len(asked)) if one_class else ridge_scores(draws.x[rows], y, draws.x[asked])
        found.append(metrics.auroc(y_asked, scores, draws.weights[:, draws.patient[asked]]))
    if not found:
        return np.full(len(draws.weights), np.nan)
    return np.asarray(np.mean(found, axis=0))


def ridge_scores(x: Floats, y: Floats, shown: Floats) -> Floats:
    """[M] scores of `shown` [M, F] by ridge regression of y [n] in {0, 1} on x [n, F].

    The strength has the smallest leave-one-out error, in closed form (Allen's PRESS): no other split has a say. The smaller of
    x xT and xT x is decomposed, once for all strengths.
    """
    centre = x.mean(0)
    x, shown, target = x - centre, shown - centre, 2 * y - 1 - (2 * y - 1).mean()
    is_wide = len(x) < x.shape[1]
    squares, axes = np.linalg.eigh(x @ x.T if is_wide else x.T @ x)
    squares = np.maximum(squares, 0)
    inside = axes.T @ (target if is_wide else x.T @ target)
    # of each row, how much it leans on each axis: times the shrinkage, its leverage
    lean = axes**2 * squares if is_wide else (x @ axes) ** 2
    to_scores = axes * squares if is_wide else x @ axes
    best, chosen = np.inf, np.zeros(len(squares))
    for ridge in RIDGES:
        weight = 1 / (squares + ridge * len(squares))
        left = 1 - lean @ weight - 1 / len(y)
        press = float((((target - to_scores @ (weight * inside)) / np.maximum(left, 1e-6)) ** 2).sum())
        if press < best:
            best, chosen = press, axes @ (weight * inside)
    return np.asarray(shown @ (x.T @ chosen if is_wide else chosen))


def learning_curve(draws: Draws) -> Curve:
    """AUROC by the number of teaching patients, and the power law through it, followed to AHEAD times all patients."""
    n_teachers = draws.n_patients - draws.n_judges
    sizes = sorted({n for share in SHARES if (n := round(share * n_teachers)) >= MIN_PATIENTS})
    if not sizes:
        return Curve((), None, f"{n_teachers} patients are too few: {MIN_PATIENTS} must teach")
    values = np.array(
        [[judged(draws, s, _last(draws, s, n)) for s in range(len(draws.order))] for n in sizes]
    )
    means = over_draws(values)  # [K, S, 1 + R] -> [K, 1 + R]
    points = [Point(n, metrics.estimate(row), True) for n, row in zip(sizes, means, strict=True)]
    is_there = np.isfinite(means[:, 0])
    if is_there.sum() < MIN_SIZES:
        return Curve(
            points, None, f"the power law needs {MIN_SIZES} sizes; {int(is_there.sum())} could be judged"
        )
    floor, scale, exponent = power_law(np.array(sizes, float)[is_there], 1 - means[is_there])
    for times in AHEAD:
        n = round(times * draws.n_patients)
        ahead = 1 - np.clip(floor + scale * n**-exponent, 0, 1)
        points.append(Point(n, metrics.estimate(ahead), False))
    return Curve(points, metrics.estimate(np.where(scale > 1e-9, exponent, np.nan)))


def _last(draws: Draws, s: int, n: int) -> Bools:
    """[P] the n last patients of draw s: each smaller set lies inside the larger ones."""
    found = np.zeros(draws.n_patients, bool)
    found[draws.order[s, draws.n_patients - n :]] = True
    return found


def over_draws(values: Floats) -> Floats:
    """[K, S, 1 + R] -> [K, 1 + R] mean over draws; a replicate draws the draws anew, too, so that both sources of chance count.

    The same draws are drawn for every row, so rows may be subtracted.
    """
    n_draws, n_replicates = values.shape[1], values.shape[2] - 1
    times = np.random.Generator(np.random.Philox(key=n_draws)).multinomial(
        n_draws, np.full(n_draws, 1 / n_draws), size=n_replicates
    )
    weights = np.concatenate([np.ones((1, n_draws)), times]).T[None]  # [1, S, 1 + R]
    is_there = np.isfinite(values)
    total = (weights * is_there).sum(1)
    summed = (weights * np.where(is_there, values, 0)).sum(1)
    return np.asarray(np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan))


def power_law(n: Floats, error: Floats) -> tuple[Floats, Floats, Floats]:
    """Floor, scale (neither below 0) and exponent, each [R], of error [K, R] = floor + scale * n ** -exponent by least squares.

    Each exponent of a grid has its best floor and scale in closed form; the best of them is taken.
    """
    basis = n[None, :] ** -EXPONENTS[:, None]  # [E, K]
    centred = basis - basis.mean(1, keepdims=True)
    scale = np.maximum(centred @ (error - error.mean(0)) / (centred**2).sum(1, keepdims=True), 0)  # [E, R]
    floor = error.mean(0) - basis.mean(1)[:, None] * scale
    through_zero = (basis @ error) / (basis**2).sum(1, keepdims=True)
    scale, floor = np.where(floor < 0, through_zero, scale), np.maximum(floor, 0)
    fitted = floor[:, None] + scale[:, None] * basis[..., None]  # [E, K, R]
    best = ((fitted - error[None]) ** 2).sum(1).argmin(0)
    at = np.arange(error.shape[1])
    return floor[best, at], scale[best, at], EXPONENTS[best]
