"""Pixels that may show who the person is: which boxes of an object are blanked, or that it is withheld.

What belongs here: the decision, from the clean header alone. What does not: finding text in pixels, which this release does
not do; blanking, which `frames` does while it encodes. So an object of a class whose devices write names into the picture
(`rules/burned_in.csv`) is believed only where it says that there are none; an ultrasound that says nothing keeps what lies
inside its own regions (PS3.3 C.8.5.5), and everything outside them, where devices put their banners, goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.filereader import read_dataset

from curation.deid.header import Clean
from curation.deid.policy import Policy, read_rows
from curation.records import Refused
from curation.site import Site

SOURCE = "outside the ultrasound regions"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels: left, top, width and height."""

    x: int
    y: int
    width: int
    height: int


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


@dataclass(frozen=True, slots=True)
class PixelRules:
    """What is known of where devices write: of one site, and shipped. Can be sent to a worker."""


def load_pixel_rules(site: Site | None) -> PixelRules:
    """The shipped rules and the site's own."""
    return PixelRules()


def triage(clean: Clean, policy: Policy, rules: PixelRules) -> Plan | Look:
    """What the header alone decides of an object's pixels, or that they must be looked at.

    Raises Refused("identity_suspected") where names may stand in the picture and nothing says where.
    """
    return Plan(tuple(Region(box, SOURCE) for box in boxes_to_blank(clean)))


def plan_series(members: Sequence[Member], policy: Policy, rules: PixelRules) -> Mapping[UUID, Plan | str]:
    """A plan for each object of one series by its instance_id, or the reason why it is withheld.

    Does not depend on the order of `members`.
    """
    plans: dict[UUID, Plan | str] = {}
    for member in members:
        try:
            plans[member.clean.instance_id] = Plan(
                tuple(Region(box, SOURCE) for box in boxes_to_blank(member.clean))
            )
        except Refused as refusal:
            plans[member.clean.instance_id] = refusal.reason
    return plans


@cache
def _unstated() -> dict[str, str]:
    return {row["sop_class"]: row["unstated"] for row in read_rows("burned_in.csv")}


def boxes_to_blank(clean: Clean) -> tuple[Box, ...]:
    """Boxes of every frame that must go; none where nothing is suspected.

    Raises Refused("identity_suspected") where names may stand in the picture and nothing says where.
    """
    rule = _unstated().get(clean.sop_class)
    if rule is None or clean.pixels is None:
        return ()
    header: Dataset = read_dataset(BytesIO(clean.header), is_implicit_VR=False, is_little_endian=True)
    if str(header.get("BurnedInAnnotation", "")).strip() == "NO":
        return ()
    kept = _regions(header) if rule == "regions" else []
    if not kept:
        raise Refused("identity_suspected")
    return tuple(_outside(kept, int(header.Columns), int(header.Rows)))


def _regions(header: Dataset) -> list[Box]:
    """The ultrasound regions inside the picture; the location's maximum belongs to the region."""
    boxes = []
    for item in header.get("SequenceOfUltrasoundRegions") or []:
        try:
            left, top = int(item.RegionLocationMinX0), int(item.RegionLocationMinY0)
            right, bottom = int(item.RegionLocationMaxX1) + 1, int(item.RegionLocationMaxY1) + 1
        except (AttributeError, TypeError, ValueError):
            raise Refused("identity_suspected") from None
        right, bottom = min(right, int(header.Columns)), min(bottom, int(header.Rows))
        if 0 <= left < right and 0 <= top < bottom:
            boxes.append(Box(left, top, right - left, bottom - top))
    return boxes


def _outside(kept: Sequence[Box], columns: int, rows: int) -> Iterator[Box]:
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


def blanker(boxes: Sequence[Box], is_ybr: bool) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """A function that blackens the boxes of one frame of stored values [rows, columns] or [rows, columns, samples]."""
    if not boxes:
        return None

    def blank(values: NDArray[Any]) -> NDArray[Any]:
        values = np.array(values)
        for box in boxes:
            part = values[box.y : box.y + box.height, box.x : box.x + box.width]
            part[...] = 0
            if is_ybr and values.ndim == 3:
                part[..., 1:] = 128  # black has no colour difference
        return values

    return blank
