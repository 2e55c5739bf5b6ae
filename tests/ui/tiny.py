"""A tiny lake with everything a page shows: two sites, CT, X-ray and ultrasound, two cohorts, two finished runs and a live one."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from curation import records
from curation.cohort import CohortSpec, build_cohort, find_cohort
from curation.frames import encode
from curation.lake import Lake
from training.runs import RunFolder

POLICY, KEY, CODE = "research-2026c-tiny", "a1b2c3d4", "0.0-test"
SITES = {"st-elsewhere": "DE", "charity-north": "CA"}
RUN, LIVE_RUN, OTHER_RUN = "abcdef0000000001", "abcdef0000000002", "abcdef0000000003"
REPORT = (
    "EXAM: CT chest of [NAME] on [DATE].\n\nFINDINGS: There is a nodule in the right upper lobe. No pleural effusion.\n\n"
    "IMPRESSION: Pulmonary nodule. Discussed with [NAME]."
)


CHEST = {
    "cohort": "chest-nodule",
    "purpose": "nodules on chest images",
    "include": [{"name": "chest", "where": "body_part = 'CHEST'"}],
    "exclude": [{"name": "children", "where": "age_years < 18"}],
    "labels": {"nodule": "has_finding('nodule')"},
    "covariates": {"emphysema": "has_finding('emphysema')"},
    "split": {"train": 0.5, "tune": 0.25, "test": 0.25},
}
LEARNABLE = CHEST | {
    "cohort": "learnable",
    "labels": {"woman": "sex = 'F'"},
    "split": {"train": 0.5, "tune": 0.25, "test": 0.25},
}

HOPELESS = CHEST | {"cohort": "hopeless", "labels": {"thorax": "body_part = 'CHEST'"}}


def uid(*parts: Any) -> UUID:
    """A stable id for a name."""
    return UUID(bytes=hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16])


def row(kind: type, /, **values: Any) -> Any:
    """A row of a record class; columns not given are NULL, empty or 0 as their type allows."""
    schema = records.schema_of(kind)
    filled = {}
    for f in fields(kind):
        field = schema.field(f.name)
        empty: Any = None
        if not field.nullable:
            empty = [] if pa.types.is_list(field.type) else b"" if pa.types.is_binary(field.type) else 0
            empty = (
                "" if pa.types.is_string(field.type) else False if pa.types.is_boolean(field.type) else empty
            )
        filled[f.name] = values.get(f.name, empty)
    return kind(**filled)


def pixels(modality: str, at: int) -> np.ndarray:
    """A phantom: a bright disc that grows with the slice; CT signed, X-ray 12 bit, ultrasound colour."""
    y, x = np.mgrid[:64, :64]
    disc = (x - 32) ** 2 + (y - 32) ** 2 < (8 + 2 * at) ** 2
    if modality == "CT":
        return np.where(disc, 60, -900).astype(np.int16)
    if modality == "US":
        return np.stack([disc * 200, disc * (20 * at % 255), 255 - disc * 255], axis=-1).astype(np.uint8)
    return np.where(disc, 3500, 400).astype(np.uint16)


def build(home: Path, n_patients: int = 6) -> Lake:
    """Lays the lake, its cohorts and three runs down under `home`/lake."""
    lake = Lake(home / "lake")
    state: dict[str, list[Any]] = {"studies": [], "series": [], "patients": []}
    for n, (site, country) in enumerate(SITES.items()):
        tables: dict[str, list[Any]] = {name: [] for name in records.DELIVERED}
        for patient in range(n_patients):
            _patient(state, tables, site, country, patient, f"{site}-2024-0{n + 1}")
        tables["refusals"] = [
            row(records.Refusal, source_digest=uid("bad", site, i).bytes * 2, kind="dicom", step="read", reason=reason, site=site,
                delivery=f"{site}-2024-0{n + 1}", code_version=CODE)
            for i, reason in enumerate(["truncated", "identity_suspected", "truncated"])
        ]  # fmt: skip
        parts = {
            t: [lake.write_part(t, records.to_table(records.TABLES[t], rows))]
            for t, rows in tables.items()
            if rows
        }
        digest = lake.stage(f"{site}-2024-0{n + 1}", parts)
        lake.commit(
            {f"{site}-2024-0{n + 1}": digest},
            lambda _: {t: records.to_table(records.TABLES[t], rows) for t, rows in state.items()},
        )
    for number in lake.numbers():
        build_cohort(lake, CohortSpec.model_validate(CHEST), number)
    for spec in (LEARNABLE, HOPELESS):
        build_cohort(lake, CohortSpec.model_validate(spec))
    for run_id, status, method in (
        (RUN, "done", "cut"),
        (LIVE_RUN, "running", "cut"),
        (OTHER_RUN, "done", "probe"),
    ):
        lay_run(lake, run_id, find_cohort(lake, "chest-nodule").name, status, state, method)
    return lake


def _patient(
    state: dict[str, list[Any]], tables: dict[str, list[Any]], site: str, country: str, n: int, delivery: str
) -> None:
    modality, body_part = [("CT", "CHEST"), ("CR", "CHEST"), ("US", "ABDOMEN")][n % 3]
    patient_id, study_id, series_id = uid(site, n), uid(site, n, "study"), uid(site, n, "series")
    common = {
        "site": site,
        "delivery": delivery,
        "code_version": CODE,
        "patient_id": patient_id,
        "study_id": study_id,
    }
    common |= {
        "series_id": series_id,
        "modality": modality,
        "body_part": body_part,
        "policy_version": POLICY,
        "key_id": KEY,
    }
    common |= {
        "manufacturer": ["Acme", "Borealis"][n % 2],
        "model": f"M{n % 2}",
        "sex": "FM"[n % 2],
        "age_years": 30.0 + 9 * n % 50,
    }
    common |= {
        "study_date": date(2024, 3, 1 + n % 28),
        "split_bucket": 377 * n % 1000,
        "country": country,
        "continent": "Europe",
    }
    regions = [{"x": 8, "y": 4, "width": 40, "height": 6, "source": "detected"}] if modality == "US" else []
    n_objects, n_frames = (8, 1) if modality == "CT" else (1, 6 if modality == "US" else 1)
    for at in range(n_objects):
        instance_id = uid(site, n, "instance", at)
        digest = uid("source", site, n, at).bytes * 2
        shape = pixels(modality, at).shape
        tables["instances"].append(row(
            records.Instance, **common, instance_id=instance_id, n_frames=n_frames, rows_px=shape[0], columns_px=shape[1],
            samples_per_pixel=3 if len(shape) == 3 else 1, bits_stored={"CT": 16, "CR": 12, "US": 8}[modality],
            is_signed=modality == "CT", photometric={"CT": "MONOCHROME2", "CR": "MONOCHROME1", "US": "RGB"}[modality],
            rescale_slope=1.0, rescale_intercept=0.0, instance_number=at + 1, image_position=[0.0, 0.0, 5.0 * at],
            image_orientation=[1.0, 0, 0, 0, 1.0, 0], source_digest=digest, header=b"\0", bytes=9000, sop_class="1.2", transfer_syntax="1.2",
            pixel_spacing_row_mm=0.7, pixel_spacing_column_mm=0.7, frame_time_ms=50.0 if modality == "US" else None,
            burned_in_regions=regions, may_show_face=modality == "CT" and n == 3 and at > 1,
        ))  # fmt: skip
        tables["deid_log"].append(row(
            records.DeidLog, **common, source_digest=digest, kind="instance", instance_id=instance_id,
            actions=[{"tag": "(0010,0010)", "action": "Z"}, {"tag": "(0008,0020)", "action": "C"},
                     {"tag": "(0020,000d)", "action": "U"}], regions=regions,
        ))  # fmt: skip
        for index in range(n_frames):
            done = encode(pixels(modality, at + index))
            tables["frames"].append(row(
                records.Frame, **common, instance_id=instance_id, frame_index=index, codec=done.codec, payload=done.payload,
                pixel_sha256=done.pixel_sha256,
            ))  # fmt: skip
    if modality == "CT":
        digest = uid("report", site, n).bytes * 2
        text = "Lungs clear. No nodule." if n % 2 else REPORT
        tables["reports"].append(row(
            records.Report, **common, report_id=uid(site, n, "report"), language="en", text=text, n_redactions=3, source_digest=digest,
            sections=[{"name": "findings", "start": text.find("FINDINGS"), "end": len(text)}] if "FINDINGS" in text else [],
        ))  # fmt: skip
        tables["deid_log"].append(
            row(
                records.DeidLog,
                **common,
                source_digest=digest,
                kind="report",
                report_id=uid(site, n, "report"),
            )
        )
        for finding, assertion in (("nodule", "absent" if n % 2 else "present"), ("effusion", "absent")):
            evidence = (
                "No pleural effusion."
                if finding == "effusion"
                else "There is a nodule in the right upper lobe."
            )
            tables["findings"].append(
                row(
                    records.Finding,
                    **common,
                    finding=finding,
                    assertion=assertion,
                    source="report",
                    evidence=evidence,
                )
            )
    found = ["nodule"] if modality == "CT" and n % 2 == 0 else []
    state["studies"].append(row(
        records.Study, **common, modalities=[modality], n_series=1, n_instances=n_objects, bytes=9000 * n_objects,
        has_report=modality == "CT", findings=found,
    ))  # fmt: skip
    state["series"].append(row(
        records.Series, **common, kind={"CT": "axial", "CR": "pa", "US": "b_mode"}[modality], is_whole=True, n_instances=n_objects,
        n_frames=n_objects * n_frames, rows_px=64, columns_px=64, pixel_spacing_row_mm=0.7, bytes=9000 * n_objects,
    ))  # fmt: skip
    state["patients"].append(row(records.Patient, **common, birth_year=1970, n_studies=1))


FIBROSIS_GAP: dict[str, Any] = {
    "covariate": "fibrosis", "split": "test", "label": "nodule", "n_without": 30, "n_with": 10,
    "untuned": {"gap": {"value": 0.20, "low": 0.12, "high": 0.28}}, "tuned": {"gap": {"value": 0.06, "low": 0.01, "high": 0.11}},
    "narrowing": {"value": 0.14, "low": 0.05, "high": 0.23},
}  # fmt: skip
"""A row of a report's table `gaps` (training/strata.py)."""


