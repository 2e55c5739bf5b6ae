"""Several processes fit the model that one process would: each row is computed once, and the first alone writes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.training.planted import lay_down, tree
from training.processes import Processes
from training.runs import RunFolder
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)

SPEC = tree(
    method={"kind": "lora", "batch_size": 9, "ema": 0.9},
    budget={"max_minutes": 5, "max_epochs": 3, "patience": 3},
    report={"bootstrap": 0},
)


def quiet(facts: dict[str, object]) -> None:
    """Nobody listens."""


def tuned(run: Path) -> tuple[np.ndarray, list[float]]:
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    curves = pq.read_table(run / "history.parquet").to_pylist()
    scores = [r["score"] for r in rows if r["arm"] == "tuned"]
    return np.array(scores), [r["value"] for r in curves if r["name"] == "train/loss"]


def alike(one: Path, many: Path) -> None:
    (scores, losses), (theirs, their_losses) = tuned(one), tuned(many)
    assert np.abs(scores - theirs).max() < 1e-5
    assert losses == pytest.approx(their_losses, abs=1e-5)
    assert max(losses) - min(losses) > 1e-3, "it learned"


@pytest.mark.parametrize(("n", "world"), [(9, 2), (1, 2), (7, 3), (0, 2), (64, 8)])
def test_each_row_has_one_process(n: int, world: int) -> None:
    shares = [Processes(rank, world).share(n) for rank in range(world)]
    assert np.concatenate(shares).tolist() == list(range(n))


def member(lake: str, rank: int) -> None:
    """A run in a process of a group, as `started` starts it."""
    if rank:
        RunFolder.write_bytes = None  # type: ignore[method-assign]  # whoever is not the first must not write
    tune(Path(lake), parse_spec(SPEC), report=quiet)


def started(lake: Path, rank: int, world: int, port: int) -> subprocess.Popen[str]:
    """A fresh interpreter that knows of its group as torchrun and accelerate say it."""
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, **{k: str(v) for k, v in group.items()}, "PYTHONPATH": path}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    code = f"from tests.training.test_processes import member; member({str(lake)!r}, {rank})"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, env=env, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    for lake in (one, many):
        lay_down(lake, signal=8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members = [started(many, rank, 2, port) for rank in range(2)]
    ends = [one.communicate(timeout=400)[1] for one in members]
    assert [one.returncode for one in members] == [0, 0], "\n".join(end[-1500:] for end in ends)
    (run,) = (many / "runs").iterdir()
    alike(tune(one, parse_spec(SPEC), report=quiet), run)
    state = json.loads((run / "loop.json").read_text())
    assert state["step"] == 3 * -(-38 // 9), "a step shows one batch, however many share it"


@pytest.mark.slow
def test_the_command_starts_the_processes_that_the_spec_asks_for(tmp_path: Path) -> None:
    lay_down(tmp_path, signal=8)
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC))
    command = [
        sys.executable,
        "-m",
        "training",
        str(path),
        "--lake",
        str(tmp_path),
        "--set",
        "compute.processes=2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["status"] == "done"
    alike(tune(tmp_path, parse_spec(SPEC), report=quiet), Path(answer["path"]))
    wrong = subprocess.run(
        [*command, "--set", "task.labels=[nothing]"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
