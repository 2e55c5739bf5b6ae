"""A worker's own side of the engine: orders in, items in, answers out, within the memory it is given.

What belongs here: what runs inside the worker process. What does not: starting it, feeding it, ending it (engine).
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation.records import ConfigurationError, Refused

LENGTH = struct.Struct("<Q")
"""Before each message: how many bytes it has."""
NEW_ORDERS = b""
"""No pickle is empty: what follows this message is no item."""
RECYCLE_AFTER = 2000
_PR_SET_PDEATHSIG = 1


class EngineError(Exception):
    """A worker cannot be started at all: a fault of configuration or code, not of an item."""


def serve(fd: int, parent: int) -> None:
    """A worker's life: read its orders, build the context, answer item by item until the socket closes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        return
    # a core dump would hold pixels and names
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stream = socket.socket(fileno=fd).makefile("rwb")
    post = _Post()
    n_done = 0
    while (body := _read_message(stream)) is not None:
        if body == NEW_ORDERS:
            error = post.prepare(_read_message(stream) or b"")
            _send(stream, pickle.dumps(error))
            if error:
                return
            continue
        n_done += 1
        is_last = n_done >= post.recycle_after
        answer = _answer(post.fn, post.context, body, is_last)
        if answer is None:
            # after a failed allocation nothing in this process is to be trusted
            is_last, answer = True, pickle.dumps((None, "memory", None, True))
        _send(stream, answer)
        if is_last:
            return


class _Post:
    """What a worker has been told to do."""

    def __init__(self) -> None:
        self.fn: Callable[[Any, Any], Any] = _nothing
        self.context: Any = None
        self.recycle_after = RECYCLE_AFTER
        self._setup = b""

    def prepare(self, orders: bytes) -> BaseException | None:
        """Takes orders; the context of the last ones stays where it is the same. Gives what went wrong."""
        try:
            fn, setup = pickle.loads(orders)  # noqa: S301 - written by our own parent
            self.fn = pickle.loads(fn)  # noqa: S301
            if setup != self._setup:
                initializer, initargs, memory_mib, self.recycle_after = pickle.loads(setup)  # noqa: S301
                self.context = None
                self.context = initializer(*initargs) if initializer else None
                _limit_memory(memory_mib)
                self._setup = setup
        except ConfigurationError as error:
            return error
        except BaseException:  # no item was seen in making it, so the traceback holds none
            return EngineError(f"A worker could not start.\n{traceback.format_exc()}")
        return None


def _nothing(context: Any, item: Any) -> None:
    raise EngineError("A worker was given an item before its orders.")


def _limit_memory(memory_mib: int) -> None:
    """Of address space, above what the process has at rest; the hard limit stays, for the next orders."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = _address_space() + memory_mib * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit if most < 0 else min(limit, most), most))


def _answer(fn: Callable[[Any, Any], Any], context: Any, body: bytes, is_last: bool) -> bytes | None:
    """The pickled answer to one item, None where memory ran out."""
    try:
        item = pickle.loads(body)  # noqa: S301 - written by our own parent
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


def _read_message(stream: Any) -> bytes | None:
    """The next message; None where the other side has gone."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    body = stream.read(LENGTH.unpack(head)[0])
    return bytes(body)


def _send(stream: Any, body: bytes) -> None:
    stream.write(LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()
