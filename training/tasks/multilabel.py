"""Several yes/no labels at once, any of them unknown: masked binary cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.tasks.yes_no import YesNo, focal

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

_UNCERTAIN_AS = {"ignore": np.nan, "ones": 1.0, "zeros": 0.0, "soft": 0.5}


@dataclass(frozen=True)
class Multilabel(YesNo):
    """One output a label."""

    uncertain: str = "ignore"
    focal_gamma: float = 0.0

    def outputs(self, values: Floats) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    def targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C]: 0, 1, NaN where uncertain or unknown."""
        return np.where((values == 0) | (values == 1), values, np.nan)

    def training_targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C]: uncertain (-1) as the spec says, unknown NaN."""
        return np.where(values == -1, _UNCERTAIN_AS[self.uncertain], self.targets(values, n_outputs))

    def watched(self, values: Floats, n_outputs: int) -> Floats:
        """As `targets`: logits answer the questions that are judged."""
        return self.targets(values, n_outputs)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted mean of the binary cross-entropies of known labels, focal where asked for; 0 where a batch knows none."""
        return masked_cross_entropy(logits, targets, weights, self.focal_gamma)


def masked_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, focal_gamma: float = 0.0
) -> torch.Tensor:
    """Weighted mean of the binary cross-entropies where the target is no NaN; 0 where a batch knows none.

    focal_gamma: each is multiplied by |target - chance| ^ gamma (Lin et al. 2017; for soft targets Li et al. 2020).
    """
    import torch
    from torch.nn import functional

    known = ~torch.isnan(targets)
    truth = torch.nan_to_num(targets)
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if focal_gamma:
        each = each * focal((truth - logits.sigmoid()).abs(), focal_gamma)
    weights = weights * known
    return (each * weights).sum() / weights.sum().clamp_min(1e-6)
