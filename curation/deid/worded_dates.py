"""Dates with the words of a language: months, weekdays, lone years after a cue.

What belongs here: what a month's or weekday's name makes a date of. What does not: dates of digits (dates), ages (ages).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from curation.deid.actions import move_day
from curation.deid.calendar_words import Calendar, Word, calendar, rewrite
from curation.deid.dates import Found, edit, year_of
from curation.deid.spelling import fold

_LETTERS = re.compile(r"[^\W\d_]+")
_DAY_LEFT = re.compile(
    r"(?<![\w.,/])(?:(?P<d1>\d\d?)(?P<o1>st|nd|rd|th|er|ère|\.?º|ª|°|t?e[nrs]?(?=[ ])|\.)?(?P<to>[ ]?(?:[-–—/&]|to|and|und|bis|al|y|et|au|through)[ ]?(?:the[ ]|zum[ ]|el[ ]|le[ ])?))?"
    r"(?P<d>\d\d?)(?P<o>st|nd|rd|th|er|ère|\.?º|ª|°|t?e[nrs]?(?=[ ])|\.)?(?P<s>[ ]?(?:day[ ])?(?:of[ ]|de[ ]|d['’])?[ ]?|[-/]|\.[ ]?)$"
)
_YEAR_LEFT = re.compile(r"(?<![\w.,/])(?P<year>(?:19|20)\d\d)(?P<s>[ ,/-]{1,3})$")
_YEAR_RIGHT = re.compile(
    r"\.?(?P<s>[ ]?(?:,[ ]?)?(?:of[ ](?:the[ ]year[ ])?|de[ ](?:l['’]année[ ]|l['’]an[ ])?|del?[ ](?:año[ ])?|des[ ]Jahres[ ]|im[ ]Jahre?[ ]|['’])?|[ ]?[-/.][ ]?)(?P<year>(?:19|20)\d\d)(?![\w]|[.,/-]\d)"
)
_SHORT_YEAR_RIGHT = re.compile(
    r"\.?(?P<s>[ ]?[-/][ ]?|[ ]?['’]|[ ](?=\d\d(?:[\s,.;)]|$))|(?=\d))(?P<year>\d\d)(?![\w]|[.,/-]\d|[ ]?(?:mm|cm|ml|mg|%|h\b|:\d))"
)
_DAY_RIGHT = re.compile(
    r"\.?(?:[ -]{1,2}(?:the[ ])?|/)(?P<d>\d\d?)(?P<o>st|nd|rd|th)?(?:(?P<to>[ ]?(?:[-–—/&]|to|and|through)[ ]?(?:the[ ])?)(?P<d1>\d\d?)(?P<o1>st|nd|rd|th)?)?(?![\w:%]|[.,]\d|/\d(?!\d{3}(?!\d))|[ ]?(?:mm|cm|ml|mg|hu|months?|days?|weeks?)\b)"
)
_YEAR_AFTER_DAY = re.compile(
    r"(?P<s>,?[ ]{1,2}(?:of[ ])?|[-/])(?P<year>(?:19|20)\d\d|['’]\d\d|(?<=[-/])\d\d)(?![\w]|[.,/-]\d)"
)
_LONE_YEAR = re.compile(
    r"(?<![\w.,/'’-])(?P<year>(?:19|20)\d\d)(?:(?P<to>[ ]?(?:[-–—/]|and|und|y|et|to|until|through|till|bis|a|al|hasta|à)[ ]?)(?P<year2>(?:19|20)\d\d))?(?![\w/-]|[.,]\d|[ ]?(?:mm|cm|ml|hu|mg|mgy))",
    re.IGNORECASE,
)
# Jun '18, mar-19: a month and the last two digits of its year
_SHORT_YEAR_OF_MONTH = re.compile(
    r"\.?(?P<s>[ ]?['’]|-)(?P<year>\d\d)(?![\w-]|[.,/:]\d|['’]|[ ]?(?:mm|cm|ml|mg|%|h\b))"
)
# May and June 2018
_MONTH_LINK = re.compile(r"[ ]?(?:[-–/,&]|and\b|und\b|bis\b|to\b|y\b|al?\b|et\b|au\b|à\b)[ ]?", re.IGNORECASE)
_DOTTED = re.compile(r"\.[ ]?\d")
_PADDED = re.compile(r"(?<![\w.,/:-])0[1-9](?:\.|er)?[ -]?(?:de[ ]|of[ ])?(?P<m>[^\W\d_]{3,})")
# Thursday, 7 November; ven. 01/08/2014; Mi, den 3.4.
_TO_DATE = re.compile(r"\.?,?[ ]{0,2}(?:(?:the|der|den|dem|el|día|le|dated)[ ])?", re.IGNORECASE)
_CUE = re.compile(
    r"([^\W\d_]+)[.:]?[ -]{1,3}(?:the[ ]year[ ]|jahr[ ]|jahre[ ]|año[ ]|année[ ]|el[ ]|l['’])?$",
    re.IGNORECASE,
)
# 2014, 2016 and 2018
_YEAR_LINK = re.compile(
    r",?[ ]?(?:and|und|y|et|or|oder|o|ou|sowie|&)?[ ]?(?:in[ ]|im[ ]|en[ ])?", re.IGNORECASE
)
# what is done once and said with its year: appendectomy 2009, Mammographie 2017
_DONE = re.compile(
    r"(?:ectom(?:y|ie|ía|ia)|otom(?:y|ie|ía|ia)|ostom(?:y|ie|ía|ia)|plast(?:y|ie|ik|ia)|graph(?:y|ie)|grafía|gram|gramm|gramme|skopie|scop(?:y|ie|ia)|operation|cirugia|chirurgie|surgery|diagnose|erstdiagnose|diagnosed|bypass|cabg|implantation|transplant\w*|resektion|resection|resec+ion|radiatio|fraktur|fracture|fractura|replacement|ersatz)$"
)
_DONE_BEFORE = re.compile(
    r"([^\W\d_]+)[,:]?[ ]{1,2}(?:(?:links|rechts|bds|left|right|bilateral|izquierda|derecha|gauche|droite)\.?,?[ ])?\(?$"
)
_STUDY_AFTER = re.compile(
    r"[ ](?:CT|MRI?|PET|MRT|TC|RM|IRM|scans?|stud(?:y|ies)|exam(?:ination)?s?|radiographs?|mammograms?|films?|ultrasound|biopsy|surgery)\b"
)
_WORD_BEFORE = re.compile(r"([^\W\d_]+)[ ]{1,3}$")
_ORDINAL = re.compile(
    r",?[ ](?:the|der|den|dem|el|le)?[ ]?(?P<d>\d\d?)(?P<o>st|nd|rd|th|er|\.)?(?![\w:%/-]|[.,]\d|[ ]?(?:mm|cm))"
)
_MODAL_ABROAD = frozenset(["set", "mar", "out"])
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


@dataclass(frozen=True, slots=True)
class Hand:
    """How one text is written and what its dates hang on."""

    days: int
    latest_year: int
    years: Sequence[tuple[int, int]]
    """(where, year) of the dates of the text that say their year."""
    words: Calendar
    is_padded: bool
    """Whether days below ten have a leading zero: 05 March."""
    has_short: bool
    """Whether months are abbreviated where that shows: May is not, Jan and January are."""

    def year_near(self, position: int) -> int:
        """The year for a date that says none: that of the nearest date that does."""
        near = min(self.years, key=lambda y: abs(y[0] - position), default=None)
        return self.latest_year if near is None else near[1]


def find_worded(text: str, days: int, code: str, latest_year: int, numeric: Sequence[Found]) -> list[Found]:
    """Every date that a month's or weekday's name makes, moved by days. `numeric` are the dates of digits."""
    words = calendar(code)
    letters = [(match, fold(match.group())) for match in _LETTERS.finditer(text)]
    months = [(match, words.months[low]) for match, low in letters if low in words.months]
    shown = [m for match, m in months if fold(match.group()) not in words.long_and_short]
    hand = Hand(
        days=days,
        latest_year=latest_year,
        years=[(f.start, f.day.year) for f in numeric if f.day is not None and latest_year - f.day.year < 25],
        words=words,
        is_padded=any(fold(m["m"]) in words.months for m in _PADDED.finditer(text)),
        has_short=bool(shown) and all(m.is_short for m in shown),
    )
    whole = [f for match, month in months for f in _around_month(text, match, month, hand)]
    years = [(f.start, f.day.year) for f in whole if f.day is not None]
    if years and any(f.day is None for f in whole):
        hand = replace(hand, years=[*hand.years, *years])
        whole = [f for match, month in months for f in _around_month(text, match, month, hand)]
    starts = {f.start for f in whole} | {f.start for f in numeric}
    for match, low in letters:
        if low in words.weekdays:
            whole += _weekday(text, match, words.weekdays[low], hand, starts)
    last = -1
    for match in _LONE_YEAR.finditer(text):
        goes_on = last >= 0 and _YEAR_LINK.fullmatch(text, last, match.start()) is not None
        found = list(_lone_year(text, match, words, days, latest_year, goes_on=goes_on))
        last = match.end() if found else -1
        whole += found
    return whole


def _around_month(text: str, match: re.Match[str], month: Word, hand: Hand) -> Iterator[Found]:
    """The date whose month this is; nothing where no day and no year stand beside it."""
    start, end = match.span()
    low = max(start - 26, 0)
    left = _DAY_LEFT.search(text, low, start)
    right_year = _YEAR_RIGHT.match(text, end)
    if left is not None:
        short = right_year or _SHORT_YEAR_RIGHT.match(text, end)
        if short is None and not _is_sure(match.group(), month):
            return
        yield _write(text, match, month, hand, left, short)
        return
    if right_year is not None:
        yield _write(text, match, month, hand, None, right_year)
        return
    short_year = _SHORT_YEAR_OF_MONTH.match(text, end)
    if (
        short_year is not None
        and _YEAR_LEFT.search(text, low, start) is None
        and (
            int(short_year["year"]) + 2000 <= hand.latest_year and (month.is_short or short_year["s"] != "-")
        )
    ):
        yield _write(text, match, month, hand, None, short_year)
        return
    right = _DAY_RIGHT.match(text, end)
    if right is not None:
        after = _YEAR_AFTER_DAY.match(text, right.end())
        before = _YEAR_LEFT.search(text, low, start)
        if after is None and before is None and not _is_sure(match.group(), month):
            return
        yield _write(text, match, month, hand, right, after or before)
        return
    cue = _CUE.search(text, low, start)
    link = _MONTH_LINK.match(text, end)
    other = None if link is None else _LETTERS.match(text, link.end())
    if (
        other is not None
        and fold(other.group()) in hand.words.months
        and _YEAR_RIGHT.match(text, other.end())
    ):
        yield _write(text, match, month, hand, None, None)
        return
    is_named = text[end : end + 1] not in "-'’" or end == len(text)
    is_named = (
        is_named and not month.is_short and (match.group()[0].isupper() or fold(match.group()) not in _MODAL)
    )
    if cue is not None and fold(cue[1]) in hand.words.month_cues and is_named:
        yield _write(text, match, month, hand, None, None)


def _is_sure(word: str, month: Word) -> bool:
    """Whether the word is a month without a year beside it: `may 5` and `set 3` are not."""
    is_modal = fold(word) in (_MODAL if month.names[0] in ("january", "jan") else _MODAL_ABROAD)
    return not is_modal or (word[0].isupper() and not (month.is_short and word.isupper()))


def _write(
    text: str, word: re.Match[str], month: Word, hand: Hand, day: re.Match[str] | None, years: re.Match[str] | None
) -> Found:  # fmt: skip
    """The date of a month's name with the day and year beside it, moved, in the same form."""
    parts = [m for m in (day, years) if m is not None]
    start = min([word.start(), *(_first(m) for m in parts)])
    end = max([word.end(), *(_last(m) for m in parts)])
    full = year_of(years["year"], hand.latest_year) if years is not None else hand.year_near(start)
    number = int(day["d"]) if day is not None else 15
    original, moved = move_day(full, month.number, number, 0), move_day(full, month.number, number, hand.days)
    if original is None or moved is None:
        return Found(start, end, None, None)
    is_tight = start < word.start() and re.match(r"[-/\d]", text[word.start() - 1]) is not None
    is_tight = is_tight or (word.end() < end and text[word.end()] in "-/")
    new = [
        (*word.span(), rewrite(_as_written(word, month, hand, is_tight=is_tight), moved.month, word.group()))
    ]
    if day is not None:
        is_padded = hand.is_padded or (is_tight and len(day["d"]) == 2)
        is_french = fold(month.names[-1]) in ("decembre", "dec") and month.names[0].startswith("janv")
        is_french = is_french and not is_tight and not day["d"].startswith("0")
        new += _day_changes(day, "d", "o", moved, is_padded=is_padded, is_french=is_french)
        if day["d1"]:
            other = move_day(full, month.number, int(day["d1"]), hand.days)
            new += _day_changes(day, "d1", "o1", other or moved, is_padded=is_padded, is_french=is_french)
    if years is not None:
        digits = years["year"].lstrip("'’")
        new.append((years.end("year") - len(digits), years.end("year"), f"{moved.year:04d}"[-len(digits) :]))
    written = edit(text, start, end, new)
    # an offset of whole years leaves a day without a year where it was
    same = fold(written) == fold(text[start:end])
    return Found(start, end, None if same else written, original if years is not None else None)


