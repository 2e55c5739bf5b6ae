"""Cohort -> model-ready token pack: image tiles and report token ids, in the order of the cohort's members.

What belongs here: finding the frames and reports of a cohort in the lake's snapshot it names, writing the pack, reading
it. What does not: what a tile shows (tile), how text becomes ids (vocabulary), tensors (training/batches).

A pack is a function of recipe, cohort and PACK_VERSION: the same bytes on every machine. It is built aside in chunks
that outlive a kill, and appears whole, by one rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation import vocabulary
from curation.frames import read_palette
from curation.lake import Lake, Snapshot
from curation.records import ConfigurationError
from curation.tile import INSTANCE_COLUMNS, Row, Source, Tile, make_tile, pick_frames

PACK_VERSION = 1
"""Changes only when the same recipe and cohort would give other bytes."""

ROW_GROUP_TILES = 64
CHUNK_MEMBERS = 512
CHUNK_BYTES = 256 << 20
MAX_NAMED = 20
Progress = Callable[[int, int], None]


class PackError(Exception):
    """A pack that cannot be built or read, with the remedy; names pseudonymous ids only."""


@dataclass(frozen=True)
class PackRecipe:
    """What a pack holds: tiles of size x size px, so many a series, report tokens, and by which tokenizer.json."""

    size: int = 224
    tiles_per_series: int = 1
    text: bool = True
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096 or not 1 <= self.tiles_per_series <= 1024:
            raise ConfigurationError("A pack has tiles of 16 to 4096 px, 1 to 1024 a series.")


@dataclass(frozen=True, slots=True)
class _Wanted:
    row: int
    member: Row
    tile_index: int
    source: Source


def build_pack(
    lake: Lake, cohort_id: str, recipe: PackRecipe, *, progress: Progress | None = None, workers: int = 0
) -> Path:
    """The pack of a cohort, `lake/cohorts/<cohort_id>/packs/<pack_id>/`, built where it is not there yet.

    `workers` threads decode (0: one a core); `progress` gets (members done, members). Raises PackError where members'
    frames are missing or do not decode, naming the series; ConfigurationError for a tokenizer that cannot be read.
    """
    cohort = lake.root / "cohorts" / cohort_id
    tokenizer = (
        vocabulary.read_tokenizer(Path(recipe.tokenizer)) if recipe.text and recipe.tokenizer else None
    )
    pack_id = pack_id_of(cohort_id, recipe, tokenizer)
    place = cohort / "packs" / pack_id
    if (place / "pack.json").exists():
        return place
    snapshot = lake.snapshot(_snapshot_number(cohort))
    members = pq.read_table(cohort / "members.parquet").to_pylist()
    building = place.with_name(f".building-{pack_id}")
    building.mkdir(parents=True, exist_ok=True)
    with _locked(building):
        if (place / "pack.json").exists():  # another process was first
            return place
        whole = building / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        builder = _Builder(lake, snapshot, recipe, members, building, workers or len(os.sched_getaffinity(0)))
        chunks = builder.write_chunks(progress)
        whole.mkdir()
        _join(chunks, whole / "tiles.parquet", recipe)
        facts: dict[str, Any] = {}
        if recipe.text:
            facts["tokenizer_sha256"] = _write_text(lake, snapshot, members, tokenizer, whole)
        _write_facts(whole, facts | _facts(pack_id, cohort_id, recipe, snapshot, len(members)))
        _sync(whole)
        os.replace(whole, place)
        _sync(place.parent)
        shutil.rmtree(building, ignore_errors=True)
    return place


def pack_id_of(cohort_id: str, recipe: PackRecipe, tokenizer_json: str | None = None) -> str:
    """First 16 hex digits of the hash over canonical recipe, cohort, PACK_VERSION and the tokenizer given."""
    key = asdict(replace(recipe, tokenizer=vocabulary.hash_of(tokenizer_json) if tokenizer_json else None))
    body = json.dumps({"recipe": key, "cohort_id": cohort_id, "pack_version": PACK_VERSION}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def read_tiles(
    lake: Lake, snapshot: Snapshot, members: Sequence[Row], recipe: PackRecipe, workers: int = 1
) -> tuple[dict[UUID, NDArray[np.uint8]], dict[UUID, list[tuple[UUID, int]]], dict[str, str]]:
    """Tiles as a pack of that recipe would hold them, without building one: for series that are in no cohort.

    Gives uint8 [T, H, W] by series, the (instance, frame) that each tile shows, and why the other series have none.
    `members` need `series_id`, `study_id` and `patient_id`.
    """
    builder = _Builder(lake, snapshot, recipe, members, Path(), workers)
    return builder.read()


class _Builder:
    """Writes the chunks of one pack; a chunk that is there is whole, because it is renamed when it is."""

    def __init__(
        self,
        lake: Lake,
        snapshot: Snapshot,
        recipe: PackRecipe,
        members: Sequence[Row],
        building: Path,
        workers: int,
    ) -> None:
        self._members = members
        self._recipe = recipe
        self._building = building
        self._workers = workers
        self._frames = _FrameIndex(lake, snapshot)
        self._con = lake.connect(snapshot.number)
        bytes_a_member = recipe.tiles_per_series * recipe.size**2
        self._step = max(1, min(CHUNK_MEMBERS, CHUNK_BYTES // bytes_a_member))
        self._unreadable: dict[str, str] = {}

    def write_chunks(self, progress: Progress | None) -> list[Path]:
        """All chunks in order. Raises PackError at the end, when every unreadable series is known."""
        paths = []
        for start in range(0, len(self._members), self._step):
            stop = min(start + self._step, len(self._members))
            path = self._building / f"chunk-{start:09d}-{stop:09d}.parquet"
            if not path.exists():
                self._write_chunk(path, start, stop)
            paths.append(path)
            if progress:
                progress(stop, len(self._members))
        if self._unreadable:
            named = [f"{s} ({why})" for s, why in sorted(self._unreadable.items())]
            raise PackError(
                f"{len(named)} series of the cohort cannot be read: {', '.join(named[:MAX_NAMED])}"
                f"{', …' if len(named) > MAX_NAMED else ''}. Leave them out by the cohort's series rule "
                "(keep: is_whole), or bring them in again."
            )
        return paths

    def read(
        self,
    ) -> tuple[dict[UUID, NDArray[np.uint8]], dict[UUID, list[tuple[UUID, int]]], dict[str, str]]:
        """Everything at once, in memory."""
        wanted = self._plan(0, len(self._members))
        made = self._tiles(wanted)
        shown: dict[UUID, list[tuple[UUID, int]]] = defaultdict(list)
        for one in wanted:
            row = one.source.instance
            shown[row["series_id"]].append((row["instance_id"], one.source.frame_index))
        whole = {s: keys for s, keys in shown.items() if all(key in made for key in keys)}
        arrays = {s: np.stack([made[key][0].pixels for key in keys]) for s, keys in whole.items()}
        return arrays, whole, self._unreadable

    def _write_chunk(self, path: Path, start: int, stop: int) -> None:
        wanted = self._plan(start, stop)
        tiles = self._tiles(wanted)
        if any(str(m["series_id"]) in self._unreadable for m in self._members[start:stop]):
            return
        table = _tile_table(wanted, tiles, self._recipe.size)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        _write_tiles(aside, iter([table]), self._recipe.size)
        os.replace(aside, path)

    def _plan(self, start: int, stop: int) -> list[_Wanted]:
        """Which frame every tile of the chunk shows, in the order of the pack's rows."""
        members = self._members[start:stop]
        series = sorted({m["series_id"] for m in members})
        instances: dict[UUID, list[Row]] = defaultdict(list)
        for row in _rows(self._con, f"SELECT {', '.join(INSTANCE_COLUMNS)} FROM instances", series):
            instances[row["series_id"]].append(row)
        kinds = {
            r["series_id"]: r
            for r in _rows(self._con, "SELECT series_id, kind, body_part FROM series", series)
        }
        wanted = []
        for number, member in enumerate(members, start):
            picked = pick_frames(instances[member["series_id"]], self._recipe.tiles_per_series)
            if not picked:
                self._unreadable[str(member["series_id"])] = "no frames"
            kind = kinds.get(member["series_id"], {})
            for tile_index, (row, frame_index) in enumerate(picked):
                source = Source(row, frame_index, kind.get("kind"), kind.get("body_part"))
                wanted.append(_Wanted(number, member, tile_index, source))
        return wanted

    def _tiles(self, wanted: Sequence[_Wanted]) -> dict[tuple[UUID, int], tuple[Tile, bytes]]:
        """Every frame wanted as (tile, hash of the frame); what fails is noted by series."""
        by_frame = {(w.source.instance["instance_id"], w.source.frame_index): w.source for w in wanted}
        palettes = self._palettes([s.instance for s in by_frame.values()])
        made: dict[tuple[UUID, int], tuple[Tile, bytes]] = {}

        def work(item: _Encoded) -> tuple[tuple[UUID, int], Tile | str, bytes]:
            source = by_frame[item.key]
            palette = palettes.get(item.key[0])
            try:
                return (
                    item.key,
                    make_tile(item.codec, item.payload, source, self._recipe.size, palette),
                    item.digest,
                )
            except MemoryError:
                raise
            except (
                Exception
            ) as error:  # a decoder raises what it likes; every series must be tried before we fail
                return item.key, type(error).__name__, item.digest

        with ThreadPoolExecutor(self._workers) as pool:
            for batch in self._frames.read(by_frame):
                for key, tile, digest in pool.map(work, batch):
                    if isinstance(tile, str):
                        self._unreadable[str(by_frame[key].instance["series_id"])] = tile
                    else:
                        made[key] = (tile, digest)
        for key, source in by_frame.items():
            if key not in made:
                self._unreadable.setdefault(str(source.instance["series_id"]), "frame missing")
        return made

    def _palettes(self, instances: Sequence[Row]) -> dict[UUID, NDArray[np.uint8]]:
        ids = sorted({r["instance_id"] for r in instances if r["photometric"] == "PALETTE COLOR"})
        if not ids:
            return {}
        rows = _rows(self._con, "SELECT instance_id, header FROM instances", ids, key="instance_id")
        return {r["instance_id"]: read_palette(r["header"]) for r in rows}


