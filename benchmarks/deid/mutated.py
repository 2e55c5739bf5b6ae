"""One mutated input on the folder road, in a worker: what was written, what it still holds, how long it took.

What belongs here: the worker's part, in a module that workers can import. What does not: the run and its sums (bench_mutations).
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.deid.corpus.answer_key import File, Planted, read_rows
from benchmarks.deid.leak_search import LeakSearch
from benchmarks.deid.mutations import mutate
from curation.deid.folder import deidentify_folder
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms


@dataclass(slots=True)
class Bench:
    """What a worker needs: the unbroken files, the search, the system."""

    sources: list[Path]
    search: LeakSearch
    policy: Policy
    pseudonyms: Pseudonyms
    seed: int
    known: set[str]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one broken file."""

    mutation: str
    base: str
    withheld: str
    leaked: tuple[tuple[str, str], ...]
    leaked_unbroken: int
    seconds: float
    peak_mib: int


def make_bench(corpus: Path, seed: int) -> Bench:
    """The unbroken files that conform, and what each lets out by itself: that is no fault of a mutation."""
    planted = read_rows(corpus / "planted.parquet", Planted)
    files = [f for f in read_rows(corpus / "files.parquet", File) if f.is_valid and not f.may_withhold]
    policy, pseudonyms = (
        compile_policy(load_profile("research")),
        Pseudonyms(b"a key of the benchmark, 32 bytes"),
    )
    bench = Bench(
        [corpus / "files" / f.file for f in files], LeakSearch(planted), policy, pseudonyms, seed, set()
    )
    for source in bench.sources:
        bench.known |= set(_run(bench, source.read_bytes())[1])
    return bench


def _run(bench: Bench, data: bytes) -> tuple[str, dict[str, str], float]:
    """Why it was withheld, what was found in anything written, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        src, dst = Path(folder, "src"), Path(folder, "dst")
        src.mkdir()
        (src / "one.dcm").write_bytes(data)
        begin = time.perf_counter()
        book: dict[str, Any] = dict(deidentify_folder(src, dst, bench.policy, bench.pseudonyms, "mutated"))
        seconds = time.perf_counter() - begin
        found = {}
        for path in dst.rglob("*"):
            if path.is_file():
                found |= bench.search.in_file(path)
    return ",".join(book["withheld"]), found, seconds


def take(bench: Bench, number: int) -> Result:
    """One broken file through the folder road."""
    base = bench.sources[number % len(bench.sources)]
    name, data = mutate(base.read_bytes(), f"{bench.seed} {number}")
    withheld, found, seconds = _run(bench, data)
    leaked = tuple((piece, form) for piece, form in found.items() if piece not in bench.known)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Result(name, base.name, withheld, leaked, len(found) - len(leaked), seconds, peak)
