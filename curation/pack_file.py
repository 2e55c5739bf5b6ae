"""A pack on disk: the rows' Parquet file, who was left out, and reading them back.

What belongs here: schemas, writing and reading. What does not: making rows (pack_build), text (pack_text).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.pack_frames import FrameKey
from curation.pack_recipe import LEFT_OUT, PackError, PackRecipe
from curation.sample import Made
from curation.tile import Row

ROW_GROUP_TILES = 64
ROW_GROUP_BYTES = 64 << 20

_FRAMES = pa.list_(
    pa.struct([("instance_id", pa.uuid()), ("frame_index", pa.int32()), ("pixel_sha256", pa.binary())])
)
_AS_MADE = (
    "unit", "value_scale", "window_low", "window_high", "spacing_mm", "origin_mm", "directions", "scale",
    "pad_top", "pad_left", "time_ms", "is_inverted",
)  # fmt: skip
_LEFT_OUT = pa.schema([("member_index", pa.int32()), ("series_id", pa.uuid()), ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A member without rows; `reason` is of pack_recipe.LEFT_OUT."""

    member_index: int
    series_id: UUID
    reason: str


def row_schema(recipe: PackRecipe) -> pa.Schema:
    """Columns of tiles.parquet. instance_id, frame_index and pixel_sha256 are of the middle one of `frames`."""
    return pa.schema(
        [
            ("member_index", pa.int32()),
            ("tile_index", pa.int32()),
            ("study_id", pa.uuid()),
            ("series_id", pa.uuid()),
            ("patient_id", pa.uuid()),
            ("instance_id", pa.uuid()),
            ("frame_index", pa.int32()),
            ("pixel_sha256", pa.binary()),
            ("tile", pa.binary(recipe.row_bytes)),
            ("unit", pa.string()),
            ("value_scale", pa.float64()),
            ("window_low", pa.float64()),
            ("window_high", pa.float64()),
            ("scale", pa.float64()),
            ("pad_top", pa.int32()),
            ("pad_left", pa.int32()),
            ("time_ms", pa.float64()),
            ("is_inverted", pa.bool_()),
            ("frames", _FRAMES),  # nested columns last: before them a column's number is its leaf's
            ("spacing_mm", pa.list_(pa.float64())),
            ("origin_mm", pa.list_(pa.float64())),
            ("directions", pa.list_(pa.float64())),
        ]
    )


def row_table(
    members: Sequence[Row],
    rows: Mapping[int, Sequence[Made]],
    digests: Mapping[FrameKey, bytes],
    recipe: PackRecipe,
) -> pa.Table:
    """The rows of some members, in the order of members."""
    found = [
        _row(number, index, members[number], made, digests, recipe)
        for number in sorted(rows)
        for index, made in enumerate(rows[number])
    ]
    schema = row_schema(recipe)
    columns = [
        _lists([r[f.name] for r in found])
        if f.name == "frames"
        else pa.array([r[f.name] for r in found], f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _lists(frames: Sequence[Sequence[Mapping[str, Any]]]) -> pa.Array:
    """The column `frames`; Arrow does not convert ids inside of structs."""
    flat = [one for listed in frames for one in listed]
    offsets = pa.array(np.cumsum([0, *map(len, frames)]), pa.int32())
    fields = list(_FRAMES.value_type)
    arrays = [pa.array([one[f.name] for one in flat], f.type) for f in fields]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=fields))


