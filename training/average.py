"""A moving average of what learns: judged and released instead of the last weights where the spec asks for it.

What belongs here: following and showing. What does not: the weights themselves (method), when they are judged (loop).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Average:
    """Exponential moving average (Polyak and Juditsky 1992). Its decay rises to the asked one, so that the start is forgotten.

    After t updates it is min(decay, (1 + t) / (10 + t)). Without a decay it is the weights themselves and costs nothing.
    """

    def __init__(
        self,
        moving: Mapping[str, torch.nn.Parameter],
        decay: float | None,
        held: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.moving, self.decay = moving, decay
        self.tensors: dict[str, torch.Tensor] = {}
        if decay is not None:
            kept = held or moving
            self.tensors = {name: kept[name].detach().to(p.device).clone() for name, p in moving.items()}

    def follow(self, step: int) -> None:
        """Takes in the weights of update number `step`, counted from 1."""
        import torch

        if self.decay is None:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            weights = [p.detach() for p in self.moving.values()]
            torch._foreach_lerp_(list(self.tensors.values()), weights, 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        import torch

        kept = {name: p.detach().clone() for name, p in self.moving.items() if name in self.tensors}
        try:
            with torch.no_grad():
                for name, tensor in self.tensors.items():
                    self.moving[name].copy_(tensor)
            yield
        finally:
            with torch.no_grad():
                for name, tensor in kept.items():
                    self.moving[name].copy_(tensor)
