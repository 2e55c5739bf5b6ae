"""One part of a table: an immutable Parquet file, named by the hash of its bytes.

What belongs here: how rows become bytes: order, compression, row groups, the name. What does not: which
parts make up a table at a moment (lake).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation import records

ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = 32 * 2**20
FRAMES_ROW_GROUP_BYTES = 4 * 2**20
PART_ROWS = 2_000_000
PART_BYTES = 192 * 2**20

SORTED_BY: Mapping[str, Sequence[str]] = {
    "instances": ("series_id", "instance_id"),
    "frames": ("series_id", "instance_id", "frame_index"),
    "reports": ("study_id", "report_id"),
    "findings": ("study_id", "finding", "source", "assertion", "evidence"),
    "outcomes": ("patient_id", "event", "study_id", "days_to_event", "observed"),
    "person_tokens": ("patient_id", "rule", "norm_profile", "ring"),
    "deid_log": ("source_digest", "kind", "withheld"),
    "refusals": ("source_digest", "kind", "step", "reason"),
    "residuals": ("rule", "place", "instance_id", "report_id", "kind", "form"),
    "verifications": ("delivery", "rule"),
    "studies": ("modality", "body_part", "site", "patient_id", "study_date", "study_id"),
    "series": ("modality", "body_part", "site", "patient_id", "study_id", "series_id"),
    "patients": ("site", "patient_id"),
    "relabels": ("study_id", "label", "at_utc"),
}
"""Physical order of every table that the lake writes; rows of equal keys keep the order in which they came."""

# bytes that no one filters by: no dictionary, and no statistics, which would put a payload's bytes into the footer
_OPAQUE = {"payload", "header", "text", "evidence", "pixel_sha256", "source_digest", "token"}


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of one table; `path` is relative to the lake.

    min and max: column to smallest and largest value over the table's sort columns; ids and dates as text.
    """

    path: str
    sha256: str
    rows: int
    bytes: int
    schema_version: int
    min: Mapping[str, str | int | float]
    max: Mapping[str, str | int | float]


class PartError(Exception):
    """Rows that do not fit their table: a fault of the code that made them."""


def conform(table: str, rows: pa.Table | pa.RecordBatch) -> pa.Table:
    """The rows with exactly the columns, order, types and nullability of their table.

    Raises PartError where a column is missing, unknown or of another type, or NULL where it may not be.
    """
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    schema = bare_schema(table)
    if set(rows.column_names) != set(schema.names):
        odd = sorted(set(rows.column_names) ^ set(schema.names))
        raise PartError(
            f"Rows of {table}: columns missing or unknown: {', '.join(odd)}. See records.schema_of."
        )
    columns = [_unpack_bool8(rows[name]) for name in schema.names]
    try:
        return pa.Table.from_arrays(columns, names=schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, ValueError) as error:
        # Arrow's text may quote the value that does not fit
        kind = type(error).__name__
        raise PartError(f"Rows of {table} do not fit records.schema_of ({kind}).") from None


def bare_schema(table: str) -> pa.Schema:
    """Schema of a table without the fields' sentences: mending a sentence must not change a file's hash."""
    return pa.schema([f.remove_metadata() for f in records.schema_of(records.TABLES[table])])


