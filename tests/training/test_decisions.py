"""Points fixed on the tune split, decision curve and workload: equal to peers, and chosen where nobody is judged."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_score, recall_score, roc_curve

from tests.training.judged import LABELS, judged
from training import decisions, operating
from training.calibration import calibration_line, on_line


def drawn(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.3).astype(float)
    return y, np.round(1 / (1 + np.exp(-(y + random.normal(size=n)))), 2)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (3, 10), (199, 400)])
def test_intervals_of_shares_are_wilsons(k: int, n: int) -> None:
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    ours = operating.wilson(k, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_points_reach_their_aims_with_nothing_to_spare(seed: int) -> None:
    y, p = drawn(seed)
    chosen = operating.choose_points(y, p)
    assert chosen is not None
    false, true, at = roc_curve(y, p, drop_intermediate=False)
    assert chosen["Youden"] == pytest.approx(at[(true - false).argmax()])
    for aim in (0.90, 0.95):
        highest = at[np.flatnonzero(true >= aim)[0]]
        assert chosen[f"sensitivity {aim:.2f}"] == pytest.approx(highest)
    specific = chosen["specificity 0.95"]
    assert (p[y == 0] < specific).mean() >= 0.95
    below = p[p < specific].max()
    assert (p[y == 0] < below).mean() < 0.95, "a lower threshold would not do"
    assert operating.choose_points(np.ones(5), np.arange(5.0)) is None


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_those_of_scikit_learn(seed: int) -> None:
    y, p = drawn(seed)
    called = p >= 0.6
    ours = operating.counts_at(y, p, np.full(len(y), 0.6))
    theirs = {
        "sensitivity": recall_score(y, called),
        "specificity": recall_score(1 - y, ~called),
        "PPV": precision_score(y, called),
        "NPV": precision_score(1 - y, ~called),
    }
    assert {k: v.value for k, v in ours.items()} == pytest.approx(theirs, abs=1e-12)
    assert ours["PPV"].n == called.sum()


def test_net_benefit_is_its_definition() -> None:
    y, p = drawn(0)
    at = np.array([0.1, 0.5, 0.8])
    by_hand = [
        sum((y == 1) & (p >= t)) / len(y) - sum((y == 0) & (p >= t)) / len(y) * t / (1 - t) for t in at
    ]
    assert operating.net_benefit(y, p, at) == pytest.approx(by_hand)
    assert operating.treat_all(y, at) == pytest.approx(operating.net_benefit(y, np.ones(len(y)), at))


def test_workload_is_what_a_reader_of_the_list_would_count() -> None:
    y, p = np.array([1.0, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert operating.workload(y, p, np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.2, 0.6])
    # a tie of both classes is read in no order: half of its positives after half of it
    assert operating.workload(np.array([1.0, 0, 0, 0]), np.ones(4), np.array([0.5, 1.0])) == pytest.approx(
        [0.5, 1]
    )


def test_points_come_from_the_tune_split_alone(tmp_path: Path) -> None:
    _, truth, scores = judged(tmp_path)
    items, table = decisions.points(LABELS, truth, scores)
    row = next(
        r for r in table if (r["label"], r["arm"], r["point"]) == ("nodule", "tuned", "sensitivity 0.95")
    )
    tune = scores.split == "tune"
    assert (
        row["threshold"]
        == operating.choose_points(truth[tune, 0], scores.probability["tuned"][tune, 0])["sensitivity 0.95"]
    )
    scores.probability["tuned"][scores.split == "test"] = 0.5
    again = decisions.points(LABELS, truth, scores)[1]
    assert [r["threshold"] for r in again] == [r["threshold"] for r in table]
    assert {i.status for i in items} == {"computed"}
    truth[tune] = 1
    assert {i.status for i in decisions.points(LABELS, truth, scores)[0]} == {"not_applicable"}


def test_the_decision_curve_is_of_probabilities_mended_on_the_tune_split(tmp_path: Path) -> None:
    _, truth, scores = judged(tmp_path)
    (item, _), table = decisions.net_benefit(LABELS, truth, scores)
    tune, test = scores.split == "tune", scores.split == "test"
    p = scores.probability["tuned"][:, 0]
    mended = on_line(p[test], *calibration_line(truth[tune, 0], p[tune]))
    ours = next(r for r in table if (r["label"], r["line"]) == ("nodule", "tuned"))["net_benefit"]
    assert ours == pytest.approx(operating.net_benefit(truth[test, 0], mended, decisions.CHANCES), abs=1e-6)
    assert (item.value or 0) > 0.5, "a model with signal is worth having at most thresholds"


def test_reading_by_score_finds_positives_sooner_than_by_chance(tmp_path: Path) -> None:
    _, truth, scores = judged(tmp_path)
    items, _ = decisions.workload(LABELS, truth, scores)
    assert all((i.value or 1) < 0.85 for i in items)
