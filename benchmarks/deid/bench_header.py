"""Milliseconds to de-identify one 0.5 MB CT, against reading and writing the same bytes, and against peers.

Run: python -m benchmarks.deid.bench_header [--files 200] [--rounds 7] [--peer dicognito=PYTHON] [--peer pydcm_options=PYTHON]
Every way runs on every file of a round, in shuffled blocks; reported are medians over rounds of the round's mean, wall and CPU.
Writes benchmarks/results/deid_header.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pydicom

from benchmarks.deid.synthetic import write_series
from curation.deid.header import clean_header
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.release import file_meta
from curation.deid.take import Job, take_file
from curation.part10 import EXPLICIT_LITTLE

BLOCK = 20
RESULT = Path(__file__).parents[1] / "results" / "deid_header.json"


def copy_bytes(src: Path, dst: Path) -> None:
    """The physical limit: read all, write all."""
    with src.open("rb") as file:
        data = file.read()
    out = os.open(dst, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(out, data)
    os.close(out)


def ways(folder: Path, job: Job) -> dict[str, Callable[[Path, Path], None]]:
    def clean(src: Path, dst: Path) -> None:
        with src.open("rb") as file:
            data = file.read()
        found = clean_header(data, job.policy, job.pseudonyms, job.site)
        pixels = found.pixels
        out = os.open(dst, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with memoryview(data) as view:
            element = view[pixels.offset - 12 : pixels.offset + pixels.length]
            os.writev(out, [file_meta(found, EXPLICIT_LITTLE), found.header, element])
            element.release()
        os.close(out)

    def round_trip(src: Path, dst: Path) -> None:
        pydicom.dcmread(src).save_as(dst)

    return {
        "read_write": copy_bytes,
        "rwid": clean,
        "rwid_folder_with_digest": lambda src, dst: take_file(job, src) and None,
        "pydicom_round_trip": round_trip,
    }


class Peer:
    """A peer in its own interpreter, timed by itself."""

    def __init__(self, name: str, python: str) -> None:
        script = Path(__file__).with_name("peer_timed.py")
        self.process = subprocess.Popen(
            [python, str(script), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def seconds(self, src: Path, dst: Path) -> tuple[float, float]:
        """Wall and CPU seconds."""
        self.process.stdin.write(f"{src}\t{dst}\n")
        self.process.stdin.flush()
        wall, cpu = self.process.stdout.readline().split()
        return float(wall), float(cpu)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", action="append", default=[], help="NAME=PYTHON, names of peer_driver")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "src", folder / "dst"
        source.mkdir()
        target.mkdir()
        write_series(source, arguments.files)
        policy = compile_policy(load_profile("research"))
        job = Job(source, target, policy, Pseudonyms(b"b" * 32), "bench")
        results = measure(sorted(source.iterdir()), target, ways(target, job), arguments)
    report(results, arguments)


def measure(
    files: list[Path], target: Path, known: dict, arguments: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """For each way and round: mean wall and CPU milliseconds a file."""
    peers = {name: Peer(name, python) for name, _, python in (word.partition("=") for word in arguments.peer)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in [*known, *peers]}
    for n in range(arguments.rounds + 1):  # the first round warms caches and is not counted
        sums = {way: [0.0, 0.0] for way in times}
        blocks = [(way, files[at : at + BLOCK]) for way in times for at in range(0, len(files), BLOCK)]
        random.Random(n).shuffle(blocks)
        tasks = [(way, file) for way, block in blocks for file in block]
        for way, file in tasks:
            out = target / f"{way}-{file.name}"
            if way in peers:
                wall, cpu = peers[way].seconds(file, out)
            else:
                begin, begin_cpu = time.perf_counter(), time.process_time()
                known[way](file, out)
                wall, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
            sums[way][0] += wall
            sums[way][1] += cpu
        if n:
            for way, (wall, cpu) in sums.items():
                times[way].append((1000 * wall / len(files), 1000 * cpu / len(files)))
    for peer in peers.values():
        peer.close()
    return times


def ratios(ours: list[tuple[float, float]], base: list[tuple[float, float]], clock: int) -> list[float]:
    return [o[clock] / b[clock] for o, b in zip(ours, base, strict=True)]


def report(times: dict[str, list[tuple[float, float]]], arguments: argparse.Namespace) -> None:
    rows = {}
    for way, values in times.items():
        rows[way] = {}
        for clock, name in enumerate(("wall", "cpu")):
            against = ratios(values, times["read_write"], clock)
            rows[way][f"{name}_ms"] = round(statistics.median(v[clock] for v in values), 3)
            rows[way][f"{name}_times_read_write"] = round(statistics.median(against), 2)
            rows[way][f"{name}_spread"] = [round(min(against), 2), round(max(against), 2)]
            rows[way][f"{name}_times_rwid"] = round(
                statistics.median(ratios(values, times["rwid"], clock)), 2
            )
    command = f"python -m benchmarks.deid.bench_header --files {arguments.files} --rounds {arguments.rounds}"
    book = {
        "what": "ms per 0.5 MB CT (512 x 512 int16, 138 top-level elements), one process, files in the page cache; "
        "medians over rounds, ways shuffled in blocks of 20 files; ratios are medians of ratios within a round",
        "command": command + "".join(f" --peer {word.partition('=')[0]}=PYTHON" for word in arguments.peer),
        "python": sys.version.split()[0],
        "pydicom": pydicom.__version__,
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "ways": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(book, indent=1) + "\n")
    print(json.dumps(book, indent=1))


if __name__ == "__main__":
    main()
