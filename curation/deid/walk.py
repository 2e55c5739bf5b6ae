"""The walk over one dataset: every element by its exact length, kept, changed or removed as the policy says.

What belongs here: the top level, its order, rwid's own elements, and looking for names in what was written. What does not:
items and values (items, values), what is remembered (memory), what an object must hold (header).
"""

from __future__ import annotations

import struct
from mmap import mmap

from curation import part10
from curation.deid import values
from curation.deid.aside import ASIDE
from curation.deid.explicit import element
from curation.deid.identity import harvest, naming_words
from curation.deid.items import Items
from curation.deid.memory import (
    METHOD_TAG,
    PERSONS,
    PIXEL_GROUP,
    STRETCH_BYTES,
    TEMPORAL_TAG,
    Facts,
    Named,
    Step,
    Stretch,
    learn,
    look_ahead,
    text_of,
)  # fmt: skip
from curation.deid.policy import Act, Decision, Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.shapes import MISSING
from curation.deid.structured import OBSERVERS, harvest_observers
from curation.deid.structured import harvest as harvest_content
from curation.deid.tables import DESCRIPTOR_OF, DESCRIPTORS
from curation.deid.tree import Item, read_items
from curation.part10 import short_of
from curation.records import Refused

__all__ = ["Facts", "Found", "Named", "Walk", "look_ahead", "text_of"]

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
_TEMPORAL = {"modified": b"MODIFIED", "full": b"UNMODIFIED", "removed": b"REMOVED"}
_MISSES = 12
_LONG = 1 << 16

Found = tuple[int, bytes, int, int]
"""Tag, VR, offset and length (UNDEFINED where encapsulated) of the pixel data element."""


