"""Low-rank updates of linear layers (LoRA): y = W x + (alpha / r) B A x, with W frozen, B zero at the start.

Saved under PEFT's tensor names with PEFT's config, so that `peft` loads the adapter onto the same backbone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from training.backbone import linear_names

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "base_model.model."


class LowRank(nn.Module):
    """One frozen linear layer with its update."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        bound = base.in_features**-0.5
        down = (torch.rand(rank, base.in_features, generator=generator) * 2 - 1) * bound
        self.lora_A = nn.Parameter(down)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        update = functional.linear(functional.linear(x, self.lora_A), self.lora_B)
        return torch.as_tensor(self.base(x) + self.scale * update)


def add_updates(model: nn.Module, rank: int, seed: int) -> list[str]:
    """Freezes the model and gives every linear layer inside its blocks an update, in place; names of those layers."""
    names = linear_names(model)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        parent = model.get_submodule(name.rpartition(".")[0])
        base = model.get_submodule(name)
        assert isinstance(base, nn.Linear)
        setattr(parent, name.rpartition(".")[2], LowRank(base, rank, 2.0 * rank, generator))
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


def adapter_config(names: list[str], rank: int) -> dict[str, Any]:
    """PEFT's adapter_config.json."""
    return {
        "peft_type": "LORA",
        "task_type": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": names,
    }
