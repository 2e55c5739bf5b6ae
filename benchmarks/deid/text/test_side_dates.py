"""How the test side's reports write dates, and how a written date is read back by the pattern it was written with.

Belongs here: the patterns by language and country, writing, reading. Does not: which dates a report has.
Codes: %d %m two digits, %e %n as short as possible, %y %Y year, %b %B month, %a %A weekday, %o ordinal day.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cache

MONTHS = {
    "en": ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
    "de": ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"],
    "es": ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"],
    "fr": ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"],
}
SHORT_MONTHS = {
    "en": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "de": ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"],
    "es": ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"],
    "fr": ["janv", "févr", "mars", "avr", "mai", "juin", "juil", "août", "sept", "oct", "nov", "déc"],
}
WEEKDAYS = {
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "de": ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
    "es": ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    "fr": ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
}
SHORT_WEEKDAYS = {
    "en": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "de": ["Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"],
    "es": ["lun", "mar", "mié", "jue", "vie", "sáb", "dom"],
    "fr": ["lun", "mar", "mer", "jeu", "ven", "sam", "dim"],
}

HOUSE = {
    "us": ["%m/%d/%Y", "%n/%e/%Y", "%n/%e/%y", "%m/%d/%y", "%m-%d-%Y"],
    "uk": ["%d/%m/%Y", "%e/%n/%Y", "%d/%m/%y", "%d.%m.%Y", "%d-%m-%Y"],
    "de": ["%d.%m.%Y", "%e.%n.%Y", "%d.%m.%y", "%d.%m.%Y", "%e.%n.%y"],
    "es": ["%d/%m/%Y", "%e/%n/%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%Y"],
    "fr": ["%d/%m/%Y", "%d/%m/%y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%Y"],
}
"""The numeric pattern a hospital keeps to; one is drawn a report."""
WORDED = {
    "us": [
        "%B %e, %Y",
        "%b %e, %Y",
        "%b. %e, %Y",
        "%e %B %Y",
        "%e-%b-%Y",
        "%d-%b-%y",
        "%d%b%Y",
        "%A, %B %e, %Y",
        "%B %o, %Y",
        "the %o of %B %Y",
        "%B %e %Y",
        "%a %b %e, %Y",
    ],
    "uk": [
        "%e %B %Y",
        "%o %B %Y",
        "%e %b %Y",
        "%d-%b-%Y",
        "%A %e %B %Y",
        "%a %e %b %Y",
        "%e %b %y",
        "%d %B %Y",
        "%o of %B %Y",
    ],
    "de": [
        "%e. %B %Y",
        "%d. %B %Y",
        "%e. %b. %Y",
        "%A, %e. %B %Y",
        "%a, %d.%m.%Y",
        "%d. %b %Y",
        "%A, den %d.%m.%Y",
        "%e.%B %Y",
        "%e. %n. %Y",
    ],
    "es": [
        "%e de %B de %Y",
        "%e de %B del %Y",
        "%e %B %Y",
        "%A, %e de %B de %Y",
        "%d-%b-%Y",
        "%d %b %Y",
        "%A %e de %B de %Y",
        "%d/%b/%Y",
    ],
    "fr": [
        "%e %B %Y",
        "%A %e %B %Y",
        "%e %b. %Y",
        "%d %b %Y",
        "%d %B %Y",
        "%a %d/%m/%Y",
        "%o %B %Y",
    ],
}
ISO = ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d"]
YEARLESS = {
    "us": ["%n/%e", "%B %e", "%B %o", "%A %n/%e", "%b %e"],
    "uk": ["%d/%m", "%e %B", "%o %B", "%A %e %B", "%e %b"],
    "de": ["%d.%m.", "%e.%n.", "%e. %B", "%A, %d.%m."],
    "es": ["%e de %B", "%d/%m", "%A %e de %B"],
    "fr": ["%e %B", "%d/%m", "%A %e %B"],
}
MONTH_YEAR = {
    "us": ["%B %Y", "%m/%Y", "%b %Y", "%b-%y"],
    "uk": ["%B %Y", "%m/%Y", "%b %Y", "%b %y"],
    "de": ["%B %Y", "%m/%Y", "%n/%y", "%m.%Y"],
    "es": ["%B de %Y", "%m/%Y", "%B %Y", "%m-%Y"],
    "fr": ["%B %Y", "%m/%Y", "%m.%Y"],
}


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
        "%b": SHORT_MONTHS[language][day.month - 1],
        "%B": MONTHS[language][day.month - 1],
        "%a": SHORT_WEEKDAYS[language][day.weekday()],
        "%A": WEEKDAYS[language][day.weekday()],
        "%o": _ordinal(day.day, language),
    }
    return re.sub("%[a-zA-Z]", lambda m: values[m.group()], pattern)


_GROUPS = {
    "%d": r"(?P<day>[0-3]\d)",
    "%e": r"(?P<day>[1-9]|[12]\d|3[01])",
    "%m": r"(?P<month>[01]\d)",
    "%n": r"(?P<month>[1-9]|1[0-2])",
    "%y": r"(?P<year>\d\d)",
    "%Y": r"(?P<year>\d{4})",
    "%o": r"(?P<day>\d{1,2})(?:st|nd|rd|th|er)?",
}


def _names(words: Sequence[str], group: str) -> str:
    choices = sorted({fold(w) for w in words} | {_bare(w) for w in words}, key=len, reverse=True)
    return f"(?P<{group}>{'|'.join(map(re.escape, choices))})"


def _bare(word: str) -> str:
    """Without umlaut marks at all, as old systems print it."""
    plain = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in plain if not unicodedata.combining(c))


@cache
def _reader(pattern: str, language: str) -> re.Pattern[str]:
    groups = _GROUPS | {
        "%b": _names(SHORT_MONTHS[language], "name"),
        "%B": _names(MONTHS[language], "name"),
        "%a": _names(SHORT_WEEKDAYS[language], "weekday"),
        "%A": _names(WEEKDAYS[language], "weekday"),
    }
    parts = re.split("(%[a-zA-Z]| )", pattern)
    return re.compile("".join(groups.get(p, r"\s+" if p == " " else re.escape(fold(p))) for p in parts))


def _number(name: str, words: Sequence[str]) -> int:
    return next(n for n, w in enumerate(words) if name in (fold(w), _bare(w)))


def read(text: str, pattern: str, language: str, near: date) -> tuple[date, bool] | None:
    """The date, and whether its weekday is the right one; None where the text is not in this pattern.

    What the pattern does not say (century, year, day) is taken so that the date lies nearest to `near`.
    """
    match = _reader(pattern, language).fullmatch(fold(text.strip()))
    if match is None:
        return None
    part = match.groupdict()
    named = part.get("name")
    month = (
        1 + _number(named, SHORT_MONTHS[language] if "%b" in pattern else MONTHS[language])
        if named
        else int(part["month"])
    )
    day = int(part.get("day") or 15)
    if "%Y" in pattern:
        years = [int(part["year"])]
    elif "%y" in pattern:
        years = [century + int(part["year"]) for century in (1800, 1900, 2000)]
    else:
        years = [near.year - 1, near.year, near.year + 1]
    found = []
    for year in years:
        try:
            found.append(date(year, month, day))
        except ValueError:  # 29 February of another year, or a 13th month: not a date
            continue
    if not found:
        return None
    best = min(found, key=lambda d: abs(d - near))
    words = SHORT_WEEKDAYS[language] if "%a" in pattern else WEEKDAYS[language]
    said = part.get("weekday")
    return best, said is None or _number(said, words) == best.weekday()


def draw_pattern(rng: random.Random, locale: str, house: str, kind: str) -> str:
    """A pattern of the kind a template asks for; `any` is mostly the house's own."""
    if kind == "num":
        return house
    if kind == "long":
        return rng.choice(WORDED[locale])
    if kind == "iso":
        return rng.choice(ISO)
    if kind == "dm":
        return rng.choice(YEARLESS[locale])
    if kind == "my":
        return rng.choice(MONTH_YEAR[locale])
    drawn = rng.random()
    return house if drawn < 0.55 else rng.choice(WORDED[locale]) if drawn < 0.92 else rng.choice(ISO)


def random_day(rng: random.Random, first: date, last: date) -> date:
    return first + timedelta(days=rng.randrange((last - first).days + 1))
