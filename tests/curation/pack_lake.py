"""A lake of a few series made by hand, and a cohort of them all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from curation import frames, records
from curation.lake import Lake
from tests.curation.lake_rows import an_id, row

COHORT = "0123456789abcdef"


@dataclasses.dataclass
class Made:
    """One series to be put into a lake: its frames, one instance a frame unless is_cine."""

    name: str
    images: list[np.ndarray]
    modality: str = "CT"
    kind: str = "axial"
    body_part: str | None = "CHEST"
    photometric: str = "MONOCHROME2"
    is_cine: bool = False
    report: str | None = None
    split: str = "train"
    rescale: tuple[float, float] | None = (1.0, -1024.0)
    positions: list[list[float]] | None = None
    orientation: list[float] = dataclasses.field(default_factory=lambda: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    header: bytes = b""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def ct(name: str, n: int = 5, **given: Any) -> Made:
    rng = np.random.default_rng(sum(name.encode()))
    images = [(rng.integers(0, 400, (48, 64)) + 20 * i).astype("i2") for i in range(n)]
    return Made(name, images, **given)


def instances_of(made: Made) -> list[records.Instance]:
    shape = made.images[0].shape if made.images else (48, 64)
    common = {
        "series_id": an_id(made.name), "study_id": an_id(f"study {made.name}"), "patient_id": an_id("p"),
        "delivery": "d1", "modality": made.modality, "rows_px": shape[0],
        "columns_px": shape[1], "samples_per_pixel": 1 if len(shape) == 2 else 3,
        "bits_stored": 8 * made.images[0].itemsize if made.images else 16, "photometric": made.photometric, "header": made.header,
        "transfer_syntax": "1.2.840.10008.1.2.1", "pixel_spacing_row_mm": 0.7, "pixel_spacing_column_mm": 0.7,
        "rescale_slope": made.rescale[0] if made.rescale else None,
        "rescale_intercept": made.rescale[1] if made.rescale else None,
    } | made.facts  # fmt: skip
    if made.is_cine:
        return [
            row(records.Instance, instance_id=an_id(f"{made.name}/0"), n_frames=len(made.images), **common)
        ]
    return [
        row(
            records.Instance,
            instance_id=an_id(f"{made.name}/{i}"),
            n_frames=1,
            # the device numbered them from the head down
            instance_number=len(made.images) - i,
            image_orientation=made.orientation,
            image_position=made.positions[i] if made.positions else [0.0, 0.0, 2.0 * i],
            **common,
        )
        for i in range(len(made.images))
    ]


def frames_of(made: Made) -> list[records.Frame]:
    found = []
    for i, image in enumerate(made.images):
        payload = frames.encode(image)
        instance = an_id(f"{made.name}/{0 if made.is_cine else i}")
        found.append(
            row(
                records.Frame,
                instance_id=instance,
                frame_index=i if made.is_cine else 0,
                series_id=an_id(made.name),
                codec=payload.codec,
                payload=payload.payload,
                pixel_sha256=payload.pixel_sha256,
                delivery="d1",
            )
        )
    return found


def reports_of(made: Made) -> list[records.Report]:
    if made.report is None:
        return []
    sections = [{"name": "findings", "start": 0, "end": len(made.report) // 2}]
    study = an_id(f"study {made.name}")
    return [
        row(
            records.Report,
            report_id=an_id(f"r {made.name}"),
            study_id=study,
            text=made.report,
            sections=sections,
        )
    ]


def lake_with(root: Path, *series: Made, without: int = 0) -> Lake:
    """A lake of these series and a cohort of them all, in this order; `without` leaves out the last frames."""
    lake = Lake(root / "lake")
    frame_rows = [f for made in series for f in frames_of(made)]
    rows: dict[str, tuple[type, list[Any]]] = {
        "instances": (records.Instance, [i for made in series for i in instances_of(made)]),
        "frames": (records.Frame, frame_rows[: len(frame_rows) - without]),
        "reports": (records.Report, [r for made in series for r in reports_of(made)]),
    }
    parts = {
        name: [lake.write_part(name, records.to_table(cls, found))] for name, (cls, found) in rows.items()
    }
    listed = [
        row(records.Series, series_id=an_id(m.name), kind=m.kind, modality=m.modality, body_part=m.body_part)
        for m in series
    ]
    empty = {
        "studies": records.to_table(records.Study, []),
        "patients": records.to_table(records.Patient, []),
    }
    lake.commit(
        {"d1": lake.stage("d1", parts)},
        lambda con: {**empty, "series": records.to_table(records.Series, listed)},
    )
    folder = lake.root / "cohorts" / COHORT
    folder.mkdir(parents=True)
    (folder / "cohort.json").write_text(json.dumps({"cohort_id": COHORT, "snapshot": 1}))
    members = [
        row(
            records.Member,
            cohort_id=COHORT,
            study_id=an_id(f"study {m.name}"),
            series_id=an_id(m.name),
            patient_id=an_id("p"),
            split=m.split,
        )
        for m in series
    ]
    pq.write_table(records.to_table(records.Member, members), folder / "members.parquet")
    return lake
