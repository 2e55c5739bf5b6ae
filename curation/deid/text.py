"""Report text without the person: what the headers know of them first, then patterns with context, then a last look.

What belongs here: finding and replacing spans of one text. What does not: the patterns (rules/text.toml), dates (dates),
linking a report to its study (steps).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from uuid import UUID

from curation.deid import dates
from curation.deid.actions import RULES, vocabulary
from curation.deid.identity import Identity
from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.records import Refused

MAX_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class CleanText:
    """A de-identified text. `actions` are (category, code): X replaced by a tag, C replaced by a similar value."""

    text: str
    n_redactions: int
    actions: tuple[tuple[str, str], ...]
    language: str


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    replacement: str
    category: str
    rank: int  # lower wins where spans overlap


@dataclass(frozen=True, slots=True)
class _Book:
    """rules/text.toml, compiled."""

    patterns: tuple[tuple[str, re.Pattern[str]], ...]
    particles: frozenset[str]
    nobody: frozenset[str]
    kept_small: frozenset[str]
    ordinary: frozenset[str]
    eponyms: frozenset[str]
    given: re.Pattern[str]
    institution_stop: frozenset[str]


_LONG = r"[A-ZÄÖÜÀ-ÖØ-Þ][\w'’-]+"
_WORD = rf"(?:{_LONG}|[A-Z]\b\.?)"
_TITLE = r"(?:(?i:drs?|prof|med|dipl|mr|mrs|ms|herr|frau|hr|fr)\b\.?[ \t]+){0,4}"
_PARTICLE = r"(?:(?i:von|van|der|de|den|da|di|del|della|la|le|bin|al|el|zu|zur|ter|ten)[ ]+){0,2}"
_NAME = rf"{_TITLE}{_WORD}(?:[ \t]{_PARTICLE}{_WORD}){{0,3}}"
_NAMES = rf"{_TITLE}{_WORD}(?:(?:,[ \t]?|[ \t]){_PARTICLE}{_WORD}){{0,4}}"
_INSTWORD = r"(?:St\.|[A-ZÄÖÜ][\w'’&-]*|of|für)"


@cache
def _book() -> _Book:
    raw = tomllib.loads((RULES / "text.toml").read_text(encoding="utf-8"))
    patterns = []
    for row in raw["pattern"]:
        find = row["find"].replace("INSTWORD", _INSTWORD).replace("NAMES", _NAMES).replace("NAME", _NAME)
        patterns.append((row["category"], re.compile(find)))
    given = "|".join(sorted({re.escape(w.capitalize()) for w in raw["given"].split()}, key=len, reverse=True))
    bigram = rf"\b(?P<x>(?:{given})(?:[ ]+[A-Z]\.)?[ ]+(?:(?:von|van|der|de|den|da|di|del|la)[ ]+){{0,2}}(?P<last>{_WORD}))"
    words = {
        k: frozenset(_fold(raw[k])[0].split())
        for k in ("particles", "nobody", "common", "ordinary", "eponyms")
    }
    return _Book(
        patterns=tuple(patterns),
        particles=words["particles"],
        nobody=words["nobody"],
        kept_small=words["common"] | words["eponyms"] | words["ordinary"] | vocabulary().words,
        ordinary=words["ordinary"],
        eponyms=words["eponyms"],
        given=re.compile(bigram),
        institution_stop=frozenset(raw["institution_stop"].split()),
    )


def clean_text(
    text: str, identity: Identity, policy: Policy, pseudonyms: Pseudonyms, patient_id: UUID
) -> CleanText:
    """The text with every span that may identify replaced: [NAME], [ID] and so on; dates moved; ages over 89 in words.

    Raises Refused: identity_suspected where something known of the person is still there after cleaning;
    too_large above a million characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise Refused("too_large")
    text = unicodedata.normalize("NFC", text)
    language = detect_language(text)
    known = _Known(identity)
    spans = [*known.spans(text), *_pattern_spans(text)]
    spans += _date_spans(text, known.born, language, policy, pseudonyms, patient_id)
    chosen = _resolve(spans)
    cleaned = _apply(text, chosen)
    if known.is_in(cleaned):
        raise Refused("identity_suspected")
    actions = dict.fromkeys((s.category, "X" if s.replacement.startswith("[") else "C") for s in chosen)
    return CleanText(cleaned, len(chosen), tuple(actions), language)


def detect_language(text: str) -> str:
    """ISO 639-1: de where German function words outnumber English ones, else en."""
    words = re.findall(r"[a-zäöüß]+", text.lower()[:20000])
    german = sum(w in _GERMAN for w in words)
    return "de" if german > sum(w in _ENGLISH for w in words) else "en"


