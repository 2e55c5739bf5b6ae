"""A step is the same step in one pass or in several; averages are judged; whatever runs out, the last good state is kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.training.loop_state import digest
from tests.training.planted import lay_down, tree
from training import checkpoint, loop
from training.attempt import recorded
from training.average import Average
from training.job import Diverged, Exhausted, Stopped
from training.runs import RunFolder, list_runs
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)

SHORT = {"max_minutes": 5, "max_epochs": 3, "patience": 3}


def quiet(facts: dict[str, object]) -> None:
    """Nobody listens."""


def scores(run: Path) -> np.ndarray:
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    return np.array([r["score"] for r in rows if r["arm"] == "tuned"])


def losses(run: Path) -> list[float]:
    rows = pq.read_table(run / "history.parquet").to_pylist()
    return [r["value"] for r in rows if r["name"] == "train/loss"]


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_a_batch_in_parts_is_the_same_step(tmp_path: Path, accumulate: int) -> None:
    lay_down(tmp_path, signal=8)
    task = {"kind": "multilabel", "labels": ["opacity"]}
    whole = tree("lora", budget=SHORT, task=task)
    parts = tree(
        "lora", budget=SHORT, task=task, compute={"device": "cpu", "threads": 1, "accumulate": accumulate}
    )
    one, many = (tune(tmp_path, parse_spec(spec), report=quiet) for spec in (whole, parts))
    assert np.abs(scores(one) - scores(many)).max() < 1e-5
    assert losses(one) == pytest.approx(losses(many), abs=1e-5)
    assert max(losses(one)) - min(losses(one)) > 1e-3, "it learned"


def test_an_average_forgets_its_start_and_gives_the_weights_back() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = Average({"w": weight}, decay=0.5)
    expected = 0.0
    for step in range(1, 30):
        with torch.no_grad():
            weight.fill_(float(step))
        average.follow(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.tensors["w"].tolist() == pytest.approx([expected] * 2)
    with pytest.raises(ZeroDivisionError), average.shown():
        assert weight.tolist() == pytest.approx([expected] * 2)
        raise ZeroDivisionError
    assert weight.tolist() == [29.0, 29.0]


def test_the_average_is_what_is_judged_and_released(tmp_path: Path) -> None:
    lay_down(tmp_path, signal=8)
    method = {"kind": "lora", "ema": 0.9, "batch_size": 8}
    run = tune(tmp_path, parse_spec(tree(method=method, budget=SHORT)), report=quiet)
    state = checkpoint.load(run / "checkpoints" / "cohort.pt")
    assert state is not None
    assert set(state.average) == set(state.moving)
    name = next(n for n in state.moving if n.endswith("lora_B"))
    assert not torch.equal(state.average[name], state.moving[name])
    if state.best_step == state.step:
        assert torch.equal(state.best[name], state.average[name])
    assert not torch.equal(state.best[name], state.moving[name])


def test_a_step_that_diverges_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_down(tmp_path, signal=8)
    calm = loop.schedule
    monkeypatch.setattr(loop, "schedule", lambda step, total: 1e38 if step == 7 else calm(step, total))
    with pytest.raises(
        Diverged, match=r"not a number any more at step 9; the best state so far is of step \d"
    ):
        tune(tmp_path, parse_spec(tree("full", budget=SHORT)), report=quiet, checkpoint_every_s=0.0)
    (facts,) = list_runs(tmp_path)
    assert facts["status"] == "failed"
    state = checkpoint.load(facts["path"] / "checkpoints" / "cohort.pt")
    assert state is not None
    assert 0 < state.step < 9
    for tensors in (state.moving, state.best):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


class Restless:
    """Wants a run to stop as soon as it hears of a step."""

    stop = False

    def __call__(self, facts: dict[str, object]) -> None:
        torch.rand(1)  # whoever listens may draw numbers of its own
        self.stop |= facts.get("stage") == "tuning"


def test_dropout_and_average_go_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for lake in (whole, broken):
        lay_down(lake, signal=12)
    method = {"kind": "lora", "dropout": 0.3, "ema": 0.9, "batch_size": 8, "lr": 1e-4}
    spec = parse_spec(tree(method=method, budget=SHORT))
    straight = tune(whole, spec, report=quiet)
    for whoever in (Restless(), Restless()):
        with pytest.raises(Stopped):
            tune(broken, spec, report=whoever, should_stop=lambda whoever=whoever: whoever.stop)
    resumed = tune(broken, spec, report=quiet)
    for name in ("adapter.safetensors", "head.safetensors", "predictions.parquet"):
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()
    assert digest(resumed) == digest(straight)
    dry = tune(whole, parse_spec(tree(method={**method, "dropout": 0.0}, budget=SHORT)), report=quiet)
    assert (dry / "adapter.safetensors").read_bytes() != (straight / "adapter.safetensors").read_bytes()
    assert json.loads((straight / "adapter_config.json").read_text())["lora_dropout"] == 0.3


CHILD = """
import json, resource, sys
from pathlib import Path
import torch
from training.spec import parse_spec
from training import step
from training.job import Exhausted
from training.tune import tune
torch.set_num_threads(1)
take, (lake, kind, number, room, *specs) = step.Stepper.take, sys.argv[1:]
def limited(self, chosen, epoch, at):
    if at == int(number):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = int(room) if kind == "FSIZE" else used + int(room)
        resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (limit, resource.RLIM_INFINITY))
    try:
        return take(self, chosen, epoch, at)
    finally:
        if kind == "AS":
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
step.Stepper.take = limited
for spec in specs:
    try:
        tune(Path(lake), parse_spec(json.loads(spec)), report=lambda facts: None, checkpoint_every_s=0.0)
        print("done")
    except Exhausted as error:
        print(error)
