"""Markers: what a released object says of its own de-identification (PS3.15 E.1.1, PS3.3 C.12.1, CID 7050).

What belongs here: the elements (0012,0062) to (0012,0064), (0028,0301) and (0028,0302), and writing them. What does not:
whether a pass over the pixels was made; who made it says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from curation.deid.explicit import element, elements_of
from curation.deid.profile import Profile, read_rows

IDENTITY_REMOVED, METHOD, METHOD_CODES, TEMPORAL = 0x00120062, 0x00120063, 0x00120064, 0x00280303
BURNED_IN, VISUAL_FEATURES = 0x00280301, 0x00280302
PER_OBJECT = frozenset({"clean_pixel_data", "clean_recognizable_visual_features"})
"""Options that are claimed object by object, once a pass over its pixels was made."""


def method(profile: Profile, version: str) -> bytes:
    """The elements (0012,0062) to (0012,0064) of every released object, before any pass over its pixels."""
    claimed = [option for option in profile.options if option not in PER_OBJECT]
    return b"".join(
        (
            element(IDENTITY_REMOVED, b"CS", b"YES"),
            element(METHOD, b"LO", f"rwid {version}".encode()[:64]),
            _method_codes(claimed),
        )
    )


def mark(header: bytes, profile: Profile, *, is_cleaned: bool, is_defaced: bool) -> bytes:
    """A clean header that claims what was done to the pixels of this object, and nothing more.

    is_cleaned: a pass over the pixels left no burned-in text; adds 113101, BurnedInAnnotation becomes NO. is_defaced: the
    recognizable surface was removed; adds 113102, RecognizableVisualFeatures becomes NO.
    """
    if not (is_cleaned or is_defaced):
        return header
    claimed = [option for option in profile.options if option not in PER_OBJECT]
    ours = {}
    if is_cleaned:
        claimed.append("clean_pixel_data")
        ours[BURNED_IN] = element(BURNED_IN, b"CS", b"NO")
    if is_defaced:
        claimed.append("clean_recognizable_visual_features")
        ours[VISUAL_FEATURES] = element(VISUAL_FEATURES, b"CS", b"NO")
    ours[METHOD_CODES] = _method_codes(claimed)
    parts = {tag: header[begin:stop] for tag, _, begin, _, stop in elements_of(header)}
    return b"".join(part for _, part in sorted((parts | ours).items()))


def _method_codes(options: Iterable[str]) -> bytes:
    rows = {row["option"]: row for row in read_rows("options.csv")}
    codes = [("113100", "Basic Application Confidentiality Profile")]
    codes += [(rows[option]["code"], rows[option]["meaning"]) for option in options]
    items = b"".join(_item(code_item(code, "DCM", meaning)) for code, meaning in sorted(codes))
    return element(METHOD_CODES, b"SQ", items)


def _item(content: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content


def code_item(code: str, scheme: str, meaning: str) -> bytes:
    """The elements of one coded entry (PS3.3 8.8)."""
    return (
        element(0x00080100, b"SH", code.encode())
        + element(0x00080102, b"SH", scheme.encode())
        + element(0x00080104, b"LO", meaning.encode()[:64])
    )
