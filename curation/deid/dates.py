"""Dates in running text: found in many forms, moved by the patient's own offset, written back in the same form.

What belongs here: forms of dates and ages in English and German. What does not: dates in DICOM values (actions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from curation.deid.actions import OLDEST_YEARS, move_day

_EN = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DE = [
    "januar",
    "februar",
    "märz",
    "april",
    "mai",
    "juni",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "dezember",
]
_OTHER = {
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "sept": 9,
    "oct": 10,
    "nov": 11,
}
_OTHER |= {"dec": 12, "mär": 3, "mrz": 3, "maerz": 3, "okt": 10, "dez": 12, "jänner": 1, "feber": 2}
MONTHS = {name: n for names in (_EN, _DE) for n, name in enumerate(names, 1)} | _OTHER

_M = "(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + ")"
_Y = r"(?P<year>(?:19|20)\d\d)"
_END = r"(?![\w]|[.,/-]\d)"

_FORMS = [
    rf"(?<![\w.,/-]){_Y}(?P<s1>[-/.])(?P<m>\d\d?)(?P<s2>[-/.])(?P<d>\d\d?){_END}",
    rf"(?<![\w.,-]){_Y}(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?!\d)",
    rf"(?<![\w.,/-])(?P<a>\d\d?)(?P<s1>[/-])(?P<b>\d\d?)(?P<s2>[/-])(?P<year>(?:19|20)?\d\d){_END}",
    rf"(?<![\w.,/-])(?P<d>\d\d?)(?P<s1>\.[ ]?)(?P<m>\d\d?)(?P<s2>\.[ ]?)(?P<year>(?:19|20)\d\d|\d\d){_END}",
    rf"\b{_M}(?P<s1>\.?[ ]+)(?P<d>\d\d?)(?P<o>st|nd|rd|th)?(?P<s2>,?[ ]+){_Y}(?!\w)",
    rf"(?<![\w.])(?P<d>\d\d?)(?P<o>st|nd|rd|th)?(?P<s1>(?:\.|[ ]of)?[ ]*-?){_M}(?P<s2>\.?[ ]*,?-?[ ]*){_Y}(?!\w)",
    rf"(?<![\w.])(?P<d>\d\d?)(?P<s1>-){_M}(?P<s2>-)(?P<year>\d\d)(?!\w)",
    rf"(?<![\w.]){_Y}(?P<s1>[ -]){_M}(?P<s2>[ -])(?P<d>\d\d?)(?!\w)",
    rf"\b{_M}(?P<s1>\.?,?[ ]+(?:of[ ]+)?){_Y}(?!\w)",
    rf"(?<![\w.,/-])(?P<m>0?[1-9]|1[0-2])(?P<s1>[/.]){_Y}{_END}",
]
_SLASHED = 2  # the form whose order of day and month its numbers alone may not show
_PATTERNS = [re.compile(form, re.IGNORECASE) for form in _FORMS]
_YEARLESS = [
    re.compile(rf"\b{_M}\.?[ ]+\d\d?(?:st|nd|rd|th)?(?![\w:]|[.,]\d)", re.IGNORECASE),
    re.compile(rf"(?<![\w.])\d\d?(?:st|nd|rd|th)?\.?[ ]+(?:of[ ]+)?{_M}(?!\w)", re.IGNORECASE),
    re.compile(
        r"\b(?:on|dated|from|since|vom|am|seit)[ ]+(?P<x>(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])|\d\d?\.\d\d?\.)(?![\w/.])"
    ),
]
_LONE_YEAR = re.compile(
    r"\b(?:in|since|from|of|dated|year|until|before|after|circa|about|early|late|study|exam|prior|im|seit|von|vom|jahr|bis|nach)"
    r"[ ]+(?:the year[ ]+|jahr[ ]+)?(?P<x>(?:19|20)\d\d)(?![\w/-]|[.,]\d|[ ]?(?:mm|cm|ml|hu|mg))",
    re.IGNORECASE,
)
_AGE = re.compile(
    r"(?<![\w.,/-])(?P<x>9\d|1[0-2]\d)(?=[ -]*(?:years?\b|yrs?\b|y/?o\b|yo\b|y\.o\.|jahre\b|jährig|j\.))"
    r"|\b(?:age|aged|alter|ages)[ :]+(?P<y>9\d|1[0-2]\d)(?![\w.,/]\d|\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """One date or age in a text: characters start to end, what replaces them, the day where one is known."""

    start: int
    end: int
    replacement: str
    day: date | None


def _same_case(name: str, like: str) -> str:
    return (
        name.upper()
        if like.isupper() and len(like) > 1
        else name.capitalize()
        if like[:1].isupper()
        else name
    )


def _month_like(month: int, like: str) -> str:
    """The month's name in the language and length of the one it replaces."""
    low = like.lower()
    names = (
        _EN
        if low in _EN or (low in _OTHER and low not in ("mär", "mrz", "maerz", "okt", "dez", "mai"))
        else _DE
    )
    name = names[month - 1]
    is_short = low in _OTHER and low not in ("jänner", "feber", "maerz")
    return _same_case(name[:3] if is_short else name, like)


def _year_of(text: str, today: int) -> int:
    year = int(text)
    if len(text) == 4:
        return year
    return 2000 + year if 2000 + year <= today + 1 else 1900 + year


