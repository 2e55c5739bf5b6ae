"""Generate deliveries of several sites into a folder, with the answer key and the truth beside them.

Everything follows from the seed: the same arguments give the same bytes. All persons and pictures are synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.records import ConfigurationError
from curation.synth.case import Case, Staff
from curation.synth.chance import stream
from curation.synth.delivery import Delivery
from curation.synth.dialect import Dialect, Profile, load_dialects, load_profile
from curation.synth.identity import AnswerKey, Coiner
from curation.synth.people import ASSESSED, LEXICON, Person, make_person, visit_elsewhere
from curation.synth.report import Report, write_report
from curation.synth.studies import STUDIES

N_STAFF = 3
VISITOR_EVERY, VISITOR_FIRST = 9, 4

_TRUTH = pa.schema(
    [
        ("site", pa.string()), ("study_uid", pa.string()), ("accession", pa.string()), ("patient_id", pa.string()),
        ("person", pa.string()), ("kind", pa.string()), ("study_date", pa.date32()), ("age_years", pa.int32()),
        ("sex", pa.string()), ("n_files", pa.int32()),
        *((name, pa.bool_()) for name in LEXICON.values()),
        *((f"stated_{name}", pa.int8()) for name in LEXICON.values()),
        ("nodule_mm", pa.float64()), ("days_to_death", pa.float64()), ("death_observed", pa.bool_()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """What was generated. `expected` says for each site what intake should count, refusals by reason among it."""

    sites: tuple[str, ...]
    patients: int
    studies: int
    files: int
    bytes: int
    planted: int
    expected: Mapping[str, Mapping[str, int]]


def generate(
    dst: Path,
    *,
    sites: int,
    patients: int,
    seed: int,
    profile: str = "default",
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Write `sites` deliveries with `patients` patients in all under dst/<site>/; answer_key.parquet and truth.parquet in dst.

    `progress` is told (patients done, patients in all). Raises ConfigurationError where the numbers cannot be met or
    dst already holds something.
    """
    dialects, sizes = load_dialects(), load_profile(profile)
    if not 1 <= sites <= len(dialects):
        raise ConfigurationError(
            f"There are {len(dialects)} site dialects: use --sites 1 to {len(dialects)}."
        )
    if patients < sites:
        raise ConfigurationError(
            f"{patients} patients are too few for {sites} sites: use --patients {sites} or more."
        )
    if dst.exists() and any(dst.iterdir()):
        raise ConfigurationError(f"{dst} is not empty. Name a new folder, or remove this one first.")
    dst.mkdir(parents=True, exist_ok=True)
    run = _Run(dst, sizes, seed, patients, progress)
    for n, dialect in enumerate(dialects[:sites]):
        run.site(dialect, patients // sites + (n < patients % sites))
    return run.close()


class _Run:
    """One generation under way: what goes from site to site."""

    def __init__(
        self, dst: Path, profile: Profile, seed: int, total: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self._dst, self._profile, self._seed, self._total, self._progress = (
            dst,
            profile,
            seed,
            total,
            progress,
        )
        self._key = AnswerKey()
        self._coiner = Coiner(stream(seed, "coiner"))
        self._truth: list[dict[str, Any]] = []
        self._expected: dict[str, dict[str, int]] = {}
        self._neighbours: list[Person] = []
        self._done = 0

    def site(self, dialect: Dialect, n_patients: int) -> None:
        """One site's delivery."""
        coiner = self._coiner
        staff = Staff(
            tuple(coiner.name(dialect, with_middle=False) for _ in range(N_STAFF)),
            tuple(coiner.name(dialect, with_middle=False) for _ in range(N_STAFF)),
        )
        delivery = Delivery(self._dst, dialect, self._key)
        people: list[Person] = []
        number = 0
        for index in range(n_patients):
            person = self._person(dialect, index)
            people.append(person)
            for study in person.studies:
                case = Case(self._seed, dialect, self._profile, person, study, coiner, staff, number)
                self._study(delivery, case)
                number += 1
            self._done += 1
            if self._progress:
                self._progress(self._done, self._total)
        if dialect.unlinked_report:
            delivery.add_unlinked_report(coiner.number(dialect.accession), "FINDINGS: No pleural effusion.\n")
        delivery.close(coiner.canary("nd"))
        self._expected[dialect.name] = dict(sorted(delivery.counts.items()))
        self._neighbours = people

    def _person(self, dialect: Dialect, index: int) -> Person:
        """A new person, or now and then one who was a patient of the site before."""
        stranger = make_person(self._seed, dialect, self._profile, self._coiner, index)
        if index % VISITOR_EVERY == VISITOR_FIRST and index < len(self._neighbours):
            return visit_elsewhere(self._neighbours[index], stranger)
        return stranger

    def _study(self, delivery: Delivery, case: Case) -> None:
        files = list(STUDIES[case.study.kind](case))
        delivery.add_study(case, files)
        report = write_report(case)
        delivery.add_report(case, report)
        self._truth.append(_truth_row(case, report, len(files)))

    def close(self) -> Summary:
        """Answer key and truth, and what was made."""
        _write(self._key.to_table(), self._dst / "answer_key.parquet")
        _write(pa.Table.from_pylist(self._truth, schema=_TRUTH), self._dst / "truth.parquet")
        return Summary(
            sites=tuple(self._expected),
            patients=self._total,
            studies=len(self._truth),
            files=sum(counts["files"] for counts in self._expected.values()),
            bytes=sum(counts["bytes"] for counts in self._expected.values()),
            planted=len(self._key.planted),
            expected=self._expected,
        )


def _truth_row(case: Case, report: Report, n_files: int) -> dict[str, Any]:
    person, study = case.person, case.study
    days, observed = person.outcome(study.day)
    assessed = ASSESSED[study.kind]
    return {
        "site": case.dialect.name, "study_uid": study.uid, "accession": study.accession,
        "patient_id": person.patient_id, "person": person.key, "kind": study.kind, "study_date": study.day,
        "age_years": person.age_years(study.day), "sex": person.sex, "n_files": n_files,
        **{LEXICON[f]: person.disease.has(f) if f in assessed else None for f in LEXICON},
        **{f"stated_{LEXICON[f]}": report.stated.get(f) for f in LEXICON},
        "nodule_mm": person.disease.nodule_mm * study.growth if "nodule" in assessed else None,
        "days_to_death": days, "death_observed": observed,
    }  # fmt: skip


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", use_dictionary=True)