def _rows(
    con: duckdb.DuckDBPyConnection, select: str, ids: Sequence[UUID], key: str = "series_id"
) -> Iterator[Row]:
    cursor = con.execute(f"{select} WHERE {key} IN (SELECT unnest(?::UUID[]))", [list(ids)])
    names = [d[0] for d in cursor.description or ()]
    while batch := cursor.fetchmany(10_000):
        for row in batch:
            yield dict(zip(names, row, strict=True))


@dataclass(frozen=True, slots=True)
class _Encoded:
    key: tuple[UUID, int]
    codec: str
    payload: bytes
    digest: bytes


class _FrameIndex:
    """Where the frames of a series lie: row groups by the smallest and largest series id they hold.

    Footers are read once, of the deliveries asked for only; payloads by whole row groups, never by single rows.
    """

    def __init__(self, lake: Lake, snapshot: Snapshot) -> None:
        self._lake = lake
        self._snapshot = snapshot
        self._groups: dict[str, list[tuple[Path, int, bytes, bytes]]] = {}

    def read(self, wanted: Mapping[tuple[UUID, int], Source]) -> Iterator[list[_Encoded]]:
        """The frames wanted, one list a row group."""
        by_delivery: dict[str, set[tuple[UUID, int]]] = defaultdict(set)
        series: dict[str, set[bytes]] = defaultdict(set)
        for key, source in wanted.items():
            by_delivery[source.instance["delivery"]].add(key)
            series[source.instance["delivery"]].add(source.instance["series_id"].bytes)
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


