"""Dates with the words of a language: months, weekdays, lone years after a cue; and ages over 89.

What belongs here: what a month's or weekday's name makes a date of, and ages. What does not: dates of digits (dates).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache

from curation.deid.actions import OLDEST_YEARS, move_day
from curation.deid.calendar_words import Calendar, Word, calendar, rewrite
from curation.deid.dates import Found, edit, year_of
from curation.deid.lexicon import iter_books
from curation.deid.spelling import fold

_LETTERS = re.compile(r"[^\W\d_]+")
_DAY_LEFT = re.compile(
    r"(?<![\w.,/])(?:(?P<d1>\d\d?)(?P<o1>st|nd|rd|th|er|º|ª|°|\.)?(?P<to>[ ]?(?:[-–—/&]|to|and|und|bis|al|y|et|au|through)[ ]?(?:the[ ]|zum[ ]|el[ ]|le[ ])?))?"
    r"(?P<d>\d\d?)(?P<o>st|nd|rd|th|er|º|ª|°|\.)?(?P<s>[ ]?(?:day[ ])?(?:of[ ]|de[ ]|d['’])?[ ]?|[ ]?[-/.][ ]?)$"
)
_YEAR_LEFT = re.compile(r"(?<![\w.,/])(?P<year>(?:19|20)\d\d)(?P<s>[ ,/-]{1,3})$")
_YEAR_RIGHT = re.compile(
    r"\.?(?P<s>[ ]?(?:,[ ]?)?(?:of[ ]|de[ ]|del[ ](?:año[ ])?|['’])?|[ ]?[-/.][ ]?)(?P<year>(?:19|20)\d\d)(?![\w]|[.,/-]\d)"
)
_SHORT_YEAR_RIGHT = re.compile(
    r"\.?(?P<s>[ ]?[-/][ ]?|[ ]?['’]|[ ](?=\d\d(?:[\s,.;)]|$))|(?=\d))(?P<year>\d\d)(?![\w]|[.,/-]\d|[ ]?(?:mm|cm|ml|mg|%|h|:))"
)
_DAY_RIGHT = re.compile(
    r"\.?[ -]{1,2}(?:the[ ])?(?P<d>\d\d?)(?P<o>st|nd|rd|th)?(?:(?P<to>[ ]?(?:[-–—/&]|to|and|through)[ ]?(?:the[ ])?)(?P<d1>\d\d?)(?P<o1>st|nd|rd|th)?)?(?![\w:%]|[.,/]\d|[ ]?(?:mm|cm|ml|mg|hu|months?|days?|weeks?)\b)"
)
_YEAR_AFTER_DAY = re.compile(
    r"(?P<s>,?[ ]{1,2}(?:of[ ])?|[-/])(?P<year>(?:19|20)\d\d|['’]\d\d)(?![\w]|[.,/-]\d)"
)
_LONE_YEAR = re.compile(
    r"(?<![\w.,/'’-])(?P<year>(?:19|20)\d\d)(?:(?P<to>[ ]?(?:[-–—/]|and|und|y|et|to|until|through|till|bis|a|al|hasta|à)[ ]?)(?P<year2>(?:19|20)\d\d))?(?![\w/-]|[.,]\d|[ ]?(?:mm|cm|ml|hu|mg|mgy))",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"([^\W\d_]+)[.:]?[ ]{1,3}(?:the[ ]year[ ]|jahr[ ]|jahre[ ]|año[ ]|année[ ]|el[ ]|l['’])?$", re.IGNORECASE
)
_ORDINAL = re.compile(
    r",?[ ](?:the|der|den|dem|el|le)?[ ]?(?P<d>\d\d?)(?P<o>st|nd|rd|th|er|\.)?(?![\w:%/-]|[.,]\d|[ ]?(?:mm|cm))"
)
_MODAL = frozenset(
    [
        "may",
        "march",
        "mar",
        "set",
        "out",
        "juin",
        "mars",
        "jan",
        "dec",
        "sat",
        "sun",
        "mon",
        "do",
        "mi",
        "so",
        "sa",
        "mer",
        "ven",
        "dim",
        "lun",
        "jue",
        "vie",
    ]
)


def find_worded(text: str, days: int, code: str, latest_year: int, year: int) -> Iterator[Found]:
    """Every date that a month's or weekday's name makes, moved by days. `year` stands in where none is written."""
    words = calendar(code)
    for match in _LETTERS.finditer(text):
        low = fold(match.group())
        month = words.months.get(low)
        if month is not None:
            yield from _around_month(text, match, month, days, latest_year, year, words)
        weekday = words.weekdays.get(low)
        if weekday is not None:
            yield from _weekday(text, match, weekday, days, low)
    for match in _LONE_YEAR.finditer(text):
        yield from _lone_year(text, match, words, days, latest_year)


def _around_month(
    text: str, match: re.Match[str], month: Word, days: int, latest_year: int, year: int, words: Calendar
) -> Iterator[Found]:
    """The date whose month this is; nothing where no day and no year stand beside it."""
    start, end = match.span()
    low = max(start - 26, 0)
    left = _DAY_LEFT.search(text, low, start)
    right_year = _YEAR_RIGHT.match(text, end)
    if left is not None:
        short = right_year or _SHORT_YEAR_RIGHT.match(text, end)
        if short is None and not _is_sure(match.group(), month):
            return
        yield _write(text, match, month, days, latest_year, year, left, short)
        return
    if right_year is not None:
        yield _write(text, match, month, days, latest_year, year, None, right_year)
        return
    right = _DAY_RIGHT.match(text, end)
    if right is not None:
        after = _YEAR_AFTER_DAY.match(text, right.end())
        before = _YEAR_LEFT.search(text, low, start)
        if after is None and before is None and not _is_sure(match.group(), month):
            return
        yield _write(text, match, month, days, latest_year, year, right, after or before)
        return
    cue = _CUE.search(text, low, start)
    is_named = text[end : end + 1] not in "-'’" or end == len(text)
    is_named = (
        is_named and not month.is_short and (match.group()[0].isupper() or fold(match.group()) not in _MODAL)
    )
    if cue is not None and fold(cue[1]) in words.month_cues and is_named:
        yield _write(text, match, month, days, latest_year, year, None, None)


def _is_sure(word: str, month: Word) -> bool:
    """Whether the word is a month without a year beside it: `may 5` and `set 3` are not."""
    return fold(word) not in _MODAL or (word[0].isupper() and not (month.is_short and word.isupper()))


def _write(
    text: str, word: re.Match[str], month: Word, days: int, latest_year: int, year: int,
    day: re.Match[str] | None, years: re.Match[str] | None,
) -> Found:  # fmt: skip
    """The date of a month's name with the day and year beside it, moved, in the same form."""
    parts = [m for m in (day, years) if m is not None]
    start = min([word.start(), *(_first(m) for m in parts)])
    end = max([word.end(), *(_last(m) for m in parts)])
    full = year_of(years["year"].lstrip("'’"), latest_year) if years is not None else year
    number = int(day["d"]) if day is not None else 15
    original, moved = move_day(full, month.number, number, 0), move_day(full, month.number, number, days)
    if original is None or moved is None:
        return Found(start, end, None, None)
    new = [(*word.span(), rewrite(month, moved.month, word.group()))]
    if day is not None:
        new += _day_changes(day, "d", "o", moved)
        if day["d1"]:
            other = move_day(full, month.number, int(day["d1"]), days)
            new += _day_changes(day, "d1", "o1", other or moved)
    if years is not None:
        mark = (
            years["year"][:-4]
            if len(years["year"]) > 4
            else years["year"][:-2]
            if years["year"][0] in "'’"
            else ""
        )
        width = len(years["year"]) - len(mark)
        new.append((*years.span("year"), mark + f"{moved.year:04d}"[-width:]))
    written = edit(text, start, end, new)
    same = fold(written) == fold(
        text[start:end]
    )  # an offset of whole years leaves a day without a year where it was
    return Found(
        start, end, None if same else written, original if years is not None and day is not None else None
    )


