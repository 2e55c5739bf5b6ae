"""The pages of runs that answer no yes/no question: measurements and times to an event say what their numbers are."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from curation.cohort_spec import CohortSpec
from curation.lake import Lake
from curation.settings import load_settings, open_home
from tests.training.planted import lay_down, tree
from tests.ui.conftest import OFF, Draw, _draw
from tests.ui.test_pages import metrics, texts
from ui import formats
from ui.catalog import Catalog
from ui.components import run_progress

pytest.importorskip("torch")
pytestmark = pytest.mark.slow
TASKS = {
    "regression": {"kind": "regression", "labels": ["dose"], "covariates": ["fibrosis"]},
    "survival": {"kind": "survival", "labels": ["days", "died"], "horizons": [60, 365], "covariates": ["age"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A home, and a finished probe of each kind: name to id."""
    from training.spec import parse_spec
    from training.tune import tune

    home = tmp_path_factory.mktemp("kinds")
    lake = open_home(load_settings(home)).lake
    made = {}
    for name, task in TASKS.items():
        cohort = lay_down(lake, n=90, name=name, measured=name == "regression", outcome=name == "survival")
        about = json.loads((cohort / "cohort.json").read_text())
        rules = {"cohort": name, "purpose": "planted", "include": [{"name": "all", "where": "true"}]}
        spec_of = CohortSpec.model_validate(rules).model_dump(mode="json")
        (cohort / "cohort.json").write_text(json.dumps({**about, "spec": spec_of}))
        spec = parse_spec(tree("probe", name=name, cohort=cohort.name, task=task))
        made[name] = tune(lake, spec, report=lambda facts: None).name
    return home, made


@pytest.fixture
def draw_run(runs: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Draw:
    monkeypatch.setenv("RWID_HOME", str(runs[0]))
    monkeypatch.setenv("RWID_DAGSTER_URL", OFF)
    return lambda name: _draw("run", run=runs[1][name])


def options(page: object, label: str) -> list[str]:
    return next(s for s in page.selectbox if s.label == label).options


def test_a_run_on_measurements_has_no_positives_and_says_that_less_is_better(draw_run: Draw) -> None:
    page = draw_run("regression")
    shown = metrics(page)
    assert "Positive" not in shown and float(shown["Tuned"]) < float(shown["Untuned"])
    assert "MAE" in options(page, "Metric")
    assert "Gain in MAE" in texts(page) and "lower is better" in texts(page)
    assert "n_positive" not in page.dataframe[0].value.columns


def test_a_run_on_outcomes_speaks_of_concordance_and_counts_days(draw_run: Draw) -> None:
    page = draw_run("survival")
    assert metrics(page)["Positive"].isdigit()
    assert "Gain in C-index" in texts(page) and "C_INDEX" not in texts(page)
    labels = options(page, "Label")
    assert labels.index("died by day 60") < labels.index("died by day 365")


def test_a_probe_is_drawn_by_the_strengths_that_were_tried() -> None:
    history = pd.DataFrame(
        [(step, name, value) for step, strength in enumerate((0.01, 1.0, 100.0))
         for name, value in ((run_progress.STRENGTH, strength), ("tune/loss", 1.0 + step))],
        columns=["step", "name", "value"],
    )  # fmt: skip
    drawn = run_progress._by_strength(history)
    assert drawn[["name", run_progress.STRENGTH_SAID, "value"]].values.tolist() == [
        ["tune/loss", 0.01, 1.0], ["tune/loss", 1.0, 2.0], ["tune/loss", 100.0, 3.0],
    ]  # fmt: skip


def test_metrics_are_written_as_papers_write_them_and_days_in_their_order() -> None:
    assert [formats.metric_name(n) for n in ("auroc", "c_index", "r2", "top_share")] == [
        "AUROC", "C-index", "R²", "top share",
    ]  # fmt: skip
    assert formats.in_order(["died by day 365", "died by day 90", "a"]) == [
        "a", "died by day 90", "died by day 365",
    ]  # fmt: skip


def test_labels_that_are_numbers_have_quartiles(tmp_path: Path) -> None:
    folder = lay_down(tmp_path, n=60, outcome=True)
    catalog = Catalog(Lake(tmp_path), None)
    measured = catalog.numbers(folder.name)
    assert set(measured["label"]) == {"days"} and measured["studies"].sum() == 60
    assert (measured["low"] <= measured["median"]).all() and (measured["median"] <= measured["high"]).all()
    assert set(catalog.numbers(folder.name, "covariates")["label"]) == {"age"}
