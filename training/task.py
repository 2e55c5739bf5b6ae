"""What a task is: everything that differs between kinds, so that the tuner asks instead of assuming.

What belongs here: the contract that every class of `tasks/` keeps, and making the task of a spec. What does not: how heads
are solved (probe), arithmetic of metrics (metrics, continuous, survival), examples (examples).

A task is a frozen dataclass. Its fields that are keys of the spec's `task` are filled from there; the others have defaults and
are filled by `prepared`. One that answers yes/no questions starts from `tasks.yes_no.YesNo`, and has only its targets and loss
to say. The order in which a run asks:

    prepared -> outputs, targets, training_targets, watched, groups -> problems, warnings, site_association
    -> fit_probe, fit_baseline -> loss, watch (many times) -> answers, operating_points -> measure, is_judged, n_positive

Shapes: N members of the cohort, L labels, C outputs, B of a batch. A task may put more axes behind C (masks, say), as long as
what it gives to `measure` is one column an output. Heads: `fit_probe` gives a frozen head with `logits(features)`;
`method.head_module` makes the torch module that goes on learning from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from training import spec
from training.probe import Head, Log, Seats
from training.tasks import KINDS

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]


class Task(Protocol):
    """A class of `tasks/`. Labels arrive as float64 [N, L], NaN unknown; where labels are yes/no: 1, 0, -1 uncertain."""

    @property
    def headline(self) -> str:
        """The metric by which a run is summed up; metrics.LOWER_IS_BETTER says which way it counts."""

    @property
    def has_probabilities(self) -> bool:
        """Whether answers are chances of yes/no questions: only then there are operating points, calibration, reliability,
        DeLong, the shortcut audit of each label, and DICOM SR."""

    @property
    def reads(self) -> str:
        """What a run shows: images, text (training/reading.py), pairs of both (training/pairs.py), images whose masks it learns
        (training/masks.py), or questions about images (training/dialogue.py); `masks` has labels that name structures, not labels of the cohort."""

    @property
    def in_units(self) -> frozenset[str]:
        """Metrics in the unit of a label, which must not be averaged over outputs."""

    @property
    def arms(self) -> tuple[str, str]:
        """Names (report.BASELINES) of the untuned arm of `probe`, and of every other method."""

    # -- what is true

    def prepared(self, values: Floats, train: NDArray[np.bool_]) -> Self:
        """The task once it has looked at the labels [N, L] of the train split (centre and spread of a measurement, say)."""

    def state(self) -> Mapping[str, list[float]]:
        """Fields that `prepared` filled, as JSON: kept with the released head, given back by `find_task`."""

    def outputs(self, values: Floats) -> tuple[str, ...]:
        """Names of the C outputs; each is judged as a question of its own."""

    def targets(self, values: Floats, n_outputs: int) -> Floats:
        """Truth for evaluation, [N, C] in the unit of `answers`, NaN where it is not certain."""

    def training_targets(self, values: Floats, n_outputs: int) -> Floats:
        """Truth for the loss, [N, C] in the unit of the logits, NaN where the loss must not look."""

    def watched(self, values: Floats, n_outputs: int) -> Floats:
        """Truth by which logits are judged while they learn, [N, C], NaN where it is not known."""

    def groups(self, column: Floats) -> NDArray[np.int64]:
        """[N] which cell each known training target of one output belongs to, for loss weights by label."""

    # -- refusals, before compute

    def problems(self, names: Sequence[str], targets: Floats) -> list[str]:
        """Sentences that refuse a run, from the truth [n, C] of the train split; each says the remedy."""

    def warnings(self, names: Sequence[str], targets: Floats, split: str) -> list[str]:
        """Sentences to read before a run, from the truth [n, C] of the split `tune` or `test`."""

    def site_association(self, site: NDArray[np.str_], column: Floats) -> float | None:
        """How far the site tells known truth [n] of one output, 0 not at all to 1 wholly; None where that has no meaning."""

    # -- learning

    def fit_probe(
        self,
        features: NDArray[np.float32],
        targets: Floats,
        weights: Floats,
        watched: Floats,
        seats: Seats,
        log: Log,
    ) -> Head:
        """The best head on frozen features [N, F], its strength chosen on the tune split; starts every other method."""

    def fit_baseline(self, features: NDArray[np.float32], targets: Floats) -> Head:
        """What the features [n, F] of the train split give without any fit: the untuned arm of `probe`."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Scalar from logits, targets (NaN: not looked at) and weights, each [B, C]."""

    def watch(self, logits: Floats, watched: Floats) -> tuple[tuple[float, float], dict[str, float]]:
        """How good logits [n, C] of the tune split are: a score to make large (ties by its second part), and curves by name."""

    # -- judging

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """[B, C] what is written and judged: a probability in 0..1, or a value in its own unit."""

    def operating_points(self, truth: Floats, answers: Floats) -> list[float | None]:
        """One threshold an output from truth and answers [n, C] of the tune split; None where there is none."""

    def measure(
        self, truth: Floats, answers: Floats, thresholds: Floats
    ) -> Callable[[Floats], dict[str, Floats]]:
        """Every metric of one output, truth, answers and thresholds [n], as a function of weights [R, n] that gives each [R].

        A row of weights is a bootstrap replicate; `headline` must be among the names.
        """

    def is_judged(self, truth: Floats) -> bool:
        """Whether truth [n] of one output lets it count in the mean over outputs."""

    def n_positive(self, truth: Floats) -> int | None:
        """Positives among truth [n]; None where there is no such thing."""


def cohort_labels(asked: spec.Task) -> tuple[str, ...]:
    """Those labels of a spec's task that the cohort must have."""
    return () if cast(Task, KINDS[asked.kind]).reads == "masks" else asked.labels


def find_task(asked: spec.Task, state: Mapping[str, Sequence[float]] | None = None) -> Task:
    """The task of a spec; `state`: what a finished run kept of it. The spec has refused unknown kinds already."""
    kind = KINDS[asked.kind]
    wanted = {f.name: getattr(asked, f.name) for f in fields(kind) if f.name in type(asked).model_fields}
    task = kind(**wanted)
    return cast(Task, replace(task, **{k: tuple(v) for k, v in (state or {}).items()}))
