"""Randomness by name: every random stream is made from the seed and the names of what it is for.

So no order of work, no number of sites and no other stream changes a draw: the same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

GOLDEN = (math.sqrt(5) - 1) / 2


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one purpose, such as `stream(seed, site, patient, "thorax")`."""
    digest = hashlib.sha256("\x1f".join(str(n) for n in (seed, *names)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def spread(index: int, start: float = 0.0, step: float = GOLDEN) -> float:
    """Evenly spread number in [0, 1) for a running index: shares come out right even for ten patients."""
    return (start + (index + 1) * step) % 1.0
