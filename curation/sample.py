"""What a sample is: the rows that one series gives to a token pack, and the frames they are made of.

What belongs here: what every kind of sample must say. What does not: the kinds themselves (samples/), where frames lie
(pack_frames), how rows are written (pack_file).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from numpy.typing import NDArray

from curation.pack_recipe import PackRecipe
from curation.tile import Row, Source

Decode = Callable[[Source, int], NDArray[Any]]
"""Stored values of a frame, [rows, columns] or [rows, columns, samples], halved so many times."""

Spacing = tuple[float | None, float | None, float | None]
"""mm between slices, rows and columns; None where not stated."""


@dataclass(frozen=True, slots=True)
class OneSeries:
    """A series of a cohort: its rows of `instances`, what it is, and those clean headers that a kind asked for."""

    instances: Sequence[Row]
    kind: str | None
    body_part: str | None
    headers: Mapping[UUID, bytes]

    def source(self, instance: Row, frame_index: int) -> Source:
        """A frame of the series."""
        return Source(instance, frame_index, self.kind, self.body_part)


@dataclass(frozen=True, slots=True)
class Made:
    """One row of a pack.

    `pixels` has the recipe's shape and type. Stored value times `value_scale` is in `unit`: level (0..255, black to
    white between window_low and window_high of the source's values), HU, SUV or share (0..1 between those values).
    `spacing_mm` is of the stored array. What only some kinds have is None elsewhere.
    """

    pixels: NDArray[Any]
    frames: tuple[Source, ...]
    unit: str
    spacing_mm: Spacing
    is_inverted: bool
    window_low: float | None = None
    window_high: float | None = None
    value_scale: float = 1.0
    scale: float | None = None
    pad_top: int | None = None
    pad_left: int | None = None
    time_ms: float | None = None
    origin_mm: Sequence[float] | None = None
    directions: Sequence[float] | None = None


class Sample(Protocol):
    """One series, planned: the frames it needs, and its rows once they can be decoded."""

    @property
    def frames(self) -> Sequence[Source]:
        """What must be there before `make`; a frame may stand twice."""
        ...

    def make(self, decode: Decode) -> list[Made]:
        """The rows, in order. Raises Unreadable where the pixels are not what the plan took them for."""
        ...


class Kind(Protocol):
    """A way to show a series."""

    def headers(self, instances: Sequence[Row]) -> Sequence[Row]:
        """Those instances whose clean header `plan` reads."""
        ...

    def plan(self, series: OneSeries, recipe: PackRecipe) -> Sample:
        """Which frames the rows take. Raises Unreadable, with a reason of pack_recipe.LEFT_OUT."""
        ...
