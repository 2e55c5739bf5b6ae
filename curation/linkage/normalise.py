"""How names, birth date and sex are brought to one form before they are tokenized.

Source: the published attribute rules of Open Link Token 2.2 (MIT). A change here makes other tokens: it needs a new
NORM_PROFILE, and tokens of different profiles are never joined.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from datetime import date
from functools import cache
from importlib import resources

NORM_PROFILE = "olt-2.2/dicom-1"

_OLDEST = date(1910, 1, 1)
_SUFFIX = re.compile(
    r"[\s,]+(jr|sr|junior|senior|i{1,3}|iv|v|vi{1,3}|ix|x|1st|2nd|3rd|4th)\.?$", re.IGNORECASE
)
_TRAILING_INITIAL = re.compile(r"\s[A-Za-z]\.?$")
_FIRST_WORD = re.compile(r"^([A-Za-z]{3,})[\s./].+")


@cache
def _words() -> dict[str, object]:
    text = resources.files("curation").joinpath("linkage/words.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _strings(key: str) -> frozenset[str]:
    value = _words()[key]
    assert isinstance(value, list)
    return frozenset(value)


def _plain(text: str) -> str:
    """Latin letters without marks: transliterated, decomposed, marks dropped."""
    letters = _words()["letters"]
    assert isinstance(letters, dict)
    text = "".join(letters.get(c, c) for c in text.strip())
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def _is_placeholder(name: str) -> bool:
    return re.sub(r"\s+", " ", name.strip().lower()) in _strings("placeholders")


def _without_suffixes(name: str) -> str:
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    return name


def _without_titles(name: str) -> str:
    while True:
        word, _, rest = name.partition(" ")
        if word.rstrip(".").lower() not in _strings("titles") or not rest:
            return name
        name = rest.strip()


def normal_first(name: str) -> str | None:
    """Given name in capitals, letters only; None where there is none that identifies."""
    if _is_placeholder(name):
        return None
    text = _without_suffixes(_without_titles(_plain(name)))
    text = _TRAILING_INITIAL.sub("", text)
    if match := _FIRST_WORD.match(text):
        text = match[1]
    text = re.sub(r"[^A-Za-z]", "", text).upper()
    return None if not text or _is_placeholder(text) else text


def normal_last(name: str) -> str | None:
    """Family name in capitals, letters only, two at least; None where there is none that identifies."""
    if _is_placeholder(name):
        return None
    text = re.sub(r"[^A-Za-z]", "", _without_suffixes(_plain(name))).upper()
    if len(text) < 2 or _is_placeholder(text):
        return None
    return text if len(text) > 2 or text == "NG" or any(c in "AEIOUY" for c in text) else None


def normal_sex(sex: str) -> str | None:
    """MALE or FEMALE; None for everything else."""
    return {"M": "MALE", "MALE": "MALE", "F": "FEMALE", "FEMALE": "FEMALE"}.get(sex.strip().upper())


def normal_birth_date(value: str) -> str | None:
    """A DICOM DA or ISO date as yyyy-mm-dd; None before 1910 or where it is no date."""
    digits = value.strip().replace("-", "")
    if not re.fullmatch(r"\d{8}", digits):
        return None
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return day.isoformat() if day >= _OLDEST else None