def _first(match: re.Match[str]) -> int:
    return min(match.start(g) for g in ("d1", "d", "year") if g in match.re.groupindex and match[g])


def _last(match: re.Match[str]) -> int:
    return max(match.end(g) for g in ("d1", "o1", "d", "o", "year") if g in match.re.groupindex and match[g])


def _day_changes(match: re.Match[str], group: str, ordinal: str, moved: date) -> list[tuple[int, int, str]]:
    width = 2 if match[group][0] == "0" else 1
    changes = [(*match.span(group), f"{moved.day:0{width}d}")]
    if match[ordinal] in ("st", "nd", "rd", "th"):
        changes.append((*match.span(ordinal), _ordinal(moved.day)))
    return changes


def _ordinal(day: int) -> str:
    return "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _weekday(text: str, match: re.Match[str], word: Word, days: int, low: str) -> Iterator[Found]:
    """The name of a weekday, moved; short names only beside a number that may be a day."""
    follower = _ORDINAL.match(text, match.end())
    beside = re.match(r"[.,]{0,2}[ ]?(?:der[ ]|den[ ]|the[ ])?\d", text[match.end() : match.end() + 8])
    if (word.is_short or low in _MODAL) and (beside is None or not match.group()[0].isupper()):
        return
    if (
        word.is_short
        and len(match.group()) < 3
        and not re.match(r"[.,]{0,2}[ ]?(?:der[ ]|den[ ])?\d\d?\.\d", text[match.end() : match.end() + 14])
    ):
        return
    number = (word.number - 1 + days) % 7 + 1
    name = rewrite(word, number, match.group()) if number != word.number else None
    yield Found(match.start(), match.end(), name, None)
    if follower is not None and not word.is_short and not _LETTERS.match(text, follower.end() + 1):
        day = (int(follower["d"]) - 1 + days) % 28 + 1
        new = [(*follower.span("d"), str(day))]
        if follower["o"] in ("st", "nd", "rd", "th"):
            new.append((*follower.span("o"), _ordinal(day)))
        end = follower.end("o") if follower["o"] else follower.end("d")
        yield Found(follower.start("d"), end, edit(text, follower.start("d"), end, new), None)


