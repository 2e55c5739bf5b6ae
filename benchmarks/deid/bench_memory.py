"""Memory and seconds to de-identify one 500 MB multi-frame object; the pixels are never in memory.

Run: python -m benchmarks.deid.bench_memory [--frames 1000]
Writes benchmarks/results/deid_memory.json. Growth is peak resident memory after minus before, in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.deid.synthetic import write_big

RESULT = Path(__file__).parents[1] / "results" / "deid_memory.json"


def measure(folder: Path) -> dict[str, float]:
    """In this process: de-identify folder/src into folder/dst."""
    from curation.deid.folder import deidentify_folder
    from curation.deid.policy import compile_policy, load_profile
    from curation.deid.pseudonyms import Pseudonyms

    policy, pseudonyms = compile_policy(load_profile("research")), Pseudonyms(b"b" * 32)
    before = private_mib()
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin, cpu = time.perf_counter(), time.process_time()
    counts = deidentify_folder(folder / "src", folder / "dst", policy, pseudonyms, "bench")
    return {
        "released": counts["released"],
        "seconds": round(time.perf_counter() - begin, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "private_growth_mib": round(private_mib() - before, 1),
        "peak_resident_growth_mib": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - peak_before, 1
        ),
    }


def private_mib() -> float:
    """Resident memory that belongs to this process alone, without mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--child", default="")
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(Path(arguments.child))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "src").mkdir()
        write_big(folder / "src" / "big.dcm", arguments.frames)
        size = (folder / "src" / "big.dcm").stat().st_size
        command = [sys.executable, "-m", "benchmarks.deid.bench_memory", "--child", name]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    book = {
        "what": f"one multi-frame object of {size / 1e6:.0f} MB ({arguments.frames} frames), one process",
        "note": "peak resident counts mapped file pages: the digest reads the whole file through a mapping",
        "command": f"python -m benchmarks.deid.bench_memory --frames {arguments.frames}",
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        **found,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(book, indent=1) + "\n")
    print(json.dumps(book, indent=1))


if __name__ == "__main__":
    main()
