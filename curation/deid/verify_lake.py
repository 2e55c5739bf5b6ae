"""The second look at one delivery of a lake, staged or published: every object, report and frame, in parallel.

What belongs here: reading rows, handing them to workers, the rows of `residuals` and `verifications`. What does not: the
rules (verify), who may publish (assets).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.filereader import read_dataset

from curation.deid.pseudonyms import Pseudonyms, dicom_uid
from curation.deid.verify import RULES, Found, Person, look_at_dataset, look_at_text
from curation.deid.verify_known import Known, known_by_identity
from curation.deid.verify_pixels import decode_payload, digest_of, payload_faults
from curation.deid.verify_reading import text_faults
from curation.engine import Crew, map_items
from curation.lake import Lake, Part
from curation.records import Residual, Verification, to_table
from curation.restricted import find_known_studies, read_arrivals
from curation.settings import Settings, load_key

Progress = Callable[[str, int, int], None]
_ROWS = 48
_PEOPLE = 256
"""Patients a worker remembers: making the patterns for one takes as long as looking at a dozen objects."""
_TEXT_COLUMNS = (
    "modality", "sex", "body_part", "view", "laterality", "manufacturer", "model", "station_software",
    "series_description", "protocol_name", "kernel", "photometric", "burned_in",
)  # fmt: skip
_EQUIPMENT_COLUMNS = frozenset({"manufacturer", "model", "station_software", "kernel"})


@dataclass(frozen=True, slots=True)
class Verified:
    """What the second look at one delivery says."""

    residuals: Sequence[Residual]
    verifications: Sequence[Verification]
    n_instances: int
    n_reports: int
    n_frames: int
    seconds: float

    @property
    def n_blocking(self) -> int:
        """How many of the residuals keep a delivery from being published."""
        return sum(residual.is_blocking for residual in self.residuals)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What one item of work found, by the object's or report's id."""

    found: list[tuple[bytes | None, bytes | None, Found]]
    looked: Counter[str]
    unknown: Counter[str]


Batch = tuple[str, Any, dict[bytes, Known]]
"""Kind of the item (instances, reports, frames), its content, and who is in it. RESTRICTED."""


@dataclass
class _Worker:
    """What a worker keeps from item to item. RESTRICTED."""

    pseudonyms: Pseudonyms
    received: date
    sample: frozenset[bytes]
    """Instances of which text is looked for in the pixels."""
    people: dict[bytes, Person]

    def person(self, patient: bytes, known: Mapping[bytes, Known]) -> Person:
        found = self.people.get(patient)
        if found is None:
            if len(self.people) >= _PEOPLE:
                self.people.pop(next(iter(self.people)))
            offset = self.pseudonyms.offset_days(UUID(bytes=patient))
            found = self.people[patient] = Person(known.get(patient, Known()), offset, self.received)
        return found


def make_worker(key: bytes, received: date, sample: frozenset[bytes]) -> _Worker:
    """A worker's memory, from what can be sent to it."""
    warnings.simplefilter("ignore")  # pydicom's warnings quote values
    return _Worker(Pseudonyms(key), received, sample, {})


