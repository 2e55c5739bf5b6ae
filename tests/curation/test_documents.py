"""A delivery of objects without pixels: reports, waveforms and structures are instances, documents become reports."""

from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from curation.deid.encapsulated import PDF
from curation.settings import Settings, load_settings
from tests.curation.deid.objects import code, ct, to_bytes
from tests.curation.deid.test_encapsulated import TEXT, enclosing, pdf
from tests.curation.deid.test_object_types import rt_structures
from tests.curation.deid.test_structured import item, report
from tests.curation.test_delivery import ingest, rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home").model_copy(update={"workers": 1})


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    return folder


def write(folder: Path, **objects: Dataset) -> None:
    for name, ds in objects.items():
        (folder / f"{name}.dcm").write_bytes(to_bytes(ds))


def sr() -> Dataset:
    finding = item("TEXT", concept=code("121071", "DCM", "Finding"), TextValue="Nodule in the left lung")
    uids = {
        "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.21",
        "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.22",
    }
    return report(finding, **uids)


def test_reports_waveforms_and_structures_are_instances_and_documents_are_reports(
    settings: Settings, src: Path
) -> None:
    ecg = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    document = enclosing(pdf(TEXT), PDF)
    write(src, image=ct(), report=sr(), structures=rt_structures(), ecg=ecg, document=document)
    curated = ingest(settings, src)
    assert (curated.instances, curated.reports, curated.refusals) == (4, 1, {})
    found = rows(settings, "SELECT modality, n_frames, pixel_sha256 IS NULL FROM instances ORDER BY modality")
    assert found == [("CT", 1, False), ("ECG", 0, True), ("RTSTRUCT", 0, True), ("SR", 0, True)]
    assert rows(settings, "SELECT count(*) FROM frames") == [(1,)]
    series = rows(settings, "SELECT modality FROM series ORDER BY modality")
    assert series == [("CT",), ("ECG",), ("RTSTRUCT",), ("SR",)]
    query = "SELECT r.text, r.study_id = i.study_id FROM reports r, instances i WHERE i.modality = 'CT'"
    ((text, is_same),) = rows(settings, query)
    assert is_same and "left lung" in str(text)
    assert not any(secret in str(text) for secret in ("Smithson", "Quackenbush", "2019"))


def test_a_document_without_its_study_waits_and_a_scanned_page_is_refused(
    settings: Settings, src: Path
) -> None:
    other = enclosing(pdf(TEXT), PDF, StudyInstanceUID="1.2.826.0.1.3680043.8.498.99")
    write(src, image=ct(), page=enclosing(pdf(), PDF), other=other)
    assert ingest(settings, src).refusals == {"unlinked_report": 1, "unreadable_report": 1}