def _read_group(path: Path, group: int, wanted: set[tuple[UUID, int]]) -> list[_Encoded]:
    with pq.ParquetFile(path) as file:
        ids = file.read_row_group(group, ["instance_id", "frame_index"]).to_pydict()
        keys = list(zip(ids["instance_id"], ids["frame_index"], strict=True))
        hits = [i for i, key in enumerate(keys) if key in wanted]
        if not hits:
            return []
        rows = file.read_row_group(group, ["codec", "payload", "pixel_sha256"]).take(hits).to_pydict()
    return [
        _Encoded(keys[i], *facts)
        for i, facts in zip(
            hits, zip(rows["codec"], rows["payload"], rows["pixel_sha256"], strict=True), strict=True
        )
    ]


def _tile_schema(size: int) -> pa.Schema:
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
            ("tile", pa.binary(size * size)),
            ("window_low", pa.float64()),
            ("window_high", pa.float64()),
            ("scale", pa.float64()),
            ("pad_top", pa.int32()),
            ("pad_left", pa.int32()),
            ("is_inverted", pa.bool_()),
        ]
    )


def _tile_table(
    wanted: Sequence[_Wanted], tiles: Mapping[tuple[UUID, int], tuple[Tile, bytes]], size: int
) -> pa.Table:
    rows = []
    for w in wanted:
        instance = w.source.instance
        tile, digest = tiles[instance["instance_id"], w.source.frame_index]
        rows.append(
            {
                "member_index": w.row,
                "tile_index": w.tile_index,
                "study_id": w.member["study_id"].bytes,
                "series_id": w.member["series_id"].bytes,
                "patient_id": w.member["patient_id"].bytes,
                "instance_id": instance["instance_id"].bytes,
                "frame_index": w.source.frame_index,
                "pixel_sha256": digest,
                "tile": tile.pixels.tobytes(),
                "window_low": tile.window_low,
                "window_high": tile.window_high,
                "scale": tile.scale,
                "pad_top": tile.pad_top,
                "pad_left": tile.pad_left,
                "is_inverted": tile.is_inverted,
            }
        )
    schema = _tile_schema(size)
    columns = [pa.array([r[f.name] for r in rows], type=f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _write_tiles(path: Path, tables: Iterator[pa.Table], size: int) -> None:
    """Row groups of exactly ROW_GROUP_TILES rows but the last, tiles uncompressed; synced."""
    schema = _tile_schema(size)
    plain = [name for name in schema.names if name != "tile"]
    with path.open("wb") as raw:
        with pq.ParquetWriter(
            raw,
            schema,
            compression={name: "NONE" if name == "tile" else "ZSTD" for name in schema.names},
            use_dictionary=False,
            write_statistics=plain,
        ) as writer:
            rest = schema.empty_table()
            for table in tables:
                rest = pa.concat_tables([rest, table])
                while rest.num_rows >= ROW_GROUP_TILES:
                    writer.write_table(rest.slice(0, ROW_GROUP_TILES))
                    rest = rest.slice(ROW_GROUP_TILES)
            if rest.num_rows:
                writer.write_table(rest)
        raw.flush()
        os.fsync(raw.fileno())


def _join(chunks: Sequence[Path], path: Path, recipe: PackRecipe) -> None:
    _write_tiles(path, (pq.read_table(chunk) for chunk in chunks), recipe.size)


_SECTIONS = pa.list_(pa.struct([("name", pa.string()), ("start", pa.int32()), ("end", pa.int32())]))
_TEXT_SCHEMA = pa.schema(
    [
        ("report_id", pa.uuid()),
        ("study_id", pa.uuid()),
        ("patient_id", pa.uuid()),
        ("tokenizer_sha256", pa.string()),
        ("ids", pa.list_(pa.uint16())),
        ("sections", _SECTIONS),
    ]
)


def _write_text(
    lake: Lake, snapshot: Snapshot, members: Sequence[Row], tokenizer: str | None, folder: Path
) -> str:
    """text.parquet, one row per report in the order of members, and tokenizer.json; gives its SHA-256."""
    order = {s: i for i, s in reversed(list(enumerate(m["study_id"] for m in members)))}
    train = {m["study_id"] for m in members if m["split"] == "train"}
    con = lake.connect(snapshot.number)
    select = "SELECT report_id, study_id, patient_id, text, sections FROM reports"
    reports = sorted(
        _rows(con, select, sorted(order), "study_id"), key=lambda r: (order[r["study_id"]], r["report_id"])
    )
    if tokenizer is None:
        tokenizer = vocabulary.train_tokenizer(r["text"] for r in reports if r["study_id"] in train)
    digest = vocabulary.hash_of(tokenizer)
    texts = vocabulary.tokenize(
        tokenizer, [r["text"] for r in reports], [r["sections"] or [] for r in reports]
    )
    columns = [
        [r["report_id"].bytes for r in reports],
        [r["study_id"].bytes for r in reports],
        [r["patient_id"].bytes for r in reports],
        [digest] * len(reports),
        [t.ids for t in texts],
        [t.sections for t in texts],
    ]
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, _TEXT_SCHEMA, strict=True)]
    with (folder / "text.parquet").open("wb") as raw:
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=_TEXT_SCHEMA), raw, compression="ZSTD", row_group_size=8192
        )
        raw.flush()
        os.fsync(raw.fileno())
    _write_synced(folder / "tokenizer.json", tokenizer)
    return digest


