"""Made-up radiology reports of the test side, as JSONL with every identifier's place, kind and value.

Run: python -m benchmarks.deid.text.test_side_generator OUT.jsonl [--reports 2400] [--seed 20261]
Templates, names, places and clinical sentences are the test_side_*.toml beside this file; their author saw none of the rules.
Belongs here: filling templates, messing them up, writing down where things are. Does not: scoring.

A template's slots: {patient:lf} a role and a way of writing (test_side_people.written); {study:num} a date and a kind of
pattern (test_side_dates.draw_pattern, or `uk`, `DBY`, `range`); {mrn} {phone} … numbers; {c} {c.neuro} {trap} {t} {h} {i} {occ}
clinical text; {n:4-9} {x:1.2-3.4} measurements; <a|b> either; <<m|f>> by the patient's sex.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.deid.text import test_side_dates as dates
from benchmarks.deid.text import test_side_people as people
from benchmarks.deid.text.test_side_noise import Piece, mess_up
from benchmarks.deid.text.test_side_people import Person, load

TEMPLATES = {"en": ("en_1", "en_2"), "de": ("de",), "es": ("es",), "fr": ("fr",)}
SHARE = {"en": 46, "de": 20, "es": 17, "fr": 17}
DATES = ["study", "prior", "prior2", "between", "between2", "birth", "sign", "next", "stay"]
STAFF = ["ref", "rad", "rad2", "res", "tech", "nurse", "surg", "onc", "sec", "typ", "other"]
FAMILY = ("rel", "rel2")
OWN_KNOWN = {"patient": 1.0, "ref": 0.85, "rad": 0.6, "tech": 0.3}
"""How often the header of the same study names the person."""
CATEGORY = {"pager": "phone", "ext": "phone", "serial": "device"}


@dataclass
class Case:
    """One patient: people and numbers stay the same over the patient's reports."""

    language: str
    country: str
    rng: random.Random
    people: dict[str, Person] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    birth: date = date(1950, 1, 1)

    @property
    def locale(self) -> dict[str, Any]:
        return load("places")[self.country]


def draw_case(seed: str, language: str, country: str) -> Case:
    rng = random.Random(seed)
    case = Case(language, country, rng)
    for role in ("patient", *STAFF, *FAMILY):
        case.people[role] = people.draw_person(rng, language)
    if rng.random() < 0.5:  # relatives often carry the patient's surname
        own = case.people["rel"]
        case.people["rel"] = Person(own.given, own.middle, case.people["patient"].surname, own.sex)
    for kind in people.NUMBERS:
        case.numbers[kind] = people.draw_number(rng, kind)
    for kind in ("phone", "phone2", "fax", "relphone"):
        case.numbers[kind] = people.digits(rng, rng.choice(people.PHONES[country]))
    for n in ("", "2", "3"):
        street = rng.choice(case.locale["streets"])
        number = str(rng.randrange(1, 2400 if country == "us" else 140))
        if country in ("us", "uk", "fr"):
            case.places["street" + n] = (
                f"{number}{',' if country == 'fr' and rng.random() < 0.4 else ''} {street}"
            )
        elif country == "es":
            case.places["street" + n] = f"{street}{rng.choice([' ', ', ', ' nº '])}{number}"
        else:
            case.places["street" + n] = f"{street} {number}{rng.choice(['', '', 'a', 'B'])}"
        case.places["city" + n] = rng.choice(case.locale["cities"])
        case.places["zip" + n] = people.digits(rng, rng.choice(people.ZIPS[country]))
    case.places["hospital"], case.places["hospital2"] = rng.sample(case.locale["hospitals"], 2)
    if rng.random() < 0.25:
        case.places["hospital2"] = rng.choice(case.locale["short_hospitals"])
    case.places["practice"] = rng.choice(case.locale["practices"])
    case.places["employer"] = rng.choice(case.locale["employers"])
    case.known = {role for role, share in OWN_KNOWN.items() if rng.random() < share}
    case.known |= {"mrn", "birth"} | {k for k in ("acc",) if rng.random() < 0.9}
    case.known |= {
        k for k, share in (("hospital", 0.7), ("relphone", 0.2), ("street3", 0.3)) if rng.random() < share
    }
    return case


def pattern_of(case: Case, kind: str, house: str, rng: random.Random) -> str:
    if kind == "DBY":
        return "%b %d, %Y"
    if kind == "dow":
        return rng.choice(
            [
                p
                for group in ("worded", "yearless")
                for p in dates.calendar()[group][case.country]
                if "%A" in p
            ]
        )
    return dates.draw_pattern(rng, case.country, house, "long" if kind == "uk" else kind)


