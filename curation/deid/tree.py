"""Items as a tree in memory: the few sequences whose cleaning needs to see a whole item at once.

What belongs here: bytes to items and back, by exact lengths, and putting a cleaned sequence where it belongs in a header.
What does not: what becomes of an item (structured, graphics). Explicit VR Little Endian only.
"""

from __future__ import annotations

from curation.deid.explicit import element
from curation.part10 import (
    ITEM,
    ITEM_END,
    LONG_VRS,
    MAX_DEPTH,
    SEQUENCE_END,
    UNDEFINED,
    Budget,
    Source,
    explicit_header,
    item_header,
    short_of,
    skip_items,
)
from curation.records import Refused

Value = bytes | list["Item"]
Item = dict[int, tuple[bytes, Value]]
"""Tag to VR and value, in ascending order; the value of a sequence is its items."""


def read_items(
    data: Source, pos: int, length: int, end: int, budget: Budget, depth: int = 1
) -> tuple[list[Item], int]:
    """The items of a sequence whose value starts at pos, and where the sequence ends. Raises Refused as the walk does."""
    if depth > MAX_DEPTH:
        raise Refused("malformed")
    is_open = length == UNDEFINED
    if not is_open:
        if length > end - pos:
            raise short_of(data, end)
        end = pos + length
    items: list[Item] = []
    while is_open or pos < end:
        tag, size, pos = item_header(data, pos, end, budget)
        if tag == SEQUENCE_END and is_open:
            return items, pos
        if tag != ITEM:
            raise Refused("malformed")
        if size != UNDEFINED and size > end - pos:
            raise short_of(data, end)
        item, pos = _read_item(data, pos, end if size == UNDEFINED else pos + size, budget, depth, size)
        items.append(item)
    return items, pos


def _read_item(data: Source, pos: int, end: int, budget: Budget, depth: int, size: int) -> tuple[Item, int]:
    item: Item = {}
    last = -1
    while size == UNDEFINED or pos < end:
        tag, vr, start, length = explicit_header(data, pos, end)
        budget.spend()
        if tag == ITEM_END and size == UNDEFINED and not length:
            return item, start
        if not vr or tag <= last or (vr in LONG_VRS and any(data[pos + 6 : pos + 8])):
            raise Refused("malformed")
        last = tag
        if vr == b"SQ":
            items, pos = read_items(data, start, length, end, budget, depth + 1)
            item[tag] = (vr, items)
        elif length == UNDEFINED:
            if vr not in (b"UN", b"OB", b"OW"):
                raise Refused("malformed")
            pos = skip_items(data, start, end, budget, depth=depth + 1, is_implicit=vr == b"UN")
        else:
            if length > end - start:
                raise short_of(data, end)
            pos = start + length
            item[tag] = (vr, bytes(data[start:pos]))
    return item, pos


def write_items(items: list[Item]) -> bytes:
    """The items with defined lengths."""
    out = []
    for item in items:
        content = b"".join(
            element(tag, vr, value if isinstance(value, bytes) else write_items(value))
            for tag, (vr, value) in sorted(item.items())
        )
        out.append(b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content)
    return b"".join(out)


def splice(header: bytes, sequences: dict[int, bytes | None]) -> bytes:
    """A clean header with the value of each of these top-level sequences put in; None takes the sequence out."""
    out, pos = [], 0
    while pos < len(header):
        tag, vr, start, length = explicit_header(header, pos, len(header))
        stop = start + length
        if tag not in sequences:
            out.append(header[pos:stop])
        elif (value := sequences[tag]) is not None:
            out.append(element(tag, vr, value))
        pos = stop
    return b"".join(out)
