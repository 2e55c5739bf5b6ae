"""One attempt at a run: alone in its folder, on record from start to end, however it ends.

What belongs here: the lock, run.parquet and the last word in status.json. What does not: what is computed (tune).
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq

from curation.lake import LakeError
from curation.pack import PackError
from curation.records import ConfigurationError, Run
from training.job import Diverged, Stopped
from training.runs import RunFolder
from training.spec import TuneSpec


class Clock:
    """Compute seconds of all attempts."""

    def __init__(self, former: float) -> None:
        self.former, self.start = former, time.monotonic()

    def seconds(self) -> float:
        """Seconds so far."""
        return self.former + time.monotonic() - self.start


@contextmanager
def alone(run: RunFolder) -> Iterator[None]:
    """One process a run; the lock falls with the process, however it ends."""
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"Run {run.run_id} is being computed by another process. Wait, or stop that one."
            ) from None
        yield


@contextmanager
def recorded(
    run: RunFolder, spec: TuneSpec, cohort_id: str, report: Callable[[dict[str, Any]], None]
) -> Iterator[Clock]:
    """Keeps run.parquet and status.json true, whatever happens inside."""
    path = run.path / "run.parquet"
    former = pq.read_table(path).to_pylist()[0] if path.is_file() else {}
    clock = Clock(float(former.get("seconds", 0.0)))
    began = former.get("started_at_utc") or datetime.now(UTC)

    def record(status: str) -> None:
        device = (run.read_json("env.json") or {}).get("device", "cpu")
        row = Run(
            run_id=run.run_id,
            name=spec.name,
            cohort_id=cohort_id,
            status=status,
            model=spec.model.id,
            method=spec.method.kind,
            task=spec.task.kind,
            started_at_utc=began,
            seconds=clock.seconds(),
            device=device,
            seed=spec.seed,
        )
        run.write_run(row)

    record("running")
    run.beat("running", progress=0.0, step=0, message="starting")
    try:
        yield clock
    except BaseException as error:
        # whatever ended it, the folder must say so; the error itself goes on
        status = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
        is_ours = isinstance(error, ConfigurationError | Diverged | PackError | LakeError)
        message = (
            str(error)
            if is_ours
            else "stopped; start again to go on"
            if status == "stopped"
            else type(error).__name__
        )
        record(status)
        last = run.read_json("status.json") or {}
        run.beat(
            status, progress=float(last.get("progress", 0)), step=int(last.get("step", 0)), message=message
        )
        report({"kind": status, "run_id": run.run_id, "message": message})
        raise
    record("done")