def lay_run(
    lake: Lake, run_id: str, cohort_id: str, status: str, state: dict[str, list[Any]], method: str
) -> None:
    """A run folder: the finished ones with metrics, predictions and report, the running one half way."""
    folder = RunFolder(lake.root, run_id)
    spec = {
        "name": f"nodule-{status}" if method == "cut" else f"nodule-{method}",
        "cohort": "chest-nodule",
        "model": {"id": "builtin:tiny-vit"},
        "seed": 7,
    }
    spec |= {"task": {"kind": "multilabel", "labels": ["nodule"]}, "method": {"kind": method, "blocks": 1}}
    folder.write_json("spec.json", spec)
    folder.write_run(records.Run(run_id, spec["name"], cohort_id, status, "builtin:tiny-vit", method, "multilabel",
                                 datetime(2026, 1, 2, 3, 4, tzinfo=UTC), 93.0, "cpu", 7))  # fmt: skip
    for step in range(1, 9):
        folder.log(step, step, {"loss": 1 / step, "val_loss": 1.2 / step})
    folder.beat(
        status, progress=1.0 if status == "done" else 0.5, step=8, eta_s=12.0, message="epoch 8 of 16"
    )
    if status != "done":
        return
    rows = []
    for arm, base in (("untuned", 0.61), ("tuned", 0.83), ("gain", 0.22)):
        for at, site in enumerate(["all", *SITES]):
            value = base - 0.03 * at
            rows.append(row(records.Metric, run_id=run_id, arm=arm, split="test", site=site, subgroup="all", label="nodule", name="auroc",
                            value=value, low=value - 0.08, high=value + 0.07, n=40 - 10 * at, n_positive=12))  # fmt: skip
    rows.append(row(records.Metric, run_id=run_id, arm="tuned", split="test", site="all", subgroup="sex=F", label="nodule", name="auroc",
                    value=0.8, low=0.7, high=0.9, n=20, n_positive=6))  # fmt: skip
    for arm, value in (("untuned", 0.55), ("tuned", 0.52), ("gain", -0.03)) if method == "cut" else ():
        rows.append(row(records.Metric, run_id=run_id, arm=arm, split="holdout", site="charity-north", subgroup="all", label="nodule",
                        name="auroc", value=value, low=value - 0.08, high=value + 0.07, n=20, n_positive=8))  # fmt: skip
    for arm, value in (("untuned", 0.61), ("tuned", 0.70), ("gain", 0.09)) if method == "probe" else ():
        rows.append(row(records.Metric, run_id=run_id, arm=arm, split="test", site="all", subgroup="all", label="died",
                        name="c_index_over_clinical", value=value, low=value - 0.02, high=value + 0.02, n=80, n_positive=31))  # fmt: skip
    folder.write_parquet("metrics.parquet", records.to_table(records.Metric, rows))
    told = [
        row(records.Prediction, run_id=run_id, study_id=s.study_id, series_id=uid(s.site, n % 6, "series"), patient_id=s.patient_id,
            site=s.site, split="test", arm=arm, label="nodule", target=float(bool(s.findings)), score=max(0.0, base - slope * n))
        for arm, base, slope in (("tuned", 0.9, 0.07), ("untuned", 0.5, 0.01)) for n, s in enumerate(state["studies"])
        if s.modality == "CT"
    ]  # fmt: skip
    folder.write_parquet("predictions.parquet", records.to_table(records.Prediction, told))
    folder.write_json(
        "report.json", {"run_id": run_id, "tables": {"gaps": [FIBROSIS_GAP]} if method == "cut" else {}}
    )
    folder.write_bytes("report.html", b"<!doctype html><title>Report</title><p>A report.</p>")
    folder.write_bytes("model_card.md", b"# Model card\n\nWhat it is for.\n")


def mark_alive(lake: Lake, run_id: str) -> None:
    """Gives a running run a heartbeat of this very process."""
    now = {"status": "running", "progress": 0.5, "step": 8, "eta_s": 12.0, "message": "epoch 8 of 16"}
    now |= {"pid": os.getpid(), "host": socket.gethostname(), "heartbeat": time.time()}
    (lake.root / "runs" / run_id / "status.json").write_text(json.dumps(now))
