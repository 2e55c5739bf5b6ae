"""Report text of the development side: templates and names by the author of the rules, with an answer key.

What belongs here: filling dev_templates.toml. What does not: the test side, which another author wrote and whose failures the
author of the rules has not seen. Run it with bench_text.py --side dev.
"""

from __future__ import annotations

import random
import re
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SLOT = re.compile(r"\{(\w+)\}")
TITLED = re.compile(
    r"^(?:(?:Mr|Ms|Mrs|Dr|Dra|Prof|OA|med|Herr|Frau|Don|Sra|M|Mme|Pr|Docteur|Nurse)\b\.?[ ])+"
)
NAMES = {
    "en_US": ("Darnell Phyllis Wanda Clifford Trent Marisol Beverley Quentin", "Whitcomb Abernathy Stanfield Oduya Baker Price Young Lindqvist Marsh Tennyson Hollingsworth McAllister O'Hara"),
    "en_GB": ("Alistair Gillian Fiona Desmond", "Featherstone Ramsbottom Cholmondeley Hargreave Smythe-Jones Wall Long"),
    "de": ("Jürgen Annelore Rüdiger Hannelore Sören Margarethe", "Müller Schönfelder Grünwald Hasselbach Weiß Lange von Bülow Kretschmer-Vogt Obermüller Stein"),
    "es": ("María José Íñigo Montserrat Juan Carlos", "García López,Echevarría Núñez,de la Cruz Peña,Ibáñez Blanco,Zubizarreta Gómez"),
    "fr": ("Jean-Baptiste Geneviève Éloïse Thibault", "Lefèbvre Beauchamp Petit d'Aubigny Le Goff Saint-Martin Charpentier Roux"),
    "it": ("Gianluca Ornella Pierpaolo", "Bevilacqua Di Pietro Sangiovanni Dell'Acqua"),
    "pl": ("Grzegorz Bożena Wojciech", "Brzęczyszczykiewicz Wróbel Jabłoński Szczepańska"),
    "ru": ("Vyacheslav Lyudmila Gennady", "Ovchinnikov Tchaikovskaya Zhukov Sergeyeva"),
    "tr": ("Çağlar Gülşen Oğuz", "Yıldırım Karagöz Büyükçelik Şen"),
    "ar": ("Abdelrahman Nasreen Hisham", "Al-Sayed El Khatib Bin Laith Abu Zayd"),
    "in": ("Venkatesh Padmavathi Harpreet", "Ramasubramanian Chattopadhyay Kulkarni Dhillon"),
    "cn": ("Xiaoming Jiayi Zhiwei", "Ouyang Xu Deng Shi"),
    "vn": ("Quang Thuy Duong", "Nguyen Vuong Trinh"),
    "ng": ("Oluwatobi Ngozichukwu", "Adeyinka Onwuachi Nwankwo"),
}  # fmt: skip
PLACES = {
    "en": ("Cedar Ridge Hospital|St. Brendan's Medical Center|Lakeshore Imaging Associates|University of Northfield Health System|Royal Penwith Infirmary", "Maple Hollow Drive|Old Quarry Road|N Sycamore Ave|Kings Crescent", "Fairmont, OH 44102|Penrith|Greenwich, CT 06830|Wolverhampton"),
    "de": ("Klinikum Hohenlohe|St.-Elisabeth-Krankenhaus Neustadt|Universitätsklinikum Freudenberg|Marienhospital Altena|Praxis Dr. Kessel", "Schillerstraße|Am Kirchberg|Lange Gasse|Bahnhofstr.", "Künzelsau|Bad Urach|Altena"),
    "es": ("Hospital Universitario La Serena|Clínica Nuestra Señora del Mar|Hospital General de Villafranca|Centro de Salud Los Olmos", "Calle del Olmo|Avenida de la Constitución|Plaza Mayor|C/ San Roque", "Villafranca|Getxo|Torrelavega"),
    "fr": ("CHU de Valmont|Clinique Saint-Roch|Hôpital Beauséjour|Centre hospitalier de Rochebrune", "rue des Tilleuls|avenue du Général Leclerc|boulevard Victor Hugo", "Rochebrune|Saint-Malo|Villefranche-sur-Mer"),
}  # fmt: skip
RELATIVES = {
    "en": "daughter son wife husband mother",
    "de": "Tochter Ehefrau Mutter",
    "es": "hija esposa madre",
    "fr": "fille épouse mère",
}
TITLES = {"en": ("Dr. {}", "Prof. {}", "Dr {}"), "de": ("Dr. med. {}", "OA Dr. {}", "Prof. Dr. {}", "Frau Dr. {}"), "es": ("Dr. {}", "Dra. {}"), "fr": ("Dr {}", "Pr {}", "Docteur {}")}  # fmt: skip
PATIENTS = {
    "en": ("Mr. {}", "Ms. {}", "Mrs {}"),
    "de": ("Herr {}", "Frau {}"),
    "es": ("Don {}", "Sra. {}"),
    "fr": ("M. {}", "Mme {}"),
}
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
}
DAYS = {
    "en": "Monday Tuesday Friday",
    "de": "Montag Dienstag Freitag",
    "es": "lunes martes viernes",
    "fr": "lundi mardi vendredi",
}
CATEGORY = {
    "patient": "name", "staff": "name", "nurse": "name", "given": "name", "last": "name", "date": "date", "dob": "date", "month": "date",
    "weekday": "date", "mrn": "id", "accession": "id", "ssn": "id", "insurance": "id", "serial": "device", "phone": "phone",
    "email": "email", "url": "url", "institution": "institution", "street": "address", "town": "address", "zip": "address",
}  # fmt: skip


