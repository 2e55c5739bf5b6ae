"""Lookup tables and palettes: numbers that are believed only where they are what their descriptor says.

What belongs here: the lengths that a descriptor allows (PS3.3 C.7.6.3.1.5, C.7.9.2, C.11.1). What does not: what a table does
to pixels (frames).
"""

from __future__ import annotations

import struct

DESCRIPTOR_OF = {
    0x00281201: 0x00281101, 0x00281202: 0x00281102, 0x00281203: 0x00281103, 0x00281204: 0x00281104,
    0x00281221: 0x00281101, 0x00281222: 0x00281102, 0x00281223: 0x00281103, 0x00281224: 0x00281104,
    0x00283006: 0x00283002,
}  # fmt: skip
"""Tag of the data to the tag of its descriptor."""
DESCRIPTORS = frozenset(DESCRIPTOR_OF.values())
_SEGMENTED = frozenset(tag for tag in DESCRIPTOR_OF if 0x00281221 <= tag <= 0x00281224)
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def is_table(tag: int, data: bytes, descriptor: bytes) -> bool:
    """Whether the data are a table of as many entries as the descriptor says, 8 or 16 bits each."""
    if len(descriptor) != 6:
        return False
    entries, _, bits = struct.unpack("<HHH", descriptor)
    entries = entries or 65536
    if bits not in (8, 10, 11, 12, 13, 14, 15, 16):
        return False
    if tag in _SEGMENTED:
        return _segmented_entries(data) == entries
    if len(data) == 2 * entries:
        return bits > 8 or max(data[1::2], default=0) == 0 or data[1::2] == data[::2]
    return bits == 8 and len(data) == entries + entries % 2


def _segmented_entries(data: bytes) -> int:
    """Entries that segments of 16-bit values expand to; -1 where they are no segments."""
    if len(data) % 2:
        return -1
    words = struct.unpack(f"<{len(data) // 2}H", data)
    lengths: list[int] = []
    at: dict[int, int] = {}
    pos = 0
    while pos + 1 < len(words):
        kind, length = words[pos], words[pos + 1]
        at[2 * pos] = len(lengths)
        if kind == _DISCRETE and pos + 2 + length <= len(words):
            pos += 2 + length
            lengths.append(length)
        elif kind == _LINEAR and pos + 3 <= len(words):
            pos += 3
            lengths.append(length)
        elif kind == _INDIRECT and pos + 4 <= len(words):
            first = at.get(words[pos + 2] | words[pos + 3] << 16)
            if first is None or first + length > len(lengths):
                return -1
            lengths.append(sum(lengths[first : first + length]))
            pos += 4
        else:
            return -1
    return sum(lengths) if pos == len(words) else -1
