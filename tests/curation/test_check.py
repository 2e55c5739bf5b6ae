"""Data checks: every file runs, holds on sound rows and finds the row that was spoilt for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from curation import records
from curation.check import load_checks, register_arrivals, run_check
from curation.lake import Connection, Lake
from tests.curation.lake_rows import an_id, row

SCOPES = ("delivery", "catalogue", "cohort", "arrivals")
CHECKS = {check.name: check for scope in SCOPES for check in load_checks(scope)}
UI = b"\x08\x00\x18\x00UI"


def our_id(text: str) -> UUID:
    """As the pseudonyms make them: version 8."""
    return UUID(int=an_id(text).int & ~(0xF << 76) & ~(0x3 << 62) | 8 << 76 | 2 << 62)


def element(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return UI + len(value).to_bytes(2, "little") + value


def sound() -> dict[str, list[Any]]:
    """One row or two of every table, without a fault."""
    stamp = {"site": "st-elsewhere", "delivery": "d", "policy_version": "research", "key_id": "0badcafe"}
    place = {"site": "st-elsewhere", "delivery": "d"}
    study = {"study_id": our_id("study"), "patient_id": our_id("patient")}
    header = (
        element(f"2.25.{our_id('0').int}") + element("1.2.840.10008.5.1.4.1.1.2") + b"SH\x04\x001.2.3.4.5"
    )
    instance = row(
        records.Instance,
        **{**stamp, **study},
        instance_id=our_id("0"),
        series_id=our_id("series"),
        n_frames=2,
        study_date=date(2019, 1, 1),
        age_years=40.0,
        birth_year=1979,
        source_digest=b"i" * 32,
        header=header,
    )
    frame = row(
        records.Frame,
        **place,
        instance_id=our_id("0"),
        series_id=our_id("series"),
        codec="zstd",
        payload=b"x",
        pixel_sha256=bytes(32),
    )
    report = row(records.Report, **{**stamp, **study}, report_id=our_id("report"), source_digest=b"r" * 32)
    log = row(records.DeidLog, **stamp, source_digest=b"i" * 32, kind="instance", instance_id=our_id("0"))
    cohort = {"cohort_id": "c", "series_id": our_id("series"), "site": "st-elsewhere", "split": "train"}
    return {
        "instances": [instance],
        "frames": [frame, dataclasses.replace(frame, frame_index=1)],
        "reports": [report],
        "findings": [
            row(records.Finding, **place, study_id=our_id("study"), finding="nodule", assertion="absent")
        ],
        "outcomes": [row(records.Outcome, **place, **study, event="death")],
        "person_tokens": [],
        "deid_log": [log, dataclasses.replace(log, source_digest=b"r" * 32, kind="report")],
        "verifications": [row(records.Verification, **place, rule="identity", n_looked_at=2)],
        "residuals": [row(records.Residual, rule="pixel_text", place="frame 0", is_blocking=False)],
        "refusals": [row(records.Refusal, **place, reason="truncated", source_digest=b"x" * 32)],
        "series": [row(records.Series, **place, **study, series_id=our_id("series"), n_instances=1)],
        "studies": [row(records.Study, **place, **study, n_series=1, n_instances=1, split_bucket=7)],
        "patients": [
            row(records.Patient, **place, patient_id=our_id("patient"), n_studies=1, split_bucket=7)
        ],
        "members": [row(records.Member, **cohort, **study)],
    }


def changed(table: str, **given: Any) -> dict[str, list[Any]]:
    rows = sound()
    rows[table][0] = dataclasses.replace(rows[table][0], **given)
    return rows


def more(table: str, **given: Any) -> dict[str, list[Any]]:
    rows = sound()
    rows[table].append(dataclasses.replace(rows[table][0], **given))
    return rows


def fewer(table: str) -> dict[str, list[Any]]:
    rows = sound()
    rows[table].pop()
    return rows


SPOILT: Mapping[str, list[dict[str, list[Any]]]] = {
    "instance_ids_are_unique": [more("instances")],
    "frames_belong_to_instances": [
        fewer("frames"),
        changed("frames", frame_index=5),
        more("frames", instance_id=our_id("nobody")),
        {**sound(), "frames": [dataclasses.replace(f, series_id=our_id("other")) for f in sound()["frames"]]},
        {**sound(), "frames": []},
    ],
    "frames_hold_pixels": [changed("frames", payload=b""), changed("frames", codec="png")],
    "deidentified_rows_name_their_policy": [
        changed("instances", policy_version=""),
        changed("reports", key_id=""),
        changed("deid_log", policy_version=""),
    ],
    "releases_are_logged": [fewer("deid_log"), changed("deid_log", withheld="malformed")],
    "nothing_identifying_is_left": [
        {**sound(), "residuals": [row(records.Residual, rule="identity", place="(0010,0010)", kind="name", is_blocking=True)]}
    ],
    "every_object_got_a_second_look": [fewer("verifications"), changed("verifications", n_looked_at=1)],
    "refusal_reasons_are_known": [changed("refusals", reason="bad luck")],
    "assertions_are_known": [changed("findings", assertion="maybe")],
    "rows_stay_with_one_site": [changed("reports", site="far-away")],
    "ids_are_pseudonyms": [
        changed("instances", study_id=UUID("12345678-1234-4234-8234-123456789012")),
        changed("reports", report_id=UUID(int=77)),
    ],
    "headers_hold_no_foreign_uid": [
        changed("instances", header=element("1.2.276.0.7230010.3.1.4.8323329")),
        changed("instances", header=element("1.2.840.113619.2.55.3.604688119.969.1268071029.320.12345")),
        changed("instances", header=element("2.25.1\\1.3.46.670589.11.0.0.11.4.2.0.8743.5.5396.20")),
    ],
    "dates_are_plausible": [
        changed("instances", study_date=date(1880, 1, 1)),
        changed("instances", study_date=date(2190, 1, 1)),
        changed("instances", age_years=104.0),
        changed("instances", birth_year=2020),
    ],
    "studies_refer_to_patients": [
        {**sound(), "patients": []},
        {**sound(), "studies": []},
        {**sound(), "series": []},
        changed("studies", n_instances=2),
        changed("patients", n_studies=2),
    ],
    "reports_refer_to_studies": [changed("reports", study_id=our_id("gone")), changed("findings", study_id=our_id("gone"))],
    "split_follows_the_person": [
        changed("studies", split_bucket=8),
        {**changed("studies", split_bucket=1000), "patients": changed("patients", split_bucket=1000)["patients"]},
        {
            **sound(),
            "patients": [
                dataclasses.replace(sound()["patients"][0], person_id=our_id("person"), split_bucket=7),
                row(
                    records.Patient, patient_id=our_id("twin"), person_id=our_id("person"), split_bucket=8,
                    site="far-away",
                ),
            ],
        },
    ],
    "no_patient_in_two_splits": [more("members", split="test")],
    "holdout_sites_stay_out": [more("members", split="holdout", patient_id=our_id("other"))],
    "members_are_in_the_lake": [changed("members", series_id=our_id("gone"))],
    "arrivals_add_up": [more("refusals", source_digest=b"y" * 32)],
}  # fmt: skip


def connect(tmp_path: Path, rows: Mapping[str, list[Any]]) -> Connection:
    """Views over the rows themselves: what a check sees, it sees by name."""
    con = Lake(tmp_path / "lake").connect()
    for table, of_table in rows.items():
        con.register(f"rows_of_{table}", records.to_table(records.TABLES[table], of_table))
        con.execute(f"CREATE OR REPLACE VIEW {table} AS FROM rows_of_{table}")
    # four arrivals: a DICOM file, a report, a refused one, and a table row that became an outcome
    register_arrivals(
        con,
        {("d", "dicom"): 1, ("d", "report"): 1, ("d", "unknown"): 1, ("d", "row"): 1, ("d", "clinical"): 1},
    )
    return con


def test_every_check_has_rows_that_it_must_find() -> None:
    assert set(SPOILT) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_holds_on_sound_rows_and_on_none(tmp_path: Path, name: str) -> None:
    with connect(tmp_path, sound()) as con:
        result = run_check(con, CHECKS[name])
        assert (result.passed, result.n_offending, result.sample_rows) == (True, 0, ())
    with Lake(tmp_path / "lake").connect() as con:
        register_arrivals(con, {})
        assert run_check(con, CHECKS[name]).passed


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in SPOILT.items() for case in range(len(cases))]
)
def test_a_check_finds_the_spoilt_row(tmp_path: Path, name: str, case: int) -> None:
    with connect(tmp_path, SPOILT[name][case]) as con:
        result = run_check(con, CHECKS[name])
    assert not result.passed
    assert result.n_offending >= 1
    assert result.sample_rows
    assert all(isinstance(found, dict) and found for found in result.sample_rows)


def test_the_sample_is_short_and_the_count_is_whole(tmp_path: Path) -> None:
    rows = sound()
    rows["refusals"] = [row(records.Refusal, reason=f"odd {n}", site="s", delivery="d") for n in range(40)]
    with connect(tmp_path, rows) as con:
        result = run_check(con, CHECKS["refusal_reasons_are_known"])
    assert result.n_offending == 40
    assert len(result.sample_rows) == 5


def test_checks_of_a_delivery_need_no_other_table_than_its_own(tmp_path: Path) -> None:
    names = [check.name for check in load_checks()]
    assert "frames_belong_to_instances" in names
    assert "arrivals_add_up" not in names
    assert all(
        check.severity in ("error", "warning") and check.title.endswith(".") for check in CHECKS.values()
    )