class Case:
    """One patient, one report."""

    def __init__(self, chance: random.Random, language: str) -> None:
        self.chance, self.language = chance, language
        self.given, self.last = self.person()
        self.mrn = f"{chance.randrange(10**6, 10**8)}"
        self.accession = f"{chance.choice(['ACC', 'CT', 'X', ''])}{chance.randrange(10**6, 10**7)}"
        self.born = date(1930, 1, 1) + timedelta(days=chance.randrange(25_000))
        self.day = date(2012, 1, 1) + timedelta(days=chance.randrange(4_000))

    def person(self) -> tuple[str, str]:
        locale = self.chance.choice([k for k in NAMES if k.startswith(self.language)] * 6 + list(NAMES))
        given, last = NAMES[locale]
        lasts = last.split(",") if "," in last else _families(last)
        return self.chance.choice(given.split()), self.chance.choice(lasts)

    def slot(self, name: str) -> str:
        kind, _, form = name.removesuffix("_k").partition("_")
        if kind in ("patient", "staff"):
            given, last = (self.given, self.last) if kind == "patient" else self.person()
            return self.named(form, given, last, PATIENTS if kind == "patient" else TITLES)
        return str(getattr(self, f"a_{kind}")(form))

    def named(self, form: str, given: str, last: str, titles: dict[str, tuple[str, ...]]) -> str:
        if form == "last_first":
            written = f"{last}, {given}"
            return written.upper() if self.chance.random() < 0.4 else written
        if form == "title":
            return self.chance.choice(titles[self.language]).format(last)
        return {"full": f"{given} {last}", "initial": f"{given[0]}. {last}"}.get(form, last)

    def a_nurse(self, form: str) -> str:
        return f"Nurse {self.person()[1]}"

    def a_given(self, form: str) -> str:
        return self.person()[0]

    def a_last(self, form: str) -> str:
        return self.person()[1]

    def a_mrn(self, form: str) -> str:
        return self.mrn if self.chance.random() < 0.6 else f"{self.mrn[:3]}-{self.mrn[3:]}"

    def a_accession(self, form: str) -> str:
        return self.accession

    def a_dob(self, form: str) -> str:
        return self.numeric(self.born)

    def numeric(self, day: date) -> str:
        return day.strftime({"en": "%m/%d/%Y", "de": "%d.%m.%Y"}.get(self.language, "%d/%m/%Y"))

    def a_date(self, form: str) -> str:
        day = self.day - timedelta(days=self.chance.choice([0, 0, 3, 200, 700]))
        month = MONTHS[self.language].split()[day.month - 1]
        if form == "long":
            return {"en": f"{month} {day.day}, {day.year}", "de": f"{day.day}. {month} {day.year}", "es": f"{day.day} de {month} de {day.year}"}.get(self.language, f"{day.day} {month} {day.year}")  # fmt: skip
        if form == "yearless":
            return f"{month} {day.day}"
        return {"iso": day.isoformat(), "slash": day.strftime("%m/%d/%y")}.get(form, self.numeric(day))

    def a_month(self, form: str) -> str:
        return f"{MONTHS[self.language].split()[self.day.month - 1]} {self.day.year}"

    def a_weekday(self, form: str) -> str:
        return self.chance.choice(DAYS[self.language].split())

    def a_age(self, form: str) -> str:
        return str(self.chance.randrange(20, 89))

    def a_clock(self, form: str) -> str:
        return f"{self.chance.randrange(24):02d}:{self.chance.randrange(60):02d}"

    def a_relative(self, form: str) -> str:
        return self.chance.choice(RELATIVES[self.language].split())

    def a_phone(self, form: str) -> str:
        n = [str(self.chance.randrange(10)) for _ in range(9)]
        forms = {"en": "({0}{1}{2}) 5{3}{4}-{5}{6}{7}{8}", "de": "06{0}{1}1 / {2}{3}{4}{5}-{6}", "es": "9{0} {1}{2}{3} {4}{5} {6}{7}", "fr": "0{0} {1}{2} {3}{4} {5}{6} {7}{8}"}  # fmt: skip
        return forms[self.language].format(*n)

    def a_ssn(self, form: str) -> str:
        n = self.chance.randrange(10**7, 10**8)
        return {"en": f"{n % 900 + 100}-{n % 89 + 10}-{n % 9000 + 1000}", "es": f"{n}-K", "fr": f"1 85 05 78 {n % 900 + 100} {n % 899 + 100} 36"}.get(self.language, f"A{n}0")  # fmt: skip

    def a_insurance(self, form: str) -> str:
        return f"{self.chance.choice('ABKX')}{self.chance.randrange(10**8, 10**9)}"

    def a_serial(self, form: str) -> str:
        return f"SN-{self.chance.randrange(10**5, 10**6)}-Q"

    def a_email(self, form: str) -> str:
        return f"{self.last.split()[-1].lower().strip(chr(39))}@{self.chance.choice(['clinic-mail.org', 'praxis.de', 'chu.fr'])}"

    def a_url(self, form: str) -> str:
        return f"https://pacs.lakeshore-rad.net/view?acc={self.accession}"

    def a_institution(self, form: str) -> str:
        return self.chance.choice(PLACES[self.language][0].split("|"))

    def a_street(self, form: str) -> str:
        street, n = self.chance.choice(PLACES[self.language][1].split("|")), self.chance.randrange(1, 300)
        return {"en": f"{n} {street}", "fr": f"{n} {street}", "es": f"{street}, {n}"}.get(
            self.language, f"{street} {n}"
        )

    def a_town(self, form: str) -> str:
        return self.chance.choice(PLACES[self.language][2].split("|"))

    def a_zip(self, form: str) -> str:
        return f"{self.chance.randrange(10_000, 99_999)} {self.a_town(form)}"


