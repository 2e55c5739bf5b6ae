"""Dates in running text: found in many forms, moved by the patient's own offset, written back in the same form.

What belongs here: dates made of numbers, spelled birth dates, the order of day and month. What does not: dates with
the words of a language (worded_dates), dates in DICOM values (actions), ages (ages).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from curation.deid.actions import move_day
from curation.deid.calendar_words import Calendar, calendar
from curation.deid.lexicon import LANGUAGES

_Y = r"(?P<year>(?:19|20)\d\d)"
_END = r"(?![^\W\d_]|\d|[.,/]\d(?!\d:\d\d)|-\d(?!\d?[./]\d))"
# a date may follow another: 03/05/2019-03/12/2019, 12./13.03.2021
# on9/17/2013: two small letters may stand before it, for a space was forgotten
_BEGIN = r"(?:(?<![\w.,/-])|(?<=[a-z][a-z])|(?<=[./]\d{4}-)|(?<=[./]\d\d-)|(?<=\d\./))"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?<![\w.,/]){_Y}(?P<s1>[-/.])(?P<m>\d\d?)(?P<s2>[-/.])(?P<d>\d\d?)(?:(?=T\d)|(?![^\W\d_]|\d|[.,/-]\d))",
        r"(?<![\w.,])(?P<year>(?:19|20)\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?=[0-2]\d[0-5]\d[0-5]\d(?:\.\d{1,6})?(?!\d)|[0-2]\d[0-5]\d(?!\d)|(?!\d))",
        rf"{_BEGIN}(?P<a>\d\d?)(?P<s1>[ ]?(?P<mark>[/-])[ ]?)(?P<b>\d\d?)[ ]?(?P=mark)[ ]?(?P<year>(?:19|20)\d\d|\d\d){_END}",
        rf"{_BEGIN}(?P<a>\d\d?)(?P<s1>\.[ ]?)(?P<b>\d\d?)(?P<s2>\.[ ]?)(?P<year>(?:19|20)\d\d|['’]?\d\d(?=[\s,;:)\].–/-]|$)){_END}",
        rf"{_BEGIN}(?P<m>0?[1-9]|1[0-2])(?P<s1>[/.-]){_Y}{_END}",
        rf"(?<![\w.,/-]){_Y}(?P<s1>-)(?P<m>0[1-9]|1[0-2])(?![\w]|[.,/-]\d)",
        r"(?<![\w.,/-])(?P<a>\d\d?)[ ](?P<b>\d\d?)[ ](?P<year>(?:19|20)\d\d)(?![\w]|[.,/-]\d)",
    )
)
_DOTTED = 3
# 12./13.03.2021, 3.-5.3.2021, 03/05-03/07/2021: what stands before a whole date and shares its year
_BEFORE = re.compile(
    r"(?<![\w.,/-])(?P<a>\d\d?)(?P<s1>[./-]|(?=[ ](?:au|al|bis|to)\b))(?:(?P<b>\d\d?)[./-]?)?(?P<s2>[ ]?(?:[-–—/+&]|(?i:bis|to|and|und|through|al|au|y|et)\b)[ ]?(?:(?i:zum|the)[ ])?)$"
)
_YEARLESS_SLASHED = re.compile(
    r"(?:(?<![\w.,/-])|(?<=[a-z][a-z]))(?P<a>\d\d?)(?P<s1>/|\.)(?P<b>\d\d?)(?P<dot>\.?)(?![\w/%]|[.,-]\d|[ ]?(?:mm|cm|ml|mg)\b)"
)
# what stands between the dates of a list: 5/11, 5/13 and 6/2
_IN_LIST = re.compile(r"[ ]?(?:,|&|,?[ ](?:and|und|y|et))[ ]$")
_CUE = re.compile(r"([^\W\d_]+)[.:]?[ ]{0,3}$")
_BARE = re.compile(
    r"(?<![\w.,/-])(?:[1-9][./-](?:[1-9]|[12]\d|3[01])|(?:[12]\d|3[01])[./-][1-9])[./-](?:\d{4}|\d\d)(?![\w]|[.,/-]\d)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One date in a text: characters start to end, what replaces them (None: it cannot be moved), its day if known."""

    start: int
    end: int
    replacement: str | None
    day: date | None


def year_of(text: str, latest_year: int) -> int:
    """A year of two or four digits in full."""
    year = int(text.lstrip("'’"))
    if len(text) == 4:
        return year
    return 2000 + year if 2000 + year <= latest_year + 1 else 1900 + year


