"""Where tiles lie and who reads ahead changes no byte; every example is shown once an epoch, by one process or seven."""

import itertools
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down, tree
from training import batches
from training.ahead import control_group_limits
from training.batches import Layout, Steps, Tiles, epoch_order
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_down(tmp_path_factory.mktemp("lake"), n=150, tiles=3) / "packs" / "byhand"


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WINDOW_BYTES", 40 * 3 * SIZE**2)


def test_tiles_on_disk_are_those_in_memory(pack: Path) -> None:
    on_disk, in_memory = Tiles(pack, 150, memory=0), Tiles(pack, 150)
    order = np.random.default_rng(0).permutation(150)
    assert torch.equal(on_disk.take(order), in_memory.take(order))
    assert on_disk._resident is None and in_memory._resident is not None
    assert in_memory.take(order).shape == (150, 3, SIZE, SIZE)


def test_what_is_taken_can_be_written_to(pack: Path) -> None:
    for tiles in (Tiles(pack, 150, memory=0), Tiles(pack, 150)):
        first = tiles.take(np.array([4])).clone()
        tiles.take(np.array([4])).fill_(0)
        assert torch.equal(tiles.take(np.array([4])), first)


def test_expected_batches_are_read_by_a_thread_and_others_none_the_less(pack: Path) -> None:
    tiles, plain = Tiles(pack, 150, memory=0), Tiles(pack, 150)
    readers = []
    fill = tiles._fill
    tiles._fill = lambda out, some: (readers.append(threading.current_thread().name), fill(out, some))[1]
    coming = list(batches.batches_of(np.random.default_rng(1).permutation(150), 16))
    tiles.expect(coming)
    for batch in coming[:3]:
        assert torch.equal(tiles.take(batch), plain.take(batch))
    assert all(name.startswith("read-ahead") for name in readers[:3])
    odd = np.array([7, 3])
    assert torch.equal(tiles.take(odd), plain.take(odd))
    for batch in coming[3:]:
        assert torch.equal(tiles.take(batch), plain.take(batch))
    tiles.close()


def test_a_small_split_is_shuffled_as_a_whole(pack: Path) -> None:
    layout, some = Tiles(pack, 150, memory=0).layout, np.arange(0, 150, 2)
    assert (epoch_order(some, 7, 3, layout) == epoch_order(some, 7, 3)).all()


def test_a_large_one_is_shuffled_by_row_groups_in_windows(small_window: None) -> None:
    layout = Layout(np.arange(1000) // 20, 3 * SIZE**2)
    some = np.flatnonzero(np.arange(1000) % 3)
    orders = [epoch_order(some, 7, epoch, layout) for epoch in (0, 1, 0)]
    assert (np.sort(orders[0]) == some).all() and (orders[0] == orders[2]).all()
    assert (orders[0] != orders[1]).any()
    for window in batches.batches_of(orders[0], 40):
        assert len(np.unique(layout.group_of[window])) <= 5, "a window of 40 takes whole groups of 13 or 14"
    firsts = [epoch_order(some, seed, 0, layout)[0] for seed in range(200)]
    assert len(set(firsts)) > 100, "any example may come first"


def test_memory_changes_no_order(pack: Path, small_window: None) -> None:
    orders = [
        epoch_order(np.arange(150), 1, 2, Tiles(pack, 150, memory=m).layout).tolist() for m in (0, 1 << 30)
    ]
    assert orders[0] == orders[1] != epoch_order(np.arange(150), 1, 2).tolist()


@pytest.mark.parametrize("world", range(1, 8))
def test_processes_share_every_epoch_and_go_on_from_any_step(world: int, small_window: None) -> None:
    layout, some = Layout(np.arange(101) // 8, 3 * SIZE**2), np.arange(101)
    together = Steps(some, 5, 4 * world, layout)
    ranks = [Steps(some, 5, 4, layout, rank=rank, world=world) for rank in range(world)]
    for epoch in range(2):
        shown: list[int] = []
        for step in range(epoch * together.an_epoch, (epoch + 1) * together.an_epoch):
            shares = [rank.at(step)[2] for rank in ranks]
            assert sorted(np.concatenate(shares)) == sorted(together.at(step)[2])
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
            again = Steps(some, 5, 4, layout, rank=world - 1, world=world).at(step)[2]
            assert (again == shares[-1]).all()
            shown += itertools.chain(*shares)
        assert sorted(shown) == list(range(101))
    assert {rank.an_epoch for rank in ranks} == {together.an_epoch}
    with pytest.raises(ConfigurationError, match="rank"):
        Steps(some, 5, 4, layout, rank=world, world=world)


def test_a_reader_hears_of_the_rest_of_an_epoch_once_and_again_after_a_jump() -> None:
    heard: list[int] = []
    steps = Steps(np.arange(40), 1, 8, expect=lambda coming: heard.append(len(coming)))
    for step in (2, 3, 4, 5, 6):
        steps.at(step)
    assert heard == [3, 5], "the rest of the first epoch, then the second"
    steps.at(8)
    assert heard == [3, 5, 2]


def test_a_run_on_a_pack_larger_than_its_memory_ends_with_the_same_bytes(tmp_path: Path) -> None:
    lay_down(tmp_path, n=60)
    found = []
    for memory_mb in (0, 64):
        told = tree("last_n", compute={"device": "cpu", "threads": 1, "memory_mb": memory_mb})
        told["budget"] = {"max_minutes": 5, "max_epochs": 2}
        run = tune(tmp_path, parse_spec(told), report=lambda event: None)
        rows = pq.read_table(run / "predictions.parquet").drop_columns(["run_id"])
        found.append((rows, (run / "head.safetensors").read_bytes()))
    assert found[0][0].equals(found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"memory.max": "max"}, []),
        ("0::/ward/job", {"ward/memory.max": "700", "ward/job/memory.max": "900"}, [900, 700]),
        ("4:cpu,memory:/ward\n0::/", {"memory/ward/memory.limit_in_bytes": "500"}, [500]),
        ("4:memory:/of/the/host\n3:cpu:/\n", {"memory/memory.limit_in_bytes": "300"}, [300]),
    ],
)
def test_a_container_says_how_much_memory_there_is(
    tmp_path: Path, own: str, files: dict[str, str], expected: list[int]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "own").write_text(own)
    assert control_group_limits(tmp_path, tmp_path / "own") == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_pack_that_fits_lies_on_the_gpu(pack: Path) -> None:
    device = torch.device("cuda")
    on_gpu, plain = Tiles(pack, 150, device=device), Tiles(pack, 150)
    order = np.random.default_rng(0).permutation(150)
    assert on_gpu.take(order).is_cuda and torch.equal(on_gpu.take(order).cpu(), plain.take(order))
    shown = batches.augment(on_gpu.take(order[:4]), order[:4], 1, 1)
    assert torch.allclose(shown.cpu(), batches.augment(plain.take(order[:4]), order[:4], 1, 1), atol=0.1)


def test_no_rest_of_a_few_gets_a_step_of_its_own() -> None:
    steps = Steps(np.arange(113), 1, 16)
    epoch = [steps.at(step)[2] for step in range(steps.an_epoch)]
    assert sorted({len(batch) for batch in epoch}) == [14, 15]
    assert sorted(np.concatenate(epoch).tolist()) == list(range(113))
