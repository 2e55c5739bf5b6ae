"""How the rows of a pack become what a backbone is shown, and whether the two fit each other.

What belongs here: kinds of rows against kinds of backbones, bytes to values. What does not: reading rows and augmenting
them (batches), what the rows are (curation.samples), normalising (backbones.preprocess). Loads without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.pack_recipe import PackRecipe
from curation.records import ConfigurationError
from curation.samples.volume import SCALES
from training.backbones.preprocess import Preprocess, VolumePreprocess
from training.model_spec import Input

if TYPE_CHECKING:
    import torch

    from curation.pack import Pack

DEFAULT_DEPTH = 64
"""Slices of a volume where neither the spec nor a backbone says how many."""


def recipe_of(seen: Input, preprocess: Preprocess | VolumePreprocess | None = None) -> PackRecipe:
    """The recipe of the pack that a spec's input asks for; a volume's depth is the backbone's where the spec is silent."""
    default = preprocess.depth if isinstance(preprocess, VolumePreprocess) else DEFAULT_DEPTH
    return seen.recipe(default)


def refuse_misfit(seen: Input, preprocess: Preprocess | VolumePreprocess, model_id: str) -> None:
    """Raises ConfigurationError where the backbone does not take rows of that kind."""
    takes_volumes = isinstance(preprocess, VolumePreprocess)
    if takes_volumes and seen.kind != "volume":
        raise ConfigurationError(
            f"{model_id} takes volumes, the spec shows it {seen.kind}s. Set model.input.kind to volume, or give another "
            "backbone as model.id."
        )
    if not takes_volumes and seen.kind == "volume":
        raise ConfigurationError(
            f"{model_id} takes images, not volumes. Set model.input.kind to tile, slab or clip, or give a 3-D encoder as "
            "model.id."
        )
    has_channels = seen.kind == "slab" or seen.color == "rgb"
    if has_channels and isinstance(preprocess, Preprocess) and len(preprocess.mean) != 3:
        raise ConfigurationError(
            f"{model_id} takes {len(preprocess.mean)} channel, slabs and rgb have three. Set model.input.kind to tile and "
            "model.input.color to luma."
        )


def unit_of(pack: Pack) -> str:
    """The unit of all rows. Raises ConfigurationError where a pack of volumes mixes several."""
    if pack.recipe.kind != "volume":
        return "level"
    units = sorted(set(pack.tiles.facts["unit"].to_pylist()))
    if len(units) > 1:
        raise ConfigurationError(
            f"The cohort's volumes are in several units ({', '.join(units)}). Narrow its series rule to one modality."
        )
    return str(units[0])


def refuse_unit(pack: Pack, preprocess: Preprocess | VolumePreprocess, model_id: str) -> None:
    """Raises ConfigurationError where volumes are in another unit than the backbone takes."""
    if isinstance(preprocess, VolumePreprocess) and (unit := unit_of(pack)) != preprocess.unit:
        raise ConfigurationError(
            f"{model_id} takes volumes in {preprocess.unit}, the cohort's are in {unit}. Narrow the cohort's series rule, or "
            "give another backbone as model.id."
        )


def values_of(raw: torch.Tensor, recipe: PackRecipe, unit: str) -> torch.Tensor:
    """Bytes of rows, uint8 [B, T, row_bytes], as values [B, T, *shape]; volumes get a channel, [B, T, 1, D, H, W].

    Tiles of 8 bits stay uint8, tiles of 16 bits become float32 in 0..255, volumes float32 in their unit.
    """
    import torch

    shape = (*raw.shape[:2], *recipe.shape)
    if recipe.dtype.itemsize == 1:
        return raw.view(shape)
    whole = raw.view(torch.int16).view(shape)
    if recipe.kind == "volume":
        return (whole.to(torch.float32) * SCALES[unit]).unsqueeze(2)
    return (whole.to(torch.int32) & 0xFFFF).to(torch.float32) / 257.0


def values_of_arrays(rows: NDArray[Any], recipe: PackRecipe, unit: str) -> torch.Tensor:
    """Rows as `curation.pack.read_tiles` gives them, [B, T, *recipe.shape], as values."""
    import torch

    plain = np.ascontiguousarray(rows, dtype=recipe.dtype).view(np.uint8)
    return values_of(torch.from_numpy(plain.reshape(*rows.shape[:2], recipe.row_bytes)), recipe, unit)
