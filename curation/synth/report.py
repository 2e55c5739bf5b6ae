"""Reports: sentences that state or deny what is in the picture, with identities between them.

What belongs here: choosing sentences from `templates/*.toml` and noting planted identities. What does not: files.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from curation.synth.case import Case
from curation.synth.identity import Planted
from curation.synth.people import ASSESSED

KINDS = {
    "family": "person_name", "given": "person_name", "birth_date": "birth_date", "patient_id": "patient_id",
    "accession": "accession", "prior_date": "date", "report_date": "date", "referrer": "physician_name",
    "referrer_given": "physician_name", "reader": "physician_name", "reader_given": "physician_name",
    "phone": "phone",
}  # fmt: skip
"""Which placeholders identify, and as what."""

UNCERTAIN_SHARE = 0.08
MENTIONED_WHEN_ABSENT = {
    "nodule": 0.95,
    "lesion": 0.95,
    "mass": 0.95,
    "effusion": 0.7,
    "emphysema": 0.5,
    "fibrosis": 0.5,
}
VALUE = {"present": 1, "absent": 0, "uncertain": -1}


@dataclass(frozen=True, slots=True)
class Report:
    """One report: its text, what it says of each finding it mentions (1, 0, -1), what is planted in it."""

    text: str
    stated: Mapping[str, int]
    planted: tuple[Planted, ...]


@cache
def load_sentences(language: str) -> Mapping[str, Any]:
    """The sentences of a language."""
    path = Path(__file__).parent / "templates" / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


class _Writer:
    """Fills sentences and remembers which identities went in."""

    def __init__(self, case: Case, rng: np.random.Generator) -> None:
        self.case, self.rng = case, rng
        self.words = load_sentences(case.dialect.language)
        self.planted: dict[tuple[str, str], Planted] = {}
        self._identities = _identities(case, self.words)

    def pick(self, sentences: Sequence[str]) -> str:
        return str(sentences[int(self.rng.integers(len(sentences)))])

    def fill(self, sentence: str, **more: str) -> str:
        names = [name for _, name, _, _ in string.Formatter().parse(sentence) if name]
        for name in names:
            if name in KINDS:
                value = self._identities[name]
                self.planted[name, value] = Planted("report text", KINDS[name], value)
        return sentence.format(**self._identities, **more)


def _identities(case: Case, words: Mapping[str, Any]) -> dict[str, str]:
    person, study, style = case.person, case.study, case.dialect.date_format
    return {
        "family": person.name.family,
        "given": person.name.given,
        "title": words["identity"]["titles"][person.sex],
        "birth_date": person.birth_date.strftime(style),
        "patient_id": person.patient_id,
        "accession": study.accession,
        "prior_date": (study.day - timedelta(days=3)).strftime(style),
        "report_date": study.day.strftime(style),
        "referrer": case.referrer.family,
        "referrer_given": case.referrer.given,
        "reader": case.reader.family,
        "reader_given": case.reader.given,
        "phone": person.phone,
    }


def _stated(case: Case, rng: np.random.Generator) -> dict[str, str]:
    """What the reader says of each finding: the truth, or that it is uncertain, or nothing."""
    said = {}
    for finding in ASSESSED[case.study.kind]:
        present = case.person.disease.has(finding)
        hedges = finding in ("nodule", "lesion", "mass") and rng.random() < UNCERTAIN_SHARE
        if hedges:
            said[finding] = "uncertain"
        elif present or rng.random() < MENTIONED_WHEN_ABSENT[finding]:
            said[finding] = "present" if present else "absent"
    return said


def _sentence_words(case: Case, writer: _Writer, finding: str) -> dict[str, str]:
    disease = case.person.disease
    size = getattr(disease, f"{finding}_mm", 0.0) * case.study.growth
    places = writer.words["places"].get(finding, [""])
    return {"mm": str(max(4, round(size))), "place": writer.pick(places)}


def write_report(case: Case) -> Report:
    """The report of a study. Sections come in the usual order; comparison and technique are sometimes left out."""
    rng = case.stream("report")
    writer, said = _Writer(case, rng), _stated(case, rng)
    words, kind = writer.words, case.study.kind
    body: list[str] = []
    endings: list[str] = []
    for finding, assertion in said.items():
        detail = _sentence_words(case, writer, finding)
        sentences = words["finding"][finding]
        body.append(writer.fill(writer.pick(sentences[assertion]), **detail))
        if assertion != "absent" or (not endings and finding in ("nodule", "lesion", "mass")):
            endings.append(writer.fill(writer.pick(sentences[f"{assertion}_impression"]), **detail))
    body.append(writer.pick(words["normal"][kind]))
    order = rng.permutation(len(body))
    identity = words["identity"]
    lines = [
        words["study"][kind],
        "",
        writer.fill(writer.pick(identity["head"])),
        writer.fill(writer.pick(identity["referrer"])),
        "",
    ]
    lines += _section(writer, "indication", writer.pick(words["indication"][kind]))
    if rng.random() < 0.7:
        lines += _section(writer, "comparison", writer.fill(writer.pick(identity["prior"])))
    if rng.random() < 0.5:
        lines += _section(writer, "technique", writer.pick(words["technique"][kind]))
    lines += _section(writer, "findings", " ".join(body[i] for i in order))
    lines += _section(
        writer, "impression", "\n".join(f"{n}. {e}" for n, e in enumerate(endings, 1)) or body[0]
    )
    if rng.random() < 0.4:
        lines += [writer.fill(writer.pick(identity["call"])), ""]
    lines.append(writer.fill(writer.pick(identity["tail"])))
    stated = {finding: VALUE[assertion] for finding, assertion in said.items()}
    return Report("\n".join(lines) + "\n", stated, tuple(writer.planted.values()))


def _section(writer: _Writer, name: str, text: str) -> list[str]:
    heading = writer.pick(writer.words["headings"][name])
    return [f"{heading}: {text}", ""] if writer.rng.random() < 0.5 else [f"{heading}:", text, ""]
