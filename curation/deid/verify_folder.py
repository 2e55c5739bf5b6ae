"""The second look at a folder of released files, alone or beside the folder they came from.

What belongs here: reading both folders with pydicom, pairing released objects with their originals, DST/verify.parquet. What
does not: the rules (verify), hashes of a lake's frames (verify_lake).

Without the originals, elements, UIDs, markers, file meta, impossible dates and text in pixels are still judged; names, numbers
and moved dates are not, and the answer says so. With the key, a released object is known by its keyed UID; without it by
nothing, and every person's identifiers are looked for in every object.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from curation.deid.pseudonyms import Pseudonyms, dicom_uid
from curation.deid.verify import (
    IMPLEMENTATION_UID,
    RULES,
    Found,
    Person,
    look_at_bytes,
    look_at_dataset,
)
from curation.deid.verify_allowed import claims_of, meta_faults
from curation.deid.verify_known import Known, harvest
from curation.deid.verify_pixels import dataset_pixel_faults
from curation.deid.verify_reading import text_faults
from curation.engine import Crew, Outcome, map_items
from curation.records import ConfigurationError, Residual, Verification, to_table

NAME = "verify.parquet"
_LOG = "deid_log.parquet"
_UNREADABLE = (
    InvalidDicomError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OSError,
    EOFError,
    NotImplementedError,
)
_BLOCK_PX = 16
"""A box inside of a JPEG is blanked in whole blocks of the picture."""


@dataclass(frozen=True, slots=True)
class Original:
    """RESTRICTED. One file of the source folder."""

    path: str
    digest: bytes
    instance_uid: str
    patient: tuple[str, str]
    known: Known


@dataclass(frozen=True, slots=True)
class Checked:
    """What the second look at a folder says."""

    residuals: Sequence[Residual]
    verifications: Sequence[Verification]
    n_files: int
    n_originals: int
    unchecked: Sequence[str]
    """Sentences on what could not be told."""

    @property
    def n_blocking(self) -> int:
        """How many of the residuals are more than a suspicion."""
        return sum(residual.is_blocking for residual in self.residuals)


@dataclass(frozen=True, slots=True)
class _Task:
    """RESTRICTED. One released file, its person and its original."""

    path: Path
    place: str
    person: Known
    offset_days: int | None
    original: str | None
    log: Mapping[str, Any] | None
    reads_pixels: bool


@dataclass(slots=True)
class _Seen:
    instance: UUID | None
    found: list[Found] = field(default_factory=list)
    looked: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


def verify_folder(
    dst: Path,
    *,
    source: Path | None = None,
    pseudonyms: Pseudonyms | None = None,
    workers: int = 1,
    sample: int = 4,
    deadline_s: float = 600.0,
    memory_mib: int = 2048,
    progress: Callable[[str, int, int], None] | None = None,
) -> Checked:
    """Looks at every file below DST and writes DST/verify.parquet, one row a finding. With 0 workers, in this process.

    Raises ConfigurationError where a folder is none.
    """
    dst = _folder(dst)
    with Crew(workers) as crew:
        map_: _Map = functools.partial(
            map_items,
            workers=workers,
            deadline_s=deadline_s,
            memory_mib=memory_mib,
            initializer=_quiet,
            crew=crew,
        )
        if not workers:
            map_ = _map_here
        log = _read_log(dst)
        usable = pseudonyms if pseudonyms and _is_key_of(pseudonyms, log) else None
        originals = _harvest(_folder(source), map_, progress) if source else []
        tasks = list(_tasks(dst, originals, log, usable, sample))
        seen = []
        for done, (task, outcome) in enumerate(zip(tasks, map_(look_at_file, tasks), strict=True), 1):
            seen.append(_seen(task, outcome))
            if progress:
                progress("second look", done, len(tasks))
    checked = _checked(seen, log, originals, usable is not None, source is not None)
    aside = dst / f".{NAME}.{os.getpid()}"
    pq.write_table(to_table(Residual, checked.residuals), aside, compression="zstd")
    aside.replace(dst / NAME)
    return checked


_Map = Callable[[Callable[[Any, Any], Any], Sequence[Any]], Iterator[Outcome]]


def _map_here(fn: Callable[[Any, Any], Any], items: Sequence[Any]) -> Iterator[Outcome]:
    with warnings.catch_warnings():
        _quiet()
        yield from (Outcome(n, fn(None, item), None) for n, item in enumerate(items))


def _quiet() -> None:
    warnings.simplefilter("ignore")  # pydicom's warnings quote values


def _folder(path: Path) -> Path:
    path = Path(path).resolve()
    if not path.is_dir():
        raise ConfigurationError(f"{path} is not a folder; name the folder that holds the files.")
    return path


def _files(folder: Path) -> list[Path]:
    found = [
        Path(at, name)
        for at, _, names in os.walk(folder)
        for name in names
        if name not in (NAME, _LOG) and not (name.startswith(".") and not name.endswith(".dcm"))
    ]
    return sorted(p for p in found if p.is_file() and not p.is_symlink())


def _read_log(dst: Path) -> list[dict[str, Any]]:
    path = dst / _LOG
    return pq.read_table(path).to_pylist() if path.is_file() else []


def _is_key_of(pseudonyms: Pseudonyms, log: Sequence[Mapping[str, Any]]) -> bool:
    return any(row["key_id"] == pseudonyms.key_id for row in log)


def _harvest(source: Path, map_: _Map, progress: Callable[[str, int, int], None] | None) -> list[Original]:
    files = _files(source)
    found = []
    for done, outcome in enumerate(map_(read_original, files), 1):
        if outcome.value is not None:
            found.append(outcome.value)
        if progress:
            progress("originals", done, len(files))
    return found


def read_original(_: None, path: Path) -> Original | None:
    """What one source file says, by pydicom; None where it is no DICOM."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        known = harvest(dataset)
        patient = (
            str(dataset.get("PatientID", "")).strip(),
            str(dataset.get("IssuerOfPatientID", "")).strip(),
        )
        return Original(str(path), digest, str(dataset.get("SOPInstanceUID", "")), patient, known)
    except _UNREADABLE:
        return None