def _facts(
    pack_id: str, cohort_id: str, recipe: PackRecipe, snapshot: Snapshot, n_members: int
) -> dict[str, Any]:
    # where the user's tokenizer lay on this machine is nobody's business: its hash is in the facts
    return {
        "pack_id": pack_id,
        "pack_version": PACK_VERSION,
        "cohort_id": cohort_id,
        "recipe": asdict(replace(recipe, tokenizer=None)),
        "is_tokenizer_given": recipe.tokenizer is not None,
        "snapshot": snapshot.number,
        "snapshot_sha256": snapshot.sha256,
        "n_members": n_members,
        "n_tiles": n_members * recipe.tiles_per_series,
    }


def _write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    hashes = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    # written last: if it is there, the pack is whole
    _write_synced(
        folder / "pack.json", json.dumps({**facts, "files": hashes}, indent=1, sort_keys=True) + "\n"
    )


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(building: Path) -> Iterator[None]:
    """One process builds a pack; another waits for it."""
    with (building / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _snapshot_number(cohort: Path) -> int:
    try:
        facts = json.loads((cohort / "cohort.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackError(
            f"There is no cohort {cohort.name}. Build it first: rwid cohort build SPEC."
        ) from None
    return int(facts["snapshot"])


class Pack:
    """A built pack, read by row groups; nothing is held in memory."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.facts = facts
        self.size = int(facts["recipe"]["size"])
        self.tiles_per_series = int(facts["recipe"]["tiles_per_series"])
        self.n_members = int(facts["n_members"])

    @cached_property
    def tiles(self) -> Tiles:
        """The tiles, by row group."""
        return Tiles(self.path / "tiles.parquet", self.size)

    @property
    def members(self) -> pa.Table:
        """records.Member rows, one per member, in the order of the tiles."""
        return pq.read_table(self.path.parents[1] / "members.parquet")

    @property
    def text(self) -> pa.Table | None:
        """Report token ids, one row per report; None where the recipe leaves text out."""
        path = self.path / "text.parquet"
        return pq.read_table(path) if path.exists() else None


class Tiles:
    """uint8 tiles by row group of 64: `tiles[g]` is [n, size, size]; `len(tiles)` row groups."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = pq.ParquetFile(path, memory_map=True)
        self._size = size

    def __len__(self) -> int:
        return int(self._file.num_row_groups)

    def __getitem__(self, group: int) -> NDArray[np.uint8]:
        """[n, size, size] of one row group, read-only."""
        if not 0 <= group < len(self):
            raise IndexError(group)
        column = self._file.read_row_group(group, ["tile"]).column(0).combine_chunks()
        start = column.offset * self._size**2
        flat = np.frombuffer(column.buffers()[1], dtype=np.uint8)[start : start + len(column) * self._size**2]
        return flat.reshape(len(column), self._size, self._size)

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