def verify_delivery(
    settings: Settings,
    delivery: str,
    site: str,
    parts: Mapping[str, Sequence[Part]],
    progress: Progress | None = None,
    sample: int | None = None,
    crew: Crew | None = None,
) -> Verified:
    """Looks at everything in the parts of one delivery; text in pixels in `sample` objects of each modality.

    Without `sample`, as the settings say; -1 means all. Raises ConfigurationError where the key is wrong.
    """
    sample = settings.verify_sample if sample is None else sample
    started = time.monotonic()
    lake = Lake(settings.places.lake)
    looked: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rows: dict[tuple[bytes | None, bytes | None, Found], None] = {}
    arrivals = read_arrivals(settings.places, delivery)
    received = max((a.received_at_utc.date() for a in arrivals), default=date.max)
    total = sum(p.rows for name in ("instances", "reports", "frames") for p in parts.get(name, ()))
    batches = _batches(lake, settings, parts)
    outcomes = map_items(
        look_at_batch,
        (batch for batch, _ in batches),
        workers=settings.n_workers,
        deadline_s=max(600.0, settings.file_deadline_s),
        memory_mib=settings.worker_memory_mib,
        initializer=make_worker,
        initargs=(load_key(settings), received, choose_sample(lake, parts, sample)),
        crew=crew,
    )
    for done, outcome in enumerate(outcomes, 1):
        if outcome.value is None:  # what cannot be looked at is not known to be clean
            rows[None, None, Found("a batch of rows", "unreadable", str(outcome.refused))] = None
            continue
        rows |= dict.fromkeys(outcome.value.found)
        looked += outcome.value.looked
        unknown += outcome.value.unknown
        if progress:
            progress("second look", min(total, done * _ROWS), total)
    rows |= dict.fromkeys(_digest_faults(lake, parts, {a.source_digest for a in arrivals}))
    if progress:
        progress("second look", total, total)
    stamp = {"site": site, "delivery": delivery, "code_version": importlib.metadata.version("rwid")}
    residuals = [_residual(*row, stamp) for row in rows]
    counts = Counter(r.rule for r in residuals)
    return Verified(
        sorted(
            residuals, key=lambda r: (r.rule, r.place, str(r.instance_id), str(r.report_id), r.kind, r.form)
        ),
        [Verification(rule, looked[rule], counts[rule], unknown[rule], **stamp) for rule in RULES],
        sum(p.rows for p in parts.get("instances", ())),
        sum(p.rows for p in parts.get("reports", ())),
        sum(p.rows for p in parts.get("frames", ())),
        time.monotonic() - started,
    )


def _residual(
    instance: bytes | None, report: bytes | None, found: Found, stamp: Mapping[str, str]
) -> Residual:
    return Residual(
        instance_id=UUID(bytes=instance) if instance else None,
        report_id=UUID(bytes=report) if report else None,
        place=found.place,
        rule=found.rule,
        kind=found.kind,
        form=found.form,
        is_blocking=found.is_blocking,
        **stamp,
    )


# handing out


def _batches(
    lake: Lake, settings: Settings, parts: Mapping[str, Sequence[Part]]
) -> Iterator[tuple[Batch, int]]:
    people = _people(lake, settings, parts)
    for kind in ("instances", "reports"):
        for rows in _row_batches(lake, parts.get(kind, ())):
            present = {row["patient_id"] for row in rows}
            yield (kind, rows, {p: people[p] for p in present if p in people}), len(rows)
    owners = _owners(lake, parts)
    for part in parts.get("frames", ()):
        path = lake.root / part.path
        for group in range(pq.ParquetFile(path).num_row_groups):
            ids = pq.ParquetFile(path).read_row_group(group, ["instance_id"])["instance_id"]
            mine = {i: owners[i] for i in {v.bytes for v in ids.to_pylist()} if i in owners}
            known = {p: people[p] for p in set(mine.values()) if p in people}
            yield ("frames", (str(path), group, mine), known), len(ids)


def _row_batches(lake: Lake, parts: Iterable[Part]) -> Iterator[list[dict[str, Any]]]:
    for part in parts:
        for batch in pq.ParquetFile(lake.root / part.path).iter_batches(batch_size=_ROWS):
            yield _plain_rows(pa.Table.from_batches([batch]))


def _plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    return [{k: v.bytes if isinstance(v, UUID) else v for k, v in row.items()} for row in table.to_pylist()]


def _owners(lake: Lake, parts: Mapping[str, Sequence[Part]]) -> dict[bytes, bytes]:
    """Instance to patient."""
    owners: dict[bytes, bytes] = {}
    for part in parts.get("instances", ()):
        table = pq.read_table(lake.root / part.path, columns=["instance_id", "patient_id"])
        owners |= {row["instance_id"]: row["patient_id"] for row in _plain_rows(table)}
    return owners


