"""Exactly one of several classes: softmax cross-entropy.

Two ways to say the class: one label whose values are class numbers 0..K-1, or K labels of which exactly one is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.tasks.yes_no import YesNo, focal

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Multiclass(YesNo):
    """One output a class."""

    focal_gamma: float = 0.0

    is_exclusive: ClassVar[bool] = True

    def outputs(self, values: Floats) -> tuple[str, ...]:
        """The labels themselves, or `label=0`, `label=1`, ... where one label holds class numbers."""
        if len(self.labels) > 1:
            return self.labels
        known = values[~np.isnan(values)]
        n_classes = int(known.max()) + 1 if known.size else 1
        return tuple(f"{self.labels[0]}={k}" for k in range(n_classes))

    def targets(self, values: Floats, n_outputs: int) -> Floats:
        """One-hot [N, C]; NaN rows where the class is unknown, uncertain or said twice."""
        if values.shape[1] > 1:
            is_one = values == 1
            classes = np.where(is_one.sum(axis=1) == 1, is_one.argmax(axis=1), -1)
        else:
            classes = np.nan_to_num(values[:, 0], nan=-1).astype(np.int64)
        rows = np.full((len(values), n_outputs), np.nan)
        known = classes >= 0
        rows[known] = np.eye(n_outputs)[classes[known]]
        return rows

    def training_targets(self, values: Floats, n_outputs: int) -> Floats:
        """As `targets`: an uncertain class teaches nothing, whatever the spec says of uncertain labels."""
        return self.targets(values, n_outputs)

    def watched(self, values: Floats, n_outputs: int) -> Floats:
        """As `targets`: logits answer the questions that are judged."""
        return self.targets(values, n_outputs)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted mean cross-entropy over known rows, focal where asked for; a row's weight is that of its class."""
        import torch

        hot = torch.nan_to_num(targets)
        weights = (weights * hot).sum(1)  # [B, C] -> [B]; 0 where the row is unknown
        each = -(hot * logits.log_softmax(1)).sum(1)
        if self.focal_gamma:
            each = each * focal(1 - (hot * logits.softmax(1)).sum(1), self.focal_gamma)
        return (each * weights).sum() / weights.sum().clamp_min(1e-6)

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """Softmax over the classes, [B, C]."""
        return logits.softmax(1)