class Walk(Items):
    """One pass over one dataset."""

    def __init__(
        self, data: bytes | mmap, policy: Policy, pseudonyms: Pseudonyms, site: str, facts: Facts
    ) -> None:
        super().__init__(data, policy, pseudonyms, site, facts)
        self.used: list[Stretch] = []
        self.pixels: Found | None = None
        self.aside: dict[int, list[Item]] = {}

    def named(self) -> Named:
        """Names and other identifying values of this header, and the words by which to look for them."""
        key = tuple(self.seen)
        if key not in self.person.named:
            if len(self.person.named) >= PERSONS:
                self.person.named.clear()
            self.person.named[key] = (*harvest(key, self.codecs), naming_words(key))
        return self.person.named[key]

    def names_somebody(self, words: frozenset[bytes]) -> bool:
        """Whether one of the words stands in what was written. Stretches are searched once for the same words."""
        if _holds(b"\0".join((*self.loose, *self.repeated)), words):
            return True
        for stretch in self.used:
            if stretch.names_nobody is words:
                continue
            if _holds(stretch.chunk, words):
                return True
            stretch.names_nobody = words
        return False

    def blocks(self) -> list[bytes]:
        """Group and creator of every private block that stayed."""
        return [raw for kind, raw in self.seen if kind == "block"]

    def run(self, start: int, end: int) -> bytes:
        """The clean dataset up to the pixel data."""
        try:
            return self.top(start, end)
        except struct.error:
            # unpacking met the end of the buffer
            raise short_of(self.data, end) from None

    def top(self, pos: int, end: int) -> bytes:
        """The top-level elements before the pixel data. Stretches met before are taken over whole."""
        data, person, private = self.data, self.person, self.policy.private
        stretches = person.stretches
        steps: list[Step] | None = None if stretches else []
        out: list[bytes] = []
        last, mark = -1, METHOD_TAG
        while pos < end:
            group, number, vr, length = _HEAD(data, pos)
            tag = group << 16 | number
            if tag <= last:
                raise Refused("malformed")
            last = tag
            if tag >= mark:
                mark = self.pass_mark(out, tag, mark)
                if tag in part10.PIXEL_KEYWORDS:
                    self.pixels = part10.explicit_header(data, pos, end)
                    break
            stretch = stretches.get(tag)
            if stretch is not None:
                stop = pos + len(stretch.raw)
                if data[pos:stop] == stretch.raw and not self.splits_group(stretch, stop, end):
                    out.append(stretch.chunk)
                    self.used.append(stretch)
                    self.log += stretch.log
                    self.seen += stretch.seen
                    self.values.update(stretch.values)
                    last, pos = stretch.last, stop
                    continue
                person.misses += 1
            at, n_log, n_seen, n_values = pos, len(self.log), len(self.seen), len(self.values)
            if private and group & 1:
                chunk, pos, last = self.private_group(pos, end, 0)
            else:
                chunk, pos = self.one(tag, vr, length, pos, end)
            out.append(chunk)
            if vr != b"SQ" or pos - at < STRETCH_BYTES:  # a long sequence was looked through item by item
                self.loose.append(chunk)
            if steps is not None:
                known = dict(list(self.values.items())[n_values:]) if len(self.values) > n_values else {}
                may_repeat = (
                    pos - at < STRETCH_BYTES
                    and tag not in ASIDE
                    and tag not in DESCRIPTOR_OF
                    and tag not in DESCRIPTORS
                )
                raw = data[at:pos] if may_repeat else b""
                steps.append(
                    Step(tag, last, raw, chunk, self.log[n_log:], self.seen[n_seen:], known, may_repeat)
                )
        while mark < PIXEL_GROUP:
            mark = self.pass_mark(out, PIXEL_GROUP, mark)
        if steps is not None:
            learn(person, steps)
        elif person.misses > _MISSES:
            person.stretches, person.previous, person.misses = {}, {}, 0
        return b"".join(out)

    def splits_group(self, stretch: Stretch, stop: int, end: int) -> bool:
        """Whether a stretch ends inside a private group: what follows would be parted from its creators."""
        group = stretch.last >> 16
        return bool(
            group & 1 and self.policy.private and end - stop >= 8 and _HEAD(self.data, stop)[0] == group
        )

    def one(self, tag: int, vr: bytes, length: int, pos: int, end: int) -> tuple[bytes, int]:
        """One top-level element: what is written for it, and where it ends."""
        entry = self.rules.top.get(vr)
        if entry is None:
            raise Refused("malformed")
        is_long, rules = entry
        if tag in ASIDE and vr == b"SQ":
            return self.set_aside(tag, pos, end)
        start = pos + 8
        if is_long:
            if length:
                raise Refused("malformed")  # two reserved bytes that are not zero may hold anything
            length = _U32(self.data, start)[0]
            start += 4
        if length & 1:
            return self.odd(tag, vr, start, length, end, 0, rules)
        stop = start + length
        if stop > end:
            raise short_of(self.data, end)
        rule = rules.get(tag, MISSING)
        if type(rule) is int:
            return (self.data[pos:stop] if length <= rule else self.removed(tag)), stop
        if rule is Act.NUMBER and not self.data[start:stop].strip(values.NUMBER):
            return self.data[pos:stop], stop
        if rule is Act.CODE and length <= 16 and not self.data[start:stop].strip(values.CODE):
            return self.data[pos:stop], stop
        if rule is Act.TIME and not self.data[start:stop].strip(values.TIME):
            return self.data[pos:stop], stop
        if type(rule) is Decision and rule.act is Act.CODED:
            return self.removed(tag), stop
        raw = self.data[pos:stop]
        hit = self.memory(0).get(raw)
        if hit is None:
            return self.fresh(raw, rule, tag, vr, start, stop, 0)[0], stop
        self.again(hit)
        return hit[0], stop

    def set_aside(self, tag: int, pos: int, end: int) -> tuple[bytes, int]:
        """A sequence that is cleaned when all is known of the person: what it names is noted, its place is written."""
        _, _, start, length = part10.explicit_header(self.data, pos, end)
        items, stop = read_items(self.data, start, length, end, self.budget)
        is_observers = tag == OBSERVERS
        self.seen += harvest_observers(items) if is_observers else harvest_content(items, self.policy)
        rule = self.policy.by_vr[b"SQ"][tag]
        if rule.act is not Act.SEQUENCE and not is_observers:
            self.log.append(rule.log)
            return b"", stop
        self.aside[tag] = items
        return element(tag, b"SQ", b""), stop

    def pass_mark(self, out: list[bytes], tag: int, mark: int) -> int:
        """Write rwid's own elements where their place in the order has come; gives the next mark."""
        if mark == METHOD_TAG:
            out.append(self.policy.method)
            mark = TEMPORAL_TAG
        if mark == TEMPORAL_TAG and tag >= mark:
            out.append(element(TEMPORAL_TAG, b"CS", _TEMPORAL[self.policy.profile.dates]))
            mark = PIXEL_GROUP
        return mark


def _holds(text: bytes, words: frozenset[bytes]) -> bool:
    """Whether one of the lower-case words stands in text, in any case."""
    if len(text) > _LONG:
        # bytes that stand in no word part nothing that is one: most of a long sequence is numbers
        others = bytes(set(range(256)) - set(b"".join(words)) - set(b"".join(words).upper()))
        short = text.translate(None, others).lower()
        if not any(word in short for word in words):
            return False
    low = text.lower()
    return any(word in low for word in words)
