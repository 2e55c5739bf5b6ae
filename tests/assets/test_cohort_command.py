"""A cohort built by the command from a tiny lake, and a tune that cannot begin."""

import json
from pathlib import Path

import dagster as dg
import pytest

from assets.cli import main
from assets.instance import opened
from assets.launch import launch
from curation.records import ConfigurationError
from curation.settings import load_settings, open_home
from training.spec import load_spec, run_id

SPEC = """
cohort: everyone
purpose: whatever the tiny hospital has
labels: {nodule: "asserted('nodule')"}
series: {keep: "true"}
split: {train: 0.6, tune: 0.2, test: 0.2}
"""


@pytest.fixture
def built(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    spec = tmp_path / "everyone.yaml"
    spec.write_text(SPEC)
    capsys.readouterr()
    assert main(["cohort", "build", str(spec), "--home", str(home), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_build_says_who_is_in_and_why(built: dict[str, object], home: Path) -> None:
    assert {"cohort_id", "studies", "patients", "sites", "attrition", "splits"} <= set(built)
    assert (home / "lake" / "cohorts" / str(built["cohort_id"]) / "members.parquet").is_file()
    assert built["studies"]


def test_tokens_of_the_kind_that_was_asked_for(
    built: dict[str, object], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["cohort", "build", str(tmp_path / "everyone.yaml"), "--home", str(home)]
    assert main([*asked, "--input", "size=48", "--input", "bits=16"]) == 0
    (pack,) = (home / "lake" / "cohorts" / str(built["cohort_id"]) / "packs").iterdir()
    recipe = json.loads((pack / "pack.json").read_text())["recipe"]
    assert (recipe["kind"], recipe["size"], recipe["bits"], recipe["text"]) == ("tile", 48, 16, True)
    capsys.readouterr()
    assert main([*asked, "--input", "sise=48"]) == 2
    assert "unknown key 'sise'" in capsys.readouterr().err
    assert main([*asked, "--input", "kind=volume", "--input", "bits=16"]) == 2
    assert "bits" in capsys.readouterr().err


def test_the_cohort_is_materialized_with_its_checks(built: dict[str, object], home: Path) -> None:
    with opened(open_home(load_settings(home))) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("cohort"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.partition == "everyone"
        assert event.asset_materialization.metadata["cohort_id"].value == built["cohort_id"]
        found = instance.all_logs(event.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        verdicts = {e.dagster_event.asset_check_evaluation_data.check_name for e in found}
        assert "no_patient_in_two_splits" in verdicts


def test_list_and_show_find_it_by_name(
    built: dict[str, object], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cohort", "list", "--home", str(home), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["cohorts"]
    assert listed["cohort_id"] == built["cohort_id"]
    assert main(["cohort", "show", "everyone", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["studies"] == built["studies"]


WRONG = ["cohort=everyone", "task.labels=[no_such_label]", "task.covariates=[]"]


def test_a_spec_that_the_cohort_cannot_carry_ends_with_two_before_anything_is_launched(
    built: dict[str, object], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [word for override in WRONG for word in ("--set", override)]
    assert main(["tune", "demo", *sets, "--home", str(home)]) == 2
    assert "no_such_label" in capsys.readouterr().err
    assert not (home / "lake" / "runs").exists()
    with opened(open_home(load_settings(home))) as instance:
        assert instance.get_runs(dg.RunsFilter(job_name="tune")) == []


def test_one_that_is_launched_all_the_same_is_refused_without_a_second_try(
    built: dict[str, object], home: Path
) -> None:
    spec = load_spec("demo", WRONG)
    config = {"tuned_model": {"text": spec.model_dump_json()}}
    with opened(open_home(load_settings(home))) as instance:
        with pytest.raises(ConfigurationError, match="no_such_label"):
            launch(instance, "tune", "runs", run_id(spec, str(built["cohort_id"])), config=config)
        (run,) = instance.get_runs(dg.RunsFilter(job_name="tune"))
        kinds = {e.dagster_event_type for e in instance.all_logs(run.run_id)}
        assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds
