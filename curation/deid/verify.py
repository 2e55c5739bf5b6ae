"""The second look at one released object or report: what stands in it that ought not to.

What belongs here: the rules, put to one dataset read by pydicom or to one text. What does not: how identifiers are written
(verify_forms), what may be present at all (verify_allowed), pixels (verify_pixels), the walk over a lake (verify_lake) or a
folder (verify_folder). Nothing of the de-identifier's walk, values or decisions is imported: what misled it must not
mislead this.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import RFC_4122, UUID

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement

from curation.deid.verify_allowed import Claims, claims_of, element_fault, marker_faults
from curation.deid.verify_dates import DUMMY, day_of, days_in, has_day
from curation.deid.verify_forms import Identifiers, Sight
from curation.deid.verify_known import Known

RULES = ("identity", "hash", "date", "uid", "element", "marker", "pixel_text", "unreadable")
"""Every rule; each has one row in `verifications`."""

IMPLEMENTATION_UID = "2.25.237482014786119318027430195478112207734"
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_BIRTH_DATE = 0x00100030
_EQUIPMENT = frozenset(
    {0x00080070, 0x00081090, 0x00181000, 0x00181020, 0x00181210, 0x00181250, 0x00181251, 0x00080008}
)
_NUMBERS = frozenset(["US", "SS", "UL", "SL", "FL", "FD", "AT", "SV", "UV", "OF", "OD", "OL", "OV"])
_FIXED = frozenset(["DS", "IS", "UI", "DA", "TM", "DT", "AS"])
_EARLIEST = date(1850, 1, 1)
_SLACK = timedelta(days=2)
_APPOINTMENT = timedelta(days=730)
"""A report may name a day to come."""
_UID = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\d.])")
_NEWER = re.compile(r"1\.2\.840\.10008\.5\.1\.4(?:\.\d{1,4}){1,8}")
"""SOP classes of editions that the dictionary at hand does not know: the standard's own root."""
_OURS = re.compile(r"2\.25\.([1-9]\d{30,38})")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that ought not to be there; holds no value."""

    place: str
    rule: str
    kind: str
    form: str = ""
    is_blocking: bool = True


@dataclass
class Person:
    """RESTRICTED. One patient, as far as the second look knows them."""

    known: Known
    offset_days: int | None = None
    """None: the key is not at hand."""
    latest: date = date.max
    """The last day on which an original can have been made: when it was received."""
    memo: dict[tuple[str, bool, bytes], tuple[Sight, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.identifiers: Identifiers = self.known.compiled()

    def __repr__(self) -> str:
        return "Person(restricted)"

    def moved(self, day: date) -> date | None:
        """An original day as it ought to be released; None without the offset."""
        return None if self.offset_days is None else day + timedelta(days=self.offset_days)

    def is_original(self, day: date) -> bool:
        """Whether the day is one of the originals', and no other original moved onto it."""
        originals = self.known.original_days
        if day not in originals:
            return False
        return self.offset_days is None or day - timedelta(days=self.offset_days) not in originals

    @property
    def last_day(self) -> date:
        """No released day may be later."""
        if self.latest == date.max:
            return self.latest
        return self.latest + timedelta(days=self.offset_days or 0) + _SLACK


def is_ours(uid: str) -> bool:
    """Whether a UID is a keyed pseudonym: 2.25 and a UUID of version 8."""
    match = _OURS.fullmatch(uid)
    if not match or int(match[1]) >> 128:
        return False
    made = UUID(int=int(match[1]))
    return made.variant == RFC_4122 and made.version == 8


Element = tuple[str, int, str, bytes, Dataset]
"""Path, tag, VR, the value's bytes, and the dataset it stands in."""


def elements(dataset: Dataset, path: str = "") -> Iterator[Element]:
    """Every element, nested ones after their sequence, with its bytes as they are stored."""
    for tag in sorted(dataset.keys()):
        found = dataset.get_item(tag)
        place = f"{path}({tag.group:04x},{tag.elem:04x})"
        vr = found.VR or (dictionary_VR(tag) if not tag.is_private else "UN")
        if vr == "SQ":
            yield place, int(tag), vr, b"", dataset
            for n, item in enumerate(dataset[tag].value):
                yield from elements(item, f"{place}[{n}].")
            continue
        value = found.value
        if not isinstance(found, RawDataElement) and not isinstance(value, bytes):
            many = value if isinstance(value, list | tuple) else [value]
            value = "\\".join(str(v) for v in many).encode("utf-8", "surrogateescape")
        yield place, int(tag), vr, value or b"", dataset


def look_at_dataset(dataset: Dataset, person: Person, unknown: Counter[str]) -> list[Found]:
    """What one dataset holds that it ought not to. `unknown` counts, by rule, what could not be told."""
    claims = claims_of(dataset)
    found = [Found(place, "marker", kind) for place, kind in marker_faults(dataset, claims)]
    texts: list[tuple[str, str, bytes]] = []
    for place, tag, vr, raw, holder in elements(dataset):
        fault = element_fault(tag, vr, raw, holder, claims)
        if fault:
            found.append(Found(place, "element", fault))
        if tag in PIXELS or vr == "SQ":
            continue
        found += [_found(place, tag, sight) for sight in _sights(tag, vr, raw, person)]
        if vr in ("DA", "DT"):
            found += _date_faults(place, tag, vr, raw, person, claims, unknown)
        elif vr == "UI":
            found += _uid_faults(place, raw, person, claims)
        elif vr not in _NUMBERS and vr not in _FIXED:
            found += _text_faults(place, tag, raw, person)
            texts.append((place, vr, raw))
    found += _split_over(texts, person)
    return list(dict.fromkeys(found))


