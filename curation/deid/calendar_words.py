"""Months and weekdays as each language writes them, read from rules/text.

What belongs here: words to numbers and back, in the same length and case. What does not: dates (dates).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from curation.deid.lexicon import iter_books, words_of
from curation.deid.spelling import fold


@dataclass(frozen=True, slots=True)
class Word:
    """One month (1 to 12) or weekday (1 to 7, Monday first) and the twelve or seven of the same language and length."""

    number: int
    names: tuple[str, ...]
    is_short: bool


@dataclass(frozen=True, slots=True)
class Calendar:
    """Words of one language's dates, or of all languages', folded."""

    months: Mapping[str, Word]
    weekdays: Mapping[str, Word]
    year_cues: frozenset[str]
    month_cues: frozenset[str]
    day_cues: frozenset[str]
    is_day_first: bool
    has_dots: bool
    """Whether days of digits are written with dots: 3.4.2019."""
    long_and_short: Mapping[str, Word]
    """Months whose short name is the long one: May, Mai, mars; with the short names of all."""

    def short_of(self, name: str) -> Word | None:
        """The month with the short names of its language where `name` is long and short at once."""
        return self.long_and_short.get(name)


@cache
def calendar(code: str) -> Calendar:
    """The calendar of one of the languages, or of all under ANY."""
    months: dict[str, Word] = {}
    weekdays: dict[str, Word] = {}
    both: dict[str, Word] = {}
    books = list(iter_books(code))
    for book in books:
        dates = book["dates"]
        names, short = dates["months"].split(), dates["short"].split()
        both |= {
            fold(name): Word(n, tuple(short), is_short=True)
            for n, name in enumerate(names, 1)
            if fold(short[n - 1]) == fold(name)
        }
        _add(months, names, short, dates["other"])
        _add(weekdays, dates["weekdays"].split(), dates["weekdays_short"].split(), dates["weekdays_other"])

    def cues(key: str) -> frozenset[str]:
        return frozenset(w for book in books for w in words_of(book["dates"][key]))

    return Calendar(
        months=months,
        weekdays=weekdays,
        year_cues=cues("year_cues"),
        month_cues=cues("month_cues"),
        day_cues=cues("day_cues"),
        is_day_first=len(books) == 1 and bool(books[0]["dates"]["day_first"]),
        has_dots=code == "de",
        long_and_short=both,
    )


def _add(target: dict[str, Word], names: list[str], short: list[str], other: Mapping[str, int]) -> None:
    for n, name in enumerate(names, 1):
        target.setdefault(fold(name), Word(n, tuple(names), is_short=False))
    for n, name in enumerate(short, 1):
        target.setdefault(fold(name), Word(n, tuple(short), is_short=True))
    for name, n in other.items():
        like = names if len(name) > 4 else short
        target.setdefault(fold(name), Word(n, tuple(like), is_short=like is short))


def rewrite(word: Word, number: int, like: str) -> str:
    """The name of another month or weekday, in the language, length and case of `like`."""
    name = word.names[number - 1]
    if like.isupper() and len(like) > 1:
        return name.upper()
    return name.capitalize() if like[:1].isupper() else name
