"""Map a function over many items in supervised processes: one bad item costs one outcome, not its neighbours.

What belongs here: starting, feeding, timing out, killing and replacing workers. What does not: a worker's own
side (worker), what is done to an item.

A worker is a fresh interpreter, started by its own command line and fed over its own socket. Not `fork`: the
caller may have threads (Dagster, Streamlit), and a fork between threads can inherit a locked lock. Not
multiprocessing's `spawn` or `forkserver`: they import the caller's `__main__` again in every worker (for the
rwid command that is all of Dagster), refuse to start from a daemonic process, and their pools lose tasks
when a worker aborts.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from curation.worker import LENGTH, NEW_ORDERS, RECYCLE_AFTER, EngineError

__all__ = ["Crew", "EngineError", "Outcome", "map_items"]

START_DEADLINE_S = 120.0
END_DEADLINE_S = 5.0
WINDOW_PER_WORKER = 4

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from curation.worker import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
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


class Crew:
    """Worker processes that outlive one map: the second one finds them started, and its context made.

    A worker starts with the first item that needs it. To be closed (`with`): nothing of it is left then.
    """

    def __init__(self, workers: int) -> None:
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._keepers = [_Keeper(self._tasks) for _ in range(max(1, workers))]
        self._n_started = 0
        self.window = WINDOW_PER_WORKER * len(self._keepers)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def give(self, task: _Task) -> None:
        """Has one more item done, by a worker more where there may be one."""
        self._tasks.put(task)
        if self._n_started < len(self._keepers):
            self._keepers[self._n_started].start()
            self._n_started += 1

    def close(self) -> None:
        """Ends the workers, whatever they do."""
        for keeper in self._keepers:
            keeper.stop()
        for _ in self._keepers:
            self._tasks.put(None)
        for keeper in self._keepers[: self._n_started]:
            keeper.join()


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
    crew: Crew | None = None,
) -> Iterator[Outcome]:
    """One Outcome an item, in input order, of `fn(context, item)`; context is `initializer(*initargs)` or
    None.

    At most WINDOW_PER_WORKER items a worker are taken ahead, so memory is bounded by that many results. An
    item that takes longer than `deadline_s` is refused as `timeout`; one that asks for more than
    `memory_mib` above what its worker needs at rest, as `memory`; one that kills its worker, as
    `decoder_failed`; one that raises Refused, by its reason; any other exception, as `internal_fault`. fn,
    initializer and items are pickled: functions must live in an importable module. Workers write to no
    terminal and no log: a decoder's warning may quote an identity. With a `crew` its workers do the work,
    else `workers` new ones.

    Raises EngineError where a worker cannot start, and ConfigurationError where the initializer raises that.
    """
    if crew is None:
        with Crew(workers) as own:
            yield from map_items(
                fn, items, workers=workers, deadline_s=deadline_s, memory_mib=memory_mib,
                initializer=initializer, initargs=initargs, recycle_after=recycle_after, crew=own,
            )  # fmt: skip
        return
    setup = pickle.dumps((initializer, tuple(initargs), memory_mib, recycle_after))
    orders = pickle.dumps((pickle.dumps(fn), setup))
    window: deque[Future[Any]] = deque()
    n_given = 0
    try:
        for item in items:
            if len(window) == crew.window:
                yield _outcome(n_given - len(window), window.popleft())
            window.append(Future())
            crew.give(_Task(orders, pickle.dumps(item), deadline_s, window[-1]))
            n_given += 1
        while window:
            yield _outcome(n_given - len(window), window.popleft())
    finally:
        for slot in window:
            slot.cancel()


@dataclass(frozen=True, slots=True)
class _Task:
    """One item of one map: what its worker must know first, and where the answer goes."""

    orders: bytes
    item: bytes
    deadline_s: float
    slot: Future[Any]


def _outcome(index: int, slot: Future[Any]) -> Outcome:
    value, refused, fault = slot.result()
    return Outcome(index, value, refused, fault)


class _Keeper(threading.Thread):
    """Keeps one worker alive and gives it one item at a time.

    A thread a worker, for PR_SET_PDEATHSIG follows the thread that started the child: it must live as long
    as the crew.
    """

    def __init__(self, tasks: queue.SimpleQueue[_Task | None]) -> None:
        super().__init__(name="rwid-engine", daemon=True)
        self._tasks = tasks
        self._worker: _Worker | None = None
        self._lock = threading.Lock()
        self._is_stopping = False

    def run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not task.slot.set_running_or_notify_cancel():
                continue
            try:
                task.slot.set_result(self._take(task))
            except BaseException as error:  # the caller waits for the slot and raises it there
                task.slot.set_exception(error)
        if self._worker:
            self._worker.end()

    def stop(self) -> None:
        """Ends the worker, whatever it does; further items fail at once."""
        with self._lock:
            self._is_stopping = True
            if self._worker:
                self._worker.process.kill()

    def _take(self, task: _Task) -> tuple[Any, str | None, str | None]:
        worker = self._ready(task.orders)
        try:
            worker.send(task.item, task.deadline_s)
            value, refused, fault, is_last = worker.receive(task.deadline_s)
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

    def _ready(self, orders: bytes) -> _Worker:
        """The worker, started and with its orders."""
        with self._lock:
            if self._is_stopping:
                raise EngineError("The map was closed.")
            if self._worker is None:
                self._worker = _Worker()
        worker = self._worker
        if worker.orders == orders:
            return worker
        try:
            worker.send(NEW_ORDERS, START_DEADLINE_S)
            worker.send(orders, START_DEADLINE_S)
            error = worker.receive(START_DEADLINE_S)
        except (OSError, EOFError):
            code = worker.process.poll()
            self._worker = None
            worker.end()
            raise EngineError(f"A worker process did not start (exit code {code}).") from None
        if error is not None:
            self._worker = None
            worker.end()
            raise error
        worker.orders = orders
        return worker


class _Worker:
    """One worker process and the socket to it."""

    def __init__(self) -> None:
        self.orders = b""
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
        self.socket.sendall(LENGTH.pack(len(message)) + message)

    def receive(self, deadline_s: float) -> Any:
        """The next message. Raises TimeoutError at the deadline, even in its midst, EOFError at the end."""
        until = time.monotonic() + deadline_s
        (length,) = LENGTH.unpack(self._read(LENGTH.size, until))
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
