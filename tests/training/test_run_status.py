"""Whether a run that says running still does, as whoever looks is told."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from training.runs import RunFolder, read_run


@pytest.mark.parametrize(
    ("age_s", "host", "status"),
    [
        (300, None, "running"),  # its process lives here: a step on a busy machine takes minutes
        (3600, None, "interrupted"),
        (300, "elsewhere", "interrupted"),  # nobody here can see whether it lives
        (30, "elsewhere", "running"),
    ],
)
def test_a_run_without_a_beat_is_interrupted_sooner_where_its_process_cannot_be_seen(
    tmp_path: Path, age_s: float, host: str | None, status: str
) -> None:
    run = RunFolder(tmp_path, "0123456789abcdef")
    run.path.mkdir(parents=True)
    run.write_json("spec.json", {"name": "x"})
    run.beat("running", progress=0.5, step=7)
    told = json.loads((run.path / "status.json").read_text())
    assert (told["pid"], told["host"]) == (os.getpid(), socket.gethostname())
    run.write_json("status.json", told | {"heartbeat": time.time() - age_s, "host": host or told["host"]})
    assert read_run(tmp_path, "0123456789abcdef")["status"] == status
