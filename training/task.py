"""What a task is: how a cohort's labels become targets, how logits are judged and how they become probabilities.

What belongs here: the contract that every module of `tasks/` keeps, and finding the module of a kind. What does not:
heads (one linear layer, method), metrics (metrics), examples (examples).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from training.tasks import KINDS

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]


class Task(Protocol):
    """A module of `tasks/`. Labels arrive as float64 [N, L]: 1, 0, -1 uncertain, NaN unknown; `survival` has days.

    horizons: days after the study, of `survival` alone; none: chosen from the events seen.
    """

    def outputs(self, names: Sequence[str], values: Floats, horizons: Sequence[float]) -> tuple[str, ...]:
        """Names of the C outputs, each judged as one binary question."""

    def targets(self, values: Floats, n_outputs: int, horizons: Sequence[float]) -> Floats:
        """Truth for evaluation, [N, C] of 0 and 1, NaN where it is not certain."""

    def training_targets(
        self, values: Floats, n_outputs: int, uncertain: str, horizons: Sequence[float]
    ) -> Floats:
        """Truth for the loss, [N, C] in 0..1, NaN where the loss must not look."""

    def watched(self, values: Floats, n_outputs: int, horizons: Sequence[float]) -> Floats:
        """Truth by which logits are judged while they learn, [N, C] of 0 and 1, NaN where it is not known."""

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Scalar from logits, targets (NaN: not looked at) and weights, each [B, C]."""

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """[B, C] in 0..1."""

    def is_exclusive(self) -> bool:
        """Whether exactly one output is true."""


def find_task(kind: str) -> Task:
    """The module of a task kind; spec has refused unknown kinds already."""
    return cast(Task, KINDS[kind])
