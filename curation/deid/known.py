"""What the headers and messages of a person say, found in a text in whatever way it is written.

What belongs here: an Identity as spellings, their spans, the last look. What does not: names of strangers (naming).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from curation.deid import dates
from curation.deid.identity import Identity
from curation.deid.lexicon import ANY, Kind, Lexicon, lexicon
from curation.deid.spans import KNOWN, Span
from curation.deid.spelling import Compact, Place, fold, is_ideographic, variants

_PARTS = re.compile(r"[\^=\s,;.()/\\]+")
_DIGITS_MIN = 4
_INSIDE_MIN = 5  # letters of a name that are found inside a longer word
_SPACED_MIN = 6  # letters of a name that are found across a space or line break
_PHONE_TAIL = 7
_PHRASE_MIN = 6  # letters of proper words by which a phrase of ordinary words is looked for
_NUMBER_GAP = re.compile(r"[\s\-./_()+]{1,3}")
_PHRASE_GAP = re.compile(r"[\s\-.,/'’_()#&:;]{1,6}")
_HARD_HYPHEN = re.compile(r"[-'’`´\u00ad]|-[ \t]?\r?\n[ \t]*")
_RUN_LEFT = re.compile(r"[\d+()./ -]*$")
_GENERIC = frozenset(
    [
        "hospital",
        "clinic",
        "medical",
        "center",
        "centre",
        "department",
        "radiology",
        "imaging",
        "institute",
        "university",
        "health",
        "healthcare",
        "system",
        "general",
        "street",
        "road",
        "avenue",
        "st",
        "ave",
        "rd",
        "drive",
        "lane",
        "city",
        "klinik",
        "klinikum",
        "krankenhaus",
        "universitatsklinikum",
        "abteilung",
        "radiologie",
        "institut",
        "praxis",
        "zentrum",
        "str",
        "strasse",
        "weg",
        "platz",
        "station",
        "ward",
        "room",
        "unit",
        "diagnostic",
        "nuclear",
        "medicine",
        "service",
        "services",
        "calle",
        "avenida",
        "plaza",
        "clinica",
        "centro",
        "salud",
        "rue",
        "boulevard",
        "place",
        "hopital",
        "clinique",
        "chu",
        "saint",
        "sainte",
        "main",
        "the",
        "and",
    ]
)


@dataclass(frozen=True, slots=True)
class _Needle:
    spelling: str
    category: str
    how: str
    """any, capital (an ordinary word), exact (two letters), inside (ideographs), number, tail (of a telephone), phrase."""


class Known:
    """The person's own words and numbers. RESTRICTED."""

    def __init__(self, identity: Identity, words: Lexicon | None = None) -> None:
        self.lexicon = words or lexicon(ANY)
        self.born = parse_day(identity.birth_date)
        self.given = _given_of(identity)
        needles: dict[_Needle, None] = {}
        parts = dict.fromkeys(
            p for name in (*identity.names, identity.patient_name) for p in _PARTS.split(name)
        )
        for part in parts:
            needles.update(dict.fromkeys(self._of_name(part)))
        for name in (*identity.names, identity.patient_name):
            needles.update(dict.fromkeys(self._of_joined(name)))
        for value in (identity.patient_id, identity.accession, identity.study_uid):
            needles.update(dict.fromkeys(self._of_number(value)))
        for value in identity.other:
            needles.update(dict.fromkeys(self._of_other(value)))
        self._needles = tuple(needles)
        self.words = frozenset(n.spelling for n in needles)
        self._initials = _initials_of(identity)

    def _of_name(self, part: str) -> Iterator[_Needle]:
        plain = fold(part).strip("'’-")
        if len(plain) < 2 and not is_ideographic(part):
            return
        if plain in self.lexicon.particles or plain in self.lexicon.nobody or any(c.isdigit() for c in plain):
            return
        if plain in self.lexicon.titles or plain in self.lexicon.credentials:
            return
        if is_ideographic(part):
            yield _Needle(plain, "NAME", "inside")
            return
        for spelling in variants(part):
            is_ordinary = self.lexicon.kind(spelling) <= Kind.AMBIGUOUS
            how = "exact" if len(spelling) <= 2 else "capital" if is_ordinary else "any"
            yield _Needle(spelling, "NAME", how)
        for half in re.split(r"[-'’]", part):
            if half != part and len(half) > 2:
                yield from self._of_name(half)

    def _of_joined(self, name: str) -> Iterator[_Needle]:
        """A component of several words as one: de la Cruz as Delacruz, al-Rashid as Alrashid."""
        for component in re.split(r"[\^=,]", name):
            words = [w for w in re.split(r"[\s.]+", component) if w]
            if 1 < len(words) <= 4 and not any(c.isdigit() for c in component):
                for spelling in variants("".join(words)):
                    if len(spelling) >= _INSIDE_MIN:
                        yield _Needle(spelling, "NAME", "any")

    def _of_number(self, value: str) -> Iterator[_Needle]:
        plain = re.sub(r"[\W_]+", "", fold(value))
        if (
            len(plain) < 3
            or plain in self.lexicon.nobody
            or (plain.isalpha() and self.lexicon.kind(plain) <= Kind.AMBIGUOUS)
        ):
            return
        yield _Needle(plain, "ID", "number")
        digits = plain.lstrip("abcdefghijklmnopqrstuvwxyz0")
        if digits != plain and digits.isdigit() and len(digits) > _DIGITS_MIN:
            yield _Needle(digits, "ID", "number")

    def _of_other(self, value: str) -> Iterator[_Needle]:
        """An id, telephone number, address or institution: digits as a number, words as a phrase and one by one."""
        digits = "".join(c for c in value if c.isdigit())
        if len(digits) >= 3 and not re.search(r"[^\W\d_]{3}", value):
            if parse_day(value) is None and len(digits) > _DIGITS_MIN:
                yield from self._of_number(value)
                if len(digits) >= _PHONE_TAIL and not any(c.isalpha() for c in value):
                    yield _Needle(digits[-min(len(digits), 8) :], "PHONE", "tail")
            return
        if "@" in value:
            yield _Needle(re.sub(r"[\W_]+", "", fold(value)), "EMAIL", "phrase")
        for phrase in re.split(r"[\^,;\n\r=|]+", value):
            yield from self._of_phrase(phrase)

    def _of_phrase(self, phrase: str) -> Iterator[_Needle]:
        words = [fold(w) for w in re.split(r"[\W_]+", phrase) if w]
        # a town may be built like a compound of ordinary words: Quillford
        strange = [
            w for w in words if w not in _GENERIC and not (self._is_ordinary(w) and self.lexicon.lists(w))
        ]
        compact = "".join(words)
        proper = [w for w in words if w not in _GENERIC]
        if not strange and len("".join(proper)) >= _PHRASE_MIN and len(words) > 1:
            # ordinary words that name something only together: Mercy Falls
            yield _Needle(compact, "INSTITUTION", "phrase")
            if len(proper) > 1 and proper != words:
                yield _Needle("".join(proper), "INSTITUTION", "phrase")
        if not strange or len(compact) < 3:
            return
        has_number = any(c.isdigit() for c in phrase)
        if has_number and not any(w.isalpha() for w in strange) and len(compact) < 6:
            return
        category = "ADDRESS" if has_number and len(words) > 1 else "INSTITUTION"
        yield _Needle(compact, category, "phrase")
        for word in strange:
            if len(word) >= 4 and (not word.isdigit() or len(word) >= 5):
                how = "number" if any(c.isdigit() for c in word) else "phrase"
                yield _Needle(word, category, how)

    def _is_ordinary(self, word: str) -> bool:
        return word.isalpha() and self.lexicon.kind(word) <= Kind.AMBIGUOUS

    def spans(self, text: str) -> Iterator[Span]:
        """Where the text says something known."""
        compact = Compact(text)
        for needle in self._needles:
            for place in compact.find(needle.spelling):
                span = self._span(text, place, needle)
                if span is not None:
                    yield span
        for pattern in self._initials:
            for match in pattern.finditer(text):
                yield Span(match.start(), match.end(), "NAME", KNOWN)

    def _span(self, text: str, place: Place, needle: _Needle) -> Span | None:
        found = text[place.start : place.end]
        pieces = re.split(r"[\W_]+", found)
        if needle.how == "inside":
            return Span(place.start, place.end, needle.category, KNOWN)
        if needle.how == "tail":
            return _widen_number(text, place, needle.category)
        if needle.how == "number":
            return self._number(text, place, needle, found)
        if needle.how == "phrase":
            whole = place.is_whole and all(_PHRASE_GAP.fullmatch(g) for g in re.findall(r"[\W_]+", found))
            return Span(place.start, place.end, needle.category, KNOWN) if whole else None
        if not place.is_whole:
            if needle.how != "any" or len(needle.spelling) < _INSIDE_MIN or len(pieces) > 1:
                return None
            return self._around(text, place, needle)
        if needle.how == "exact" and not found[:1].isupper():
            return None
        if needle.how == "capital" and found == found.lower():
            return None
        if len(pieces) > 1 and not self._may_be_apart(found, pieces, needle):
            return None
        return Span(place.start, place.end, needle.category, KNOWN)

    def _may_be_apart(self, found: str, pieces: list[str], needle: _Needle) -> bool:
        """Whether a name's letters with gaps between them are that name: S m i t h, Smith-son at a line's end, De Vries."""
        gaps = re.findall(r"[\W_]+", found)
        if all(len(piece) == 1 for piece in pieces):
            return len(pieces) > 2 and len(set(gaps)) <= 2 and max(map(len, gaps)) <= 3
        if all(_HARD_HYPHEN.fullmatch(gap) for gap in gaps):
            return True
        if len(needle.spelling) < _SPACED_MIN or not all(
            gap in (" ", "\n", "_", "  ", "\r\n") for gap in gaps
        ):
            return False
        return found != found.lower() or not all(self._is_ordinary(fold(piece)) for piece in pieces)

    def _around(self, text: str, place: Place, needle: _Needle) -> Span | None:
        """The whole word that holds the name, unless it is an ordinary one."""
        start, end = place.start, place.end
        while start > 0 and text[start - 1].isalnum():
            start -= 1
        while end < len(text) and text[end].isalnum():
            end += 1
        if self._is_ordinary(fold(text[start:end])) or end - start > 40:
            return None if end - start <= 40 else Span(place.start, place.end, needle.category, KNOWN)
        return Span(start, end, needle.category, KNOWN)

    def _number(self, text: str, place: Place, needle: _Needle, found: str) -> Span | None:
        if any(not _NUMBER_GAP.fullmatch(gap) for gap in re.findall(r"[\W_]+", found)):
            return None
        if place.is_whole:
            return Span(place.start, place.end, needle.category, KNOWN)
        if len(needle.spelling) >= 6:  # as a part of a file's name or of a longer number
            return _widen_number(text, place, needle.category)
        return None

    def is_in(self, text: str) -> bool:
        """Whether something known is still in the text; the last look."""
        if any(True for _ in self.spans(text)):
            return True
        if self.born is None:
            return False
        joined = re.sub(r"[\W_]+", "", fold(text))
        return any(spelling in joined for spelling in dates.spellings(self.born) if len(spelling) >= 8)


