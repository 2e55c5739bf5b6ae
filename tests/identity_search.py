"""Byte search for planted identities: does any value of an answer key survive anywhere below a folder, however written?

What belongs here: the ways in which a value can be written, the ways in which a file can hide bytes, the search.
What does not: what must not be found (the test that calls decides) and where the values come from.
"""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import signal

from curation.synth.lettering import ink

ANCHOR = 8
"""Values shorter than this many bytes are not searched: they would be found by accident."""

DATE_STYLES = (
    "%Y%m%d",
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%B %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
)
_TABLE_BITS = 21
_CHUNK = 4 << 20
_OVERLAP = 1024
_MAX_INFLATED = 256 << 20
_DEFLATED = b"1.2.840.10008.1.2.1.99"


@dataclass(frozen=True, slots=True)
class Hit:
    """One planted value found: where, what and how it was written."""

    file: str
    place: str
    value: str
    form: str


def _date(value: str) -> datetime | None:
    for style in DATE_STYLES:
        try:
            return datetime.strptime(value, style)
        except ValueError:
            continue
    return None


def texts(value: str) -> Iterator[tuple[str, str]]:
    """(form, text): the value as it is; a date in other styles; the parts of a name (`A^B`) alone and turned round."""
    yield "plain", value
    yield "capitals", value.upper()
    day = _date(value)
    if day is not None:
        for style in DATE_STYLES:
            yield f"date {style}", day.strftime(style)
    for group in value.split("=") if "^" in value else ():
        parts = [part for part in group.split("^") if part]
        for part in parts:
            yield "name part", part
            yield "name part", part.upper()
        for glue in (" ", ", ", "^", "_", ""):
            yield "name turned round", glue.join(reversed(parts[:2]))
            yield "name in order", glue.join(parts[:2])


def in_base64(plain: bytes) -> Iterator[bytes]:
    """What base64 makes of the bytes at each of three offsets, without the signs that the neighbours decide."""
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + plain)
        end = len(coded) - (0, 3, 2)[(shift + len(plain)) % 3]
        yield coded[(0, 2, 3)[shift] : end]


def folded_forms(value: str) -> Iterator[tuple[str, bytes]]:
    """(form, bytes) to find in bytes whose ASCII letters are small: every text in UTF-8, Latin-1 and UTF-16."""
    for form, text in texts(value):
        for codec in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            try:
                pattern = text.encode(codec)
            except UnicodeEncodeError:
                continue
            yield form if codec == "utf-8" else f"{form}, {codec}", pattern.lower()


class Patterns:
    """Many byte patterns, found in one pass: a table of 8-byte anchors (their last bytes), then the whole pattern."""

    def __init__(self, patterns: Iterable[tuple[bytes, tuple[str, str]]]) -> None:
        self._meanings: dict[bytes, list[tuple[str, str]]] = {}
        for pattern, meaning in patterns:
            if len(pattern) >= ANCHOR:
                self._meanings.setdefault(pattern, []).append(meaning)
        self._by_anchor: dict[int, list[bytes]] = {}
        for pattern in self._meanings:
            self._by_anchor.setdefault(int.from_bytes(pattern[-ANCHOR:], "little"), []).append(pattern)
        self._anchors = np.sort(np.fromiter(self._by_anchor, np.uint64, len(self._by_anchor)))
        self._table = np.zeros(1 << _TABLE_BITS, bool)
        self._table[self._slot(self._anchors)] = True

    @staticmethod
    def _slot(words: np.ndarray) -> np.ndarray:
        return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _TABLE_BITS)

    def find(self, piece: bytes) -> Iterator[tuple[str, str]]:
        """(value, form) of every pattern in the bytes, once each."""
        found: set[bytes] = set()
        for shift in range(ANCHOR if len(self._anchors) else 0):
            n = (len(piece) - shift) // ANCHOR
            if n <= 0:
                break
            words = np.frombuffer(piece, "<u8", n, shift)
            maybe = np.flatnonzero(self._table[self._slot(words)])
            at = np.minimum(np.searchsorted(self._anchors, words[maybe]), len(self._anchors) - 1)
            for index in maybe[self._anchors[at] == words[maybe]]:
                end = shift + (int(index) + 1) * ANCHOR
                for pattern in self._by_anchor[int(words[index])]:
                    begin = end - len(pattern)
                    is_there = begin >= 0 and pattern not in found and piece[begin:end] == pattern
                    if is_there and not _is_inside_number(piece, begin, pattern):
                        found.add(pattern)
                        yield from self._meanings[pattern]


def _is_inside_number(piece: bytes, begin: int, pattern: bytes) -> bool:
    """A date of eight digits in the middle of a longer number, such as a UID, is no date."""
    return pattern.isdigit() and begin > 0 and piece[begin - 1 : begin].isdigit()


