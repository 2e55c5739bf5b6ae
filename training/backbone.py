"""What a backbone is: images in, one vector and patch tokens out; blocks that can be cut, frozen or given updates.

What belongs here: what the rest of the tuner asks of a model. What does not: finding its parts (structure), where weights
come from (backbones), heads and low-rank updates (method).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from curation.records import ConfigurationError
from training.backbones import BUILTIN, PINNED, VOLUMES, adapter
from training.backbones.folder import digest, load, normalisation
from training.backbones.preprocess import Preprocess, VolumePreprocess
from training.structure import Flow, follow, put_before, taken_before

if TYPE_CHECKING:
    import torch
    from torch import nn

    from training.model_spec import Code


@dataclass(frozen=True)
class Backbone:
    """A loaded vision model. revision: `sha256:` of config and weights."""

    id: str
    revision: str
    model: nn.Module
    preprocess: Preprocess | VolumePreprocess

    def embed(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, *preprocess.shape] -> class vector [N, D], patch tokens [N, P, D], after the last norm."""
        hidden = last_hidden(self.model(**_arguments(self.model, images)))
        return split_tokens(hidden, self.n_patches(images.shape[-2], images.shape[-1]))

    def n_patches(self, height: int, width: int) -> int | None:
        """Patches of an image of that size, px; None where the model does not cut patches of one size."""
        patch = getattr(getattr(self.model, "config", None), "patch_size", None)
        sides = (patch, patch) if isinstance(patch, int) else tuple(patch or ())
        return (height // sides[0]) * (width // sides[1]) if len(sides) == 2 else None

    def embed_and_tap(
        self, images: torch.Tensor, cut: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `embed`, and besides the hidden states [N, ...] that enter block number `cut`."""
        with taken_before(self.blocks()[cut]) as seen:
            cls, tokens = self.embed(images)
        return cls, tokens, seen[0]

    def embed_from(self, hidden: torch.Tensor, cut: int) -> tuple[torch.Tensor, torch.Tensor]:
        """What `embed_and_tap` gave besides those hidden states. What lies before the cut sees one blank image."""
        with put_before(self.blocks()[cut], hidden):
            return self.embed(self.blank(hidden.device))

    def blank(self, device: torch.device | None = None) -> torch.Tensor:
        """One image of zeros as the model takes them, [1, *preprocess.shape]."""
        import torch

        return torch.zeros(1, *self.preprocess.shape, device=device)

    def blocks(self) -> list[nn.Module]:
        """The blocks in the order in which a pass enters them. Raises ConfigurationError where the model has none."""
        if not self.flow.blocks:
            raise ConfigurationError("This backbone has no blocks in lists: use method.kind probe or full.")
        return [self.model.get_submodule(name) for name in self.flow.blocks]

    @cached_property
    def flow(self) -> Flow:
        """How a pass goes through the model, by two passes of a blank image.

        Raises ConfigurationError where the model does not take images of that size, or two passes differ.
        """
        device = next(self.model.parameters()).device
        try:
            return follow(self.model, lambda: self.embed(self.blank(device)))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigurationError(
                f"{self.id} does not take an image of {self.preprocess.size} px: {reason}. Mend model.input.size or model.id."
            ) from None

    def check_cut(self, cut: int) -> None:
        """Raises ConfigurationError where hidden states at that block do not hold all that comes after it needs."""
        import torch

        images = torch.randn(2, *self.blank().shape[1:], generator=torch.Generator().manual_seed(0))
        images = images.to(next(self.model.parameters()).device)
        with torch.inference_mode():
            *whole, hidden = self.embed_and_tap(images, cut)
            try:
                resumed = self.embed_from(hidden, cut)
                fits = all(
                    torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(whole, resumed, strict=True)
                )
            except RuntimeError:  # shapes of two images met those of one
                fits = False
        if not fits:
            raise ConfigurationError(
                "method.kind cut does not fit this backbone: its last blocks read more than the hidden states before them "
                "(skip connections between stages?). Use lora, last_n, full or probe."
            )


def load_backbone(
    model_id: str,
    size: int,
    revision: str | None = None,
    cache: Path | None = None,
    code: Code | None = None,
) -> Backbone:
    """A backbone by id. `cache`: where converted models are kept, else the user's cache folder; `code`: which of a folder's
    own may run.

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
    if name := adapter.named_in(folder):
        brought = adapter.find_adapter(name)
        config = json.loads((folder / "config.json").read_text())
        return Backbone(model_id, found, adapter.load(folder, brought), brought.preprocess(config, size))
    mean, std = normalisation(folder)
    return Backbone(model_id, found, load(folder, code), Preprocess(size, mean, std))


def backbone_folder(model_id: str, cache: Path | None = None) -> Path:
    """Where a backbone's files lie, made on first use for the built-in ones."""
    known = {**BUILTIN, **VOLUMES}
    if model_id in known:
        return known[model_id](cache or Path(platformdirs.user_cache_dir("rwid")) / "backbones")
    if model_id.startswith("builtin:"):
        raise ConfigurationError(f"No backbone {model_id!r}; built in are {', '.join(known)}. Mend model.id.")
    return Path(model_id)


def last_hidden(output: Any) -> torch.Tensor:
    """The last hidden states of whatever a model gives back: a tensor, an output with that name, or feature maps."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    hidden = getattr(output, "last_hidden_state", None)
    if hidden is None and (maps := getattr(output, "feature_maps", None)):
        hidden = maps[-1]
    if not isinstance(hidden, torch.Tensor):
        raise TypeError(f"it gives {type(output).__name__}, which holds no last hidden states")
    return hidden


def split_tokens(hidden: torch.Tensor, n_patches: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Last hidden states [N, L, D] -> class vector [N, D] and patch tokens [N, P, D].

    What stands in front of the patches are class and register tokens. A model without a class token (or a convolutional
    one, [N, C, H, W]) gives the mean of its patches instead.
    """
    if hidden.ndim > 3:
        hidden = hidden.flatten(2).transpose(1, 2)  # [N, C, H, W] or [N, C, D, H, W] -> [N, H*W or D*H*W, C]
    n_prefix = max(0, hidden.shape[1] - (n_patches or hidden.shape[1]))
    patches = hidden[:, n_prefix:]
    return (hidden[:, 0] if n_prefix else patches.mean(1)), patches


def _arguments(model: nn.Module, images: torch.Tensor) -> dict[str, Any]:
    """Models with a position table of one size must be asked to interpolate it; others do so, or have none."""
    arguments: dict[str, Any] = {"pixel_values": images}
    if "interpolate_pos_encoding" in _parameters(model.forward):
        arguments["interpolate_pos_encoding"] = True
    return arguments


def _parameters(code: Callable[..., Any]) -> set[str]:
    import inspect

    return set(inspect.signature(code).parameters)
