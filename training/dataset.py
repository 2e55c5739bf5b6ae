"""A cohort for people's own scripts: a torch Dataset with the tuner's tiles, splits, order and resume.

    train = open_dataset("rwid-home", "demo", labels=["nodule"], split="train")
    for batch in Epochs(train, batch_size=32, seed=1):
        batch["pixels"], batch["labels"]

What belongs here: the door. What does not: tiles (curation.pack), order and augmentation (batches), a loop (loop), the
same for Hugging Face (hugging_face).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from curation.cohort_folder import find_cohort
from curation.lake import Lake
from curation.pack import PackRecipe, open_pack
from curation.records import ConfigurationError
from curation.settings import load_settings
from training import batches
from training.examples import SPLITS, Examples, read_examples
from training.model_spec import Input


class Example(TypedDict):
    """One member of a cohort; torch's default_collate makes batches of them."""

    pixels: torch.Tensor
    """[T, *shape] as training.shown.values_of says; uint8 [T, H, W] of tiles, bright is dense, padded to a square."""
    labels: torch.Tensor
    """float32 [L], in the order of the names asked for: 1, 0, -1 uncertain, NaN unknown."""
    site: str
    study_id: str
    series_id: str
    patient_id: str


class CohortDataset(Dataset[Example]):
    """The members of one split, in the cohort's own order; `indices` are their places in the whole cohort."""

    def __init__(self, examples: Examples, tiles: batches.Tiles, indices: batches.Ints) -> None:
        self.examples, self.tiles, self.indices = examples, tiles, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Example:
        """The example at a place of the split. Raises IndexError beyond it."""
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[Example]:
        """Examples of a batch, as torch's fetcher asks for them."""
        indices = self.indices[np.asarray(places)]
        pixels = self.tiles.take(indices)
        return [self._example(int(index), one) for index, one in zip(indices, pixels, strict=True)]

    def _example(self, index: int, pixels: torch.Tensor) -> Example:
        said = self.examples
        return Example(
            pixels=pixels,
            labels=torch.from_numpy(said.labels[index].astype(np.float32)),
            site=str(said.site[index]),
            study_id=str(said.study_id[index]),
            series_id=str(said.series_id[index]),
            patient_id=str(said.patient_id[index]),
        )


class EpochOrder(Sampler[int]):
    """The order in which the tuner would show a dataset: a function of (seed, epoch), the same on every machine.

    With `world` processes each takes its own share and every example is shown exactly once an epoch; shares differ by one
    at most. `state_dict` and `load_state_dict` are torchdata's: an interrupted epoch goes on behind the last example drawn.
    DataLoader's worker processes draw ahead of what was trained on: with them take `Epochs`, which counts what it gave.
    """

    def __init__(self, dataset: CohortDataset, seed: int = 0, *, rank: int = 0, world: int = 1) -> None:
        if not 0 <= rank < world:
            raise ConfigurationError(f"rank is {rank} of {world} processes; it counts from 0 to {world - 1}.")
        self.dataset, self.seed, self.rank, self.world = dataset, seed, rank, world
        self.epoch = self.shown = 0

    def __len__(self) -> int:
        return len(range(self.rank, len(self.dataset), self.world)) - self.shown

    def __iter__(self) -> Iterator[int]:
        """Places in the dataset, from where the epoch was left; at its end the next epoch is due."""
        places = {int(index): place for place, index in enumerate(self.dataset.indices)}
        for index in self.due():
            self.shown += 1
            yield places[int(index)]
        self.epoch, self.shown = self.epoch + 1, 0

    def due(self) -> batches.Ints:
        """The members of this process's share of the epoch that were not drawn yet, in order."""
        whole = batches.epoch_order(self.dataset.indices, self.seed, self.epoch, self.dataset.tiles.layout)
        return whole[self.rank :: self.world][self.shown :]

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch."""
        self.epoch, self.shown = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch and how many examples of it this process has drawn."""
        return {"seed": self.seed, "epoch": self.epoch, "shown": self.shown}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state_dict. Raises ConfigurationError where it is of another seed."""
        if state["seed"] != self.seed:
            raise ConfigurationError(
                f"The state was drawn with seed {state['seed']}, this order has {self.seed}."
            )
        self.epoch, self.shown = state["epoch"], state["shown"]


class Epochs:
    """One epoch of batches at each iteration, in the tuner's order; `state_dict` counts the batches that were given out.

    `options` are DataLoader's, such as num_workers or collate_fn. Without workers a thread of this process reads ahead, which is
    faster than workers for tiles, since they need no decoding. A state taken in the loop's body counts the batch at hand.
    """

    def __init__(
        self,
        dataset: CohortDataset,
        batch_size: int,
        seed: int = 0,
        *,
        rank: int = 0,
        world: int = 1,
        **options: Any,
    ) -> None:
        self.order = EpochOrder(dataset, seed, rank=rank, world=world)
        self.batch_size, self._options = batch_size, options

    def __len__(self) -> int:
        """Batches that this epoch still has."""
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """Batches as DataLoader collates them, from where the epoch was left; at its end the next epoch is due."""
        data = self.order.dataset
        coming = list(batches.batches_of(self.order.due(), self.batch_size))
        by_index = np.argsort(data.indices)
        places = [
            by_index[np.searchsorted(data.indices, members, sorter=by_index)].tolist() for members in coming
        ]
        if not self._options.get("num_workers"):
            data.tiles.expect(coming)
        loader: DataLoader[Example] = DataLoader(data, batch_sampler=places, **self._options)
        for members, batch in zip(coming, loader, strict=True):
            self.order.shown += len(members)
            yield batch
        self.order.set_epoch(self.order.epoch + 1)

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch and how many examples of it were given out by this process."""
        return self.order.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state_dict. Raises ConfigurationError where it is of another seed."""
        self.order.load_state_dict(state)


def open_dataset(
    home: str | Path,
    cohort: str,
    *,
    labels: Sequence[str],
    split: str = "train",
    size: int = 224,
    tiles: int = 1,
    recipe: PackRecipe | None = None,
    memory_mb: int | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> CohortDataset:
    """A split of a cohort by name or id; its pack is shared with the tuner and built where it is not there.

    size is the height and width of a tile in px, tiles how many of a series (slices evenly apart); a recipe says
    instead what else is to be shown: slabs, volumes, clips, colour. A pack of more than
    memory_mb MiB (None: a quarter of the machine's) is read from disk. progress(done, total) counts members while it is built.
    Raises ConfigurationError where the cohort, a label or the split is not there, PackError where nothing of the cohort can be
    read; members that cannot are left out.
    """
    if split not in (*SPLITS, "all"):
        raise ConfigurationError(f"There is no split '{split}'; there are: {', '.join(SPLITS)}, all.")
    lake = load_settings(Path(home)).places.lake
    examples = read_examples(find_cohort(Lake(lake), cohort), labels)
    wanted = recipe or Input(size=size, tiles=tiles)
    pack = batches.find_pack(lake, examples.folder, wanted, progress or (lambda done, total: None))
    examples = examples.without(open_pack(pack).left_out["member_index"].to_pylist())
    everybody = np.arange(len(examples))
    indices = everybody if split == "all" else np.flatnonzero(examples.split == split)
    if not len(indices):
        there = ", ".join(sorted(set(examples.split.tolist())))
        raise ConfigurationError(f"Cohort {cohort} has nobody in split '{split}'; it has: {there}.")
    tiles_of = batches.Tiles(pack, len(examples), memory=None if memory_mb is None else memory_mb << 20)
    tiles_of.settle()
    return CohortDataset(examples, tiles_of, indices)