def _widen_number(text: str, place: Place, category: str) -> Span:
    """The whole run of letters and digits around a part of a number; to the left also what a telephone number has."""
    start, end = place.start, place.end
    while start > 0 and text[start - 1].isalnum() and place.start - start < 40:
        start -= 1
    while end < len(text) and text[end].isalnum() and end - place.end < 40:
        end += 1
    if category == "PHONE":
        run = _RUN_LEFT.search(text, max(0, start - 10), start)
        if run is not None:
            start = run.start() + len(run.group()) - len(run.group().lstrip(" ./-)"))
    return Span(start, end, category, KNOWN)


def _given_of(identity: Identity) -> dict[str, str]:
    """First letter and given name of each known person, the patient last so that it wins."""
    found: dict[str, str] = {}
    for name in (*identity.names, identity.patient_name):
        for group in name.split("="):
            components = group.split("^")
            for word in _PARTS.split(" ".join(components[1:3])):
                if len(word) > 1:
                    found[fold(word)[:1]] = fold(word)
    return found


def _initials_of(identity: Identity) -> tuple[re.Pattern[str], ...]:
    """Initials with dots, as J.S. and S.J. for each known person of two names or more."""
    found: dict[str, None] = {}
    for name in (*identity.names, identity.patient_name):
        family, _, rest = name.split("=")[0].partition("^")
        given = [w for w in _PARTS.split(rest.split("^^")[0]) if w]
        if family[:1].isalpha() and given and given[0][:1].isalpha():
            f, g = re.escape(family[0].upper()), re.escape(given[0][0].upper())
            for first, second in ((g, f), (f, g)):
                found[rf"(?<![\w.]){first}\.[ ]?(?:[A-Z]\.[ ]?)?{second}\.(?!\w)"] = None
    return tuple(re.compile(p) for p in found)


def parse_day(value: str) -> date | None:
    """A DICOM or ISO date; None where it is none."""
    match = re.fullmatch(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})(?:\d{4,6})?", value.strip())
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
