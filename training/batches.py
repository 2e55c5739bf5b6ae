"""Token pack -> tensors. Order and augmentation are functions of counters (seed, epoch, example), never of state.

A counter-based generator (Philox) is asked afresh for every draw, so a run that was killed and resumed sees the same
bytes as one that was not. What does not belong here: models, caches, the loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.lake import Lake
from curation.pack import PACK_VERSION, PackRecipe, build_pack, open_pack
from curation.records import ConfigurationError
from training.spec import Input

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_WEIGHT = 20.0
"""A cell of one example must not shout down the rest."""

_ORDER, _AUGMENT, _VIEW = 0, 1, 2
"""Streams of random numbers: never shared between purposes."""


class Tiles:
    """The tiles of one pack, uint8 [N members, T tiles, H, W], in memory: 5 GB hold 100,000 at 224 px."""

    def __init__(self, folder: Path, n_members: int) -> None:
        pack = open_pack(folder)
        self.folder, self.facts = folder, pack.facts
        flat = np.concatenate([pack.tiles[group] for group in range(len(pack.tiles))])  # [N * T, H, W]
        if len(flat) != n_members * pack.tiles_per_series:
            raise ConfigurationError(
                f"Pack {folder.name} has {len(flat)} tiles for {n_members} members: it is not this cohort's. Delete its "
                "folder; it will be built again."
            )
        self.array: NDArray[np.uint8] = flat.reshape(n_members, pack.tiles_per_series, *flat.shape[1:])

    @property
    def size(self) -> int:
        """Height and width, px."""
        return int(self.array.shape[-1])

    @property
    def n_tiles(self) -> int:
        """Tiles a member."""
        return int(self.array.shape[1])

    def take(self, indices: Ints) -> torch.Tensor:
        """uint8 [B, T, H, W] of those members."""
        import torch

        return torch.from_numpy(self.array[indices])


def find_pack(lake_root: Path, cohort: Path, seen: Input, progress: Callable[[int, int], None]) -> Path:
    """The cohort's pack of that size and number of tiles, with or without text, built where it is not there.

    progress(done, total) counts members. Raises PackError where frames are missing or do not decode.
    """
    for path in sorted((cohort / "packs").glob("*/pack.json")):
        facts = json.loads(path.read_text())
        recipe = facts["recipe"]
        if (facts["pack_version"], recipe["size"], recipe["tiles_per_series"]) == (
            PACK_VERSION,
            seen.size,
            seen.tiles,
        ):
            return path.parent
    recipe = PackRecipe(size=seen.size, tiles_per_series=seen.tiles, text=False)
    return build_pack(Lake(lake_root), cohort.name, recipe, progress=progress)


def epoch_order(indices: Ints, seed: int, epoch: int) -> Ints:
    """The indices in the order of one epoch."""
    return _generator(seed, _ORDER, epoch).permutation(indices)


def batches_of(indices: Ints, size: int) -> Iterator[Ints]:
    """The indices in batches, the last one may be smaller."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def view_of(index: int, seed: int, epoch: int, n_views: int) -> int:
    """Which cached view an example shows in one epoch."""
    return int(_generator(seed, _VIEW, epoch, index).integers(n_views))


def augment(tiles: torch.Tensor, indices: Ints, seed: int, epoch: int) -> torch.Tensor:
    """Light augmentation of [B, T, H, W] in 0..255, float32: shift to 4 %, scale to 6 %, rotation to 4 degrees, gain,
    offset and noise. The same for all tiles of a series but for the noise. Never a flip: sides have a meaning.
    """
    import torch
    from torch.nn import functional

    draws = [_generator(seed, _AUGMENT, epoch, int(i)) for i in indices]
    knobs = torch.from_numpy(np.stack([g.uniform(-1, 1, size=6) for g in draws]).astype(np.float32))
    noise = torch.from_numpy(np.stack([g.standard_normal(tiles.shape[1:], dtype=np.float32) for g in draws]))
    scale, angle = 1 + 0.06 * knobs[:, 2], torch.deg2rad(4 * knobs[:, 3])
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = 0.08 * knobs[:, :2]  # of a grid from -1 to 1: 0.08 are 4 % of the width
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1).view(-1, 2, 3)
    images = tiles.to(torch.float32)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain, offset = (1 + 0.15 * knobs[:, 4]).view(-1, 1, 1, 1), (20 * knobs[:, 5]).view(-1, 1, 1, 1)
    return (moved * gain + offset + 3 * noise).clamp(0, 255)


def loss_weights(
    targets: Floats, site: NDArray[np.str_], policy: str, groups: Callable[[Floats], Ints]
) -> Floats:
    """[N, C] weights, mean 1 over known labels of each output; 0 where unknown.

    label: the groups of an output (its classes, say) weigh the same. site_x_label: every cell of site and group weighs the
    same, so that knowing the site does not help to guess the label. groups: known targets of one output -> group of each.
    """
    weights = (~np.isnan(targets)).astype(np.float64)
    if policy == "none":
        return weights
    cells_of = site if policy == "site_x_label" else np.full(len(site), "all")
    for column in range(targets.shape[1]):
        known = ~np.isnan(targets[:, column])
        if not known.any():
            continue
        cell = np.char.add(cells_of[known], np.char.mod(" %d", groups(targets[known, column])))
        _, number, count = np.unique(cell, return_inverse=True, return_counts=True)
        each = np.minimum(known.sum() / (len(count) * count[number]), MAX_WEIGHT)
        weights[known, column] = each / each.mean()
    return weights


def _generator(*counters: int) -> np.random.Generator:
    """A generator that depends on (seed, stream, epoch, example) alone."""
    seed, stream, *rest = counters
    counter = [0, 0, *[*rest, 0, 0][:2]]  # the low words count the draws
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=counter))
