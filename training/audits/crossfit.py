"""What features say of an example without having learned from it: out-of-fold probabilities, many labels at once.

What belongs here: ridge regression on frozen features by folds of patients, turned into probabilities. What does not: the
run's own heads (probe), what is concluded (label_audit, site_probe). numpy and scikit-learn, no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.probe import standardise

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_FOLDS = 5
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridge tried, in units of the examples' number: features are standardised, so that 1 equals each one's own variance."""

N_PRINCIPAL = 128
"""Components that are enough to tell a site, and cheap for many columns."""

MIN_CLASS = 2 * N_FOLDS
"""Patients of either class that a label needs."""


def folds_of(patient: Ints, seed: int) -> Ints:
    """[N] fold 0..N_FOLDS-1 of each example; all examples of a patient share one."""
    numbers, dense = np.unique(patient, return_inverse=True)
    place = np.random.Generator(np.random.Philox(key=[seed, 41])).permutation(len(numbers))
    return np.asarray(place[dense] % N_FOLDS, dtype=np.int64)


def out_of_fold(features: NDArray[np.float32], targets: Floats, patient: Ints, seed: int) -> Floats:
    """[N, C] probability of each label, from the features of other patients alone.

    targets [N, C] of 0 and 1, NaN unknown; NaN comes back for unknown ones and for labels with fewer than MIN_CLASS
    patients of either class. The strength of the ridge is the one with the smallest out-of-fold error; probabilities come
    from a logistic line through the out-of-fold scores (Platt 1999), both classes as often as they are.
    """
    mean, std = standardise(features)
    x = np.concatenate([(features - mean) / std, np.ones((len(features), 1))], axis=1)  # [N, F + 1]
    fold = folds_of(patient, seed)
    found = np.full(targets.shape, np.nan)
    for c in range(targets.shape[1]):
        known = np.flatnonzero(np.isfinite(targets[:, c]))
        y = targets[known, c]
        if min(len(set(patient[known][y == side].tolist())) for side in (0, 1)) >= MIN_CLASS:
            found[known, c] = _probabilities(_scores(x[known], y, fold[known]), y)
    return found


def principal(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """[N, K] the first N_PRINCIPAL principal components of standardised features; no label is asked."""
    from sklearn.utils.extmath import randomized_svd

    mean, std = standardise(features)
    n = min(N_PRINCIPAL, *features.shape)
    left, size, _ = randomized_svd((features - mean) / std, n_components=n, n_iter=3, random_state=seed)
    return np.asarray(left * size, dtype=np.float32)


def one_against_rest(features: NDArray[np.float32], targets: Floats, fold: Ints) -> Floats:
    """[N, K] out-of-fold ridge scores of K classes (targets of 0 and 1, each row with one), every class with the same say."""
    mean, std = standardise(features)
    x = np.concatenate([(features - mean) / std, np.ones((len(features), 1))], axis=1)
    share = targets.mean(0)
    return np.stack(
        [_scores(x, targets[:, k], fold) - (2 * share[k] - 1) for k in range(targets.shape[1])], axis=1
    )


def _scores(x: Floats, y: Floats, fold: Ints) -> Floats:
    """[N] out-of-fold ridge scores of the best strength."""
    sign = 2 * y - 1
    grams = [x[fold == k].T @ x[fold == k] for k in range(N_FOLDS)]
    moments = [x[fold == k].T @ sign[fold == k] for k in range(N_FOLDS)]
    gram, moment = np.sum(grams, axis=0), np.sum(moments, axis=0)
    scores = np.zeros((len(RIDGES), len(y)))
    for k in range(N_FOLDS):
        here = fold == k
        if not here.any():
            continue
        values, vectors = np.linalg.eigh(gram - grams[k])
        inside = vectors.T @ (moment - moments[k])
        shown = x[here] @ vectors
        for r, ridge in enumerate(RIDGES):
            scores[r, here] = shown @ (inside / (np.maximum(values, 0) + ridge * (~here).sum()))
    return np.asarray(scores[((scores - sign) ** 2).mean(1).argmin()])


def _probabilities(scores: Floats, y: Floats) -> Floats:
    from sklearn.linear_model import LogisticRegression

    spread = float(scores.std()) or 1.0
    line = LogisticRegression(C=100.0).fit(scores[:, None] / spread, y)
    return np.asarray(line.predict_proba(scores[:, None] / spread)[:, 1])
