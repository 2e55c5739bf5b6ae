"""Lines without resampling: who is judged, by which temperature, and what is said where nothing can be."""

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss, roc_auc_score

from training import closed_form, delong
from training.audit import Scores, Watched
from training.calibration import brier_parts, conformal_cut
from training.cells import Cell
from training.examples import Examples

N = 400


def examples() -> Examples:
    ids = tuple(UUID(int=n) for n in range(N))
    site = np.array(["north", "south"])[np.arange(N) % 2]
    labels = np.zeros((N, 1))
    return Examples(
        "c", Path(), ids, ids, ids, np.arange(N) // 2, site, np.full(N, "test"), ("nodule",), labels, {}
    )


def scored() -> tuple[np.ndarray, Scores]:
    random = np.random.default_rng(0)
    z = random.normal(size=N) * 2
    truth = (random.random(N) < expit(z)).astype(np.float64)[:, None]
    split = np.where(np.arange(N) < N // 2, "tune", "test")
    told = {"untuned": expit(random.normal(size=N))[:, None], "tuned": expit(3 * z)[:, None]}
    return truth, Scores(np.arange(N), split, told, {arm: np.full((N, 1), 0.5) for arm in told})


def test_the_gain_of_each_label_has_delongs_p_over_patients() -> None:
    truth, scores = scored()
    line, none = closed_form.gains(examples(), ["nodule"], truth, scores)
    assert (none.item, none.status) == ("over labels", "not_applicable")
    test = scores.split == "test"
    untuned, tuned = (scores.probability[arm][test, 0] for arm in ("untuned", "tuned"))
    assert line.value == delong.compare(truth[test, 0], untuned, tuned, examples().patient[test]).p_value
    assert (line.section, line.item, line.status) == ("discrimination", "DeLong, test: nodule", "computed")


def test_the_temperature_of_the_tune_split_is_tried_at_each_site() -> None:
    truth, scores = scored()
    lines = {line.item: line for line in closed_form.calibration(examples(), ["nodule"], truth, scores, 11)}
    assert lines["nodule: temperature"].value == pytest.approx(3, rel=0.4)
    for place in ("all sites", "north", "south"):
        change = lines[f"nodule: test, {place}"].value
        assert change is not None
        assert change < -0.02  # the error is smaller with it


def test_small_sites_and_single_classes_say_so() -> None:
    truth, scores = scored()
    few = {line.item: line for line in closed_form.calibration(examples(), ["nodule"], truth, scores, 150)}
    assert few["nodule: test, north"].status == "not_applicable"
    truth[:] = 1
    assert {line.status for line in closed_form.gains(examples(), ["nodule"], truth, scores)} == {
        "not_applicable"
    }
    assert [line.status for line in closed_form.calibration(examples(), ["nodule"], truth, scores, 11)] == [
        "not_applicable"
    ]


def test_p_values_over_labels_are_holms_and_benjamini_hochbergs() -> None:
    # Holm: 3 x 0.01, 2 x 0.02, then not below the one before
    assert closed_form.holm(np.array([0.02, 0.04, 0.01])) == pytest.approx([0.04, 0.04, 0.03])
    assert closed_form.holm(np.array([0.5, 0.9])) == pytest.approx([1.0, 1.0])
    truth, scores = scored()
    both, names = np.repeat(truth, 2, 1), ["nodule", "effusion"]
    told = {arm: np.repeat(p, 2, 1) for arm, p in scores.probability.items()}
    told["tuned"][:, 1] = told["untuned"][:, 1]
    twice = Scores(scores.index, scores.split, told, told)
    lines = {line.item: line for line in closed_form.gains(examples(), names, both, twice)}
    p = lines["DeLong, test: nodule"].value
    assert p is not None
    assert lines["over labels, test: nodule"].value == pytest.approx(2 * p)
    assert "Benjamini-Hochberg" in lines["over labels, test: effusion"].text


def test_micro_is_scikit_learns() -> None:
    truth, scores = scored()
    both = np.column_stack([truth[:, 0], 1 - truth[:, 0]])
    told = {arm: np.column_stack([p[:, 0], p[:, 0] ** 2]) for arm, p in scores.probability.items()}
    (line,) = closed_form.micro(examples(), ["a", "b"], both, Scores(scores.index, scores.split, told, told))
    test = scores.split == "test"
    assert line.value == pytest.approx(
        roc_auc_score(both[test], told["tuned"][test], average="micro"), abs=1e-9
    )


def test_the_brier_score_taken_apart_adds_up_to_scikit_learns() -> None:
    truth, scores = scored()
    (line,) = closed_form.brier(["nodule"], truth, scores)
    test = scores.split == "test"
    y, p = truth[test, 0], scores.probability["tuned"][test, 0]
    parts = brier_parts(y, p)
    whole = brier_score_loss(y, p)
    assert line.value == pytest.approx(whole)
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(whole)
    binned = np.round(
        p, 1
    )  # forecasts of few values leave nothing within the bins but what unequal values make
    exact = brier_parts(y, np.where(binned < 0.5, 0.2, 0.8))
    assert exact.within == pytest.approx(0, abs=1e-12)


def test_conformal_sets_keep_their_promise_of_each_class() -> None:
    random = np.random.default_rng(1)
    n = 6000
    truth = (random.random(n) < 0.2).astype(np.float64)[:, None]
    p = expit(2 * truth - 2 + random.normal(size=(n, 1)))
    split = np.where(np.arange(n) < n // 2, "tune", "test")
    scores = Scores(np.arange(n), split, {"untuned": p, "tuned": p}, {"untuned": p, "tuned": p})
    cells = [Cell("test", "all", "all", split == "test"), Cell("test", "all", "sex=F", (split == "test") & (np.arange(n) % 2 == 0)),
             Cell("test", "all", "sex=X", (split == "test") & (np.arange(n) % 1000 == 0))]  # fmt: skip
    (line,), table = closed_form.conformal(["nodule"], truth, scores, cells, {cells[2].key: "small"})
    assert line.value == pytest.approx(0.9, abs=0.02)
    assert [float(w.split()[0]) for w in line.text.split("(")[1].split(")")[0].split(", ")] == pytest.approx(
        [0.9, 0.9], abs=0.04
    )
    assert [row["group"] for row in table] == ["all", "sex=F"], "a hidden group tells no coverage"
    assert conformal_cut(np.ones(8), np.full(8, 0.5), True, 0.9) is None, "eight cannot promise nine of ten"
    assert conformal_cut(np.ones(9), np.linspace(0.1, 0.9, 9), True, 0.9) == pytest.approx(0.9)


def test_each_fold_is_held_against_its_own_tune_split() -> None:
    truth, scores = scored()
    fold = np.where(np.arange(N) % 2 == 0, "cohort", "without-south")
    tune = np.flatnonzero(scores.split == "tune")
    hot = Watched(tune, {arm: p[tune] for arm, p in scores.probability.items()})
    cold = Watched(
        tune, {arm: np.full((len(tune), 1), 0.3) + 0.4 * truth[tune] for arm in scores.probability}
    )
    both = Scores(scores.index, scores.split, scores.probability, scores.threshold, fold,
                  {"cohort": hot, "without-south": cold})  # fmt: skip
    one = {
        line.item: line.text for line in closed_form.calibration(examples(), ["nodule"], truth, scores, 11)
    }
    two = {line.item: line.text for line in closed_form.calibration(examples(), ["nodule"], truth, both, 11)}
    assert one["nodule: temperature"] == two["nodule: temperature"]
    assert one["nodule: test, south"] != two["nodule: test, south"], (
        "south is judged by a fit with another temperature"
    )
    assert one["nodule: test, north"] == two["nodule: test, north"]
