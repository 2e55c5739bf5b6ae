"""Token pack -> tensors. Order and augmentation are functions of counters (seed, epoch, example), never of state.

A counter-based generator (Philox) is asked afresh for every draw, so a run that was killed and resumed sees the same
bytes as one that was not. What does not belong here: models, caches, the loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.fixed_rows import FixedRows
from curation.lake import Lake
from curation.pack import PACK_VERSION, PackRecipe, build_pack, open_pack
from curation.records import ConfigurationError
from training.ahead import Ahead, memory_budget
from training.model_spec import Input
from training.shown import recipe_of, unit_of, values_of

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_WEIGHT = 20.0
"""A cell of one example must not shout down the rest."""

WINDOW_BYTES = 256 << 20
"""Tiles that are shuffled among each other in a pack too large to be read in any order."""

ADVISED_BYTES = 64 << 20
"""How far ahead the system is told which row groups come: a slow disk needs to know early."""

DEVICE_SHARE = 0.5
"""Of the free memory of a GPU: the rest is for the model."""

LOAD_BYTES = 64 << 20

_ORDER, _AUGMENT, _VIEW, _STEP, _SOME = 0, 1, 2, 3, 4
"""Streams of random numbers: never shared between purposes."""


@dataclass(frozen=True)
class Layout:
    """Where members lie in their pack: all that the order of a pack larger than the window needs to know of it."""

    group_of: Ints
    """[N] number of the row group that holds a member's first tile."""
    member_bytes: int


