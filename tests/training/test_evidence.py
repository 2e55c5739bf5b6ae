"""Baselines, near-duplicates, sites, provenance and cost: what is planted is found, and what cannot be had says so."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from tests.training.judged import LABELS, judged, spec
from training import baselines, footprint, generalisation, neighbours, provenance
from training.audit import Scores, Watched
from training.evaluate import evaluate
from training.footprint import Meter


def test_the_majority_is_what_the_train_split_would_say_of_everybody(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path)
    line = next(baselines.majority(examples, LABELS, truth, scores))
    train, test = examples.split == "train", examples.split == "test"
    share = truth[train, 0].mean()
    assert line.value == pytest.approx(brier_score_loss(truth[test, 0], np.full(test.sum(), share)))
    assert line.text.startswith("always no: right in")


def test_clinical_variables_alone_are_scikit_learns_regression(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path, n=2400)
    line = next(baselines.clinical(examples, LABELS, truth, scores))
    x = baselines.clinical_features(examples, np.flatnonzero(examples.split == "train"))
    train, test = examples.split == "train", examples.split == "test"
    mean, std = x[train].mean(0), x[train].std(0)
    x = (x - mean) / np.where(std > 1e-6, std, 1)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(x[train], truth[train, 0])
    assert line.value == pytest.approx(
        roc_auc_score(truth[test, 0], theirs.decision_function(x[test])), abs=1e-3
    )
    assert 0.55 < line.value < 0.75, "age tells a little"
    assert "tuned minus clinical +" in line.text


def test_an_unknown_covariate_takes_the_train_splits_median_and_is_marked(tmp_path: Path) -> None:
    examples, _, _ = judged(tmp_path)
    examples.covariates["age"][3] = np.nan
    train = np.flatnonzero(examples.split == "train")
    row = baselines.clinical_features(examples, train)[3]
    assert row[1] == pytest.approx(np.nanmedian(examples.covariates["age"][train]))
    assert row[2:].tolist() == [0, 1]


def test_a_copy_across_splits_is_found_and_other_patients_are_not(tmp_path: Path) -> None:
    examples, _, _ = judged(tmp_path)
    features = np.random.default_rng(0).normal(size=(len(examples), 32)).astype(np.float32)
    (clean,), _ = neighbours.near_duplicates(examples, features, 1)
    assert float(clean.text.split("p = ")[1].split(";")[0]) > 0.01, "what is closest by chance is no leak"
    train, test = np.flatnonzero(examples.split == "train"), np.flatnonzero(examples.split == "test")
    features[test[:20]] = features[train[:20]] + 1e-4
    (copied,), (row,) = neighbours.near_duplicates(examples, features, 1)
    assert copied.value >= 20
    assert float(copied.text.split("p = ")[1].split(";")[0]) < 1e-5
    pairs = row["pairs"]
    assert (row["n_above"], row["p"] < 1e-5) == (copied.value, True)
    assert len(pairs) == 20
    assert {p["judged"] for p in pairs} >= {str(examples.study_id[i]) for i in test[:5]}
    assert {(p["judged"], p["train"]) for p in pairs} >= {
        (str(examples.study_id[test[0]]), str(examples.study_id[train[0]]))
    }


def test_a_patients_own_studies_are_no_duplicates_and_chance_is_a_permutations() -> None:
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    own = np.array([0, 0, 1])
    assert neighbours.nearest(rows, rows, own, own)[0].tolist() == [0, 0, 0]
    # that one of 2 queries is the highest of 5 cosines: 2 in 5; that both are: 2/5 x 1/4
    assert neighbours.excess_p_value(1, 2, 3) == pytest.approx(2 / 5)
    assert neighbours.excess_p_value(2, 2, 3) == pytest.approx(2 / 5 * 1 / 4)


def left_out(tmp_path: Path) -> tuple[object, ...]:
    """Each site judged again, by a fit that left it out and knows nothing."""
    examples, truth, scores = judged(tmp_path, n=2400)
    noise = np.random.default_rng(2).random(truth.shape)
    tune = np.flatnonzero(examples.split == "tune")
    parts = [Scores(scores.index, scores.split, scores.probability, scores.threshold)]
    for site in examples.sites:
        here = np.flatnonzero(examples.site == site)
        share = dict.fromkeys(("untuned", "tuned"), noise[here])
        watched = Watched(tune, dict.fromkeys(("untuned", "tuned"), noise[tune]))
        name = f"without-{site}"
        parts.append(
            Scores(
                here, np.full(len(here), "holdout"), share, share, np.full(len(here), name), {name: watched}
            )
        )
    return examples, truth, Scores.concatenate(parts)


def test_a_site_left_out_is_judged_on_the_same_studies(tmp_path: Path) -> None:
    examples, truth, scores = left_out(tmp_path)  # type: ignore[misc]
    asked = spec(split={"policy": "leave_one_site_out"})
    table = generalisation.left_out(examples, LABELS, truth, scores, asked)[1]
    assert [(r["site"], r["label"]) for r in table] == [(s, name) for s in examples.sites for name in LABELS]
    row = table[0]
    test = (examples.split == "test") & (examples.site == row["site"])
    assert row["n"] == test.sum()
    assert row["seen"] == pytest.approx(
        roc_auc_score(truth[test, 0], scores.probability["tuned"][: len(examples)][test, 0])
    )
    assert row["left_out"] < 0.6 < row["seen"]
    assert row["high"] < 0, "what is lost has its interval below zero"
    assert generalisation.left_out(examples, LABELS, truth, scores, spec())[0][0].status == "not_applicable"


def test_the_matrix_is_taught_at_one_site_and_judged_at_each(tmp_path: Path) -> None:
    examples, truth, _ = judged(tmp_path)
    sign = np.where(examples.site == "south", -1.0, 1.0)  # at one site the feature means the opposite
    noise = np.random.default_rng(0).normal(size=len(examples))
    features = np.column_stack([sign * (2 * truth[:, 0] - 1) + 0.5 * noise, noise]).astype(np.float32)
    items, table = generalisation.matrix(
        examples, ["nodule"], truth, features, spec(split={"policy": "leave_one_site_out"})
    )
    area = {(r["taught_at"], r["judged_at"]): r["auroc"] for r in table}
    assert len(area) == 9
    assert min(area["north", "north"], area["north", "east"], area["south", "south"]) > 0.9
    assert max(area["north", "south"], area["south", "east"]) < 0.1
    assert "lowest" in items[0].text


def test_exclusions_hide_small_counts_and_small_losses() -> None:
    steps = [(100, 90), (97, 88), (40, 35), (4, 3)]
    facts = {"min_cell": 11, "attrition": [
        {"rule": f"rule {i}", "kind": "include", "studies": s, "patients": p, "sites": 2} for i, (s, p) in enumerate(steps)]}  # fmt: skip
    shown = [(row["studies"], row["patients"]) for row in provenance.exclusions(facts)]
    assert shown == [
        ("100", "90"),
        ("fewer than 11 less", "fewer than 11 less"),
        ("40", "35"),
        ("<11", "<11"),
    ]


def test_patients_in_two_splits_are_counted_not_believed(tmp_path: Path) -> None:
    examples, _, _ = judged(tmp_path)
    lines = {i.item: i for i in provenance.lines(tmp_path, examples, spec())}
    assert lines["patients in two splits"].value == 0
    examples.patient[examples.patient == 7] = 0
    lines = {i.item: i for i in provenance.lines(tmp_path, examples, spec())}
    assert lines["patients in two splits"].value == 1


def test_costs_are_read_from_counters_and_never_guessed(tmp_path: Path) -> None:
    lines = {i.item: i for i in Meter(powercap=tmp_path).lines(12.3, None)}
    assert lines["wall clock"].value == 12.3
    assert 0.01 < (lines["peak memory"].value or 0) < 200
    assert lines["processor energy"].status == lines["GPU energy"].status == "not_applicable"
    for zone, text in (("intel-rapl:0", "1000000"), ("intel-rapl:1", "500000"), ("intel-rapl:0:0", "999")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(text)
        (tmp_path / zone / "max_energy_range_uj").write_text("2000000")
    meter = Meter(powercap=tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1400000")
    (energy,) = (i for i in meter.lines(1, None) if i.item == "processor energy")
    assert energy.value == pytest.approx(0.4 / 3600), "of the packages, not of the zones below them"
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("0")
    (energy,) = (i for i in meter.lines(1, None) if i.item == "processor energy")
    assert energy.value == pytest.approx((4 - 1.5 + 0.5) / 3600), "the counters began again at 0"


def test_a_machine_without_nvml_has_no_gpu_energy() -> None:
    if footprint.gpu_joules(0) is not None:
        pytest.skip("there is a GPU with an energy counter here")
    assert {i.item: i.status for i in Meter(gpu=0).lines(1, 2**30)}["GPU energy"] == "not_applicable"


def test_an_evaluation_speaks_of_what_it_found_and_of_what_it_did_not(tmp_path: Path) -> None:
    examples, truth, scores = judged(tmp_path, gap=0.8)
    features = np.random.default_rng(0).normal(size=(len(examples), 8)).astype(np.float32)
    found = evaluate(tmp_path, examples, LABELS, truth, scores, spec(), "run", features)
    assert {"gaps", "points", "net_benefit", "workload", "conformal", "to_all", "worst_slices"} <= set(
        found.tables
    )
    assert found.tables["gaps"]
    names = {i.item for i in found.items}
    assert {"temporal split", "never seen", "left out", "matrix", "near-duplicates"} <= names
