"""Mutated inputs on the folder road: identities in what is released, crashes, and time over the limit.

Run: python -m benchmarks.deid.bench_mutations [--count 10000] [--first 0] [--seed 1] [--side dev|test] [--failures FILE]
Slices: `--first 5000 --count 1000` takes the same inputs as a whole run would there. Each input runs as a folder of one file in a
supervised worker of its own deadline. Writes benchmarks/results/deid_mutations_SIDE.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.deid.bench_corpus import RESULTS
from benchmarks.deid.corpus.generate import write_corpus
from benchmarks.deid.mutated import make_bench, take
from curation.engine import map_items

DEADLINE_S = 20.0
SLOW_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--side", choices=("dev", "test"), default="dev")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--failures", type=Path)
    parser.add_argument("--no-result", action="store_true")
    arguments = parser.parse_args()
    if arguments.failures and arguments.side == "test":
        parser.error("failures of the test side are not written out; leave --failures away")
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name)
        write_corpus(corpus, arguments.side, arguments.seed, 2)
        numbers = range(arguments.first, arguments.first + arguments.count)
        begin = time.perf_counter()
        outcomes = list(
            map_items(take, numbers, workers=arguments.workers, deadline_s=DEADLINE_S, memory_mib=4096, initializer=make_bench, initargs=(corpus, arguments.seed))
        )  # fmt: skip
        minutes = (time.perf_counter() - begin) / 60
    results = [o.value for o in outcomes if o.value is not None]
    broken = [(numbers[o.index], o.refused, o.fault) for o in outcomes if o.value is None]
    leaks = [(numbers[o.index], o.value) for o in outcomes if o.value is not None and o.value.leaked]
    slow = [
        (numbers[o.index], o.value.seconds)
        for o in outcomes
        if o.value is not None and o.value.seconds > SLOW_S
    ]
    book = {
        "what": "mutated inputs through `rwid deid`, profile research: identities found in anything written, crashes, inputs over 5 s",
        "command": f"python -m benchmarks.deid.bench_mutations --side {arguments.side} --seed {arguments.seed} --first {arguments.first} --count {arguments.count}",
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
        "load": os.getloadavg(),
        "inputs": len(outcomes),
        "released": sum(not r.withheld for r in results),
        "withheld": dict(Counter(r.withheld for r in results if r.withheld).most_common()),
        "inputs_that_leaked": len(leaks),
        "identities_leaked": sum(len(r.leaked) for _, r in leaks),
        "identities_that_leak_unbroken_too": sum(r.leaked_unbroken for r in results),
        "leaks_by_mutation": dict(Counter(r.mutation for _, r in leaks).most_common()),
        "crashed": dict(Counter(fault or reason for _, reason, fault in broken).most_common()),
        "over_5_s": len(slow),
        "slowest_s": round(max((r.seconds for r in results), default=0), 2),
        "by_mutation": dict(sorted(Counter(r.mutation for r in results).items())),
        "peak_mib": max((r.peak_mib for r in results), default=0),
        "minutes": round(minutes, 1),
    }  # fmt: skip
    print(json.dumps(book, indent=1))
    if arguments.failures:
        lines = [json.dumps({"crash": c}) for c in broken] + [json.dumps({"slow": s}) for s in slow]
        lines += [
            json.dumps({"leak": [n, r.mutation, r.base, r.leaked]}, ensure_ascii=False) for n, r in leaks
        ]
        arguments.failures.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not arguments.no_result:
        path = RESULTS / f"deid_mutations_{arguments.side}.json"
        path.write_text(json.dumps(book, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