class IdentitySearch:
    """The search for a set of planted values, ready for many files."""

    def __init__(self, values: Iterable[str]) -> None:
        values = sorted(set(values))
        self._folded = Patterns((p, (value, form)) for value in values for form, p in folded_forms(value))
        self._exact = Patterns(
            (coded, (value, f"{form}, base64"))
            for value in values
            for form, text in texts(value)
            for coded in in_base64(text.encode())
        )

    def in_bytes(self, data: bytes | memoryview) -> Iterator[tuple[str, str]]:
        """(value, form) of every planted value in the bytes."""
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            # pieces overlap: a value may lie across their border
            piece = bytes(view[max(0, start - _OVERLAP) : start + _CHUNK])
            yield from self._folded.find(piece.lower())
            yield from self._exact.find(piece)

    def in_folder(self, folder: Path) -> list[Hit]:
        """Hits in every file below a folder, its name and path included."""
        hits = []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = str(path.relative_to(folder))
            hits += [Hit(name, "path", *hit) for hit in self.in_bytes(name.encode())]
            for place, data in contents(path):
                hits += [Hit(name, place, *hit) for hit in self.in_bytes(data)]
        return hits


def search(values: Iterable[str], folder: Path) -> list[Hit]:
    """Hits of planted values in every file below a folder."""
    return IdentitySearch(values).in_folder(folder)


def is_written_in(frame: np.ndarray, text: str, n_signs: int = 10) -> bool:
    """Whether the text's first signs, in the generator's lettering, stand in the pixels of a frame [rows, columns(, 3)].

    For values of the answer key whose `where` is `pixels`; the byte search cannot see those.
    """
    grey = frame[..., 0] if frame.ndim == 3 else frame
    for scale in (1, 2):
        dots = ink(text[:n_signs], scale)
        if dots.shape[0] > grey.shape[0] or dots.shape[1] > grey.shape[1]:
            continue
        bright = (grey > 0.5 * float(grey.max() or 1)).astype(np.float32)
        weights = dots / dots.sum() - ~dots / (~dots).sum()
        # 1 where every dot of the text is bright and every gap dark
        if signal.fftconvolve(bright, weights[::-1, ::-1].astype(np.float32), "valid").max() > 0.8:
            return True
    return False


def contents(path: Path) -> Iterator[tuple[str, bytes | memoryview]]:
    """(place, bytes): the file as it lies there, and whatever it packs: Parquet columns, gzip, zip, tar, deflated DICOM."""
    data = path.read_bytes()
    yield "bytes", data
    yield from _unpacked(data)
    if path.suffix == ".duckdb":
        yield from _duckdb(path)


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes | memoryview]]:
    if data[:4] == b"PAR1":
        yield from _parquet(data)
    elif data[:2] == b"\x1f\x8b":
        inner = gzip.decompress(data)[:_MAX_INFLATED]
        yield "gzip", inner
        yield from _unpacked(inner)
    elif data[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                inner = archive.read(member)
                yield f"zip {member}", inner
                yield from _unpacked(inner)
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for entry in tar:
                file = tar.extractfile(entry)
                if file is not None:
                    inner = file.read()
                    yield f"tar {entry.name}", inner
                    yield from _unpacked(inner)
    elif data[128:132] == b"DICM" and _DEFLATED in data[:1024]:
        length = int.from_bytes(data[140:144], "little")
        yield "deflated", zlib.decompressobj(-15).decompress(data[144 + length :], _MAX_INFLATED)


def _parquet(data: bytes) -> Iterator[tuple[str, bytes | memoryview]]:
    file = pq.ParquetFile(io.BytesIO(data))
    for batch in file.iter_batches(batch_size=4096):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for part in _leaves(column):
                yield f"column {name}", part


def _leaves(column: pa.Array) -> Iterator[bytes | memoryview]:
    """The value bytes of a column: text, binary and dates, also inside lists and structs."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(column.dictionary)
    elif isinstance(column, pa.ExtensionArray):
        yield from _leaves(column.storage)
    elif pa.types.is_struct(kind):
        for n in range(kind.num_fields):
            yield from _leaves(column.field(n))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(column.flatten())
    elif pa.types.is_map(kind):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        yield " ".join(v.strftime("%Y%m%d") for v in column.to_pylist() if v is not None).encode()
    elif pa.types.is_integer(kind):
        yield " ".join(str(v) for v in column.drop_null().to_pylist()).encode()
    else:
        # neighbours lie side by side in the buffer: a value that runs over two rows would be no leak, and is none
        for buffer in column.buffers()[1:]:
            if buffer is not None:
                yield memoryview(buffer)


def _duckdb(path: Path) -> Iterator[tuple[str, bytes]]:
    """Tables and the text of views of a DuckDB file; its own pages may be compressed."""
    import duckdb

    with duckdb.connect(str(path), read_only=True) as con:
        rows: Sequence[tuple[str, ...]] = con.execute(
            "SELECT sql FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
        yield "views", "\n".join(r[0] or "" for r in rows).encode()
        for schema, table in con.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            text = "\n".join(str(r) for r in con.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall())
            yield f"table {table}", text.encode()