def is_day_first(text: str, language: str, born: date | None, latest_year: int) -> bool:
    """How this text writes 02/10/2023: as its other dates show, else as it writes the birth date, else by its language.

    One author keeps one order: a single 25/12 settles every other date of the text.
    """
    matches = list(_PATTERNS[_SLASHED].finditer(text))
    if any(int(m["a"]) > 12 for m in matches):
        return True
    if any(int(m["b"]) > 12 for m in matches):
        return False
    if born is not None and born.day != born.month:
        written = {
            (int(m["a"]), int(m["b"])) for m in matches if _year_of(m["year"], latest_year) == born.year
        }
        if (born.day, born.month) in written:
            return True
        if (born.month, born.day) in written:
            return False
    return language != "en"


def find_dates(
    text: str, days: int, *, language: str, born: date | None, latest_year: int
) -> Iterator[Found]:
    """Every date of the text. Without a year, or where no such day exists, the replacement is [DATE].

    days: the patient's offset; born: a birth date is always replaced, never moved: nobody shall be told by it.
    """
    day_first = is_day_first(text, language, born, latest_year)
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            day, replacement = _move(match, days, latest_year, day_first=day_first)
            if born is not None and day == born:
                replacement = "[DATE]"
            yield Found(match.start(), match.end(), replacement, day)
    for pattern in _YEARLESS:
        for match in pattern.finditer(text):
            group = "x" if "x" in pattern.groupindex else 0
            yield Found(match.start(group), match.end(group), "[DATE]", None)
    for match in _LONE_YEAR.finditer(text):
        year = int(match["x"]) + round(days / 365.25)
        yield Found(match.start("x"), match.end("x"), str(year), None)


def _move(match: re.Match[str], days: int, latest_year: int, *, day_first: bool) -> tuple[date | None, str]:
    parts = match.groupdict()
    year = _year_of(parts["year"], latest_year)
    swapped = False
    if parts.get("a"):
        # a text may hold another's date in the other order: what cannot be a month is a day
        first, second = int(parts["a"]), int(parts["b"])
        swapped = first > 12 or (day_first and second <= 12)
        day, month = (parts["a"], parts["b"]) if swapped else (parts["b"], parts["a"])
    else:
        day = parts.get("d") or "15"
        month = parts.get("m") or str(MONTHS[parts["month"].lower()])
    original = move_day(year, int(month), int(day), 0)
    moved = move_day(year, int(month), int(day), days)
    if original is None or moved is None:
        return None, "[DATE]"
    return original, _write(match, moved, swapped=swapped)


def _write(match: re.Match[str], moved: date, *, swapped: bool) -> str:
    """The moved day in the form of the match: same order, separators, widths, month names and ordinals."""
    new: list[tuple[int, int, str]] = []
    groups = match.re.groupindex
    values = {"d": moved.day, "m": moved.month, "a": moved.day if swapped else moved.month}
    values["b"] = moved.month if swapped else moved.day
    for name, value in values.items():
        if name in groups and match[name]:
            width = len(match[name]) if match[name][0] == "0" or len(match[name]) == 1 else 1
            is_padded = match[name][0] == "0" or (len(match[name]) == 2 and _pads(match))
            new.append((*match.span(name), f"{value:02d}" if is_padded else f"{value:0{width}d}"))
    new.append((*match.span("year"), f"{moved.year:04d}"[-len(match["year"]) :]))
    if "month" in groups:
        new.append((*match.span("month"), _month_like(moved.month, match["month"])))
    if "o" in groups and match["o"]:
        new.append((*match.span("o"), _ordinal(moved.day)))
    out, pos = [], match.start()
    for start, end, value_text in sorted(new):
        out += [match.string[pos:start], value_text]
        pos = end
    return "".join([*out, match.string[pos : match.end()]])


def _pads(match: re.Match[str]) -> bool:
    """Whether the form pads numbers: nothing in it shows a single digit."""
    numbers = [match[g] for g in ("d", "m", "a", "b") if g in match.re.groupindex and match[g]]
    return all(len(n) == 2 for n in numbers) and "month" not in match.re.groupindex


def _ordinal(day: int) -> str:
    return "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def find_old_ages(text: str, language: str) -> Iterator[Found]:
    """Every age over 89, replaced by words."""
    words = f"{OLDEST_YEARS} oder älter" if language == "de" else f"{OLDEST_YEARS} or over"
    for match in _AGE.finditer(text):
        group = "x" if match["x"] else "y"
        if int(match[group]) >= OLDEST_YEARS:
            yield Found(match.start(group), match.end(group), words, None)


def spellings(day: date) -> list[str]:
    """One day as people write it, letters and digits only, lower case; for the last look after cleaning."""
    y, m, d = day.year, day.month, day.day
    forms = {
        f"{y:04d}{m:02d}{d:02d}",
        f"{d:02d}{m:02d}{y:04d}",
        f"{m:02d}{d:02d}{y:04d}",
        f"{d}{m}{y}",
        f"{m}{d}{y}",
    }
    for names in (_EN, _DE):
        name = names[m - 1]
        for month in {name, name[:3]}:
            forms |= {
                f"{month}{d}{y}",
                f"{d}{month}{y}",
                f"{month}{d:02d}{y}",
                f"{d:02d}{month}{y}",
                f"{y}{month}{d}",
            }
    return sorted(forms)
