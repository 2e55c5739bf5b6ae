"""The loop's whole state in one file, replaced in one step: a kill leaves the old state or the new one.

What belongs here: writing and reading that file. What does not: what a step is (tune), what is released (export).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.runs import replace_file

if TYPE_CHECKING:
    import torch


@dataclass
class State:
    """Where the loop stands. Order, augmentation and dropout follow from `step`, so no random state is kept."""

    step: int = 0
    seconds: float = 0.0
    best_step: int = -1
    best_score: tuple[float, float] | None = None
    """Tune split, as the task watches it (macro AUPRC and minus the loss, say); larger is better."""
    learned_score: tuple[float, float] | None = None
    """The best one of an epoch that learned: patience counts from there, for the start may well beat the first epochs."""
    epochs_since_best: int = 0
    """Epochs without a better one among those that learned."""
    is_finished: bool = False
    stopped_by: str = ""
    rows: int = 0
    """Series in one pass, once memory made them fewer than the spec says; 0 before."""
    moving: dict[str, torch.Tensor] = field(default_factory=dict)
    average: dict[str, torch.Tensor] = field(default_factory=dict)
    """Moving average of `moving`; empty where the spec asks for none."""
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)


_TENSORS = ("moving", "average", "best", "optimizer")


def save(path: Path, state: State) -> None:
    """Writes aside, syncs, renames over."""
    import torch

    buffer = io.BytesIO()
    torch.save({f.name: getattr(state, f.name) for f in fields(state)}, buffer)
    replace_file(path, buffer.getvalue())


def load(path: Path) -> State | None:
    """The state of a former attempt; None where there is none. Tensors only: no pickled code is run."""
    import torch

    if not path.is_file():
        return None
    held = torch.load(path, map_location="cpu", weights_only=True)
    best, learned = (held.pop(name) for name in ("best_score", "learned_score"))
    return State(**held, best_score=_pair(best), learned_score=_pair(learned))


def _pair(score: Sequence[float] | None) -> tuple[float, float] | None:
    return None if score is None else (score[0], score[1])


def counters(state: State) -> dict[str, Any]:
    """The state without its tensors, for the report."""
    return {f.name: getattr(state, f.name) for f in fields(state) if f.name not in _TENSORS}