def _people(lake: Lake, settings: Settings, parts: Mapping[str, Sequence[Part]]) -> dict[bytes, Known]:
    """What is known of each patient in the parts, from all their studies of any delivery."""
    studies: set[UUID] = set()
    for table in ("instances", "reports"):
        for part in parts.get(table, ()):
            column = pq.read_table(lake.root / part.path, columns=["study_id"])["study_id"]
            studies.update(
                column.unique().to_pylist() if column.type != pa.uuid() else set(column.to_pylist())
            )
    people: dict[bytes, Known] = {}
    for study in find_known_studies(settings.places, studies):
        known = known_by_identity(study.identity)
        patient = study.patient_id.bytes
        people[patient] = people[patient] | known if patient in people else known
    return people


def choose_sample(lake: Lake, parts: Mapping[str, Sequence[Part]], sample: int) -> frozenset[bytes]:
    """Instances whose pixels are read for text: of each modality so many, by the hash of their ids; -1 means all."""
    by_modality: dict[str, list[bytes]] = {}
    for part in parts.get("instances", ()) if sample else ():
        table = pq.read_table(lake.root / part.path, columns=["instance_id", "modality", "n_frames"])
        for row in _plain_rows(table):
            if row["n_frames"]:
                by_modality.setdefault(row["modality"], []).append(row["instance_id"])
    chosen: set[bytes] = set()
    for ids in by_modality.values():
        ids.sort(key=lambda i: hashlib.sha256(i).digest())
        chosen.update(ids if sample < 0 else ids[:sample])
    return frozenset(chosen)


def _digest_faults(
    lake: Lake, parts: Mapping[str, Sequence[Part]], arrived: set[bytes]
) -> Iterator[tuple[bytes | None, bytes | None, Found]]:
    """Rows whose source did not arrive, and objects whose hash is not that of their frames."""
    frames: dict[bytes, list[tuple[int, bytes]]] = {}
    for part in parts.get("frames", ()):
        columns = ["instance_id", "frame_index", "pixel_sha256"]
        for row in _plain_rows(pq.read_table(lake.root / part.path, columns=columns)):
            frames.setdefault(row["instance_id"], []).append((row["frame_index"], row["pixel_sha256"]))
    for part in parts.get("instances", ()):
        columns = ["instance_id", "n_frames", "pixel_sha256", "source_digest"]
        for row in _plain_rows(pq.read_table(lake.root / part.path, columns=columns)):
            own = sorted(frames.get(row["instance_id"], []))
            whole = hashlib.sha256(b"".join(digest for _, digest in own)).digest() if own else None
            if whole != row["pixel_sha256"] or [n for n, _ in own] != list(range(len(own))):
                yield row["instance_id"], None, Found("column pixel_sha256", "hash", "not of its frames")
            if arrived and row["source_digest"] not in arrived:
                yield row["instance_id"], None, Found("column source_digest", "hash", "no such arrival")
    for part in parts.get("reports", ()):
        for row in _plain_rows(pq.read_table(lake.root / part.path, columns=["report_id", "source_digest"])):
            if arrived and row["source_digest"] not in arrived:
                yield None, row["report_id"], Found("column source_digest", "hash", "no such arrival")


# in a worker


def look_at_batch(worker: _Worker, batch: Batch) -> _Looked:
    """What one batch holds that it ought not to."""
    kind, content, known = batch
    looked = _Looked([], Counter(), Counter())
    if kind == "frames":
        _look_at_frames(worker, content, known, looked)
        return looked
    for row in content:
        person = worker.person(row["patient_id"], known)
        looked.unknown["identity"] += person.identifiers.n_unknown
        if kind == "instances":
            looked.found.extend((row["instance_id"], None, f) for f in _instance(row, person, looked.unknown))
            looked.looked.update(("identity", "date", "uid", "element", "marker", "unreadable", "hash"))
        else:
            looked.found.extend((None, row["report_id"], f) for f in look_at_text(row["text"], person))
            looked.looked.update(("identity", "date", "uid"))
    return looked


