"""What a backbone is: images in, one vector and patch tokens out; blocks that can be cut, frozen or given updates.

What belongs here: the structure every transformer shares, found by structure and not by name. What does not: where
weights come from (backbones), heads and low-rank updates (method).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from curation.records import ConfigurationError
from training.backbones import BUILTIN, PINNED
from training.backbones.folder import digest, load, normalisation

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How stored tiles become what the backbone saw in its own training; part of every cache's key."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """uint8 or float tiles in 0..255 [N, H, W] -> normalised [N, 3, size, size], float32."""
        import torch
        from torch.nn import functional

        images = tiles.to(torch.float32).unsqueeze(1) / 255.0
        if images.shape[-1] != self.size:
            images = functional.interpolate(
                images, size=(self.size, self.size), mode="bilinear", antialias=True
            )
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std  # [N, 1, H, W] -> [N, 3, H, W]


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded vision model. revision: `sha256:` of config and weights."""

    id: str
    revision: str
    model: nn.Module
    preprocess: Preprocess

    def embed(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, 3, H, W] -> class vector [N, D], patch tokens [N, P, D], after the last norm."""
        output = self.model(**_arguments(self.model, images))
        return split_tokens(output.last_hidden_state, self.n_patches(images.shape[-1]))

    def n_patches(self, size: int) -> int | None:
        """Patches of an image of that size; None where the model does not cut patches of one size."""
        patch = getattr(getattr(self.model, "config", None), "patch_size", None)
        return (size // patch) ** 2 if isinstance(patch, int) else None

    def embed_and_tap(
        self, images: torch.Tensor, cut: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `embed`, and besides the hidden states [N, L, D] that enter block number `cut`."""
        seen: list[torch.Tensor] = []

        def tap(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            seen.append(arguments[0])

        handle = self.blocks()[cut].register_forward_pre_hook(tap)
        try:
            cls, tokens = self.embed(images)
        finally:
            handle.remove()
        return cls, tokens, seen[0]

    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks in order. Raises ConfigurationError where the model has none."""
        return find_blocks(self.model)


def load_backbone(
    model_id: str, size: int, revision: str | None = None, cache: Path | None = None
) -> Backbone:
    """A backbone by id. `cache`: where converted models are kept, else the user's cache folder.

    Raises ConfigurationError where it is not there, or its revision is not the one asked for.
    """
    folder = backbone_folder(model_id, cache)
    found = f"sha256:{digest(folder)}"
    if revision and not found.startswith(revision):
        raise ConfigurationError(
            f"{model_id} is {found[:19]}, the spec wants {revision[:19]}. Mend model.revision."
        )
    if model_id in PINNED and found != f"sha256:{PINNED[model_id]}":
        raise ConfigurationError(
            f"The converted copy {folder} was changed ({found[:19]}). Delete that folder and run again."
        )
    mean, std = normalisation(folder)
    return Backbone(model_id, found, load(folder), Preprocess(size, mean, std))


def backbone_folder(model_id: str, cache: Path | None = None) -> Path:
    """Where a backbone's files lie, made on first use for the built-in ones."""
    if model_id in BUILTIN:
        return BUILTIN[model_id](cache or Path(platformdirs.user_cache_dir("rwid")) / "backbones")
    if model_id.startswith("builtin:"):
        raise ConfigurationError(
            f"No backbone {model_id!r}; built in are {', '.join(BUILTIN)}. Mend model.id."
        )
    return Path(model_id)


def split_tokens(hidden: torch.Tensor, n_patches: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states [N, L, D] -> class vector [N, D] and patch tokens [N, P, D].

    What stands in front of the patches are class and register tokens. A model without a class token (or a convolutional
    one, [N, C, H, W]) gives the mean of its patches instead.
    """
    if hidden.ndim == 4:
        hidden = hidden.flatten(2).transpose(1, 2)  # [N, C, H, W] -> [N, H*W, C]
    n_prefix = max(0, hidden.shape[1] - (n_patches or hidden.shape[1]))
    patches = hidden[:, n_prefix:]
    return (hidden[:, 0] if n_prefix else patches.mean(1)), patches


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks that the model is built of, in the order of its modules, through all of its stages.

    Found by structure: of the modules that stand in lists with others of their class, those that hold most parameters;
    where these are stages, the blocks inside. Raises ConfigurationError where there are none.
    """
    from torch import nn

    families: dict[type, dict[int, nn.Module]] = {}
    for module in model.modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential) or len({type(m) for m in module}) != 1:
            continue
        if any(True for _ in module[0].children()):
            families.setdefault(type(module[0]), {}).update({id(m): m for m in module})
    if not families:
        raise ConfigurationError("This backbone has no blocks in lists: use method.kind probe or full.")
    found = max(families.values(), key=_weight)
    inside = {id(m) for block in found.values() for m in block.modules()} - found.keys()
    # the nearest below: what a block itself is made of in turn is no block
    nested = [
        family
        for family in families.values()
        if len(family) > len(found) and family.keys() <= inside and _weight(family) >= _MOST * _weight(found)
    ]
    found = min(nested, key=len, default=found)
    return list(found.values())


_MOST = 0.6
"""Share of a stage's parameters that its blocks hold; the rest is what lies between stages."""


def _weight(family: Mapping[int, nn.Module]) -> int:
    return sum(p.numel() for module in family.values() for p in module.parameters())


def is_staged(model: nn.Module) -> bool:
    """Whether the blocks stand in several lists, with something between them that changes the resolution."""
    names = {id(module): name for name, module in model.named_modules()}
    return len({names[id(block)].rpartition(".")[0] for block in find_blocks(model)}) > 1


def linear_names(model: nn.Module) -> list[str]:
    """Names of every linear layer inside the blocks: where low-rank updates go, whatever the release calls them.

    Raises ConfigurationError where there are none.
    """
    from torch import nn

    inside = {id(m) for block in find_blocks(model) for m in block.modules() if isinstance(m, nn.Linear)}
    if not inside:
        raise ConfigurationError(
            "This backbone has no linear layers in its blocks: use method.kind last_n or full."
        )
    return [name for name, module in model.named_modules() if id(module) in inside]


def _arguments(model: nn.Module, images: torch.Tensor) -> dict[str, Any]:
    """Models with a position table of one size must be asked to interpolate it; others do so, or have none."""
    arguments: dict[str, Any] = {"pixel_values": images}
    if "interpolate_pos_encoding" in _parameters(model.forward):
        arguments["interpolate_pos_encoding"] = True
    return arguments


def _parameters(code: Callable[..., Any]) -> set[str]:
    import inspect

    return set(inspect.signature(code).parameters)
