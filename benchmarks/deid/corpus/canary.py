"""Planted identities: made-up values of every kind that can identify, each unlike every other in the corpus.

What belongs here: making values, and the pieces of one by which it would be recognised. What does not: where a value is
planted (places) and how its bytes are searched (leak_search).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count

YEARS = (1931, 1942, 1953, 1964, 1975, 1986, 1997, 2008, 2019)
"""Years of planted dates, eleven apart: moved back by one to ten years, a date never lands on another planted one."""

BIRTH_YEARS, STUDY_YEARS = YEARS[2:6], YEARS[7:]

LONGEST = {"SH": 16, "AE": 16, "CS": 16, "DS": 16, "IS": 12}
"""Signs that a VR has room for, where a canary may have more."""

_SYLLABLES = {
    "dev": ("bral", "vorn", "quil", "zem", "thol", "grix", "plav", "nusk", "drey", "fjor", "kwem", "lust", "orb", "yat"),
    "test": ("clem", "wusk", "dvar", "phol", "jinx", "smor", "tegl", "rauv", "bexi", "hoth", "pruk", "ozim", "alfq", "sny"),
}  # fmt: skip
_FIRST_SIGN = {"dev": 0, "test": 1}


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted value. `pieces` are what must be found nowhere: the value, the parts of a name, the halves of a split."""

    text: str
    kind: str
    pieces: tuple[str, ...]


class Mint:
    """Makes canaries of one side. Nothing is made twice; sides share no value."""

    def __init__(self, side: str, seed: int) -> None:
        self.random = random.Random(f"{side} {seed}")
        self._side = side
        self._seen: set[str] = set()
        self._days = {year: self._shuffled_days(year) for year in YEARS}

    def _shuffled_days(self, year: int) -> list[date]:
        # a date of one side is no date of the other: searches may then run over both
        days = [date(year, 1, 1) + timedelta(n) for n in range(_FIRST_SIGN[self._side], 364, 2)]
        self.random.shuffle(days)
        return days

    def _new(self, make: object) -> str:
        while True:
            value = make()  # type: ignore[operator]
            if value not in self._seen:
                self._seen.add(value)
                return value

    def word(self, syllables: int = 3) -> str:
        """A made-up word of at least 9 letters, capitalised."""
        pool = _SYLLABLES[self._side]

        def make() -> str:
            word = "".join(self.random.choice(pool) for _ in range(syllables))
            return (
                word + self.random.choice(("a", "o", "ek", "ine")) * (1 + max(0, 9 - len(word)))
            ).capitalize()

        return self._new(make)

    def digits(self, n: int) -> str:
        return self._new(
            lambda: str(self.random.randint(1, 9)) + "".join(self.random.choices("0123456789", k=n - 1))
        )

    def name(self) -> Canary:
        """`Family^Given`."""
        family, given = self.word(), self.word()
        return Canary(f"{family}^{given}", "name", (family, given))

    def spoken_name(self) -> Canary:
        """A name as free text has it."""
        family, given = self.word(), self.word()
        text = self.random.choice(
            (f"Dr. {family}", f"{given} {family}", f"{family}, {given}", f"Mrs {family}")
        )
        return Canary(text, "name", tuple(part for part in (family, given) if part in text))

    def script_name(self, family: str, given: str) -> Canary:
        """A name in another script, made unique by a number of signs drawn from its own letters."""
        letters = [sign for sign in dict.fromkeys(family + given) if sign.isalpha()]
        tries = count()

        def make() -> str:
            # a name of few letters has few neighbours: the tail grows when they are taken
            n = (3 if ord(family[0]) > 0x2E80 else 7) + next(tries) // 20
            return family + "".join(self.random.choices(letters, k=n))

        one, two = self._new(make), self._new(make)
        return Canary(f"{one}^{two}", "name", (one, two))

    def number(self) -> Canary:
        """A record, accession, insurance or social number."""
        style = self.random.choice(("{}", "MRN{}", "{}-X", "H{}/7", "AC.{}"))
        digits = self.digits(9)
        return Canary(style.format(digits), "number", (digits,))

    def short_number(self) -> Canary:
        """A number of four to six signs: too short for a byte search, found in decoded values only."""
        letter = self.random.choice("KQVWXYZ")
        text = self._new(lambda: f"{letter}{self.random.randint(0, 999):03d}{self.random.choice('KQVWXYZ')}")
        return Canary(text, "short", (text,))

    def phone(self) -> Canary:
        a, b, c = self.digits(3), self.digits(3), self.digits(6)
        text = self.random.choice((f"+49 {a} {b}{c}", f"({a}) {b}-{c}", f"{a}.{b}.{c}"))
        return Canary(text, "phone", (text,))

    def address(self) -> Canary:
        street = self.word()
        text = self.random.choice((f"{self.random.randint(2, 98)} {street} Road", f"{street}weg 7"))
        return Canary(text, "address", (street,))

    def place(self) -> Canary:
        word = self.word()
        text = self.random.choice((f"{word} General Hospital", f"Klinikum {word}", f"Praxis {word}"))
        return Canary(text, "institution", (word,))

    def url(self) -> Canary:
        word = self.word().lower()
        return Canary(f"https://pacs.{word}.example/view?p={self.digits(8)}", "url", (word,))

    def mail(self) -> Canary:
        word = self.word().lower()
        return Canary(f"{word}@ward.example", "mail", (word,))

    def host(self) -> Canary:
        """An application entity title or a host."""
        word = self.word(2).upper()[:12]
        self._seen.add(word)
        return Canary(word, "device", (word,))

    def day(self, years: tuple[int, ...] = STUDY_YEARS) -> Canary:
        """A calendar day as DICOM writes it; unique while a year has days left."""
        year = self.random.choice(years)
        days = self._days[year]
        value = days.pop() if len(days) > 1 else days[0]
        text = value.strftime("%Y%m%d")
        return Canary(text, "date", (text,))

    def uid(self, root: str = "1.2.826.0.1.3680043.8.498.") -> Canary:
        text = root + self.digits(24)
        return Canary(text, "uid", (text,))

    def split(self, glue: str) -> Canary:
        """A name cut in two; each half is still somebody's."""
        one, two = self.word(), self.word()
        return Canary(one + glue + two, "name", (one, two))

    def bare_number(self) -> Canary:
        """Nine digits: what fits a numeric VR."""
        text = self.digits(9)
        return Canary(text, "number", (text,))

    def of_kind(self, kind: str, vr: str = "LO") -> Canary:
        """A canary by the name of its kind; a short one where the VR has no room for it."""
        canary: Canary = getattr(self, kind)()
        return canary if len(canary.text) <= LONGEST.get(vr, 64) else self.host()
