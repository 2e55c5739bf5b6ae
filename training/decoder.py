"""A light decoder: patch tokens to masks. And the linear one that it is compared with.

What belongs here: both modules, made from a seed. What does not: learning (loop), masks (masks).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from curation.records import ConfigurationError

WIDTH = 64
SCALE = 4
"""Cells of the grid along one patch."""


class Decoder(nn.Module):
    """Tokens of T tiles -> logits [B, C, T, g, g], g = SCALE times the patches along a side.

    linear: one weight a token value, each patch by itself, drawn finer. Else two steps, each twice as fine, with 3 x 3
    convolutions between, so that neighbours are heard.
    """

    def __init__(
        self, width: int, n_patches: int, n_tiles: int, n_outputs: int, *, is_linear: bool, seed: int
    ) -> None:
        super().__init__()
        self.side, self.n_tiles, self.is_linear = round(n_patches**0.5), n_tiles, is_linear
        if self.side**2 != n_patches:
            raise ConfigurationError(
                "This backbone's patches lie on no square grid: nothing can be drawn from them. Give another as model.id."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.norm = nn.LayerNorm(width)
            self.dropout = nn.Dropout(0.0)
            if is_linear:
                self.last = nn.Conv2d(width, n_outputs, 1)
            else:
                self.first = nn.Conv2d(width, WIDTH, 1)
                self.steps = nn.ModuleList([nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2)])
                self.last = nn.Conv2d(WIDTH, n_outputs, 1)

    def forward(self, cls: torch.Tensor, tokens: torch.Tensor, n_tiles: int) -> torch.Tensor:
        """Class vectors, which are left aside, and patch tokens [B*T, P, D] -> [B, C, T, g, g]."""
        return self.judge(cls, tokens.reshape(-1, n_tiles * tokens.shape[1], tokens.shape[2]))

    def judge(self, features: torch.Tensor, tokens: torch.Tensor | None) -> torch.Tensor:
        """Patch tokens of all tiles of a series, [B, T*P, D] -> [B, C, T, g, g]."""
        assert tokens is not None
        n, width = tokens.shape[0], tokens.shape[2]
        x = (
            self.norm(tokens.float())
            .reshape(n * self.n_tiles, self.side, self.side, width)
            .permute(0, 3, 1, 2)
        )
        x = self.dropout(x)
        if not self.is_linear:
            x = self.first(x)
            for step in self.steps:
                x = functional.interpolate(
                    functional.gelu(x), scale_factor=2, mode="bilinear", align_corners=False
                )
                x = x + step(x)
            x = functional.gelu(x)
        x = self.last(x)
        if self.is_linear:
            x = functional.interpolate(x, scale_factor=SCALE, mode="bilinear", align_corners=False)
        return cast(torch.Tensor, x.reshape(n, self.n_tiles, *x.shape[1:]).transpose(1, 2))  # [B, T, C, g, g]


def to_arrays(decoder: Decoder) -> dict[str, NDArray[np.float32]]:
    """Its tensors by name."""
    return {k: v.detach().cpu().float().numpy() for k, v in decoder.state_dict().items()}


def from_arrays(
    tensors: Mapping[str, NDArray[np.float32]], n_patches: int, n_tiles: int, n_outputs: int
) -> Decoder:
    """The decoder again. Raises KeyError or RuntimeError where a tensor is missing or does not fit."""
    made = Decoder(len(tensors["norm.weight"]), n_patches, n_tiles, n_outputs, is_linear=False, seed=0)
    made.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in tensors.items()}, strict=True)
    return made.eval()