class Tiles:
    """The rows of one pack, [N members, T rows, *recipe.shape]: on the GPU where they fit, else in memory, else on disk.

    `memory`: bytes that they may take in memory; None: a quarter of the machine's. Where they lie changes no value and no
    order. Nothing is read before the first `take`.
    """

    def __init__(
        self, folder: Path, n_members: int, *, memory: int | None = None, device: torch.device | None = None
    ) -> None:
        pack = open_pack(folder)
        self.folder, self.facts = folder, pack.facts
        self.recipe, self.unit = pack.recipe, unit_of(pack)
        self.n_tiles = pack.tiles_per_series
        self._rows = FixedRows(folder / "tiles.parquet", "tile")
        if len(self._rows) != n_members * self.n_tiles:
            raise ConfigurationError(
                f"Pack {folder.name} has {len(self._rows)} tiles for {n_members} members: it is not this cohort's. Delete its "
                "folder; it will be built again."
            )
        group_of = np.searchsorted(self._rows.starts, np.arange(n_members) * self.n_tiles, side="right") - 1
        self.layout = Layout(group_of, self._rows.width * self.n_tiles)
        self._memory, self._device = memory_budget() if memory is None else memory, device
        self._resident: torch.Tensor | None = None
        self._ahead: Ahead | None = None

    def __len__(self) -> int:
        return len(self.layout.group_of)

    @property
    def n_bytes(self) -> int:
        """All tiles."""
        return len(self) * self.layout.member_bytes

    def take(self, indices: Ints) -> torch.Tensor:
        """[B, T, *shape] of those members, a copy; on the GPU where the rows lie there. Types: see shown.values_of."""
        return values_of(self._raw(indices), self.recipe, self.unit)

    def rows(self, indices: Ints) -> NDArray[Any]:
        """[B, T, *recipe.shape] of those members as the pack has them: what a released model takes."""
        plain = np.ascontiguousarray(self._raw(indices).cpu().numpy())
        return plain.view(self.recipe.dtype).reshape(*plain.shape[:2], *self.recipe.shape)

    def _raw(self, indices: Ints) -> torch.Tensor:
        import torch

        self.settle()
        if self._resident is not None:
            return self._resident.index_select(0, to_device(torch.from_numpy(indices), self._resident.device))
        found = self._ahead.get(indices) if self._ahead else None
        return self._fill(self._empty(len(indices)), indices) if found is None else found

    def settle(self) -> None:
        """Brings the tiles to where they fit as a whole, before processes are forked that would each do it."""
        if self._resident is None and (home := self._home()) is not None:
            self._resident = self._load(home)

    def expect(self, batches: list[Ints]) -> None:
        """Says which batches will be taken next, so that a thread reads them ahead. `take` gives the same without it."""
        self.close()
        if self._resident is not None or self._home() is not None:
            return
        told: set[int] = set()

        def advise(members: Ints) -> None:
            groups = set(self.layout.group_of[members].tolist()) - told
            told.update(groups)
            self._rows.advise(sorted(groups))

        far = ADVISED_BYTES // self.layout.member_bytes
        self._ahead = Ahead(self._empty, self._fill, advise, batches, far)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process: it reads by itself, nothing ahead."""
        return {**self.__dict__, "_ahead": None}

    def close(self) -> None:
        """Nothing is expected any more."""
        if self._ahead:
            self._ahead.close()
        self._ahead = None

    def _home(self) -> torch.device | None:
        """Where the tiles fit as a whole; None: they stay on disk."""
        import torch

        if self._device is not None and self._device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device)
            if self.n_bytes <= DEVICE_SHARE * free:
                return self._device
        return torch.device("cpu") if self.n_bytes <= self._memory else None

    def _load(self, home: torch.device) -> torch.Tensor:
        import torch

        whole = torch.empty((len(self), self.n_tiles, self._rows.width), dtype=torch.uint8, device=home)
        step = max(1, LOAD_BYTES // self.layout.member_bytes)
        for chunk in batches_of(np.arange(len(self)), step):
            whole[int(chunk[0]) : int(chunk[-1]) + 1] = self._fill(self._empty(len(chunk)), chunk)
        return whole

    def _empty(self, n: int) -> torch.Tensor:
        import torch

        is_pinned = (
            self._device is not None and self._device.type == "cuda"
        )  # copies to the GPU need not wait
        return torch.empty((n, self.n_tiles, self._rows.width), dtype=torch.uint8, pin_memory=is_pinned)

    def _fill(self, out: torch.Tensor, indices: Ints) -> torch.Tensor:
        rows = out.numpy().reshape(len(indices), self.n_tiles, self._rows.width)
        for place, index in enumerate(indices.tolist()):
            self._rows.read_into(index * self.n_tiles, rows[place])
        return out


def find_pack(
    lake_root: Path, cohort: Path, wanted: Input | PackRecipe, progress: Callable[[int, int], None]
) -> Path:
    """The cohort's pack of that recipe, with or without text, built where it is not there.

    progress(done, total) counts members. Raises PackError where nothing can be read.
    """
    recipe = recipe_of(wanted) if isinstance(wanted, Input) else wanted
    for path in sorted((cohort / "packs").glob("*/pack.json")):
        facts = json.loads(path.read_text())
        if facts["pack_version"] == PACK_VERSION:
            there = PackRecipe(**{**facts["recipe"], "text": recipe.text, "tokenizer": recipe.tokenizer})
            if there == recipe:
                return path.parent
    return build_pack(Lake(lake_root), cohort.name, recipe, progress=progress)


def epoch_order(indices: Ints, seed: int, epoch: int, layout: Layout | None = None) -> Ints:
    """The indices in the order of one epoch, each once; a function of the arguments alone.

    With a layout, what is larger than WINDOW_BYTES is shuffled as row groups and then within windows of that size, so that
    a disk reads whole row groups. It holds wherever the tiles lie: a run is the same on a machine with more memory.
    """
    generator = _generator(seed, _ORDER, epoch)
    if layout is None or len(indices) * layout.member_bytes <= WINDOW_BYTES:
        return generator.permutation(indices)
    rank = generator.permutation(int(layout.group_of.max()) + 1)
    order = indices[np.argsort(rank[layout.group_of[indices]], kind="stable")]
    return np.concatenate([generator.permutation(w) for w in batches_of(order, _in_window(layout))])


def _in_window(layout: Layout) -> int:
    return max(1, WINDOW_BYTES // layout.member_bytes)


class Steps:
    """Which examples each step of a run shows: batches of an epoch's order, epoch after epoch.

    An epoch's batches are of one size, or one less: a rest of a few would have a step of its own, and no mean to speak of.
    With `world` processes a step shows the same examples as one process would with a batch `world` times as large, each
    process every world-th of them: every example once an epoch, none twice to fill up; at an epoch's end a process may
    get one less than another, or none.
    """

    def __init__(
        self,
        indices: Ints,
        seed: int,
        batch_size: int,
        layout: Layout | None = None,
        *,
        rank: int = 0,
        world: int = 1,
        expect: Callable[[list[Ints]], None] = lambda batches: None,
    ) -> None:
        if not 0 <= rank < world:
            raise ConfigurationError(f"rank is {rank} of {world} processes; it counts from 0 to {world - 1}.")
        self._indices, self._seed, self._layout = indices, seed, layout
        self._size, self._rank, self._world, self._expect = batch_size * world, rank, world, expect
        self._epoch, self._due = -1, -1
        self._batches: list[Ints] = []

    @property
    def an_epoch(self) -> int:
        """Steps an epoch."""
        return -(-len(self._indices) // self._size)

    def at(self, step: int) -> tuple[int, int, Ints]:
        """Epoch, step within it, and the members to show. `expect` hears of an epoch's batches from there on."""
        epoch, offset = divmod(step, self.an_epoch)
        if epoch != self._epoch:
            order = epoch_order(self._indices, self._seed, epoch, self._layout)
            shown = np.array_split(order, self.an_epoch)
            self._batches = [b[self._rank :: self._world] for b in shown]
        if epoch != self._epoch or step != self._due:
            self._expect(self._batches[offset:])
        self._epoch, self._due = epoch, step + 1
        return epoch, offset, self._batches[offset]


