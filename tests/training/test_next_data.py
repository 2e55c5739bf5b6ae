"""Which data would help next: curves and their law, what sites add, where the train split is thin, whom to ask."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score

from assets.cli import main
from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training.active import ask, doubts, spread
from training.coverage import coverage
from training.learning_curve import (
    RIDGES,
    Draws,
    draw,
    judged,
    learning_curve,
    over_draws,
    power_law,
    ridge_scores,
)
from training.next_data import next_data
from training.run_features import read_run_features
from training.site_value import site_values
from training.spec import parse_spec
from training.tune import tune

N, F = 240, 24


def sample(n: int = N, signal: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features whose first four columns tell the label a little; one study a patient."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n).astype(float)
    x = rng.standard_normal((n, F)).astype(np.float32)
    x[:, :4] += signal * (2 * y[:, None] - 1)
    return x, y[:, None], np.arange(n)


def drawn(**over: float) -> Draws:
    x, y, patient = sample(**over)  # type: ignore[arg-type]
    return draw(x, y, patient, n_draws=6, n_replicates=60, seed=7)


@pytest.mark.parametrize("n", [16, 60])
def test_ridge_scores_are_those_of_scikit_learn(n: int) -> None:
    x, y, _ = sample()
    own = ridge_scores(x[:n].astype(float), y[:n, 0], x[n:].astype(float))
    scale = min(n, F)
    other = RidgeCV([r * scale for r in RIDGES]).fit(x[:n].astype(float), 2 * y[:n, 0] - 1)
    np.testing.assert_allclose(
        own, other.predict(x[n:]) - other.predict(x[:n].mean(0, keepdims=True)), atol=1e-5
    )


def test_a_judge_is_never_a_teacher_and_the_value_is_scikit_learns() -> None:
    draws = drawn()
    everyone = np.ones(draws.n_patients, bool)
    judges = np.isin(draws.patient, draws.order[0, : draws.n_judges])
    scores = ridge_scores(draws.x[~judges], draws.truth[~judges, 0], draws.x[judges])
    assert judged(draws, 0, everyone)[0] == pytest.approx(roc_auc_score(draws.truth[judges, 0], scores))


def test_the_power_law_is_found_again_and_has_a_floor() -> None:
    n = np.array([10.0, 20, 40, 80, 160])
    error = np.stack([0.1 + 2 * n**-0.75, 0.5 * n**-0.5, np.full(5, 0.3)], axis=1)
    floor, scale, exponent = power_law(n, error)
    assert floor[:2] == pytest.approx([0.1, 0], abs=1e-6) and scale[:2] == pytest.approx([2, 0.5], rel=1e-5)
    assert exponent[:2] == pytest.approx([0.75, 0.5])
    assert floor[2] + scale[2] * 1000.0 ** -exponent[2] == pytest.approx(0.3)


def test_more_patients_help_where_there_is_something_to_learn_and_only_there() -> None:
    curve = learning_curve(drawn())
    measured = [p for p in curve.points if p.is_measured]
    assert measured[-1].auroc.value > measured[0].auroc.value + 0.05
    ahead = [p for p in curve.points if not p.is_measured]
    assert [p.n_patients for p in ahead] == [2 * N, 4 * N]
    assert ahead[0].auroc.low <= ahead[0].auroc.value <= ahead[0].auroc.high
    assert ahead[1].auroc.value >= measured[-1].auroc.value - 0.02
    noise = learning_curve(drawn(signal=0.0))
    assert all(abs(p.auroc.value - 0.5) < 0.12 for p in noise.points)
    assert "too few" in learning_curve(drawn(n=8)).reason


def test_intervals_hold_the_chance_of_the_draws_too() -> None:
    rng = np.random.default_rng(0)
    same, apart = np.full((1, 6, 61), 0.7), np.repeat(rng.uniform(0.5, 0.9, (1, 6, 1)), 61, axis=2)
    assert np.ptp(over_draws(same)[0]) < 1e-9
    assert np.ptp(over_draws(apart)[0]) > 0.02


def test_what_sites_add_sums_up_to_what_all_of_them_give() -> None:
    x, y, patient = sample()
    site = np.array(["a", "b", "c"])[patient % 3]
    y[site == "c"] = 1 - y[site == "c"]  # a site whose labels are the other way round does harm
    draws = draw(x, y, patient, n_draws=5, n_replicates=40, seed=7)
    rows = {v.site: v for v in site_values(draws, site, seed=7)}
    full = over_draws(np.array([[judged(draws, s, np.ones(N, bool)) for s in range(5)]]))[0, 0]
    assert sum(v.added.value for v in rows.values()) == pytest.approx(full - 0.5)
    assert rows["c"].left_out.value < 0 < rows["a"].added.value
    assert [v.n_patients for v in rows.values()] == [80, 80, 80]
    assert site_values(draws, np.full(N, "a"), seed=7) == []


def test_many_sites_come_in_random_orders_and_still_sum_up() -> None:
    x, y, patient = sample(120)
    site = np.array(list("abcdef"))[patient % 6]
    draws = draw(x, y, patient, n_draws=2, n_replicates=5, seed=1)
    full = over_draws(np.array([[judged(draws, s, np.ones(120, bool)) for s in range(2)]]))[0, 0]
    assert sum(v.added.value for v in site_values(draws, site, seed=1)) == pytest.approx(full - 0.5)


def test_a_strange_appearance_is_sparse_belongs_to_its_site_and_is_told_with_its_error() -> None:
    x, _, patient = sample(200)
    site = np.where(patient % 10 == 9, "new", "old")
    split = np.where(patient % 2 == 0, "train", "test")
    x[site == "new"] += 8
    error = np.where(site == "new", 0.8, 0.1)
    strata = {"sex": np.where(patient % 4 < 2, "F", "M"), "device": np.where(patient == 1, "rare", "usual")}
    found = coverage(x, split, site, patient, error, strata, min_cell=5, seed=0)
    assert found.quarters[-1].error.low > found.quarters[0].error.high
    strange = max((c for c in found.clusters if c.n_judged), key=lambda c: c.distance)
    assert (
        set(strange.sites) == {"new"}
        and strange.share_train == 0
        and strange.error.value == pytest.approx(0.8)
    )
    assert {site[i] for i in strange.exemplars} == {"new"}
    names = {g.name for g in found.groups}
    assert (
        {"sex=F", "sex=M", "site=new"} <= names
        and not any("device" in n for n in names)
        and found.n_hidden == 2
    )


def test_doubt_is_whole_at_the_operating_point() -> None:
    found = doubts(np.array([[0.0], [0.1], [0.2], [0.6], [1.0]]), np.array([0.2]))
    assert found[:, 0].tolist() == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_copies_and_the_same_patient_are_not_asked_twice_and_certainty_is_asked_last() -> None:
    x = np.array([[0.0, 5], [0, 5], [5, 0], [5, 0.1], [9, 9]])
    doubt = np.array([1.0, 0.99, 0.9, 0.9, 0.01])
    order, apart = spread(x, doubt, np.zeros((1, 2)), np.array([0, 1, 2, 2, 4]), 10)
    assert order == [0, 3, 4, 1] and apart[-1] == 0 and apart[0] < 1


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished probe on a cohort in which some labels of the train split are unknown or uncertain."""
    root = tmp_path_factory.mktemp("home") / "lake"
    folder = lay_down(root, n=150)
    table = pq.read_table(folder / "members.parquet")
    rows = table.to_pylist()
    for n, row in enumerate(rows):
        if n % 5 == 0:
            row["labels"][0]["value"] = None if n % 10 == 0 else -1.0
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "members.parquet")
    run = tune(root, parse_spec(tree("probe")), report=lambda _: None)
    return root, run.name


