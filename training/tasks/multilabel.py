"""Several yes/no labels at once, any of them unknown: masked binary cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

_UNCERTAIN_AS = {"ignore": np.nan, "ones": 1.0, "zeros": 0.0, "soft": 0.5}


def outputs(names: Sequence[str], values: Floats, horizons: Sequence[float] = ()) -> tuple[str, ...]:
    """One output a label."""
    return tuple(names)


def targets(values: Floats, n_outputs: int, horizons: Sequence[float] = ()) -> Floats:
    """[N, C]: 0, 1, NaN where uncertain or unknown."""
    return np.where((values == 0) | (values == 1), values, np.nan)


def training_targets(
    values: Floats, n_outputs: int, uncertain: str, horizons: Sequence[float] = ()
) -> Floats:
    """[N, C]: uncertain (-1) as the spec says, unknown NaN."""
    return np.where(values == -1, _UNCERTAIN_AS[uncertain], targets(values, n_outputs))


def watched(values: Floats, n_outputs: int, horizons: Sequence[float] = ()) -> Floats:
    """As `targets`: logits answer the questions that are judged."""
    return targets(values, n_outputs)


def loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of the binary cross-entropies of known labels; 0 where a batch knows none."""
    import torch
    from torch.nn import functional

    known = ~torch.isnan(targets)
    each = functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(targets), reduction="none")
    weights = weights * known
    return (each * weights).sum() / weights.sum().clamp_min(1e-6)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Sigmoid of each output, [B, C]."""
    return logits.sigmoid()


def is_exclusive() -> bool:
    """Labels may hold together."""
    return False
