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
from training.examples import Examples
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
    furthest: float = 0.0

    def beat(
        self, stage: str, progress: float, step: int = 0, eta_s: float | None = None, **values: float
    ) -> None:
        """Heartbeat, progress to the caller, and the place where a request to stop is heard outside the loop."""
        self.furthest = progress = max(
            self.furthest, progress
        )  # folds and stages overlap; a bar never goes back
        self.run.beat("running", progress=progress, step=step, eta_s=eta_s, message=stage)
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
        if self.should_stop() and stage != "tuning":
            raise Stopped


def make_job(
    spec: TuneSpec,
    run: RunFolder,
    examples: Examples,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    checkpoint_every_s: float,
) -> Job:
    """The job of a spec: device, precision, targets and weights. Raises ConfigurationError where a GPU is not there."""
    import torch

    if spec.compute.threads:
        torch.set_num_threads(spec.compute.threads)
    has_gpu = torch.cuda.is_available()
    name = spec.compute.device if spec.compute.device != "auto" else ("cuda" if has_gpu else "cpu")
    if name.startswith("cuda") and not has_gpu:
        raise ConfigurationError(
            "compute.device asks for a GPU, and torch sees none. Set compute.device to auto or cpu."
        )
    device = torch.device(name)
    precision = spec.compute.precision
    train = examples.split == "train"
    task = find_task(spec.task).prepared(examples.labels, train)
    names = task.outputs(examples.labels)
    targets = task.training_targets(examples.labels, len(names))
    weights = np.zeros_like(targets)
    weights[train] = batches.loss_weights(
        targets[train], examples.site[train], spec.data.weights, task.groups
    )
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
        precision=("bf16" if device.type == "cuda" else "fp32") if precision == "auto" else precision,
        report=report,
        should_stop=should_stop,
        checkpoint_every_s=checkpoint_every_s,
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
