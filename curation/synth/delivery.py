"""One site's delivery: its files, archives, reports, duplicates and broken files, written under one folder.

What belongs here: what lies in a site's folder. What does not: who the patients are (people), the order of sites (generate).
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from curation.synth.case import Case, Made
from curation.synth.chance import spread
from curation.synth.dialect import Dialect
from curation.synth.identity import AnswerKey, Planted
from curation.synth.packing import pack, place
from curation.synth.people import LEXICON
from curation.synth.report import Report

N_DUPLICATES = 2


class Delivery:
    """Writes one site's folder file by file; counts what intake should find in it."""

    def __init__(self, root: Path, dialect: Dialect, key: AnswerKey) -> None:
        self._root, self._dialect, self._key = root, dialect, key
        self._rows: list[dict[str, str]] = []
        self._row_planted: list[Planted] = []
        self.counts: Counter[str] = Counter()
        self._example: bytes | None = None
        self._n_duplicates = 0

    def add_study(self, case: Case, files: Sequence[Made]) -> None:
        """The images of one study: loose files, or one archive."""
        placed = [(made, *place(case, made)) for made in files]
        packs = (
            self._dialect.packing != "none" and spread(case.number, start=0.3) < self._dialect.packed_share
        )
        if packs:
            archive = f"incoming/{case.study.accession}.{self._dialect.packing}"
            self._write(archive, pack([(path, made.data) for made, path, _ in placed], self._dialect.packing))
            self._key.add(
                self._dialect.name,
                self._path(archive),
                [Planted("file name", "accession", case.study.accession)],
            )
        for made, path, in_path in placed:
            where = f"{archive}!{path}" if packs else path
            if not packs:
                self._write(path, made.data)
            self._key.add(self._dialect.name, self._path(where), (*made.planted, *in_path))
        self.counts["instances"] += len(files)
        self._duplicate(case, files[0])
        self._example = self._example or (files[0].data if len(files[0].data) > 4096 else None)

    def _duplicate(self, case: Case, made: Made) -> None:
        """Some studies arrive twice: the first file again, byte for byte, in another folder."""
        if self._n_duplicates < N_DUPLICATES and case.number % 3 == 2:
            self._n_duplicates += 1
            path = f"resent/{self._n_duplicates:03d}{self._dialect.extension}"
            self._write(path, made.data)
            self._key.add(self._dialect.name, self._path(path), made.planted)
            self.counts["duplicate"] += 1

    def add_report(self, case: Case, report: Report) -> None:
        """The report of one study, in the site's flavour."""
        self.counts["reports"] += 1
        study, person = case.study, case.person
        days, observed = person.outcome(study.day)
        row = {
            "accession": study.accession,
            "patient_id": person.patient_id,
            "report": report.text,
            "outcome_death_days": f"{days:.0f}",
            "outcome_death_observed": str(int(observed)),
        }
        if self._dialect.label_columns:
            row |= {f"label_{LEXICON[f]}": str(report.stated.get(f, "")) for f in LEXICON}
        row_planted = (
            Planted("column accession", "accession", study.accession),
            Planted("column patient_id", "patient_id", person.patient_id),
        )
        if self._dialect.report_format != "txt":
            self._rows.append(row)
            self._row_planted += [*row_planted, *report.planted]
            return
        del row["report"]
        self._rows.append(row)
        self._row_planted += row_planted
        self.counts["clinical"] += 1
        path = f"reports/{study.accession}.txt"
        self._write(path, f"Accession: {study.accession}\n{report.text}".encode())
        head = [
            Planted("file name", "accession", study.accession),
            Planted("report text", "accession", study.accession),
        ]
        self._key.add(self._dialect.name, self._path(path), [*head, *report.planted])

    def add_unlinked_report(self, accession: str, text: str) -> None:
        """A report of a study that never came."""
        self._write(f"reports/{accession}.txt", f"Accession: {accession}\n{text}".encode())
        path = self._path(f"reports/{accession}.txt")
        self._key.add(self._dialect.name, path, [Planted("report text", "accession", accession)])
        self.counts["unlinked_report"] += 1

    def close(self, canary: str) -> None:
        """The table of reports or outcomes, one truncated file, one file that is no DICOM."""
        table = (
            "outcomes.csv"
            if self._dialect.report_format == "txt"
            else f"reports.{self._dialect.report_format}"
        )
        self._write(f"reports/{table}", _table(self._rows, table))
        self._key.add(self._dialect.name, self._path(f"reports/{table}"), self._row_planted)
        if self._example is not None:
            self._write(f"broken/cut{self._dialect.extension}", self._example[: len(self._example) * 2 // 3])
            self.counts["truncated"] += 1
        self._write("broken/note.dcm", f"Not an image. Please ask for {canary}.\n".encode())
        self._key.add(
            self._dialect.name, self._path("broken/note.dcm"), [Planted("no DICOM", "text", canary)]
        )
        self.counts["not_dicom"] += 1

    def _path(self, path: str) -> str:
        return f"{self._dialect.name}/{path}"

    def _write(self, path: str, data: bytes) -> None:
        target = self._root / self._dialect.name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.counts["bytes"] += len(data)
        self.counts["files"] += 1


def _table(rows: Sequence[Mapping[str, str]], name: str) -> bytes:
    if name.endswith(".jsonl"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
