"""Report text of the second development side: templates and names by an author who has seen neither the rules nor other templates.

What belongs here: filling dev_author2_*.toml. What does not: the first development side and the test side. Failures here may be
looked at; how far this side lies below the first shows how far the rules reach beyond the reports they were written on.
Run it with bench_text.py --side dev2.

A slot is `{kind_form_...}`: people are patient, rad, res, ref, kin (one person each a report), staff (another each time); a date
is `{date_FORM}` with FORM of dev_author2_pools.toml and a name of Case.back naming its day; `caps` and `lower` change the case.
`{s_he_she}` goes by the patient's sex. A first line `%f 18-44%` says the patient's sex and age, `%fm 3-9 f%` that of the relative too.
"""

from __future__ import annotations

import functools
import random
import re
import tomllib
import unicodedata
from datetime import date, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LANGUAGES = ("en", "de", "es", "fr")
SLOT = re.compile(r"\{(\w+)\}")
WHO = re.compile(r"\A%(f|m|fm) (\d+)-(\d+)(?: ([fm]))?%\n")
PEOPLE = ("patient", "rad", "res", "ref", "kin", "op", "staff")
CATEGORY = {
    **dict.fromkeys(PEOPLE, "name"), "date": "date", "season": "date", "spoken": "date", "anchor": "date", "dob": "birth_date",
    "age90": "age", "phone": "phone", "pager": "phone", "mail": "mail", "url": "url", "serial": "device",
    **dict.fromkeys(("mrn", "accession", "visit", "ssn", "insurance", "licence", "uid", "room", "code", "nhs"), "id"),
    **dict.fromkeys(("institution", "ward", "employer", "school", "club", "prison", "regiment"), "institution"), "street": "address", "town": "address", "city": "place",
    "clock": "neutral", "yob": "neutral", "year": "neutral", "yy": "neutral", "weekday": "neutral",
}  # fmt: skip
"""Kinds that are not here (age, relation) are no identifiers. Years alone, weekdays alone and times of day are counted neither way."""
KNOWN = ("patient", "mrn", "accession", "dob", "ref")
"""What the header says of a linked report, but for nicknames and initials."""
UNITS = [
    "zeroth",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
]
TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "twenty-one",
    "twenty-two",
    "twenty-three",
    "twenty-four",
]


@functools.cache
def pools() -> dict[str, Any]:
    return tomllib.loads((HERE / "dev_author2_pools.toml").read_text(encoding="utf-8"))


@functools.cache
def templates() -> tuple[tuple[str, str, str], ...]:
    """Name, language and text of every template."""
    found = []
    for language in LANGUAGES:
        texts: list[str] = []
        for path in sorted(HERE.glob(f"dev_author2_{language}*.toml")):
            texts += tomllib.loads(path.read_text(encoding="utf-8"))[language]["reports"]
        found += [(f"{language}/{n}", language, text.strip("\n")) for n, text in enumerate(texts)]
    return tuple(found)


def write(day: date, pattern: str, language: str) -> str:
    """The day in words or figures; %e and %n without a nought, %o ordinal, names of the language."""
    months, weekdays = (pools()[kind][language].split() for kind in ("months", "weekdays"))
    month, weekday = months[day.month - 1], weekdays[day.weekday()]
    tail = "th" if 10 < day.day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    own = {
        "e": f"{day.day}",
        "n": f"{day.month}",
        "o": f"{day.day}{tail}",
        "B": month,
        "b": month[:3],
        "A": weekday,
    }
    own |= {
        "a": weekday[:3],
        "l": month.lower(),
        "w": ordinal(day.day),
        "t": pools()["typos"]["en"].split()[day.month - 1],
    }
    return re.sub("%(.)", lambda m: own[m[1]] if m[1] in own else day.strftime(m[0]), pattern)


def ordinal(n: int) -> str:
    """The day of the month as dictated."""
    return UNITS[n] if n <= 20 else {30: "thirtieth", 31: "thirty-first"}.get(n, f"twenty-{UNITS[n - 20]}")


