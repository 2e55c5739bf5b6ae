"""One attempt at a run: alone in its folder, on record from start to end, however it ends.

What belongs here: the lock, run.parquet and the last word in status.json. What does not: what is computed (tune).
"""

from __future__ import annotations

import errno
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
from training.job import Diverged, Exhausted, Stopped
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
        for path in run.path.glob("**/.*-*-*"):  # what a killed attempt was writing aside
            path.unlink(missing_ok=True)
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
        with _told_of_full_disk(), _told_of_no_memory():
            yield clock
    except BaseException as error:
        # whatever ended it, the folder must say so; the error itself goes on
        status = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
        is_ours = isinstance(error, ConfigurationError | Diverged | Exhausted | PackError | LakeError)
        message = (
            str(error)
            if is_ours
            else "stopped; start again to go on"
            if status == "stopped"
            else type(error).__name__
        )
        with _heeding_full_disk(error):
            last = run.read_json("status.json") or {}
            run.beat(
                status,
                progress=float(last.get("progress", 0)),
                step=int(last.get("step", 0)),
                message=message,
            )
            record(status)
        report({"kind": status, "run_id": run.run_id, "message": message})
        raise
    record("done")


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def _told_of_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Exhausted(
            "The disk is full; the last checkpoint is whole. Make room, then the same command goes on from there."
        ) from error


@contextmanager
def _told_of_no_memory() -> Iterator[None]:
    """Where no smaller pass could help; a step that is too large for memory says so itself (step)."""
    try:
        yield
    except MemoryError as error:
        raise Exhausted(
            "Memory ran out; the last checkpoint is whole. Give the process more, or lower compute.memory_mb, "
            "model.input.size or model.input.tiles; then start again."
        ) from error


@contextmanager
def _heeding_full_disk(reason: BaseException) -> Iterator[None]:
    """A disk that is too full even for the last word must not hide why the run ended."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL or not isinstance(reason, Exhausted):
            raise
