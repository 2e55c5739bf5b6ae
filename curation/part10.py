"""DICOM Part 10 bytes, read with exact length accounting: what is it, how is it encoded, where do things end.

What belongs here: preamble, file meta, transfer syntax, lengths, nesting, where the pixel data lie, and writing
any native encoding as Explicit VR Little Endian. What does not: what an attribute means or what becomes of it
(deid), decoding pixels (frames).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from mmap import mmap
from typing import TypeAlias

from curation.records import Refused

Source: TypeAlias = bytes | bytearray | memoryview | mmap
"""One whole file. Never copied beyond its header; the pixel bytes are not touched."""

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG})

JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70))
JPEG_LS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
RLE = "1.2.840.10008.1.2.5"
ENCAPSULATED = JPEG | JPEG_LS | JPEG_2000 | {RLE}

LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}

MAX_DEPTH = 32
MAX_ELEMENTS = 4_000_000
MAX_HEADER_BYTES = 256 << 20
MAX_INFLATED_BYTES = 1 << 30
MAX_INFLATE_RATIO = 256  # above INFLATE_FREE_BYTES; deflate itself stops near 1,030
INFLATE_FREE_BYTES = 32 << 20

_HEAD = struct.Struct("<HH2sH").unpack_from
_TAG_LENGTH = struct.Struct("<HHL").unpack_from
_U32 = struct.Struct("<L").unpack_from


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where the pixel data lie: offset and length in bytes in the buffer they were found in.

    Native: exactly rows * columns * samples * bits * frames, surplus left out. Encapsulated: all items from the
    basic offset table to before the sequence delimiter. `vr` is as in the source (implicit: OW).
    """

    offset: int
    length: int
    vr: str
    is_encapsulated: bool
    is_big_endian: bool
    keyword: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset inside a buffer: bytes start to end of `data`; `inflated` where `data` is not the source itself."""

    data: Source
    start: int
    end: int
    transfer_syntax: str
    is_inflated: bool


class Budget:
    """How many elements and items one file may still have; Refused("too_large") when it is spent."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_ELEMENTS) -> None:
        self.left = left

    def spend(self) -> None:
        """Count one element or item."""
        self.left -= 1
        if self.left < 0:
            raise Refused("too_large")


