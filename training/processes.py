"""Several processes that fit one model together: who computes which rows, whose gradients are added up, who decides and writes.

What belongs here: the group, and starting one on this machine. What does not: what is computed (step, loop). The group is
found by accelerate, whoever started it: `compute.processes`, `accelerate launch -m training`, torchrun. Every process holds
the whole model and the same state; the first alone writes, and where clocks or people decide, the others do as it says.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.runs import RunFolder

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Said = TypeVar("Said")

PATIENCE = timedelta(days=2)
"""The others wait while the first one makes tiles and frozen features."""

GRACE_S = 20.0
"""What is left of a group whose member failed is ended after that."""


@dataclass(frozen=True)
class Processes:
    """A group of `world` processes, this one being number `rank`, number `local` on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this one writes and decides."""
        return self.rank == 0

    def share(self, n: int) -> Ints:
        """Places of n rows that this process computes: each row has one process, in order."""
        return np.array_split(np.arange(n), self.world)[self.rank]

    def say(self, word: Said) -> Said:
        """The first one's word, for all; every process must ask."""
        if self.world == 1:
            return word
        from accelerate.utils import broadcast_object_list

        return cast(Said, broadcast_object_list([word]).pop())

    def in_turn(self, work: Callable[[], Said]) -> Said:
        """What the work gives, done by the first one before the others do it: they find what it left on disk."""
        if self.is_first:
            found = work()
        self.say(None)
        return found if self.is_first else work()

    def gathered(self, own: Floats) -> Floats:
        """The rows [n, ...] of all, in the order of `share`."""
        if self.world == 1:
            return own
        from accelerate.utils import gather_object

        parts = gather_object([own])
        return np.concatenate([p for p in parts if len(p)] or parts)

    def whole(self, own: torch.Tensor, n: int) -> torch.Tensor:
        """The n rows [n, ...] of all, in the order of `share`, of those that this process computed. No gradient passes."""
        if self.world == 1:
            return own.detach()
        from accelerate.utils import reduce

        rows = own.new_zeros(n, *own.shape[1:])
        rows[self.share(n)] = own.detach()
        total = reduce(rows, reduction="sum")
        return cast("torch.Tensor", total)

    def add_up(self, loss: torch.Tensor, moving: Sequence[torch.nn.Parameter]) -> torch.Tensor:
        """Adds up gradients, in place, and the loss. What no process has a gradient of keeps none."""
        if self.world == 1:
            return loss
        import torch
        from accelerate.utils import reduce

        known = torch.tensor([p.grad is not None for p in moving], dtype=torch.float32, device=loss.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in moving]
        flat = torch.cat([loss.detach().reshape(1), known, *[g.flatten() for g in grads]])
        total = reduce(flat, reduction="sum")
        assert isinstance(total, torch.Tensor)
        seen = total[1 : 1 + len(moving)].tolist() if any(p.grad is None for p in moving) else None
        place = 1 + len(moving)
        for number, (parameter, grad) in enumerate(zip(moving, grads, strict=True)):
            part = total[place : place + grad.numel()].view_as(grad)
            place += grad.numel()
            parameter.grad = part if seen is None or seen[number] else None
        return total[0]


def join(device: str) -> Processes:
    """The group that this process was started in; a group of one where it was started alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes()
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes, state.local_process_index)


class Watching(RunFolder):
    """A run's folder for those who write nothing."""

    def write_bytes(self, name: str, content: bytes) -> None:
        """Nothing."""

    def write_json(self, name: str, content: Any) -> None:
        """Nothing."""

    def write_parquet(self, name: str, table: pa.Table) -> None:
        """Nothing."""

    def beat(
        self, status: str, *, progress: float, step: int, eta_s: float | None = None, message: str = ""
    ) -> None:
        """Nothing."""

    def log(
        self, step: int, epoch: int, values: dict[str, float], examples_per_s: float | None = None
    ) -> None:
        """Nothing."""


def is_member() -> bool:
    """Whether this process was started as one of a group."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(arguments: Sequence[str], n: int, should_stop: Callable[[], bool]) -> int:
    """`python -m training` with those arguments, n times on this machine; the exit code of the first, or of who failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [_start(arguments, rank, n, port) for rank in range(n)]
    told, failed_at = False, None
    try:
        while any(child.poll() is None for child in children):
            time.sleep(0.1)
            if should_stop() and not told:
                told = True
                for child in children:
                    child.send_signal(signal.SIGTERM)
            if failed_at is None and any(child.poll() not in (None, 0) for child in children):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > GRACE_S:
                break
    finally:
        for child in children:
            child.kill()
            child.wait()
    codes = [child.returncode for child in children]
    return codes[0] if codes[0] > 0 or not any(codes) else max(1, *codes)


def _start(arguments: Sequence[str], rank: int, n: int, port: int) -> subprocess.Popen[bytes]:
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
    own = {**{k: str(v) for k, v in group.items()}, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n)))}
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments], env={**os.environ, **own, **threads}
    )