def _found(place: str, tag: int, sight: Sight) -> Found:
    """A maker or model may share one word with somebody's name: that is for a person to look at, and blocks nothing."""
    is_chance = tag in _EQUIPMENT and sight == Sight("name", "word")
    return Found(place, "identity", sight.kind, sight.form, is_blocking=not is_chance)


def _sights(tag: int, vr: str, raw: bytes, person: Person) -> tuple[Sight, ...]:
    if not raw or vr in _NUMBERS:
        return ()
    is_equipment = tag in _EQUIPMENT
    key = (vr, is_equipment, raw)
    known = person.memo.get(key)
    if known is None:
        sights = person.identifiers.in_bytes(raw, is_free=vr not in _FIXED, is_equipment=is_equipment)
        known = person.memo[key] = tuple(dict.fromkeys(sights))
    return known


def _date_faults(
    place: str, tag: int, vr: str, raw: bytes, person: Person, claims: Claims, unknown: Counter[str]
) -> Iterator[Found]:
    for value in raw.decode("latin-1").split("\\"):
        if not value.strip(" \0"):
            continue
        day = day_of(value, vr)
        if day is None:
            yield Found(place, "date", "impossible")
        elif day != DUMMY:
            yield from _day_faults(place, tag, day, has_day(value, vr), person, claims, unknown)


def _day_faults(
    place: str, tag: int, day: date, is_whole: bool, person: Person, claims: Claims, unknown: Counter[str]
) -> Iterator[Found]:
    if day < _EARLIEST:
        yield Found(place, "date", "impossible")
    if claims.keeps_dates:
        if day > person.latest:
            yield Found(place, "date", "later than received")
        return
    if day > person.last_day:
        yield Found(place, "date", "later than the shifted window")
    originals = person.known.birth_days if tag == _BIRTH_DATE else person.known.days.get(tag)
    if not originals or not is_whole or person.offset_days is None:
        unknown["date"] += 1
        if is_whole and person.is_original(day) and (tag == _BIRTH_DATE or person.known.days):
            yield Found(place, "date", "birth_date" if tag == _BIRTH_DATE else "original_date")
        return
    moved = {m for d in originals if (m := person.moved(d))}
    # nobody appears older than 90: a birth date may have been brought forward
    if day not in moved and not (tag == _BIRTH_DATE and day > min(moved) and not person.is_original(day)):
        yield Found(place, "date", "original_date" if day in originals else "not moved by the offset")


def _uid_faults(place: str, raw: bytes, person: Person, claims: Claims) -> Iterator[Found]:
    for value in raw.decode("latin-1").split("\\"):
        uid = value.strip(" \0")
        if not uid or uid in UID_dictionary or is_ours(uid) or claims.keeps_uids or _NEWER.fullmatch(uid):
            continue
        yield Found(place, "uid", "original" if uid in person.known.uids else "not ours")


def _text_faults(place: str, tag: int, raw: bytes, person: Person) -> Iterator[Found]:
    text = raw.decode("latin-1")
    for uid in _UID.findall(text):
        if not is_ours(uid) and uid not in UID_dictionary and len(uid) >= 16:
            yield Found(place, "uid", "in text")
    if tag not in _EQUIPMENT:
        for day in days_in(text):
            if person.is_original(day):
                is_birth = day in person.known.birth_days
                yield Found(place, "date", "birth_date" if is_birth else "original_date", "in text")


def _split_over(texts: Sequence[tuple[str, str, bytes]], person: Person) -> Iterator[Found]:
    """A name of which one element holds the beginning and the next the end."""
    for (_, _, left), (place, _, right) in itertools.pairwise(texts):
        if left and right and len(left) < 256 and len(right) < 256:
            for kind in person.identifiers.across(left, right):
                yield Found(place, "identity", kind, "split over elements")


def look_at_text(text: str, person: Person) -> list[Found]:
    """What one report holds that it ought not to."""
    found = [Found("text", "identity", s.kind, s.form) for s in person.identifiers.in_bytes(text.encode())]
    for uid in _UID.findall(text):
        if not is_ours(uid) and uid not in UID_dictionary and len(uid) >= 16:
            found.append(Found("text", "uid", "in text"))
    for day in days_in(text):
        if person.is_original(day):
            is_birth = day in person.known.birth_days
            found.append(Found("text", "date", "birth_date" if is_birth else "original_date", "in text"))
    return list(dict.fromkeys(found))


def look_at_bytes(data: bytes | memoryview, person: Person, place: str) -> list[Found]:
    """Names and numbers anywhere in bytes, whatever they are part of."""
    low = bytes(data).lower()
    return [Found(place, "identity", s.kind, s.form) for _, s in person.identifiers.anywhere(low)]
