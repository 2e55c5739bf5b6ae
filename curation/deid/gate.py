"""Whose pixels are looked at: by SOP class, ImageType, ConversionType, colour and BurnedInAnnotation (`rules/burned_in.csv`).

What belongs here: reading the table, and asking it with a clean header. What does not: what a look finds (`pixels`).
The first row that fits decides. `1.2.*` stands for 1.2 and everything below it. `word` is one of the values of ImageType or ConversionType, or COLOUR; a row that names
`stated` wants that BurnedInAnnotation. Only rows of the table believe an object that says NO: those that release it anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from curation.deid.explicit import elements_of
from curation.deid.header import Clean
from curation.deid.policy import read_rows

OPTION = "clean_pixel_data"
_IMAGE_TYPE, _CONVERSION, _PHOTOMETRIC, _BURNED_IN = 0x00080008, 0x00080064, 0x00280004, 0x00280301
_COLOURS = (b"RGB", b"YBR_", b"PALETTE")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `decision` and `without` (the option Clean Pixel Data): release, look, regions or withhold."""

    sop_class: str
    word: str
    stated: str
    decision: str
    without: str
    why: str


@cache
def _rows(sop_class: str) -> tuple[Row, ...]:
    """The lines of one class, down to the first that fits every object of it."""
    found: list[Row] = []
    for row in (Row(**cells) for cells in read_rows("burned_in.csv")):
        if _is_of(sop_class, row.sop_class):
            found.append(row)
            if row.word == row.stated == "*":
                break
    return tuple(found)


def _is_of(sop_class: str, pattern: str) -> bool:
    root = pattern.removesuffix(".*")
    return pattern == "*" or sop_class == root or (root != pattern and sop_class.startswith(root + "."))


@cache
def _signs(sop_class: str) -> tuple[bytes, ...] | None:
    """Bytes without which a header of this class is released; None: the class is looked at whatever its header says."""
    *special, last = _rows(sop_class)
    if last.decision != "release" or last.without != "release":
        return None
    signs: set[bytes] = set()
    for row in special:
        if row.stated != "*":
            signs.add(b"\x28\x00\x01\x03CS")
        elif row.word == "COLOUR":
            signs.update(_COLOURS)
        else:
            signs.add(row.word.encode())
    return tuple(sorted(signs))


def gate(clean: Clean) -> tuple[Row, str]:
    """The line that decides for this object, and what the object says of itself: YES, NO or nothing."""
    signs = _signs(clean.sop_class)
    # most objects of a hospital are slices: their headers are not walked for this
    if signs is not None and not any(sign in clean.header for sign in signs):
        return _rows(clean.sop_class)[-1], ""
    words, stated = _facts(clean.header)
    for row in _rows(clean.sop_class):
        if row.word in ("*", *words) and row.stated in ("*", stated):
            return row, stated
    raise AssertionError("the table ends with a line for everything")


def _facts(header: bytes) -> tuple[frozenset[str], str]:
    values: dict[int, str] = {}
    for tag, _, _, start, stop in elements_of(header):
        if tag > _BURNED_IN:
            break
        if tag in (_IMAGE_TYPE, _CONVERSION, _PHOTOMETRIC, _BURNED_IN):
            values[tag] = header[start:stop].decode("latin-1").strip(" \0")
    words = {
        word.strip()
        for value in (values.get(_IMAGE_TYPE, ""), values.get(_CONVERSION, ""))
        for part in value.upper().split("\\")
        for word in (part, *part.replace("_", " ").split())
    }
    if not values.get(_PHOTOMETRIC, "MONOCHROME2").startswith("MONOCHROME"):
        words.add("COLOUR")
    return frozenset(words), values.get(_BURNED_IN, "").upper()
