"""An ICC profile without words: its colour tables, under a header and a description that are ours.

What belongs here: rebuilding a profile (ICC.1, versions 2 and 4) from what colour management needs. What does not: whether an
object may have one (rules).

Profiles hold names of makers, models, persons and dates of measurement, as text in a dozen forms. So nothing is searched for:
tables of numbers whose exact length follows from their own head are taken over, everything else is written anew or left out.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from curation.records import Refused

_KEPT = frozenset(
    b"rXYZ gXYZ bXYZ wtpt bkpt rTRC gTRC bTRC kTRC chad lumi A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 gamt".split()
)
_NEEDED = (frozenset({b"A2B0"}), frozenset({b"kTRC"}), frozenset(b"rXYZ gXYZ bXYZ rTRC gTRC bTRC".split()))
"""Tags of which one set must be there for a profile to say anything."""
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Numbers of a parametric curve by its kind."""
_MAX_TAGS = 100
_WORDS = b"colour profile"


def neutral_profile(profile: bytes) -> bytes:
    """The profile with its tables of numbers and nothing else. Raises Refused("malformed") where too little is left."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        raise Refused("malformed")
    tables = dict(_tables(profile))
    if not any(needed <= tables.keys() for needed in _NEEDED):
        raise Refused("malformed")
    is_v4 = profile[8] >= 4
    tables[b"desc"] = _localized(_WORDS) if is_v4 else _described(_WORDS)
    tables[b"cprt"] = _localized(b"none") if is_v4 else b"text\0\0\0\0none\0"
    return _assembled(_head(profile), tables)


def _tables(profile: bytes) -> list[tuple[bytes, bytes]]:
    (count,) = struct.unpack_from(">L", profile, 128)
    if count > _MAX_TAGS or len(profile) < 132 + 12 * count:
        raise Refused("malformed")
    found = []
    for at in range(132, 132 + 12 * count, 12):
        name, start, size = struct.unpack_from(">4sLL", profile, at)
        value = profile[start : start + size]
        if name in _KEPT and len(value) == size and (exact := _exact(value)):
            found.append((name, value[:4] + bytes(4) + value[8:exact]))
    return found


def _exact(value: bytes) -> int:
    """How long a table of numbers is by its own head; 0 where it is none or does not fit."""
    length = 0
    if len(value) >= 12:
        kind = value[:4]
        if kind == b"XYZ ":
            length = 20
        elif kind == b"sf32":
            length = 44
        elif kind == b"curv":
            length = 12 + 2 * int.from_bytes(value[8:12], "big")
        elif kind == b"para":
            n = _PARAMETERS.get(int.from_bytes(value[8:10], "big"))
            length = 12 + 4 * n if n else 0
        elif kind in (b"mft1", b"mft2") and len(value) >= 52:
            length = _lut_length(value)
    return length if length <= len(value) else 0


def _lut_length(value: bytes) -> int:
    n_in, n_out, grid = value[8], value[9], value[10]
    if not (1 <= n_in <= 4 and 1 <= n_out <= 4 and grid):
        return 0
    cube: int = grid**n_in * n_out
    if value[:4] == b"mft1":
        return 48 + 256 * n_in + cube + 256 * n_out
    in_entries, out_entries = struct.unpack_from(">HH", value, 48)
    length: int = 52 + 2 * (in_entries * n_in + cube + out_entries * n_out)
    return length


def _head(profile: bytes) -> bytes:
    """Version, class, colour spaces, intent and white point; no maker, model, creator or date."""
    head = bytearray(128)
    head[8:10] = profile[8:10]
    head[12:16] = _one_of(profile[12:16], (b"mntr", b"scnr", b"prtr", b"spac"))
    head[16:20] = _one_of(profile[16:20], (b"RGB ", b"GRAY", b"CMYK"))
    head[20:24] = _one_of(profile[20:24], (b"XYZ ", b"Lab "))
    head[36:40] = b"acsp"
    head[64:68] = struct.pack(">L", profile[67] & 3)
    head[68:80] = struct.pack(">3L", 0xF6D6, 0x10000, 0xD32D)  # D50, the only one allowed
    return bytes(head)


def _one_of(word: bytes, known: tuple[bytes, ...]) -> bytes:
    if word not in known:
        raise Refused("malformed")
    return word


def _assembled(head: bytes, tables: Mapping[bytes, bytes]) -> bytes:
    at = 132 + 12 * len(tables)
    directory, body = [], []
    for name, value in sorted(tables.items()):
        directory.append(struct.pack(">4sLL", name, at, len(value)))
        body.append(value + bytes(-len(value) % 4))
        at += len(body[-1])
    whole = b"".join((head, struct.pack(">L", len(tables)), *directory, *body))
    return struct.pack(">L", len(whole)) + whole[4:]


def _described(words: bytes) -> bytes:
    """A textDescriptionType of version 2."""
    return b"desc" + struct.pack(">LL", 0, len(words) + 1) + words + b"\0" + bytes(8 + 3 + 67)


def _localized(words: bytes) -> bytes:
    """A multiLocalizedUnicodeType of version 4 with one record."""
    text = words.decode("ascii").encode("utf-16-be")
    return b"mluc" + struct.pack(">LLL2s2sLL", 0, 1, 12, b"en", b"US", len(text), 28) + text