def _families(text: str) -> list[str]:
    """Families of a list in which particles belong to the word after them."""
    found: list[str] = []
    for word in text.split():
        if found and found[-1].split()[-1].lower() in ("von", "di", "le", "el", "bin", "abu", "de"):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found


def make_report(number: int, seed: int, templates: dict[str, Any]) -> dict[str, Any]:
    """One report with its answer key."""
    chance = random.Random(f"{seed} {number}")
    language = chance.choice(["en", "en", "de", "es", "fr"])
    case = Case(chance, language)
    template = chance.choice(templates[language]["reports"])
    is_linked = chance.random() < 0.6
    out, spans, clinical, length, pos = [], [], [], 0, 0
    for match in SLOT.finditer(template):
        kept, name = template[pos : match.start()], match[1]
        value = case.slot(name)
        clinical.append([length, length + len(kept)])
        start = length + len(kept)
        out += [kept, value]
        length = start + len(value)
        category = CATEGORY.get(name.split("_")[0])
        if category:
            start += len(value) - len(TITLED.sub("", value))  # titles stay
            spans.append(
                {
                    "start": start,
                    "end": length,
                    "category": category,
                    "known": is_linked and name.endswith("_k"),
                }
            )
        pos = match.end()
    out.append(template[pos:])
    clinical.append([length, length + len(template) - pos])
    known = {"names": [f"{case.last}^{case.given}"], "patient_id": case.mrn, "accession": case.accession}
    known |= {"birth_date": case.born.strftime("%Y%m%d"), "patient_name": f"{case.last}^{case.given}"}
    nobody: dict[str, Any] = {
        "names": [],
        "patient_id": "",
        "accession": "",
        "birth_date": "",
        "patient_name": "",
    }
    identity = {"site": "dev", "issuer": "", "sex": "", "study_uid": "", "other": []} | (
        known if is_linked else nobody
    )
    row = {"id": f"dev-{seed}-{number}", "language": language, "text": "".join(out), "spans": spans}
    return row | {"clinical": clinical, "identity": identity, "patient": f"dev-{seed}-{number}"}


def make_reports(reports: int, seed: int) -> list[dict[str, Any]]:
    """Reports of the development side, the same for the same seed."""
    templates = tomllib.loads((HERE / "dev_templates.toml").read_text(encoding="utf-8"))
    return [make_report(n, seed, templates) for n in range(reports)]