def _as_written(word: re.Match[str], month: Word, hand: Hand, *, is_tight: bool) -> Word:
    """The month whose other names are as long: May and Mai are long and short at once."""
    short = hand.words.short_of(fold(word.group()))
    is_short = hand.has_short or is_tight or _DOTTED.match(word.string, word.end()) is not None
    return short if short is not None and is_short else month


def _first(match: re.Match[str]) -> int:
    return min(match.start(g) for g in ("d1", "d", "year") if g in match.re.groupindex and match[g])


def _last(match: re.Match[str]) -> int:
    return max(match.end(g) for g in ("d1", "o1", "d", "o", "year") if g in match.re.groupindex and match[g])


def _day_changes(
    match: re.Match[str], group: str, ordinal: str, moved: date, *, is_padded: bool, is_french: bool
) -> list[tuple[int, int, str]]:
    width = 2 if match[group][0] == "0" or (is_padded and len(match[group]) == 2) else 1
    changes = [(*match.span(group), f"{moved.day:0{width}d}")]
    if match[ordinal] in ("st", "nd", "rd", "th"):
        changes.append((*match.span(ordinal), _ordinal(moved.day)))
    elif match[ordinal] in ("er", "ère") and moved.day != 1:
        changes.append((*match.span(ordinal), ""))  # French has one ordinal, 1er
    elif not match[ordinal] and moved.day == 1 and is_french:
        changes.append((match.end(group), match.end(group), "er"))
    return changes


