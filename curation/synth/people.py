"""Who comes to a site, what they have, when they are imaged, how it ends.

What belongs here: persons, disease, planned studies, outcomes. What does not: pictures, files and sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from curation.synth.chance import spread, stream
from curation.synth.dialect import Dialect, Profile
from curation.synth.identity import Coiner, Name

# Every study lies within one calendar year and less than 365 days from any other: a date shifted by a year or more
# never lands on another planted date, so a date found in the lake is a leak and not an accident.
FIRST_DAY = date(2023, 1, 4)
SPAN_DAYS = 350
OBSERVED_DAYS = 1825
CHEST = ("nodule", "effusion", "emphysema", "fibrosis")
ASSESSED: Mapping[str, tuple[str, ...]] = {
    "radiograph": CHEST,
    "ct": CHEST,
    "mr": ("lesion",),
    "us": ("mass",),
}
"""Which findings a kind of study can show."""

LEXICON: Mapping[str, str] = {
    "nodule": "nodule",
    "effusion": "pleural_effusion",
    "emphysema": "emphysema",
    "fibrosis": "fibrosis",
    "lesion": "brain_lesion",
    "mass": "breast_mass",
}
"""What a finding is called in reports' labels and in the truth: its name in curation/findings."""

HAZARD = {"nodule": 0.9, "effusion": 0.7, "emphysema": 0.5, "fibrosis": 0.6, "lesion": 0.9, "mass": 0.4}
"""Log hazard ratio of death a finding."""


@dataclass(frozen=True, slots=True)
class Disease:
    """What a person has. Sizes are diameters at the first study, 0 where absent; the rest is severity from 0 to 1."""

    nodule_mm: float
    nodule_contrast: float
    effusion: float
    emphysema: float
    fibrosis: float
    lesion_mm: float
    mass_mm: float

    def has(self, finding: str) -> bool:
        """Whether a finding is there."""
        amount: float = (
            getattr(self, f"{finding}_mm")
            if finding in ("nodule", "lesion", "mass")
            else getattr(self, finding)
        )
        return amount > 0


@dataclass(frozen=True, slots=True)
class PlannedStudy:
    """One study to make. `kind` is radiograph, ct, mr or us; growth multiplies the sizes of the disease."""

    kind: str
    day: date
    accession: str
    uid: str
    growth: float


@dataclass(frozen=True, slots=True)
class Person:
    """One person at one site. `key` is the truth that no hospital knows: one person at two sites has one key."""

    key: str
    site: str
    name: Name
    sex: str
    birth_date: date
    patient_id: str
    address: str
    phone: str
    mother: Name
    disease: Disease
    days_to_death: float
    studies: tuple[PlannedStudy, ...]

    def age_years(self, day: date) -> int:
        """Completed years on a day."""
        return (
            day.year
            - self.birth_date.year
            - ((day.month, day.day) < (self.birth_date.month, self.birth_date.day))
        )

    def outcome(self, day: date) -> tuple[float, bool]:
        """Days from a day to death or to the end of observation, and whether death was observed."""
        passed = (day - self.studies[0].day).days
        end = OBSERVED_DAYS - 400 * spread(int(self.key.split("-")[-1]))
        observed = self.days_to_death <= end
        return float(round(min(self.days_to_death, end) - passed)), observed


def _disease(rng: np.random.Generator, prevalence: Mapping[str, float], kind: str, place: float) -> Disease:
    """Disease of one person; `place` in [0, 1) decides the finding that the first study is about."""
    draws = {name: bool(rng.random() < share) for name, share in prevalence.items()}
    subject = {"radiograph": "nodule", "ct": "nodule", "mr": "lesion", "us": "mass"}[kind]
    draws[subject] = place < prevalence[subject]
    size = {"nodule": rng.uniform(12, 30), "lesion": rng.uniform(9, 26), "mass": rng.uniform(8, 22)}
    severity = {name: float(rng.uniform(0.4, 1.0)) for name in ("effusion", "emphysema", "fibrosis")}
    return Disease(
        nodule_mm=float(size["nodule"]) * draws["nodule"],
        nodule_contrast=float(rng.uniform(0.75, 1.0)),
        effusion=severity["effusion"] * draws["effusion"],
        emphysema=severity["emphysema"] * draws["emphysema"],
        fibrosis=severity["fibrosis"] * draws["fibrosis"],
        lesion_mm=float(size["lesion"]) * draws["lesion"],
        mass_mm=float(size["mass"]) * draws["mass"],
    )