def _instance(row: Mapping[str, Any], person: Person, unknown: Counter[str]) -> Iterator[Found]:
    try:
        dataset = read_dataset(io.BytesIO(row["header"]), is_implicit_VR=False, is_little_endian=True)
        found = look_at_dataset(dataset, person, unknown)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, NotImplementedError):
        yield Found("header", "unreadable", "pydicom cannot read it")
        return
    yield from found
    yield from _row_faults(row, dataset)
    for column in _TEXT_COLUMNS:
        text = row[column]
        if text:
            sights = person.identifiers.in_text(text, is_equipment=column in _EQUIPMENT_COLUMNS)
            yield from (Found(f"column {column}", "identity", s.kind, s.form) for s in sights)


def _row_faults(row: Mapping[str, Any], dataset: Any) -> Iterator[Found]:
    """Columns that are not what the header says."""
    patient = UUID(bytes=row["patient_id"])
    expected = {
        "SOPInstanceUID": dicom_uid(UUID(bytes=row["instance_id"])),
        "SeriesInstanceUID": dicom_uid(UUID(bytes=row["series_id"])),
        "StudyInstanceUID": dicom_uid(UUID(bytes=row["study_id"])),
        "SOPClassUID": row["sop_class"],
        "PatientID": str(patient),
        "PatientName": patient.hex[:8],
    }
    if row["frame_of_reference_id"]:
        expected["FrameOfReferenceUID"] = dicom_uid(UUID(bytes=row["frame_of_reference_id"]))
    if row["study_date"]:
        expected["StudyDate"] = row["study_date"].strftime("%Y%m%d")
    for keyword, value in expected.items():
        if str(dataset.get(keyword, "")) != value:
            yield Found(keyword, "hash", "header and row differ")
    for keyword, column in (("Rows", "rows_px"), ("Columns", "columns_px")):
        if row[column] is not None and dataset.get(keyword) != row[column]:
            yield Found(keyword, "hash", "header and row differ")


def _look_at_frames(
    worker: _Worker, content: tuple[str, int, dict[bytes, bytes]], known: dict[bytes, Known], looked: _Looked
) -> None:
    path, group, owners = content
    table = pq.ParquetFile(Path(path)).read_row_group(group)
    for row in _plain_rows(table):
        instance, place = row["instance_id"], f"frame {row['frame_index']}"
        patient = owners.get(instance)
        person = worker.person(patient, known) if patient else None
        try:
            values = decode_payload(row["codec"], row["payload"])
        except ValueError:
            looked.found.append((instance, None, Found(place, "hash", "pixels cannot be decoded")))
            continue
        if digest_of(values) != row["pixel_sha256"]:
            fault = Found(place, "hash", "pixels are not those that were hashed")
            looked.found.append((instance, None, fault))
        if instance in worker.sample and row["frame_index"] == 0:
            looked.looked["pixel_text"] += 1
            texts = text_faults(values, person, place)
            looked.unknown["pixel_text"] += texts is None
            looked.found.extend((instance, None, text) for text in texts or ())
        looked.found.extend(
            (instance, None, found) for found in payload_faults(row["codec"], row["payload"], person, place)
        )


def write_verified(lake: Lake, verified: Verified) -> dict[str, list[Part]]:
    """The parts of `residuals` and `verifications`."""
    rows = {
        "residuals": (Residual, verified.residuals),
        "verifications": (Verification, verified.verifications),
    }
    return {
        name: [lake.write_part(name, to_table(row_class, found))]
        for name, (row_class, found) in rows.items()
        if found
    }
