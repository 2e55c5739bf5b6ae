"""Pixels that may show who the person is: which boxes of an object are blanked, or that it is withheld.

What belongs here: the decision, from the clean header alone. What does not: finding text in pixels, which this release does
not do; blanking, which `frames` does while it encodes. So an object of a class whose devices write names into the picture
(`rules/burned_in.csv`) is believed only where it says that there are none; an ultrasound that says nothing keeps what lies
inside its own regions (PS3.3 C.8.5.5), and everything outside them, where devices put their banners, goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.filereader import read_dataset

from curation.deid.header import Clean
from curation.deid.policy import read_rows
from curation.records import Refused

SOURCE = "outside the ultrasound regions"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels: left, top, width and height."""

    x: int
    y: int
    width: int
    height: int


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
