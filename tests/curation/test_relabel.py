"""Corrections of labels: kept beside what was said before, honoured by the next cohort, with no word that somebody typed."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from curation.cohort import CohortSpec, build_cohort, read_facts
from curation.cohort_spec import canonical, cohort_id
from curation.lake import Lake, LakeError
from curation.records import ConfigurationError
from curation.relabel import Correction, read_corrections, record
from tests.curation.cohort_lake import deliver as deliver_rows
from tests.curation.cohort_lake import said, tiny_lake
from tests.curation.lake_rows import an_id

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILMS: dict[str, Any] = {
    "cohort": "films",
    "include": [{"name": "film", "where": "modality = 'DX'"}],
    "labels": {"nodule": "asserted('nodule')", "woman": "sex = 'F'"},
}
ASSESSED = FILMS | {
    "cohort": "assessed",
    "include": [{"name": "assessed", "where": "has_finding('nodule') OR lacks_finding('nodule')"}],
}


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lake(tmp_path_factory.mktemp("population") / "lake").root


@pytest.fixture
def lake(tmp_path: Path, population: Path) -> Lake:
    shutil.copytree(population, tmp_path / "lake")
    return Lake(tmp_path / "lake")


def build(lake: Lake, spec: dict[str, Any]) -> Path:
    return build_cohort(lake, CohortSpec.model_validate(spec))


def labels(folder: Path, name: str) -> dict[UUID, float | None]:
    rows = pq.read_table(folder / "members.parquet").to_pylist()
    return {r["study_id"]: next(e["value"] for e in r["labels"] if e["name"] == name) for r in rows}


def correct(study: str, value: float, label: str = "nodule") -> Correction:
    return Correction(an_id(study), label, value, "radiologist", "image_shows_it")


def test_the_next_cohort_takes_what_readers_say_and_the_old_one_stays(lake: Lake) -> None:
    before = build(lake, FILMS)
    old = labels(before, "nodule")
    assert (old[an_id("0/0")], old[an_id("1/0")], old[an_id("3/0")]) == (1, 0, None)
    done = record(
        lake, "films", [correct("0/0", 0), correct("1/0", 1), correct("3/0", 1), correct("4/0", 1)], NOW
    )
    assert (done.n, done.n_changed) == (4, 3)
    after = build(lake, FILMS)
    assert after != before and labels(before, "nodule") == old
    new = labels(after, "nodule")
    assert (new[an_id("0/0")], new[an_id("1/0")], new[an_id("3/0")], new[an_id("4/0")]) == (0, 1, 1, 1)
    assert {s for s in old if old[s] != new[s]} == {an_id(s) for s in ("0/0", "1/0", "3/0")}
    assert read_facts(after)["relabelled"] == {"nodule": 4} and "relabelled" not in read_facts(before)
    with lake.connect() as con:
        rows = con.execute(
            "SELECT value, given, role, reason FROM relabels ORDER BY study_id = ? DESC", [an_id("0/0")]
        )
        assert rows.fetchall()[0] == (0, 1, "radiologist", "image_shows_it")


def test_rules_over_a_finding_see_the_correction_too(lake: Lake) -> None:
    before = set(labels(build(lake, ASSESSED), "nodule"))
    assert an_id("3/0") not in before and an_id("1/0") in before
    build(lake, FILMS)
    record(lake, "films", [correct("3/0", 1), correct("1/0", -1)], NOW)
    after = labels(build(lake, ASSESSED), "nodule")
    assert after[an_id("3/0")] == 1 and an_id("1/0") not in after


def test_a_label_that_is_no_finding_is_corrected_as_well_and_a_covariate_is_not(lake: Lake) -> None:
    spec = FILMS | {"covariates": {"woman": "sex = 'F'"}, "labels": {"woman": "sex = 'F'"}}
    build(lake, spec)
    record(lake, "films", [correct("1/0", 1, "woman")], NOW)
    folder = build(lake, spec)
    assert labels(folder, "woman")[an_id("1/0")] == 1
    row = next(
        r for r in pq.read_table(folder / "members.parquet").to_pylist() if r["study_id"] == an_id("1/0")
    )
    assert row["covariates"][0]["value"] == 0


def test_the_latest_correction_stands_and_the_earlier_ones_are_kept(lake: Lake) -> None:
    build(lake, FILMS)
    record(lake, "films", [correct("0/0", 0)], NOW + timedelta(days=2))
    record(lake, "films", [correct("0/0", -1)], NOW)
    assert labels(build(lake, FILMS), "nodule")[an_id("0/0")] == 0
    with lake.connect() as con:
        assert con.execute("SELECT count(*) FROM relabels").fetchall() == [(2,)]


def test_a_cohort_may_refuse_corrections(lake: Lake) -> None:
    spec = FILMS | {"relabels": False}
    build(lake, spec)
    record(lake, "films", [correct("0/0", 0)], NOW)
    assert labels(build(lake, spec), "nodule")[an_id("0/0")] == 1


def test_older_cohorts_keep_their_id() -> None:
    spec = CohortSpec.model_validate(FILMS)
    assert "relabels" not in canonical(spec)
    other = CohortSpec.model_validate(FILMS | {"relabels": False})
    assert cohort_id(spec, "0" * 64) != cohort_id(other, "0" * 64)


def test_recording_twice_is_recording_once_and_deliveries_keep_corrections(lake: Lake) -> None:
    build(lake, FILMS)
    first = record(lake, "films", [correct("0/0", 0)], NOW).snapshot
    assert record(lake, "films", [correct("0/0", 0)], NOW).snapshot.number == first.number
    deliver_rows(lake, "north-2", findings=[said("2/0", "nodule", "present", "label", "north")])
    with lake.connect() as con:
        assert con.execute("SELECT count(*) FROM relabels").fetchall() == [(1,)]
    with lake.connect(first.number - 1) as con:
        assert con.execute("SELECT count(*) FROM relabels").fetchall() == [(0,)]
    head = lake.snapshot(first.number)
    assert head.deliveries == lake.snapshot(first.number - 1).deliveries


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{id},nodule,present,radiologist,image_shows_it,,Anna Muster", "columns too many"),
        ("{id},nodule,present,radiologist,Patient Anna Muster says so,", "line 2: reason must be one of"),
        ("{id},nodule,present,Dr Anna Muster,image_shows_it,", "line 2: role must be one of"),
        ("{id},nodule,Anna Muster,radiologist,image_shows_it,", "line 2: value must be one of"),
        ("Anna Muster,nodule,present,radiologist,image_shows_it,", "line 2: study_id is no id"),
        ("{id},nodule,present,radiologist,image_shows_it,Anna Muster", "line 2: run_id is no id"),
        ("{id},nodule,,radiologist,image_shows_it,", "line 2: value is missing"),
    ],
)
def test_free_text_is_refused_and_not_repeated(tmp_path: Path, row: str, told: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("study_id,label,value,role,reason,run_id\n" + row.format(id=an_id("0/0")) + "\n")
    with pytest.raises(ConfigurationError, match=told) as error:
        read_corrections(path)
    assert "Muster" not in str(error.value)


def test_what_is_no_label_no_study_or_a_contradiction_is_refused(lake: Lake) -> None:
    build(lake, FILMS | {"labels": {"nodule": "asserted('nodule')", "age": "age_years"}})
    with pytest.raises(
        ConfigurationError, match="1 corrections are of a label that cohort films does not have"
    ) as error:
        record(lake, "films", [correct("0/0", 0, "Anna Muster")], NOW)
    assert "Muster" not in str(error.value)
    with pytest.raises(ConfigurationError, match="1 of the studies are not in the lake"):
        record(lake, "films", [correct("0/0", 0), correct("nowhere", 0)], NOW)
    with pytest.raises(ConfigurationError, match="contradict"):
        record(lake, "films", [correct("0/0", 0), dataclasses.replace(correct("0/0", 0), value=1.0)], NOW)
    with pytest.raises(ConfigurationError, match="age is a number"):
        record(lake, "films", [correct("0/0", 1, "age")], NOW)
    assert len(lake.numbers()) == 1


def test_only_decisions_are_added(lake: Lake) -> None:
    with pytest.raises(LakeError, match="no table of decisions"):
        lake.add("studies", pq.read_table(lake.files("studies", lake.snapshot())[0]))