class Person:
    """Somebody with all written forms of the name."""

    def __init__(self, case: Case, surname: str = "", sex: str = "") -> None:
        chance, language = case.chance, case.language
        origin = "other" if chance.random() < 0.2 else language
        self.sex = sex or chance.choice("fm")
        self.given = chance.choice(pools()["given"][f"{origin}_{self.sex}"].split())
        self.last = surname or chance.choice(pools()["last"][origin].split("|"))
        self.middle = chance.choice("ABCDEFGHJKLMRSTW")
        self.nick = chance.choice(pools()["nick"][language].split())
        self.courtesy = chance.choice(pools()["titles_patient"][f"{language}_{self.sex}"].split("|"))
        self.rank = chance.choice(pools()["titles_staff"][f"{language}_{self.sex}"].split("|"))

    def written(self, form: str, is_staff: bool) -> tuple[str, str]:
        """The title, which stays, and the name."""
        given, last, middle = self.given, self.last, self.middle
        title = self.rank if is_staff else self.courtesy
        first = re.split(r"[ '’]", last)[-1][0].upper()
        forms = {
            "full": f"{given} {last}", "last": last, "first": given, "lf": f"{last}, {given}", "lfm": f"{last}, {given} {middle}.",
            "glued": f"{last},{given}", "lg": f"{last} {given}", "caret": f"{last}^{given}", "initial": f"{given[0]}. {last}", "mid": f"{given} {middle}. {last}",
            "lastinit": f"{last} {given[0]}.", "initials": f"{given[0]}{first}", "dotted": f"{given[0]}.{first}.", "nick": self.nick,
            "nicklast": f"{self.nick} {last}", "quoted": f'{given} "{self.nick}" {last}', "title": last, "titlefull": f"{given} {last}",
        }  # fmt: skip
        return title if form.startswith("title") else "", forms[form]


