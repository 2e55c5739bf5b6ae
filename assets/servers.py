"""Child servers in one foreground process group: started on a leash, waited for, stopped surely.

What belongs here: starting, waiting, stopping. What does not: which servers (commands.up).
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assets.leash import leashed
from curation.records import ConfigurationError

_PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 12.0
"""How long a child may take to stop by itself."""
READY_S = 300.0
"""How long servers may take to answer: a busy machine needs minutes for what an idle one does in ten seconds."""
TELL_EVERY_S = 20.0
"""Between two sentences about a server that does not answer yet."""

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Server:
    """One child: what to start, where it answers once it is ready (nothing: no waiting), where it writes."""

    name: str
    command: Sequence[str]
    health_url: str | None
    log: Path


def require_free(host: str, port: int, option: str) -> None:
    """Raises ConfigurationError where something already listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"{host}:{port} is not free ({error.strerror}). Choose another {option}."
            ) from None


class Servers:
    """Context manager over running servers; on leaving, every process that they started is gone."""

    def __init__(self, servers: Sequence[Server], environment: Mapping[str, str]) -> None:
        self._servers = servers
        self._environment = {**os.environ, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Servers":
        if (
            sys.platform == "linux"
        ):  # grandchildren whose parent dies become ours, so that none is lost sight of
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)  # SIGINT too: a shell's background jobs start with it ignored
        try:
            for server in self._servers:
                command = leashed(server.command, server.log)
                self._running[server.name] = subprocess.Popen(
                    command, env=self._environment, stdin=subprocess.DEVNULL
                )
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, tell: Callable[[str], None], timeout_s: float = READY_S) -> None:
        """Returns when every server answers, telling now and then for whom it waits.

        Raises ConfigurationError where one ends or does not answer in time.
        """
        deadline, told_at = time.monotonic() + timeout_s, time.monotonic()
        for server in self._servers:
            while server.health_url and not _answers(server.health_url):
                self.require_alive()
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"{server.name} does not answer after {timeout_s:.0f} s. See {server.log}."
                    )
                if time.monotonic() - told_at > TELL_EVERY_S:
                    tell(f"{server.name} is not up yet …")
                    told_at = time.monotonic()
                time.sleep(0.2)

    def require_alive(self) -> None:
        """Raises ConfigurationError where a server has ended by itself."""
        for server in self._servers:
            code = self._running[server.name].poll()
            if code is not None:
                raise ConfigurationError(f"{server.name} ended with exit code {code}. See {server.log}.")

    def watch(self) -> None:
        """Stays until a server ends by itself (ConfigurationError) or somebody interrupts (KeyboardInterrupt)."""
        while True:
            self.require_alive()
            time.sleep(0.5)

    def stop(self) -> None:
        """Asks all to stop, then makes them; children of children too."""
        previous = {
            s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            for process in self._running.values():
                _send(process.pid, signal.SIGTERM)
            _wait_gone(GRACE_S)
            for number in (signal.SIGTERM, signal.SIGKILL):
                for pid in descendants(os.getpid()):
                    _send(pid, number)
                _wait_gone(3.0)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has gone meanwhile
        return


def _wait_gone(timeout_s: float) -> None:
    """Collects ended children until none of ours is left, or time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, from /proc; where there is none, only what Popen knows is stopped."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found: list[int] = []
    wave = [pid]
    while wave:
        wave = [child for child, parent in parents.items() if parent in wave]
        found += wave
    return found
