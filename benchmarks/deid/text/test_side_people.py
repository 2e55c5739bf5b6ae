"""The test side's made-up people and numbers: names of many cultures in many written forms, ids as countries print them.

Belongs here: drawing a person, writing the name, drawing numbers. Does not: what a report says.
"""

from __future__ import annotations

import random
import re
import string
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARTICLES = frozenset(
    [
        "de",
        "del",
        "la",
        "las",
        "los",
        "van",
        "von",
        "der",
        "den",
        "zu",
        "di",
        "du",
        "le",
        "el",
        "al",
        "bin",
        "y",
        "i",
        "ó",
        "ní",
        "mac",
        "dell",
        "d",
        "l",
        "lo",
        "o",
    ]
)
MIDDLES = string.ascii_uppercase.replace("X", "").replace("Q", "")


@dataclass(frozen=True, slots=True)
class Person:
    given: str
    middle: str
    surname: str
    sex: str

    @property
    def component_name(self) -> str:
        """As DICOM writes it: family^given^middle."""
        return f"{self.surname}^{self.given}" + (f"^{self.middle}" if self.middle else "")


@cache
def load(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"test_side_{name}.toml").read_text(encoding="utf-8"))


def draw_person(rng: random.Random, language: str, sex: str = "") -> Person:
    cultures = load("names")
    known = [c for c in cultures if language in cultures[c]["weight"]]
    culture = cultures[rng.choices(known, [cultures[c]["weight"][language] for c in known])[0]]
    sex = sex or rng.choice("MF")
    surname = rng.choice(culture["surnames"])
    if " " not in surname and "-" not in surname and rng.random() < 0.05:
        surname += "-" + rng.choice(culture["surnames"]).split()[-1].split("-")[-1]
    middle = rng.choice(MIDDLES) if language == "en" and rng.random() < 0.5 else ""
    return Person(rng.choice(culture["male" if sex == "M" else "female"]), middle, surname, sex)


def unmarked(text: str) -> str:
    """As an old system stores it: ASCII letters, umlauts written out."""
    table = {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ß": "ss",
        "ø": "o",
        "ł": "l",
        "ı": "i",
        "ð": "d",
        "þ": "th",
        "œ": "oe",
        "’": "'",
    }
    for mark, plain in table.items():
        text = text.replace(mark, plain)
    for mark, plain in (
        ("Ä", "Ae"),
        ("Ö", "Oe"),
        ("Ü", "Ue"),
        ("Ø", "O"),
        ("Ł", "L"),
        ("Þ", "Th"),
        ("Œ", "Oe"),
    ):
        text = text.replace(mark, plain)
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def upper(text: str) -> str:
    return text.replace("ß", "SS").upper()


def initials(person: Person) -> str:
    words = [person.given[0], *person.middle, *(w for w in re.split(r"[\s'’-]", person.surname) if w)]
    kept = [w[0] for w in words if w.lower() not in PARTICLES or len(w) == 1]
    return "".join(kept)[:3].upper()


def written(person: Person, form: str, rng: random.Random) -> str:
    """One way of writing the name. Forms: f first, m middle, l last, i initial; capitals shout; a comma where both are turned."""
    first, last = person.given, person.surname
    middle = f" {person.middle}{rng.choice(['.', ''])}" if person.middle else ""
    letter = initials(person)
    forms = {
        "fl": f"{first} {last}",
        "fml": f"{first}{middle} {last}",
        "lf": f"{last}, {first}",
        "lfm": f"{last}, {first}{middle}",
        "Lf": f"{upper(last)} {first}",
        "LF": f"{upper(last)}{rng.choice([', ', ',', ', ', ' '])}{upper(first)}",
        "LFM": f"{upper(last)},{upper(first)}{upper(middle)}",
        "FL": f"{upper(first)} {upper(last)}",
        "l": last,
        "L": upper(last),
        "f": first,
        "fi_l": f"{first[0]}. {last}",
        "ini_l": f"{first[0]}{person.middle} {last}",
        "DCM": f"{upper(last)}^{upper(first)}" + (f"^{person.middle}" if person.middle else ""),
        "ini": rng.choice([letter, letter.lower(), ".".join(letter) + "."]),
        "ini2": letter,
        "spelled": "-".join(c for c in upper(last) if c.isalnum()),
    }
    return forms[form]


