"""Planted identities: coined names and numbers, and the answer key that says where each one lies.

What belongs here: making values that are unique enough for a byte search, and remembering where they went.
What does not: the elements that carry them (planting) and the sentences that mention them (report).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.synth.dialect import Dialect

_NAMES = tomllib.loads((Path(__file__).parent / "names.toml").read_text(encoding="utf-8"))
UID_ROOT = "1.2.826.0.1.3680043.10.5713"


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted value: where it lies in its file, what it is, how it is written."""

    where: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Name:
    """A coined name; `ideographs` is empty where the site does not write them."""

    family: str
    given: str
    middle: str = ""
    ideographs: str = ""


@dataclass
class AnswerKey:
    """Every planted value with site and file; the file is relative to the generated folder, a member after `!`."""

    sites: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)

    def add(self, site: str, file: str, planted: Iterable[Planted]) -> None:
        """Remember that these values lie in this file."""
        for one in planted:
            self.sites.append(site)
            self.files.append(file)
            self.planted.append(one)

    def to_table(self) -> pa.Table:
        """One row per planted value and file: site, file, where, kind, value."""
        columns = {
            "site": self.sites,
            "file": self.files,
            "where": [p.where for p in self.planted],
            "kind": [p.kind for p in self.planted],
            "value": [p.value for p in self.planted],
        }
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


class Coiner:
    """Coins names, ids and canaries; no two are alike within one generated set."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def _word(self, part: str) -> str:
        places = (
            ["first", "middle", "last"] if self._rng.random() < 0.5 else ["first", "middle", "middle", "last"]
        )
        return "".join(str(self._rng.choice(_NAMES[f"{part}_{place}"])) for place in places)

    def _fresh(self, part: str) -> str:
        while (word := self._word(part)) in self._used:
            pass
        self._used.add(word)
        return word

    def name(self, dialect: Dialect, *, with_middle: bool = True) -> Name:
        """A name in the site's letters."""
        family, given = self._fresh("family"), self._word("given")
        for plain, accented in dialect.accents.items():
            family = family.replace(plain, accented, 1)
        middle = self._word("given") if with_middle and self._rng.random() < 0.5 else ""
        signs = ""
        if dialect.ideographs:
            picked = self._rng.choice(list(_NAMES["ideographs"]), 6)
            signs = f"{''.join(picked[:3])}^{''.join(picked[3:])}"
        return Name(family, given, middle, signs)

    def number(self, pattern: str) -> str:
        """An id after a pattern such as `LHK-{number:07d}`."""
        while (text := self._fill(pattern)) in self._used:
            pass
        self._used.add(text)
        return text

    def _fill(self, pattern: str) -> str:
        digits = int(pattern.split("{number:0")[1].split("d}")[0])
        low, high = 10 ** (digits - 1), 10**digits
        return pattern.format(number=self._rng.integers(low, high), extension=self._rng.integers(10, 99))

    def canary(self, mark: str) -> str:
        """A token that occurs once in the world, such as `ZQOVL4K7WJMX`; mark is two letters that tell its place."""
        letters = list("GHJKLMNPQRSTVWXZ")
        return self.number(f"ZQ{mark.upper()}" + "".join(self._rng.choice(letters, 5)) + "{number:04d}W")

    def uid(self, *numbers: int) -> str:
        """A UID under the fictional root; numbers place it, a random tail makes it unique."""
        return ".".join(map(str, (UID_ROOT, *numbers, self._rng.integers(10**13, 10**14))))

    def address(self) -> str:
        """One street address."""
        street, town = self._rng.choice(_NAMES["streets"]), self._rng.choice(_NAMES["towns"])
        return f"{self._rng.integers(100, 9999)} {street}, {town}"


def person_name(name: Name, order: str) -> str:
    """A DICOM PN value as the site's desk types it."""
    if order == "upper_middle":
        text = f"{name.family.upper()}^{name.given.upper()}" + (
            f"^{name.middle.upper()}" if name.middle else ""
        )
    elif order == "given_first":
        # the desk types all into the family component: the name has no carets at all
        text = f"{name.given} {name.family}"
    else:
        text = f"{name.family}^{name.given}"
    return f"{text}={name.ideographs}" if name.ideographs else text


def dicom_date(day: date) -> str:
    """YYYYMMDD."""
    return day.strftime("%Y%m%d")