def _tasks(
    dst: Path,
    originals: Sequence[Original],
    log: Sequence[Mapping[str, Any]],
    pseudonyms: Pseudonyms | None,
    sample: int,
) -> Iterator[_Task]:
    by_patient: dict[tuple[str, str], Known] = {}
    for original in originals:
        known = by_patient.get(original.patient)
        by_patient[original.patient] = known | original.known if known else original.known
    everybody = functools.reduce(lambda a, b: a | b, by_patient.values(), Known())
    by_uid = {dicom_uid(pseudonyms.uid(o.instance_uid)): o for o in originals} if pseudonyms else {}
    rows = {str(row["instance_id"]): row for row in log if row["instance_id"]}
    files = _files(dst)
    order = sorted(files, key=lambda p: hashlib.sha256(p.name.encode()).digest())
    read = set(order if sample < 0 else order[: sample * 4])
    for path in files:
        row = rows.get(path.stem)
        own = by_uid.get(dicom_uid(UUID(path.stem))) if row else None
        offset = _offset(pseudonyms, own, row) if pseudonyms else None
        yield _Task(
            path,
            path.relative_to(dst).as_posix(),
            by_patient[own.patient] if own else everybody,
            offset,
            own.path if own else None,
            row,
            path in read,
        )


def _offset(pseudonyms: Pseudonyms, own: Original | None, row: Mapping[str, Any] | None) -> int | None:
    if own is None or row is None:
        return None
    return pseudonyms.offset_days(pseudonyms.patient(row["site"], *own.patient))


def _seen(task: _Task, outcome: Outcome) -> _Seen:
    if outcome.value is None:
        return _Seen(None, [Found(task.place, "unreadable", str(outcome.refused))])
    assert isinstance(outcome.value, _Seen)
    return outcome.value


def look_at_file(_: None, task: _Task) -> _Seen:
    """What one released file holds that it ought not to."""
    seen = _Seen(None)
    data = task.path.read_bytes()
    person = Person(task.person, task.offset_days, date.today())
    seen.unknown["identity"] += person.identifiers.n_unknown
    seen.looked.update(rule for rule in RULES if rule != "pixel_text")
    try:
        dataset = pydicom.dcmread(task.path)
        seen.instance = _instance(dataset)
        seen.found += look_at_dataset(dataset, person, seen.unknown)
        seen.found += [Found(*fault) for fault in meta_faults(dataset.file_meta, dataset)]
        seen.found += _wrapping(dataset, data)
        seen.found += dataset_pixel_faults(dataset, person)
        seen.found += _pixels(task, dataset, person, seen)
    except _UNREADABLE:
        seen.found.append(Found("file", "unreadable", "pydicom cannot read it"))
    if not any(f.rule == "identity" for f in seen.found):
        seen.found += look_at_bytes(data, person, "bytes")
    return seen


def _instance(dataset: Dataset) -> UUID | None:
    uid = str(dataset.get("SOPInstanceUID", ""))
    number = uid.removeprefix("2.25.")
    is_ours = uid.startswith("2.25.") and number.isdigit() and not int(number) >> 128
    return UUID(int=int(number)) if is_ours else None


