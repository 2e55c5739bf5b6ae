"""The rows of a pack, from the lake's frames: planned series by series, decoded by threads, kept in chunks.

What belongs here: which series is read when, what is left out and why, chunks that outlive a kill. What does not: what a
row shows (samples/), where the pack lies and its other files (pack).
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from numpy.typing import NDArray

from curation.frames import decode
from curation.lake import Lake, Snapshot
from curation.modality import Unreadable
from curation.pack_file import LeftOut, row_table, write_rows, write_synced
from curation.pack_frames import Encoded, FrameIndex, FrameKey, rows_of
from curation.pack_recipe import PackRecipe
from curation.sample import Made, OneSeries, Sample
from curation.samples import KINDS
from curation.tile import INSTANCE_COLUMNS, Row, Source

CHUNK_MEMBERS = 512
CHUNK_BYTES = 256 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the members from `start` on gave: rows by member, digests of the frames used, and who has none."""

    rows: Mapping[int, list[Made]]
    digests: Mapping[FrameKey, bytes]
    left_out: list[LeftOut]


class Builder:
    """Makes the rows of one pack; a chunk that is there is whole, because it is renamed when it is."""

    def __init__(
        self, lake: Lake, snapshot: Snapshot, recipe: PackRecipe, members: Sequence[Row], workers: int
    ) -> None:
        self._members = members
        self._recipe = recipe
        self._kind = KINDS[recipe.kind]
        self._workers = workers
        self._frames = FrameIndex(lake, snapshot)
        self._con = lake.connect(snapshot.number)

    def write_chunks(
        self, folder: Path, progress: Progress | None = None
    ) -> tuple[list[Path], list[LeftOut]]:
        """All chunks in order, and who is left out."""
        bytes_a_member = self._recipe.tiles_per_series * self._recipe.row_bytes
        step = max(1, min(CHUNK_MEMBERS, CHUNK_BYTES // bytes_a_member))
        paths, left_out = [], []
        for start in range(0, len(self._members), step):
            stop = min(start + step, len(self._members))
            path = folder / f"chunk-{start:09d}-{stop:09d}.parquet"
            aside = path.with_suffix(".json")
            if not path.exists():
                self._write_chunk(path, aside, start, stop)
            paths.append(path)
            left_out += [LeftOut(n, UUID(i), why) for n, i, why in json.loads(aside.read_text())]
            if progress:
                progress(stop, len(self._members))
        return paths, left_out

    def _write_chunk(self, path: Path, aside: Path, start: int, stop: int) -> None:
        made = self.read(start, stop)
        table = row_table(self._members, made.rows, made.digests, self._recipe)
        # before the chunk itself, whose name says that both are there
        write_synced(aside, json.dumps([[e.member_index, str(e.series_id), e.reason] for e in made.left_out]))
        hidden = path.with_name(f".{path.name}.{os.getpid()}")
        write_rows(hidden, iter([table]), self._recipe)
        os.replace(hidden, path)

    def read(self, start: int, stop: int) -> Outcome:
        """The rows of members start to stop, in memory."""
        samples, reasons = self._plan(start, stop)
        rows, digests = self._make(samples, reasons)
        left_out = [
            LeftOut(n, self._members[n]["series_id"], reasons[n])
            for n in range(start, stop)
            if n not in rows or n in reasons
        ]
        return Outcome(rows, digests, left_out)

    def _plan(self, start: int, stop: int) -> tuple[dict[int, Sample], dict[int, str]]:
        """The sample of every member, and why the others have none."""
        ids = sorted({m["series_id"] for m in self._members[start:stop]})
        instances: dict[UUID, list[Row]] = defaultdict(list)
        for row in rows_of(self._con, f"SELECT {', '.join(INSTANCE_COLUMNS)} FROM instances", ids):
            instances[row["series_id"]].append(row)
        facts = {
            r["series_id"]: r
            for r in rows_of(self._con, "SELECT series_id, kind, body_part FROM series", ids)
        }
        read = [r["instance_id"] for rows in instances.values() for r in self._kind.headers(rows)]
        headers = self._headers(read)
        samples: dict[int, Sample] = {}
        reasons: dict[int, str] = {}
        for number in range(start, stop):
            series_id = self._members[number]["series_id"]
            fact = facts.get(series_id, {})
            series = OneSeries(instances[series_id], fact.get("kind"), fact.get("body_part"), headers)
            try:
                samples[number] = self._kind.plan(series, self._recipe)
            except Unreadable as error:
                reasons[number] = error.reason
        return samples, reasons

    def _headers(self, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        if not ids:
            return {}
        rows = rows_of(self._con, "SELECT instance_id, header FROM instances", sorted(ids), "instance_id")
        return {r["instance_id"]: r["header"] for r in rows}

    def _make(
        self, samples: Mapping[int, Sample], reasons: dict[int, str]
    ) -> tuple[dict[int, list[Made]], dict[FrameKey, bytes]]:
        """Every sample whose frames are all there, as soon as they are; what fails is noted in `reasons`."""
        awaited = {n: {_key(s) for s in sample.frames} for n, sample in samples.items()}
        users: dict[FrameKey, list[int]] = defaultdict(list)
        for number, keys in awaited.items():
            for key in keys:
                users[key].append(number)
        wanted = {
            _key(s): (s.instance["delivery"], s.instance["series_id"])
            for sample in samples.values()
            for s in sample.frames
        }
        here: dict[int, dict[FrameKey, Encoded]] = defaultdict(dict)
        digests: dict[FrameKey, bytes] = {}
        rows: dict[int, list[Made]] = {}
        running: dict[int, Future[list[Made]]] = {}
        with ThreadPoolExecutor(self._workers) as pool:
            for group in self._frames.read(wanted):
                for frame in group:
                    digests[frame.key] = frame.digest
                    for number in users[frame.key]:
                        here[number][frame.key] = frame
                        awaited[number].discard(frame.key)
                        if not awaited[number]:
                            running[number] = pool.submit(samples[number].make, _decoder(here.pop(number)))
                if len(running) > 4 * self._workers:  # payloads of what waits are held in memory
                    _collect(running, rows, reasons)
            _collect(running, rows, reasons)
        for number, missing in awaited.items():
            if missing:
                reasons[number] = "frame_missing"
        return rows, digests


def _collect(
    running: dict[int, Future[list[Made]]], rows: dict[int, list[Made]], reasons: dict[int, str]
) -> None:
    for number, future in running.items():
        try:
            rows[number] = future.result()
        except Unreadable as error:
            reasons[number] = error.reason
    running.clear()


def _key(source: Source) -> FrameKey:
    return source.instance["instance_id"], source.frame_index


def _decoder(frames: Mapping[FrameKey, Encoded]) -> Callable[[Source, int], NDArray[Any]]:
    def read(source: Source, reduce: int) -> NDArray[Any]:
        frame = frames[_key(source)]
        try:
            return decode(frame.codec, frame.payload, reduce=reduce)
        except MemoryError:
            raise
        except Exception:  # a decoder raises what it likes on damaged bytes, and its text may quote them
            raise Unreadable("A frame does not decode.", "decoder_failed") from None

    return read
