"""Where devices write into pictures: rectangles to blank or to keep, by what the header says of device and picture.

What belongs here: the rectangle, the rule, which rules a header matches and what they blank. What does not: other tools'
files (`regions_import`), finding text (`detect`), the decision about an object (`pixels`). Rules are `[[burned_in]]` tables:
the shipped `rules/regions.toml`, and those of a site's own file. They are matched with the cleaned header, so that a rule may
only ask for attributes that de-identification leaves (`MATCHABLE`).
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydicom import Dataset
from pydicom.multival import MultiValue

from curation.deid.actions import RULES

MATCHABLE = (
    "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SOPClassUID", "ImageType",
    "ConversionType", "BurnedInAnnotation", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "BodyPartExamined", "ViewPosition",
    "SecondaryCaptureDeviceManufacturer", "SecondaryCaptureDeviceManufacturerModelName",
    "SecondaryCaptureDeviceSoftwareVersions", "SeriesNumber", "WindowWidth", "WindowCenter", "TransducerType", "PresentationIntentType",
)  # fmt: skip
"""Attributes that every profile leaves as the device wrote them."""

DESCRIPTIVE = ("SeriesDescription", "StudyDescription", "ProtocolName", "StationName")
"""Attributes that are matched as they are after cleaning: words outside the vocabulary are gone."""

TESTS = ("contains", "equals", "starts with", "matches", "exists")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels: left, top, width and height."""

    x: int
    y: int
    width: int
    height: int

    def overlaps(self, other: Box) -> bool:
        """Whether the two share a pixel."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        return across > 0 and min(self.y + self.height, other.y + other.height) - max(self.y, other.y) > 0

    def covers(self, other: Box) -> bool:
        """Whether every pixel of the other lies in this one."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )

    def hull(self, other: Box) -> Box:
        """The smallest rectangle that holds both."""
        left, top = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        return Box(left, top, right - left, max(self.y + self.height, other.y + other.height) - top)

    def within(self, columns: int, rows: int) -> Box | None:
        """The part inside a picture; None: there is none."""
        left, top = max(0, self.x), max(0, self.y)
        right, bottom = min(columns, self.x + self.width), min(rows, self.y + self.height)
        return Box(left, top, right - left, bottom - top) if left < right and top < bottom else None


Rectangle = tuple[
    Annotated[int, Field(ge=0)],
    Annotated[int, Field(ge=0)],
    Annotated[int, Field(gt=0)],
    Annotated[int, Field(gt=0)],
]
"""Left, top, width, height in pixels of the picture."""


class RegionRule(BaseModel):
    """One `[[burned_in]]` table: what the header must say, and what becomes of the picture then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    manufacturer: str | None = None
    """Contained in Manufacturer; like every test, without regard to case."""
    model: str | None = None
    software: str | None = None
    modality: str | None = None
    rows: int | None = None
    columns: int | None = None
    where: tuple[tuple[str, ...], ...] = ()
    """Further conditions, all of which must hold: [keyword, test, value], a test of TESTS, with `not ` before it for its
    opposite; `exists` has no value."""
    blank: tuple[Rectangle, ...] = ()
    keep: tuple[Rectangle, ...] = ()
    """What lies outside all of these is blanked."""
    otherwise: Literal["look", "trust", "withhold"] = "look"
    """What follows: the rest is looked at, whatever its class; or the site vouches that nothing else is written; or pictures
    of this kind are never released."""

    @field_validator("where")
    @classmethod
    def _known(cls, where: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for condition in where:
            keyword, test = condition[0], condition[1].removeprefix("not ") if len(condition) > 1 else ""
            if keyword not in MATCHABLE and keyword not in DESCRIPTIVE:
                raise ValueError(f"{keyword} cannot be asked: it may be cleaned away before")
            if test not in TESTS or len(condition) != (2 if test == "exists" else 3):
                raise ValueError(f"a condition is [keyword, test, value]; tests are {', '.join(TESTS)}")
            if test == "matches":
                try:
                    re.compile(condition[2])
                except re.error as error:
                    raise ValueError(f"{condition[2]!r} is no pattern ({error})") from None
        return where

    def matches(self, header: Dataset) -> bool:
        """Whether a cleaned header is of the device and picture that the rule is for."""
        short = (
            ("Manufacturer", self.manufacturer),
            ("ManufacturerModelName", self.model),
            ("SoftwareVersions", self.software),
        )
        exact = (("Modality", self.modality), ("Rows", self.rows), ("Columns", self.columns))
        return (
            all(v is None or _holds(header, k, "contains", v) for k, v in short)
            and all(v is None or _holds(header, k, "equals", str(v)) for k, v in exact)
            and all(_holds(header, c[0], c[1], c[2] if len(c) > 2 else "") for c in self.where)
        )

    def boxes(self, columns: int, rows: int) -> list[Box]:
        """What is blanked in a picture of that size."""
        inside = [box.within(columns, rows) for box in itertools.starmap(Box, self.blank)]
        kept = [b for box in itertools.starmap(Box, self.keep) if (b := box.within(columns, rows))]
        found = [box for box in inside if box]
        return found + (list(outside(kept, columns, rows)) if self.keep else [])


def _holds(header: Dataset, keyword: str, test: str, value: str) -> bool:
    if test.startswith("not "):
        return not _holds(header, keyword, test[4:], value)
    stated = header.get(keyword)
    if stated is None or stated == "":
        return False
    text = "\\".join(str(v) for v in stated) if isinstance(stated, MultiValue) else str(stated)
    text, value = text.strip().casefold(), value.strip() if test == "matches" else value.strip().casefold()
    return (
        test == "exists"
        or (test == "contains" and value in text)
        or (test == "equals" and value == text)
        or (test == "starts with" and text.startswith(value))
        or (test == "matches" and re.fullmatch(value, text, re.IGNORECASE) is not None)
    )


def outside(kept: Sequence[Box], columns: int, rows: int) -> Iterator[Box]:
    """The picture without the boxes, as rectangles from top to bottom."""
    cuts = sorted({0, rows, *(b.y for b in kept), *(b.y + b.height for b in kept)})
    for top, bottom in itertools.pairwise(cuts):
        at = 0
        for box in sorted((b for b in kept if b.y <= top and bottom <= b.y + b.height), key=lambda b: b.x):
            if box.x > at:
                yield Box(at, top, box.x - at, bottom - top)
            at = max(at, box.x + box.width)
        if at < columns:
            yield Box(at, top, columns - at, bottom - top)


@cache
def load_regions() -> tuple[RegionRule, ...]:
    """The shipped rules."""
    book = tomllib.loads((RULES / "regions.toml").read_text(encoding="utf-8"))
    return tuple(RegionRule(**facts) for facts in book.get("burned_in", []))


def as_toml(rules: Sequence[RegionRule]) -> str:
    """The rules as `[[burned_in]]` tables."""
    lines = []
    for rule in rules:
        facts = rule.model_dump(exclude_defaults=True)
        lines += ["[[burned_in]]", *(f"{key} = {_value(value)}" for key, value in facts.items()), ""]
    return "\n".join(lines)


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(v) for v in value)}]"
    return json.dumps(value)  # TOML writes strings and whole numbers as JSON does
