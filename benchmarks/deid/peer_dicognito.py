"""The peer's side of bench_header.py: runs in an environment that holds dicognito. Lines in: SRC<tab>DST; out: seconds."""

from __future__ import annotations

import sys
import time

import pydicom
from dicognito.anonymizer import Anonymizer


def main() -> None:
    anonymizer = Anonymizer(seed="bench")
    for line in sys.stdin:
        src, dst = line.rstrip("\n").split("\t")
        begin, cpu = time.perf_counter(), time.process_time()
        with pydicom.dcmread(src) as dataset:
            anonymizer.anonymize(dataset)
            dataset.save_as(dst)
        print(time.perf_counter() - begin, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