def test_a_run_is_asked_from_what_it_left_behind(lake: tuple[Path, str]) -> None:
    root, run_id = lake
    of = read_run_features(root, run_id)
    assert of.features.shape[0] == len(of.examples) == 150 and np.isfinite(of.answers()).all()
    found = next_data(of, n_draws=3, n_replicates=20)
    assert found.n_patients == len(
        set(of.examples.patient[np.isin(of.examples.split, ["train", "tune"]) & np.isfinite(of.truth[:, 0])])
    )
    assert {s.site for s in found.sites} == {"northside", "southside"}
    assert sum(q.n_judged for q in found.coverage.quarters) > 0
    assert found.sentences[0].startswith("With ")
    assert next_data(of, n_draws=3, n_replicates=20).sentences == found.sentences


def test_the_queue_holds_studies_without_an_answer_of_the_train_split_alone(lake: tuple[Path, str]) -> None:
    root, run_id = lake
    of = read_run_features(root, run_id)
    asked = ask(of, n=8)
    split = dict(zip(of.examples.study_id, of.examples.split, strict=True))
    truth = dict(zip(of.examples.study_id, of.truth[:, 0], strict=True))
    assert [a.rank for a in asked] == list(range(1, 9))
    assert {split[a.study_id] for a in asked} == {"train"} and all(np.isnan(truth[a.study_id]) for a in asked)
    assert {a.why for a in asked} == {"unlabelled", "uncertain"}
    more = ask(of, n=500, with_labelled=True)
    assert more[0].distance > 0.1
    assert "labelled" in {a.why for a in more} and {split[a.study_id] for a in more} == {"train"}


def test_another_cohort_is_a_pool_without_patients_by_whom_the_run_is_judged(lake: tuple[Path, str]) -> None:
    root, run_id = lake
    of = read_run_features(root, run_id)
    lay_down(root, n=60, name="wider", seed=5)
    with pytest.raises(ConfigurationError, match="give a wider cohort"):
        ask(of, pool="wider")
    asked = ask(of, pool="wider", with_labelled=True)
    judged_by = {p for p, s in zip(of.examples.patient_id, of.examples.split, strict=True) if s != "train"}
    assert asked and not judged_by & {a.patient_id for a in asked}


def test_the_commands_say_it_as_json_and_write_ids_alone(
    lake: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--home", str(lake[0].parent), "--json"]
    assert main([*call, "queue", lake[1], "--n", "3", "--out", str(tmp_path / "queue.csv")]) == 0
    told = json.loads(capsys.readouterr().out)["queue"]
    rows = list(csv.DictReader((tmp_path / "queue.csv").open()))
    assert [r["study_id"] for r in rows] == [q["study_id"] for q in told] and len(rows) == 3
    assert not {"patient_id", "report", "text"} & set(rows[0])
    assert main([*call, "next-data", lake[1]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sentences"] and "distance" not in found["coverage"]
    assert {p["is_measured"] for p in found["curve"]["points"]} == {True, False}


def test_a_run_that_has_not_finished_is_not_asked(lake: tuple[Path, str]) -> None:
    with pytest.raises(ConfigurationError, match="No run"):
        read_run_features(lake[0], "ab" * 8)
