"""Batches read ahead by one thread, and how much memory a pack may take.

What belongs here: reading the next batches while this one is learned from. What does not: which they are (batches), where
their bytes lie (curation.fixed_rows).
"""

from __future__ import annotations

import os
import resource
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]

DEPTH = 2
"""Batches that are ready or being read while one is learned from."""

CONTROL_GROUPS = Path("/sys/fs/cgroup")


class Ahead:
    """Batches in the order in which they will be asked for; reading begins at once and stays DEPTH batches ahead.

    `empty(n)` makes room, in the caller's thread so that memory is used again; `fill(room, members)` runs in the other.
    `advise(members)` hears of members `far` before they are read. A batch that is asked for out of turn is not here: `get`
    gives None and the caller reads it; the ones before it are dropped.
    """

    def __init__(
        self,
        empty: Callable[[int], torch.Tensor],
        fill: Callable[[torch.Tensor, Ints], torch.Tensor],
        advise: Callable[[Ints], None],
        batches: list[Ints],
        far: int,
    ) -> None:
        self._empty, self._fill, self._advise, self._far = empty, fill, advise, max(4, far)
        self._due = deque(batches)
        self._order = np.concatenate(batches) if batches else np.empty(0, np.int64)
        self._shown = self._advised = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._coming: deque[tuple[Ints, Future[torch.Tensor]]] = deque()
        for _ in range(DEPTH):
            self._submit()

    def get(self, indices: Ints) -> torch.Tensor | None:
        """The next batch, where it is these members'; waits for it."""
        while self._coming:
            expected, future = self._coming.popleft()
            self._submit()
            if np.array_equal(expected, indices):
                return future.result()
        return None

    def close(self) -> None:
        """Lets the thread end."""
        self._due.clear()
        self._coming.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _submit(self) -> None:
        if not self._due:
            self._thread.shutdown(wait=False)
            return
        batch = self._due.popleft()
        self._shown += len(batch)
        until = min(self._shown + self._far, len(self._order))
        if until - self._advised >= self._far // 4 or until == len(self._order) > self._advised:
            self._advise(self._order[self._advised : until])
            self._advised = until
        room = self._empty(len(batch))
        self._coming.append((batch, self._thread.submit(self._fill, room, batch)))


def memory_budget() -> int:
    """Bytes that a pack may take when nobody says: a quarter of what this process may have."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += control_group_limits(CONTROL_GROUPS, Path("/proc/self/cgroup"))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        if (limit := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY:
            limits.append(limit)
    return min(limits) // 4


def control_group_limits(root: Path, own: Path) -> list[int]:
    """Bytes of memory that the process' control groups allow, of both versions (cgroups(7)): its own and those around it.

    `own` has the text of /proc/self/cgroup. Inside a container a group's path may not be there; the container's is the root.
    """
    limits = []
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        place = top / path.lstrip("/")
        for group in (place, *(p for p in place.parents if p.is_relative_to(top))):
            if (file := group / name).is_file() and (said := file.read_text().strip()).isdigit():
                limits.append(int(said))
    return limits
