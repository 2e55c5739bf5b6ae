"""Runs: tuning in a process of its own, and what it found out. Wiring only: the loop is training.tune's work.

Tuning is a child through Dagster Pipes: it outlives a reload of this code, dies with its run, resumes on retry, and its
reports become observations. What does not belong here: torch, which only the child loads.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.pipes.context import PipesMessageHandler
from dagster_pipes import PipesParams
from pydantic import Field

from assets.guarded import guarded
from assets.leash import leashed
from assets.metadata import read_verdicts, run_facts
from assets.partitions import runs
from assets.resources import Progress, RwidHome

MAX_RETRIES = 2
"""How often a run whose process was killed goes on by itself."""

STOP_WITHIN_S = 20.0
"""How long a child may take to keep its state when its run is cancelled."""

WRONG_USE = 2
"""The exit code by which training says that its configuration is wrong."""

OBSERVE_EVERY_S = 2.0
"""Reports that come faster than this are not all observed; those that end an epoch are."""


class TuneConfig(dg.Config):
    """What to tune. Empty: the spec that lies in the run's folder."""

    spec: str = ""
    """Name of a recipe, or the path of a YAML file."""
    text: str = ""
    """The YAML itself, which then counts instead."""
    overrides: list[str] = Field(default_factory=list)
    """`key.sub=value`, as --set takes them."""
    cohort: str = ""
    """Name or id of a cohort; empty: the one that the spec names."""


@dg.asset(
    group_name="model",
    partitions_def=runs,
    deps=[dg.AssetDep("cohort_tokens", partition_mapping=dg.AllPartitionMapping())],
    kinds={"pytorch"},
    pool="gpu",
    description="A foundation model tuned on one cohort: a run folder with curves, predictions, weights and report.",
)
def tuned_model(
    context: dg.AssetExecutionContext,
    rwid: RwidHome,
    config: TuneConfig,
    progress: dg.ResourceParam[Progress],
) -> dg.MaterializeResult:
    """Tunes, or goes on where an earlier attempt was stopped."""
    started = time.monotonic()
    lake = rwid.lake()
    spec = guarded(_place_spec, rwid, context.partition_key, config)
    log = spec.with_name("log.txt")
    command = leashed([sys.executable, "-m", "training", str(spec), "--lake", str(lake.root)], log)
    _await_former(spec.parent)
    begin = log.stat().st_size if log.is_file() else 0
    code = _run_child(context, command, _observer(context, progress))
    if code:
        raise _failure(lake.root, context.partition_key, _last_line(log, begin), code)
    return dg.MaterializeResult(
        metadata=guarded(run_facts, lake, context.partition_key)
        | {"seconds": round(time.monotonic() - started, 2)},
        data_version=dg.DataVersion(context.partition_key),
    )


def _run_child(
    context: dg.AssetExecutionContext, command: Sequence[str], tell: Callable[[Mapping[str, Any]], None]
) -> int:
    """Runs the command through Dagster Pipes to its end; its exit code. Whatever ends the step ends the child too.

    dagster.PipesSubprocessClient would leave behind a child that does not stop within its time, and try again beside it.
    """
    with dg.open_pipes_session(context, dg.PipesTempFileContextInjector(), _Reports(tell)) as session:
        child = subprocess.Popen(command, env={**os.environ, **session.get_bootstrap_env_vars()})
        try:
            return child.wait()
        finally:
            _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Asks a child that still runs to keep its state and stop; makes it where it takes too long: the last state is kept."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _await_former(folder: Path) -> None:
    """Gives a child whose parent was killed the time to keep its state and stop; training itself refuses a second one."""
    deadline = time.monotonic() + STOP_WITHIN_S
    with (folder / ".lock").open("a") as lock:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.2)
            else:
                return


def _failure(lake_root: Path, run_id: str, last_words: str, code: int) -> dg.Failure | dg.RetryRequested:
    """What ended the child, in its own last words; or that a child which was killed should go on.

    What training gave up by itself does not go better a second time. A RetryPolicy would do it too, but Dagster also
    applies that to a run which somebody cancels.
    """
    from training.runs import RunFolder

    if code == WRONG_USE:
        return dg.Failure(last_words, metadata={"trouble": "configuration"}, allow_retries=False)
    status = (RunFolder(lake_root, run_id).read_json("status.json") or {}).get("status")
    if status in ("failed", "stopped"):
        return dg.Failure(f"Training ended with exit code {code}. {last_words}", allow_retries=False)
    return dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=5)