_GERMAN = frozenset(
    [
        "der",
        "die",
        "das",
        "und",
        "mit",
        "ohne",
        "kein",
        "keine",
        "keinen",
        "nicht",
        "im",
        "vom",
        "zum",
        "zur",
        "bei",
        "nach",
        "des",
        "dem",
        "den",
        "ein",
        "eine",
        "ist",
        "sind",
        "als",
        "auch",
    ]
)
_ENGLISH = frozenset(
    [
        "the",
        "and",
        "of",
        "with",
        "without",
        "no",
        "is",
        "are",
        "was",
        "were",
        "there",
        "in",
        "to",
        "for",
        "at",
        "from",
        "this",
        "that",
        "an",
        "on",
        "by",
        "has",
        "been",
    ]
)


def _resolve(spans: Iterable[_Span]) -> list[_Span]:
    """Spans without overlaps: where two meet they become one, under the tag of the lower rank."""
    chosen: list[_Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.rank)):
        if chosen and span.start < chosen[-1].end:
            last = chosen[-1]
            best = (
                last
                if (last.rank, -(last.end - last.start)) <= (span.rank, -(span.end - span.start))
                else span
            )
            is_same = span.end <= last.end and best is last
            replacement = best.replacement
            if not is_same and not replacement.startswith("["):
                replacement = f"[{best.category}]"  # a moved date fits its own characters only
            chosen[-1] = _Span(last.start, max(last.end, span.end), replacement, best.category, best.rank)
        else:
            chosen.append(span)
    return chosen


def _apply(text: str, spans: list[_Span]) -> str:
    out, pos = [], 0
    for span in spans:
        out += [text[pos : span.start], span.replacement]
        pos = span.end
    return "".join([*out, text[pos:]])


def _pattern_spans(text: str) -> Iterator[_Span]:
    book = _book()
    for category, pattern in book.patterns:
        for match in pattern.finditer(text):
            start, end = match.span("x")
            if category == "NAME":
                start, end = _trim_name(text, start, end, book)
            if category == "INSTITUTION":
                start = _trim_institution(text, start, end, book)
            if start < end:
                yield _Span(start, end, f"[{category}]", category, 2)
    for match in book.given.finditer(text):
        last = _fold(match["last"])[0]
        if last not in book.kept_small or last in book.eponyms:
            yield _Span(*match.span("x"), "[NAME]", "NAME", 2)


def _trim_name(text: str, start: int, end: int, book: _Book) -> tuple[int, int]:
    """The run of words without ordinary words at its ends; empty where the first word is an ordinary one."""
    words = list(re.finditer(r"[^\s,]+", text[start:end]))
    keep: list[re.Match[str]] = []
    for word in words:
        plain = _fold(word.group().strip(".,'’"))[0]
        if plain in book.ordinary or (keep and plain in vocabulary().words and len(plain) > 3):
            break
        keep.append(word)
    if not keep:
        return start, start
    return start + keep[0].start(), start + keep[-1].end()


def _trim_institution(text: str, start: int, end: int, book: _Book) -> int:
    """Without leading words such as `the outside`; nothing where only those and the noun remain."""
    words = list(re.finditer(r"\S+", text[start:end]))
    for n, word in enumerate(words):
        if word.group().lower().strip(".,") not in book.institution_stop:
            is_noun = n == len(words) - 1 or (
                n == len(words) - 2 and words[-1].group() in ("Center", "Centre", "System")
            )
            return end if is_noun and n > 0 else start + word.start()
    return end


def _date_spans(
    text: str, born: date | None, language: str, policy: Policy, pseudonyms: Pseudonyms, patient_id: UUID
) -> Iterator[_Span]:
    mode = policy.profile.dates
    days = pseudonyms.offset_days(patient_id) if mode == "modified" else 0
    for found in dates.find_dates(text, days, language=language, born=born, latest_year=date.today().year):
        if mode == "full" and found.replacement != "[DATE]":
            continue
        yield _Span(found.start, found.end, found.replacement if mode == "modified" else "[DATE]", "DATE", 1)
    for found in dates.find_old_ages(text, language):
        yield _Span(found.start, found.end, found.replacement, "AGE", 1)


def _fold(text: str) -> tuple[str, list[int]]:
    """Lower case without diacritics, and for each character of it the index it comes from."""
    out: list[str] = []
    index: list[int] = []
    for i, char in enumerate(text):
        if char < "\x80":
            folded = char.lower()
        else:
            plain = unicodedata.normalize("NFKD", char.replace("’", "'").replace("ß", "ss").replace("ø", "o"))
            folded = "".join(c for c in plain if not unicodedata.combining(c)).lower()
        out.append(folded)
        index += [i] * len(folded)
    return "".join(out), index


_UMLAUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "ø": "oe", "æ": "ae"}


