"""DeLong's covariance: by its definition, by resampling, and with patients that have several studies."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from training import metrics
from training.delong import auc_covariance, compare

Floats = NDArray[np.float64]


def drawn(seed: int, n: int = 300) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    targets = (random.random(n) < 0.4).astype(np.float64)
    shared = random.normal(size=n)
    scores = np.stack([targets * gain + shared + random.normal(size=n) for gain in (0.6, 1.2)])
    return targets, np.round(scores, 1)


def by_definition(targets: Floats, scores: Floats) -> Floats:
    """[K, K] with the kernel written out for each pair of a positive and a negative."""
    kernels = []
    for row in scores:
        order = row[targets == 1][:, None] - row[targets == 0][None, :]
        kernels.append((order > 0) + 0.5 * (order == 0))
    m, n = kernels[0].shape
    s10 = np.cov(np.stack([k.mean(1) for k in kernels]))
    s01 = np.cov(np.stack([k.mean(0) for k in kernels]))
    return np.asarray(s10 / m + s01 / n)


@pytest.mark.parametrize("seed", range(4))
def test_one_study_a_patient_is_delong(seed: int) -> None:
    targets, scores = drawn(seed)
    areas, covariance = auc_covariance(targets, scores, np.arange(len(targets)))
    assert areas == pytest.approx([roc_auc_score(targets, row) for row in scores])
    assert covariance == pytest.approx(by_definition(targets, scores))


def test_patients_with_several_studies_widen_the_interval_as_resampling_them_does() -> None:
    targets, scores = drawn(1, 120)
    again = np.tile(np.arange(120), 5)  # every study five times: no more is known than before
    alone = compare(targets, scores[0], scores[1], np.arange(120))
    naive = compare(targets[again], scores[0][again], scores[1][again], np.arange(600))
    clustered = compare(targets[again], scores[0][again], scores[1][again], again)
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.02)
    assert naive.high - naive.low < 0.5 * (alone.high - alone.low)
    draws = metrics.cluster_draws(again, 2000, 3)[:, again].astype(np.float64)
    gains = metrics.auroc(targets[again], scores[1][again], draws) - metrics.auroc(
        targets[again], scores[0][again], draws
    )
    low, high = np.quantile(gains[1:], [0.025, 0.975])
    assert (clustered.low, clustered.high) == pytest.approx((low, high), abs=0.02)


def test_no_difference_has_p_one_and_a_plain_one_has_a_small_p() -> None:
    targets, scores = drawn(2)
    same = compare(targets, scores[0], scores[0], np.arange(len(targets)))
    assert (same.value, same.p_value) == (0.0, 1.0)
    assert compare(targets, scores[0], targets, np.arange(len(targets))).p_value < 1e-6


def test_p_values_are_uniform_where_nothing_differs() -> None:
    random, p_values = np.random.default_rng(5), []
    for _ in range(400):
        targets = (random.random(80) < 0.5).astype(np.float64)
        first, second = random.normal(size=(2, 80)) + targets
        p_values.append(compare(targets, first, second, np.arange(80)).p_value)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two patients"):
        auc_covariance(np.array([1.0, 1.0, 0.0]), np.ones((1, 3)), np.array([0, 0, 1]))
