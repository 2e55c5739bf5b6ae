"""`rwid relabel`: a CSV in, a table of the lake and a CSV out, through Dagster."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from assets.cli import main
from curation.cohort import CohortSpec, build_cohort
from curation.lake import Lake
from tests.curation.cohort_lake import tiny_lake
from tests.curation.lake_rows import an_id

HEADER = "study_id,label,value,role,reason\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    lake = tiny_lake(tmp_path / "home" / "lake")
    spec = {
        "cohort": "films",
        "include": [{"name": "film", "where": "modality = 'DX'"}],
        "labels": {"nodule": "asserted('nodule')"},
    }
    build_cohort(lake, CohortSpec.model_validate(spec))
    return tmp_path / "home"


def test_corrections_come_in_and_go_out_as_csv(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_text(
        HEADER
        + f"{an_id('0/0')},nodule,absent,radiologist,report_misread\n{an_id('3/0')},nodule,present,resident,first_label\n"
    )
    call = ["--home", str(home), "--json", "relabel"]
    assert main([*call, str(file), "--cohort", "films"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"relabels": 2, "changed": 2, "snapshot": 2}
    assert main([*call, "--out", str(out)]) == 0
    rows = {r["study_id"]: r for r in csv.DictReader(out.open())}
    assert rows[str(an_id("3/0"))] | {"value": "present", "reason": "first_label"} == rows[str(an_id("3/0"))]
    assert Lake(home / "lake").numbers() == [1, 2]


def test_a_wrong_line_changes_nothing_and_exits_with_two(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.csv"
    file.write_text(
        HEADER
        + f"{an_id('0/0')},nodule,absent,radiologist,report_misread\n{an_id('1/0')},nodule,absent,Anna Muster,report_wrong\n"
    )
    assert main(["--home", str(home), "relabel", str(file), "--cohort", "films"]) == 2
    told = capsys.readouterr().err
    assert "line 3: role must be one of radiologist" in " ".join(told.split()) and "Muster" not in told
    assert Lake(home / "lake").numbers() == [1]


def test_a_file_without_its_cohort_is_asked_for_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.csv"
    file.write_text(HEADER + f"{an_id('0/0')},nodule,absent,radiologist,report_misread\n")
    assert main(["--home", str(home), "relabel", str(file)]) == 2
    assert "--cohort NAME" in capsys.readouterr().err
    assert Lake(home / "lake").numbers() == [1]
