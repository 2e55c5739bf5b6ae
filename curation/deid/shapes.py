"""Shapes: items that are built alike. A functional group of frame 2 has the tags, VRs and lengths of frame 1's.

What belongs here: recognising an item met before by its element headers alone, and which of its values must be looked at.
What does not: what becomes of them (items). A shape holds no value, so that every person's objects may share it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from mmap import mmap
from typing import Any

from curation.deid import values
from curation.deid.policy import Act, Decision
from curation.part10 import ITEM_END, UNDEFINED

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\x0d\xe0\0\0\0\0"
_MOST_ELEMENTS = 256
_GRAMMAR = {Act.NUMBER: values.NUMBER, Act.CODE: values.CODE, Act.TIME: values.TIME}
MISSING = object()

Rules = Mapping[bytes, tuple[bool, dict[int, Any]]]


@dataclass(frozen=True, slots=True)
class Change:
    """One element (or private group) that is not simply copied; begin, value and end count from the item's content.

    level: how many sequences deeper than the item it stands; below the item itself what is written keeps its length.
    """

    begin: int
    start: int
    end: int
    tag: int
    vr: bytes
    rule: object
    is_private: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of an item's content, its delimiter included where it has one."""

    size: int
    n_elements: int
    n_levels: int
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
    data: bytes | mmap, pos: int, end: int, rules: Rules, *, is_open: bool, has_private: bool, is_rigid: bool
) -> Shape | None:
    """The shape of the item content at pos; None where it has none: undefined or odd lengths, codes, wrong order.

    is_rigid: sequences inside are taken in only where all of them is copied.
    """
    found = _Outline(data, pos, rules, has_private, is_rigid)
    stop = found.elements(pos, end, 0, is_open=is_open)
    if stop is None or not found.heads:
        return None
    if is_open:
        if data[stop : stop + 8] != _DELIMITER:
            return None
        found.heads.append((stop - pos, stop - pos + 8))
        stop += 8
    read_heads = _reader(_joined(found.heads))
    read_values = _reader(found.values) if found.values else None
    return Shape(
        stop - pos, len(found.heads) + 1, found.n_levels, read_heads(data, pos), read_heads, read_values,
        tuple(found.grammar), tuple(found.changes), is_open,
    )  # fmt: skip


class _Outline:
    """Where the heads, the values with a grammar and the changes of one item lie, counted from its begin."""

    def __init__(
        self, data: bytes | mmap, begin: int, rules: Rules, has_private: bool, is_rigid: bool
    ) -> None:
        self.data = data
        self.begin = begin
        self.rules = rules
        self.has_private = has_private
        self.is_rigid = is_rigid
        self.heads: list[tuple[int, int]] = []
        self.values: list[tuple[int, int]] = []
        self.grammar: list[bytes] = []
        self.changes: list[Change] = []
        self.n_levels = 0

    def elements(self, pos: int, end: int, level: int, *, is_open: bool = False) -> int | None:
        """Take in the elements of an item's content; gives where they end, None where they have no shape."""
        data, last = self.data, -1
        while pos < end:
            if end - pos < 8 or len(self.heads) > _MOST_ELEMENTS:
                return None
            group, number, vr, length = _HEAD(data, pos)
            tag = group << 16 | number
            if is_open and tag == ITEM_END:
                return pos
            entry = self.rules.get(vr)
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
            if not self.element(Change(pos, start, stop, tag, vr, rule, level=level)):
                return None
            pos = stop
        return pos if not is_open else None

    def element(self, found: Change) -> bool:
        """Take in one element, its offsets still those of the data; False where the item can have no shape."""
        rule, length = found.rule, found.end - found.start
        if isinstance(rule, Decision) and rule.act is Act.CODED:
            return False
        is_private = self.has_private and bool(found.tag & 0x10000)
        here = replace(
            found, begin=found.begin - self.begin, start=found.start - self.begin, end=found.end - self.begin
        )
        self.heads.append((here.begin, here.start))
        if is_private:
            if found.level:
                return False
            self.private(here)
        elif rule in _GRAMMAR and (rule is not Act.CODE or length <= 16):
            self.values.append((here.start, here.end))
            self.grammar.append(_GRAMMAR[rule])
        elif type(rule) is int and length <= rule:
            pass
        elif not (isinstance(rule, Decision) and rule.act is Act.SEQUENCE and self.flat(found)):
            if found.level and (self.is_rigid or getattr(rule, "act", None) in (None, Act.UID, Act.SEQUENCE)):
                return False  # its length changes, and with it those of the sequences around it
            self.changes.append(here)
        return True

    def flat(self, found: Change) -> bool:
        """Take in a sequence whose items are copied but for values that keep their length; False where it has others."""
        marks = len(self.heads), len(self.values), len(self.changes)
        pos, n_levels = found.start, self.n_levels
        self.n_levels = max(n_levels, found.level + 1)
        while pos < found.end:
            stop: int | None = None
            if found.end - pos >= 8 and self.data[pos : pos + 4] == _ITEM_TAG:
                length = _U32(self.data, pos + 4)[0]
                if length <= found.end - pos - 8:
                    self.heads.append((pos - self.begin, pos + 8 - self.begin))
                    stop = self.elements(pos + 8, pos + 8 + length, found.level + 1)
            if stop is None:
                del self.heads[marks[0] :], self.values[marks[1] :], self.grammar[marks[1] :]
                del self.changes[marks[2] :]
                self.n_levels = n_levels
                return False
            pos = stop
        return True

    def private(self, here: Change) -> None:
        """Elements of one private group are one change: their creators stand among them."""
        last = self.changes[-1] if self.changes else None
        if last is not None and last.is_private and last.tag >> 16 == here.tag >> 16:
            self.changes[-1] = replace(last, end=here.end)
        else:
            self.changes.append(replace(here, rule=None, is_private=True))


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, neighbours made one."""
    out: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if out and out[-1][1] == begin:
            out[-1] = (out[-1][0], end)
        else:
            out.append((begin, end))
    return out


def _reader(spans: list[tuple[int, int]]) -> Callable[..., tuple[bytes, ...]]:
    """Reads these spans in one call."""
    form, pos = ["<"], 0
    for begin, end in spans:
        form.append(f"{begin - pos}x{end - begin}s")
        pos = end
    return struct.Struct("".join(form)).unpack_from
