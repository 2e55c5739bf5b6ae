"""Features centred on the batch that is learned from: what moves all series alike belongs to the bias, not to the backbone.

What belongs here: the contract of a learner that does so, and the centre that it is judged and released with. What does not: the
backward pass of a whole batch (step), the heads (method, heads).

A head starts as the probe solved on standardised features. Where frozen features hardly differ between series, their deviations
are small beside their size, and one step of Adam, which knows no scale, moves all of them in common by many deviations: every
logit jumps, and what the probe gave is lost before anything is learned. So while learning, features are centred on the mean of
their own batch, and the gradient, which passes through that mean, holds nothing that moves a batch in common. That is batch
normalisation without its scale (Ioffe and Szegedy 2015; before a linear head as in He et al. 2022, masked autoencoders). Before
weights are judged the mean of the train split under these weights takes its place and goes into the biases, so that nothing
released depends on a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from training import batches
from training.learner import AnyLearner

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CENTRED_FROM = 8
"""Series in a batch whose mean says enough: of fewer, features stay where the probe has them."""

CENTRE_OF = 512
"""Members of the train split whose mean is the centre: it lies within a twentieth of a deviation of that of all."""


class Centred(AnyLearner, Protocol):
    """A learner that judges a batch from the batch's mean."""

    def encode(self, indices: Ints, epoch: int | None, /) -> tuple[torch.Tensor, ...]:
        """What the head is given of those members, each [B, ...]; pooled features [B, F] come first."""

    def judge(self, encoded: tuple[torch.Tensor, ...], /) -> torch.Tensor:
        """Logits [B, C] of a whole batch, centred on its mean."""

    def fold(self, centre: Floats, /) -> None:
        """Takes into the head's biases that features are centred there, [F]."""

    def recentre(self, centre: Floats, /) -> None:
        """The head's centre moves there, [F]; it judges as before."""


def is_centred(learner: AnyLearner) -> TypeGuard[Centred]:
    """Whether it judges a batch from the batch's mean while it learns."""
    return bool(getattr(learner, "is_centred", False))


def centre_of(train: Ints, seed: int, features_of: Callable[[Ints], Floats]) -> Floats:
    """[F] mean of the train split. features_of: [n, F] of members; CENTRE_OF of them are asked for."""
    return np.asarray(features_of(batches.some_of(train, CENTRE_OF, seed)).mean(0))


@contextmanager
def settled(learner: AnyLearner, centre: Callable[[], Floats]) -> Iterator[None]:
    """Inside, the learner's biases hold the centre, [F], that features have under its weights as they are."""
    import torch

    if not is_centred(learner):
        yield
        return
    biases = [p for name, p in learner.moving().items() if name.startswith("head.") and p.ndim == 1]
    before = [p.detach().clone() for p in biases]
    learner.fold(centre())
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(biases, before, strict=True):
                parameter.copy_(kept)
