"""The door for timm: a folder in timm's own layout (config.json with `architecture` and `pretrained_cfg`, safetensors).

What belongs here: a timm model that speaks as the tuner asks. What does not: which folder asks for it (adapter). timm and
the torchvision that it needs are optional; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from curation.records import ConfigurationError
from training.backbones.preprocess import Preprocess

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TimmEncoder(nn.Module):
    """A timm model without its classifier. Gives tokens [N, L, D] or maps [N, C, H, W]."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
        has_tokens = getattr(net, "num_prefix_tokens", None) is not None
        self.config = SimpleNamespace(patch_size=list(patch) if patch and has_tokens else None)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> the features before pooling; what timm gives channels last is turned."""
        features: torch.Tensor = self.net.forward_features(pixel_values)  # type: ignore[operator]
        if features.ndim == 4 and str(getattr(self.net, "output_fmt", "")).endswith("NHWC"):
            features = features.permute(0, 3, 1, 2)
        return features

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """timm's own tensor names; those of a classifier are left out, every other one must fit."""
        named = self.net.default_cfg.get("classifier") or ()  # type: ignore[union-attr, operator]
        heads = tuple(f"{n}." for n in ((named,) if isinstance(named, str) else named))
        body = {name: t for name, t in state_dict.items() if not (heads and name.startswith(heads))}
        return self.net.load_state_dict(body, strict, assign)


class TimmAdapter:
    """Keeps the contract of training.backbones.adapter.Adapter."""

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """The architecture that the folder names, weights at random.

        Raises ConfigurationError where timm is not installed or does not have it.
        """
        try:
            from timm.models import create_model, is_model
        except ImportError as error:
            raise ConfigurationError(
                f"This folder holds a timm model, and timm cannot be imported here ({error}). Install timm with the torchvision "
                "that fits the installed torch, or give another backbone as model.id."
            ) from None
        name = str(config["architecture"])
        if not is_model(name.partition(".")[0]):
            raise ConfigurationError(
                f"The installed timm has no architecture {name!r}. Mend config.json, or upgrade timm."
            )
        arguments = {"pretrained": False, "num_classes": 0, **(config.get("model_args") or {})}
        try:
            net = create_model(name, **arguments, dynamic_img_size=True)  # a position table of any size
        except TypeError:
            net = create_model(name, **arguments)  # an architecture without that choice
        return TimmEncoder(net)

    def preprocess(self, config: Mapping[str, Any], size: int) -> Preprocess:
        """Channel means and deviations as the folder says, else ImageNet's."""
        facts = config.get("pretrained_cfg") or {}
        mean, std = facts.get("mean") or IMAGENET_MEAN, facts.get("std") or IMAGENET_STD
        return Preprocess(size, tuple(map(float, mean)), tuple(map(float, std)))
