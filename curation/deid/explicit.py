"""Implicit VR and big endian datasets, written as Explicit VR Little Endian up to the pixel data.

What belongs here: VRs from the dictionary, byte order, lengths. What does not: what becomes of an attribute; unregistered
elements, and private ones that are not known to be safe, are written as empty UN, since the header walk drops them anyway.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Iterator, Mapping
from functools import cache

from pydicom._dicom_dict import DicomDictionary

from curation import part10
from curation.part10 import (
    ITEM,
    ITEM_END,
    LONG_VRS,
    MAX_DEPTH,
    PIXEL_KEYWORDS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Budget,
    Dataset,
    short_of,
)
from curation.records import Refused

WIDTH = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"FD": 8, b"SV": 8, b"UV": 8, b"AT": 4}
"""Bytes of one number: a value that is longer than its multiplicity allows is something else."""
_WORD = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4}
_WORD |= {b"FD": 8, b"SV": 8, b"UV": 8, b"OD": 8, b"OV": 8}
_ARRAY_CODE = {2: "H", 4: "L" if array.array("L").itemsize == 4 else "I", 8: "Q"}
_HEAD = struct.Struct("<HH2sH").pack
_HEAD_LONG = struct.Struct("<HH2sHL").pack
_READ_HEAD, _READ_U32 = struct.Struct("<HH2sH").unpack_from, struct.Struct("<L").unpack_from


@cache
def dictionary_vrs() -> dict[int, bytes]:
    """Tag to VR as the data dictionary writes it, such as b"US or SS"."""
    return {tag: entry[0].encode() for tag, entry in DicomDictionary.items()}


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """One element in Explicit VR Little Endian, padded to even length (PS3.5 7.1.2)."""
    if len(value) & 1:
        value += b" " if vr in _TEXT_PADDED else b"\0"
    if vr in LONG_VRS:
        return _HEAD_LONG(tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    if len(value) > 0xFFFE:
        raise Refused("malformed")
    return _HEAD(tag >> 16, tag & 0xFFFF, vr, len(value)) + value


_TEXT_PADDED = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UC UR UT".split())


def elements_of(header: bytes) -> Iterator[tuple[int, bytes, int, int, int]]:
    """Tag, VR, and where element, value and the next element begin, for each top-level element of a clean header."""
    pos, end = 0, len(header)
    while pos < end:
        group, number, vr, length = _READ_HEAD(header, pos)
        start = pos + 8
        if vr in LONG_VRS:
            length = _READ_U32(header, start)[0]
            start += 4
        yield group << 16 | number, vr, pos, start, start + length
        pos = start + length


def to_explicit(
    dataset: Dataset, *, is_big_endian: bool, private: PrivateVrs | None = None
) -> tuple[bytes, tuple[int, bytes, int, int] | None]:
    """The dataset before its pixels as Explicit VR LE, and (tag, VR, offset, length) of the pixel data in the source.

    Big endian sources are explicit, little endian ones implicit; `private` has the VRs of private elements by creator and
    group. What follows the pixel data is walked, not written.
    """
    writer = _Writer(dataset, is_big_endian, private or {})
    out, pos = writer.elements(dataset.start, dataset.end, 0, is_item=False)
    if writer.pixels is not None:
        _check_tail(writer, writer.pixels[0], pos, dataset.end)
    return out, writer.pixels


def _check_tail(writer: _Writer, last: int, pos: int, end: int) -> None:
    """Whole elements in ascending order, or zero padding: else the pixel data did not end where its length says."""
    data = writer.data
    while pos < end:
        if not any(data[pos : pos + 8]):
            if bytes(data[pos:end]).strip(b"\0"):
                raise short_of(data, end)
            return
        tag, vr, start, length = writer.header(pos, end)
        if tag <= last or not vr:
            raise Refused("malformed")
        _, pos = writer.value(tag, vr, start, length, end, 0)
        last = tag


PrivateVrs = Mapping[tuple[bytes, int], Mapping[int, bytes]]


class _Writer:
    def __init__(self, dataset: Dataset, is_big_endian: bool, private: PrivateVrs) -> None:
        self.data = dataset.data
        self.is_big_endian = is_big_endian
        self.private = private
        self.budget = Budget()
        self.pixels: tuple[int, bytes, int, int] | None = None
        self.is_signed = False
        order = ">" if is_big_endian else "<"
        self._tag = struct.Struct(order + "HH").unpack_from
        self._u16 = struct.Struct(order + "H").unpack_from
        self._u32 = struct.Struct(order + "L").unpack_from

    def header(self, pos: int, end: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, value start and length of the element at pos."""
        self.budget.spend()
        if end - pos < 8:
            raise short_of(self.data, end)
        group, number = self._tag(self.data, pos)
        tag = group << 16 | number
        if group == 0xFFFE:
            return tag, b"", pos + 8, self._u32(self.data, pos + 4)[0]
        if not self.is_big_endian:
            return tag, self.vr_of(tag), pos + 8, self._u32(self.data, pos + 4)[0]
        vr = bytes(self.data[pos + 4 : pos + 6])
        if vr in SHORT_VRS:
            return tag, vr, pos + 8, self._u16(self.data, pos + 6)[0]
        if vr not in LONG_VRS:
            raise Refused("malformed")
        if end - pos < 12:
            raise short_of(self.data, end)
        return tag, vr, pos + 12, self._u32(self.data, pos + 8)[0]

    def vr_of(self, tag: int) -> bytes:
        """The dictionary's VR; where it leaves a choice, the one that fits PixelRepresentation (PS3.5 A.1)."""
        vr = dictionary_vrs().get(tag, b"UN")
        if len(vr) == 2:
            return vr
        if b"OW" in vr:
            return b"OW"
        return b"SS" if self.is_signed else b"US"

    def private_vr(self, tag: int, vr: bytes, start: int, length: int, creators: dict[int, bytes]) -> bytes:
        """The VR of a private element whose creator stands in the same item; UN stays UN where it is unknown."""
        block = tag >> 8
        if tag & 0xFF00:
            return (
                self.private.get((creators.get(block, b""), tag >> 16), {}).get(tag & 0xFF, vr)
                if vr == b"UN"
                else vr
            )
        if tag & 0xFF >= 0x10 and length <= 64:
            creators[(tag >> 16) << 8 | tag & 0xFF] = bytes(self.data[start : start + length]).strip(b" \0")
            return b"LO"
        return vr

    def elements(self, pos: int, end: int, depth: int, *, is_item: bool) -> tuple[bytes, int]:
        """Elements up to end, to the item delimiter (is_item: end is only a bound), or to the pixel data."""
        out: list[bytes] = []
        creators: dict[int, bytes] = {}
        while is_item or pos < end:
            tag, vr, start, length = self.header(pos, end)
            if tag & 0x10000 and self.private and vr:
                vr = self.private_vr(tag, vr, start, length, creators)
            if tag == ITEM_END and is_item and not length:
                return b"".join(out), start
            if not vr:
                raise Refused("malformed")
            if depth == 0 and tag in PIXEL_KEYWORDS:
                if (
                    length > end - start
                ):  # undefined lengths too: encapsulation is explicit little endian only
                    raise short_of(self.data, end)
                self.pixels = (tag, vr, start, length)
                return b"".join(out), start + length
            value, pos = self.value(tag, vr, start, length, end, depth)
            out.append(value)
        return b"".join(out), pos

    def value(self, tag: int, vr: bytes, start: int, length: int, end: int, depth: int) -> tuple[bytes, int]:
        """The element written, and where it ends."""
        if vr == b"SQ" or (length == UNDEFINED and vr == b"UN"):
            items, pos = self.items(start, length, end, depth + 1)
            return element(tag, vr, items if vr == b"SQ" else b""), pos
        if length > end - start:
            raise short_of(self.data, end)
        if vr == b"UN" or length > part10.MAX_HEADER_BYTES:
            return element(tag, b"UN", b""), start + length
        raw = bytes(self.data[start : start + length])
        if tag == 0x00280103 and length == 2:
            self.is_signed = self._u16(raw, 0)[0] == 1
        if vr not in LONG_VRS and length > 0xFFFE:
            return element(tag, b"UN", b""), start + length
        return element(tag, vr, self.swap(vr, raw) if self.is_big_endian else raw), start + length

    def items(self, pos: int, length: int, end: int, depth: int) -> tuple[bytes, int]:
        """The items of a sequence, written with defined lengths, and where the sequence ends."""
        if depth > MAX_DEPTH:
            raise Refused("malformed")
        if length != UNDEFINED:
            if length > end - pos:
                raise short_of(self.data, end)
            end = pos + length
        out: list[bytes] = []
        while length == UNDEFINED or pos < end:
            tag, _, pos, size = self.header(pos, end)
            if tag == SEQUENCE_END and length == UNDEFINED and not size:
                break
            if tag != ITEM or (size != UNDEFINED and size > end - pos):
                raise Refused("malformed") if tag != ITEM else short_of(self.data, end)
            is_open = size == UNDEFINED
            content, pos = self.elements(pos, end if is_open else pos + size, depth, is_item=is_open)
            out.append(struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content)
        return b"".join(out), pos

    def swap(self, vr: bytes, raw: bytes) -> bytes:
        """Little endian from big endian."""
        width = _WORD.get(vr)
        if width is None:
            return raw
        if len(raw) % width:
            raise Refused("malformed")
        words = array.array(_ARRAY_CODE[width], raw)
        words.byteswap()
        return words.tobytes()