def _wrapping(dataset: Any, data: bytes) -> Iterator[Found]:
    if data[:128].strip(b"\0"):
        yield Found("preamble", "element", "not empty")
    meta = dataset.file_meta
    if meta.get("ImplementationClassUID") != IMPLEMENTATION_UID:
        yield Found("meta (0002,0012)", "uid", "not ours")
    if not str(meta.get("ImplementationVersionName", "RWID")).startswith("RWID"):
        yield Found("meta (0002,0013)", "element", "not ours")


def _pixels(task: _Task, dataset: Any, person: Person, seen: _Seen) -> Iterator[Found]:
    if "PixelData" not in dataset:
        return
    needs = task.reads_pixels or task.original is not None
    values = _decoded(dataset) if needs else None
    if task.reads_pixels:
        seen.looked["pixel_text"] += 1
        texts = text_faults(_first(values, dataset), person, "frame 0") if values is not None else None
        seen.unknown["pixel_text"] += texts is None
        yield from texts or ()
    if task.original is None:
        seen.unknown["hash"] += 1
        return
    original = pydicom.dcmread(task.original)
    before = _decoded(original)
    if values is None or before is None or "113102" in claims_of(dataset).codes:
        seen.unknown["hash"] += 1
    elif before.shape != values.shape or not _is_same_outside(before, values, task, original, dataset):
        yield Found("PixelData", "hash", "differs where nothing was redacted")


def _decoded(dataset: Any) -> NDArray[Any] | None:
    try:
        return np.asarray(dataset.pixel_array)
    except (*_UNREADABLE, RuntimeError):
        return None


def _first(values: NDArray[Any], dataset: Any) -> NDArray[Any]:
    return values[0] if int(dataset.get("NumberOfFrames") or 1) > 1 else values


def _is_same_outside(
    before: NDArray[Any], after: NDArray[Any], task: _Task, original: Any, dataset: Any
) -> bool:
    """Whether every pixel outside of the blanked boxes is what it was."""
    syntax = original.file_meta.TransferSyntaxUID
    is_jpeg = syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)
    boxes = list((task.log or {}).get("regions") or [])
    if (
        boxes
        and dataset.file_meta.TransferSyntaxUID.is_compressed
        and not is_jpeg
        and dataset.get("LossyImageCompression") == "01"
    ):
        return True  # encoded again with loss, as the object says: no pixel can be held against its original
    grow = _BLOCK_PX if is_jpeg else 0
    frames = int(original.get("NumberOfFrames") or 1) > 1
    before, after = (a if frames else a[None] for a in (before, after))
    same = before == after
    same = same.all(axis=-1) if same.ndim == 4 else same
    for box in boxes:
        top, left = max(0, box["y"] - grow), max(0, box["x"] - grow)
        same[:, top : box["y"] + box["height"] + grow, left : box["x"] + box["width"] + grow] = True
    return bool(same.all())


def _checked(
    seen: Sequence[_Seen],
    log: Sequence[Mapping[str, Any]],
    originals: Sequence[Original],
    has_key: bool,
    has_source: bool,
) -> Checked:
    stamp = {
        "site": str(log[0]["site"]) if log else "",
        "delivery": "",
        "code_version": importlib.metadata.version("rwid"),
    }
    residuals = [
        Residual(s.instance, None, f.place, f.rule, f.kind, f.form, f.is_blocking, **stamp)
        for s in seen
        for f in dict.fromkeys(s.found)
    ]
    looked: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for one in seen:
        looked += one.looked
        unknown += one.unknown
    counts = Counter(r.rule for r in residuals)
    rows = [Verification(rule, looked[rule], counts[rule], unknown[rule], **stamp) for rule in RULES]
    return Checked(residuals, rows, len(seen), len(originals), list(_unchecked(unknown, has_key, has_source)))


def _unchecked(unknown: Counter[str], has_key: bool, has_source: bool) -> Iterator[str]:
    if not has_source:
        yield "Without --source nothing is known of the persons: names, numbers, addresses and original dates were not looked for."
    elif not has_key:
        yield "The key of this home did not make these files: whether dates moved by the right offset could not be told."
    if has_source and unknown["identity"]:
        yield f"{unknown['identity']} identifiers (counted once a file) are too short or too common to be searched for."
    if unknown["pixel_text"]:
        yield f"{unknown['pixel_text']} frames could not be read for text."
    if has_source and unknown["hash"]:
        yield f"The pixels of {unknown['hash']} files could not be compared with their originals."
