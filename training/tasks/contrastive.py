"""Images and their reports in one space: each image is to find its own report among others, and labels are asked by prompts.

What belongs here: the loss, and what is watched while it falls. What does not: features and texts (pairs), retrieval (retrieval).
"Logits" of the loop are both embeddings side by side [B, 2E], of length 1; targets hold in their first column the number of the
report's wording, for two studies with one wording are no mistakes of each other. Sources: CLIP (Radford et al. 2021), several
positives as in supervised contrastive learning (Khosla et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from training import retrieval
from training.tasks.multilabel import Multilabel

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

SHARPNESS = 14.0
"""Similarities are multiplied by it before the softmax: CLIP's start, 1 / 0.07, kept fixed."""


@dataclass(frozen=True)
class Contrastive(Multilabel):
    """Judged on labels by prompts (`label.` against `no label.`), as any yes/no question, and on retrieval besides."""

    reads: ClassVar[str] = "pairs"
    arms: ClassVar[tuple[str, str]] = ("ridge_to_text", "ridge_to_text")

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Mean over both directions of the cross-entropy of finding a partner of the same wording within the batch."""
        import torch

        wording = targets[:, 0]
        known = ~torch.isnan(wording)
        image, text = logits[known].chunk(2, dim=1)
        same = (wording[known][:, None] == wording[known][None, :]).to(logits.dtype)
        near = SHARPNESS * image @ text.T
        share = same / same.sum(1, keepdim=True).clamp_min(1)
        there = -(share * near.log_softmax(1)).sum(1)
        back = -(share.T * near.log_softmax(0)).sum(0)
        return (there + back).sum() / (2 * max(len(near), 1))

    def watch(self, logits: Floats, watched: Floats) -> tuple[tuple[float, float], dict[str, float]]:
        """Mean reciprocal rank of image to report among the tune split, then recall at 5."""
        known = np.isfinite(watched[:, 0])
        image, text = np.split(logits[known], 2, axis=1)
        ranks = retrieval.ranks(image @ text.T, watched[known, 0])
        mrr, recall = float((1 / ranks).mean()), float((ranks <= 5).mean())
        return (mrr, recall), {"tune/mrr": mrr, "tune/recall@5": recall}
