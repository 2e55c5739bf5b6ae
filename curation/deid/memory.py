"""Memory of a walk: the facts of an object, and what became of elements met before in the same study of the same person.

What belongs here: facts, persons, stretches of neighbouring elements, looking ahead and learning. What does not: what
becomes of an element (items, values). RESTRICTED: it holds originals, and never leaves the process.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields
from mmap import mmap
from uuid import UUID

from curation import part10
from curation.deid.charset import codecs_of
from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.part10 import UNDEFINED, Budget, short_of
from curation.records import Refused

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
PERSONS = 64
METHOD_TAG, TEMPORAL_TAG, PIXEL_GROUP = 0x00120062, 0x00280303, 0x7FE00000
STRETCH_BYTES = 1 << 15
_MEMO_ENTRIES = 65536

Named = tuple[tuple[str, ...], tuple[str, ...], frozenset[bytes]]
"""Names, other identifying values, and the words by which to look for them."""
Hit = tuple[bytes, list[tuple[str, str]], list[tuple[str, bytes]]]
"""What was written for an element, its log, and what it names."""


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
    zone: bytes = b""


FACT_TAGS = {
    0x00080005: "charset",
    0x00080016: "sop_class",
    0x00080020: "study_date",
    0x00080021: "study_date",
    0x00080022: "study_date",
    0x00080023: "study_date",
    0x00080201: "zone",
    0x00100010: "name",
    0x00100020: "patient_id",
    0x00100021: "issuer",
    0x00100030: "birth_date",
    0x00100040: "sex",
    0x00101010: "age",
}
_LAST_FACT = max(FACT_TAGS)


@dataclass(slots=True)
class Stretch:
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
class Step:
    """One top-level element (or one private group, up to `last`); `may_repeat` where nothing but bytes hangs on it."""

    tag: int
    last: int
    raw: bytes
    chunk: bytes
    log: list[tuple[str, str]]
    seen: list[tuple[str, bytes]]
    values: dict[str, bytes]
    may_repeat: bool


@dataclass(slots=True)
class Person:
    """What is the same in every object of one study of one person, and what became of elements met before.

    RESTRICTED: holds originals, in memory only.
    """

    codecs: tuple[str, ...] | None
    patient_id: UUID
    days: int
    by_depth: dict[int, dict[bytes, Hit]] = field(default_factory=dict)
    days_of: dict[bytes, bytes] = field(default_factory=dict)
    named: dict[tuple[tuple[str, bytes], ...], Named] = field(default_factory=dict)
    previous: dict[int, bytes] = field(default_factory=dict)
    stretches: dict[int, Stretch] = field(default_factory=dict)
    misses: int = 0


def look_ahead(data: bytes | mmap, pos: int, end: int, policy: Policy) -> Facts:
    """Patient, class, character set and dates, from the elements up to (0010,1010).

    Stretches of the person met last are stepped over whole: what they say follows from their bytes alone.
    """
    facts, budget = Facts(), Budget()
    long_vrs, short_vrs = part10.LONG_VRS, part10.SHORT_VRS
    last = policy.persons.get(_LAST_PERSON)
    stretches = last.stretches if isinstance(last, Person) else {}
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
        fact = FACT_TAGS.get(tag)
        if fact is not None and not getattr(facts, fact).strip(b" \0"):
            setattr(facts, fact, data[start:pos])
    return facts


_LAST_PERSON = ("last",)
_PERSON_FACTS = tuple(f.name for f in fields(Facts) if f.name != "sop_class")


def text_of(raw: bytes) -> str:
    """An identifier as text, without padding; any byte is a character, so that nothing is lost."""
    return raw.strip(b" \0").decode("latin-1")


def person_of(policy: Policy, pseudonyms: Pseudonyms, site: str, facts: Facts, rules: int) -> Person:
    """What is remembered of this person and study, under these rules."""
    key = (pseudonyms.key_id, site, rules, *(getattr(facts, name) for name in _PERSON_FACTS))
    found = policy.persons.get(key)
    if found is None:
        patient_id = pseudonyms.patient(site, text_of(facts.patient_id), text_of(facts.issuer))
        days = pseudonyms.offset_days(patient_id) if policy.profile.dates == "modified" else 0
        if len(policy.persons) >= PERSONS:
            policy.persons.clear()
        found = policy.persons[key] = Person(codecs_of(facts.charset), patient_id, days)
    assert isinstance(found, Person)
    policy.persons[_LAST_PERSON] = found
    return found


def learn(person: Person, steps: list[Step]) -> None:
    """Find the stretches that an object shares with the one before."""
    previous, person.previous = person.previous, {s.tag: s.raw for s in steps if s.may_repeat}
    if not previous:
        return
    open_stretch: Stretch | None = None
    for step in steps:
        if not step.may_repeat or previous.get(step.tag) != step.raw:
            open_stretch = None
            continue
        s = open_stretch
        if s is None or _zone(s.last) != _zone(step.tag) or len(s.raw) > STRETCH_BYTES:
            s = open_stretch = Stretch(b"", b"", [], [], {}, step.last)
            person.stretches[step.tag] = s
        s.raw += step.raw
        s.chunk += step.chunk
        s.log += step.log
        s.seen += step.seen
        s.values.update(step.values)
        fact = FACT_TAGS.get(step.tag)
        if fact is not None:
            _, _, start, _ = part10.explicit_header(step.raw, 0, len(step.raw))
            if not s.facts.get(fact, b"").strip(b" \0"):
                s.facts[fact] = step.raw[start:]
        s.last = step.last


class Context:
    """What carrying out one value needs to know, and where it says what it did."""

    def __init__(
        self, data: bytes | mmap, policy: Policy, pseudonyms: Pseudonyms, site: str, facts: Facts
    ) -> None:
        self.data = data
        self.policy = policy
        self.pseudonyms = pseudonyms
        self.site = site
        self.facts = facts
        self.rules = policy.rules_of(facts.sop_class)
        self.person = person_of(policy, pseudonyms, site, facts, self.rules.number)
        self.codecs, self.patient_id, self.days = self.person.codecs, self.person.patient_id, self.person.days
        self.log: list[tuple[str, str]] = []
        self.seen: list[tuple[str, bytes]] = []
        self.values: dict[str, bytes] = {}
        self.loose: list[bytes] = []
        self.repeated: set[bytes] = set()
        self.memo = policy.memo
        if len(self.memo) > _MEMO_ENTRIES:
            self.memo.clear()

    def note(self, tag: int) -> None:
        """Log an element as removed."""
        self.log.append((f"({tag >> 16:04x},{tag & 0xFFFF:04x})", "X"))

    def removed(self, tag: int) -> bytes:
        """Nothing written, and that logged."""
        self.note(tag)
        return b""


def _zone(tag: int) -> int:
    """Between which of rwid's own elements a tag lies; a stretch lies in one zone."""
    return (tag >= METHOD_TAG) + (tag >= TEMPORAL_TAG) + (tag >= PIXEL_GROUP)