def sniff(head: bytes) -> bool:
    """Whether these first bytes (132 or more, fewer where the file is shorter) begin a DICOM file.

    With preamble and `DICM` (PS3.10 7.1), or without: then the first element must be one of group 0002 or 0008
    with a known VR (explicit) or a small length (implicit little endian).
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element, length = _TAG_LENGTH(head, 0)
    if group in (0x0002, 0x0008) and element <= 0x0080:
        return _is_vr(head[4:6]) or length <= 1024
    # explicit big endian (retired): group 0008 reads as 00 08
    return head[0:3] == b"\x00\x08\x00" and _is_vr(head[4:6])


def _is_vr(vr: bytes) -> bool:
    return vr in SHORT_VRS or vr in LONG_VRS


def open_dataset(data: Source) -> Dataset:
    """The dataset of a file, with or without preamble and file meta; deflated ones inflated within bounds.

    Raises Refused: not_dicom, truncated, malformed, unsupported_syntax, too_large.
    """
    head = bytes(data[:132])
    if not sniff(head):
        raise Refused("not_dicom")
    start = 132 if head[128:132] == b"DICM" else 0
    size = len(data)
    syntax, start = _read_meta(data, start, size)
    if syntax is None:
        syntax = _guess_syntax(bytes(data[start : start + 8]))
    if syntax not in NATIVE and syntax not in ENCAPSULATED:
        raise Refused("unsupported_syntax")
    if syntax == DEFLATED_LITTLE:
        plain = _inflate(data, start)
        return Dataset(plain, 0, len(plain), syntax, True)
    return Dataset(data, start, size, syntax, False)


def _read_meta(data: Source, pos: int, end: int) -> tuple[str | None, int]:
    """Transfer syntax UID (None without file meta) and where the dataset begins. PS3.10 7.1: always explicit LE."""
    syntax: str | None = None
    begin = pos
    while end - pos >= 8 and _HEAD(data, pos)[0] == 0x0002:
        tag, _, start, length = explicit_header(data, pos, end)
        if length > end - start:
            raise Refused("truncated")
        if tag == 0x00020010:
            syntax = bytes(data[start : start + length]).rstrip(b" \0").decode("ascii", "replace")
        pos = start + length
    if pos > begin and syntax is None:
        raise Refused("malformed")
    if end - pos < 8:
        raise Refused("truncated")
    return syntax, pos


def _guess_syntax(head: bytes) -> str:
    """Without file meta: a VR where one must stand tells explicit from implicit; a big-endian group tells itself."""
    if not _is_vr(head[4:6]):
        return IMPLICIT_LITTLE
    return EXPLICIT_BIG if head[0] == 0 and head[1] else EXPLICIT_LITTLE


def _inflate(data: Source, start: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = bytes(data[start:])
    limit = min(MAX_INFLATED_BYTES, max(INFLATE_FREE_BYTES, MAX_INFLATE_RATIO * len(packed)))
    try:
        plain = inflater.decompress(packed, limit)
    except zlib.error:
        raise Refused("malformed") from None
    if not inflater.eof:
        raise Refused("too_large" if len(plain) >= limit else "truncated")
    if len(inflater.unused_data) > 16:  # some writers leave a checksum and padding; nothing of it is released
        raise Refused("malformed")
    return plain


def explicit_header(data: Source, pos: int, end: int) -> tuple[int, bytes, int, int]:
    """Tag, VR, where the value starts and its length (UNDEFINED where undefined), explicit VR little endian.

    Delimiters come back with VR b"". Raises Refused where the bytes are no element.
    """
    if end - pos < 8:
        raise short_of(data, end)
    group, element, vr, length = _HEAD(data, pos)
    if vr in SHORT_VRS:
        return group << 16 | element, vr, pos + 8, length
    if vr in LONG_VRS:
        if end - pos < 12:
            raise short_of(data, end)
        return group << 16 | element, vr, pos + 12, _U32(data, pos + 8)[0]
    if group == 0xFFFE:
        return group << 16 | element, b"", pos + 8, _U32(data, pos + 4)[0]
    raise Refused("malformed")


def short_of(data: Source, end: int) -> Refused:
    """The refusal for something that does not fit: truncated at the end of the file, malformed inside it."""
    return Refused("truncated" if end >= len(data) else "malformed")


def skip_element(
    data: Source, pos: int, end: int, budget: Budget, *, depth: int = 0, is_implicit: bool = False
) -> tuple[int, int]:
    """Tag of the element at pos, and where it ends; undefined lengths are walked to their delimiters."""
    budget.spend()
    if is_implicit:
        if end - pos < 8:
            raise short_of(data, end)
        group, element, length = _TAG_LENGTH(data, pos)
        tag, vr, start = group << 16 | element, b"", pos + 8
    else:
        tag, vr, start, length = explicit_header(data, pos, end)
    if length == UNDEFINED:
        if not is_implicit and vr not in (b"SQ", b"UN", b"OB", b"OW"):
            raise Refused("malformed")
        # undefined-length UN holds implicit VR little endian (PS3.5 6.2.2 note, CP-246)
        inner = is_implicit or vr == b"UN"
        return tag, skip_items(data, start, end, budget, depth=depth + 1, is_implicit=inner)
    if length > end - start:
        raise short_of(data, end)
    return tag, start + length


def skip_items(
    data: Source, pos: int, end: int, budget: Budget, *, depth: int, is_implicit: bool = False
) -> int:
    """Where an undefined-length sequence (or encapsulated pixel data) ends, after its delimiter."""
    if depth > MAX_DEPTH:
        raise Refused("malformed")
    while True:
        tag, length, pos = item_header(data, pos, end, budget)
        if tag == SEQUENCE_END:
            return pos
        if tag != ITEM:
            raise Refused("malformed")
        if length == UNDEFINED:
            while True:
                if end - pos < 8:
                    raise short_of(data, end)
                if _TAG_LENGTH(data, pos)[:2] == (0xFFFE, 0xE00D):
                    _, _, pos = item_header(data, pos, end, budget)
                    break
                _, pos = skip_element(data, pos, end, budget, depth=depth, is_implicit=is_implicit)
        else:
            if length > end - pos:
                raise short_of(data, end)
            pos += length


def item_header(data: Source, pos: int, end: int, budget: Budget) -> tuple[int, int, int]:
    """Tag and length of an item or delimiter, and where its content starts; a delimiter's length must be 0."""
    budget.spend()
    if end - pos < 8:
        raise short_of(data, end)
    group, element, length = _TAG_LENGTH(data, pos)
    tag = group << 16 | element
    if tag in (ITEM_END, SEQUENCE_END) and length:
        raise Refused("malformed")
    return tag, length, pos + 8


def check_tail(data: Source, pos: int, end: int, budget: Budget) -> None:
    """After the pixel data: whole elements in ascending order, or zero padding. It is not released, but must add up."""
    last = min(PIXEL_KEYWORDS)
    while pos < end:
        rest = end - pos
        if rest < 8 or _TAG_LENGTH(data, pos)[:2] == (0, 0):
            if rest > MAX_HEADER_BYTES:
                raise Refused("too_large")
            if bytes(data[pos:end]).strip(b"\0"):
                raise short_of(data, end)
            return
        tag, pos = skip_element(data, pos, end, budget)
        if tag <= last:
            raise Refused("malformed")
        last = tag


def fragments(data: Source, offset: int, length: int) -> list[tuple[int, int]]:
    """Offset and length of each item of encapsulated pixel data, the basic offset table first (PS3.5 A.4)."""
    found, pos, end, budget = [], offset, offset + length, Budget()
    while pos < end:
        tag, size, pos = item_header(data, pos, end, budget)
        if tag != ITEM or size == UNDEFINED or size > end - pos:
            raise Refused("malformed")
        found.append((pos, size))
        pos += size
    return found
