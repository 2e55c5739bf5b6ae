"""Which pixels a structure covers: a light decoder on patch tokens, taught by the SEG objects of the lake.

Labels name structures of the segmentations (curation.masks), not labels of the cohort. Logits are [B, C, T, g, g] on a grid of
four times the patches' side; targets are shares of each cell that the structure covers, NaN where nobody looked. A run is
judged on masks as large as the tiles (training/masks): one Dice a series and structure, where the reference is not empty.

What does not belong here: masks (curation.masks), the decoder (decoder), the order of fitting (masks).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from training import probe

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SMOOTH = 1.0
"""Pixels added above and below the line of Dice, so that an empty reference has a gradient."""


@dataclass(frozen=True)
class Segmentation:
    """One output a structure."""

    labels: tuple[str, ...]

    headline: ClassVar[str] = "dice"
    has_probabilities: ClassVar[bool] = False
    reads: ClassVar[str] = "masks"
    in_units: ClassVar[frozenset[str]] = frozenset()
    arms: ClassVar[tuple[str, str]] = ("linear_patches", "base_decoder")

    def prepared(self, values: Floats, train: NDArray[np.bool_]) -> Self:
        """Nothing to learn of labels: there are none."""
        return self

    def state(self) -> dict[str, list[float]]:
        """Nothing to keep."""
        return {}

    def outputs(self, values: Floats) -> tuple[str, ...]:
        """The structures."""
        return self.labels

    def targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C] of NaN until the masks are there; then 1 where a series has a reference that is not empty."""
        return np.full((len(values), n_outputs), np.nan)

    def training_targets(self, values: Floats, n_outputs: int) -> Floats:
        """As `targets`: filled when the masks are there."""
        return self.targets(values, n_outputs)

    def watched(self, values: Floats, n_outputs: int) -> Floats:
        """As `targets`: filled when the masks are there."""
        return self.targets(values, n_outputs)

    def groups(self, column: Floats) -> Ints:
        """One: a mask has no class."""
        return np.zeros(len(column), dtype=np.int64)

    def problems(self, names: Sequence[str], targets: Floats) -> list[str]:
        """None before the masks are there; training.masks refuses what cannot be learned from them."""
        return []

    def warnings(self, names: Sequence[str], targets: Floats, split: str) -> list[str]:
        """None before the masks are there."""
        return []

    def site_association(self, site: NDArray[np.str_], column: Floats) -> float | None:
        """None: a mask has no class that a site could tell."""
        return None

    def fit_probe(
        self,
        features: NDArray[np.float32],
        targets: Floats,
        weights: Floats,
        watched: Floats,
        seats: probe.Seats,
        log: probe.Log,
    ) -> probe.Head:
        """Never asked for: pooled features hold no place."""
        raise AssertionError("segmentation has no probe on pooled features")

    def fit_baseline(self, features: NDArray[np.float32], targets: Floats) -> probe.Head:
        """Never asked for, as `fit_probe`."""
        raise AssertionError("segmentation has no baseline on pooled features")

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy of known cells plus 1 - soft Dice of each member and structure (Milletari 2016), weighted.

        logits, targets [B, C, T, g, g]; weights [B, C, 1, 1, 1]. 0 where a batch knows nothing.
        """
        import torch
        from torch.nn import functional

        known = ~torch.isnan(targets)
        truth = torch.nan_to_num(targets)
        places = (2, 3, 4)
        cells = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        n_known = known.sum(places).clamp_min(1)
        entropy = (cells * known).sum(places) / n_known  # [B, C]
        share = logits.sigmoid() * known
        both = (share * truth).sum(places)
        dice = (2 * both + _SMOOTH) / (share.sum(places) + truth.sum(places) + _SMOOTH)
        each = weights[:, :, 0, 0, 0] * known.any(4).any(3).any(2)
        return ((entropy + 1 - dice) * each).sum() / each.sum().clamp_min(1e-6)

    def watch(self, logits: Floats, watched: Floats) -> tuple[tuple[float, float], dict[str, float]]:
        """Mean Dice of members whose reference is not empty, at one half, then minus cross-entropy of known cells."""
        known = np.isfinite(watched)
        z, y = logits[known], watched[known]
        loss = float((np.logaddexp(0, z) - y * z).mean()) if known.any() else 0.0
        predicted, reference = (logits > 0) & known, np.nan_to_num(watched) >= 0.5
        places = (2, 3, 4)
        both, total = (predicted & reference).sum(places), predicted.sum(places) + reference.sum(places)
        has_any = reference.any(places)
        dice = float((2 * both[has_any] / total[has_any]).mean()) if has_any.any() else 0.0
        return (dice, -loss), {"tune/loss": loss, "tune/dice": dice}

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """What is judged already: Dice of each series, [B, C]."""
        return logits

    def operating_points(self, truth: Floats, answers: Floats) -> list[float | None]:
        """None: masks are cut at one half."""
        return [None] * truth.shape[1]

    def measure(
        self, truth: Floats, answers: Floats, thresholds: Floats
    ) -> Callable[[Floats], dict[str, Floats]]:
        """Mean Dice over series whose reference is not empty."""
        known = np.isfinite(truth) & np.isfinite(answers)
        values = answers[known]

        def mean(weights: Floats) -> dict[str, Floats]:
            own = weights[:, known]
            total = own.sum(1)
            with np.errstate(invalid="ignore", divide="ignore"):
                return {"dice": np.where(total > 0, own @ values / total, np.nan)}

        return mean

    def is_judged(self, truth: Floats) -> bool:
        """Whether one reference is not empty."""
        return bool((truth == 1).any())

    def n_positive(self, truth: Floats) -> int | None:
        """Series whose reference is not empty."""
        return int(np.nansum(truth))