def _lone_year(
    text: str, match: re.Match[str], words: Calendar, days: int, latest_year: int
) -> Iterator[Found]:
    """A year after a word that makes it one: `since 2016`."""
    cue = _CUE.search(text, max(match.start() - 30, 0), match.start())
    if int(match["year"]) > latest_year + 1 or cue is None:
        return
    if fold(cue[1]) not in words.year_cues and fold(cue[1]) not in words.months:
        return
    change = round(days / 365.25)
    new = [(*match.span("year"), str(int(match["year"]) + change))]
    if match["year2"]:
        new.append((*match.span("year2"), str(int(match["year2"]) + change)))
    yield Found(match.start(), match.end(), edit(text, match.start(), match.end(), new), None)


@cache
def _age_patterns(code: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    found = []
    for book in iter_books(code):
        ages: Mapping[str, str] = book["ages"]
        number = r"(?:9\d|1[0-4]\d)"
        words = "|".join(sorted(ages["in_words"].split("|"), key=len, reverse=True))
        found += [
            (
                re.compile(
                    rf"(?<![\w.,/-])(?P<x>{number})(?=[ -]{{0,3}}(?:{ages['after']})(?![a-z]))", re.IGNORECASE
                ),
                ages["oldest"],
            ),
            (
                re.compile(
                    rf"(?<!\w)(?:{ages['before']})(?:[ ]?(?:\([a-z/]{{1,8}}\)|is|was|at|of|von|de))?[ :=.]{{1,4}}(?P<x>{number})(?![\w,/]|[.]\d|[ ]?(?:mm|cm))",
                    re.IGNORECASE,
                ),
                ages["oldest"],
            ),
            (
                re.compile(
                    rf"(?<!\w)(?P<x>{words})(?=[ -]{{1,2}}(?:{ages['in_words_after']})(?!\w)|(?<=arian)|(?<=ari[oa])|(?<=aire))",
                    re.IGNORECASE,
                ),
                ages["oldest"],
            ),
            (
                re.compile(
                    rf"(?<![\w.,/-])(?P<x>{number})(?=[ ]?[/-]?[ ]?(?:[MF]|yo[mf]?|y[ /.]o|ans|a|J)(?![\w.]))"
                ),
                ages["oldest"],
            ),
        ]
    return tuple(found)


def find_old_ages(text: str, code: str) -> Iterator[Found]:
    """Every age over 89, replaced by words that say no more."""
    for pattern, oldest in _age_patterns(code):
        for match in pattern.finditer(text):
            if not match["x"].isdigit() or int(match["x"]) >= OLDEST_YEARS:
                yield Found(match.start("x"), match.end("x"), oldest, None)
