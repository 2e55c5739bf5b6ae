"""How a failed or stopped run is told to who launched it."""

import io
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from assets.console import Bar
from assets.instance import opened
from assets.launch import RunFailedError, _raise_failure, await_turn
from curation.settings import load_settings, open_home


def ended_by(error: BaseException) -> dg.ExecuteInProcessResult:
    @dg.op
    def step() -> None:
        raise error

    @dg.job
    def work() -> None:
        step()

    return work.execute_in_process(raise_on_error=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), dg.DagsterExecutionInterruptedError()], ids=repr)
def test_ctrl_c_is_no_failure_and_the_same_command_goes_on(error: BaseException) -> None:
    with pytest.raises(
        RunFailedError, match=r"^curating was stopped\. Give the same command again: it goes on\.$"
    ):
        _raise_failure(ended_by(error), "curating")


def test_an_error_is_told_by_its_kind_and_step_without_its_words() -> None:
    with pytest.raises(RunFailedError, match=r"^curating failed at step: ZeroDivisionError\."):
        _raise_failure(ended_by(ZeroDivisionError("a name of a patient")), "curating")


def test_who_waits_for_its_turn_says_so_and_goes_on_when_it_comes(tmp_path: Path) -> None:
    told = io.StringIO()
    with opened(open_home(load_settings(tmp_path))) as instance:
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("gpu")
        await_turn(instance, "gpu", Bar(Console(file=told)), every_s=0.01)
        assert not told.getvalue()

        assert storage.claim_concurrency_slot("gpu", "another-run", "tuned_model").is_claimed
        free = threading.Timer(1.0, lambda: storage.free_concurrency_slots_for_run("another-run"))
        began = time.monotonic()
        free.start()
        await_turn(instance, "gpu", Bar(Console(file=told)), every_s=0.01)
        assert time.monotonic() - began >= 1.0
    assert told.getvalue().count("waits for its turn") == 1
