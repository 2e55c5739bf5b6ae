"""The home's Dagster: its folder, its instance, and the runs that a killed host left behind.

Dagster's own run monitoring does not notice a host that died with all its processes: such runs would stay STARTED for
ever. So whoever opens the home holds a lock, and the first one in reports them failed.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import dagster as dg

from curation.settings import Places

PID_TAG = "rwid/pid"
_CLOCKS_DIFFER_S = 10.0
UNFINISHED = [
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
    dg.DagsterRunStatus.NOT_STARTED,
]


def prepare(places: Places) -> Path:
    """DAGSTER_HOME, made on first use with its dagster.yaml and workspace.yaml; readable by its owner alone."""
    places.dagster.mkdir(parents=True, exist_ok=True)
    places.dagster.chmod(0o700)
    for name in ("dagster.yaml", "workspace.yaml"):
        if not (places.dagster / name).exists():
            with resources.as_file(resources.files("assets") / name) as shipped:
                shutil.copyfile(shipped, places.dagster / name)
    return places.dagster


@contextmanager
def opened(places: Places) -> Iterator[dg.DagsterInstance]:
    """The home's instance, with RWID_HOME and DAGSTER_HOME set for this process and those it starts."""
    folder = prepare(places)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["RWID_HOME"] = str(places.home)
    with (folder / ".alive").open("a") as lock, dg.DagsterInstance.get() as instance:
        if _is_alone(lock.fileno()):
            reap(instance)
        fcntl.flock(lock, fcntl.LOCK_SH)  # falls with this process, however it ends
        yield instance


def _is_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def reap(instance: dg.DagsterInstance) -> list[str]:
    """Reports runs failed whose process is gone, and frees the pools they held; their run ids."""
    reaped = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        if _is_alive(_pid_of(instance, run), record.start_time or record.update_timestamp.timestamp()):
            continue
        instance.report_run_failed(run, "The process that ran this is gone; launch it again, and it goes on.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        reaped.append(run.run_id)
    return reaped


def _pid_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int | None:
    """The process that runs it: a tag of the command's own runs, an event of those that Dagster launched."""
    if PID_TAG in run.tags:
        return int(run.tags[PID_TAG])
    for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        metadata = event.dagster_event.engine_event_data.metadata if event.dagster_event else {}
        if "pid" in metadata:
            return int(str(metadata["pid"].value))
    return None


def _is_alive(pid: int | None, seen_at: float) -> bool:
    """Whether that process exists and is not a younger one that was given the same number."""
    if pid is None:
        return False
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(
            int(x.split()[1]) for x in Path("/proc/stat").read_text().splitlines() if x.startswith("btime")
        )
    except FileNotFoundError:
        return False
    if fields[0] == "Z":
        return False
    started = boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return started < seen_at + _CLOCKS_DIFFER_S
