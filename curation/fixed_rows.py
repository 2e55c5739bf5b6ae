"""Rows of a fixed-size binary column by their place in the Parquet file: read without decoding, nothing held.

What belongs here: where the values of such a column lie, and reading some of them into a buffer. What does not: what they
mean (pack), batches and order (training).

A page that is neither compressed nor encoded holds its values one behind the other at its end (Parquet format, "Data
Pages" and "Plain encoding"). Where a row group is one such page a row is read by one `pread` straight into its place;
any other row group is decoded, and a few that were read last are kept.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAGE_OVERHEAD = 512
"""A header and the levels of one page take fewer bytes; a second page would show as a difference when read."""

KEPT_BYTES = 256 << 20
"""How much of decoded row groups is kept."""


class FixedRows:
    """The rows of one column: `width` bytes each, `len` of them; `starts` [groups + 1] is each row group's first row.

    Safe for several threads, and in a forked process as long as every row group is plain.
    """

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        self._file = pq.ParquetFile(path, pre_buffer=False)
        about = self._file.metadata
        number = self._file.schema_arrow.names.index(column)
        self.width = int(self._file.schema_arrow.field(column).type.byte_width)
        counts = [about.row_group(g).num_rows for g in range(about.num_row_groups)]
        self.starts: Ints = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._at = np.array([self._place(about.row_group(g), number) for g in range(len(counts))], np.int64)
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)
        self._kept: OrderedDict[int, Bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._doubt()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __reduce__(self) -> tuple[type[FixedRows], tuple[Path, str]]:
        """Another process opens the file for itself."""
        return FixedRows, (self._path, self._column)

    @property
    def is_plain(self) -> bool:
        """Whether every row is read from its place, so that nothing need be decoded or kept."""
        return bool((self._at >= 0).all())

    def read_into(self, first: int, out: Bytes) -> None:
        """Fills [n, width] with the rows from `first` on. Raises OSError where the file is shorter than it says."""
        row, filled = first, 0
        while filled < len(out):
            group = int(np.searchsorted(self.starts, row, side="right")) - 1
            n = min(len(out) - filled, int(self.starts[group + 1]) - row)
            offset = row - int(self.starts[group])
            if self._at[group] >= 0:
                self._pread(out[filled : filled + n], int(self._at[group]) + offset * self.width)
            else:
                out[filled : filled + n] = self._decoded(group)[offset : offset + n]
            row, filled = row + n, filled + n

    def advise(self, groups: Iterable[int]) -> None:
        """Tells the system that those row groups will be read soon; it reads them ahead, in one piece each."""
        if hasattr(os, "posix_fadvise"):
            for group in groups:
                if self._at[group] >= 0:
                    length = int(self.starts[group + 1] - self.starts[group]) * self.width
                    os.posix_fadvise(self._handle, int(self._at[group]), length, os.POSIX_FADV_WILLNEED)

    def _place(self, group: pq.RowGroupMetaData, number: int) -> int:
        """Where the first value of a row group lies; -1 where its rows have no place of their own."""
        column = group.column(number)
        values = group.num_rows * self.width
        is_plain = set(column.encodings) <= {"PLAIN", "RLE"} and column.compression == "UNCOMPRESSED"
        overhead = column.total_compressed_size - values
        if not is_plain or column.has_dictionary_page or not 0 < overhead < PAGE_OVERHEAD:
            return -1
        return int(column.data_page_offset) + int(overhead)

    def _doubt(self) -> None:
        """Decodes the first and the last row group: where a page is not as we think, none is read by its place."""
        for group in {0, len(self._at) - 1} if len(self._at) else ():
            if self._at[group] >= 0:
                found = np.empty((int(self.starts[group + 1] - self.starts[group]), self.width), np.uint8)
                self._pread(found, int(self._at[group]))
                if not np.array_equal(found, self._decode(group)):
                    self._at[:] = -1
                    return

    def _pread(self, out: Bytes, at: int) -> None:
        view, done = out.reshape(-1).data, 0
        while done < len(view):
            n = os.preadv(self._handle, [view[done:]], at + done)
            if not n:
                raise OSError(
                    "A pack's file is shorter than it says it is. Delete the pack; it will be built again."
                )
            done += n

    def _decoded(self, group: int) -> Bytes:
        with self._lock:
            if group in self._kept:
                self._kept.move_to_end(group)
                return self._kept[group]
            values = self._kept[group] = self._decode(group)
            while sum(v.nbytes for v in self._kept.values()) > KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
            return values

    def _decode(self, group: int) -> Bytes:
        table = self._file.read_row_group(group, [self._column], use_threads=False)
        column = table.column(0).combine_chunks()
        flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)
        start = column.offset * self.width
        return flat[start : start + len(column) * self.width].reshape(len(column), self.width)
