"""Heads that are learned, not solved: a perceptron beside the linear probe, and attention over patch tokens.

What belongs here: their form, learning them on frozen features, and their way to disk and back. What does not: the linear head
(method), solving it (probe), the loop (loop). Every head starts as the solved linear probe, to the last digit: the perceptron's
last layer and the queries are zero. So the loop, which never keeps what does worse on the tune split than the start, can only add.

Attention: one query an output over all patch tokens of a series' tiles; with a query of zero it is their mean. Source: attentive
pooling of frozen tokens as in V-JEPA (Bardes et al. 2024), one query a class as in GLoRIA-style local attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from training import batches, probe
from training.cache import Cached
from training.decoder import Decoder
from training.method import LinearHead

if TYPE_CHECKING:
    from training.spec import Method

Ints = NDArray[np.int64]

WIDTH = 256
"""Hidden units of the perceptron."""


class MlpHead(LinearHead):
    """The linear head plus a perceptron of one hidden layer on the same standardised features."""

    def __init__(self, head: probe.Head, seed: int = 0) -> None:
        super().__init__(head)
        n_features, n_outputs = head.matrix.shape
        generator = torch.Generator().manual_seed(seed)
        self.into = nn.Linear(n_features, WIDTH)
        self.out = nn.Linear(WIDTH, n_outputs)
        with torch.no_grad():
            width = n_features**-0.5
            self.into.weight.copy_((torch.rand(WIDTH, n_features, generator=generator) * 2 - 1) * width)
            self.into.bias.zero_()
            self.out.weight.zero_()
            self.out.bias.zero_()

    def judge(
        self, features: torch.Tensor, tokens: torch.Tensor | None, centre: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[B, 2D] -> [B, C]."""
        z = (features - (self.mean if centre is None else centre)) / self.std
        hidden = functional.gelu(self.into(z))
        return super().judge(features, tokens, centre) + cast(torch.Tensor, self.out(hidden))

    @torch.no_grad()
    def fold(self, centre: torch.Tensor) -> None:
        """Both first layers see what is centred."""
        super().fold(centre)
        self.into.bias.add_(((self.mean - centre) / self.std) @ self.into.weight.T)


class AttentiveHead(LinearHead):
    """The linear head, but each output takes its own weighted mean of the patch tokens instead of their plain mean.

    A centre that moves changes no share, which is taken among patches of one series: the linear layer's bias holds all of it.
    """

    reads_tokens = True

    def __init__(self, head: probe.Head) -> None:
        super().__init__(head)
        n_features, n_outputs = head.matrix.shape
        self.query = nn.Parameter(torch.zeros(n_outputs, n_features // 2))

    def judge(
        self, features: torch.Tensor, tokens: torch.Tensor | None, centre: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Features [B, 2D] and patch tokens [B, P, D] -> [B, C]."""
        assert tokens is not None
        width, centre = self.query.shape[1], self.mean if centre is None else centre
        z = (tokens - centre[width:]) / self.std[width:]
        share = torch.einsum("bpd,cd->bcp", z, self.query / width**0.5).softmax(2)
        said = torch.einsum(
            "bpd,cd->bcp", z, self.linear.weight[:, width:]
        )  # what each patch says of each output
        vector = ((features - centre) / self.std)[:, :width]
        whole = functional.linear(vector, self.linear.weight[:, :width], self.linear.bias)
        return whole + (share * said).sum(2)


KINDS = {"linear": LinearHead, "mlp": MlpHead, "attentive": AttentiveHead}
"""method.head -> its module."""


def head_module(head: probe.Head, method: Method) -> LinearHead:
    """The module of `method.head` that starts as the solved head."""
    return KINDS[method.head](head)


class HeadLearner(nn.Module):
    """A head over what was cached of the frozen backbone; what the loop asks of a learner."""

    tiles: batches.Tiles
    draws: Sequence[nn.Dropout] = ()

    def __init__(
        self,
        method: Method,
        head: LinearHead | Decoder,
        tiles: batches.Tiles,
        cached: Cached,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.method, self.head, self.tiles, self.cached = method, head, tiles, cached
        self.to(device).eval()
        self.device = device
        self.draws: list[nn.Dropout] = []

    def forward(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """Logits [B, C] of those members; they look the same in every epoch."""
        features = torch.from_numpy(self.cached.features[indices]).to(self.device)
        tokens = None
        if self.cached.hidden is not None:
            tokens = self.cached.hidden.take([0] * len(indices), indices, self.device)  # [B, T, P, D]
            tokens = tokens.flatten(1, 2)
        with torch.autocast(self.device.type, enabled=False):
            return self.head.judge(features, tokens)

    def expect(self, coming: list[Ints]) -> None:
        """Nothing is read ahead: all is cached."""

    def moving(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return dict(self.named_parameters())

    def groups(self) -> list[dict[str, Any]]:
        """AdamW groups with `peak_lr`; vectors are not decayed."""
        found = []
        for is_matrix in (True, False):
            own = [p for p in self.parameters() if (p.ndim > 1) == is_matrix]
            decay = self.method.weight_decay if is_matrix else 0.0
            found.append({"params": own, "peak_lr": self.method.head_lr, "weight_decay": decay})
        return found


def to_arrays(head: LinearHead | Decoder) -> dict[str, NDArray[np.float32]]:
    """Tensors of a head by the names they are released under: mean, std, weight, bias, and what its kind adds."""
    own = head.state_dict()
    named = {k.removeprefix("linear."): v for k, v in own.items()}
    if isinstance(head, LinearHead):
        named["weight"] = head.matrix().T
    return {k: v.detach().cpu().float().contiguous().numpy() for k, v in named.items()}


def from_arrays(kind: str, tensors: Mapping[str, NDArray[np.float32]]) -> LinearHead:
    """The head again. Raises KeyError where a tensor is missing."""
    wide = {k: np.asarray(tensors[k], dtype=np.float64) for k in ("mean", "std", "weight", "bias")}
    head = KINDS[kind](probe.Head(wide["mean"], wide["std"], wide["weight"].T, wide["bias"]))
    for name in set(head.state_dict()) - {"mean", "std", "linear.weight", "linear.bias"}:
        head.get_parameter(name).data.copy_(torch.from_numpy(np.array(tensors[name])))
    return head.eval()
