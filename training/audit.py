"""What one line of the evaluation says, and the scores of both arms that every part of it judges.

What belongs here: nouns that the parts of an evaluation share. What does not: any figure (audits, evaluate and its neighbours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]

ARMS = ("untuned", "tuned")
COHORT = "cohort"
"""Name of the fit on the cohort's own split."""


@dataclass(frozen=True)
class Watched:
    """What one fit says of its own tune split, by which everything is chosen that may be chosen."""

    index: Ints
    """[T] member."""
    probability: Mapping[str, Floats]
    """arm -> [T, C]."""


@dataclass(frozen=True)
class Scores:
    """Judged members: M rows; a member is judged once by the cohort's fold and once by each fold that left its site out."""

    index: Ints
    """[M] member."""
    split: Strings
    """[M] under which split it counts."""
    probability: Mapping[str, Floats]
    """arm -> [M, C]."""
    threshold: Mapping[str, Floats]
    """arm -> [M, C] operating point of its fold, from the tune split; NaN where there is none."""
    fold: Strings = field(default_factory=lambda: np.array([], dtype=np.str_))
    """[M] which fit judged it; empty: the cohort's own fit judged all."""
    watched: Mapping[str, Watched] = field(default_factory=dict)
    """fold -> its tune split; of the cohort's own fold, where it is not here, the rows of the split `tune`."""

    @staticmethod
    def concatenate(parts: Sequence[Scores]) -> Scores:
        """All folds below one another."""
        return Scores(
            np.concatenate([p.index for p in parts]),
            np.concatenate([p.split for p in parts]),
            {arm: np.concatenate([p.probability[arm] for p in parts]) for arm in ARMS},
            {arm: np.concatenate([p.threshold[arm] for p in parts]) for arm in ARMS},
            np.concatenate([p.folds() for p in parts]),
            {name: watched for p in parts for name, watched in p.watched.items()},
        )

    def folds(self) -> Strings:
        """[M] which fit judged each row."""
        return self.fold if len(self.fold) else np.full(len(self.index), COHORT)

    def tune_of(self, fold: str) -> Watched:
        """What a fold says of its tune split; nothing (no rows) where that is not known."""
        if fold in self.watched:
            return self.watched[fold]
        rows = (self.split == "tune") & (self.folds() == fold)
        return Watched(self.index[rows], {arm: share[rows] for arm, share in self.probability.items()})


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the report. status: computed, not_applicable (with the reason) or missing (with the remedy)."""

    section: str
    item: str
    status: str
    value: float | None
    text: str
