"""How the test side's reports write dates, and how a written date is read back by the pattern it was written with.

Belongs here: the patterns by language and country, writing, reading. Does not: which dates a report has.
Codes: %d %m two digits, %e %n as short as possible, %y %Y year, %b %B month, %a %A weekday, %o ordinal day.
"""

from __future__ import annotations

import random
import re
import tomllib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ISO = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d")


@cache
def calendar() -> dict[str, dict[str, list[str]]]:
    """Names of months and days by language; patterns by country."""
    return tomllib.loads((HERE / "test_side_dates.toml").read_text(encoding="utf-8"))


def fold(text: str) -> str:
    """Lower case without marks; ä and ae are the same."""
    for mark, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        text = text.lower().replace(mark, plain)
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _ordinal(day: int, language: str) -> str:
    if language == "fr":
        return "1er" if day == 1 else str(day)
    if language != "en":
        return str(day)
    if day in (11, 12, 13):
        return f"{day}th"
    return f"{day}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th') }"


def write(day: date, pattern: str, language: str) -> str:
    values = {
        "%d": f"{day.day:02d}",
        "%e": str(day.day),
        "%m": f"{day.month:02d}",
        "%n": str(day.month),
        "%y": f"{day.year % 100:02d}",
        "%Y": f"{day.year:04d}",
        "%b": calendar()["short_months"][language][day.month - 1],
        "%B": calendar()["months"][language][day.month - 1],
        "%a": calendar()["short_weekdays"][language][day.weekday()],
        "%A": calendar()["weekdays"][language][day.weekday()],
        "%o": _ordinal(day.day, language),
    }
    return re.sub("%[a-zA-Z]", lambda m: values[m.group()], pattern)


_DAY, _MONTH = "(?P<day>0?[1-9]|[12][0-9]|3[01])", "(?P<month>0?[1-9]|1[0-2])"
_GROUPS = {
    "%d": _DAY,  # a leading zero is not judged: 12.11. does not show whether its house writes them
    "%e": _DAY,
    "%m": _MONTH,
    "%n": _MONTH,
    "%y": r"(?P<year>\d\d)",
    "%Y": r"(?P<year>\d{4})",
    "%o": r"(?P<day>\d{1,2})(?:st|nd|rd|th|er)?",
}
_FIXED = {"%d": r"(?P<day>[0-3]\d)", "%m": r"(?P<month>[01]\d)"}
"""Where nothing parts the numbers, they have two digits."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A date as it was found in a text."""

    day: date
    said: tuple[int, int, int]
    """Day, month and year as they stand there, 0 for what does not."""
    weekday_fits: bool
    month_styles: frozenset[str]
    """`short`, `long` or, for May, both; empty for a number."""


def _names(words: Sequence[str], group: str) -> str:
    choices = sorted({fold(w) for w in words} | {_bare(w) for w in words}, key=len, reverse=True)
    return f"(?P<{group}>{'|'.join(map(re.escape, choices))})"


def _bare(word: str) -> str:
    """Without umlaut marks at all, as old systems print it."""
    plain = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in plain if not unicodedata.combining(c))


@cache
def _reader(pattern: str, language: str) -> re.Pattern[str]:
    words = calendar()
    month = _names([*words["short_months"][language], *words["months"][language]], "name")
    groups = _GROUPS | (_FIXED if pattern == "%Y%m%d" else {})
    groups |= {
        "%b": month,
        "%B": month,
        "%a": _names(words["short_weekdays"][language], "weekday"),
        "%A": _names(words["weekdays"][language], "weekday"),
    }
    parts = re.split("(%[a-zA-Z]| )", pattern)
    body = "".join(groups.get(p, r"\s+" if p == " " else re.escape(fold(p))) for p in parts)
    return re.compile(rf"(?<!\d)(?<!\d[./-]){body}(?![./-]?\d)")


def _number(name: str, words: Sequence[str]) -> int:
    """The place of the word in the list, from 0; -1 where it is not there."""
    return next((n for n, w in enumerate(words) if name in (fold(w), _bare(w))), -1)


def read(text: str, pattern: str, language: str, near: date) -> Reading | None:
    """The date nearest to `near` that stands in the text in this pattern; None where there is none.

    What the pattern does not say (century, year, day) is taken so that the date lies near.
    """
    matches = _reader(pattern, language).finditer(fold(text.strip()))
    readings = [r for r in (_reading(m, pattern, language, near) for m in matches) if r]
    return min(readings, key=lambda r: abs(r.day - near), default=None)


def _reading(match: re.Match[str], pattern: str, language: str, near: date) -> Reading | None:
    part, words = match.groupdict(), calendar()
    named = part.get("name") or ""
    lists = {"short": words["short_months"], "long": words["months"]}
    places = {style: _number(named, months[language]) for style, months in lists.items()}
    month = 1 + max(places.values()) if named else int(part["month"])
    day = int(part.get("day") or 0)
    if "%Y" in pattern:
        years = [int(part["year"])]
    elif "%y" in pattern:
        years = [century + int(part["year"]) for century in (1800, 1900, 2000)]
    else:
        years = [near.year - 1, near.year, near.year + 1]
    found = []
    for year in years:
        try:
            found.append(date(year, month, day or 15))
        except ValueError:  # 29 February of another year: not a date
            continue
    if not found:
        return None
    best = min(found, key=lambda d: abs(d - near))
    weekdays = words["short_weekdays" if "%a" in pattern else "weekdays"][language]
    weekday = part.get("weekday")
    return Reading(
        best,
        (day, month, int(part.get("year") or 0)),
        weekday is None or _number(weekday, weekdays) == best.weekday(),
        frozenset(style for style, place in places.items() if place >= 0),
    )


def draw_pattern(rng: random.Random, locale: str, house: str, kind: str) -> str:
    """A pattern of the kind a template asks for; `any` is mostly the house's own."""
    if kind == "num":
        return house
    if kind == "long":
        return rng.choice(calendar()["worded"][locale])
    if kind == "iso":
        return rng.choice(ISO)
    if kind == "dm":
        return rng.choice(calendar()["yearless"][locale])
    if kind == "my":
        return rng.choice(calendar()["month_year"][locale])
    drawn = rng.random()
    return (
        house
        if drawn < 0.55
        else rng.choice(calendar()["worded"][locale])
        if drawn < 0.92
        else rng.choice(ISO)
    )


def random_day(rng: random.Random, first: date, last: date) -> date:
    return first + timedelta(days=rng.randrange((last - first).days + 1))
