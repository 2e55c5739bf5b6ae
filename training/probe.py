"""Heads on frozen features, solved to the optimum: the logistic probe, and the nearest class mean that needs no fit.

The probe is the tuned arm of `method: probe`, the untuned arm of every other method, and the head from which they
start. numpy and scikit-learn, float64; no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training import metrics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Inverse regularisation tried, each judged on the tune split."""

MIN_JUDGES = 200
"""A smaller tune split is helped by out-of-fold patients of the train split."""

N_FOLDS = 5

Log = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class Seats:
    """Who teaches a head and who judges it: rows of the train and the tune split, and each row's patient [N]."""

    train: Ints
    tune: Ints
    patient: Ints


@dataclass(frozen=True, slots=True)
class Solver:
    """How a linear head is solved at one strength, and what a strength is judged by."""

    strengths: tuple[float, ...]
    solve: Callable[[Floats, Floats, Floats, float], tuple[Floats, Floats]]
    """Standardised features [N, F], targets and weights [N, C], strength -> matrix [F, C], bias [C]."""
    cost: Callable[[Floats, Floats], float]
    """Logits and truth [N, C] -> what to make small."""
    curves: Callable[[Floats, Floats], dict[str, float]]
    """Logits and truth [N, C] -> what else is logged."""


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head on standardised features: logits = (features - mean) / std @ matrix + bias."""

    mean: Floats
    std: Floats
    matrix: Floats
    """[F, C]"""
    bias: Floats
    """[C]"""
    removed: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """[F, k] orthonormal directions of standardised features that the matrix must not see (repair); k may be 0."""

    def logits(self, features: NDArray[np.float32]) -> Floats:
        """[N, F] -> [N, C]."""
        return np.asarray(((features - self.mean) / self.std) @ self.matrix + self.bias)


def standardise(features: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean and deviation of each feature; a constant feature keeps deviation 1."""
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    return mean, np.where(std > 1e-6, std, 1.0)


def fit_prototypes(features: NDArray[np.float32], targets: Floats) -> Head:
    """Nearest class mean on standardised features, as a linear head: what the features give without any fit.

    The direction is the difference of the means of positives and negatives, scaled so that the two means lie at logits
    +1 and -1. An output of which only one class is known gets zeros.
    """
    mean, std = standardise(features)
    x = (features - mean) / std
    matrix, bias = np.zeros((x.shape[1], targets.shape[1])), np.zeros(targets.shape[1])
    for c in range(targets.shape[1]):
        positive, negative = x[targets[:, c] == 1], x[targets[:, c] == 0]
        if len(positive) and len(negative):
            difference = positive.mean(0) - negative.mean(0)
            direction = 2 * difference / max(float(difference @ difference), 1e-12)
            matrix[:, c] = direction
            bias[c] = -float((positive.mean(0) + negative.mean(0)) @ direction) / 2
    return Head(mean, std, matrix, bias)


def fit_probe(
    features: NDArray[np.float32],
    targets: Floats,
    weights: Floats,
    truth: Floats,
    seats: Seats,
    *,
    solver: Solver,
    log: Log,
) -> Head:
    """Weighted fit of the train split on standardised features, with the strength that judges best.

    features [N, F]; targets [N, C] with NaN unknown; truth [N, C] with NaN judges. Judged by the solver's cost on the tune
    split; where that holds few studies, on the train split's own patients besides, each by a fit that did not see them.
    """
    train, tune = seats.train, seats.tune
    mean, std = standardise(features[train])
    x = (features - mean) / std
    n_judges = int(np.isfinite(truth[tune]).any(1).sum())
    folds = seats.patient[train] % N_FOLDS if n_judges < MIN_JUDGES else np.full(len(train), -1)
    best: tuple[float, Head] | None = None
    for step, strength in enumerate(solver.strengths):
        head = Head(mean, std, *solver.solve(x[train], targets[train], weights[train], strength))
        logits = head.logits(features)
        judged = [tune]
        for fold in sorted(set(folds.tolist()) - {-1}):
            seen, unseen = train[folds != fold], train[folds == fold]
            matrix, bias = solver.solve(x[seen], targets[seen], weights[seen], strength)
            logits[unseen] = x[unseen] @ matrix + bias
            judged.append(unseen)
        rows = np.concatenate(judged)
        cost = solver.cost(logits[rows], truth[rows])
        log(
            step,
            {"tune/loss": cost, "probe/strength": strength, **solver.curves(logits[rows], truth[rows])},
        )
        if best is None or cost < best[0] - 1e-9:
            best = (cost, head)
    assert best is not None
    return best[1]


def logistic(is_exclusive: bool) -> Solver:
    """Logistic regression of each output, or softmax regression where outputs exclude each other."""

    def curves(logits: Floats, truth: Floats) -> dict[str, float]:
        auroc = macro(metrics.auroc, logits, truth)
        return {} if auroc is None else {"tune/auroc": auroc}

    return Solver(
        STRENGTHS,
        lambda x, targets, weights, strength: _solve(x, targets, weights, strength, is_exclusive),
        lambda logits, truth: cross_entropy(logits, truth, is_exclusive),
        curves,
    )


RIDGE_STRENGTHS = (1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 1e2, 1e3, 1e4, 1e5)
"""Inverse regularisation of ridge, as a share of the examples' weight; the last ones for what lies in directions of little spread."""


def ridge(cost: Callable[[Floats, Floats], float]) -> Solver:
    """Weighted ridge regression of each output in closed form (Hoerl and Kennard 1970)."""
    return Solver(RIDGE_STRENGTHS, _solve_ridge, cost, lambda logits, truth: {})


