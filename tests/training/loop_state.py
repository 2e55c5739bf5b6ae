"""A digest of where a loop stands, for runs that must end alike: what is released may be a start that was never left."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from training import checkpoint


def digest(run: Path, fold: str = "cohort") -> str:
    """sha256 of the last checkpoint: weights, their average, the best ones, the optimiser's moments and all counters but time."""
    state = checkpoint.load(run / "checkpoints" / f"{fold}.pt")
    assert state is not None
    assert state.step > 0
    hasher = hashlib.sha256()
    for name, value in _leaves("", {k: v for k, v in asdict(state).items() if k != "seconds"}):
        content = (
            value.contiguous().numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
        )
        hasher.update(f"{name} ".encode() + content)
    return hasher.hexdigest()


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict | list):
        for key, own in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(f"{name}/{key}", own)
    else:
        yield name, value