def _ordinal(day: int) -> str:
    return "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _weekday(
    text: str, match: re.Match[str], word: Word, hand: Hand, starts: Container[int]
) -> Iterator[Found]:
    """The name of a weekday, moved; a short name, or one that is a word too, only before a date."""
    lead = _TO_DATE.match(text, match.end())
    is_before_date = lead is not None and lead.end() in starts
    if (word.is_short or fold(match.group()) in _MODAL) and not is_before_date:
        return
    number = (word.number - 1 + hand.days) % 7 + 1
    # a weekday by itself that stays what it was is no longer shown
    is_shown = is_before_date or number != word.number
    name = rewrite(word, number, match.group()) if is_shown else None
    yield Found(match.start(), match.end(), name, None)
    follower = _ORDINAL.match(text, match.end())
    if follower is not None and not is_before_date and not _LETTERS.match(text, follower.end() + 1):
        day = (int(follower["d"]) - 1 + hand.days) % 28 + 1
        new = [(*follower.span("d"), str(day))]
        if follower["o"] in ("st", "nd", "rd", "th"):
            new.append((*follower.span("o"), _ordinal(day)))
        end = follower.end("o") if follower["o"] else follower.end("d")
        yield Found(follower.start("d"), end, edit(text, follower.start("d"), end, new), None)


