"""Map a function over many items in supervised processes: one bad item costs one outcome, not its neighbours.

What belongs here: starting, feeding, timing out, killing and replacing workers. What does not: what is done
to an item.

A worker is a fresh interpreter, started by its own command line and fed over its own socket. Not `fork`: the
caller may have threads (Dagster, Streamlit), and a fork between threads can inherit a locked lock. Not
multiprocessing's `spawn` or `forkserver`: they import the caller's `__main__` again in every worker (for the
rwid command that is all of Dagster), refuse to start from a daemonic process, and their pools lose tasks
when a worker aborts.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import queue
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.records import ConfigurationError, Refused

START_DEADLINE_S = 120.0
END_DEADLINE_S = 5.0
RECYCLE_AFTER = 2000
WINDOW_PER_WORKER = 4

_LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from curation.engine import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)
# one item, one thread: the parallelism is in the processes, and idle threads would eat the address-space
# limit
_QUIET = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: a value, or the reason from records.REASONS why there is none.

    `fault` is set only where the reason is `internal_fault`: exception class and line of code, never its
    text.
    """

    index: int
    value: Any | None
    refused: str | None
    fault: str | None = None


class EngineError(Exception):
    """A worker cannot be started at all: a fault of configuration or code, not of an item."""


def map_items(
    fn: Callable[[Any, Any], Any],
    items: Iterable[Any],
    *,
    workers: int,
    deadline_s: float,
    memory_mib: int,
    initializer: Callable[..., Any] | None = None,
    initargs: Sequence[Any] = (),
    recycle_after: int = RECYCLE_AFTER,
) -> Iterator[Outcome]:
    """One Outcome an item, in input order, of `fn(context, item)`; context is `initializer(*initargs)` or
    None.

    At most WINDOW_PER_WORKER items a worker are taken ahead, so memory is bounded by that many results. An
    item that takes longer than `deadline_s` is refused as `timeout`; one that asks for more than
    `memory_mib` above what its worker needs at rest, as `memory`; one that kills its worker, as
    `decoder_failed`; one that raises Refused, by its reason; any other exception, as `internal_fault`. fn,
    initializer and items are pickled: functions must live in an importable module. Workers write to no
    terminal and no log: a decoder's warning may quote an identity.

    Raises EngineError where a worker cannot start, and ConfigurationError where the initializer raises that.
    """
    setup = pickle.dumps((fn, initializer, tuple(initargs), memory_mib, recycle_after))
    tasks: queue.SimpleQueue[tuple[bytes, Future[Any]] | None] = queue.SimpleQueue()
    keepers = [_Keeper(setup, tasks, deadline_s) for _ in range(max(1, workers))]
    window: deque[Future[Any]] = deque()
    n_given = 0
    try:
        for item in items:
            if len(window) == WINDOW_PER_WORKER * len(keepers):
                yield _outcome(n_given - len(window), window.popleft())
            window.append(Future())
            tasks.put((pickle.dumps(item), window[-1]))
            if n_given < len(keepers):
                keepers[n_given].start()
            n_given += 1
        while window:
            yield _outcome(n_given - len(window), window.popleft())
    finally:
        for keeper in keepers:
            keeper.stop()
        for _ in keepers:
            tasks.put(None)
        for keeper in keepers[: min(n_given, len(keepers))]:
            keeper.join()


def _outcome(index: int, slot: Future[Any]) -> Outcome:
    value, refused, fault = slot.result()
    return Outcome(index, value, refused, fault)