def is_day_first(text: str, code: str, born: date | None, latest_year: int) -> bool:
    """How this text writes 02/10/2023: as its other dates show, else as it writes the birth date, else by its language.

    One author keeps one order: a single 25/12 settles every other date of the text.
    """
    matches = list(_FORMS[2].finditer(text))
    if any(int(m["a"]) > 12 for m in matches):
        return True
    if any(int(m["b"]) > 12 for m in matches):
        return False
    if born is not None and born.day != born.month:
        written = {
            (int(m["a"]), int(m["b"])) for m in matches if year_of(m["year"], latest_year) == born.year
        }
        if (born.day, born.month) in written:
            return True
        if (born.month, born.day) in written:
            return False
    return calendar(code).is_day_first


def find_numeric(text: str, days: int, code: str, born: date | None, latest_year: int) -> Iterator[Found]:
    """Every date that is made of digits alone, moved by days."""
    day_first = is_day_first(text, code, born, latest_year)
    words = calendar(code)
    is_bare = _BARE.search(text) is not None
    taken: list[tuple[int, int]] = []
    years: list[int] = []
    has_dotted_months = code == "en" and any(
        12 < int(m["b"]) <= 31 and int(m["a"]) <= 12 for m in _FORMS[_DOTTED].finditer(text)
    )
    for n, pattern in enumerate(_FORMS):
        is_ordered = not has_dotted_months if n == _DOTTED else day_first
        for match in pattern.finditer(text):
            found = _moved(match, days, latest_year, day_first=is_ordered, is_bare=is_bare)
            if found is None:
                continue
            taken.append((found.start, found.end))
            if found.day is not None:
                years.append(found.day.year)
                yield from _first_of_range(text, match, found, days, day_first=is_ordered)
            yield found
    year = max(years, default=latest_year)
    for match in _YEARLESS_SLASHED.finditer(text):
        if not any(start < match.end() and match.start() < end for start, end in taken):
            is_listed = _IN_LIST.search(text, max(match.start() - 8, 0), match.start())
            is_next = is_listed is not None and any(end == is_listed.start() for _, end in taken)
            for found in _yearless(text, match, year, days, words, day_first=day_first, is_cued=is_next):
                taken.append((found.start, found.end))
                yield found


def _moved(
    match: re.Match[str], days: int, latest_year: int, *, day_first: bool, is_bare: bool
) -> Found | None:
    parts = match.groupdict()
    year = year_of(parts["year"], latest_year)
    swapped = False
    if parts.get("a"):
        first, second = int(parts["a"]), int(parts["b"])
        if max(first, second) > 31 or min(first, second) > 12 or not min(first, second):
            # 99/12/15 or 45-10-19 is no date, 31/31/2019 one that was mistyped
            return Found(match.start(), match.end(), None, None) if len(parts["year"]) == 4 else None
        # a text may hold another's date in the other order: what cannot be a month is a day
        swapped = first > 12 or (day_first and second <= 12)
        day, month = (first, second) if swapped else (second, first)
    else:
        day, month = int(parts.get("d") or 15), int(parts["m"])
    original, moved = move_day(year, month, day, 0), move_day(year, month, day, days)
    if original is None or moved is None:
        return Found(match.start(), match.end(), None, None)
    return Found(match.start(), match.end(), _write(match, moved, swapped=swapped, is_bare=is_bare), original)


def _write(match: re.Match[str], moved: date, *, swapped: bool, is_bare: bool) -> str:
    """The moved day in the form of the match: same order, separators and widths.

    12/11/2023 shows no width: `is_bare` says whether the text's other dates go without a leading zero.
    """
    groups = match.re.groupindex
    values = {"d": moved.day, "m": moved.month, "a": moved.day if swapped else moved.month}
    values["b"] = moved.month if swapped else moved.day
    present = [name for name in values if name in groups and match[name]]
    is_padded = any(match[name][0] == "0" for name in present) or (
        not is_bare and all(len(match[name]) == 2 for name in present)
    )
    new = [(*match.span(name), f"{values[name]:02d}" if is_padded else str(values[name])) for name in present]
    new.append((match.end("year") - len(match["year"].lstrip("'’")), match.end("year"),
                f"{moved.year:04d}"[-len(match["year"].lstrip("'’")) :]))  # fmt: skip
    return edit(match.string, match.start(), match.end(), new)