class Report:
    """One report being filled: what was drawn for it alone."""

    def __init__(
        self, case: Case, template: dict[str, Any], rng: random.Random, earlier: Report | None = None
    ) -> None:
        self.case, self.template, self.rng, self.earlier = case, template, rng, earlier
        self.house = rng.choice(dates.calendar()["house"][case.country])
        self.age = (
            rng.choice([90, 91, 92, 93, 94, 96, 97, 99, 101, 103])
            if template.get("over89")
            else rng.randrange(19, 88)
        )
        self.days = self._draw_days()
        self.used: set[str] = set()

    def _draw_days(self) -> dict[str, date]:
        rng = self.rng
        study = dates.random_day(rng, date(2009, 1, 1), date(2024, 2, 28))
        if self.earlier:  # the same patient again, months later
            study = self.earlier.days["study"] + timedelta(days=rng.randrange(30, 300))
        prior = study - timedelta(days=rng.randrange(20, 900))
        prior2 = prior - timedelta(days=rng.randrange(40, 1500))
        gap = (prior - prior2).days
        birth = study - timedelta(days=round(self.age * 365.25) + rng.randrange(1, 360))
        if self.earlier:
            birth = self.earlier.days["birth"]
            self.age = int((study - birth).days / 365.25)
        return {
            "study": study,
            "prior": prior,
            "prior2": prior2,
            "between": prior2 + timedelta(days=gap // 3),
            "between2": prior2 + timedelta(days=gap // 2),
            "birth": birth,
            "sign": study + timedelta(days=rng.randrange(0, 4)),
            "next": study + timedelta(days=rng.randrange(14, 400)),
            "stay": study.replace(day=rng.randrange(2, 20)),
        }

    def sentence(self, pool: str) -> str:
        pools = load(f"clinical_{self.case.language}")
        left = [s for s in pools.get(pool, pools["abdomen"]) if s not in self.used] or pools["abdomen"]
        drawn = self.rng.choice(left)
        self.used.add(drawn)
        return drawn

    def fill(self, text: str) -> list[Piece]:
        text = re.sub(
            r"<<([^|>]*)\|([^>]*)>>", lambda m: m[1 if self.case.people["patient"].sex == "M" else 2], text
        )
        text = re.sub(r"<([^|<>@{]+)\|([^|<>]+)>", lambda m: self.rng.choice([m[1], m[2]]), text)
        pieces: list[Piece] = []
        for part in re.split(r"(\{[^}]+\})", text):
            pieces += self.slot(part[1:-1]) if part.startswith("{") else [Piece(part)]
        return pieces

    def slot(self, slot: str) -> list[Piece]:
        name, _, form = slot.partition(":")
        pools = {"h": "history", "i": "impression", "t": "technique", "occ": "occupation"}
        if name in self.case.people:
            return self.person(name, form)
        if name in DATES:
            return [self.date(name, form)]
        if name == "n":
            low, high = map(int, form.split("-"))
            return [Piece(str(self.rng.randint(low, high)))]
        if name == "x":
            low, high = map(float, form.split("-"))
            number = f"{self.rng.uniform(low, high):.1f}"
            return [Piece(number if self.case.language == "en" else number.replace(".", ","))]
        if name == "trap":
            return self.fill(self.sentence(self.rng.choice(["chest", "abdomen", "neuro", "msk", "vascular"])))
        if name == "c" or name.startswith("c."):
            return self.fill(self.sentence(name[2:] or self.template["region"]))
        if name in pools:
            return self.fill(self.sentence(pools[name]))
        return self.other(name)

    def person(self, role: str, form: str) -> list[Piece]:
        who = self.case.people[role]
        shares_surname = who.surname == self.case.people["patient"].surname
        known = role in self.case.known or (role == "rel" and shares_surname and form in ("l", "L"))
        pieces = []
        if form.startswith("title_"):
            title = people.TITLES[self.case.language]
            pieces.append(Piece(title["staff" if role in STAFF else who.sex], "neutral"))
            form = form.removeprefix("title_")
        if form == "low_email":
            return [Piece(self.mail(role), "mail", known, f"mail/{role}")]
        text = people.written(who, form, self.rng)
        if role == "patient" and len(text) > 9 and self.rng.random() < 0.015:  # a typist's slip
            at = self.rng.randrange(3, len(text) - 2)
            if text[at].isalpha() and text[at + 1].isalpha():
                text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        category = "initials" if form in ("ini", "ini2") else "name"
        return [*pieces, Piece(text, category, known, role, form)]

    def date(self, role: str, kind: str) -> Piece:
        case, day = self.case, self.days[role]
        if kind == "range":
            last = day + timedelta(days=self.rng.randrange(2, 8))
            words = {
                "en": "%B {}-{}, %Y",
                "de": "{}.-{}.%m.%Y",
                "es": "del {} al {} de %B de %Y",
                "fr": "du {} au {} %B %Y",
            }
            text = dates.write(day, words[case.language].format(day.day, last.day), case.language)
            return Piece(text, "date", entity=role)
        pattern = pattern_of(case, kind or "any", self.house, self.rng)
        text = dates.write(day, pattern, case.language)
        if kind == "DBY":
            text = text.upper()
        known = role == "birth"
        return Piece(text, "birth_date" if known else "date", known, role, "", day.isoformat(), pattern)

    def mail(self, role: str) -> str:
        return f"{people.mail_name(self.case.people[role], self.rng)}@{self.rng.choice(self.case.locale['mail_domains'])}"

    def other(self, name: str) -> list[Piece]:
        case, rng = self.case, self.rng
        known = name in case.known
        if name == "age":
            return [Piece(str(self.age), "age" if self.age > 89 else "")]
        if name == "time":
            return [Piece(self.clock(), "neutral")]
        if name in ("state", "caqc", "alias"):
            words = {"state": rng.choice(case.locale["states"]), "caqc": "Canada", "alias": "UNKNOWN FOXTROT"}
            return [Piece(words[name], "neutral")]
        if name.startswith("email"):
            role = {"email": "sec", "email2": "ref", "email3": "patient"}[name]
            return [Piece(self.mail(role), "mail", False, f"mail/{role}")]
        if name == "url":
            domain = case.locale["mail_domains"][0]
            tail = rng.choice(
                [
                    "",
                    "/viewer?study=" + people.digits(rng, "########"),
                    "/pacs/p/" + people.digits(rng, "@####"),
                ]
            )
            return [
                Piece(rng.choice(["https://portal.", "www.", "http://"]) + domain + tail, "url", False, "url")
            ]
        if name == "address":
            parts = [("street3", "address"), ("city3", "place"), ("zip3", "address")]
            return [
                p
                for n, (k, c) in enumerate(parts)
                for p in ([Piece(", ")] if n else []) + [Piece(case.places[k], c, k in case.known, k)]
            ]
        if name in case.numbers:
            category = CATEGORY.get(name, "phone" if "phone" in name or name == "fax" else "id")
            return [Piece(case.numbers[name], category, known, name)]
        kind = re.sub(r"\d", "", name)
        category = {"city": "place", "zip": "address", "street": "address"}.get(kind, "institution")
        return [Piece(case.places[name], category, known, name)]

    def clock(self) -> str:
        hour, minute = self.rng.randrange(24), self.rng.randrange(60)
        if self.case.country == "us":
            return f"{hour % 12 or 12}:{minute:02d} {'AM' if hour < 12 else 'PM'}"
        return self.rng.choice(
            [
                f"{hour:02d}:{minute:02d}",
                f"{hour}.{minute:02d}" if self.case.country == "uk" else f"{hour}:{minute:02d}",
            ]
        )


def identity_of(case: Case, birth: date) -> dict[str, Any]:
    """What the header of the same study says, in the ways that headers say it."""
    rng = random.Random(repr(sorted(case.numbers.items())))
    shouts, plain = rng.random() < 0.5, rng.random() < 0.4

    def header(text: str) -> str:
        text = people.unmarked(text) if plain else text
        return people.upper(text) if shouts else text

    names = [header(case.people[role].component_name) for role in OWN_KNOWN if role in case.known]
    other = [case.numbers["relphone"]] * ("relphone" in case.known)
    other += [case.places["street3"]] * ("street3" in case.known)
    other += [header(case.places["hospital"])] * ("hospital" in case.known)
    return {
        "site": "test-side",
        "patient_id": case.numbers["mrn"],
        "issuer": "",
        "names": names,
        "birth_date": birth.strftime("%Y%m%d"),
        "sex": case.people["patient"].sex,
        "accession": case.numbers["acc"] if "acc" in case.known else "",
        "study_uid": case.numbers["uid"],
        "other": other,
        "patient_name": names[0],
    }


def make_reports(n_reports: int, seed: int) -> list[dict[str, Any]]:
    """`n_reports` reports, one to three a patient, templates in turn."""
    rng = random.Random(seed)
    shelves = {
        language: [t for name in names for t in load(name)["report"]] for language, names in TEMPLATES.items()
    }
    turns = dict.fromkeys(shelves, 0)
    reports: list[dict[str, Any]] = []
    patient = 0
    while len(reports) < n_reports:
        patient += 1
        language = rng.choices(list(SHARE), list(SHARE.values()))[0]
        country = ""
        case, report = None, None
        for _ in range(rng.choice([1, 1, 2, 3])):
            shelf = shelves[language]
            template = shelf[turns[language] % len(shelf)]
            if case is not None and (template["country"] != country or template.get("over89")):
                break
            turns[language] += 1
            country = template["country"]
            case = case or draw_case(f"{seed}/{patient}", language, country)
            report = Report(case, template, rng, report)
            reports.append(_row(case, report, f"{seed}-{patient:05d}", len(reports)))
    return reports[:n_reports]


def _row(case: Case, report: Report, patient: str, number: int) -> dict[str, Any]:
    pieces = mess_up(report.fill(report.template["text"].strip("\n")), report.rng, case.language)
    spans, at = [], 0
    for piece in pieces:
        if piece.category and piece.text:
            row = asdict(piece)
            row.pop("text")
            spans.append({"start": at, "end": at + len(piece.text)} | row)
        at += len(piece.text)
    return {
        "id": f"{patient}/{number}",
        "patient": patient,
        "language": case.language,
        "template": f"{case.language}: {report.template['style']}",
        "text": "".join(p.text for p in pieces),
        "spans": spans,
        "identity": identity_of(case, report.days["birth"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--reports", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=20261)
    arguments = parser.parse_args()
    with arguments.out.open("w", encoding="utf-8") as file:
        for row in make_reports(arguments.reports, arguments.seed):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
