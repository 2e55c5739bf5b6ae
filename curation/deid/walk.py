"""The walk over one dataset: every element by its exact length, kept, changed or removed as the policy says.

What belongs here: order, lengths, nesting, and remembering what became of elements met before. What does not: single
values (values), what an object must hold (header).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from mmap import mmap
from uuid import UUID

from curation import part10
from curation.deid import codes, values
from curation.deid.aside import ASIDE
from curation.deid.explicit import element
from curation.deid.identity import codecs_of, harvest, naming_words
from curation.deid.policy import Act, Decision, Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.structured import harvest as harvest_content
from curation.deid.tree import Item, read_items
from curation.part10 import UNDEFINED, Budget, short_of
from curation.records import Refused

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
_ITEM = struct.Struct("<4sL").pack
_MISSING = object()
_NEVER = 1 << 40
_METHOD_TAG, _TEMPORAL_TAG, _PIXEL_GROUP = 0x00120062, 0x00280303, 0x7FE00000
_TEMPORAL = {"modified": b"MODIFIED", "full": b"UNMODIFIED", "removed": b"REMOVED"}
_MEMO_ENTRIES, _PERSONS = 65536, 64
_REMEMBERED_ELEMENTS, _REMEMBERED_BYTES, _STRETCH_BYTES, _MISSES = 4096, 2048, 1 << 15, 12

Found = tuple[int, bytes, int, int]
"""Tag, VR, offset and length (UNDEFINED where encapsulated) of the pixel data element."""
Named = tuple[tuple[str, ...], tuple[str, ...], frozenset[bytes]]
"""Names, other identifying values, and the words by which to look for them."""
_Hit = tuple[bytes, list[tuple[str, str]], list[tuple[str, bytes]]]


@dataclass(slots=True)
class Facts:
    """What must be known before the first element is cleaned: raw values of one dataset. RESTRICTED."""

    charset: bytes = b""
    sop_class: bytes = b""
    study_date: bytes = b""
    name: bytes = b""
    patient_id: bytes = b""
    issuer: bytes = b""
    birth_date: bytes = b""
    sex: bytes = b""
    age: bytes = b""


_FACT_TAGS = {
    0x00080005: "charset",
    0x00080016: "sop_class",
    0x00080020: "study_date",
    0x00080021: "study_date",
    0x00080022: "study_date",
    0x00080023: "study_date",
    0x00100010: "name",
    0x00100020: "patient_id",
    0x00100021: "issuer",
    0x00100030: "birth_date",
    0x00100040: "sex",
    0x00101010: "age",
}
_LAST_FACT = max(_FACT_TAGS)


def look_ahead(data: bytes | mmap, pos: int, end: int, policy: Policy) -> Facts:
    """Patient, class, character set and dates, from the elements up to (0010,1010).

    Stretches of the person met last are stepped over whole: what they say follows from their bytes alone.
    """
    facts, budget = Facts(), Budget()
    long_vrs, short_vrs = part10.LONG_VRS, part10.SHORT_VRS
    last = policy.persons.get(_LAST_PERSON)
    stretches = last.stretches if isinstance(last, _Person) else {}
    while pos < end:
        if end - pos < 12:
            break  # the walk says what is wrong
        group, number, vr, length = _HEAD(data, pos)
        tag = group << 16 | number
        if group == 0x0004:  # a DICOMDIR: names and file names, and no object
            raise Refused("directory")
        if tag > _LAST_FACT:
            break
        stretch = stretches.get(tag)
        if stretch is not None and data[pos : pos + len(stretch.raw)] == stretch.raw:
            for name, value in stretch.facts.items():
                if not getattr(facts, name).strip(b" \0"):
                    setattr(facts, name, value)
            pos += len(stretch.raw)
            continue
        start = pos + 8
        if vr in long_vrs:
            length = _U32(data, start)[0]
            start += 4
            if length == UNDEFINED:
                _, pos = part10.skip_element(data, pos, end, budget)
                continue
        elif vr not in short_vrs:
            raise Refused("malformed")
        pos = start + length
        if pos > end:
            raise short_of(data, end)
        fact = _FACT_TAGS.get(tag)
        if fact is not None and not getattr(facts, fact).strip(b" \0"):
            setattr(facts, fact, data[start:pos])
    return facts


@dataclass(slots=True)
class _Stretch:
    """Neighbouring top-level elements that are the same in object after object, and what became of them."""

    raw: bytes
    chunk: bytes
    log: list[tuple[str, str]]
    seen: list[tuple[str, bytes]]
    values: dict[str, bytes]
    last: int
    facts: dict[str, bytes] = field(default_factory=dict)
    names_nobody: frozenset[bytes] | None = None  # the words that were looked for here and not found


@dataclass(slots=True)
class _Step:
    """One top-level element of one object; `may_repeat` where nothing but bytes, log and facts hangs on it."""

    tag: int
    raw: bytes
    chunk: bytes
    log: list[tuple[str, str]]
    seen: list[tuple[str, bytes]]
    values: dict[str, bytes]
    may_repeat: bool


@dataclass(slots=True)
class _Person:
    """What is the same in every object of one study of one person, and what became of elements met before.

    RESTRICTED: holds originals, in memory only.
    """

    codecs: tuple[str, ...] | None
    patient_id: UUID
    days: int
    top: dict[bytes, _Hit] = field(default_factory=dict)
    nested: dict[bytes, _Hit] = field(default_factory=dict)
    named: dict[tuple[tuple[str, bytes], ...], Named] = field(default_factory=dict)
    previous: dict[int, bytes] = field(default_factory=dict)
    stretches: dict[int, _Stretch] = field(default_factory=dict)
    misses: int = 0


_LAST_PERSON = ("last",)
_PERSON_FACTS = tuple(f.name for f in fields(Facts) if f.name != "sop_class")


def text_of(raw: bytes) -> str:
    """An identifier as text, without padding; any byte is a character, so that nothing is lost."""
    return raw.strip(b" \0").decode("latin-1")


def _person(policy: Policy, pseudonyms: Pseudonyms, site: str, facts: Facts) -> _Person:
    key = (pseudonyms.key_id, site, *(getattr(facts, name) for name in _PERSON_FACTS))
    found = policy.persons.get(key)
    if found is None:
        patient_id = pseudonyms.patient(site, text_of(facts.patient_id), text_of(facts.issuer))
        days = pseudonyms.offset_days(patient_id) if policy.profile.dates == "modified" else 0
        if len(policy.persons) >= _PERSONS:
            policy.persons.clear()
        found = policy.persons[key] = _Person(codecs_of(facts.charset), patient_id, days)
    assert isinstance(found, _Person)
    policy.persons[_LAST_PERSON] = found
    return found


class Walk:
    """One pass over one dataset."""

    def __init__(
        self, data: bytes | mmap, policy: Policy, pseudonyms: Pseudonyms, site: str, facts: Facts
    ) -> None:
        self.data = data
        self.policy = policy
        self.pseudonyms = pseudonyms
        self.site = site
        self.facts = facts
        self.person = _person(policy, pseudonyms, site, facts)
        self.codecs, self.patient_id, self.days = self.person.codecs, self.person.patient_id, self.person.days
        self.budget = Budget()
        self.log: list[tuple[str, str]] = []
        self.seen: list[tuple[str, bytes]] = []
        self.values: dict[str, bytes] = {}
        self.used: list[_Stretch] = []
        self.loose: list[bytes] = []
        self.pixels: Found | None = None
        self.aside: dict[int, list[Item]] = {}
        self.memo = policy.memo
        if len(self.memo) > _MEMO_ENTRIES:
            self.memo.clear()

    def named(self) -> Named:
        """Names and other identifying values of this header, and the words by which to look for them."""
        key = tuple(self.seen)
        if key not in self.person.named:
            if len(self.person.named) >= _PERSONS:
                self.person.named.clear()
            self.person.named[key] = (*harvest(key, self.codecs), naming_words(key))
        return self.person.named[key]

    def names_somebody(self, words: frozenset[bytes]) -> bool:
        """Whether one of the words stands in what was written. Stretches are searched once for the same words."""
        low = b"\0".join(self.loose).lower()
        if any(word in low for word in words):
            return True
        for stretch in self.used:
            if stretch.names_nobody is words:
                continue
            low = stretch.chunk.lower()
            if any(word in low for word in words):
                return True
            stretch.names_nobody = words
        return False

    def run(self, start: int, end: int) -> bytes:
        """The clean dataset up to the pixel data."""
        try:
            return self.top(start, end)
        except struct.error:
            # unpacking met the end of the buffer
            raise short_of(self.data, end) from None

    def top(self, pos: int, end: int) -> bytes:
        """The top-level elements before the pixel data. Stretches met before are taken over whole."""
        data, person = self.data, self.person
        stretches = person.stretches
        steps: list[_Step] | None = None if stretches else []
        out: list[bytes] = []
        last, mark = -1, _METHOD_TAG
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
                if data[pos:stop] == stretch.raw:
                    out.append(stretch.chunk)
                    self.used.append(stretch)
                    self.log += stretch.log
                    self.seen += stretch.seen
                    self.values.update(stretch.values)
                    last, pos = stretch.last, stop
                    continue
                person.misses += 1
            at, n_log, n_seen, n_values = pos, len(self.log), len(self.seen), len(self.values)
            chunk, pos = self.one(tag, vr, length, pos, end)
            out.append(chunk)
            self.loose.append(chunk)
            if steps is not None:
                known = dict(list(self.values.items())[n_values:]) if len(self.values) > n_values else {}
                may_repeat = pos - at < _STRETCH_BYTES and tag not in ASIDE
                raw = data[at:pos] if may_repeat else b""
                steps.append(_Step(tag, raw, chunk, self.log[n_log:], self.seen[n_seen:], known, may_repeat))
        while mark < _PIXEL_GROUP:
            mark = self.pass_mark(out, _PIXEL_GROUP, mark)
        if steps is not None:
            self.learn(steps)
        elif person.misses > _MISSES:
            person.stretches, person.previous, person.misses = {}, {}, 0
        return b"".join(out)

    def learn(self, steps: list[_Step]) -> None:
        """Find the stretches that this object shares with the one before."""
        person = self.person
        previous, person.previous = person.previous, {s.tag: s.raw for s in steps if s.may_repeat}
        if not previous:
            return
        open_stretch: _Stretch | None = None
        for step in steps:
            if not step.may_repeat or previous.get(step.tag) != step.raw:
                open_stretch = None
                continue
            s = open_stretch
            if s is None or _zone(s.last) != _zone(step.tag) or len(s.raw) > _STRETCH_BYTES:
                s = open_stretch = _Stretch(b"", b"", [], [], {}, step.tag)
                person.stretches[step.tag] = s
            s.raw += step.raw
            s.chunk += step.chunk
            s.log += step.log
            s.seen += step.seen
            s.values.update(step.values)
            fact = _FACT_TAGS.get(step.tag)
            if fact is not None:
                _, _, start, _ = part10.explicit_header(step.raw, 0, len(step.raw))
                if not s.facts.get(fact, b"").strip(b" \0"):
                    s.facts[fact] = step.raw[start:]
            s.last = step.tag

    def one(self, tag: int, vr: bytes, length: int, pos: int, end: int) -> tuple[bytes, int]:
        """One top-level element: what is written for it, and where it ends."""
        entry = self.policy.walk.get(vr)
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
        rule = rules.get(tag, _MISSING)
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
        hit = self.person.top.get(raw)
        if hit is None:
            return self.fresh(raw, rule, tag, vr, start, stop, 0)[0], stop
        self.log += hit[1]
        self.seen += hit[2]
        return hit[0], stop

    def set_aside(self, tag: int, pos: int, end: int) -> tuple[bytes, int]:
        """A sequence that is cleaned when all is known of the person: what it names is noted, its place is written."""
        _, _, start, length = part10.explicit_header(self.data, pos, end)
        items, stop = read_items(self.data, start, length, end, self.budget)
        self.seen += harvest_content(items, self.policy)
        rule = self.policy.by_vr[b"SQ"][tag]
        if rule.act is not Act.SEQUENCE:
            self.log.append(rule.log)
            return b"", stop
        self.aside[tag] = items
        return element(tag, b"SQ", b""), stop

    def elements(self, pos: int, end: int, depth: int, *, is_open: bool) -> tuple[bytes | None, int]:
        """The elements of an item, up to end or its delimiter (is_open); None for an item that may not stay.

        One long loop on purpose: it runs once an element, and kept elements are copied in runs, not one by one.
        """
        data, by_vr, budget = self.data, self.policy.walk, self.budget
        cache = self.person.nested
        out: list[bytes] = []
        run, last, n = pos, -1, 0
        mark = _NEVER
        coded: dict[int, bytes] | None = None
        is_dead = False
        while pos < end:
            at = pos
            group, number, vr, length = _HEAD(data, pos)
            tag = group << 16 | number
            n += 1
            entry = by_vr.get(vr)
            if entry is None:
                if is_open and tag == part10.ITEM_END and _U32(data, pos + 4)[0] == 0 and end - pos >= 8:
                    break
                raise Refused("malformed")
            is_long, rules = entry
            start = pos + 8
            if is_long:
                if length:
                    raise Refused("malformed")
                length = _U32(data, start)[0]
                start += 4
            if tag <= last:
                raise Refused("malformed")
            last = tag
            if tag >= mark:
                if run < pos:
                    out.append(data[run:pos])
                    run = pos
                is_dead |= self.flush_code(out, coded)
                coded, mark = None, _NEVER
            if length & 1:
                # odd, or undefined: the slow road
                if run < pos:
                    out.append(data[run:pos])
                chunk, pos = self.odd(tag, vr, start, length, end, depth, rules)
                run = pos
                if chunk:
                    out.append(chunk)
                continue
            stop = start + length
            if stop > end:
                raise short_of(data, end)
            rule = rules.get(tag, _MISSING)
            if type(rule) is int:
                if length <= rule:
                    pos = stop
                    continue
            elif rule is Act.NUMBER:
                if not data[start:stop].strip(values.NUMBER):
                    pos = stop
                    continue
            elif (rule is Act.CODE and length <= 16 and not data[start:stop].strip(values.CODE)) or (
                rule is Act.TIME and not data[start:stop].strip(values.TIME)
            ):
                pos = stop
                continue
            if run < pos:
                out.append(data[run:pos])
            pos = run = stop
            if type(rule) is Decision and rule.act is Act.CODED:
                coded = coded or {}
                coded[tag] = data[start:stop]
                mark = codes.LAST + 1
                continue
            raw = data[at:stop]
            hit = cache.get(raw)
            if hit is None:
                hit = self.fresh(raw, rule, tag, vr, start, stop, depth)
            else:
                self.log += hit[1]
                self.seen += hit[2]
            if hit[0]:
                out.append(hit[0])
        else:
            if is_open:
                raise short_of(data, end)
        budget.left -= n
        if budget.left < 0:
            raise Refused("too_large")
        if run < pos:
            out.append(data[run:pos])
        if coded is not None:
            is_dead |= self.flush_code(out, coded)
        return (None if is_dead else b"".join(out)), pos

    def fresh(self, raw: bytes, rule: object, tag: int, vr: bytes, start: int, stop: int, depth: int) -> _Hit:
        """What becomes of an element not met before for this person; remembered, since a series repeats itself."""
        n_log, n_seen = len(self.log), len(self.seen)
        chunk = self.value(rule, tag, vr, start, stop, depth)
        hit = chunk, self.log[n_log:], self.seen[n_seen:]
        is_fact = not depth and getattr(rule, "fact", False)
        is_deeper = depth and vr == b"SQ"  # the cap on nesting counts from where a sequence stands
        if len(raw) <= _REMEMBERED_BYTES and not is_fact and not is_deeper:
            memory = self.person.nested if depth else self.person.top
            if len(memory) >= _REMEMBERED_ELEMENTS:
                memory.clear()
            memory[raw] = hit
        return hit

    def pass_mark(self, out: list[bytes], tag: int, mark: int) -> int:
        """Write rwid's own elements where their place in the order has come; gives the next mark."""
        if mark == _METHOD_TAG:
            out.append(self.policy.method)
            mark = _TEMPORAL_TAG
        if mark == _TEMPORAL_TAG and tag >= mark:
            out.append(element(_TEMPORAL_TAG, b"CS", _TEMPORAL[self.policy.profile.dates]))
            mark = _PIXEL_GROUP
        return mark

    def flush_code(self, out: list[bytes], coded: dict[int, bytes] | None) -> bool:
        """Write a coded entry; True where the item must go."""
        if not coded:
            return False
        key = ("code", *sorted(coded.items()))
        if key not in self.memo:
            self.memo[key] = codes.clean_code(coded) or b""
        chunk = self.memo[key]
        out.append(chunk)
        self.log.append(("(0008,0104)", "C" if chunk else "X"))
        return not chunk

    def odd(
        self, tag: int, vr: bytes, start: int, length: int, end: int, depth: int, rules: Mapping[int, object]
    ) -> tuple[bytes, int]:
        """An element of undefined or odd length: what is written for it, and where it ends."""
        rule = rules.get(tag, _MISSING)
        if length != UNDEFINED:
            stop = start + length
            if stop > end:
                raise short_of(self.data, end)
            if vr == b"SQ":
                raise Refused("malformed")
            if type(rule) is Decision and rule.act is not Act.CODED:
                return self.value(rule, tag, vr, start, stop, depth), stop
            if rule is Act.NUMBER and not self.data[start:stop].strip(values.NUMBER):
                return element(tag, vr, self.data[start:stop]), stop
            if rule is Act.CODE:
                return values.code(self, tag, vr, self.data[start:stop]), stop
            if rule is Act.TIME:
                return values.time(self, tag, vr, self.data[start:stop]), stop
            self.note(tag)
            return b"", stop
        if vr == b"SQ" and isinstance(rule, Decision):
            content, pos = self.items(start, end, depth + 1, is_open=True)
            return self.sequence(rule, tag, content), pos
        if vr not in (b"SQ", b"UN", b"OB", b"OW"):  # OB, OW: an encapsulated icon
            raise Refused("malformed")
        self.note(tag)
        return b"", part10.skip_items(
            self.data, start, end, self.budget, depth=depth + 1, is_implicit=vr == b"UN"
        )

    def removed(self, tag: int) -> bytes:
        """Nothing written, and that logged."""
        self.note(tag)
        return b""

    def note(self, tag: int) -> None:
        """Log an element as removed."""
        self.log.append((f"({tag >> 16:04x},{tag & 0xFFFF:04x})", "X"))

    def items(self, pos: int, end: int, depth: int, *, is_open: bool) -> tuple[bytes, int]:
        """The items of a sequence with defined lengths, and where the sequence ends."""
        if depth > part10.MAX_DEPTH:
            raise Refused("malformed")
        data, out = self.data, []
        while is_open or pos < end:
            tag, length, pos = part10.item_header(data, pos, end, self.budget)
            if tag == part10.SEQUENCE_END and is_open:
                break
            if tag != part10.ITEM:
                raise Refused("malformed")
            if length == UNDEFINED:
                content, pos = self.elements(pos, end, depth, is_open=True)
                pos += 8
            else:
                if length > end - pos:
                    raise short_of(data, end)
                content, pos = self.elements(pos, pos + length, depth, is_open=False)
            if content is not None:
                out.append(_ITEM(b"\xfe\xff\x00\xe0", len(content)))
                out.append(content)
        return b"".join(out), pos

    def sequence(self, rule: Decision, tag: int, content: bytes) -> bytes:
        """A sequence written, emptied or removed; its items have been walked either way, for what they name."""
        if rule.act is Act.SEQUENCE or rule.act is Act.UID:
            return element(tag, b"SQ", content)
        self.log.append(rule.log)
        return element(tag, b"SQ", b"") if rule.act is Act.EMPTY else b""

    def value(self, rule: object, tag: int, vr: bytes, start: int, stop: int, depth: int) -> bytes:
        """One element of defined length carried out; b"" where it is removed."""
        if not isinstance(rule, Decision):
            raw = self.data[start:stop]
            if rule is Act.CODE:
                return values.code(self, tag, vr, raw)
            if rule is Act.NUMBER and not raw.strip(values.NUMBER):
                return element(tag, vr, raw)
            if rule is Act.TIME:
                return values.time(self, tag, vr, raw)
            return self.removed(tag)
        if vr == b"SQ":
            content, _ = self.items(start, stop, depth + 1, is_open=False)
            return self.sequence(rule, tag, content)
        if rule.act is Act.DROP and not rule.harvest:
            self.log.append(rule.log)
            return b""
        raw = self.data[start:stop]
        if rule.harvest and raw:
            self.seen.append((rule.harvest, raw))
        if rule.fact and not depth:
            self.values[rule.keyword] = raw
        return values.CARRY_OUT[rule.act](self, rule, tag, vr, raw, depth)


def _zone(tag: int) -> int:
    """Between which of rwid's own elements a tag lies; a stretch lies in one zone."""
    return (tag >= _METHOD_TAG) + (tag >= _TEMPORAL_TAG) + (tag >= _PIXEL_GROUP)
