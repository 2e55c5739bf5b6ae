"""Points fixed on the tune split, decision curve and workload: equal to peers, and chosen where nobody is judged."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_score, recall_score, roc_curve

from tests.training.judged import LABELS, judged, spec
from training import decisions, metrics, operating, strata
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
    one = np.ones((1, len(y)))
    assert operating.net_benefit(y, p, at)(one)[0] == pytest.approx(by_hand)
    assert operating.treat_all(y, at) == pytest.approx(operating.net_benefit(y, np.ones(len(y)), at)(one)[0])
    drawn_often = np.random.default_rng(1).integers(0, 3, (4, len(y))).astype(float)
    again = [
        operating.net_benefit(np.repeat(y, w), np.repeat(p, w), at)(np.ones((1, w.sum())))[0]
        for w in drawn_often.astype(int)
    ]
    assert operating.net_benefit(y, p, at)(drawn_often) == pytest.approx(np.stack(again))


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
    examples, truth, scores = judged(tmp_path)
    areas = strata.all_areas(examples, LABELS, truth, scores, spec())
    (item, _), table = decisions.net_benefit(LABELS, truth, scores, areas)
    tune, test = scores.split == "tune", scores.split == "test"
    p = scores.probability["tuned"][:, 0]
    mended = on_line(p[test], *calibration_line(truth[tune, 0], p[tune]))
    lines = {r["line"]: r for r in table if r["label"] == "nodule"}
    by_hand = operating.net_benefit(truth[test, 0], mended, decisions.CHANCES)(np.ones((1, test.sum())))[0]
    assert lines["tuned"]["net_benefit"] == pytest.approx(by_hand, abs=1e-6)
    assert (item.value or 0) > 0.5, "a model with signal is worth having at most thresholds"


def test_a_decision_curve_has_intervals_and_the_gain_a_paired_one(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path)
    areas = strata.all_areas(examples, LABELS, truth, scores, spec())
    (item, _), table = decisions.net_benefit(LABELS, truth, scores, areas)
    lines = {
        r["line"]: {k: np.array(r.get(k, [])) for k in ("net_benefit", "low", "high")}
        for r in table
        if r["label"] == "nodule"
    }
    for name in ("tuned", "untuned"):
        assert (lines[name]["low"] <= lines[name]["net_benefit"]).all()
        assert (lines[name]["net_benefit"] <= lines[name]["high"]).all()
    k = 19  # threshold 0.20
    rows = np.flatnonzero(scores.split == "test")
    _, patient = np.unique(examples.patient[rows], return_inverse=True)
    by_hand = []
    for drawn in metrics.cluster_draws(patient, 200, spec().seed)[1:, patient]:
        y = np.repeat(truth[rows, 0], drawn)
        parts = []
        for arm in ("tuned", "untuned"):
            p, tune = scores.probability[arm][:, 0], scores.split == "tune"
            called = np.repeat(on_line(p[rows], *calibration_line(truth[tune, 0], p[tune])), drawn) >= 0.2
            parts.append((called & (y == 1)).mean() - (called & (y == 0)).mean() * 0.25)
        by_hand.append(parts[0] - parts[1])
    found = [lines["gain"][end][k] for end in ("low", "high")]
    assert found == pytest.approx(np.quantile(by_hand, [0.025, 0.975]), abs=1e-6)
    assert f"[{found[0]:+.4f}, {found[1]:+.4f}]" in item.text
    without = strata.all_areas(examples, LABELS, truth, scores, spec(report={"bootstrap": 0}))
    assert "low" not in decisions.net_benefit(LABELS, truth, scores, without)[1][0]


def test_reading_by_score_finds_positives_sooner_than_by_chance(tmp_path: Path) -> None:
    _, truth, scores = judged(tmp_path)
    items, _ = decisions.workload(LABELS, truth, scores)
    assert all((i.value or 1) < 0.85 for i in items)
