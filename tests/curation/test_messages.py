"""HL7 v2 messages and FHIR resources in a delivery: their reports are released, and whom they name is known."""

import base64
import json
import random
from pathlib import Path

import pytest

from curation.deid.messages import identity_of_message
from curation.deid.resources import identity_of_resources
from curation.records import Refused
from curation.settings import Settings, load_settings
from curation.sources.fhir import read_resources
from curation.sources.hl7 import read_messages
from tests.curation.test_delivery import ingest, radiograph, rows

SHARED = Path(__file__).parents[3] / "shared" / "data"

HEAD = r"MSH|^~\&|RIS|NORTHGATE|RWID|X|20240305101500||ORU^R01|77|P|2.5.1"
PATIENT = (
    "PID|1||P1^^^NORTHGATE^MR~999-11^^^SSA^SS||ZEBEDYNE^P1||19610203|F|||"
    "8 Thornbury Lane^^Quillford^^QX1 4ZZ||020-7946-0123"
)
KIN = "NK1|1|OXENBRIDGE^Wilhelmina|MTH"
ORDER = "OBR|1|PL77|A1|71046^Chest||||||||||||A77^KRAVENHOLT^Ottoline"
TEXT = (
    r"OBX|1|FT|71046&GDT||Mother Wilhelmina Oxenbridge called from Quillford.\.br\No pneumothorax.||||||F",
    "OBX|2|TX|71046&IMP||Nodule in the left lung~Discussed with Ottoline||||||F",
)
SECRETS = ("Wilhelmina", "Oxenbridge", "Quillford", "Ottoline", "Kravenholt", "Zebedyne")
ORU = "\r".join((HEAD, PATIENT, KIN, ORDER, *TEXT)) + "\r"
ADT = "\r".join((HEAD.replace("ORU^R01", "ADT^A08"), PATIENT, KIN)) + "\r"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home").model_copy(update={"workers": 1})


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    radiograph(folder / "a.dcm")
    return folder


def bundle(text: str | None) -> dict[str, object]:
    """A transaction of a patient, a mother, an order's study and a report."""
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"value": "P1", "type": {"coding": [{"code": "MR"}]}}],
        "name": [{"family": "Zebedyne", "given": ["P1"]}],
        "birthDate": "1961-02-03",
        "address": [{"line": ["8 Thornbury Lane"], "city": "Quillford"}],
    }
    mother = {"resourceType": "RelatedPerson", "name": [{"family": "Oxenbridge", "given": ["Wilhelmina"]}]}
    study = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
    }
    report: dict[str, object] = {
        "resourceType": "DiagnosticReport",
        "imagingStudy": [{"reference": "ImagingStudy/s"}],
        "resultsInterpreter": [{"reference": "Practitioner/k", "display": "Ottoline Kravenholt"}],
    }
    if text is not None:
        data = base64.b64encode(text.encode()).decode()
        report["presentedForm"] = [{"contentType": "text/plain; charset=utf-8", "data": data}]
    entries = [{"resource": r} for r in (patient, mother, study, report)]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def reports(settings: Settings) -> list[str]:
    return [str(text) for (text,) in rows(settings, "SELECT text FROM reports ORDER BY text")]


def test_a_message_s_report_is_released_without_those_it_names(settings: Settings, src: Path) -> None:
    (src / "r.hl7").write_bytes(ORU.encode())
    curated = ingest(settings, src)
    assert (curated.instances, curated.reports, curated.residuals) == (1, 1, 0)
    (text,) = reports(settings)
    assert not [s for s in SECRETS if s.lower() in text.lower()]
    assert "No pneumothorax." in text and "Nodule in the left lung" in text
    findings = rows(settings, "SELECT sections FROM reports")
    assert "impression" in str(findings).lower()


def test_a_message_without_a_report_names_people_for_a_text_of_the_same_patient(
    settings: Settings, src: Path
) -> None:
    report = "Accession: A1\nNo effusion. Wilhelmina wants a copy. Quillford post."
    (src / "r.txt").write_text(report)
    assert ingest(settings, src).reports == 1
    assert "Quillford" in reports(settings)[0]  # nobody said that it is a place
    (src / "adt.hl7").write_bytes(ADT.encode())
    curated = ingest(settings, src)
    assert (curated.reports, curated.clinical, curated.refusals) == (1, 1, {})
    assert "Quillford" not in reports(settings)[0] and "No effusion." in reports(settings)[0]


def test_what_messages_said_is_known_for_a_report_of_a_later_delivery(
    settings: Settings, src: Path, tmp_path: Path
) -> None:
    ingest(settings, src)
    for name, file, content in (
        ("d2", "adt.hl7", ADT),
        ("d3", "r.txt", "Accession: A1\nQuillford. No effusion."),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / file).write_text(content)
        ingest(settings, folder, name)
    assert reports(settings) and "Quillford" not in reports(settings)[0]