def edit(text: str, start: int, end: int, changes: list[tuple[int, int, str]]) -> str:
    """text[start:end] with some of its stretches replaced."""
    out, pos = [], start
    for first, last, new in sorted(changes):
        out += [text[pos:first], new]
        pos = last
    return "".join([*out, text[pos:end]])


def _first_of_range(
    text: str, match: re.Match[str], found: Found, days: int, *, day_first: bool
) -> Iterator[Found]:
    """The first day of a range that names its year only at the end."""
    low = max(match.start() - 14, 0)
    before = _BEFORE.search(text, low, match.start())
    if before is None or found.day is None:
        return
    first, second = int(before["a"]), int(before["b"] or 0)
    day, month = (
        (first, second or found.day.month) if day_first or not second or first > 12 else (second, first)
    )
    moved = move_day(found.day.year, month, day, days)
    if moved is None or not found.replacement:
        return
    width = len(before["a"])
    if second:
        values = (moved.day, moved.month) if day_first or first > 12 else (moved.month, moved.day)
        new = [
            (*before.span("a"), f"{values[0]:0{width}d}"),
            (*before.span("b"), f"{values[1]:0{len(before['b'])}d}"),
        ]
        end = before.end("b")
    else:
        new, end = [(*before.span("a"), f"{moved.day:0{width}d}")], before.end("a")
    yield Found(before.start("a"), end, edit(text, before.start("a"), end, new), None)


def _yearless(
    text: str, match: re.Match[str], year: int, days: int, words: Calendar, *,
    day_first: bool, is_cued: bool,
) -> Iterator[Found]:  # fmt: skip
    """5.3. and `on 3/5`: a day and a month without a year, where a word before it or its closing dot says date."""
    first, second = int(match["a"]), int(match["b"])
    cue = _CUE.search(text, max(match.start() - 24, 0), match.start())
    word = cue[1].lower() if cue is not None else ""
    is_cued = is_cued or word in words.day_cues or word in words.weekdays
    is_dotted = match["s1"] == "."
    if is_dotted and (not match["dot"] or (len(match["b"]) != 2 and not is_cued)):
        return
    # 03/19 is March 2019 where days are written with dots, or where 19 can be no month
    is_month = words.is_day_first and len(match["b"]) == 2 and (words.has_dots or second > 12)
    is_month = is_month and word in words.day_cues | words.year_cues
    if is_month and not is_dotted and 0 < first <= 12 and 2000 + second <= year + 1:
        moved = move_day(2000 + second, first, 15, days)
        if moved is not None:
            new = [
                (*match.span("a"), f"{moved.month:0{len(match['a'])}d}"),
                (*match.span("b"), f"{moved.year % 100:02d}"),
            ]
            yield Found(match.start(), match.end(), edit(text, match.start(), match.end(), new), None)
            return
    if not is_cued and not (is_dotted and len(match["a"]) == 2 and words.is_day_first):
        return
    day, month = (
        (first, second) if (day_first or is_dotted or first > 12) and second <= 12 else (second, first)
    )
    moved = move_day(year, month, day, days) if 0 < month <= 12 else None
    if moved is None:
        if is_cued and max(first, second) <= 31 and min(first, second) <= 12:
            yield Found(match.start(), match.end(), None, None)
        return
    values = (moved.day, moved.month) if day == first else (moved.month, moved.day)
    # 12.7. has no leading zeros
    is_padded = len(match["a"]) == len(match["b"]) == 2
    new = [
        (*match.span(name), f"{value:02d}" if is_padded else str(value))
        for name, value in zip("ab", values, strict=True)
    ]
    yield Found(match.start(), match.end(), edit(text, match.start(), match.end(), new), None)


def spellings(day: date) -> list[str]:
    """One day as people write it, letters and digits only, folded; for the last look after cleaning."""
    y, m, d = day.year, day.month, day.day
    forms = {
        f"{y:04d}{m:02d}{d:02d}",
        f"{d:02d}{m:02d}{y:04d}",
        f"{m:02d}{d:02d}{y:04d}",
        f"{d}{m}{y}",
        f"{m}{d}{y}",
    }
    for code in LANGUAGES:
        for name, word in calendar(code).months.items():
            if word.number == m:
                for number in {str(d), f"{d:02d}"}:
                    forms |= {
                        f"{name}{number}{y}",
                        f"{number}{name}{y}",
                        f"{y}{name}{number}",
                        f"{number}de{name}de{y}",
                    }
                    forms |= {f"{number}of{name}{y}", f"{name}{number}th{y}", f"{number}th{name}{y}"}
    return sorted(forms)