def _row(
    number: int,
    index: int,
    member: Row,
    made: Made,
    digests: Mapping[FrameKey, bytes],
    recipe: PackRecipe,
) -> dict[str, Any]:
    if made.pixels.shape != recipe.shape or made.pixels.dtype != recipe.dtype:
        raise RuntimeError(f"A {recipe.kind} has shape {made.pixels.shape}, not {recipe.shape}.")
    keys = [(s.instance["instance_id"], s.frame_index) for s in made.frames]
    frames = [{"instance_id": i.bytes, "frame_index": n, "pixel_sha256": digests[i, n]} for i, n in keys]
    return {
        "member_index": number,
        "tile_index": index,
        **{name: member[name].bytes for name in ("study_id", "series_id", "patient_id")},
        **frames[len(frames) // 2],
        "frames": frames,
        "tile": np.ascontiguousarray(made.pixels).tobytes(),
        **{name: getattr(made, name) for name in _AS_MADE},
    }


def write_rows(path: Path, tables: Iterator[pa.Table], recipe: PackRecipe) -> None:
    """Row groups of exactly as many rows as fit but the last (64 tiles), pixels uncompressed; synced."""
    schema = row_schema(recipe)
    size = max(1, min(ROW_GROUP_TILES, ROW_GROUP_BYTES // recipe.row_bytes))
    plain = [name for name in schema.names if name != "tile"]
    with path.open("wb") as raw:
        with pq.ParquetWriter(
            raw,
            schema,
            compression={name: "NONE" if name == "tile" else "ZSTD" for name in schema.names},
            use_dictionary=False,
            write_statistics=plain,
        ) as writer:
            rest = row_table((), {}, {}, recipe)
            for table in tables:
                rest = pa.concat_tables([rest, table])
                while rest.num_rows >= size:
                    writer.write_table(rest.slice(0, size))
                    rest = rest.slice(size)
            if rest.num_rows:
                writer.write_table(rest)
        raw.flush()
        os.fsync(raw.fileno())


def write_left_out(path: Path, found: Sequence[LeftOut]) -> None:
    """left_out.parquet: one row per member without rows, in the order of members."""
    rows = [{**asdict(one), "series_id": one.series_id.bytes} for one in found]
    columns = [pa.array([r[f.name] for r in rows], type=f.type) for f in _LEFT_OUT]
    with path.open("wb") as raw:
        pq.write_table(pa.Table.from_arrays(columns, schema=_LEFT_OUT), raw, compression="ZSTD")
        raw.flush()
        os.fsync(raw.fileno())


def write_synced(path: Path, text: str) -> None:
    """A text file that outlives a power cut."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class Pack:
    """A built pack, read by row groups; nothing is held in memory."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = facts
        self.recipe = PackRecipe(**facts["recipe"])
        self.size = self.recipe.size
        self.tiles_per_series = self.recipe.tiles_per_series
        self.n_members = int(facts["n_members"])

    @cached_property
    def tiles(self) -> Tiles:
        """The rows, by row group."""
        return Tiles(self.path / "tiles.parquet", self.recipe)

    @property
    def members(self) -> pa.Table:
        """records.Member rows of the whole cohort, also of those left out, in the order of the tiles."""
        return pq.read_table(self.path.parents[1] / "members.parquet")

    @property
    def left_out(self) -> pa.Table:
        """member_index, series_id and reason of every member that has no rows."""
        path = self.path / "left_out.parquet"
        return pq.read_table(path) if path.name in self.facts["files"] else _LEFT_OUT.empty_table()

    @property
    def text(self) -> pa.Table | None:
        """Report token ids, one row per report; None where the recipe leaves text out."""
        path = self.path / "text.parquet"
        return pq.read_table(path) if path.exists() else None


class Tiles:
    """Rows by row group: `tiles[g]` is [n, *recipe.shape]; `len(tiles)` row groups."""

    def __init__(self, path: Path, recipe: PackRecipe) -> None:
        self._file = pq.ParquetFile(path, memory_map=True)
        self._recipe = recipe

    def __len__(self) -> int:
        return int(self._file.num_row_groups)

    def __getitem__(self, group: int) -> NDArray[Any]:
        """[n, *recipe.shape] of one row group, read-only; uint8 for 8-bit tiles."""
        if not 0 <= group < len(self):
            raise IndexError(group)
        column = self._file.read_row_group(group, ["tile"]).column(0).combine_chunks()
        size = self._recipe.row_bytes
        start = column.offset * size
        flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)[start : start + len(column) * size]
        return flat.view(self._recipe.dtype).reshape(len(column), *self._recipe.shape)

    @property
    def facts(self) -> pa.Table:
        """Every column but the pixels."""
        return self._file.read([name for name in self._file.schema_arrow.names if name != "tile"])


def open_pack(path: Path) -> Pack:
    """A built pack. Raises PackError where there is none at `path`."""
    try:
        facts = json.loads((path / "pack.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackError(
            f"There is no whole pack {path.name}. Build it: rwid tune does, or curation.pack.build_pack."
        ) from None
    return Pack(path, facts)


def reasons_in_words(counts: Mapping[str, int]) -> str:
    """'3 of them because a frame does not decode; 1 because ...', the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{n} because {LEFT_OUT.get(reason, reason)}" for reason, n in ordered)
