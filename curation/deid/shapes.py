"""Shapes: items that are built alike. A functional group of frame 2 has the tags, VRs and lengths of frame 1's.

What belongs here: recognising an item met before by its element headers alone, and which of its values must be looked at.
What does not: what becomes of them (items). A shape holds no value, so that every person's objects may share it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from curation.deid import values
from curation.deid.policy import Act, Decision
from curation.part10 import ITEM_END, UNDEFINED

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
_DELIMITER = b"\xfe\xff\x0d\xe0\0\0\0\0"
_MOST_ELEMENTS = 256
_GRAMMAR = {Act.NUMBER: values.NUMBER, Act.CODE: values.CODE, Act.TIME: values.TIME}
MISSING = object()

Rules = Mapping[bytes, tuple[bool, dict[int, Any]]]


@dataclass(frozen=True, slots=True)
class Change:
    """One element (or private group) that is not simply copied; begin, value and end count from the item's content."""

    begin: int
    start: int
    end: int
    tag: int
    vr: bytes
    rule: object
    is_private: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of an item's content, its delimiter included where it has one."""

    size: int
    n_elements: int
    heads: tuple[bytes, ...]
    read_heads: Callable[..., tuple[bytes, ...]]
    read_values: Callable[..., tuple[bytes, ...]] | None
    grammar: tuple[bytes, ...]
    changes: tuple[Change, ...]
    is_open: bool

    def fits(self, data: bytes | mmap, pos: int) -> bool:
        """Whether the content at pos has this form, and its copied values their grammar."""
        if self.read_heads(data, pos) != self.heads:
            return False
        if self.read_values is None:
            return True
        return not any(map(bytes.strip, self.read_values(data, pos), self.grammar))


def shape_of(
    data: bytes | mmap, pos: int, end: int, rules: Rules, *, is_open: bool, has_private: bool
) -> Shape | None:
    """The shape of the item content at pos; None where it has none: undefined or odd lengths, codes, wrong order."""
    begin, last = pos, -1
    spans: list[tuple[int, int]] = []
    grammar: list[bytes] = []
    looked_at: list[tuple[int, int]] = []
    changes: list[Change] = []
    while pos < end:
        if end - pos < 8 or len(spans) > _MOST_ELEMENTS:
            return None
        group, number, vr, length = _HEAD(data, pos)
        tag = group << 16 | number
        if is_open and tag == ITEM_END:
            break
        entry = rules.get(vr)
        if entry is None or tag <= last:
            return None
        last, start = tag, pos + 8
        if entry[0]:
            if length or end - pos < 12:
                return None
            length, start = _U32(data, start)[0], start + 4
        stop = start + length
        if length == UNDEFINED or length & 1 or stop > end:
            return None
        rule = entry[1].get(tag, MISSING)
        if isinstance(rule, Decision) and rule.act is Act.CODED:
            return None
        spans.append((pos - begin, start - begin))
        if has_private and group & 1:
            _extend(changes, Change(pos - begin, start - begin, stop - begin, tag, vr, rule, is_private=True))
        elif rule in _GRAMMAR and (rule is not Act.CODE or length <= 16):
            looked_at.append((start - begin, stop - begin))
            grammar.append(_GRAMMAR[rule])
        elif not (type(rule) is int and length <= rule):
            changes.append(Change(pos - begin, start - begin, stop - begin, tag, vr, rule))
        pos = stop
    size = pos - begin
    if is_open:
        if data[pos : pos + 8] != _DELIMITER:
            return None
        spans.append((size, size + 8))
        size += 8
    if not spans:
        return None
    read_heads = _reader(spans)
    heads = read_heads(data, begin)
    read_values = _reader(looked_at) if looked_at else None
    n_elements = len(spans) + 1
    return Shape(size, n_elements, heads, read_heads, read_values, tuple(grammar), tuple(changes), is_open)


def _extend(changes: list[Change], change: Change) -> None:
    """Elements of one private group are one change: their creators stand among them."""
    if changes and changes[-1].is_private and changes[-1].tag >> 16 == change.tag >> 16:
        change = Change(
            changes[-1].begin,
            changes[-1].start,
            change.end,
            changes[-1].tag,
            change.vr,
            None,
            is_private=True,
        )
        changes.pop()
    changes.append(change)


def _reader(spans: list[tuple[int, int]]) -> Callable[..., tuple[bytes, ...]]:
    """Reads these spans in one call."""
    form, pos = ["<"], 0
    for begin, end in spans:
        form.append(f"{begin - pos}x{end - begin}s")
        pos = end
    return struct.Struct("".join(form)).unpack_from
