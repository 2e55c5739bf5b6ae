"""Ways to break a DICOM file, each from a seed: what a fault on the road, a bad writer or somebody hostile would send.

What belongs here: bytes to broken bytes. What does not: running them (bench_mutations).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
VRS = sorted(LONG | {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
                     b"ST", b"TM", b"UI", b"UL", b"US"})  # fmt: skip
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF
HEAD = 6000
CHARSETS = (
    b"ISO_IR 192",
    b"ISO_IR 100",
    b"ISO_IR 13",
    b"GB18030 ",
    b"\\ISO 2022 IR 87",
    b"NONSENSE",
    b"ISO 2022 IR 149\\X",
    b"\x1b$B  ",
)
SYNTAXES = (b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.50",
            b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5\0")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """One top-level element of an explicit little endian data set: where it begins, its length field, its value, its end."""

    start: int
    length_at: int
    length_size: int
    value: int
    end: int


def elements(data: bytes) -> list[Found]:
    """The elements that can be walked over from the start; empty where the file is not plain Part 10."""
    if data[128:132] != b"DICM":
        return []
    found, at = [], 132
    while at + 8 <= len(data):
        vr = data[at + 4 : at + 6]
        if vr not in VRS:
            break
        size = 4 if vr in LONG else 2
        length_at = at + 8 if size == 4 else at + 6
        value = length_at + size
        length = int.from_bytes(data[length_at:value], "little")
        if length == UNDEFINED or value + length > len(data):
            break
        found.append(Found(at, length_at, size, value, value + length))
        at = value + length
    return found


def _pick(data: bytes, chance: random.Random) -> Found | None:
    found = [e for e in elements(data) if e.start > 200]
    return chance.choice(found) if found else None


def _put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at:]


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(132, max(133, min(len(data), HEAD)))


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16)) if data else 0):
        out[min(_place(data, chance), len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(out)


def set_bytes(data: bytes, chance: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 2, 8)) if data else 0):
        out[min(_place(data, chance), len(data) - 1)] = chance.choice(
            (0, 1, 0x20, 0x5C, 0x5E, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256))
        )
    return bytes(out)


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[
        : chance.choice(
            (_place(data, chance), chance.randrange(len(data)), len(data) - chance.randrange(1, 9))
        )
    ]


def truncate_at_element(data: bytes, chance: random.Random) -> bytes:
    found = _pick(data, chance)
    return data[: found.start] if found else truncate(data, chance)


def odd_length(data: bytes, chance: random.Random) -> bytes:
    """One element a byte longer, or shorter, in its length and in its value."""
    found = _pick(data, chance)
    if found is None:
        return flip_bits(data, chance)
    length = found.end - found.value
    if chance.random() < 0.5 or not length:
        return _with_length(data[: found.end] + b"\0" + data[found.end :], found, length + 1)
    return _with_length(data[: found.end - 1] + data[found.end :], found, length - 1)


def _with_length(data: bytes, found: Found, length: int) -> bytes:
    raw = (length & (1 << 8 * found.length_size) - 1).to_bytes(found.length_size, "little")
    return data[: found.length_at] + raw + data[found.value :]


def lie_about_length(data: bytes, chance: random.Random) -> bytes:
    """The length says something else than what is there."""
    found = _pick(data, chance)
    if found is None:
        return flip_bits(data, chance)
    length = found.end - found.value
    lie = chance.choice(
        (
            0,
            1,
            2,
            length - 2,
            length + 1,
            length + 2,
            length + 8,
            2 * length,
            0xFFFE,
            0xFFFFFFFE,
            UNDEFINED,
            0x7FFFFFFF,
            len(data),
        )
    )
    return _with_length(data, found, max(0, lie))


def wrong_vr(data: bytes, chance: random.Random) -> bytes:
    found = _pick(data, chance)
    if found is None:
        return flip_bits(data, chance)
    same = [vr for vr in VRS if (vr in LONG) == (found.length_size == 4)]
    vr = chance.choice((*same, b"ZZ", b"\0\0", b"??", b"un"))
    return data[: found.start + 4] + vr + data[found.start + 6 :]


def as_unknown(data: bytes, chance: random.Random) -> bytes:
    """The element as UN with its long length field, as a proxy that does not know it would write it."""
    found = _pick(data, chance)
    if found is None:
        return flip_bits(data, chance)
    raw = data[found.value : found.end]
    piece = data[found.start : found.start + 4] + b"UN\0\0" + struct.pack("<L", len(raw)) + raw
    return data[: found.start] + piece + data[found.end :]


def duplicate(data: bytes, chance: random.Random) -> bytes:
    """An element a second time: beside itself, elsewhere, or at the end."""
    found, other = _pick(data, chance), _pick(data, chance)
    if found is None or other is None:
        return flip_bits(data, chance)
    at = chance.choice((found.end, other.start, len(data)))
    return _put(data, at, data[found.start : found.end])


def swap(data: bytes, chance: random.Random) -> bytes:
    one, two = _pick(data, chance), _pick(data, chance)
    if one is None or two is None or one.start == two.start:
        return flip_bits(data, chance)
    if one.start > two.start:
        one, two = two, one
    return (
        data[: one.start]
        + data[two.start : two.end]
        + data[one.end : two.start]
        + data[one.start : one.end]
        + data[two.end :]
    )


def rename(data: bytes, chance: random.Random) -> bytes:
    """An element under another tag."""
    found = _pick(data, chance)
    if found is None:
        return flip_bits(data, chance)
    tag = chance.choice(((0x0018, 0x0050), (0x0018, 0x1030), (0x0028, 0x1050), (0x0009, 0x1001), (0x0020, 0x4000), (0x0008, 0x0008), (0x0018, 0x9999),
                         (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0x0002, 0x0010), (0x0000, 0x0000), (chance.randrange(65536), chance.randrange(65536))))  # fmt: skip
    return data[: found.start] + struct.pack("<HH", *tag) + data[found.start + 4 :]


def nesting_bomb(data: bytes, chance: random.Random) -> bytes:
    """Sequences one in the other, hundreds deep, with or without their ends, around somebody's element."""
    found = _pick(data, chance)
    if found is None:
        return flip_bits(data, chance)
    depth = chance.choice((30, 100, 500, 3000))
    head = (
        chance.choice((b"\x40\x00\x75\x02", b"\x08\x00\x40\x11", b"\x09\x00\x01\x10"))
        + b"SQ\0\0"
        + struct.pack("<L", UNDEFINED)
    )
    open_ = head + ITEM + struct.pack("<L", UNDEFINED)
    close = ITEM_END + bytes(4) + SEQUENCE_END + bytes(4)
    inner = data[found.start : found.end]
    return _put(
        data, found.start, open_ * depth + inner + close * chance.choice((depth, depth, depth - 1, 0))
    )