def _days_to_death(rng: np.random.Generator, age: float, disease: Disease, alive_days: int) -> float:
    """Exponential survival from the first study, and beyond `alive_days`, when the last one was taken.

    The hazard doubles every 14 years of age and grows with what the picture shows.
    """
    risk = sum(weight for finding, weight in HAZARD.items() if disease.has(finding))
    risk += 0.03 * disease.nodule_mm
    rate = 0.05 / 365 * np.exp(0.05 * (age - 62) + risk)
    return float(alive_days + max(3.0, min(rng.exponential(1 / rate), 20_000.0)))


def _age(rng: np.random.Generator, index: int) -> float:
    if index % 16 == 9:
        return float(rng.uniform(90, 97))
    return float(np.clip(rng.normal(61, 15), 19, 88))


def _studies(
    rng: np.random.Generator,
    dialect: Dialect,
    profile: Profile,
    coiner: Coiner,
    kind: str,
    numbers: tuple[int, int],
) -> tuple[PlannedStudy, ...]:
    """The first study and, for some, follow-ups; a chest film is often followed by a CT."""
    kinds = [kind]
    while rng.random() < profile.follow_up_share and len(kinds) < 3:
        kinds.append("ct" if kind == "radiograph" and rng.random() < 0.4 else kind)
    days = np.sort(rng.choice(SPAN_DAYS, len(kinds), replace=False))
    return tuple(
        PlannedStudy(
            kind=k,
            day=FIRST_DAY + timedelta(days=int(day)),
            accession=coiner.number(dialect.accession),
            uid=coiner.uid(*numbers, n),
            growth=1.0 + 0.15 * n,
        )
        for n, (k, day) in enumerate(zip(kinds, days, strict=True), start=1)
    )


def make_person(seed: int, dialect: Dialect, profile: Profile, coiner: Coiner, index: int) -> Person:
    """Person number `index` (from 0) of a site."""
    rng = stream(seed, dialect.name, index, "person")
    kind = profile.mix[index % len(profile.mix)]
    studies = _studies(rng, dialect, profile, coiner, kind, (dialect.order, index + 1))
    # the place counts within the kind, so that each kind of study meets its site's prevalence
    round_, turn = divmod(index, len(profile.mix))
    n_before = round_ * profile.mix.count(kind) + profile.mix[:turn].count(kind)
    disease = _disease(rng, dialect.prevalence, kind, spread(n_before, start=0.13 * dialect.order))
    age = _age(rng, index)
    sex = "F" if kind == "us" or rng.random() < 0.48 else "M"
    return Person(
        key=f"{dialect.name}-{index}",
        site=dialect.name,
        name=coiner.name(dialect),
        sex=sex,
        birth_date=studies[0].day - timedelta(days=int(age * 365.25) + 1),
        patient_id=coiner.number(dialect.patient_id),
        address=coiner.address(),
        phone=coiner.number(dialect.phone),
        mother=coiner.name(dialect, with_middle=False),
        disease=disease,
        days_to_death=_days_to_death(rng, age, disease, (studies[-1].day - studies[0].day).days),
        studies=studies,
    )


def visit_elsewhere(person: Person, stranger: Person) -> Person:
    """The same person at a second site: the stranger's numbers and studies there, the person's self and day of death."""
    first, last = stranger.studies[0].day, stranger.studies[-1].day
    apart = (person.studies[0].day - first).days
    return replace(
        stranger,
        key=person.key,
        name=replace(person.name, ideographs=""),
        sex=person.sex,
        birth_date=person.birth_date,
        phone=person.phone,
        address=person.address,
        mother=person.mother,
        disease=person.disease,
        days_to_death=max(person.days_to_death + apart, (last - first).days + 3.0),
    )
