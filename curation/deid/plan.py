"""What becomes of the pixels of objects: plans, and what a plan is made from.

What belongs here: the types that those who decide (`pixels`, `faces`) and those who carry out (`redact`, `steps`, `take`)
share. What does not: any decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from curation.deid.header import Clean
from curation.deid.regions import Box


@dataclass(frozen=True, slots=True)
class Region:
    """One box that is blanked in every frame, and who says so."""

    box: Box
    source: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the pixels of one object."""

    regions: tuple[Region, ...] = ()
    is_cleaned: bool = False
    """A pixel pass was made: BurnedInAnnotation NO and code 113101 may be written."""
    mask: bytes | None = None
    """`np.packbits` of bool [frames, rows, columns] to replace; None: nothing beside the regions."""
    fill: int = 0
    """The stored value written under `mask`."""
    is_defaced: bool = False
    """RecognizableVisualFeatures NO and code 113102 may be written."""


@dataclass(frozen=True, slots=True)
class Look:
    """The header does not tell: the pixels must be read, together with those of the series."""

    why: str
    """`burned_in` or `face`."""


@dataclass(frozen=True, slots=True)
class Member:
    """One object of a series whose pixels are looked at; `frame(i)` decodes the stored values of frame i,
    [rows, columns] or [rows, columns, samples]."""

    clean: Clean
    frame: Callable[[int], NDArray[Any]]