def delimiter_game(data: bytes, chance: random.Random) -> bytes:
    """An item or a delimiter where none belongs, or one that is missing."""
    marks = (ITEM, ITEM_END, SEQUENCE_END)
    if chance.random() < 0.4:
        mark = chance.choice(marks)
        places = [n for n in range(len(data) - 4) if data.startswith(mark, n)] if len(data) < 200_000 else []
        if places:
            at = chance.choice(places)
            return chance.choice((data[:at] + data[at + 8 :], data[:at] + chance.choice(marks) + data[at + 4 :],
                                  data[: at + 4] + struct.pack("<L", chance.choice((0, 1, 7, UNDEFINED, 1 << 30))) + data[at + 8 :]))  # fmt: skip
    found = _pick(data, chance)
    at = found.start if found and chance.random() < 0.7 else _place(data, chance)
    return _put(data, at, chance.choice(marks) + struct.pack("<L", chance.choice((0, 0, 8, UNDEFINED))))


def other_charset(data: bytes, chance: random.Random) -> bytes:
    """Another (0008,0005), or none."""
    found = next((e for e in elements(data) if data[e.start : e.start + 4] == b"\x08\x00\x05\x00"), None)
    if found is None:
        return flip_bits(data, chance)
    if chance.random() < 0.2:
        return data[: found.start] + data[found.end :]
    value = chance.choice(CHARSETS)
    value += b" " * (len(value) % 2)
    return (
        data[: found.start]
        + b"\x08\x00\x05\x00CS"
        + struct.pack("<H", len(value))
        + value
        + data[found.end :]
    )


