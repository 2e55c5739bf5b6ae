"""The cells of an evaluation: splits, their sites and subgroups, and which are too small to be shown.

What belongs here: which studies make up a cell. What does not: what is computed of it (evaluate, metrics).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.audit import Scores
from training.examples import Examples

UNKNOWN = "unknown"
JUDGED = ("test", "holdout")
"""Splits that no choice looked at."""

Key = tuple[str, str, str]

Strings = NDArray[np.str_]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """Judged studies of one split, site or subgroup; `all` is every one."""

    split: str
    site: str
    subgroup: str
    rows: Bools
    """[N judged]"""

    @property
    def key(self) -> Key:
        """What names it."""
        return self.split, self.site, self.subgroup


def iter_cells(examples: Examples, scores: Scores, strata: Mapping[str, Strings]) -> Iterator[Cell]:
    """Each split as a whole, then its sites, then (but on the tune split) its subgroups of a known value."""
    site = examples.site[scores.index]
    for split in ("test", "holdout", "tune"):
        in_split = scores.split == split
        if not in_split.any():
            continue
        yield Cell(split, "all", "all", in_split)
        for name in sorted(set(site[in_split].tolist())):
            yield Cell(split, name, "all", in_split & (site == name))
        if split == "tune":
            continue
        for stratum, values in strata.items():
            here = values[scores.index]
            for value in sorted(set(here[in_split].tolist()) - {UNKNOWN}):
                yield Cell(split, "all", f"{stratum}={value}", in_split & (here == value))


@dataclass(frozen=True, slots=True)
class Question:
    """One label on the judged studies of one split of which it is known."""

    split: str
    label: str
    c: int
    rows: Ints
    """[n] rows of the scores."""
    y: Floats
    """[n] truth, 0 or 1."""

    @property
    def has_both(self) -> bool:
        """Whether both classes are there."""
        return bool(0 < self.y.sum() < len(self.y))


def iter_questions(names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Question]:
    """Every label on `test`, then on `holdout`, where a study of known truth is judged."""
    for split in JUDGED:
        in_split = np.flatnonzero(scores.split == split)
        for c, label in enumerate(names):
            rows = in_split[np.isfinite(truth[scores.index[in_split], c])]
            if len(rows):
                yield Question(split, label, c, rows, truth[scores.index[rows], c])


def hidden_cells(cells: Sequence[Cell], patients: Ints, min_cell: int) -> dict[Key, str]:
    """Subgroups that are not shown, by key, and why: of fewer than min_cell patients, or such as would tell those.

    Whoever knows all of a split and all but one of its subgroups knows that one by subtraction. So what one partition
    hides, together with those whose value is not known, is at least two subgroups and min_cell patients, or nothing.
    Sites are always shown: an average hides a hospital, and a site is no person.
    """
    hidden: dict[Key, str] = {}
    groups: dict[tuple[str, str], list[Cell]] = {}
    total = {c.split: len(set(patients[c.rows].tolist())) for c in cells if c.site == c.subgroup == "all"}
    for cell in cells:
        if cell.subgroup != "all":
            groups.setdefault((cell.split, cell.subgroup.split("=")[0]), []).append(cell)
    for (split, _), group in groups.items():
        size = {cell.key: len(set(patients[cell.rows].tolist())) for cell in group}
        small = [key for key in size if size[key] < min_cell]
        hidden |= dict.fromkeys(small, f"has fewer than {min_cell} patients")
        rest = sorted((key for key in size if key not in hidden), key=lambda key: (size[key], key))
        while rest and 0 < total[split] - sum(size[key] for key in rest) < min_cell:
            key = rest.pop(0)
            hidden[key] = "would tell a smaller one by subtraction"
    return hidden
