"""A tiny lake for the tests of cohorts: 60 patients of three sites, chest films and a few CTs, findings of several sources."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from curation import records
from curation.catalog import fold
from curation.lake import Lake, Snapshot
from curation.site import Site
from tests.curation.lake_rows import an_id, instance, row

SITES = {
    "north": Site(name="north", country="NO", continent="Europe"),
    "south": Site(name="south", country="ZA", continent="Africa"),
    "st-elsewhere": Site(name="st-elsewhere", country="CA", continent="North America"),
}
N_PATIENTS = 60
DX = "1.2.840.10008.5.1.4.1.1.1.1"


def bucket(patient_id: UUID) -> int:
    return patient_id.int % 1000


def film(patient: str, study: str, site: str, **given: Any) -> records.Instance:
    """One chest film that is a study of its own."""
    facts: dict[str, Any] = {
        "instance_id": an_id(f"{study}/i"),
        "series_id": an_id(f"{study}/s"),
        "study_id": an_id(study),
        "patient_id": an_id(patient),
        "modality": "DX",
        "sop_class": DX,
        "image_type": ["ORIGINAL", "PRIMARY"],
        "body_part": "CHEST",
        "view": "PA",
        "manufacturer": "Klar",
        "study_date": date(2020, 1, 1),
        "age_years": 50.0,
        "sex": "F",
        "birth_year": 1970,
        "rows_px": 64,
        "columns_px": 64,
        "samples_per_pixel": 1,
        "n_frames": 1,
        "bytes": 1000,
        "pixel_sha256": an_id(f"{study}/pixels").bytes * 2,
        "policy_version": "research-2026d",
        "site": site,
        "delivery": f"{site}-1",
    }
    return instance(**{**facts, **given})


def said(study: str, finding: str, assertion: str, source: str, site: str) -> records.Finding:
    return row(
        records.Finding,
        study_id=an_id(study),
        finding=finding,
        assertion=assertion,
        source=source,
        site=site,
        delivery=f"{site}-1",
    )


def population() -> tuple[list[records.Instance], list[records.Finding], list[records.Report]]:
    """Patient n has studies `n/0` and, every third, `n/1`; nodule present, absent, uncertain, unsaid in turn."""
    instances, findings, reports = [], [], []
    for n in range(N_PATIENTS):
        site = list(SITES)[n % 3]
        for k in range(2 if n % 3 == 0 else 1):
            study = f"{n}/{k}"
            facts: dict[str, Any] = {
                "study_date": date(2020, 1, 1) + timedelta(days=n + 100 * k),
                "age_years": float(15 + n),
                "sex": "FM"[n % 2],
            }
            if n % 10 == 9:
                facts |= {"modality": "CT", "view": None}
            instances.append(film(str(n), study, site, **facts))
            assertion = ("present", "absent", "uncertain", None)[(n + k) % 4]
            if assertion:
                findings.append(said(study, "nodule", assertion, "report", site))
            if n % 5 == 0:
                findings.append(said(study, "emphysema", "present", "label", site))
            report = row(
                records.Report,
                report_id=an_id(f"{study}/r"),
                study_id=an_id(study),
                patient_id=an_id(str(n)),
                language="en",
                text=f"Report number {n} {k}.",
                policy_version="research-2026d",
                site=site,
                delivery=f"{site}-1",
            )
            if n % 7:
                reports.append(report)
    return instances, findings, reports


def stage(lake: Lake, delivery: str, **tables: Iterable[Any]) -> str:
    parts = {
        table: [lake.write_part(table, records.to_table(records.DELIVERED[table], list(rows)))]
        for table, rows in tables.items()
    }
    return lake.stage(delivery, parts)


def deliver(lake: Lake, delivery: str, **tables: Iterable[Any]) -> Snapshot:
    """Stages and publishes rows as one delivery."""
    return commit(lake, {delivery: stage(lake, delivery, **tables)})


def commit(lake: Lake, staged: dict[str, str]) -> Snapshot:
    # what publish does, without the DuckDB file of views
    return lake.commit(staged, lambda con: fold(con, SITES, bucket))


def tiny_lake(root: Path) -> Lake:
    """The population as one delivery per site, in one commit."""
    lake = Lake(root)
    instances, findings, reports = population()
    staged = {
        f"{site}-1": stage(
            lake,
            f"{site}-1",
            instances=[r for r in instances if r.site == site],
            findings=[r for r in findings if r.site == site],
            reports=[r for r in reports if r.site == site],
        )
        for site in SITES
    }
    commit(lake, staged)
    return lake