def other_syntax(data: bytes, chance: random.Random) -> bytes:
    """File meta names another transfer syntax than the data are in."""
    found = next((e for e in elements(data) if data[e.start : e.start + 4] == b"\x02\x00\x10\x00"), None)
    if found is None:
        return flip_bits(data, chance)
    value = chance.choice(SYNTAXES)
    return (
        data[: found.start]
        + b"\x02\x00\x10\x00UI"
        + struct.pack("<H", len(value))
        + value
        + data[found.end :]
    )


def no_meta(data: bytes, chance: random.Random) -> bytes:
    """No preamble, or no file meta, or a group length that lies."""
    found = elements(data)
    first = next((e.start for e in found if data[e.start : e.start + 2] != b"\x02\x00"), 132)
    return chance.choice((data[128:], data[132:], data[first:], data[:132] + data[first:],
                          data[:140] + struct.pack("<L", chance.choice((0, 4, 1000, UNDEFINED))) + data[144:]))  # fmt: skip


def value_delimiters(data: bytes, chance: random.Random) -> bytes:
    """Backslashes, escapes, nulls and carets inside of values."""
    found = _pick(data, chance)
    if found is None or found.end - found.value < 2:
        return set_bytes(data, chance)
    out = bytearray(data)
    for _ in range(chance.choice((1, 2, 4))):
        out[chance.randrange(found.value, found.end)] = chance.choice(b"\\^=\0\x1b\n\r\t\x0c\xff")
    return bytes(out)


def lost_bytes(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 3, 8, 64)) :]


def gained_bytes(data: bytes, chance: random.Random) -> bytes:
    piece = data[_place(data, chance) :][: chance.choice((1, 2, 8, 200))]
    return _put(data, _place(data, chance), piece)


def glued(data: bytes, chance: random.Random) -> bytes:
    """The file twice in a row, whole or without its head."""
    return data + data[chance.choice((0, 128, 132, _place(data, chance))) :]


def broken_tail(data: bytes, chance: random.Random) -> bytes:
    """Pixel data and what follows them: flips, lost ends, bytes of the header put behind."""
    at = max(132, len(data) - chance.randrange(1, 3000))
    choice = chance.randrange(4)
    if choice == 0:
        return data[:at] + bytes([data[min(at, len(data) - 1)] ^ 0xFF]) + data[at + 1 :]
    if choice == 1:
        return data[:-8] if data[-8:-4] == SEQUENCE_END else data[:-2]
    if choice == 2:
        return data + data[132:600]
    return data[:at] + ITEM + struct.pack("<L", 400) + data[132:532] + data[at:]


MUTATIONS: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    f.__name__.replace("_", " "): f
    for f in (
        flip_bits, set_bytes, truncate, truncate_at_element, odd_length, lie_about_length, wrong_vr, as_unknown, duplicate, swap, rename,
        nesting_bomb, delimiter_game, other_charset, other_syntax, no_meta, value_delimiters, lost_bytes, gained_bytes, glued, broken_tail,
    )
}  # fmt: skip


def mutate(data: bytes, seed: str) -> tuple[str, bytes]:
    """The name of the mutation and the broken bytes: always the same for a seed. One in five is broken twice."""
    chance = random.Random(seed)
    name = chance.choice(list(MUTATIONS))
    out = MUTATIONS[name](data, chance)
    if chance.random() < 0.2:
        out = MUTATIONS[chance.choice(list(MUTATIONS))](out, chance)
    return name, out
