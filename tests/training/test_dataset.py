"""The public door: the tuner's own examples, in the tuner's own order, and every one of them once."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from curation.records import ConfigurationError
from curation.settings import load_settings
from tests.training.planted import SIZE, lay_down
from training import batches
from training.dataset import CohortDataset, EpochOrder, Epochs, open_dataset
from training.examples import read_examples
from training.model_spec import Input

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    lay_down(load_settings(home).places.lake, n=60, tiles=2)
    return home


def opened(home: Path, split: str = "train") -> CohortDataset:
    return open_dataset(home, "planted", labels=["opacity"], split=split, size=SIZE, tiles=2)


def test_examples_are_those_of_the_tuner(home: Path) -> None:
    train = opened(home)
    lake = load_settings(home).places.lake
    examples = read_examples(train.examples.folder, ["opacity"])
    pack = batches.find_pack(lake, examples.folder, Input(size=SIZE, tiles=2), lambda done, total: None)
    tiles = batches.Tiles(pack, len(examples))
    assert len(train) == (examples.split == "train").sum() > 0
    for place, index in enumerate(train.indices):
        example = train[place]
        assert torch.equal(example["pixels"], tiles.take(np.array([index]))[0])
        assert example["labels"].tolist() == examples.labels[index].tolist()
        assert example["series_id"] == str(examples.series_id[index])


def test_splits_share_nobody_and_all_holds_everybody(home: Path) -> None:
    parts = [opened(home, split) for split in ("train", "tune", "test", "holdout")]
    seen = [int(i) for part in parts for i in part.indices]
    assert sorted(seen) == list(range(60)) == [int(i) for i in opened(home, "all").indices]
    patients = [{part[n]["patient_id"] for n in range(len(part))} for part in parts]
    assert not any(a & b for a in patients for b in patients if a is not b)


def test_the_order_is_the_tuner_s_and_a_loader_shows_everybody_once(home: Path) -> None:
    train = opened(home)
    order = EpochOrder(train, seed=3)
    for epoch in range(2):
        loader = DataLoader(train, batch_size=8, sampler=order)
        shown = [s for batch in loader for s in batch["series_id"]]
        expected = batches.epoch_order(train.indices, 3, epoch)
        assert shown == [str(train.examples.series_id[i]) for i in expected]
    batch = next(iter(DataLoader(train, batch_size=8)))
    assert batch["pixels"].shape == (8, 2, SIZE, SIZE) and batch["pixels"].dtype == torch.uint8


def test_an_interrupted_epoch_goes_on_with_the_next_example(home: Path) -> None:
    train = opened(home)
    whole = list(EpochOrder(train, seed=5)) + list(_second(train))
    order = EpochOrder(train, seed=5)
    drawn = iter(order)
    first = [next(drawn) for _ in range(7)]
    other = EpochOrder(train, seed=5)
    other.load_state_dict(order.state_dict())
    assert len(other) == len(train) - 7
    assert [*first, *other, *other] == whole
    with pytest.raises(ConfigurationError, match="seed"):
        EpochOrder(train, seed=6).load_state_dict(order.state_dict())


def _second(train: CohortDataset) -> EpochOrder:
    order = EpochOrder(train, seed=5)
    order.set_epoch(1)
    return order


def test_processes_share_an_epoch(home: Path) -> None:
    train = opened(home)
    shares = [list(EpochOrder(train, seed=1, rank=rank, world=4)) for rank in range(4)]
    assert sorted(place for share in shares for place in share) == list(range(len(train)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(EpochOrder(train, rank=rank, world=4)) for rank in range(4)] == [len(s) for s in shares]


def test_what_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="no split 'validation'"):
        opened(home, "validation")
    with pytest.raises(ConfigurationError, match="no label nodule"):
        open_dataset(home, "planted", labels=["nodule"], size=SIZE, tiles=2)
    with pytest.raises(ConfigurationError, match="rank"):
        EpochOrder(opened(home), rank=4, world=4)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_go_on_behind_what_was_trained_on_though_workers_draw_ahead(home: Path, workers: int) -> None:
    train = opened(home)
    expected = [str(train.examples.series_id[i]) for i in batches.epoch_order(train.indices, 3, 0)]
    first = Epochs(train, 4, seed=3, num_workers=workers)
    shown: list[str] = []
    for n, batch in enumerate(first):
        shown += batch["series_id"]
        if n == 2:
            state = first.state_dict()
            break
    assert state == {"seed": 3, "epoch": 0, "shown": 12}
    second = Epochs(train, 4, seed=3, num_workers=workers)
    second.load_state_dict(state)
    assert len(second) == -(-(len(train) - 12) // 4)
    assert shown + [s for batch in second for s in batch["series_id"]] == expected
    assert second.state_dict() == {"seed": 3, "epoch": 1, "shown": 0}


def test_epochs_are_shared_and_read_from_disk_alike(home: Path) -> None:
    train = opened(home)
    on_disk = open_dataset(home, "planted", labels=["opacity"], size=SIZE, tiles=2, memory_mb=0)
    for rank in range(3):
        pairs = zip(
            Epochs(train, 4, 1, rank=rank, world=3), Epochs(on_disk, 4, 1, rank=rank, world=3), strict=True
        )
        for a, b in pairs:
            assert a["series_id"] == b["series_id"] and torch.equal(a["pixels"], b["pixels"])


def test_a_dataset_can_be_handed_to_a_process(home: Path) -> None:
    for memory in (None, 0):
        train = open_dataset(home, "planted", labels=["opacity"], size=SIZE, tiles=2, memory_mb=memory)
        again = pickle.loads(pickle.dumps(train))
        assert torch.equal(again[5]["pixels"], train[5]["pixels"])


def test_members_without_pixels_are_in_no_split(tmp_path: Path) -> None:
    lay_down(load_settings(tmp_path).places.lake, n=60, tiles=2, left_out=(3, 30))
    everybody = opened(tmp_path, "all")
    assert len(everybody) == 58
    assert len({everybody[i]["series_id"] for i in range(58)}) == 58
