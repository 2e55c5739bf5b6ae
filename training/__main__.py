"""python -m training SPEC --lake DIR [--cohort ID] [--set key=value]: one run, by hand or launched by Dagster Pipes.

Exit codes: 0 done, 1 the run failed, 2 wrong use or configuration, 75 stopped on request (start again to go on).
SPEC is a YAML file or a recipe's name. Progress goes to standard error; the last line of standard output is one JSON
object {run_id, path, status, verdict}.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from curation.lake import LakeError
from curation.pack import PackError
from curation.records import ConfigurationError
from training.processes import is_member, join, launch
from training.runs import read_run
from training.spec import load_spec

Report = Callable[[dict[str, Any]], None]

EXIT_FAILED, EXIT_WRONG_USE, EXIT_STOPPED = 1, 2, 75
_QUIET_S = 2.0
"""Progress is told at most that often; epochs and ends always."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one TuneSpec; gives the exit code."""
    asked = _parser().parse_args(arguments)
    overrides = [*asked.set, *([f"cohort={asked.cohort}"] if asked.cohort else [])]
    stop = _stop_on_sigterm()
    try:
        spec = load_spec(asked.spec, overrides, [asked.recipes] if asked.recipes else [])
        if spec.compute.processes > 1 and not is_member():
            return launch(sys.argv[1:] if arguments is None else arguments, spec.compute.processes, stop)
        group = join(spec.compute.device)
        with _reporter(group.is_first) as report:
            from training.job import Diverged, Exhausted, Stopped
            from training.tune import tune

            try:
                path = tune(asked.lake, spec, report=report, should_stop=stop)
            except Stopped:
                print("Stopped; the same command goes on from here.", file=sys.stderr)  # noqa: T201
                return EXIT_STOPPED
            except (Diverged, Exhausted) as error:
                print(error, file=sys.stderr)  # noqa: T201
                return EXIT_FAILED
    except (ConfigurationError, PackError, LakeError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_WRONG_USE
    if not group.is_first:
        return 0
    facts = read_run(asked.lake, path.name)
    verdict = (facts["report"] or {}).get("verdict")
    answer = {"run_id": path.name, "path": str(path), "status": facts["status"], "verdict": verdict}
    print(json.dumps(answer))  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Run one TuneSpec; a killed run goes on."
    )
    parser.add_argument("spec", help="YAML file or recipe name")
    parser.add_argument("--lake", type=Path, required=True, help="the lake's folder, such as rwid-home/lake")
    parser.add_argument("--cohort", help="cohort name or id, instead of the spec's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one key; repeatable"
    )
    parser.add_argument("--recipes", type=Path, help="folder of the user's own recipes")
    return parser


def _stop_on_sigterm() -> Callable[[], bool]:
    """True once SIGTERM or Ctrl-C came: the run saves its state and ends with 75."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    signal.signal(signal.SIGTERM, hear)
    signal.signal(signal.SIGINT, hear)
    return lambda: bool(heard)


@contextmanager
def _reporter(is_first: bool) -> Iterator[Report]:
    """Where progress goes: standard error, and Dagster where it launched this process; one of a group speaks."""
    if not is_first:
        yield lambda facts: None
        return
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield _thinned(_print)
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:

        def tell(facts: dict[str, Any]) -> None:
            _print(facts)
            pipes.report_custom_message(facts)

        yield _thinned(tell)


def _thinned(tell: Report) -> Report:
    last = 0.0

    def report(facts: dict[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if facts["kind"] != "progress" or now - last >= _QUIET_S:
            last = now
            tell(facts)

    return report


def _print(facts: dict[str, Any]) -> None:
    plain = {
        k: round(v, 4) if isinstance(v, float) else v for k, v in facts.items() if k not in ("kind", "run_id")
    }
    print(facts["kind"], " ".join(f"{k}={v}" for k, v in plain.items()), file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
