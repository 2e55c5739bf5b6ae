"""What every part of a run needs to know, and who teaches, who watches and who is judged.

What belongs here: the job, its folds, the two ways in which a run may end early. What does not: doing it (tune, loop).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.records import ConfigurationError
from training import batches
from training.device import settle
from training.examples import Examples
from training.groups import property_of
from training.processes import Processes
from training.runs import RunFolder
from training.spec import TuneSpec
from training.task import Task, find_task

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Stopped(Exception):  # noqa: N818 - somebody asked for it
    """The run was asked to stop; its state is kept and the same command goes on from there."""


class Diverged(Exception):  # noqa: N818 - the field's word
    """The loss is no number any more; the last good state is kept."""


class Exhausted(Exception):  # noqa: N818 - likewise
    """Memory or the disk is full; the last good state is kept and the same command goes on from there."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One fit: who teaches, who watches, and who is judged under which split's name."""

    name: str
    train: Ints
    tune: Ints
    judged: Ints
    split: NDArray[np.str_]


@dataclass
class Job:
    """What every part of a run needs to know."""

    spec: TuneSpec
    run: RunFolder
    examples: Examples
    task: Task
    names: tuple[str, ...]
    truth: Floats
    watched: Floats
    targets: Floats
    weights: Floats
    device: torch.device
    precision: str
    report: Callable[[dict[str, Any]], None]
    should_stop: Callable[[], bool]
    checkpoint_every_s: float
    processes: Processes
    furthest: float = 0.0
    noted: str = ""

    def is_asked_to_stop(self, may_agree: bool) -> bool:
        """Whether somebody wants the run to stop. Several processes hear of it together, at steps where all ask."""
        if self.processes.world == 1:
            return self.should_stop()
        return may_agree and self.processes.say(self.should_stop())

    def note(self, sentence: str) -> None:
        """What whoever looks at the run should know from now on; stands behind the stage in its status."""
        self.noted = sentence
        self.report({"kind": "note", "run_id": self.run.run_id, "message": sentence})

    def beat(
        self, stage: str, progress: float, step: int = 0, eta_s: float | None = None, **values: float
    ) -> None:
        """Heartbeat, progress to the caller, and the place where a request to stop is heard outside the loop."""
        self.furthest = progress = max(
            self.furthest, progress
        )  # folds and stages overlap; a bar never goes back
        message = f"{stage} ({self.noted})" if self.noted else stage
        self.run.beat("running", progress=progress, step=step, eta_s=eta_s, message=message)
        self.report(
            {
                "kind": "progress",
                "run_id": self.run.run_id,
                "stage": stage,
                "progress": progress,
                "step": step,
                **values,
            }
        )
        if stage != "tuning" and self.should_stop():
            raise Stopped


def make_job(
    spec: TuneSpec,
    run: RunFolder,
    examples: Examples,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    checkpoint_every_s: float,
    processes: Processes,
) -> Job:
    """The job of a spec: device, precision, targets and weights. Raises ConfigurationError where a GPU is not there."""
    device, precision = settle(spec.compute, processes.local)
    train = examples.split == "train"
    task = find_task(spec.task).prepared(examples.labels, train)
    names = task.outputs(examples.labels)
    targets = task.training_targets(examples.labels, len(names))
    weights, values = np.zeros_like(targets), property_of(examples, spec.data.project)
    weights[train] = batches.loss_weights(targets[train], values[train], spec.data.weights, task.groups)
    return Job(
        spec=spec,
        run=run,
        examples=examples,
        task=task,
        names=names,
        truth=task.targets(examples.labels, len(names)),
        watched=task.watched(examples.labels, len(names)),
        targets=targets,
        weights=weights,
        device=device,
        precision=precision,
        report=report,
        should_stop=should_stop,
        checkpoint_every_s=checkpoint_every_s,
        processes=processes,
    )


def plan_folds(examples: Examples, policy: str) -> list[Fold]:
    """The cohort's own split; and for leave_one_site_out one fold a site of it, judged as `holdout`."""

    def where(split: str, other_than: str = "") -> Ints:
        return np.flatnonzero((examples.split == split) & (examples.site != other_than))

    everyone = np.arange(len(examples))
    folds = [Fold("cohort", where("train"), where("tune"), everyone, examples.split)]
    if policy == "leave_one_site_out":
        sites = sorted(set(examples.site[examples.split != "holdout"].tolist()))
        if len(sites) < 2:
            raise ConfigurationError("split.policy leave_one_site_out needs two sites; this cohort has one.")
        for site in sites:
            judged = np.flatnonzero(examples.site == site)
            name = np.full(len(judged), "holdout")
            folds.append(Fold(f"without-{site}", where("train", site), where("tune", site), judged, name))
    return folds


def named(fold: Fold, values: dict[str, float]) -> dict[str, float]:
    """Curves of the cohort's own fold bear plain names, others the fold's name in front."""
    return values if fold.name == "cohort" else {f"{fold.name}/{k}": v for k, v in values.items()}
