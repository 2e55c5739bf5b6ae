"""What is done with frozen cohorts: leakage checks, comparison, export. Each leak is planted once and found."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import records
from curation.cohort import build_cohort, diff_cohorts, export_cohort, leakage, parse_spec, read_facts
from curation.cohort_spec import CohortSpec
from curation.lake import Lake
from curation.part import conform
from curation.records import ConfigurationError
from tests.curation.cohort_lake import an_id, bucket, deliver, film, said, tiny_lake
from tests.curation.lake_rows import row

LONG = "The lungs are well expanded and this sentence is written by one person only. " * 8


def spec(**given: Any) -> CohortSpec:
    return CohortSpec.model_validate(
        {"cohort": "chest", "min_cell": 1, "labels": {"nodule": "asserted('nodule')"}, **given}
    )


def in_split(train: bool) -> str:
    """Name of a patient whose bucket is in train, or in test, with the default shares."""
    return next(
        f"p{n}"
        for n in range(1000)
        if (bucket(an_id(f"p{n}")) < 700) is train and (train or bucket(an_id(f"p{n}")) >= 800)
    )


def names(lake: Lake, **given: Any) -> set[str]:
    return {p.name for p in leakage(lake, build_cohort(lake, spec(**given)))}


def test_shared_pixels_and_reports_are_found_and_templates_are_not(tmp_path: Path) -> None:
    people = [in_split(train) for train in (True, False)] + [f"q{n}" for n in range(8)]
    train, test = people[:2]
    others = people[2:]
    assert len({bucket(an_id(p)) < 700 for p in others}) == 2
    films = [film(p, p, "north", delivery="d") for p in people]
    films[:2] = [dataclasses.replace(f, pixel_sha256=b"x" * 32) for f in films[:2]]
    # a long text of two people; a template of many; a short phrase of two
    texts = {train: LONG, test: LONG.upper(), **dict.fromkeys(others, LONG + "A template.")}
    short = [(p, "No acute disease.") for p in (train, test)]
    reports = [
        row(
            records.Report,
            report_id=an_id(p + text),
            study_id=an_id(p),
            patient_id=an_id(p),
            text=text,
            language="en",
            site="north",
            delivery="d",
        )
        for p, text in [*texts.items(), *short]
    ]
    lake = Lake(tmp_path)
    deliver(lake, "d", instances=films, reports=reports)
    found = leakage(lake, build_cohort(lake, spec()))
    assert [(p.name, p.n) for p in found] == [
        ("same_pixels_in_two_splits", 1),
        ("same_report_in_two_splits", 1),
    ]
    assert found[0].examples == ((b"x" * 32).hex().upper(),)


def forged(folder: Path, change: Any) -> None:
    """Rewrites the members of a cohort, as a fault in the engine would."""
    rows = pq.read_table(folder / "members.parquet").to_pylist()
    changed = [change(n, r) for n, r in enumerate(rows)]
    table = pa.Table.from_pylist(changed, schema=records.schema_of(records.Member))
    pq.write_table(conform("members", table), folder / "members.parquet")


def test_a_patient_in_two_splits_and_a_broken_holdout_are_found(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    films = [film("a", f"a{n}", site, delivery="d") for n, site in enumerate(["north", "north", "north"])]
    deliver(lake, "d", instances=[*films, film("b", "b", "south", delivery="d")])
    folder = build_cohort(lake, spec(split={"holdout_sites": ["south"]}))
    assert leakage(lake, folder) == []
    forged(folder, lambda n, r: r | {"split": "test" if n % 2 else "train"})
    found = {p.name: p for p in leakage(lake, folder)}
    assert set(found) == {"patient_in_two_splits", "holdout_not_respected"}
    assert found["patient_in_two_splits"].examples == (str(an_id("a")),)


def linked(lake: Lake) -> Lake:
    """Patients `a` of north and `b` of south become one person, as linkage would write it."""
    snapshot = lake.snapshot()
    (path,) = lake.files("patients", snapshot)
    table = pq.read_table(path)
    person = pa.array([an_id("person").bytes] * len(table), pa.uuid())
    pq.write_table(table.set_column(table.column_names.index("person_id"), "person_id", person), path)
    return lake


def test_a_linked_person_at_a_held_out_site_leaves_the_other_sites_studies(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    deliver(
        lake, "d", instances=[film("a", "a", "north", delivery="d"), film("b", "b", "south", delivery="d")]
    )
    folder = build_cohort(linked(lake), spec(split={"holdout_sites": ["south"]}))
    assert [m["site"] for m in pq.read_table(folder / "members.parquet").to_pylist()] == ["south"]
    assert read_facts(folder)["attrition"][-1]["kind"] == "person"
    assert leakage(lake, folder) == []


def test_a_linked_person_in_two_splits_is_found(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    people = [in_split(True), in_split(False)]
    deliver(lake, "d", instances=[film(p, p, "north", delivery="d") for p in people])
    assert names(linked(lake)) == {"person_in_two_splits"}


def test_a_diff_says_who_came_who_left_and_why(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path)
    a = build_cohort(lake, spec(include=[{"name": "film", "where": "modality = 'DX'"}]))
    deliver(
        lake,
        "late",
        instances=[film("new", "new", "north", delivery="late")],
        findings=[said("1/0", "nodule", "present", "reader", "north")],
    )
    narrower = [{"name": "film", "where": "modality = 'DX'"}, {"name": "young", "where": "age_years < 60"}]
    b = build_cohort(lake, spec(include=narrower))
    diff = diff_cohorts(lake, a.name, b.name)
    rows = diff.changes.to_pylist()
    assert {r["why"] for r in rows if r["change"] == "added"} == {f"not in {a.name}: not in the snapshot"}
    assert {r["why"] for r in rows if r["change"] == "removed"} == {f"not in {b.name}: fails 'young'"}
    (relabelled,) = [r for r in rows if r["change"] == "relabelled"]
    assert (relabelled["was"], relabelled["now"]) == ("nodule=0", "nodule=1")
    assert relabelled["study_id"] == str(an_id("1/0"))
    before, after = read_facts(a)["studies"], read_facts(b)["studies"]
    assert diff.counts["added"] == 1
    assert before - diff.counts["removed"] + 1 == after
    assert diff_cohorts(lake, "chest", b.name).counts == {
        "same": after,
        "added": 0,
        "removed": 0,
        "moved": 0,
        "relabelled": 0,
    }


def test_a_study_that_moves_to_another_split_is_told(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path)
    a = build_cohort(lake, spec())
    b = build_cohort(lake, spec(split={"holdout_sites": ["north"]}))
    moved = [r for r in diff_cohorts(lake, a.name, b.name).changes.to_pylist() if r["change"] == "moved"]
    assert len(moved) == read_facts(b)["splits"]["holdout"]
    assert {r["now"] for r in moved} == {"holdout"}


def test_an_export_is_whole_without_the_lake(tmp_path: Path) -> None:
    import duckdb

    lake = tiny_lake(tmp_path / "lake")
    folder = build_cohort(lake, spec(include=[{"name": "film", "where": "modality = 'DX' AND has_report"}]))
    dst = export_cohort(lake, "chest", tmp_path / "out")
    facts = read_facts(folder)
    with duckdb.connect() as con:
        for name, n in (
            ("members", facts["series"]),
            ("studies", facts["studies"]),
            ("series", facts["series"]),
            ("reports", facts["studies"]),
        ):
            assert con.execute(
                f"SELECT count(*) FROM '{dst}/{name}.parquet' JOIN '{dst}/members.parquet' USING (study_id)"
            ).fetchall() == [(n,)]
        assert con.execute(
            f"SELECT count(*) FROM '{dst}/findings.parquet' ANTI JOIN '{dst}/members.parquet' USING (study_id)"
        ).fetchall() == [(0,)]
        assert con.execute(f"SELECT count(*) > 0 FROM '{dst}/findings.parquet'").fetchall() == [(True,)]
    assert "SELECT split" in (dst / "README.md").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake", "out"]
    again = export_cohort(lake, "chest", tmp_path / "again", frames=True)
    assert pq.read_table(again / "instances.parquet").num_rows == facts["series"]
    assert (again / "studies.parquet").read_bytes() == (dst / "studies.parquet").read_bytes()


def test_an_export_overwrites_nothing_and_names_its_formats(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path / "lake")
    build_cohort(lake, spec())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not empty"):
        export_cohort(lake, "chest", tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    with pytest.raises(ConfigurationError, match="there is: parquet"):
        export_cohort(lake, "chest", tmp_path / "x", "zip")
    with pytest.raises(ConfigurationError, match="No cohort 'y'"):
        export_cohort(lake, "y", tmp_path / "x")


def test_building_by_yaml_text_is_building_by_spec(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path)
    text = "cohort: chest\nmin_cell: 1\nlabels: {nodule: \"asserted('nodule')\"}\n"
    assert build_cohort(lake, parse_spec(text)) == build_cohort(lake, spec())
