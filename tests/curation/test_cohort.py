"""Frozen cohorts: who is in them, in which split, under which id, and what their folder says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation import records
from curation.cohort import (
    build_cohort,
    find_cohort,
    leakage,
    list_cohorts,
    load_spec,
    parse_spec,
    read_facts,
    shipped_specs,
    summary,
    try_cohort,
)
from curation.cohort_spec import CohortSpec
from curation.lake import Lake, LakeError
from curation.records import ConfigurationError
from tests.curation.cohort_lake import N_PATIENTS, an_id, bucket, deliver, film, population, said, tiny_lake
from tests.curation.lake_rows import row


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return tiny_lake(tmp_path_factory.mktemp("lake"))


def copied(lake: Lake, root: Path) -> Lake:
    """A copy to add deliveries to, without cohorts."""
    for folder in ("data", "snapshots"):
        shutil.copytree(lake.root / folder, root / folder)
    return Lake(root)


def spec(**given: Any) -> CohortSpec:
    facts = {
        "cohort": "chest",
        "include": [
            {"name": "film", "where": "modality = 'DX'"},
            {"name": "adult", "where": "age_years BETWEEN 18 AND 70"},
        ],
        "exclude": [{"name": "no report", "where": "NOT has_report"}],
        "labels": {"nodule": "asserted('nodule')"},
        "covariates": {"emphysema": "has_finding('emphysema')"},
        "min_cell": 5,
    }
    return CohortSpec.model_validate({**facts, **given})


def members(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "members.parquet").to_pylist()


def value(member: dict[str, Any], name: str, kind: str = "labels") -> float | None:
    return next(v["value"] for v in member[kind] if v["name"] == name)


def everyone(**rules: Any) -> set[str]:
    """Studies of the population by plain Python, as the oracle."""
    instances, _, reports = population()
    reported = {r.study_id for r in reports}
    return {
        str(i.study_id)
        for i in instances
        if i.modality == "DX" and 18 <= (i.age_years or 0) <= 70 and i.study_id in reported
    }


def test_members_are_the_studies_that_plain_python_finds(lake: Lake) -> None:
    found = {str(m["study_id"]) for m in members(build_cohort(lake, spec()))}
    assert found == everyone()


def test_attrition_counts_studies_patients_and_sites_rule_by_rule(lake: Lake) -> None:
    instances, _, _ = population()
    films = [i for i in instances if i.modality == "DX"]
    adults = [i for i in films if 18 <= (i.age_years or 0) <= 70]
    steps = summary(build_cohort(lake, spec()))["attrition"]
    assert [s["rule"] for s in steps] == ["all studies", "film", "adult", "no report", "series to show"]
    for step, left in zip(steps, (instances, films, adults), strict=False):
        assert step["studies"] == len(left)
        assert step["patients"] == len({i.patient_id for i in left})
        assert step["sites"] == len({i.site for i in left})


def test_the_summary_has_exactly_the_contracts_keys(lake: Lake) -> None:
    told = summary(build_cohort(lake, spec()))
    assert list(told) == ["cohort_id", "studies", "patients", "sites", "attrition", "splits"]
    assert all(list(s) == ["rule", "studies", "patients", "sites"] for s in told["attrition"])
    assert sum(told["splits"].values()) == told["studies"]


def test_dropping_one_rule_gives_what_a_cohort_without_it_gives(lake: Lake) -> None:
    without = {w["without"]: w["studies"] for w in try_cohort(lake, spec())["what_if"]}
    fewer = spec(include=[{"name": "film", "where": "modality = 'DX'"}])
    assert without["adult"] == read_facts(build_cohort(lake, fewer))["studies"]
    everything = spec(include=spec().include[1:])
    assert without["film"] == read_facts(build_cohort(lake, everything))["studies"]


def test_the_same_inputs_give_the_same_id_and_the_same_bytes(lake: Lake) -> None:
    folder = build_cohort(lake, spec())
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    shutil.rmtree(folder)
    again = build_cohort(lake, spec())
    assert again == folder
    assert {p.name: p.read_bytes() for p in again.iterdir()} == before
    assert len(folder.name) == 16
    assert not list((folder.parent / ".building").iterdir())


def test_another_rule_gives_another_id_and_writing_out_a_default_does_not(lake: Lake) -> None:
    one = build_cohort(lake, spec())
    assert build_cohort(lake, spec(index="study", series={"keep": "is_whole"})) == one
    assert build_cohort(lake, spec(purpose="else")) != one


def test_a_label_is_1_where_present_0_where_absent_and_null_otherwise(lake: Lake) -> None:
    truth = {f.study_id: f.assertion for f in population()[1] if f.finding == "nodule"}
    expected = {"present": 1.0, "absent": 0.0}
    found = members(build_cohort(lake, spec()))
    assert {value(m, "nodule") for m in found} == {1.0, 0.0, None}
    for member in found:
        assert value(member, "nodule") == expected.get(truth.get(member["study_id"], ""))
        assert value(member, "emphysema", "covariates") in (0.0, 1.0)


def test_helpers_split_what_is_said_into_present_absent_uncertain_and_unsaid(lake: Lake) -> None:
    def n(where: str) -> int:
        return read_facts(build_cohort(lake, spec(include=[{"name": "x", "where": where}], exclude=[])))[
            "studies"
        ]

    total, mentioned = n("true"), n("mentions('nodule')")
    parts = [n("has_finding('nodule')"), n("lacks_finding('nodule')"), n("is_uncertain('nodule')")]
    assert sum(parts) == mentioned < total
    assert min(parts) > 0
    assert n("NOT has_finding('nodule')") == total - parts[0]
    assert n("assertion('nodule') = -1") == parts[2]
    assert n("asserted('nodule') IS NULL") == total - parts[0] - parts[1]


def test_a_label_outranks_a_report_and_a_reader_outranks_both(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = [
        said("a", "nodule", "present", "report", "north"),
        said("a", "nodule", "absent", "label", "north"),
        said("b", "nodule", "absent", "label", "north"),
        said("b", "nodule", "present", "reader", "north"),
        said("c", "nodule", "absent", "report", "north"),
        said("c", "nodule", "present", "report", "north"),
    ]
    deliver(lake, "d", instances=[film(s, s, "north", delivery="d") for s in "abc"], findings=rows)
    found = members(build_cohort(lake, spec(include=[], exclude=[])))
    assert {m["study_id"]: value(m, "nodule") for m in found} == {
        an_id("a"): 0.0,
        an_id("b"): 1.0,
        an_id("c"): 1.0,
    }


def test_outcomes_serve_as_labels_and_rules(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    outcomes = [
        row(
            records.Outcome,
            patient_id=an_id("a"),
            study_id=an_id("a"),
            event="death",
            days_to_event=30.0,
            observed=True,
        ),
        row(
            records.Outcome,
            patient_id=an_id("b"),
            study_id=an_id("b"),
            event="death",
            days_to_event=900.0,
            observed=False,
        ),
        row(
            records.Outcome,
            patient_id=an_id("c"),
            study_id=None,
            event="death",
            days_to_event=5.0,
            observed=True,
        ),
    ]
    deliver(lake, "d", instances=[film(s, s, "north", delivery="d") for s in "abcd"], outcomes=outcomes)
    labels = {
        "days": "outcome_days('death')",
        "observed": "outcome_observed('death')",
        "dead": "has_outcome('death')",
    }
    found = members(build_cohort(lake, spec(include=[], exclude=[], labels=labels, covariates={})))
    told = {m["study_id"]: [v["value"] for v in m["labels"]] for m in found}
    assert told[an_id("a")] == [30.0, 1.0, 1.0]
    assert told[an_id("b")] == [900.0, 0.0, 0.0]
    assert told[an_id("c")] == [None, None, 1.0]
    assert told[an_id("d")] == [None, None, 0.0]


def test_splits_follow_the_stored_bucket_and_held_out_sites_stand_apart(lake: Lake) -> None:
    split = {"train": 0.5, "tune": 0.2, "test": 0.3, "holdout_sites": ["st-elsewhere"]}
    folder = build_cohort(lake, spec(split=split))
    for m in members(folder):
        b = bucket(m["patient_id"])
        by_bucket = "train" if b < 500 else "tune" if b < 700 else "test"
        assert m["split"] == ("holdout" if m["site"] == "st-elsewhere" else by_bucket)
    assert set(read_facts(folder)["splits"]) == {"train", "tune", "test", "holdout"}
    assert leakage(lake, folder) == []


@pytest.mark.parametrize(("index", "pick"), [("first_per_patient", min), ("last_per_patient", max)])
def test_the_index_rule_keeps_one_study_of_each_patient(lake: Lake, index: str, pick: Any) -> None:
    instances, _, reports = population()
    reported = {r.study_id for r in reports}
    dates: dict[Any, list[Any]] = {}
    for i in instances:
        if i.modality == "DX" and 18 <= (i.age_years or 0) <= 70 and i.study_id in reported:
            dates.setdefault(i.patient_id, []).append((i.study_date, i.study_id))
    found = members(build_cohort(lake, spec(index=index)))
    assert {m["study_id"] for m in found} == {pick(of)[1] for of in dates.values()}


def test_a_sample_is_proportional_over_its_strata_and_keeps_patients_whole(lake: Lake) -> None:
    wanted = spec(include=[], exclude=[], sample={"per": "patient", "max": 30, "stratify": ["site"]})
    folder = build_cohort(lake, wanted)
    found = members(folder)
    patients = {(m["patient_id"], m["site"]) for m in found}
    assert len(patients) == 30
    per_site = [sum(site == s for _, site in patients) for s in ("north", "south", "st-elsewhere")]
    assert per_site == [10, 10, 10]
    studies = {i.study_id for i in population()[0] if i.patient_id in {p for p, _ in patients}}
    assert {m["study_id"] for m in found} == studies
    larger = members(build_cohort(lake, spec(include=[], exclude=[], sample={"per": "patient", "max": 45})))
    assert len({m["patient_id"] for m in larger}) == 45


def test_the_series_rule_keeps_orders_and_counts_series(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    films = [
        film(
            "a",
            "a",
            "north",
            delivery="d",
            series_id=an_id(f"a{k}"),
            instance_id=an_id(f"a{k}"),
            kvp=100.0 + k,
            body_part=part,
        )
        for k, part in enumerate(["CHEST", "CHEST", "CHEST", "HEAD"])
    ]
    deliver(lake, "d", instances=[*films, film("b", "b", "north", delivery="d", body_part="HEAD")])
    rule = {"keep": "body_part = 'CHEST'", "order": "kvp DESC", "per_study": 2}
    folder = build_cohort(lake, spec(include=[], exclude=[], series=rule))
    assert [m["series_id"] for m in members(folder)] == [an_id("a2"), an_id("a1")]
    assert summary(folder)["attrition"][-1] == {
        "rule": "series to show",
        "studies": 1,
        "patients": 1,
        "sites": 1,
    }


def test_members_are_sorted_by_study_and_fit_their_schema(lake: Lake) -> None:
    table = pq.read_table(build_cohort(lake, spec()) / "members.parquet")
    ids = [i.bytes for i in table["study_id"].to_pylist()]
    assert ids == sorted(ids)
    assert table.schema.equals(records.schema_of(records.Member), check_metadata=False)


def test_the_folder_is_seen_by_the_lakes_views(lake: Lake) -> None:
    folder = build_cohort(lake, spec())
    with lake.connect() as con:
        found = con.execute(
            "SELECT name, studies, (SELECT count(*) FROM members AS m WHERE m.cohort_id = c.cohort_id) FROM cohorts AS c"
            " WHERE cohort_id = ?",
            [folder.name],
        ).fetchone()
    facts = read_facts(folder)
    assert found == ("chest", facts["studies"], facts["series"])
    attrition = pq.read_table(folder / "attrition.parquet").to_pylist()
    assert attrition == facts["attrition"]
    assert [a["kind"] for a in attrition] == ["start", "include", "include", "exclude", "series"]


def test_a_cohort_without_members_is_refused_with_its_attrition(lake: Lake) -> None:
    rules = [{"name": "film", "where": "modality = 'DX'"}, {"name": "giants", "where": "age_years > 200"}]
    with pytest.raises(ConfigurationError, match=r"no members.*film: \d+; giants: 0.*Loosen 'giants'"):
        build_cohort(lake, spec(include=rules))
    assert not list((lake.root / "cohorts" / ".building").iterdir())


def test_a_name_finds_the_newest_snapshot_and_then_the_last_build(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path)
    first = build_cohort(lake, spec())
    deliver(lake, "late", instances=[film("new", "new", "north", delivery="late")])
    second = build_cohort(lake, spec())
    assert first != second
    assert find_cohort(lake, "chest") == second
    other = build_cohort(lake, spec(purpose="changed"))
    assert find_cohort(lake, "chest") == other
    build_cohort(lake, spec())
    assert find_cohort(lake, "chest") == second
    assert find_cohort(lake, first.name) == first
    assert build_cohort(lake, spec(), number=read_facts(first)["snapshot"]) == first
    assert [c.snapshot for c in list_cohorts(lake)] == sorted(c.snapshot for c in list_cohorts(lake))
    with pytest.raises(ConfigurationError, match=r"there are: chest \("):
        find_cohort(lake, "chets")
    with pytest.raises(LakeError):
        build_cohort(lake, spec(), number=99)


def test_the_card_hides_small_cells_and_tells_the_rest(lake: Lake) -> None:
    folder = build_cohort(lake, spec(min_cell=1000))
    text = (folder / "card.md").read_text()
    facts = read_facts(folder)
    body = text[text.index("## Splits") : text.index("## Limits")]
    assert f" {facts['studies']} " not in body
    assert "<1000" in body
    shown = (build_cohort(lake, spec(min_cell=1)) / "card.md").read_text()
    assert f"| {facts['studies']} |" in shown
    for part in (
        "## Attrition",
        "## Labels",
        "## Missing",
        "## Sources",
        "research-2026d",
        "`modality = 'DX'`",
        "north-1",
    ):
        assert part in shown


def test_the_croissant_names_every_column_and_the_files_hash(lake: Lake) -> None:
    import hashlib

    folder = build_cohort(lake, spec())
    told = json.loads((folder / "croissant.json").read_text())
    assert told["@type"] == "sc:Dataset"
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    (file,) = told["distribution"]
    assert file["sha256"] == hashlib.sha256((folder / "members.parquet").read_bytes()).hexdigest()
    (record_set,) = told["recordSet"]
    assert [f["name"] for f in record_set["field"]] == records.schema_of(records.Member).names
    for field in record_set["field"]:
        assert field["source"]["fileObject"]["@id"] == file["@id"]
        assert field["dataType"] in {"sc:Text", "sc:Float", "sc:Integer", "sc:Boolean", "sc:Date"}


def test_cohort_json_holds_no_clock_and_the_whole_spec(lake: Lake) -> None:
    facts = read_facts(build_cohort(lake, spec()))
    assert "created_at" not in json.dumps(facts)
    assert CohortSpec.model_validate(facts["spec"]) == spec()
    assert facts["snapshot_sha256"] == lake.snapshot().sha256
    assert facts["min_cell"] == 5


@pytest.mark.parametrize("name", sorted(shipped_specs()))
def test_every_shipped_spec_loads_and_its_sql_holds(lake: Lake, name: str) -> None:
    loaded = load_spec(name)
    assert loaded.cohort == name
    assert try_cohort(lake, loaded)["attrition"][0]["studies"] == len(population()[0])


def test_growth_moves_nobody_to_another_split(lake: Lake, tmp_path: Path) -> None:
    lake = copied(lake, tmp_path)
    before = {m["study_id"]: m["split"] for m in members(build_cohort(lake, spec()))}
    more = [film(f"n{n}", f"n{n}", "south", delivery="late") for n in range(N_PATIENTS)]
    deliver(lake, "late", instances=more)
    after = {m["study_id"]: m["split"] for m in members(build_cohort(lake, spec(exclude=[])))}
    assert before.items() <= after.items()
    assert len(after) > len(before)


def test_the_contracts_example_is_read_and_built(lake: Lake) -> None:
    text = """
cohort: chest-ct-nodule
purpose: lung nodule detection with emphysema as a confounder
index: study                     # or first_per_patient | last_per_patient
include:
  - {name: CT of the chest, where: "modality = 'CT' AND body_part = 'CHEST'"}
  - {name: adult,           where: "age_years BETWEEN 18 AND 89"}
  - {name: nodule assessed, where: "has_finding('nodule') OR lacks_finding('nodule')"}
exclude:
  - {name: no report, where: "NOT has_report"}
labels:
  nodule: "has_finding('nodule')"
covariates: {emphysema: "has_finding('emphysema')"}
series: {keep: "is_whole", order: "slice_thickness_mm, n_instances DESC", per_study: 1}
sample: {per: patient, max: 50000, stratify: [site, sex]}
split: {train: 0.7, tune: 0.1, test: 0.2, holdout_sites: [st-elsewhere]}
min_cell: 11
"""
    folder = build_cohort(lake, parse_spec(text))
    assert {value(m, "nodule") for m in members(folder)} <= {0.0, 1.0}
    assert summary(folder)["studies"] > 0