class _Keeper(threading.Thread):
    """Keeps one worker alive and gives it one item at a time.

    A thread a worker, for PR_SET_PDEATHSIG follows the thread that started the child: it must live as long
    as the map.
    """

    def __init__(
        self, setup: bytes, tasks: queue.SimpleQueue[tuple[bytes, Future[Any]] | None], deadline_s: float
    ) -> None:
        super().__init__(name="rwid-engine", daemon=True)
        self._setup = setup
        self._tasks = tasks
        self._deadline_s = deadline_s
        self._worker: _Worker | None = None
        self._lock = threading.Lock()
        self._is_stopping = False

    def run(self) -> None:
        while (task := self._tasks.get()) is not None:
            item, slot = task
            try:
                slot.set_result(self._take(item))
            except BaseException as error:  # the caller waits for the slot and raises it there
                slot.set_exception(error)
        if self._worker:
            self._worker.end()

    def stop(self) -> None:
        """Ends the worker, whatever it does; further items fail at once."""
        with self._lock:
            self._is_stopping = True
            if self._worker:
                self._worker.process.kill()

    def _take(self, item: bytes) -> tuple[Any, str | None, str | None]:
        if self._worker is None:
            self._worker = self._start()
        worker = self._worker
        try:
            worker.send(item, self._deadline_s)
            value, refused, fault, is_last = worker.receive(self._deadline_s)
        except TimeoutError:
            worker.process.kill()
            self._worker = None
            worker.end()
            return None, "timeout", None
        except (OSError, EOFError):
            self._worker = None
            worker.end()
            # nobody here sent SIGKILL: the kernel ran out of memory
            killed = worker.process.returncode == -signal.SIGKILL
            return None, "memory" if killed else "decoder_failed", None
        if is_last:
            self._worker = None
            worker.end()
        return value, refused, fault

    def _start(self) -> _Worker:
        with self._lock:
            if self._is_stopping:
                raise EngineError("The map was closed.")
            self._worker = _Worker()
        try:
            self._worker.send(self._setup, START_DEADLINE_S)
            error = self._worker.receive(START_DEADLINE_S)
        except (OSError, EOFError):
            code = self._worker.process.poll()
            self._worker.end()
            self._worker = None
            raise EngineError(f"A worker process did not start (exit code {code}).") from None
        if error is not None:
            self._worker.end()
            self._worker = None
            raise error
        return self._worker


class _Worker:
    """One worker process and the socket to it."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            # S603: our own interpreter and code
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_QUIET},
            )

    def send(self, message: bytes, deadline_s: float) -> None:
        self.socket.settimeout(deadline_s)
        self.socket.sendall(_LENGTH.pack(len(message)) + message)

    def receive(self, deadline_s: float) -> Any:
        """The next message. Raises TimeoutError at the deadline, even in its midst, EOFError at the end."""
        until = time.monotonic() + deadline_s
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, until))
        return pickle.loads(self._read(length, until))  # noqa: S301 - written by our own worker

    def _read(self, length: int, until: float) -> bytearray:
        buffer = bytearray(length)
        rest = memoryview(buffer)
        while rest:
            self.socket.settimeout(max(until - time.monotonic(), 1e-3))
            n = self.socket.recv_into(rest)
            if not n:
                raise EOFError
            rest = rest[n:]
        return buffer

    def end(self) -> None:
        """No more worker: the process is dead and waited for."""
        self.socket.close()
        # it sees the closed socket and leaves by itself; one that died keeps the exit code by which its end
        # is told
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_DEADLINE_S)
            return
        self.process.kill()
        self.process.wait()


def serve(fd: int, parent: int) -> None:
    """A worker's life: read the setup, build the context, answer item by item until the socket closes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        return
    # a core dump would hold pixels and names
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stream = socket.socket(fileno=fd).makefile("rwb")
    try:
        fn, initializer, initargs, memory_mib, recycle_after = _read_message(stream)
        context = initializer(*initargs) if initializer else None
        limit = _address_space() + memory_mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except ConfigurationError as error:
        _send(stream, pickle.dumps(error))
        return
    except BaseException:  # no item was seen yet, so the traceback holds none
        _send(stream, pickle.dumps(EngineError(f"A worker could not start.\n{traceback.format_exc()}")))
        return
    _send(stream, pickle.dumps(None))
    for n in range(1, recycle_after + 1):
        try:
            item = _read_message(stream)
        except EOFError:
            return
        is_last = n == recycle_after
        body = _answer(fn, context, item, is_last)
        if body is None:
            # after a failed allocation nothing in this process is to be trusted
            is_last, body = True, pickle.dumps((None, "memory", None, True))
        _send(stream, body)
        if is_last:
            return


def _answer(fn: Callable[[Any, Any], Any], context: Any, item: Any, is_last: bool) -> bytes | None:
    """The pickled answer to one item, None where memory ran out."""
    try:
        return pickle.dumps((fn(context, item), None, None, is_last), protocol=5)
    except Refused as refusal:
        return pickle.dumps((None, refusal.reason, None, is_last))
    except MemoryError:
        return None
    except (
        BaseException
    ) as error:  # decoders raise panics and SystemExit too; one item must not end a delivery
        return pickle.dumps((None, "internal_fault", _place_of(error), is_last))


def _place_of(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno} in {frame.name}"


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _read_message(stream: Any) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(head)[0]))  # noqa: S301 - written by our own parent


def _send(stream: Any, body: bytes) -> None:
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()
