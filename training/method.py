"""What moves: backbone plus head as one model that learns, for cut, lora, last_n and full.

What belongs here: freezing, the head, what a batch is made of. What does not: the probe, which solves its head at once
(probe), and the loop (tune). Models stay in evaluation mode: there is no dropout, so there is no hidden random state.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from curation.records import ConfigurationError
from training import batches
from training.backbone import Backbone
from training.cache import Cached, pool
from training.lowrank import add_updates
from training.probe import Head
from training.spec import TuneSpec

Ints = NDArray[np.int64]

DEFAULT_LR = {"cut": 5e-5, "last_n": 5e-5, "lora": 3e-4, "full": 3e-5}
"""Peak learning rate of what moves in the backbone."""

LAYER_DECAY = 0.75
"""full: each block learns that much slower than the one above it."""


class LinearHead(nn.Module):
    """Standardise, then one linear layer; starts as the solved probe."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(head.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(head.std, dtype=torch.float32))
        self.linear = nn.Linear(*head.matrix.shape)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(head.matrix.T.copy()))
            self.linear.bias.copy_(torch.from_numpy(head.bias))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, F] -> [B, C]."""
        return cast(torch.Tensor, self.linear((features - self.mean) / self.std))


class _Passed(nn.Module):
    """Stands where a frozen block stood. The first of them hands out the hidden states that were cached."""

    def __init__(self, owner: list[torch.Tensor | None]) -> None:
        super().__init__()
        self.owner = owner

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden if self.owner[0] is None else self.owner[0]


class Learner(nn.Module):
    """Backbone and head over one source of examples: pixels, or hidden states cached at the cut."""

    def __init__(
        self,
        spec: TuneSpec,
        backbone: Backbone,
        tiles: batches.Tiles,
        cached: Cached,
        head: Head,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.spec, self.preprocess, self.tiles, self.cached = spec, backbone.preprocess, tiles, cached
        self.backbone = backbone
        self.encoder, self.head = backbone.model, LinearHead(head)
        self.entering: list[torch.Tensor | None] = [None]
        kind = spec.method.kind
        self.is_cut = kind == "cut"
        if kind == "lora":
            self.lora_names = add_updates(self.encoder, spec.method.rank, spec.seed)
        else:
            self.encoder.requires_grad_(kind == "full")
            if kind != "full":
                self._free_last(spec.method.blocks)
        self.to(device).eval()
        self.device = device

    def _free_last(self, n: int) -> None:
        """Lets the last n blocks learn, and what comes after them (the last norm)."""
        blocks = self.backbone.blocks()
        for block in blocks[len(blocks) - n :]:
            block.requires_grad_(True)
        for name, module in self.encoder.named_children():
            if isinstance(module, nn.LayerNorm) and not name.startswith("pre"):
                module.requires_grad_(True)
        if self.is_cut:
            frozen = {id(block) for block in blocks[: len(blocks) - n]}
            for name in [name for name, module in self.encoder.named_modules() if id(module) in frozen]:
                self.encoder.set_submodule(name, _Passed(self.entering))

    def forward(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """Logits [B, C] of those members; epoch None shows them as they are, else augmented for that epoch."""
        if self.is_cut:
            images = self._set_hidden(indices, epoch)
        else:
            shown = self.tiles.take(indices)
            if epoch is not None and self.spec.data.augment == "light":
                shown = batches.augment(shown, indices, self.spec.seed, epoch)
            images = self.preprocess(shown.flatten(0, 1).to(self.device))  # [B, T, H, W] -> [B*T, 3, S, S]
        cls, tokens = self.backbone.embed(images)
        self.entering[0] = None
        with torch.autocast(self.device.type, enabled=False):  # logits in full precision
            return cast(torch.Tensor, self.head(pool(cls, tokens, self.tiles.n_tiles)))  # [B, 2D] -> [B, C]

    def _set_hidden(self, indices: Ints, epoch: int | None) -> torch.Tensor:
        """Puts cached hidden states [B*T, L, D] where the first moving block will find them; a blank image."""
        hidden = self.cached.hidden
        assert hidden is not None
        views = [0] * len(indices)
        if epoch is not None and self.spec.method.views > 1:
            views = [batches.view_of(int(i), self.spec.seed, epoch, self.spec.method.views) for i in indices]
        rows = np.stack([hidden[v, i] for v, i in zip(views, indices, strict=True)])  # [B, T, L, D]
        entering = torch.from_numpy(rows.reshape(-1, *rows.shape[2:])).to(self.device, torch.float32)
        self.entering[0] = entering
        size = self.preprocess.size
        # one blank image is enough: what it becomes before the cut is thrown away
        return torch.zeros(1, 3, size, size, device=self.device)

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
        try:
            blocks = self.backbone.blocks()
        except ConfigurationError:
            return {}  # no depth is known: everything learns at one rate
        factors = {id(p): LAYER_DECAY ** (len(blocks) + 1) for p in self.encoder.parameters()}
        for number, block in enumerate(blocks):
            factors.update({id(p): LAYER_DECAY ** (len(blocks) - number) for p in block.parameters()})
        for module in self.encoder.children():
            if isinstance(module, nn.LayerNorm):
                factors.update({id(p): 1.0 for p in module.parameters()})
        return factors
