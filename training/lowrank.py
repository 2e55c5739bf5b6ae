"""Low-rank updates (LoRA) of layers that multiply by a matrix: y = W x + (alpha / r) B A x, W frozen, B zero at the start.

Saved under PEFT's tensor names with PEFT's config, so that `peft` loads the adapter onto the same backbone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from training.structure import matrix_names

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "base_model.model."


class LowRank(nn.Module):
    """One frozen layer with its update.

    Of a convolution [out, in, *kernel] A is one of the same kernel to `rank` channels, B one of 1 x 1 back.
    """

    def __init__(
        self, base: nn.Module, rank: int, alpha: float, generator: torch.Generator, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.base = base
        self.scale = alpha / rank
        weight = base.weight
        assert isinstance(weight, nn.Parameter)
        n_out, *inner = weight.T.shape if isinstance(base, Conv1D) else weight.shape  # Conv1D keeps [in, out]
        down = torch.rand(rank, *inner, generator=generator) * 2 - 1
        self.lora_A = nn.Parameter(down * down[0].numel() ** -0.5)
        self.lora_B = nn.Parameter(torch.zeros(n_out, rank, *[1] * (len(inner) - 1)))

    def __getattr__(self, name: str) -> Any:
        """What a model reads off the layer that stood here: stride and kernel size for padding, the weight's type."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer itself: [..., in] -> [..., out], or [N, in, *size] -> [N, out, *size]."""
        base, own = self.base, self.dropout(x)
        if isinstance(base, nn.Conv2d):
            down = functional.conv2d(own, self.lora_A, None, base.stride, base.padding, base.dilation)
            update = functional.conv2d(down, self.lora_B)
        elif isinstance(base, nn.Conv3d):
            down = functional.conv3d(own, self.lora_A, None, base.stride, base.padding, base.dilation)
            update = functional.conv3d(down, self.lora_B)
        else:
            update = functional.linear(functional.linear(own, self.lora_A), self.lora_B)
        return torch.as_tensor(base(x) + self.scale * update)


def add_updates(model: nn.Module, rank: int, seed: int, dropout: float = 0.0) -> list[str]:
    """Freezes the model and gives every matrix inside its blocks an update, in place; names of those layers.

    dropout: share of what enters an update that is dropped while its `dropout` is in training mode.
    """
    names = matrix_names(model)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        model.set_submodule(name, LowRank(model.get_submodule(name), rank, 2.0 * rank, generator, dropout))
    return names


def adapter_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The updates under PEFT's names."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, LowRank):
            found[f"{_PREFIX}{name}.lora_A.weight"] = module.lora_A.detach()
            found[f"{_PREFIX}{name}.lora_B.weight"] = module.lora_B.detach()
    return found


def load_adapter(model: nn.Module, tensors: Mapping[str, torch.Tensor], rank: int) -> None:
    """Adds updates and fills them. Raises KeyError where a tensor is missing: nothing is left at its random start."""
    for name in add_updates(model, rank, seed=0):
        layer = model.get_submodule(name)
        assert isinstance(layer, LowRank)
        with torch.no_grad():
            layer.lora_A.copy_(tensors[f"{_PREFIX}{name}.lora_A.weight"])
            layer.lora_B.copy_(tensors[f"{_PREFIX}{name}.lora_B.weight"])


def adapter_config(names: list[str], rank: int, dropout: float = 0.0) -> dict[str, Any]:
    """PEFT's adapter_config.json."""
    return {
        "peft_type": "LORA",
        "task_type": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": dropout,
        "bias": "none",
        "target_modules": names,
    }
