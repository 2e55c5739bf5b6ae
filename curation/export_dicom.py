"""A cohort's objects as DICOM files again, each read back by pydicom before it counts.

What belongs here: which rows become files, the folder, going on after a kill. What does not: the bytes of a file
(dicom_file), tables of a cohort (export).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.cohort_folder import read_facts, write_table
from curation.dicom_file import NotRebuilt, frame_hashes, write_file
from curation.frames import decode
from curation.lake import Connection, Lake
from curation.pack_frames import Encoded, FrameIndex, FrameKey, rows_of
from curation.tile import Row

Progress = Callable[[int, int], None]

COLUMNS = (
    "instance_id", "series_id", "study_id", "patient_id", "delivery", "sop_class", "n_frames", "photometric", "header"
)  # fmt: skip
FILES = pa.schema(
    [
        ("path", pa.string()),
        ("instance_id", pa.uuid()),
        ("series_id", pa.uuid()),
        ("study_id", pa.uuid()),
        ("patient_id", pa.uuid()),
        ("sop_class", pa.string()),
        ("n_frames", pa.int32()),
        ("bytes", pa.int64()),
        ("pixel_sha256", pa.list_(pa.binary())),
    ]
)
LEFT_OUT = pa.schema([("instance_id", pa.uuid()), ("series_id", pa.uuid()), ("reason", pa.string())])

_README = """# Cohort {name} as DICOM

{purpose}

Exported from cohort `{cohort_id}`, snapshot {snapshot}: {files} files, {left_out} objects left out (`left_out.parquet`).
De-identified, Explicit VR Little Endian, native pixels. `files.parquet` names every file with the SHA-256 of each frame's stored
values; every file was read back by pydicom and its values have those hashes. `members.parquet` says who is in which split with
which labels, `card.md` what the cohort is not good for.
"""


@dataclass(frozen=True, slots=True)
class _Done:
    files: list[dict[str, Any]]
    left_out: list[dict[str, Any]]


def export_dicom(lake: Lake, folder: Path, dst: Path, progress: Progress | None = None) -> Path:
    """Every object of the cohort's series as `dst/<study>/<series>/<instance>.dcm`, with files.parquet and a README.

    Built beside `dst`, where it appears by one rename; the same export after a kill goes on behind the files that are there,
    which are read back first. progress(done, total) counts series. Objects whose frames are missing or do not decode, or whose
    file does not give back the lake's values, are left out with the reason.
    """
    facts = read_facts(folder)
    members = pq.read_table(folder / "members.parquet", columns=["series_id"])
    series = sorted(set(members["series_id"].to_pylist()))
    aside = dst.with_name(f".{dst.name}.{folder.name}")
    aside.mkdir(parents=True, exist_ok=True)
    snapshot = lake.snapshot(int(facts["snapshot"]))
    done = _Done([], [])
    with _locked(aside), lake.connect(snapshot.number) as con:
        if dst.exists():  # another process was first
            return dst
        index = FrameIndex(lake, snapshot)
        for n, series_id in enumerate(series, 1):
            _export_series(con, index, series_id, aside, done)
            if progress:
                progress(n, len(series))
        for name in ("members.parquet", "card.md"):
            shutil.copyfile(folder / name, aside / name)
        write_table(aside / "files.parquet", _table(done.files, FILES))
        write_table(aside / "left_out.parquet", _table(done.left_out, LEFT_OUT))
        said = {k: facts[k] for k in ("name", "cohort_id", "snapshot")} | {
            "purpose": facts["spec"]["purpose"]
        }
        counts = {"files": len(done.files), "left_out": len(done.left_out)}
        (aside / "README.md").write_text(_README.format(**said, **counts), encoding="utf-8")
        os.sync()  # the files before the name that says they are all there
        (aside / ".lock").unlink()
        aside.rename(dst)
    return dst


def _export_series(con: Connection, index: FrameIndex, series_id: UUID, root: Path, done: _Done) -> None:
    rows = sorted(
        rows_of(con, f"SELECT {', '.join(COLUMNS)} FROM instances", [series_id]),
        key=lambda r: r["instance_id"].bytes,
    )
    wanted = {(r["instance_id"], i): (r["delivery"], series_id) for r in rows for i in range(r["n_frames"])}
    frames = {frame.key: frame for group in index.read(wanted) for frame in group}
    for row in rows:
        name = Path(str(row["study_id"])) / str(series_id) / f"{row['instance_id']}.dcm"
        ids = {"instance_id": row["instance_id"].bytes, "series_id": series_id.bytes}
        try:
            hashes = _export_one(root / name, row, frames)
        except NotRebuilt as error:
            done.left_out.append({**ids, "reason": error.reason})
            continue
        facts = {k: row[k].bytes for k in ("study_id", "patient_id")}
        facts |= {"sop_class": row["sop_class"], "n_frames": row["n_frames"], "pixel_sha256": hashes}
        size = (root / name).stat().st_size
        done.files.append({"path": name.as_posix(), **ids, **facts, "bytes": size})


def _export_one(path: Path, row: Row, frames: Mapping[FrameKey, Encoded]) -> list[bytes]:
    """Hashes of the frames of a file that is there and was read back."""
    keys = [(row["instance_id"], i) for i in range(row["n_frames"])]
    if any(key not in frames for key in keys):
        raise NotRebuilt("frame_missing")
    hashes = [frames[key].digest for key in keys]
    if path.exists() and _read_back(path) == hashes:
        return hashes
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_suffix(".part")
    try:
        write_file(hidden, row, _decoded([frames[key] for key in keys]))
        if _read_back(hidden) != hashes:
            raise NotRebuilt("not_identical")
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
    return hashes


def _decoded(frames: Sequence[Encoded]) -> Iterator[NDArray[Any]]:
    for frame in frames:
        try:
            values = decode(frame.codec, frame.payload)
        except MemoryError:
            raise
        except Exception:  # a decoder raises what it likes on damaged bytes, and its text may quote them
            raise NotRebuilt("decoder_failed") from None
        yield values


def _read_back(path: Path) -> list[bytes] | None:
    """None where it cannot be read: a power cut leaves such files."""
    try:
        return frame_hashes(path)
    except MemoryError:
        raise
    except Exception:  # pydicom says of damaged bytes what it likes
        return None


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([pa.array([r[f.name] for r in rows], f.type) for f in schema], schema=schema)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process exports to a place; a second waits and then finds it done."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
