"""Two groups of the same studies: gaps equal scikit-learn's areas, a planted comorbidity is told, small groups are not."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.training.judged import LABELS, judged, spec
from training import strata
from training.cells import hidden_cells, iter_cells


def test_a_gap_that_tuning_closes_is_told_with_its_interval(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path, n=2400, gap=0.8)
    areas = strata.all_areas(examples, LABELS, truth, scores, spec())
    items, table = strata.gaps(areas, examples, scores, {})
    assert [row["label"] for row in table] == ["macro", *LABELS]
    row = table[1]
    test = scores.split == "test"
    for arm in ("untuned", "tuned"):
        for name, value in (("without", 0), ("with", 1)):
            here = test & (examples.covariates["emphysema"] == value)
            theirs = roc_auc_score(truth[here, 0], scores.probability[arm][here, 0])
            assert row[arm][name]["value"] == pytest.approx(theirs, abs=1e-9)
    assert row["narrowing"]["value"] == pytest.approx(
        row["untuned"]["gap"]["value"] - row["tuned"]["gap"]["value"]
    )
    assert table[0]["narrowing"]["low"] > 0, "the whole interval says that tuning narrows it"
    assert "tuning narrowed the gap" in items[0].text
    assert items[0].value == table[0]["narrowing"]["value"]


def test_no_gap_is_no_gap(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path, n=2400)
    _, table = strata.gaps(strata.all_areas(examples, LABELS, truth, scores, spec()), examples, scores, {})
    assert table[0]["narrowing"]["low"] < 0 < table[0]["narrowing"]["high"]
    assert table[0]["verdict"] == "no gap to narrow is shown"


def test_a_hidden_stratum_tells_no_gap(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path)
    areas = strata.all_areas(examples, LABELS, truth, scores, spec())
    items, table = strata.gaps(
        areas, examples, scores, {("test", "all", "emphysema=yes"): "has fewer than 11 patients"}
    )
    assert not table
    assert {i.status for i in items} == {"not_applicable"}


def test_a_subgroup_is_held_against_all_under_the_same_draws(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path)
    groups = {"sex": np.where(np.arange(len(examples)) % 4 < 2, "F", "M")}
    cells = list(iter_cells(examples, scores, groups))
    areas = strata.all_areas(examples, LABELS, truth, scores, spec())
    items, table = strata.to_all(areas, cells, {})
    assert [row["group"] for row in table] == ["sex=F", "sex=M"]
    test = scores.split == "test"
    f = test & (groups["sex"] == "F")
    theirs = np.mean([roc_auc_score(truth[f, c], scores.probability["tuned"][f, c])
                      - roc_auc_score(truth[test, c], scores.probability["tuned"][test, c]) for c in (0, 1)])  # fmt: skip
    assert items[0].value == pytest.approx(theirs)
    assert abs(table[0]["high"] - table[0]["low"]) < 0.2


def test_the_worst_crossing_is_found_and_small_ones_are_not_looked_at(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path, n=3000)
    groups = {"sex": np.where(np.arange(len(examples)) % 4 < 2, "F", "M")}
    bad = (examples.site == "north") & (groups["sex"] == "F")
    scores.probability["tuned"][bad] = np.random.default_rng(1).random((int(bad.sum()), 2))
    areas = strata.all_areas(examples, LABELS, truth, scores, spec())
    items, table = strata.worst_slices(areas, groups, examples, scores, 11)
    assert table[0]["slice"] == "site and sex=north, F"
    assert table[0]["high"] < 0
    assert table[0]["looked_at"] == 6
    assert "widened for 6 slices" in items[0].text
    few = strata.worst_slices(areas, groups, examples, scores, 10_000)[0]
    assert [i.status for i in few] == ["not_applicable"]


def test_slices_hide_as_subgroups_do(tmp_path: Path) -> None:
    examples, _, scores = judged(tmp_path)
    rare = np.full(len(examples), "common")
    rare[np.flatnonzero(scores.split == "test")[:6]] = "rare"
    cells = list(strata._crossed("test", {"site": examples.site, "kind": rare}, scores))
    hidden = hidden_cells([strata._whole("test", scores), *cells], examples.patient, 11)
    assert any("rare" in key[2] for key in hidden)