def fit_component(features: NDArray[np.float32], targets: Floats) -> Head:
    """One component of partial least squares (Wold 1975): for classes it would be the nearest class mean.

    The direction is the covariance of features and target, its scale the least squares of the target on it. An output
    without spread gets zeros.
    """
    mean, std = standardise(features)
    x = (features - mean) / std
    matrix, bias = np.zeros((x.shape[1], targets.shape[1])), np.zeros(targets.shape[1])
    for c in range(targets.shape[1]):
        known = np.isfinite(targets[:, c])
        y = targets[known, c]
        if not len(y):
            continue
        centre = x[known].mean(0)
        direction = (x[known] - centre).T @ (y - y.mean())
        scores = (x[known] - centre) @ direction
        matrix[:, c] = direction * float(scores @ (y - y.mean())) / max(float(scores @ scores), 1e-12)
        bias[c] = y.mean() - float(centre @ matrix[:, c])
    return Head(mean, std, matrix, bias)


def fit_head(features: NDArray[np.float32], targets: Floats, strength: float) -> Head:
    """Logistic regression of each output, [N, C] of 0 and 1 with NaN unknown, on standardised features; no judging."""
    mean, std = standardise(features)
    return Head(mean, std, *_solve((features - mean) / std, targets, np.ones_like(targets), strength, False))


def cross_entropy(logits: Floats, truth: Floats, is_exclusive: bool) -> float:
    """Mean cross-entropy over known labels, or known rows where classes exclude each other."""
    if is_exclusive:
        known = np.isfinite(truth).all(1)
        shifted = logits[known] - logits[known].max(1, keepdims=True)
        log_share = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return float(-(log_share * truth[known]).sum(1).mean())
    known = np.isfinite(truth)
    z, y = logits[known], truth[known]
    return float((np.logaddexp(0, z) - y * z).mean())


def macro(metric: Callable[[Floats, Floats, Floats], Floats], logits: Floats, truth: Floats) -> float | None:
    """Mean of a metric over the outputs of which both classes are there; None where there is none."""
    found = []
    for c in range(truth.shape[1]):
        known = np.isfinite(truth[:, c])
        y = truth[known, c]
        if 0 < y.sum() < len(y):
            found.append(float(metric(y, logits[known, c], np.ones((1, len(y))))[0]))
    return float(np.mean(found)) if found else None


def _solve(
    x: Floats, targets: Floats, weights: Floats, strength: float, is_exclusive: bool
) -> tuple[Floats, Floats]:
    if is_exclusive:
        known = np.isfinite(targets).all(1)
        classes = targets[known].argmax(1)
        row_weights = (weights[known] * targets[known]).sum(1)
        return _logistic(x[known], classes, row_weights, strength, targets.shape[1])
    matrix, bias = np.zeros((x.shape[1], targets.shape[1])), np.zeros(targets.shape[1])
    for c in range(targets.shape[1]):
        known = np.isfinite(targets[:, c])
        y, w = targets[known, c], weights[known, c]
        # a soft target is the same example twice: once as positive, once as negative, each with its share
        rows = np.concatenate([x[known], x[known]])
        both = np.concatenate([np.ones(len(y), np.int64), np.zeros(len(y), np.int64)])
        share = np.concatenate([w * y, w * (1 - y)])
        used = share > 0
        pair, b = _logistic(rows[used], both[used], share[used], strength, 2)
        matrix[:, c], bias[c] = pair[:, 1] - pair[:, 0], b[1] - b[0]
    return matrix, bias


def _solve_ridge(x: Floats, targets: Floats, weights: Floats, strength: float) -> tuple[Floats, Floats]:
    """The side of the normal equations that is smaller: features, or examples."""
    matrix, bias = np.zeros((x.shape[1], targets.shape[1])), np.zeros(targets.shape[1])
    for c in range(targets.shape[1]):
        used = np.isfinite(targets[:, c]) & (weights[:, c] > 0)
        if not used.any():
            continue
        y, w = targets[used, c], weights[used, c]
        centre, level = w @ x[used] / w.sum(), float(w @ y / w.sum())
        root = np.sqrt(w)
        a, b = (x[used] - centre) * root[:, None], (y - level) * root
        penalty = float(w.sum()) / strength
        if a.shape[0] < a.shape[1]:
            slopes = a.T @ np.linalg.solve(a @ a.T + penalty * np.eye(a.shape[0]), b)
        else:
            slopes = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b)
        matrix[:, c], bias[c] = slopes, level - float(centre @ slopes)
    return matrix, bias


def _logistic(
    x: Floats, classes: Ints, weights: Floats, strength: float, n_classes: int
) -> tuple[Floats, Floats]:
    """Softmax regression, [F, K] and [K]; a class that is not there gets a bias of -20."""
    from sklearn.linear_model import LogisticRegression

    matrix, bias = np.zeros((x.shape[1], n_classes)), np.full(n_classes, -20.0)
    there = np.unique(classes)
    if (
        len(there) < 2
    ):  # refused before compute for whole train splits; the fold of one site may still come to it
        return np.zeros((x.shape[1], n_classes)), np.zeros(n_classes)
    model = LogisticRegression(C=strength, max_iter=500, tol=1e-6).fit(x, classes, sample_weight=weights)
    slopes, offsets = model.coef_.T, model.intercept_
    if len(there) == 2:  # scikit-learn gives one logit: half of it for, half against
        slopes, offsets = np.concatenate([-slopes, slopes], 1) / 2, np.concatenate([-offsets, offsets]) / 2
    matrix[:, there], bias[there] = slopes, offsets
    return matrix, bias