class Case:
    """One patient, one report."""

    def __init__(self, chance: random.Random, language: str, text: str) -> None:
        self.chance, self.language = chance, language
        self.day = date(2013, 2, 1) + timedelta(days=chance.randrange(4_000))
        who = WHO.match(text)
        sexes, low, high, kin = (
            who.groups()
            if who
            else ("fm", "90" if "{age90" in text else "21", "101" if "{age90" in text else "87", None)
        )
        self.sex = chance.choice(sexes)
        self.kin_sex = kin or ("m" if self.sex == "f" else "f")
        years = chance.randrange(int(low), int(high) + 1)
        self.born = self.day - timedelta(days=int(years * 365.25) + chance.randrange(2, 360))
        self.years = (self.day - self.born).days * 100 // 36525
        self.back = {"prior": chance.randrange(20, 400), "old": chance.randrange(500, 2_500)}
        self.back |= {"after": self.back["prior"] - chance.randrange(2, 9), "recent": chance.randrange(1, 4)}
        self.back |= {"oldafter": self.back["old"] - chance.randrange(2, 9), "lmp": chance.randrange(80, 270)}
        self.back["edd"] = self.back["lmp"] - 280
        self.back |= {"next": -chance.randrange(5, 190), "to": -chance.randrange(2, 9)}
        self.people: dict[str, Person] = {}
        self.numbers: dict[str, str] = {}

    def pick(self, pool: str) -> str:
        return self.chance.choice(pools()[pool][self.language].split("|"))

    def digits(self, pattern: str) -> str:
        """The pattern with # as digits and @ as capitals; a number never starts with a nought."""
        made = [
            self.chance.choice("123456789") if c == "#" else self.chance.choice("ABCDEFGHKLMNPRSTUVWXYZ") if c == "@" else c
            for c in pattern
        ]  # fmt: skip
        return "".join(made)

    def person(self, kind: str) -> Person:
        if kind == "staff":
            return Person(self)
        if kind not in self.people:
            is_family = kind == "kin" and self.chance.random() < 0.6
            sex = {"patient": self.sex, "kin": self.kin_sex}.get(kind, "")
            self.people[kind] = Person(self, self.person("patient").last if is_family else "", sex)
        return self.people[kind]

    def once(self, kind: str, patterns: str) -> str:
        if kind not in self.numbers:
            self.numbers[kind] = self.digits(self.chance.choice(patterns.split("|")))
        return self.numbers[kind]

    def slot(self, name: str) -> tuple[str, str, dict[str, Any]]:
        """What stands before the span, the span, and what the key says of it."""
        kind, *marks = name.split("_")
        before, more = "", {}
        if kind in PEOPLE:
            form = next((m for m in marks if m not in ("caps", "lower")), "full")
            before, value = self.person(kind).written(form, kind not in ("patient", "kin"))
            is_plain = form not in ("nick", "nicklast", "initials", "dotted", "quoted")
            more = {"form": form, "entity": kind} if kind != "staff" and is_plain else {}
        elif kind in ("date", "dob"):
            value, more = self.dated(kind, marks)
        elif kind == "s":
            value = marks["mf".index(self.sex)]
        else:
            value = str(getattr(self, f"a_{kind}")(marks[0] if marks else ""))
        if "caps" in marks:
            before, value = before.upper(), value.upper()
        if "lower" in marks:
            before, value = before.lower(), value.lower()
        return before, value, more

    def dated(self, kind: str, marks: list[str]) -> tuple[str, dict[str, Any]]:
        forms = pools()["date"][self.language]
        form = next((m for m in marks if m in forms), "plain")
        back = next((self.back[m] for m in marks if m in self.back), 0)
        day = self.born if kind == "dob" else self.day - timedelta(days=back)
        return write(day, forms[form], self.language), {"pattern": forms[form], "day": day.isoformat()}

    def a_weekday(self, form: str) -> str:
        return write(self.day - timedelta(days=3), "%A %e %B %Y", self.language).split()[0]

    def a_spoken(self, form: str) -> str:
        """English dictation: march third twenty nineteen."""
        day, number = write(self.day, "%B", "en").lower(), ordinal(self.day.day).replace("-", " ")
        return f"{day} {number} twenty {TEENS[self.day.year - 2010].replace('-', ' ')}"

    def a_anchor(self, form: str) -> str:
        return self.pick("anchor").replace("{y}", str(self.day.year - 1))

    def a_year(self, form: str) -> str:
        return str(self.day.year - self.chance.randrange(4, 16))

    def a_yy(self, form: str) -> str:
        return f"'{(self.day.year - self.chance.randrange(4, 13)) % 100:02}"

    def a_season(self, form: str) -> str:
        return self.pick("season").replace("{y}", str(self.day.year - self.chance.randrange(1, 6)))

    def a_ga(self, form: str) -> str:
        return f"{self.back['lmp'] // 7}w{self.back['lmp'] % 7}d"

    def a_yob(self, form: str) -> str:
        return str(self.born.year)

    def a_age(self, form: str) -> str:
        return str(self.years)

    a_age90 = a_age

    def a_clock(self, form: str) -> str:
        hour, minute = self.chance.randrange(1, 12), self.chance.randrange(10, 60)
        if form == "am" or (self.language == "en" and form != "h24"):
            return f"{hour}:{minute} {self.chance.choice(['AM', 'PM'])}"
        return f"{hour + 10}{'h' if self.language == 'fr' else ':'}{minute}"

    def a_relation(self, form: str) -> str:
        return self.chance.choice(pools()["relation"][f"{self.language}_{self.kin_sex}"].split())

    def a_mrn(self, form: str) -> str:
        return self.once(
            "mrn",
            "########|######|##-##-##-#|@######|###-###-###"
            if self.language == "en"
            else "########|#######|##.###.###",
        )

    def a_accession(self, form: str) -> str:
        return self.once("accession", "########|RAD-##-#####|CT########|@@#######|##-###-######")

    def a_visit(self, form: str) -> str:
        return self.once("visit", "V##########|#########|E-#######")

    def a_ssn(self, form: str) -> str:
        own = {"en": "###-##-####", "de": "## ###### @ ###", "es": "########@", "fr": "# ## ## ## ### ### ##"}
        return self.once("ssn", own[self.language])

    def a_nhs(self, form: str) -> str:
        return self.once("nhs", "### ### ####")

    def a_insurance(self, form: str) -> str:
        own = {
            "en": "@@@##########|#@##-@@#-@@##|W#########-01",
            "de": "@#########",
            "es": "## ######## ##|@@@@##########",
            "fr": "########@",
        }
        return self.once("insurance", own[self.language])

    def a_licence(self, form: str) -> str:
        own = {
            "en": "@#####|#######|##########",
            "de": "########|#########",
            "es": "## ## #####|######",
            "fr": "1########|10#########",
        }
        return self.digits(self.chance.choice(own[self.language].split("|")))

    def a_serial(self, form: str) -> str:
        return self.digits(self.chance.choice(["@@@######@", "SN#######", "######-##", "@####-####-@"]))

    def a_uid(self, form: str) -> str:
        return self.digits("1.2.840.113###.#.###.########.##")

    def a_room(self, form: str) -> str:
        return self.digits(self.chance.choice(["###", "###-@", "@###", "###@"]))

    def a_code(self, form: str) -> str:
        return self.digits("@@#####")

    def a_phone(self, form: str) -> str:
        own = {
            "en": "(###) ###-####|###-###-####|###.###.####|+1 ### ### ####|1-###-###-####|###-###-#### ext. ####|0#### ######",
            "de": "0##1 / ####-##|0#### ######|+49 #### #####-0|0## 1/## ## ##|0### #######",
            "es": "9## ## ## ##|6########|+34 9## ### ###|9##-###-###",
            "fr": "0# ## ## ## ##|0#.##.##.##.##|+33 # ## ## ## ##|0#########",
        }
        return self.digits(self.chance.choice(own[self.language].split("|")))

    def a_pager(self, form: str) -> str:
        return self.digits(self.chance.choice(["####", "#####", "##-###"]))

    def a_mail(self, form: str) -> str:
        who = self.person("ref")
        plain = write_plain(f"{who.given[0]}.{who.last}")
        return f"{plain}@{self.chance.choice(pools()['mail']['domains'].split('|'))}"

    def a_url(self, form: str) -> str:
        return f"https://viewer.{self.chance.choice(['mesapacs', 'imageshare', 'rad-portal'])}.test/s/{self.digits('@@####@')}"

    def a_institution(self, form: str) -> str:
        if form == "own":  # the same house throughout the report
            self.numbers.setdefault("institution", self.pick("institution"))
            return self.numbers["institution"]
        return self.pick("institution")

    def a_ward(self, form: str) -> str:
        return self.pick("ward")

    def a_school(self, form: str) -> str:
        return self.pick("school")

    def a_club(self, form: str) -> str:
        return self.pick("club")

    def a_prison(self, form: str) -> str:
        return self.pick("prison")

    def a_regiment(self, form: str) -> str:
        return self.pick("regiment")

    def a_employer(self, form: str) -> str:
        return self.pick("employer")

    def a_street(self, form: str) -> str:
        return self.pick("street").replace(
            "{n}", str(self.chance.randrange(2, 2_400 if self.language == "en" else 180))
        )

    def a_town(self, form: str) -> str:
        return self.pick("town").replace("{z}", self.digits("###"))

    def a_city(self, form: str) -> str:
        return self.pick("city")


