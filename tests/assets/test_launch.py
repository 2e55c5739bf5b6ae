"""How a failed or stopped run is told to who launched it."""

import dagster as dg
import pytest

from assets.launch import RunFailedError, _raise_failure


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
