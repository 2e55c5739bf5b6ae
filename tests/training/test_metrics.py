"""Metrics equal scikit-learn's, replicate by replicate, and intervals cover what they claim."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from training import metrics, ranks


def draw(n: int = 300, ties: bool = False, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random(n) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + targets)))
    if ties:
        scores = np.round(scores, 1)
    return targets, scores, np.sort(rng.integers(0, n // 2, n))


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_and_auprc_equal_scikit_learn_in_every_replicate(ties: bool) -> None:
    targets, scores, patients = draw(ties=ties)
    _, dense = np.unique(patients, return_inverse=True)
    weights = metrics.cluster_draws(dense, 20, seed=3)[:, dense].astype(float)
    area, precision = metrics.auroc(targets, scores, weights), metrics.auprc(targets, scores, weights)
    for row, w in enumerate(weights):
        assert area[row] == pytest.approx(roc_auc_score(targets, scores, sample_weight=w))
        assert precision[row] == pytest.approx(average_precision_score(targets, scores, sample_weight=w))


def test_brier_sensitivity_and_specificity_equal_their_definitions() -> None:
    targets, scores, _ = draw()
    one, threshold = np.ones((1, len(targets))), np.full(len(targets), 0.6)
    called = scores >= 0.6
    assert metrics.brier(targets, scores, one)[0] == pytest.approx(((scores - targets) ** 2).mean())
    assert metrics.sensitivity(targets, scores, one, threshold)[0] == pytest.approx(
        called[targets == 1].mean()
    )
    assert metrics.specificity(targets, scores, one, threshold)[0] == pytest.approx(
        (~called)[targets == 0].mean()
    )


def test_calibration_error_is_small_where_scores_are_probabilities_and_large_where_they_are_not() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(20_000)
    targets = (rng.random(20_000) < scores).astype(float)
    one = np.ones((1, 20_000))
    assert metrics.ece(targets, scores, one)[0] < 0.02
    assert metrics.ece(targets, np.sqrt(scores), one)[0] > 0.1


def test_draws_keep_a_patients_studies_together() -> None:
    clusters = np.array([0, 0, 1, 2, 2, 2])
    draws = metrics.cluster_draws(clusters, 50, seed=1)
    assert draws.shape == (51, 3)
    assert (draws[0] == 1).all()
    assert (draws[1:].sum(1) == 3).all(), "as many patients as there are"


def test_a_metric_of_one_class_is_nothing_and_says_why() -> None:
    values = metrics.auroc(np.ones(5), np.linspace(0, 1, 5), np.ones((3, 5)))
    found = metrics.estimate(values)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert "one class" in found.reason


def test_an_interval_needs_replicates_that_have_a_value() -> None:
    values = np.array([0.8, *[np.nan] * 50, *[0.7] * 50])
    found = metrics.estimate(values)
    assert found.value == 0.8
    assert found.low is None


def test_the_interval_of_a_mean_difference_covers_the_truth_about_95_times_in_100() -> None:
    hits = 0
    for trial in range(150):
        targets, scores, patients = draw(n=200, seed=trial)
        _, dense = np.unique(patients, return_inverse=True)
        weights = metrics.cluster_draws(dense, 200, trial)[:, dense].astype(float)
        found = metrics.estimate(metrics.auroc(targets, scores, weights))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.7602 <= found.high  # Phi(1 / sqrt 2)
    assert 0.88 <= hits / 150 <= 1.0


def test_the_operating_point_has_the_largest_youden_index() -> None:
    targets, scores, _ = draw()
    point = metrics.operating_point(targets, scores)
    one = np.ones((1, len(targets)))

    def youden(threshold: float) -> float:
        line = np.full(len(targets), threshold)
        found = metrics.sensitivity(targets, scores, one, line) + metrics.specificity(
            targets, scores, one, line
        )
        return float(found[0])

    assert point is not None
    assert youden(point) >= max(youden(t) for t in scores) - 1e-12
    assert metrics.operating_point(np.ones(4), np.ones(4)) is None


def test_cramers_v_is_none_complete_or_between() -> None:
    a = np.array(["x", "x", "y", "y"] * 10)
    assert metrics.cramers_v(a, a) == pytest.approx(1)
    assert metrics.cramers_v(a, np.array(["u", "v", "u", "v"] * 10)) == pytest.approx(0)
    assert metrics.cramers_v(a, np.array(["u"] * 40)) is None


def test_one_score_for_everybody_tells_nothing() -> None:
    targets, scores, one = np.array([1.0, 0.0, 1.0, 0.0]), np.full(4, 0.5), np.ones((3, 4))
    found = metrics.measure(targets, scores, np.full(4, 0.5))(one)
    assert found["auroc"].tolist() == [0.5] * 3 and found["auprc"].tolist() == [0.5] * 3
    single = metrics.measure(np.array([1.0, np.nan]), np.array([0.5, 0.5]), np.full(2, np.nan))(
        np.ones((1, 2))
    )
    assert np.isnan(single["auroc"][0]) and single["auprc"][0] == 1.0


def test_draws_come_in_chunks_and_give_each_study_what_its_patient_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_CHUNK", 50)
    cluster = np.array([0, 0, 1, 2, 2, 2, 3, 1])
    draws = metrics.cluster_draws(cluster, 20, seed=4)
    chunks = list(metrics.draws_of(draws, cluster))
    assert [len(c) for c in chunks] == [6, 6, 6, 3]
    assert (np.concatenate(chunks) == draws[:, cluster]).all()


def test_every_metric_is_the_same_beside_studies_of_unknown_answer() -> None:
    targets, scores, patients = draw(ties=True)
    scores[::3] += 0.01  # some share their score with another class, some do not
    weights = metrics.cluster_draws(np.unique(patients, return_inverse=True)[1], 9, seed=3)
    known, point = np.arange(len(targets)) % 4 > 0, np.full(len(targets), 0.6)
    weights = weights[:, np.unique(patients, return_inverse=True)[1]].astype(float)
    found = metrics.measure(np.where(known, targets, np.nan), scores, point)(weights)
    y, p, w = targets[known], scores[known], weights[:, known]
    assert found["ece"] == pytest.approx(metrics.ece(y, p, w))
    assert found["brier"] == pytest.approx(metrics.brier(y, p, w))
    assert found["sensitivity"] == pytest.approx(metrics.sensitivity(y, p, w, point[known]))
    assert found["specificity"] == pytest.approx(metrics.specificity(y, p, w, point[known]))
    for row in range(len(w)):
        assert found["auroc"][row] == pytest.approx(roc_auc_score(y, p, sample_weight=w[row]))
        assert found["auprc"][row] == pytest.approx(average_precision_score(y, p, sample_weight=w[row]))


def test_a_soft_target_counts_as_a_share_of_either_class_under_weights_that_are_no_whole_numbers() -> None:
    rng = np.random.default_rng(5)
    soft, scores, w = rng.integers(0, 3, 60) / 2, np.round(rng.random(60), 1), rng.random(60)
    twice = np.r_[np.ones(60), np.zeros(60)], np.r_[scores, scores], np.r_[w * soft, w * (1 - soft)]
    found = ranks.curve(soft, scores).areas(w[None, :])
    assert found.auroc[0] == pytest.approx(roc_auc_score(twice[0], twice[1], sample_weight=twice[2]))
    assert found.auprc[0] == pytest.approx(
        average_precision_score(twice[0], twice[1], sample_weight=twice[2])
    )
    assert (found.positive + found.negative)[0] == pytest.approx(w.sum())
