"""What moves: backbone plus head as one model that learns, for cut, lora, last_n and full.

What belongs here: freezing, the head, what a batch is made of. What does not: the probe, which solves its head at once
(probe), and the loop (tune). Models stay in evaluation mode but for the dropouts that the spec asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training import batches
from training.backbone import Backbone
from training.cache import Cached, pool
from training.centred import CENTRED_FROM
from training.decoder import Decoder
from training.device import compile_blocks
from training.lowrank import LowRank, add_updates
from training.probe import Head
from training.spec import TuneSpec
from training.structure import first_tensor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_LR = {"cut": 1e-4, "last_n": 1e-4, "lora": 3e-4, "full": 3e-5}
"""Peak learning rate of what moves in the backbone."""

LAYER_DECAY = 0.75
"""full: each block learns that much slower than the one above it."""


class LinearHead(nn.Module):
    """Pool, standardise, then one linear layer; starts as the solved probe."""

    mean: torch.Tensor
    std: torch.Tensor
    removed: torch.Tensor
    """[F, k] directions that it does not see, however the backbone moves."""
    reads_tokens: ClassVar[bool] = False
    """Whether it looks at patch tokens beside pooled features."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0)
        # not kept: what is released has it folded into its matrix
        self.register_buffer("removed", torch.tensor(head.removed, dtype=torch.float32), persistent=False)
        self.register_buffer("mean", torch.tensor(head.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(head.std, dtype=torch.float32))
        self.linear = nn.Linear(*head.matrix.shape)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(head.matrix.T.copy()))
            self.linear.bias.copy_(torch.from_numpy(head.bias))

    def forward(self, cls: torch.Tensor, tokens: torch.Tensor, n_tiles: int) -> torch.Tensor:
        """Class vectors [B*T, D] and patch tokens [B*T, P, D] -> logits [B, C]."""
        return self.judge(*self.pooled(cls, tokens, n_tiles))

    def pooled(
        self, cls: torch.Tensor, tokens: torch.Tensor, n_tiles: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What it judges of [B*T, D] and [B*T, P, D]: features [B, 2D], and patch tokens [B, T*P, D] where it reads them."""
        features = pool(cls, tokens, n_tiles)
        if not self.reads_tokens:
            return features, None
        # shape[0], for len() would become a number in an exported graph
        of_series = tokens.reshape(features.shape[0], -1, tokens.shape[2])  # [B*T, P, D] -> [B, T*P, D]
        return features, of_series.to(features.dtype)

    def judge(
        self, features: torch.Tensor, tokens: torch.Tensor | None, centre: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Pooled features [B, 2D] and all patch tokens of a series [B, P, D], which this head leaves aside -> [B, C].

        centre: [2D] that features are centred on, instead of the mean of the frozen ones.
        """
        z = self.dropout((features - (self.mean if centre is None else centre)) / self.std)
        if self.removed.numel():
            z = z - (z @ self.removed) @ self.removed.T
        return cast(torch.Tensor, self.linear(z))

    @torch.no_grad()
    def fold(self, centre: torch.Tensor) -> None:
        """Takes into the biases that features are centred there, [F]: judge(x, t) is then what judge(x, t, centre) was."""
        self.linear.bias.add_(((self.mean - centre) / self.std) @ self.matrix())

    @torch.no_grad()
    def recentre(self, centre: torch.Tensor) -> None:
        """Its centre moves there, [F], and its biases with it: it judges as before."""
        self.fold(2 * self.mean - centre)
        self.mean.copy_(centre)

    def matrix(self) -> torch.Tensor:
        """[F, C] of the linear layer with the removed directions taken out of it: what is released."""
        matrix = self.linear.weight.T
        return matrix - self.removed @ (self.removed.T @ matrix) if self.removed.numel() else matrix


class _Passed(nn.Module):
    """Stands where a frozen block stood that need not be computed: hands on what it was given."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs

    def forward(self, *arguments: Any, **named: Any) -> Any:
        hidden = first_tensor(arguments, named)
        return hidden if not self.n_outputs else (hidden, *[None] * (self.n_outputs - 1))


class Learner(nn.Module):
    """Backbone and head over one source of examples: pixels, or hidden states cached at the cut."""

    tiles: batches.Tiles
    draws: Sequence[nn.Dropout] = ()
    is_centred: bool
    """Whether it judges a batch from the batch's mean while it learns (centred)."""

    def __init__(
        self,
        spec: TuneSpec,
        backbone: Backbone,
        tiles: batches.Tiles,
        cached: Cached,
        head: LinearHead | Decoder,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.spec, self.preprocess, self.tiles, self.cached = spec, backbone.preprocess, tiles, cached
        self.backbone = backbone
        self.encoder, self.head = backbone.model, head
        self.head.dropout.p = spec.method.dropout
        kind, names = spec.method.kind, backbone.flow.blocks
        self.is_cut = kind == "cut"
        if kind == "lora":
            self.lora_names = add_updates(self.encoder, spec.method.rank, spec.seed, spec.method.dropout)
        else:
            self.encoder.requires_grad_(kind == "full")
            if kind != "full":
                self._free_last(spec.method.blocks)
        self.to(device).eval()
        self.device = device
        moved_hooks = (
            self.cut + 1 if self.is_cut else 0
        )  # a hook puts hidden states in before the first block
        regions = [self.encoder.get_submodule(name) for name in names[moved_hooks:]]
        self.n_compiled = compile_blocks(spec.compute, device, regions)
        self.is_centred = isinstance(head, LinearHead) and spec.method.batch_size >= CENTRED_FROM
        own = [m.dropout for m in self.modules() if isinstance(m, LowRank | LinearHead | Decoder)]
        self.draws = [dropout for dropout in own if dropout.p > 0]

    def _free_last(self, n: int) -> None:
        """Lets the last n blocks learn, and what comes after them (the last norm)."""
        flow, blocks = self.backbone.flow, self.backbone.blocks()
        self.cut = len(blocks) - n
        for block in blocks[self.cut :]:
            block.requires_grad_(True)
        for name in flow.after:
            self.encoder.get_parameter(name).requires_grad_(True)
        entering = flow.shapes[self.cut][0]
        if self.is_cut and all(shape == entering for pair in flow.shapes[: self.cut] for shape in pair):
            for name, n_outputs in zip(flow.blocks[: self.cut], flow.n_outputs, strict=False):
                self.encoder.set_submodule(name, _Passed(n_outputs))

    def forward(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """Logits [B, C] of those members; epoch None shows them as they are, else augmented for that epoch."""
        cls, tokens = self._embed(indices, epoch)
        with torch.autocast(self.device.type, enabled=False):  # logits in full precision
            return cast(torch.Tensor, self.head(cls, tokens, self.tiles.n_tiles))  # [B*T, ...] -> [B, C]

    def encode(self, indices: Ints, epoch: int | None) -> tuple[torch.Tensor, ...]:
        """What a head that is centred is given of them: features [B, 2D], and patch tokens [B, P, D] where it reads them."""
        cls, tokens = self._embed(indices, epoch)
        with torch.autocast(self.device.type, enabled=False):
            given = cast(LinearHead, self.head).pooled(cls, tokens, self.tiles.n_tiles)
        return tuple(part for part in given if part is not None)

    def judge(self, encoded: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Logits [B, C] of a whole batch, centred on its mean, which the gradient passes through."""
        features, tokens = encoded[0], encoded[1] if len(encoded) > 1 else None
        return cast(LinearHead, self.head).judge(features, tokens, features.mean(0))

    def fold(self, centre: Floats) -> None:
        """Takes into the head's biases that features are centred there, [F]."""
        cast(LinearHead, self.head).fold(torch.from_numpy(centre).to(self.device, torch.float32))

    def recentre(self, centre: Floats) -> None:
        """The head's centre moves there, [F]; it judges as before."""
        cast(LinearHead, self.head).recentre(torch.from_numpy(centre).to(self.device, torch.float32))

    def _embed(self, indices: Ints, epoch: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Class vectors [B*T, D] and patch tokens [B*T, P, D] of those members."""
        for dropout in self.draws:
            dropout.train(epoch is not None)
        if self.is_cut:
            return self.backbone.embed_from(self._hidden(indices, epoch), self.cut)
        shown = batches.to_device(self.tiles.take(indices), self.device)
        if epoch is not None and self.spec.data.augment == "light":
            shown = batches.augment(shown, indices, self.spec.seed, epoch, self.preprocess.limits)
        return self.backbone.embed(self.preprocess(shown.flatten(0, 1)))  # [B, T, H, W] -> [B*T, 3, S, S]

    def expect(self, coming: list[Ints]) -> None:
        """Says which batches will be asked for next; what is read from pixels is read ahead."""
        if not self.is_cut:
            self.tiles.expect(coming)

    def _hidden(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """Cached hidden states [B*T, ...] of those members, in the view of that epoch."""
        hidden = self.cached.hidden
        assert hidden is not None
        views = [0] * len(indices)
        if epoch is not None and self.spec.method.views > 1:
            views = [batches.view_of(int(i), self.spec.seed, epoch, self.spec.method.views) for i in indices]
        return hidden.take(views, indices, self.device).flatten(0, 1)  # [B, T, ...] -> [B*T, ...]

    def moving(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def groups(self) -> list[dict[str, Any]]:
        """AdamW groups with `peak_lr`: the head, and the backbone by depth; vectors are not decayed."""
        method = self.spec.method
        peak = method.lr or DEFAULT_LR[method.kind]
        depth_of = self._depths()
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.moving().items():
            lr = method.head_lr if name.startswith("head.") else peak * depth_of.get(id(parameter), 1.0)
            groups.setdefault((lr, parameter.ndim > 1), []).append(parameter)
        decay = method.weight_decay
        return [
            {"params": p, "peak_lr": lr, "weight_decay": decay if matrix else 0.0}
            for (lr, matrix), p in groups.items()
        ]

    def _depths(self) -> dict[int, float]:
        """full: factor of each parameter's learning rate by depth; what lies before the blocks learns slowest."""
        if self.spec.method.kind != "full":
            return {}
        flow = self.backbone.flow
        n = len(flow.blocks)
        if not n:
            return {}  # no depth is known: everything learns at one rate
        factors = {id(p): LAYER_DECAY ** (n + 1) for p in self.encoder.parameters()}
        for name, left in flow.left.items():
            if left:  # between two blocks as the one above, after the last at the peak
                own = self.encoder.get_submodule(name).parameters(recurse=False)
                factors.update({id(p): LAYER_DECAY ** (n - left) for p in own})
        for number, block in enumerate(self.backbone.blocks()):
            factors.update({id(p): LAYER_DECAY ** (n - number) for p in block.parameters()})
        return factors
