import os
import stat
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.instance import PID_TAG, opened, reap
from curation.settings import load_settings, open_home


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return dg.DagsterInstance.ephemeral()


def started(instance: dg.DagsterInstance, pid: int) -> str:
    run = instance.create_run_for_job(_job(), tags={PID_TAG: str(pid)})
    instance.handle_new_event(_start_event(run.run_id))
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED
    return run.run_id


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def idle() -> None:
        nothing()

    return idle


def _start_event(run_id: str) -> dg.EventLogEntry:
    import time

    event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "idle", message="started")
    return dg.EventLogEntry(
        error_info=None, level=20, user_message="", run_id=run_id, timestamp=time.time(), dagster_event=event
    )


def test_a_run_whose_process_is_gone_is_reported_failed(instance: dg.DagsterInstance) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    run_id = started(instance, gone.pid)
    assert reap(instance) == [run_id]
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE


def test_a_run_that_is_alive_is_left_alone(instance: dg.DagsterInstance) -> None:
    run_id = started(instance, os.getpid())
    assert reap(instance) == []
    assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTED


def test_a_home_that_somebody_else_has_open_is_not_reaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RWID_HOME", "")
    monkeypatch.setenv("DAGSTER_HOME", "")
    places = open_home(load_settings(tmp_path / "home"))
    with opened(places) as first:
        gone = subprocess.Popen([sys.executable, "-c", "pass"])
        gone.wait()
        run_id = started(first, gone.pid)
        with opened(places) as second:
            assert second.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTED
    with opened(places) as third:
        assert third.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE


def test_dagsters_folder_is_its_owners_alone_and_keeps_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RWID_HOME", "")
    monkeypatch.setenv("DAGSTER_HOME", "")
    places = open_home(load_settings(tmp_path / "home"))
    with opened(places) as instance:
        assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"
        assert not instance.telemetry_enabled
    assert stat.S_IMODE(places.dagster.stat().st_mode) == 0o700
