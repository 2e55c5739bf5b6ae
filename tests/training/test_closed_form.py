"""Lines without resampling: who is judged, by which temperature, and what is said where nothing can be."""

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from scipy.special import expit

from training import closed_form, delong
from training.audit import Scores
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
    (line,) = closed_form.gains(examples(), ["nodule"], truth, scores)
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