def batches_of(indices: Ints, size: int) -> Iterator[Ints]:
    """The indices in batches, the last one may be smaller."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def some_of(indices: Ints, n: int, seed: int) -> Ints:
    """At most n of the indices, the same every time, in their order."""
    if len(indices) <= n:
        return indices
    return indices[np.sort(_generator(seed, _SOME).choice(len(indices), n, replace=False))]


def view_of(index: int, seed: int, epoch: int, n_views: int) -> int:
    """Which cached view an example shows in one epoch."""
    return int(_generator(seed, _VIEW, epoch, index).integers(n_views))


def step_seed(seed: int, step: int, row: int) -> int:
    """Where torch's own generator starts in one pass of one step: what a model draws (dropout) is no state either."""
    return int(_generator(seed, _STEP, step, row).integers(2**63))


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor there; from pinned memory, so that the host does not wait for the copy."""
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def augment(
    tiles: torch.Tensor, indices: Ints, seed: int, epoch: int, limits: tuple[float, float] = (0.0, 255.0)
) -> torch.Tensor:
    """Light augmentation of [B, T, ..., H, W], float32: shift to 4 %, scale to 6 %, rotation to 4 degrees, gain, offset
    and noise. The same for all tiles of a series, channels and slices, but for the noise. Never a flip: sides have a
    meaning. `limits` are the values of black and white, beyond which nothing is kept.

    Computed where the tiles are. What is drawn depends on counters alone; noise is drawn there too, so that two kinds of
    device draw different noise, each of them the same every time.
    """
    import torch
    from torch.nn import functional

    draws = [_generator(seed, _AUGMENT, epoch, int(i)) for i in indices]
    knobs = torch.from_numpy(np.stack([g.uniform(-1, 1, size=6) for g in draws]).astype(np.float32))
    knobs = to_device(knobs, tiles.device)
    noise = _noise(draws, tuple(tiles.shape[1:]), tiles.device)
    scale, angle = 1 + 0.06 * knobs[:, 2], torch.deg2rad(4 * knobs[:, 3])
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = 0.08 * knobs[:, :2]  # of a grid from -1 to 1: 0.08 are 4 % of the width
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1).view(-1, 2, 3)
    low, high = limits
    images = tiles.to(torch.float32).flatten(1, -3)  # [B, C, H, W]
    if limits != (0.0, 255.0):
        images = (images - low) * (255 / (high - low))
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain, offset = (1 + 0.15 * knobs[:, 4]).view(-1, 1, 1, 1), (20 * knobs[:, 5]).view(-1, 1, 1, 1)
    levels = (moved * gain + offset + 3 * noise.flatten(1, -3)).clamp(0, 255).view(tiles.shape)
    return levels if limits == (0.0, 255.0) else levels * ((high - low) / 255) + low


def _noise(draws: list[np.random.Generator], shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Standard normal numbers [B, *shape], float32; an example's own generator gives them, or starts the device's."""
    import torch

    if device.type == "cpu":
        return torch.from_numpy(np.stack([g.standard_normal(shape, dtype=np.float32) for g in draws]))
    generator = torch.Generator(device)
    noise = torch.empty(len(draws), *shape, device=device)
    for row, draw in zip(noise, draws, strict=True):
        row.normal_(generator=generator.manual_seed(int(draw.integers(2**63))))
    return noise


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