def test_a_bundle_s_report_is_released_without_those_it_names(settings: Settings, src: Path) -> None:
    text = "Mother Wilhelmina of Quillford. Reported by Ottoline. Nodule in the left lung."
    (src / "b.json").write_text(json.dumps(bundle(text)))
    assert ingest(settings, src).reports == 1
    (clean,) = reports(settings)
    assert not [s for s in SECRETS if s.lower() in clean.lower()] and "Nodule in the left lung" in clean


def test_a_bundle_without_a_report_names_people_only(settings: Settings, src: Path) -> None:
    (src / "b.json").write_text(json.dumps(bundle(None)))
    curated = ingest(settings, src)
    assert (curated.reports, curated.clinical) == (0, 1)


def test_what_cannot_be_read_or_linked_is_refused(settings: Settings, src: Path) -> None:
    pdf = "OBX|1|ED|71046||RIS^AP^PDF^Base64^JVBERi0xLjQK||||||F"
    (src / "a.hl7").write_text("MSH|^~")
    (src / "b.hl7").write_text("nothing like a message")
    (src / "c.hl7").write_text("\r".join((HEAD, PATIENT, ORDER, pdf)))
    (src / "d.hl7").write_text(ORU.replace("|A1|", "|A999|"))
    (src / "e.json").write_text('{"anything": 1}')
    (src / "f.json").write_text("[" * 100_000)
    refusals = ingest(settings, src).refusals
    assert refusals == {"document": 1, "not_dicom": 2, "unlinked_report": 1, "unreadable_report": 2}


def test_a_file_of_many_messages_in_frames_and_batches(tmp_path: Path) -> None:
    path = tmp_path / "batch.hl7"
    framed = "".join(f"\x0b{message}\x1c\r" for message in (ORU, ADT, ORU.replace("left", "right")))
    path.write_text(f"FHS|^~\\&\rBHS|^~\\&\r{framed}BTS|3\r")
    items = list(read_messages(path, "batch.hl7"))
    assert [(i.path, i.kind) for i in items] == [
        ("batch.hl7#1", "report"),
        ("batch.hl7#2", "clinical"),
        ("batch.hl7#3", "report"),
    ]
    assert "right" in (items[2].text or "") and items[0].fields["accession"] == "A1"


def test_an_escaped_message_says_its_names_as_written() -> None:
    said = identity_of_message(ORU.replace("OXENBRIDGE", r"O\T\X~ALIAS"), "dev")
    assert (said.patient_id, said.issuer, said.birth_date, said.accession) == (
        "P1",
        "NORTHGATE",
        "19610203",
        "A1",
    )
    assert "O&X" in said.names and "Quillford" in said.other
    with pytest.raises(Refused):
        identity_of_message("PID|1", "dev")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample files are not beside this checkout")
def test_real_messages_and_resources_are_read() -> None:
    messages = sorted((SHARED / "hl7v2").glob("*.hl7"))
    items = [item for path in messages for item in read_messages(path, path.name)]
    assert len(items) == len(messages) and all(i.message and not i.refused for i in items)
    oru = next(i for i in items if i.path.startswith("ORU"))
    said = identity_of_message(oru.message or "", "dev")
    assert oru.kind == "report" and "Patient^Autogenerated" in said.names and "SINGH^BALDEV" in said.names


def test_resources_of_a_patient_say_names_numbers_and_places() -> None:
    said = identity_of_resources([bundle(None)], "dev")
    assert (said.patient_id, said.birth_date, said.study_uid) == ("P1", "19610203", "1.2.3")
    assert {"Oxenbridge^Wilhelmina", "Ottoline Kravenholt"} <= set(said.names) and "Quillford" in said.other


def _bent(value: object, rng: random.Random) -> object:
    """The same value with some of its parts of another type."""
    if rng.random() < 0.15:
        return rng.choice([None, 7, "Mercy", [], {}, [[1]], True, [{"a": 1}]])
    if isinstance(value, dict):
        return {k: _bent(v, rng) for k, v in value.items()}
    return [_bent(v, rng) for v in value] if isinstance(value, list) else value


def test_bent_resources_and_messages_are_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(5)
    whole = {**bundle("No effusion."), "resourceType": "Bundle"}
    for _ in range(300):
        bent = _bent(whole, rng)
        (path := tmp_path / "b.json").write_text(json.dumps(bent))
        for item in read_resources(path, "b.json"):
            assert item.refused or identity_of_resources(json.loads(item.message or ""), "dev")
        raw = bytearray(ORU.encode())
        for _ in range(8):
            raw[rng.randrange(len(raw))] = rng.choice(b"|^~&\\\r\x00\xff7A")
        (path := tmp_path / "m.hl7").write_bytes(raw)
        for item in read_messages(path, "m.hl7"):
            assert item.refused or identity_of_message(item.message or "", "dev")


def test_lines_of_resources_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    entries = bundle("No effusion.")["entry"]
    assert isinstance(entries, list)
    path.write_text("\n".join(json.dumps(e["resource"]) for e in entries))
    (item,) = read_resources(path, "export.ndjson")
    assert item.text == "No effusion." and item.fields["study_instance_uid"] == "1.2.3"