def _unpack_bool8(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # DuckDB's lossless conversion, needed for UUIDs, hands booleans over as one-byte integers
    return _storage(column).cast(pa.bool_()) if column.type == pa.bool8() else column


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    kind = column.type.storage_type
    return pa.chunked_array([chunk.storage for chunk in column.chunks], type=kind)


class PartWriter:
    """Takes rows of one table batch by batch and ends in `parts`; memory is bounded by about three times
    PART_BYTES.

    Every part is sorted by SORTED_BY on its own. Use as a context manager: a part that was not finished
    leaves nothing.
    """

    def __init__(self, root: Path, table: str) -> None:
        self.parts: list[Part] = []
        self._root = root
        self._table = table
        self._rows: list[pa.Table] = []
        self._bytes = 0

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Adds rows. Raises PartError where they do not fit the table."""
        fitting = conform(self._table, rows)
        if not fitting.num_rows:
            return
        # a table larger than one part goes in slices
        step = max(1, int(PART_BYTES / (fitting.nbytes / fitting.num_rows)))
        for start in range(0, fitting.num_rows, step):
            piece = fitting.slice(start, step)
            self._rows.append(piece)
            self._bytes += piece.nbytes
            if self._bytes >= PART_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._rows:
            self.parts.append(write_part(self._root, self._table, pa.concat_tables(self._rows)))
        self._rows, self._bytes = [], 0


def write_part(root: Path, table: str, rows: pa.Table) -> Part:
    """Sorts the rows and writes them as one part: the same rows give the same bytes and so the same name.

    Written aside, fsynced, renamed, folder fsynced: under its name a file is whole.
    """
    rows = _sort(table, conform(table, rows))
    folder = make_folder(root / "data" / table)
    low, high = _extremes(table, rows)
    with aside(root) as path:
        digest = _write_parquet(path, table, rows)
        size = path.stat().st_size
        place = folder / f"{digest}.parquet"
        os.replace(path, place)
    sync_folder(folder)
    name = place.relative_to(root).as_posix()
    return Part(name, digest, rows.num_rows, size, records.SCHEMA_VERSION, low, high)


def write_parts(root: Path, table: str, rows: pa.Table) -> list[Part]:
    """Sorts the rows of a whole table and writes them as parts of PART_ROWS; no rows, no part."""
    ordered = _sort(table, conform(table, rows))
    pieces = (ordered.slice(start, PART_ROWS) for start in range(0, ordered.num_rows, PART_ROWS))
    return [write_part(root, table, piece) for piece in pieces]


def write_empty(root: Path, table: str, place: Path) -> None:
    """Writes a file with all columns of a table and no row; atomic."""
    with aside(root) as path:
        _write_parquet(path, table, bare_schema(table).empty_table())
        os.replace(path, place)


def _sort(table: str, rows: pa.Table) -> pa.Table:
    names = SORTED_BY[table]
    keys = pa.table({name: _storage(rows[name]) for name in names})
    order = pc.sort_indices(keys, options=pc.SortOptions([(name, "ascending") for name in names]))
    return rows.take(order)


def _extremes(table: str, rows: pa.Table) -> tuple[dict[str, Any], dict[str, Any]]:
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in SORTED_BY[table]:
        if name in _OPAQUE or pa.types.is_boolean(rows[name].type):
            continue
        both = pc.min_max(_storage(rows[name])).as_py()
        if both["min"] is not None:
            is_id = rows[name].type == pa.uuid()
            low[name], high[name] = (_as_json(both[end], is_id) for end in ("min", "max"))
    return low, high


def _as_json(value: Any, is_id: bool) -> str | int | float:
    if is_id:
        return str(UUID(bytes=value))
    if isinstance(value, date):
        return value.isoformat()
    assert isinstance(value, str | int | float)
    return value


def _write_parquet(path: Path, table: str, rows: pa.Table) -> str:
    leaves = [leaf for field in rows.schema for leaf in _leaves(field)]
    plain = [leaf for leaf in leaves if leaf.split(".")[0] not in _OPAQUE]
    with path.open("xb") as raw:
        sink = _HashingSink(raw)
        with pq.ParquetWriter(
            sink,
            rows.schema,
            # a payload is compressed already
            compression={leaf: "NONE" if leaf == "payload" else "ZSTD" for leaf in leaves},
            use_dictionary=plain,
            write_statistics=plain,
        ) as writer:
            for group in _row_groups(table, rows):
                writer.write_table(group, row_group_size=max(1, group.num_rows))
        raw.flush()
        os.fsync(raw.fileno())
    return sink.digest.hexdigest()


def _leaves(field: pa.Field, prefix: str = "") -> Iterator[str]:
    # the Parquet path of every leaf column, as the writer's per-column options want it
    path = f"{prefix}{field.name}"
    if pa.types.is_list(field.type):
        yield from _leaves(field.type.value_field.with_name("element"), f"{path}.list.")
    elif pa.types.is_struct(field.type):
        for child in field.type:
            yield from _leaves(child, f"{path}.")
    else:
        yield path


def _row_groups(table: str, rows: pa.Table) -> Iterator[pa.Table]:
    """The rows in slices: 122,880 rows, or fewer where rows are heavy."""
    limit = FRAMES_ROW_GROUP_BYTES if table == "frames" else ROW_GROUP_BYTES
    if rows.nbytes <= limit and rows.num_rows <= ROW_GROUP_ROWS:
        yield rows
        return
    per_row = rows.nbytes / rows.num_rows
    sizes = pc.binary_length(rows["payload"]).to_pylist() if table == "frames" else [per_row] * rows.num_rows
    start, size = 0, 0.0
    for n, row_bytes in enumerate(sizes):
        if n > start and (size + row_bytes > limit or n - start == ROW_GROUP_ROWS):
            yield rows.slice(start, n - start)
            start, size = n, 0.0
        size += row_bytes
    yield rows.slice(start)


class _HashingSink:
    """A file that hashes what is written to it.

    After one failed write it fails for ever: Arrow's close() would say that all is well.
    """

    closed = False

    def __init__(self, raw: Any) -> None:
        self.digest = hashlib.sha256()
        self._raw = raw
        self._has_failed = False

    def write(self, data: Any) -> int:
        if self._has_failed:
            raise OSError("An earlier write failed; this file is not whole.")
        self._has_failed = True
        n: int = self._raw.write(data)
        self.digest.update(data)
        self._has_failed = False
        return n

    def tell(self) -> int:
        position: int = self._raw.tell()
        return position

    def flush(self) -> None:
        self._raw.flush()

    def close(self) -> None:
        """Does nothing: the file is synced and closed by who opened it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def aside(root: Path) -> Iterator[Path]:
    """A fresh path under the lake's `aside/`, on the same file system as its data; what is left of it goes
    at the end.

    A killed process leaves it: `Lake.sweep` removes such debris by age.
    """
    folder = root / "aside"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def make_folder(folder: Path) -> Path:
    """The folder, made with its parents and durable."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
    return folder


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
