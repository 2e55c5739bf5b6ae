"""How long the lake's own work takes: commits, connections, one series out of many, a sandboxed query.

    python benchmarks/lake/measure.py FOLDER [--series 200] [--frames 40] [--frame-kib 60]

Writes a throw-away lake into FOLDER (which must not exist) and prints one JSON object; medians of 5.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from curation import records
from curation.lake import Connection, Lake
from curation.query import run_sql


def median_ms(work: Callable[[], object], times: int = 5) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return round(1000 * statistics.median(taken), 1)


def write_frames(
    lake: Lake, n_series: int, n_frames: int, kib: int
) -> tuple[list[uuid.UUID], dict[str, str], float]:
    random = np.random.default_rng(7)
    ids = [uuid.UUID(bytes=random.bytes(16)) for _ in range(n_series)]
    started = time.perf_counter()
    with lake.part_writer("frames") as writer:
        for series_id in ids:
            rows = [
                records.Frame(
                    series_id, k, series_id, "zstd", random.bytes(kib << 10), bytes(32), "s", "d", "0"
                )
                for k in range(n_frames)
            ]
            writer.write(records.to_table(records.Frame, rows))
    mib = n_series * n_frames * kib / 1024
    return (
        ids,
        {"d": lake.stage("d", {"frames": writer.parts})},
        round(mib / (time.perf_counter() - started), 1),
    )


def nothing(con: Connection) -> dict[str, object]:
    return {name: records.to_table(cls, []) for name, cls in records.CATALOGUED.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--frame-kib", type=int, default=60)
    given = parser.parse_args()
    given.folder.mkdir()
    lake = Lake(given.folder / "lake")
    ids, staged, mib_per_s = write_frames(lake, given.series, given.frames, given.frame_kib)
    lake.commit(staged, nothing)
    numbers = iter(range(1000))

    def commit() -> None:
        name = f"empty {next(numbers)}"
        lake.commit({name: lake.stage(name, {})}, nothing)

    def read_series() -> None:
        with lake.connect() as con:
            rows = con.execute("SELECT payload FROM frames WHERE series_id = ?", [ids[3]]).fetchall()
            assert len(rows) == given.frames

    print(
        json.dumps(
            {
                "series": given.series,
                "frames_mib": given.series * given.frames * given.frame_kib // 1024,
                "frames_written_mib_per_s": mib_per_s,
                "commit_ms": median_ms(commit),
                "connect_ms": median_ms(lambda: lake.connect().close()),
                "one_series_ms": median_ms(read_series),
                "sandboxed_query_ms": median_ms(lambda: run_sql(lake.root, "SELECT count(*) FROM frames")),
            }
        )
    )


if __name__ == "__main__":
    main()
