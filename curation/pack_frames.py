"""Where the encoded frames of a series lie in a snapshot, and reading them.

What belongs here: row groups by series, payloads as they are stored. What does not: decoding (frames), which frames are
wanted (samples/).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq

from curation.lake import Connection, Lake, Snapshot

FrameKey = tuple[UUID, int]
"""instance_id, and frame from 0."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One frame as the lake keeps it; `digest` is the SHA-256 of its stored values."""

    key: FrameKey
    codec: str
    payload: bytes
    digest: bytes


class FrameIndex:
    """Where the frames of a series lie: row groups by the smallest and largest series id they hold.

    Footers are read once, of the deliveries asked for only; payloads by whole row groups, never by single rows.
    """

    def __init__(self, lake: Lake, snapshot: Snapshot) -> None:
        self._lake = lake
        self._snapshot = snapshot
        self._groups: dict[str, list[tuple[Path, int, bytes, bytes]]] = {}

    def read(self, wanted: Mapping[FrameKey, tuple[str, UUID]]) -> Iterator[list[Encoded]]:
        """The frames wanted, one list a row group; `wanted` gives delivery and series of each frame."""
        by_delivery: dict[str, set[FrameKey]] = defaultdict(set)
        series: dict[str, set[bytes]] = defaultdict(set)
        for key, (delivery, series_id) in wanted.items():
            by_delivery[delivery].add(key)
            series[delivery].add(series_id.bytes)
        for delivery in sorted(by_delivery):
            ids = sorted(series[delivery])
            for path, group, low, high in self._groups_of(delivery):
                if bisect_left(ids, low) < bisect_right(ids, high):
                    yield _read_group(path, group, by_delivery[delivery])

    def _groups_of(self, delivery: str) -> list[tuple[Path, int, bytes, bytes]]:
        if delivery not in self._groups:
            parts = self._lake.part_list(self._snapshot.deliveries[delivery])["frames"]
            self._groups[delivery] = [g for part in parts for g in _groups(self._lake.root / part.path)]
        return self._groups[delivery]


def _groups(path: Path) -> Iterator[tuple[Path, int, bytes, bytes]]:
    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.names.index("series_id")
        for group in range(file.num_row_groups):
            found = file.metadata.row_group(group).column(column).statistics
            has_range = found is not None and found.has_min_max
            yield (
                (path, group, _raw(found.min), _raw(found.max))
                if has_range
                else (path, group, b"", b"\xff" * 17)
            )


def _raw(value: Any) -> bytes:
    return value.bytes if isinstance(value, UUID) else bytes(value)


def _read_group(path: Path, group: int, wanted: set[FrameKey]) -> list[Encoded]:
    with pq.ParquetFile(path) as file:
        ids = file.read_row_group(group, ["instance_id", "frame_index"]).to_pydict()
        keys = list(zip(ids["instance_id"], ids["frame_index"], strict=True))
        hits = [i for i, key in enumerate(keys) if key in wanted]
        if not hits:
            return []
        rows = file.read_row_group(group, ["codec", "payload", "pixel_sha256"]).take(hits).to_pydict()
    return [
        Encoded(keys[i], *facts)
        for i, facts in zip(
            hits, zip(rows["codec"], rows["payload"], rows["pixel_sha256"], strict=True), strict=True
        )
    ]


def rows_of(
    con: Connection, select: str, ids: Sequence[UUID], key: str = "series_id"
) -> Iterator[dict[str, Any]]:
    """Rows of a select by id, in no order."""
    cursor = con.execute(f"{select} WHERE {key} IN (SELECT unnest(?::UUID[]))", [list(ids)])
    names = [d[0] for d in cursor.description or ()]
    while batch := cursor.fetchmany(10_000):
        for row in batch:
            yield dict(zip(names, row, strict=True))
