"""The Hugging Face door shows what the torch door shows: the same rows, splits, order and resume."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from curation.records import ConfigurationError
from curation.settings import load_settings
from tests.training.planted import SIZE, lay_down
from training.dataset import CohortDataset, EpochOrder, open_dataset
from training.hugging_face import open_hf, to_hf

pytest.importorskip("datasets", reason="needs the extra rwid[hf]")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    lay_down(load_settings(home).places.lake, n=60, tiles=2)
    return home


def test_rows_are_those_of_the_torch_dataset_split_by_split(home: Path) -> None:
    splits = open_hf(home, "planted", labels=["opacity"], size=SIZE, tiles=2)
    assert set(splits) == {"train", "tune", "test", "holdout"}
    for name, split in splits.items():
        own = open_dataset(home, "planted", labels=["opacity"], split=name, size=SIZE, tiles=2)
        assert len(split) == len(own) and set(split["split"]) == {name}
        for row, example in zip(split, own, strict=True):
            assert torch.equal(row["pixels"], example["pixels"])
            assert (row["series_id"], row["site"]) == (example["series_id"], example["site"])
            assert row["opacity"] == example["labels"][0]


def test_order_and_resume_are_the_tuner_s(home: Path) -> None:
    train = open_dataset(home, "planted", labels=["opacity"], size=SIZE, tiles=2)
    rows, order = to_hf(train), EpochOrder(train, seed=3)
    loader = DataLoader(rows, batch_size=8, sampler=order)
    shown = [s for batch in loader for s in batch["series_id"]]
    again = EpochOrder(train, seed=3)
    again.load_state_dict({"seed": 3, "epoch": 0, "shown": 8})
    rest = [s for batch in DataLoader(rows, batch_size=8, sampler=again) for s in batch["series_id"]]
    due = EpochOrder(train, seed=3).due()
    assert shown == [str(train.examples.series_id[i]) for i in due] == shown[:8] + rest


def test_rows_can_be_chosen_and_a_label_cannot_hide_a_column(home: Path) -> None:
    train = open_dataset(home, "planted", labels=["opacity"], size=SIZE, tiles=2)
    few = to_hf(train).select([5, 2])
    assert torch.equal(few[1]["pixels"], train[2]["pixels"])
    assert few.select_columns(["site"])[0] == {"site": train[5]["site"]}
    said = replace(train.examples, label_names=("site",))
    with pytest.raises(ConfigurationError, match="called site"):
        to_hf(CohortDataset(said, train.tiles, train.indices))
