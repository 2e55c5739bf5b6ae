import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import assets
from assets import servers
from assets.servers import require_free
from curation.records import ConfigurationError

ROOT = Path(assets.__file__).parent.parent

# a parent that starts a leashed child, which starts a grandchild that ignores SIGTERM; all write their pids
GRANDCHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
CHILD = f"""
import os, pathlib, subprocess, sys, time
grand = subprocess.Popen([sys.executable, '-c', {GRANDCHILD!r}])
aside = pathlib.Path(sys.argv[1] + '.aside')
aside.write_text(f'{{os.getpid()}} {{grand.pid}}')
aside.rename(sys.argv[1])
time.sleep(600)
"""
PARENT = """
import pathlib, sys
from assets.servers import Server, Servers
import assets.servers
assets.servers.GRACE_S = 0.5
child = [sys.executable, '-c', sys.argv[1], sys.argv[2]]
with Servers([Server('child', child, None, pathlib.Path(sys.argv[3]))], {}) as servers:
    servers.watch()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the leash and /proc are Linux")


def start(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", PARENT, CHILD, str(pids), str(tmp_path / "log.txt")]
    parent = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(pids.exists)
    return parent, [int(pid) for pid in pids.read_text().split()]


def wait_until(is_so: object, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_signal_children_and_grandchildren_are_gone_when_the_parent_is(
    tmp_path: Path, number: int
) -> None:
    parent, pids = start(tmp_path)
    os.kill(parent.pid, number)
    parent.wait(timeout=30)
    assert [pid for pid in pids if not is_gone(pid)] == []


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent, (child, grandchild) = start(tmp_path)
    parent.kill()
    parent.wait()
    try:
        wait_until(lambda: is_gone(child))
    finally:
        os.kill(grandchild, signal.SIGKILL)  # without a parent to sweep, it is ours to end


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="--port-ui"):
            require_free("127.0.0.1", port, "--port-ui")


def test_it_says_for_whom_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "TELL_EVERY_S", 0.1)
    slow = servers.Server(
        "Dagster", [], "http://127.0.0.1:9/", tmp_path / "log.txt"
    )  # the discard port: nothing answers
    waiting, told = servers.Servers([slow], {}), []
    waiting._running["Dagster"] = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(ConfigurationError, match="does not answer after 1 s"):
            waiting.wait_ready(told.append, timeout_s=1.0)
    finally:
        waiting._running["Dagster"].kill()
        waiting._running["Dagster"].wait()
    assert told and set(told) == {"Dagster is not up yet …"}