def _last_line(log: Path, begin: int) -> str:
    """The last line that was written after byte `begin`; empty where nothing was."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _place_spec(rwid: RwidHome, run_id: str, config: TuneConfig) -> Path:
    """The run folder's spec.json; written from the config where one is given. Refuses a spec of another run."""
    import training.spec
    from training.runs import RunFolder
    from training.spec import load_spec, parse_spec

    folder = RunFolder(rwid.lake().root, run_id)
    path = folder.path / "spec.json"
    if not (config.text or config.spec):
        if not path.is_file():
            raise dg.Failure(
                f"Run '{run_id}' has no spec. Launch it with rwid tune SPEC.", allow_retries=False
            )
        return path
    places = rwid.settings().places
    overrides = [*config.overrides, *([f"cohort={config.cohort}"] if config.cohort else [])]
    if config.text:
        import yaml

        spec = parse_spec(yaml.safe_load(config.text), overrides)
    else:
        spec = load_spec(config.spec, overrides, [places.recipes])
    from curation.cohort import find_cohort

    cohort_id = find_cohort(rwid.lake(), spec.cohort).name
    if training.spec.run_id(spec, cohort_id) != run_id:
        raise dg.Failure(
            f"The spec is not that of run '{run_id}'; it was changed since.", allow_retries=False
        )
    folder.write_json("spec.json", spec.model_copy(update={"cohort": cohort_id}).model_dump(mode="json"))
    return path


class _Reports(dg.PipesTempFileMessageReader):
    """Hands the child's custom messages on as they come, not when it has ended."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._tell = tell

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        passed_on = handler.handle_message

        def handle(message: Any) -> None:
            if message["method"] == "report_custom_message":
                self._tell(message["params"]["payload"])
            else:
                passed_on(message)

        handler.handle_message = handle  # type: ignore[method-assign]
        with super().read_messages(handler) as params:
            yield params


def _observer(context: dg.AssetExecutionContext, progress: Progress) -> Callable[[Mapping[str, Any]], None]:
    last: dict[str, Any] = {"at": 0.0, "epoch": None}

    def tell(facts: Mapping[str, Any]) -> None:
        progress.report(facts)
        now, epoch = time.monotonic(), facts.get("epoch")
        if now - last["at"] < OBSERVE_EVERY_S and epoch == last["epoch"]:
            return
        last.update(at=now, epoch=epoch)
        plain = {name: value for name, value in facts.items() if isinstance(value, str | int | float)}
        context.log_event(
            dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=plain)
        )

    return tell


VERDICTS = {
    "tuned_is_better": "Wherever it was judged, the gain's whole 95 % interval lies on its good side.",
    "report_is_complete": "No item that the data can answer is missing from the report; what is left to the author is named.",
    "gap_not_widened": "Beside no comorbidity does tuned lose more accuracy than untuned, as far as intervals tell.",
    "no_shortcut": "Scores follow nothing that merely goes with a label: no site, no device, no marker at the border.",
    "no_near_duplicates": "No more judged studies look like one that was learned from than chance would have it.",
}
"""Checks of an evaluation: training.report.verdicts says each."""


@dg.asset(
    group_name="model",
    partitions_def=runs,
    deps=["tuned_model"],
    kinds={"python"},
    check_specs=[
        dg.AssetCheckSpec(name, asset="evaluation", description=text) for name, text in VERDICTS.items()
    ],
    description="Tuned beside untuned, per site always: metrics with intervals, subgroups, calibration, verdict.",
)
def evaluation(
    context: dg.AssetExecutionContext, rwid: RwidHome
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Reads the finished run folder and shows its metrics and its verdicts."""
    found = guarded(read_verdicts, rwid.lake(), context.partition_key)
    yield dg.MaterializeResult(metadata=found.facts, data_version=dg.DataVersion(context.partition_key))
    for name in VERDICTS:
        yield dg.AssetCheckResult(
            check_name=name,
            passed=found.of[name]["passed"],
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"verdict": found.of[name]["text"]},
        )
