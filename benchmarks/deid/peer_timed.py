"""A peer's side of bench_header: runs in the peer's own interpreter. Lines in: SRC<tab>DST; out: wall and CPU seconds."""

from __future__ import annotations

import sys
import time

from peer_driver import PEERS  # beside this file, which runs as a script


def main() -> None:
    _, one = PEERS[sys.argv[1]]()
    for line in sys.stdin:
        src, dst = line.rstrip("\n").split("\t")
        begin, cpu = time.perf_counter(), time.process_time()
        one(src, dst)
        print(time.perf_counter() - begin, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