"""


def limited(lake: Path, kind: str, number: int, room: int, *specs: dict[str, object]) -> list[str]:
    """How each run ends that meets a true limit of the operating system at that step; room in bytes."""
    command = [sys.executable, "-c", CHILD, str(lake), kind, str(number), str(room), *map(json.dumps, specs)]
    given_back = {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }  # freed is free at once
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=500, env={**os.environ, **given_back}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_once_there_is_room(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for lake in (whole, broken):
        lay_down(lake, signal=8)
    spec = tree("lora", budget=SHORT)
    (said,) = limited(broken, "FSIZE", 7, 20_000, spec)
    assert said.startswith("The disk is full; the last checkpoint is whole.")
    (facts,) = list_runs(broken)
    assert (facts["status"], facts["message"].split(";")[0]) == ("failed", "The disk is full")
    state = checkpoint.load(facts["path"] / "checkpoints" / "cohort.pt")
    assert state is not None
    assert state.step == 6
    assert not list(facts["path"].glob("**/.*-*-*")), "nothing lies about"
    resumed, straight = (tune(lake, parse_spec(spec), report=quiet) for lake in (broken, whole))
    assert (resumed / "adapter.safetensors").read_bytes() == (straight / "adapter.safetensors").read_bytes()


def test_memory_that_runs_out_beside_a_step_ends_in_a_sentence(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "f" * 16)
    run.path.mkdir(parents=True)
    with (
        pytest.raises(Exhausted, match="memory_mb"),
        recorded(run, parse_spec(tree("probe")), "c" * 16, quiet),
    ):
        raise MemoryError
    facts = run.read_json("status.json") or {}
    assert (facts["status"], facts["message"].split(";")[0]) == ("failed", "Memory ran out")


def test_passes_become_smaller_where_memory_runs_out_and_the_step_stays(tmp_path: Path) -> None:
    lay_down(tmp_path, n=60, signal=8, size=224)
    made = {
        "model": {"id": "builtin:tiny-vit", "input": {"size": 224}},
        "method": {"kind": "lora", "batch_size": 24},
        "budget": {"max_minutes": 5, "max_epochs": 1, "patience": 1},
        "data": {"augment": "none"},
    }
    fixed = tree(**made)
    adapting = tree(**made, compute={"device": "cpu", "threads": 1, "batch": "adapt"})
    said, end = limited(tmp_path, "AS", 1, 50 * 2**20, fixed, adapting)
    assert said.startswith("Memory ran out at step 1 with 24 series a pass; set compute.batch to adapt")
    assert end == "done"
    done, failed = sorted(list_runs(tmp_path), key=lambda facts: str(facts["status"]))
    assert (failed["status"], failed["message"]) == ("failed", said)
    rows = json.loads((done["path"] / "loop.json").read_text())["rows"]
    assert 0 < rows < 24
    straight = tune(tmp_path, parse_spec(fixed), report=quiet)
    assert np.abs(scores(done["path"]) - scores(straight)).max() < 1e-5
