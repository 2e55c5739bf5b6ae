"""The reports that are measured: the two synthetic sides, and public annotated text, all as rows of one shape.

Belongs here: finding and reading them. Does not: scoring. A row: id, patient, language, text, spans, identity.
Rules are written looking at the `dev` side alone; the `test` side's author has not seen them.
"""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PUBLIC = HERE.parents[3] / "shared" / "data" / "text"
"""A checkout's neighbour; what is missing there is skipped and said."""

NOBODY = {
    "site": "public",
    "patient_id": "",
    "issuer": "",
    "names": [],
    "birth_date": "",
    "sex": "",
    "accession": "",
    "study_uid": "",
    "other": [],
}
MEDDOCAN = {
    "NOMBRE_SUJETO_ASISTENCIA": "name",
    "NOMBRE_PERSONAL_SANITARIO": "name",
    "TERRITORIO": "place",
    "CALLE": "address",
    "FECHAS": "date",
    "CORREO_ELECTRONICO": "mail",
    "ID_SUJETO_ASISTENCIA": "id",
    "ID_ASEGURAMIENTO": "id",
    "ID_CONTACTO_ASISTENCIAL": "id",
    "ID_TITULACION_PERSONAL_SANITARIO": "id",
    "ID_EMPLEO_PERSONAL_SANITARIO": "id",
    "HOSPITAL": "institution",
    "INSTITUCION": "institution",
    "CENTRO_SALUD": "institution",
    "NUMERO_TELEFONO": "phone",
    "NUMERO_FAX": "phone",
}
"""What is not named (sex, country, ages, kin, jobs) is no identifier under this policy: counted neither way."""
PRESIDIO_SYNTH = {
    "PERSON": "name",
    "STREET_ADDRESS": "address",
    "ZIP_CODE": "address",
    "GPE": "place",
    "ORGANIZATION": "institution",
    "DATE_TIME": "date",
    "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "mail",
    "DOMAIN_NAME": "url",
    "CREDIT_CARD": "id",
    "IBAN_CODE": "id",
    "US_SSN": "id",
    "IP_ADDRESS": "id",
    "US_DRIVER_LICENSE": "id",
}
PUBLIC_SETS = {
    "meddocan_dev": MEDDOCAN,
    "meddocan_dev with header": MEDDOCAN,
    "presidio_synth_v2": PRESIDIO_SYNTH,
}


def read_lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line) for line in text.split("\n") if line]


def synthetic(side: str, reports: int, seed: int) -> list[dict[str, Any]]:
    """Reports of one side; an empty list where that side's generator is not there."""
    name = {"test": "test_side_generator", "dev2": "dev_author2_generator"}.get(side, "dev_generator")
    if (HERE / f"{name}.py").exists():
        rows = importlib.import_module(f"benchmarks.deid.text.{name}").make_reports(reports, seed)
    else:
        rows = [row for path in sorted(HERE.glob(f"{side}_*.jsonl*")) for row in read_lines(path)][:reports]
    for row in rows:
        row.setdefault("patient", row["id"])
        row["spans"] = without_overlaps(row["spans"])
        for span in row["spans"]:
            category = span["category"].lower()
            span["category"] = {"email": "mail"}.get(category, category)
    return rows


def without_overlaps(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for span in sorted(spans, key=lambda s: (s["start"], -s["end"])):
        if not kept or span["start"] >= kept[-1]["end"]:
            kept.append(span)
    return kept


def header_of(line: dict[str, Any]) -> dict[str, Any]:
    """What a header would hold of a MEDDOCAN case: the patient (given name first, then surnames), staff, numbers."""

    def values(kind: str) -> list[str]:
        spans = sorted((a, b) for a, b, found in line["phi"] if found == kind)
        return [line["text"][a:b] for a, b in spans]

    own, staff = values("NOMBRE_SUJETO_ASISTENCIA"), values("NOMBRE_PERSONAL_SANITARIO")
    patient = f"{own[1]}^{own[0]}" if len(own) > 1 else "".join(own)
    names = [n for n in (patient, *dict.fromkeys(staff)) if n]
    numbers = values("ID_SUJETO_ASISTENCIA")
    known = {"names": names, "patient_name": patient, "patient_id": numbers[0] if numbers else ""}
    return NOBODY | known | {"other": [*numbers[1:], *values("ID_ASEGURAMIENTO")]}


def public(name: str) -> list[dict[str, Any]] | None:
    """A public annotated set; None where the file is not here.

    `with header`: the annotated patient and staff are told to the tool, as the messages of the same study would tell them.
    """
    path = PUBLIC / f"{name.removesuffix(' with header')}.jsonl.gz"
    if not path.exists():
        return None
    rows = []
    for n, line in enumerate(read_lines(path)):
        spans = [
            {"start": a, "end": b, "category": PUBLIC_SETS[name].get(kind, "neutral"), "known": False}
            for a, b, kind in line["phi"]
        ]
        rows.append(
            {
                "id": f"{name}/{n}",
                "patient": f"{name}/{n}",
                "language": line["lang"],
                "text": line["text"],
                "spans": without_overlaps(spans),
                "identity": header_of(line) if name.endswith("header") else NOBODY,
            }
        )
    return rows
