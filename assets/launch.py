"""Jobs run in this process, for the command: no server needed, and the history shows in Dagster all the same.

What belongs here: launching a job for one partition and reading what its materializations said. What does not: what
the jobs do (assets), what the command prints (commands).
"""

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.instance import PID_TAG
from assets.resources import Progress
from curation.records import ConfigurationError

if TYPE_CHECKING:
    from assets.console import Bar

LOOK_EVERY_S = 2.0
"""Between two looks whether it is this run's turn."""
_INTERRUPTED = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
"""What a step ends with after Ctrl-C: nobody's fault, and nothing to look up."""
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(Exception):
    """A run failed for a reason that is no configuration; the text holds no data."""


class ChecksFailedError(Exception):
    """Data checks of severity error did not hold; `names` says which."""

    def __init__(self, names: Sequence[str], what: str) -> None:
        super().__init__(f"{what}: {len(names)} checks failed: {', '.join(names)}.")
        self.names = list(names)


@dataclass(frozen=True)
class Launched:
    """A run that succeeded."""

    run_id: str
    materialized: Mapping[str, Mapping[str, Any]]
    """asset -> metadata as plain values."""
    warnings: Sequence[str]
    """Checks of severity warning that did not hold."""


def launch(
    instance: dg.DagsterInstance,
    job: str,
    partition_set: str,
    key: str,
    *,
    bar: "Bar | None" = None,
    config: Mapping[str, Any] | None = None,
    assets: Sequence[str] | None = None,
    pool: str | None = None,
) -> Launched:
    """Runs a job for one partition, adding the partition where it is new. With a pool it first waits for a free slot, and says so.

    Raises ChecksFailedError, ConfigurationError (the step's own words) or RunFailedError.
    """
    _quiet_dagster()
    from assets.definitions import define

    instance.add_dynamic_partitions(partition_set, [key])
    defs = define(Progress(bar.items, bar.report) if bar else Progress())
    if pool:
        await_turn(instance, pool, bar)
    result = defs.resolve_job_def(job).execute_in_process(
        run_config={**_QUIET, "ops": {op: {"config": dict(facts)} for op, facts in (config or {}).items()}},
        instance=instance,
        partition_key=key,
        asset_selection=[dg.AssetKey(name) for name in assets] if assets else None,
        tags={PID_TAG: str(os.getpid()), "launched_by": "rwid"},
        raise_on_error=False,
    )
    return _read(result, f"{job} of '{key}'")


def await_turn(
    instance: dg.DagsterInstance, pool: str, bar: "Bar | None" = None, every_s: float = LOOK_EVERY_S
) -> None:
    """Waits until the pool has a free slot; Dagster's own wait in this process is busy, and says nothing."""
    is_told = False
    while True:
        info = instance.event_log_storage.get_concurrency_info(pool)
        if info.active_slot_count < max(1, info.slot_count):
            return
        if bar and not is_told:
            bar.tell(f"Another run holds the pool {pool!r}; this one waits for its turn. Ctrl-C gives it up.")
            is_told = True
        time.sleep(every_s)


def _read(result: dg.ExecuteInProcessResult, what: str) -> Launched:
    failed = [c for c in result.get_asset_check_evaluations() if not c.passed]
    errors = [c.check_name for c in failed if c.severity == dg.AssetCheckSeverity.ERROR]
    if errors:
        raise ChecksFailedError(errors, what)
    if not result.success:
        _raise_failure(result, what)
    materialized = {}
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        materialized[made.asset_key.to_user_string()] = {k: v.value for k, v in made.metadata.items()}
    return Launched(result.run_id, materialized, [c.check_name for c in failed])


def _raise_failure(result: dg.ExecuteInProcessResult, what: str) -> None:
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        told = data.user_failure_data
        if told is not None and told.description:
            if "trouble" in (told.metadata or {}):
                raise ConfigurationError(told.description)
            raise RunFailedError(f"{what} failed at {event.step_key}: {told.description}")
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause  # Dagster wraps what a step raised
        name = (error.cls_name if error else None) or "an unknown error"
        if name in _INTERRUPTED:
            break
        raise RunFailedError(f"{what} failed at {event.step_key}: {name}. See it with rwid up.")
    raise RunFailedError(f"{what} was stopped. Give the same command again: it goes on.")


def _quiet_dagster() -> None:
    for name in ("BetaWarning", "PreviewWarning", "SupersessionWarning"):
        warnings.filterwarnings("ignore", category=getattr(dg, name))
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