def write_plain(text: str) -> str:
    """The letters of a mail address."""
    letters = unicodedata.normalize("NFKD", text.lower()).replace("œ", "oe")
    return re.sub(r"[^a-z.]", "", letters)


def make_report(number: int, seed: int, template: tuple[str, str, str]) -> dict[str, Any]:
    """One report with its answer key."""
    name, language, text = template
    case = Case(random.Random(f"author2 {seed} {number}"), language, text)
    text = WHO.sub("", text)
    is_linked = case.chance.random() < 0.6
    out, clinical, length, pos = [], [], 0, 0
    spans: list[dict[str, Any]] = []
    for match in SLOT.finditer(text):
        before, value, more = case.slot(match[1])
        kept = text[pos : match.start()] + before
        start = length + len(kept)
        clinical.append([length, start])
        out += [kept, value]
        length = start + len(value)
        kind = match[1].split("_")[0]
        if kind in CATEGORY:
            known = is_linked and kind in KNOWN and (kind not in PEOPLE or "form" in more)
            span = {"start": start, "end": length, "category": CATEGORY[kind], "known": known}
            spans.append(span | {"form": "", "entity": "", "pattern": "", "day": ""} | more)
        pos = match.end()
    out.append(text[pos:])
    clinical.append([length, length + len(text) - pos])
    row = {"id": f"dev2-{seed}-{number} {name}", "patient": f"dev2-{seed}-{number}", "language": language}
    row |= {"template": name, "text": "".join(out), "spans": spans, "clinical": clinical}
    return row | {"identity": identity_of(case, is_linked)}


def identity_of(case: Case, is_linked: bool) -> dict[str, Any]:
    """What the header of a linked report says; nothing otherwise."""
    identity: dict[str, Any] = {"site": "dev2", "issuer": "", "sex": "", "study_uid": "", "other": []}
    identity |= {"names": [], "patient_name": "", "patient_id": "", "accession": "", "birth_date": ""}
    if is_linked:
        own, ref = (f"{p.last}^{p.given}" for p in map(case.person, ("patient", "ref")))
        identity |= {"names": [own, ref], "patient_name": own, "birth_date": case.born.strftime("%Y%m%d")}
        identity |= {"patient_id": case.a_mrn(""), "accession": case.a_accession("")}
    return identity


def make_reports(reports: int, seed: int) -> list[dict[str, Any]]:
    """Reports of the second development side, the same for the same seed; every template in turn."""
    order = list(templates())
    random.Random(seed).shuffle(order)
    return [make_report(n, seed, order[n % len(order)]) for n in range(reports)]
