"""kill -9 at any time, then the same command: the same bytes as if nothing had happened."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.loop_state import digest
from tests.training.planted import lay_down, tree
from training import checkpoint
from training.__main__ import main
from training.runs import RunFolder, list_runs
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)

SLOW = {"max_minutes": 5, "max_epochs": 8, "patience": 8}
CHILD = """
import json, sys, time
from pathlib import Path
from training.spec import parse_spec
from training.tune import tune
lake, spec = Path(sys.argv[1]), parse_spec(json.loads(sys.argv[2]))
tune(lake, spec, report=lambda facts: time.sleep(0.05), checkpoint_every_s=0.0)
"""


def released(run: Path) -> dict[str, str]:
    names = (
        "adapter.safetensors",
        "head.safetensors",
        "predictions.parquet",
        "metrics.parquet",
        "preprocess.json",
    )
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names} | {
        "loop": digest(run)
    }


def kill_at(lake: Path, spec: dict[str, object], step: int) -> None:
    """Starts the run in a process of its own and kills it once its checkpoint has passed that step."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(lake), json.dumps(spec)])
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            assert child.poll() is None, "it ended before it could be killed"
            path = next(lake.glob("runs/*/checkpoints/cohort.pt"), None)
            state = checkpoint.load(path) if path else None
            if state is not None and state.step >= step:
                break
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL


def test_a_run_killed_twice_ends_with_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    spec = tree("cut", method={"kind": "cut", "blocks": 1, "batch_size": 8, "views": 2}, budget=SLOW)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    lay_down(whole, signal=10)
    lay_down(broken, signal=10)
    expected = released(tune(whole, parse_spec(spec), report=lambda facts: None))
    kill_at(broken, spec, step=7)
    (facts,) = list_runs(broken)
    assert facts["status"] == "interrupted", "whoever looks is told that nobody computes any more"
    kill_at(broken, spec, step=23)
    assert released(tune(broken, parse_spec(spec), report=lambda facts: None)) == expected


def test_a_torn_line_of_the_curves_and_a_repeated_step_do_no_harm(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "r")
    run.path.mkdir(parents=True)
    run.log(1, 0, {"train/loss": 2.0})
    run.log(2, 0, {"train/loss": 1.0})
    run.log(2, 0, {"train/loss": 0.5})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "na')
    assert run.history()["value"].to_pylist() == [2.0, 0.5]


def test_the_command_ends_with_75_on_sigterm(tmp_path: Path) -> None:
    lay_down(tmp_path)
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(tree("full", budget={"max_minutes": 5, "max_epochs": 300, "patience": 300})))
    command = [
        sys.executable,
        "-m",
        "training",
        str(path),
        "--lake",
        str(tmp_path),
        "--set",
        "report.bootstrap=0",
    ]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline and not any(r["message"] == "tuning" for r in list_runs(tmp_path)):
            time.sleep(0.05)
        child.terminate()
        assert child.wait(60) == 75
    finally:
        child.kill()
    (facts,) = list_runs(tmp_path)
    assert facts["status"] == "stopped"


def test_the_command_runs_a_spec_and_ends_with_one_json_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_down(tmp_path)
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps(tree("probe")))
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main([str(path), "--lake", str(tmp_path), "--set", "report.bootstrap=0"]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["status"] == "done"
    assert "AUROC" in answer["verdict"]


def test_the_command_ends_with_2_and_a_sentence_where_the_spec_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "demo", "--lake", str(tmp_path), "--set", "method.blockz=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown key 'method.blockz'" in done.stderr
    assert "Traceback" not in done.stderr
