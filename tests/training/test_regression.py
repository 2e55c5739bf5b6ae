"""Measurements: metrics that count draws, a planted value found by every method, and runs that cannot be refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training import continuous, probe
from training.export import load_tuned
from training.spec import parse_spec
from training.tasks.regression import Regression
from training.tune import tune

TASK = {"kind": "regression", "labels": ["dose"]}


def cell(run: Path, name: str, arm: str = "tuned", split: str = "holdout", label: str = "dose") -> float:
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    where = {"name": name, "arm": arm, "split": split, "label": label, "site": "all", "subgroup": "all"}
    (row,) = [r for r in rows if all(r[k] == v for k, v in where.items())]
    return float(row["value"])


def test_a_draw_counts_a_study_as_often_as_it_was_drawn() -> None:
    random = np.random.default_rng(0)
    truth = np.round(random.normal(60, 10, 40))  # with ties
    answers = np.round(truth + random.normal(3, 8, 40))
    truth[5] = np.nan
    drawn = random.integers(0, 4, 40)
    found = continuous.measure(truth, answers)(np.stack([np.ones(40), drawn]).astype(np.float64))
    for row, times in enumerate((np.ones(40, int), drawn)):
        known = np.isfinite(truth)
        y, p = np.repeat(truth[known], times[known]), np.repeat(answers[known], times[known])
        expected = {
            "mae": np.abs(y - p).mean(), "rmse": np.sqrt(((y - p) ** 2).mean()), "bias": (p - y).mean(),
            "r2": 1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum(), "slope": np.polyfit(p, y, 1)[0],
            "pearson": pearsonr(y, p)[0], "spearman": spearmanr(y, p)[0],
        }  # fmt: skip
        assert {k: v[row] for k, v in found.items()} == pytest.approx(expected, abs=1e-9)


def test_what_has_no_spread_has_no_correlation() -> None:
    found = continuous.measure(np.ones(5), np.arange(5.0))(np.ones((1, 5)))
    assert found["mae"][0] == pytest.approx(1.4)
    assert all(np.isnan(found[name][0]) for name in ("r2", "pearson", "spearman"))


def test_ridge_is_the_same_from_either_side_of_the_equations() -> None:
    random = np.random.default_rng(1)
    x, w = random.normal(size=(30, 12)), random.uniform(0.5, 2, (30, 1))
    y = x[:, :1] * 2 + 1 + 0.1 * random.normal(size=(30, 1))
    y[3] = np.nan
    wide = np.concatenate([x, np.zeros((30, 40))], axis=1)  # more features than examples, the same fit
    (tall_matrix, tall_bias), (wide_matrix, wide_bias) = (
        probe.ridge(lambda a, b: 0.0).solve(each, y, w, 10.0) for each in (x, wide)
    )
    np.testing.assert_allclose(wide_matrix[:12], tall_matrix, atol=1e-9)
    np.testing.assert_allclose(wide_bias, tall_bias, atol=1e-9)
    known = np.isfinite(y[:, 0])
    peer = Ridge(alpha=w[known].sum() / 10).fit(x[known], y[known, 0], sample_weight=w[known, 0])
    np.testing.assert_allclose(tall_matrix[:, 0], peer.coef_, atol=1e-9)


def test_ridge_finds_a_value_in_a_direction_of_little_spread() -> None:
    random = np.random.default_rng(2)
    loud, quiet = random.normal(size=(400, 1)), random.normal(size=(400, 1))
    turned = np.where(np.arange(16) % 2, 1.0, -1.0)
    features = (loud + 0.02 * quiet * turned + 0.002 * random.normal(size=(400, 16))).astype(np.float32)
    seats = probe.Seats(np.arange(200), np.arange(200, 300), np.arange(400))
    task = Regression(("dose",)).prepared(quiet, np.arange(400) < 200)
    targets = task.training_targets(quiet, 1)
    head = task.fit_probe(features, targets, np.ones((400, 1)), targets, seats, lambda step, facts: None)
    error = head.logits(features)[300:] - targets[300:]
    assert 1 - (error**2).mean() / targets[300:].var() > 0.98


def test_wild_values_pull_huber_less_and_units_come_back() -> None:
    values = np.array([[*np.linspace(50, 70, 21), 9000.0, np.inf]]).T
    task = Regression(("dose",)).prepared(values, np.ones(23, dtype=bool))
    logits = torch.tensor(task.training_targets(values, 1))
    assert task.answers(logits)[18:22, 0].tolist() == pytest.approx([68, 69, 70, 9000])
    ones = torch.ones(23, 1)
    squared = Regression(("dose",), "squared", task.centre, task.spread)
    zeros = torch.zeros(23, 1, dtype=torch.float64)
    assert squared.loss(zeros, logits, ones) > 10 * task.loss(zeros, logits, ones)


def test_the_correlation_ratio_forgives_the_number_of_groups() -> None:
    random = np.random.default_rng(2)
    site = np.array([f"s{i % 20}" for i in range(100)])
    noise = random.normal(size=100)
    assert (continuous.correlation_ratio(site, noise) or 0) < 0.3
    assert (continuous.correlation_ratio(site, np.array([float(s[1:]) for s in site])) or 0) > 0.99
    assert continuous.correlation_ratio(np.array(["a"] * 5), np.arange(5.0)) is None


@pytest.mark.parametrize("method", ["probe", "cut", "lora", "full"])
def test_every_method_finds_a_planted_value(tmp_path: Path, method: str) -> None:
    lay_down(tmp_path, n=180, measured=True)
    run = tune(tmp_path, parse_spec(tree(method, task=TASK)), report=lambda event: None)
    report = json.loads((run / "report.json").read_text())
    items = {i["item"]: i["value"] for i in report["items"] if i["section"] == "regression"}
    nothing = items["holdout: dose, knowing nothing"]
    assert cell(run, "mae") < 0.35 * nothing
    assert cell(run, "r2") > 0.85
    assert cell(run, "spearman") > 0.9
    assert cell(run, "slope") == pytest.approx(1, abs=0.15)
    assert items["holdout: dose, limits of agreement, tuned"] < 4 * nothing
    assert report["verdict"].startswith("MAE on holdout")
    assert load_tuned(run).task.state() == Regression(("dose",), "huber", *_scale(run)).state()


def _scale(run: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    state = json.loads((run / "preprocess.json").read_text())["task_state"]
    assert 20 < state["centre"][0] < 60
    return tuple(state["centre"]), tuple(state["spread"])


def test_a_lower_error_is_a_gain(tmp_path: Path) -> None:
    lay_down(tmp_path, n=240, measured=True)
    run = tune(tmp_path, parse_spec(tree("probe", task=TASK)), report=lambda event: None)
    gain = json.loads((run / "report.json").read_text())["headline"]["holdout"]["gain"]
    assert gain["high"] < 0
    assert json.loads((run / "report.json").read_text())["verdict"].endswith("a gain.")


def test_a_label_of_one_value_is_refused(tmp_path: Path) -> None:
    lay_down(tmp_path, measured=True)
    with pytest.raises(ConfigurationError, match="the same 'flat': nothing to learn"):
        tune(tmp_path, parse_spec(tree("probe", task={**TASK, "labels": ["dose", "flat"]})), report=lambda event: None)  # fmt: skip
