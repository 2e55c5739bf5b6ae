"""Documents inside DICOM objects: their text becomes a report of the study, cleaned; the object is never released."""

import base64
import io
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from curation.deid.encapsulated import CDA, PDF, extract_text, read_document
from curation.deid.folder import deidentify_folder
from curation.records import Refused
from tests.curation.deid.objects import SITE, clean, ct, policy, pseudonyms, to_bytes

TEXT = "CT of the chest. Mr Smithson was seen by Dr Quackenbush on 05.03.2019. No nodule in the left lung."


def pdf(*lines: str, password: str = "") -> bytes:
    """A PDF of one page with these lines."""
    writer = PdfWriter()
    page = writer.add_blank_page(width=600, height=800)
    font = {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}
    fonts = DictionaryObject(
        {
            NameObject("/F1"): DictionaryObject(
                {NameObject(f"/{k}"): NameObject(f"/{v}") for k, v in font.items()}
            )
        }
    )
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    stream = DecodedStreamObject()
    told = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
    stream.set_data(f"BT /F1 12 Tf 40 700 Td {told} ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def cda(body: str, head: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>Report</title>'
        "<recordTarget><patientRole><id extension='QX-12345'/><patient><name><given>Ottilie</given>"
        "<family>Brandsetter</family></name></patient></patientRole></recordTarget>"
        f"{head}<component>{body}</component></ClinicalDocument>"
    ).encode()


SECTION = (
    "<structuredBody><component><section><title>Findings</title><text><paragraph>{}</paragraph>"
    "<table><tbody><tr><td>Liver</td><td>normal size</td></tr></tbody></table></text></section></component></structuredBody>"
)


def enclosing(document: bytes, sop_class: str, **changes: object) -> Dataset:
    ds = ct(SOPClassUID=sop_class, SOPInstanceUID="1.2.826.0.1.3680043.8.498.77", Modality="DOC", **changes)
    for keyword in (
        "PixelData",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "SamplesPerPixel",
    ):
        delattr(ds, keyword)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf" if sop_class == PDF else "text/XML"
    ds.EncapsulatedDocument = document + bytes(len(document) & 1)
    return ds


def test_the_text_of_a_pdf_is_read() -> None:
    assert extract_text(pdf("First line of the finding", "Second line"), PDF).text.split() == [
        "First", "line", "of", "the", "finding", "Second", "line",
    ]  # fmt: skip


def test_the_text_of_a_cda_is_read_by_section_and_its_people_are_known() -> None:
    found = extract_text(cda(SECTION.format("No nodule in the left lung.")), CDA)
    assert found.text.splitlines() == [
        "Report",
        "Findings",
        "No nodule in the left lung.",
        "Liver normal size",
    ]
    assert ("name", "Brandsetter") in found.named and ("other", "QX-12345") in found.named
    assert "Brandsetter" not in found.text and "Brandsetter" not in repr(found)


def test_a_cda_without_xml_inside_is_plain_text() -> None:
    text = base64.b64encode(TEXT.encode()).decode()
    body = f"<nonXMLBody><text mediaType='text/plain' representation='B64'>{text}</text></nonXMLBody>"
    assert TEXT in extract_text(cda(body), CDA).text


@pytest.mark.parametrize(
    ("document", "sop_class", "reason"),
    [
        pytest.param(b"%PDF-1.4 and nothing more", PDF, "unreadable_report", id="broken"),
        pytest.param(pdf("x" * 30)[:200], PDF, "unreadable_report", id="cut off"),
        pytest.param(pdf(), PDF, "unreadable_report", id="no letters"),
        pytest.param(pdf(TEXT, password="a"), PDF, "encrypted", id="password"),
        pytest.param(b"<html>" + TEXT.encode() + b"</html>", CDA, "unreadable_report", id="no CDA"),
        pytest.param(b'<!DOCTYPE a [<!ENTITY b "b">]>' + cda(SECTION.format("&b;" * 30))[38:], CDA, "unreadable_report", id="entities"),
        pytest.param(b"solid x", "1.2.840.10008.5.1.4.1.1.104.3", "unsupported_class", id="a model"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(document: bytes, sop_class: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        extract_text(document, sop_class)
    assert caught.value.reason == reason


def test_the_header_says_whose_document_it_is() -> None:
    about, text, identity = read_document(to_bytes(enclosing(pdf(TEXT), PDF)), policy(), pseudonyms(), SITE)
    image = clean(to_bytes(ct()))
    assert (about.study_id, about.patient_id) == (image.study_id, image.patient_id)
    assert "left lung" in text and "Smithson^John^Albert" in identity.names


def test_a_folder_withholds_the_object_with_a_reason_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(to_bytes(enclosing(pdf(TEXT), PDF)))
    counts = deidentify_folder(tmp_path / "in", tmp_path / "out", policy(), pseudonyms(), SITE)
    assert counts["withheld"] == {"document": 1}
