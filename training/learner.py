"""What the loop asks of whatever learns: backbone and head over pixels or a cut, a head over what was cached, a reader of text.

What belongs here: that contract. What does not: those who keep it (method, heads, text_models), the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

    from training.batches import Layout

Ints = NDArray[np.int64]


class HasLayout(Protocol):
    """Where members lie, so that an epoch's order can follow it."""

    @property
    def layout(self) -> Layout | None:
        """None: anywhere, all at hand."""


class AnyLearner(Protocol):
    """A torch module with this much more."""

    draws: Sequence[nn.Dropout]
    """Dropouts that draw while a step is taken."""

    @property
    def tiles(self) -> HasLayout:
        """What is shown."""

    def __call__(self, indices: Ints, epoch: int | None, /) -> torch.Tensor:
        """Logits [B, C] of those members; epoch None shows them as they are."""

    def expect(self, coming: list[Ints], /) -> None:
        """Says which batches will be asked for next."""

    def moving(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""

    def groups(self) -> list[dict[str, Any]]:
        """AdamW groups with `peak_lr`."""
