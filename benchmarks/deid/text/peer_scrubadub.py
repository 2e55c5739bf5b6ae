"""The peer's side of bench_text.py: runs in an environment that holds scrubadub, as it comes. JSON lines in and out."""

from __future__ import annotations

import json
import sys
import time

import scrubadub


def main() -> None:
    scrubber = scrubadub.Scrubber()
    scrubber.clean("warm up")
    for line in sys.stdin:
        text = json.loads(line)["text"]
        begin = time.perf_counter()
        cleaned = scrubber.clean(text)
        print(json.dumps({"cleaned": cleaned, "ms": 1000 * (time.perf_counter() - begin)}), flush=True)


if __name__ == "__main__":
    main()
