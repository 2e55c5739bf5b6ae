"""Sites, patients and their studies: who is in the corpus, with identities that are canaries themselves.

What belongs here: people and the days and numbers of their studies. What does not: objects (the builders).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.deid.corpus.canary import BIRTH_YEARS, Canary, Mint


@dataclass(frozen=True, slots=True)
class Site:
    """One hospital. `scripts` are (family, given) from which names in the local script are made; `charset` is (0008,0005)."""

    name: str
    charset: tuple[str, ...]
    family: str
    given: str
    maker: str
    model: str


SITES = {
    "dev": (
        Site("dev-west", ("ISO_IR 100",), "Müßigänger", "Grßädög", "SIEMENS", "SOMATOM Definition"),
        Site("dev-north", ("ISO_IR 144",), "Люксембург", "Жанна", "GE MEDICAL SYSTEMS", "Discovery CT750 HD"),
        Site("dev-east", ("", "ISO 2022 IR 87"), "山田川村", "太郎花子", "Philips", "Ingenia"),
        Site("dev-any", ("ISO_IR 192",), "Şükrüoğlu", "Νικόλαος", "Canon Medical Systems", "Aquilion ONE"),
    ),
    "test": (
        Site("test-south", ("ISO_IR 100",), "Peñíscola", "Ünñíóé", "SIEMENS", "SOMATOM Force"),
        Site("test-isles", ("ISO_IR 126",), "Διονυσίου", "Ιωάννης", "TOSHIBA", "Aquilion"),
        Site("test-river", ("", "ISO 2022 IR 149"), "김희중이", "박상수준", "Philips", "Achieva"),
        Site("test-plain", ("GB18030",), "王小东李", "赵丽颖钱", "GE MEDICAL SYSTEMS", "Revolution CT"),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Study:
    """One study of a patient: its day and numbers."""

    uid: Canary
    day: Canary
    accession: Canary
    number: Canary
    frame_of_reference: Canary
    referrer: Canary
    series: dict[str, Canary] = field(default_factory=dict)
    instances: list[tuple[str, str]] = field(default_factory=list)

    def series_uid(self, mint: Mint, kind: str) -> Canary:
        """The series of one kind of object, the same for all of its objects."""
        return self.series.setdefault(kind, mint.uid())


@dataclass(slots=True)
class Patient:
    """One person at one site, with the studies made there."""

    site: Site
    name: Canary
    local_name: Canary
    id: Canary
    birth: Canary
    sex: str
    weight: str
    studies: list[Study]


def make_patient(mint: Mint, site: Site, n_studies: int) -> Patient:
    """A new patient; birth date and study days are canaries, and far from the limit of 89 years."""
    studies = [
        Study(mint.uid(), mint.day(), mint.number(), mint.number(), mint.uid(), mint.name())
        for _ in range(n_studies)
    ]
    return Patient(
        site,
        mint.name(),
        mint.script_name(site.family, site.given),
        mint.short_number() if mint.random.random() < 0.15 else mint.number(),
        mint.day(BIRTH_YEARS),
        mint.random.choice("FM"),
        f"{mint.random.randint(45, 110)}.5",
        studies,
    )
