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

from curation.fixed_rows import FixedRows

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]

DEPTH = 2
"""Batches that are ready or being read while one is learned from."""

ADVISED_BYTES = 64 << 20
"""How far ahead the system is told which row groups come: a slow disk needs to know early."""

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class Ahead:
    """Batches in the order in which they will be asked for; reading begins at once and stays DEPTH batches ahead.

    `group_of` [N] is each member's row group. A batch that is asked for out of turn is not here: `get` gives None and the
    caller reads it; the ones before it are dropped.
    """

    def __init__(
        self,
        read: Callable[[Ints], torch.Tensor],
        rows: FixedRows,
        group_of: Ints,
        batches: list[Ints],
        member_bytes: int,
    ) -> None:
        self._read, self._rows = read, rows
        self._due = deque(batches)
        self._order = group_of[np.concatenate(batches)] if batches else np.empty(0, np.int64)
        self._far = max(1, ADVISED_BYTES // member_bytes)
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
        if until - self._advised >= self._far // 4 or until == len(self._order):
            self._rows.advise(np.unique(self._order[self._advised : until]))
            self._advised = until
        self._coming.append((batch, self._thread.submit(self._read, batch)))


def memory_budget() -> int:
    """Bytes that a pack may take when nobody says: a quarter of what this process may have."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    if _CGROUP_LIMIT.exists() and (said := _CGROUP_LIMIT.read_text().strip()).isdigit():
        limits.append(int(said))
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        limits.append(address_space)
    return min(limits) // 4