def _lone_year(
    text: str, match: re.Match[str], words: Calendar, days: int, latest_year: int, *, goes_on: bool
) -> Iterator[Found]:
    """A year by what stands beside it: `since 2016`, `appendectomy 2009`, `(2012)`, `the 2016 CT`; or in a row of them."""
    low = max(match.start() - 30, 0)
    cue = _CUE.search(text, low, match.start())
    if cue is not None and fold(cue[1]) not in words.year_cues:
        cue = _WORD_BEFORE.search(text, low, match.start())  # `en el año 2004`, whatever stands before `año`
    if int(match["year"]) > latest_year + 1:
        return
    word = fold(cue[1]) if cue is not None else ""
    is_beside = text[match.start() - 1 : match.start()] == "(" and text[match.end() : match.end() + 1] == ")"
    before = _DONE_BEFORE.search(text, low, match.start())
    is_beside = is_beside and before is not None and _DONE.search(fold(before[1])) is not None
    is_beside = is_beside or _STUDY_AFTER.match(text, match.end()) is not None
    is_cue = word in words.year_cues or word in words.months
    if not (goes_on or is_cue or is_beside or (before is not None and _DONE.search(fold(before[1])))):
        return
    change = round(days / 365.25)
    new = [(*match.span("year"), str(int(match["year"]) + change))]
    if match["year2"]:
        new.append((*match.span("year2"), str(int(match["year2"]) + change)))
    yield Found(match.start(), match.end(), edit(text, match.start(), match.end(), new), None)
