"""What is done to one value: dates moved, ages capped, text reduced to safe words, dummies.

What belongs here: functions from bytes (or text) to bytes (or text), without knowledge of tags or files. What does
not: which attribute gets which action (policy), the walk (header), report text (text).
"""

from __future__ import annotations

import csv
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from pydicom.datadict import tag_for_keyword

RULES = Path(__file__).parent / "rules"
OLDEST_YEARS = 90  # 90 means 90 and over

DUMMIES: dict[bytes, bytes] = {
    b"DA": b"19000101",
    b"DT": b"19000101000000",
    b"TM": b"000000",
    b"AS": b"000Y",
    b"CS": b"REMOVED",
    b"DS": b"0",
    b"IS": b"0",
    b"PN": b"REMOVED",
    b"AE": b"REMOVED",
}
"""Dummy by VR (action D); other text becomes REMOVED, numbers become 0."""

_DATE = re.compile(rb"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_DATE_TIME = re.compile(rb"(\d{4})(\d{2})?(\d{2})?(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?([+-]\d{4})?")
_ZONE = re.compile(rb"[+-]\d{4}")
_AGE = re.compile(rb"(\d{3})([DWMY])")
_AGE_DAYS = {b"D": 1, b"W": 7, b"M": 30.44, b"Y": 365.25}


def dummy(vr: bytes) -> bytes:
    """A non-empty value consistent with the VR (PS3.15 E.1, action D)."""
    known = DUMMIES.get(vr)
    if known is not None:
        return known
    if vr in (b"US", b"SS", b"UL", b"SL", b"FL", b"FD", b"SV", b"UV", b"AT", b"OB", b"OW", b"UN"):
        return b"\0" * {b"UL": 4, b"SL": 4, b"FL": 4, b"AT": 4, b"FD": 8, b"SV": 8, b"UV": 8}.get(vr, 2)
    return b"REMOVED"


@cache
def _listed(table: str) -> frozenset[int]:
    with (RULES / table).open(newline="", encoding="utf-8") as file:
        tags = (tag_for_keyword(row["keyword"]) for row in csv.DictReader(file))
        return frozenset(tag for tag in tags if tag is not None)


def emptied(tag: int, vr: bytes) -> bytes:
    """What is written where nothing of a text may stay: nothing, or a dummy where some IOD requires a value."""
    return dummy(vr) if tag in _listed("required.csv") else b""


def goes_when_emptied(tag: int) -> bool:
    """Whether a coded sequence is left out once none of its items may stay: only one of Type 2 may be empty."""
    return tag in _listed("emptied_go.csv")


def shift_date(value: bytes, days: int) -> bytes:
    """DA moved by days; several values and ranges keep their form; anything that is no date gives b""."""
    if b"\\" in value:
        return b"\\".join(shift_date(part, days) for part in value.split(b"\\"))
    plain = value.strip(b" \0")
    if b"-" in plain:
        moved = [shift_date(part, days) if part else b"" for part in plain.split(b"-")]
        return b"-".join(moved) if len(moved) == 2 and any(moved) else b""
    match = _DATE.fullmatch(plain)
    if match is None:
        return b""
    moved_day = move_day(int(match[1]), int(match[2]), int(match[3]), days)
    return moved_day.strftime("%Y%m%d").encode().rjust(8, b"0") if moved_day else b""


def move_day(year: int, month: int, day: int, days: int) -> date | None:
    """The calendar day moved by days; None where there is no such day."""
    try:
        return date.fromordinal(date(year, month, day).toordinal() + days)
    except (ValueError, OverflowError):
        return None


def shift_datetime(value: bytes, days: int, zone: bytes = b"") -> bytes:
    """DT moved by days at the precision it has; anything else gives b"".

    The time zone is dropped. Where the dataset has one (zone, such as b"+0100") and the value has another, the value is
    first told in the dataset's: intervals to its dates and times must survive.
    """
    if b"\\" in value:
        return b"\\".join(shift_datetime(part, days, zone) for part in value.split(b"\\"))
    match = _DATE_TIME.fullmatch(value.strip(b" \0"))
    if match is None:
        return b""
    minutes = _minutes(zone) - _minutes(match[5]) if match[5] and _ZONE.fullmatch(zone.strip(b" \0")) else 0
    clock = match[4] or b""
    if minutes and len(clock) >= 4:
        minutes += 60 * int(clock[:2]) + int(clock[2:4])
        days += minutes // 1440
        clock = b"%02d%02d" % divmod(minutes % 1440, 60) + clock[4:]
    moved = move_day(int(match[1]), int(match[2] or 1), int(match[3] or 1), days)
    if moved is None:
        return b""
    digits = moved.strftime("%Y%m%d").encode().rjust(8, b"0")
    if not match[3]:
        return digits[: 6 if match[2] else 4]
    return digits + clock


def _minutes(zone: bytes) -> int:
    """Minutes east of Greenwich of a zone such as +0130."""
    plain = zone.strip(b" \0")
    return (-1 if plain[:1] == b"-" else 1) * (60 * int(plain[1:3]) + int(plain[3:5]))


def cap_age(value: bytes) -> bytes:
    """AS with more than 89 years as 090Y; anything that is no age gives b""."""
    match = _AGE.fullmatch(value.strip(b" \0"))
    if match is None:
        return b""
    years = int(match[1]) * _AGE_DAYS[match[2]] / 365.25
    return value.strip(b" \0") if years < OLDEST_YEARS else b"090Y"


def birth_date(value: bytes, days: int, study_date: bytes, age: bytes) -> bytes:
    """Birth date moved by days; where the person is 90 or older at the study, the day on which 90 is exact.

    study_date is the original DA of the study, age the original AS. Without a study date, or with an age that
    contradicts it, no birth date is given: its year alone may tell a very old person.
    """
    moved, studied = shift_date(value, days), shift_date(study_date, days)
    if not moved or not studied or len(moved) != 8 or len(studied) != 8:
        return b""
    oldest = b"%04d" % (int(studied[:4]) - OLDEST_YEARS) + studied[4:]
    oldest = oldest[:4] + (b"0228" if oldest[4:] == b"0229" else oldest[4:])
    if moved > studied:
        return b""
    return oldest if moved <= oldest or cap_age(age) == b"090Y" else moved


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and forms of descriptors that are known to be safe (rules/vocabulary.toml)."""

    words: frozenset[str]
    connectors: frozenset[str]
    forms: re.Pattern[str]
    digits: re.Pattern[str]


@cache
def vocabulary() -> Vocabulary:
    """The safe vocabulary, read once a process."""
    book = tomllib.loads((RULES / "vocabulary.toml").read_text(encoding="utf-8"))
    words = frozenset(word.casefold() for group in book["words"].values() for word in group.split())
    forms = re.compile("|".join(f"(?:{form})" for form in book["forms"]), re.IGNORECASE)
    connectors = frozenset(book["words"]["connectors"].split())
    return Vocabulary(words, connectors, forms, re.compile(book["digits"]))


_PIECE = re.compile(r"[^\W_]+(?:[.,][0-9]+)*[^\W_]*|[\W_]+")
_WORD_PARTS = re.compile(r"[A-ZÄÖÜ]?[a-zäöüß]+|[A-ZÄÖÜ]+(?![a-zäöüß])|[0-9]+(?:[.,][0-9]+)?")


def is_safe_word(word: str, known: Vocabulary) -> bool:
    """Whether one word is in the vocabulary, has a safe form, or is made of safe words (HeadRoutine)."""
    folded = word.casefold()
    if folded in known.words or known.forms.fullmatch(word):
        return True
    parts = _WORD_PARTS.findall(word)
    if len(parts) < 2 or "".join(parts) != word or sum(len(p) for p in parts if p.isdigit()) > 3:
        return False
    return all(p[0].isdigit() or (len(p) > 1 and p.casefold() in known.words) for p in parts)


_ENCODED = re.compile(
    r"&#?\w{1,8};|(?:%[0-9A-Fa-f]{2}){2,}|(?:=[0-9A-F]{2}){2,}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}"
)
"""Characters written as numbers: HTML, percent, quoted-printable and program escapes. Nobody describes a series in them."""


def clean_words(text: str) -> str:
    """The words of a descriptor that are known to be safe, in their order; long runs of digits go first."""
    known = vocabulary()
    out: list[str] = []
    gap = ""
    for piece in _PIECE.findall(known.digits.sub(" ", _ENCODED.sub(" ", text))):
        if not (piece[0].isalnum()):
            gap = piece if len(piece) <= 3 and not piece.isspace() else " "
        elif is_safe_word(piece, known):
            out += [gap, piece]
            gap = " "
        else:
            gap = " "
    while out and out[-1].casefold() in known.connectors:
        del out[-2:]
    while out and out[1].casefold() in known.connectors:
        del out[:2]
    return "".join(out[1:])
