"""The door for encoders that transformers does not have: an installed package brings the architecture, a folder the weights.

A folder's config.json names its adapter (`"rwid_adapter": "i3resnet"`), or is in timm's own layout, and safetensors hold the
weights. Adapters are those of OWN, and whatever installed packages declare in the entry point group `rwid.backbones`; a
folder can only choose among these, never bring code. What does not belong here: transformers' own architectures (folder).
Loads without torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from curation.records import ConfigurationError
from training.backbones.preprocess import Preprocess, VolumePreprocess

if TYPE_CHECKING:
    from torch import nn

GROUP = "rwid.backbones"
KEY = "rwid_adapter"

OWN = {
    "i3resnet": "training.backbones.i3resnet:I3ResNetAdapter",
    "timm": "training.backbones.timm_encoder:TimmAdapter",
}
"""Adapters that come along, as module:class, for both load torch."""


class Adapter(Protocol):
    """What a package must bring for an architecture. Blocks, low-rank targets and cuts are then found by structure."""

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """The model, weights at random. Its forward takes `pixel_values` [N, *preprocess.shape] and gives hidden states
        [N, L, D] or maps [N, C, *size].
        """
        ...

    def preprocess(self, config: Mapping[str, Any], size: int) -> Preprocess | VolumePreprocess:
        """What stored pixels go through; size: the spec's model.input.size, px."""
        ...


def named_in(folder: Path) -> str | None:
    """The adapter that a folder asks for; None where it holds a transformers model."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    if "architecture" in config and "model_type" not in config:
        return "timm"
    name: str | None = config.get(KEY)
    return name


def find_adapter(name: str) -> Adapter:
    """The adapter of that name. Raises ConfigurationError where no installed package has it."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    found |= {own: EntryPoint(own, where, GROUP) for own, where in OWN.items()}
    if name not in found:
        raise ConfigurationError(
            f"No adapter {name!r}; there are {', '.join(sorted(found))}. Install the package that declares it in the entry "
            f"point group {GROUP}, or mend {KEY} in config.json."
        )
    adapter: Adapter = found[name].load()()
    return adapter


def load(folder: Path, adapter: Adapter) -> nn.Module:
    """The model of a folder, fp32, in evaluation mode. Raises ConfigurationError where weights do not fill it exactly."""
    from safetensors.torch import load_file

    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ConfigurationError(
            f"{folder} must hold *.safetensors; pickled weights are not read. Mend model.id."
        )
    model = adapter.build(json.loads((folder / "config.json").read_text()))
    tensors = {name: tensor for path in paths for name, tensor in load_file(path).items()}
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise ConfigurationError(
            f"The weights of {folder} do not fill its model: {' '.join(str(error).split())[:300]}"
        ) from None
    return model.float().eval()