def _variants(word: str) -> set[str]:
    """A word as it may be written in another place: Müller, Mueller, Muller."""
    low = word.lower()
    folded = _fold(word)[0]
    spelled = _fold("".join(_UMLAUT.get(c, c) for c in low))[0]
    bare = (
        re.sub("(?<=[a-z])([aou])e(?=[a-z])", r"\1", folded)
        if re.search("[aou]e[^aeiou]", folded)
        else folded
    )
    return {folded, spelled, bare} - {""}


def _apart(word: str, gap: str) -> str:
    """A pattern for a word whose characters may be set apart by a gap."""
    return gap.join(re.escape(c) for c in word if c.isalnum())


_B, _E = r"(?<![^\W_])", r"(?![^\W_])"
_NAME_GAP, _ID_GAP, _PHRASE_GAP = r"['\-]?", r"[\s\-./_]?", r"[\s\-.,/'_]*"


class _Known:
    """What the headers say of the person, as patterns over folded text."""

    def __init__(self, identity: Identity) -> None:
        book = _book()
        self.book = book
        self.born = _parse_day(identity.birth_date)
        self.rules: list[tuple[str, re.Pattern[str], str]] = []
        parts = {p for name in identity.names for p in re.split(r"[\^=\s,;.()/]+", name)}
        for part in sorted(parts):
            self._add_name(part)
        for value in (identity.patient_id, identity.accession):
            self._add_id(value)
        self._add_id(identity.study_uid)
        for value in identity.other:
            self._add_other(value)

    def _add_name(self, part: str) -> None:
        plain = _fold(part)[0].strip("'-")
        if len(plain) < 2 or plain in self.book.particles or plain in self.book.nobody or plain.isdigit():
            return
        pattern = "|".join(sorted((_apart(v, _NAME_GAP) for v in _variants(part)), key=len, reverse=True))
        how = "exact" if len(plain) == 2 else "capital" if plain in self.book.kept_small else "any"
        self.rules.append(("NAME", re.compile(f"{_B}(?:{pattern})(?:'?s)?{_E}"), how))

    def _add_id(self, value: str) -> None:
        plain = re.sub(r"[\W_]+", "", _fold(value)[0])
        if len(plain) < 3 or plain in self.book.nobody or plain in self.book.kept_small:
            return
        self.rules.append(("ID", re.compile(f"{_B}{_apart(plain, _ID_GAP)}{_E}"), "any"))

    def _add_other(self, value: str) -> None:
        """An id, telephone number, address or institution: digits as a number, words as a phrase and one by one."""
        if sum(c.isdigit() for c in value) >= 3 and not re.search(r"[^\W\d_]{3}", value):
            if not _parse_day(value):
                self._add_id(value)
            return
        for phrase in re.split(r"[\^,;\n\r=]+", value):
            words = [w for w in re.split(r"[^\w'-]+", phrase) if w]
            strange = [
                w for w in words if _fold(w)[0] not in self.book.kept_small and _fold(w)[0] not in _GENERIC
            ]
            if not strange or len(re.sub(r"\W", "", phrase)) < 3:
                continue
            tag = "ADDRESS" if re.search(r"\d", phrase) and len(words) > 1 else "INSTITUTION"
            pattern = _PHRASE_GAP.join(re.escape(_fold(w)[0]) for w in words)
            self.rules.append((tag, re.compile(f"{_B}{pattern}{_E}"), "any"))
            for word in strange:
                if len(word) >= 4 and not word.isdigit():
                    self.rules.append((tag, re.compile(f"{_B}{re.escape(_fold(word)[0])}{_E}"), "any"))

    def spans(self, text: str) -> Iterator[_Span]:
        """Where the text says something known."""
        folded, index = _fold(text)
        for tag, pattern, how in self.rules:
            for match in pattern.finditer(folded):
                start, end = index[match.start()], index[match.end() - 1] + 1
                if self._counts(text[start:end], how):
                    yield _Span(start, end, f"[{tag}]", tag, 0)

    def _counts(self, found: str, how: str) -> bool:
        if how == "any":
            return True
        if how == "exact":
            return found[:1].isupper()
        return found != found.lower()

    def is_in(self, text: str) -> bool:
        """Whether something known is still in the text; the last look."""
        bare = re.sub(r"\[[A-Z]+\]", " ", text)
        if any(True for _ in self.spans(bare)):
            return True
        if self.born is None:
            return False
        joined = re.sub(r"[\W_]+", "", _fold(bare)[0])
        return any(spelling in joined for spelling in dates.spellings(self.born) if len(spelling) >= 8)


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
        "universitätsklinikum",
        "abteilung",
        "radiologie",
        "institut",
        "praxis",
        "zentrum",
        "str",
        "straße",
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
    ]
)


def _parse_day(value: str) -> date | None:
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", value.strip())
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
