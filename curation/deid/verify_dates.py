"""Dates in values and texts, however they are written, for the second look.

What belongs here: reading days out of text. What does not: which days may be there (verify). Not shared with the
de-identifier's own dates on purpose.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "rules" / "verify"

DUMMY = date(1900, 1, 1)
"""What stands for a date that must not be empty (PS3.15 E.1, action D)."""


@cache
def _months() -> dict[str, int]:
    book = tomllib.loads((_FOLDER / "months.toml").read_text(encoding="utf-8"))
    return {name: month for names in book.values() for name, month in names.items()}


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    name = "|".join(sorted(map(re.escape, _months()), key=len, reverse=True))
    found = (
        r"(?<!\d)(?P<y>(?:1[89]|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?!\d{1,5}(?:\D|$)|\d{7})",
        r"(?<!\d)(?P<y>(?:1[89]|20)\d\d)[-/. ](?P<m>\d{1,2})[-/. ](?P<d>\d{1,2})(?!\d)",
        r"(?<!\d)(?P<a>\d{1,2})[-/. ]\s?(?P<b>\d{1,2})[-/. ]\s?(?P<y>(?:1[89]|20)?\d\d)(?!\d)",
        r"(?<!\d)(?P<a>\d\d)(?P<b>\d\d)(?P<y>(?:19|20)\d\d)(?!\d)",
        rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th|er|\.)?[-/. ]?\s?(?:de\s|of\s)?(?P<n>{name})\b\.?,?[-/. ]?\s?(?:de\s)?(?P<y>(?:1[89]|20)?\d\d)(?!\d)",
        rf"\b(?P<n>{name})\.?[-/. ]?\s?(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?[-/. ]?\s?(?P<y>(?:1[89]|20)\d\d)(?!\d)",
        rf"(?<!\d)(?P<y>(?:1[89]|20)\d\d)[-/. ]?(?P<n>{name})[-/. ]?(?P<d>\d{{1,2}})(?!\d)",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in found)


def days_in(text: str) -> Iterator[date]:
    """Every calendar day that a text may name; a day and a month that may change places give both readings."""
    if not any(c.isdigit() for c in text):
        return
    for pattern in _patterns():
        for match in pattern.finditer(text):
            yield from _days(match.groupdict())


def _days(found: dict[str, str]) -> Iterator[date]:
    years = [int(found["y"])] if len(found["y"]) == 4 else [1900 + int(found["y"]), 2000 + int(found["y"])]
    if "a" in found:
        orders = {(int(found["a"]), int(found["b"])), (int(found["b"]), int(found["a"]))}
    else:
        month = _months()[found["n"].lower()] if "n" in found else int(found["m"])
        orders = {(int(found["d"]), month)}
    for year in years:
        for day, month in sorted(orders):
            known = to_day(year, month, day)
            if known is not None:
                yield known


_DA = re.compile(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)")
_DT = re.compile(r"(\d{4})(\d\d)?(\d\d)?(?:\d\d){0,3}(?:\.\d{1,6})?(?:[+-]\d{4})?")


def day_of(value: str, vr: str) -> date | None:
    """The day of one DA or DT value; None where it is no date. A DT without a day counts as the first."""
    match = (_DA if vr == "DA" else _DT).fullmatch(value.strip(" \0"))
    return to_day(int(match[1]), int(match[2] or 1), int(match[3] or 1)) if match else None


def has_day(value: str, vr: str) -> bool:
    """Whether a DA or DT value says the day, not only month or year."""
    return vr == "DA" or len(re.split(r"[.+-]", value.strip(" \0"))[0]) >= 8


def to_day(year: int, month: int, day: int) -> date | None:
    """The calendar day; None where there is none."""
    try:
        return date(year, month, day)
    except ValueError:
        return None