TITLES = {
    "en": {"M": "Mr. ", "F": "Mrs. ", "staff": "Dr. "},
    "de": {"M": "Herr ", "F": "Frau ", "staff": "Dr. med. "},
    "es": {"M": "D. ", "F": "Dña. ", "staff": "Dr. "},
    "fr": {"M": "M. ", "F": "Mme ", "staff": "Dr "},
}


def digits(rng: random.Random, pattern: str) -> str:
    """`#` is a digit, `1` to `9` themselves, `@` a capital letter."""
    return "".join(
        str(rng.randrange(10)) if c == "#" else rng.choice(string.ascii_uppercase) if c == "@" else c
        for c in pattern
    )


PHONES = {
    "us": [
        "(3##) 5##-####",
        "7##-5##-####",
        "+1 6## 5## ####",
        "8##.5##.####",
        "1-800-5##-####",
        "(2##)5##-####",
    ],
    "uk": ["01### ######", "020 7### ####", "07### ######", "+44 (0)1## ### ####", "(01##) 4## ####"],
    "de": [
        "0###/######",
        "0## - ### ## - ##",
        "+49 (0)3## #######",
        "0### ######-##",
        "+43 1 ### ## ##",
        "044 ### ## ##",
        "0151 ########",
    ],
    "es": ["9## ## ## ##", "6## ### ###", "+34 91 ### ## ##", "9#-#######", "(601) 3## ####"],
    "fr": [
        "01 ## ## ## ##",
        "04.##.##.##.##",
        "+33 (0)2 ## ## ## ##",
        "06########",
        "06-##-##-##-##",
        "418 5##-####",
    ],
}
ZIPS = {
    "us": ["#####", "#####-####"],
    "uk": ["@@# #@@", "@## #@@"],
    "de": ["#####", "A-####", "D-#####", "CH-####"],
    "es": ["#####"],
    "fr": ["#####", "F-#####"],
}
NUMBERS = {
    "mrn": ["#######", "########", "00######", "@#######", "##-##-##", "M######", "@@-######"],
    "mrn2": ["#######", "00######"],
    "acc": ["ACC########", "RAD-20##-######", "#########", "@@##-#######", "A##.######", "CT########"],
    "ins": ["W#########", "@#########", "###-##-####-@", "XZL######### ", "AV##/######"],
    "ssn": ["###-##-####", "### ## ####"],
    "nhs": ["### ### ####", "##########", "###-###-####"],
    "dni": ["########@", "########-@", "##.###.###-@", "X#######@"],
    "nir": ["1 ## 05 ## ### ### ##", "2##12########## ##", "1 ## 11 2A ### ### ##"],
    "niss": ["##.##.##-###.##"],
    "svnr": ["#### ######"],
    "ahv": ["756.####.####.##"],
    "nass": ["## ########", "##/########/##"],
    "cc": ["##.###.###", "##########"],
    "ramq": ["@@@@ #### ####"],
    "pager": ["4####", "#-####", "##47"],
    "ext": ["####", "5####"],
    "npi": ["1#########"],
    "gmc": ["#######"],
    "hcpc": ["RA#####"],
    "col": ["## ## #####", "28/#####", "#####"],
    "case": ["####/20", "RX-####-##", "#######", "3 O ###/##"],
    "badge": ["#####", "B-####"],
    "path": ["S##-#####", "SP-##-####"],
    "serial": ["PJN######", "RNB#####H", "@@@######", "SN ########", "#########-@"],
    "uid": ["1.2.840.113619.2.55.3.##########.###.##########.###"],
}


def draw_number(rng: random.Random, kind: str) -> str:
    return digits(rng, rng.choice(NUMBERS[kind])).strip()


def mail_name(person: Person, rng: random.Random) -> str:
    first, last = (re.sub("[^a-z]", "", unmarked(w).lower()) for w in (person.given, person.surname))
    return rng.choice(
        [
            f"{first[0]}{last}",
            f"{first}.{last}",
            f"{last}{first[0]}",
            f"{first}_{last}{rng.randrange(40, 99)}",
        ]
    )
