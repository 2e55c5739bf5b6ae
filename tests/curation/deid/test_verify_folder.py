"""The second look at a folder: quiet after `rwid deid`, red where something was put back, and no value in anything it says."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.uid import JPEGBaseline8Bit

from curation.deid.folder import deidentify_folder
from curation.deid.verify_folder import NAME, Checked, verify_folder
from curation.deid.verify_pixels import comments
from tests.curation.deid.objects import SITE, ct, policy, pseudonyms, to_bytes


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    src, dst = tmp_path / "src", tmp_path / "dst"
    src.mkdir()
    for n in range(3):
        dataset = ct(SOPInstanceUID=f"1.2.826.0.1.3680043.8.498.7.{n}", InstanceNumber=str(n))
        if n == 2:
            dataset.PatientName, dataset.PatientID = "Kowalczyk^Zofia", "7788991"
        (src / f"{n}.dcm").write_bytes(to_bytes(dataset))
    deidentify_folder(src, dst, policy(), pseudonyms(), SITE)
    return src, dst


def look(src: Path | None, dst: Path, with_key: bool = True) -> Checked:
    return verify_folder(dst, source=src, pseudonyms=pseudonyms() if with_key else None, sample=0, workers=0)


def first(dst: Path) -> Path:
    return sorted(dst.rglob("*.dcm"))[0]


def test_released_files_are_quiet(folders: tuple[Path, Path]) -> None:
    src, dst = folders
    for checked in (look(src, dst), look(src, dst, with_key=False), look(None, dst)):
        assert (checked.n_files, checked.n_blocking, checked.residuals) == (3, 0, [])
    assert pq.read_table(dst / NAME).num_rows == 0
    assert "names" in " ".join(look(None, dst).unchecked)
    assert look(src, dst).unchecked == []


SPOILT = {
    "preamble": lambda data: b"SMITHSON" + data[8:],
    "file meta": lambda data: data,
    "trailing bytes": lambda data: data + b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0Smithson",
    "behind the pixels": lambda data: data + b"Smithson",
    "pixel": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
}


@pytest.mark.parametrize("where", SPOILT)
def test_what_is_put_back_is_found_and_never_told(where: str, folders: tuple[Path, Path]) -> None:
    src, dst = folders
    for path in dst.rglob("*.dcm"):
        if where == "file meta":
            dataset = pydicom.dcmread(path)
            dataset.file_meta.SourceApplicationEntityTitle = "SMITHSON"
            dataset.save_as(path)
        else:
            path.write_bytes(SPOILT[where](path.read_bytes()))
    checked = look(src, dst)
    assert len({r.instance_id for r in checked.residuals}) == 3 or where == "trailing bytes"
    expected = {"pixel": {"hash"}}.get(where, {"identity"})
    assert expected <= {r.rule for r in checked.residuals}
    told = repr(checked) + repr(pq.read_table(dst / NAME).to_pylist())
    assert "smithson" not in told.lower()
    assert pq.read_table(dst / NAME).num_rows == len(checked.residuals)


def test_a_date_that_is_not_moved_by_the_offset_needs_the_key(folders: tuple[Path, Path]) -> None:
    src, dst = folders
    path = first(dst)
    dataset = pydicom.dcmread(path)
    dataset.StudyDate = "20170101"
    dataset.save_as(path)
    assert {(r.place, r.rule) for r in look(src, dst).residuals} == {("(0008,0020)", "date")}
    blind = look(src, dst, with_key=False)
    assert blind.residuals == []
    assert "offset" in " ".join(blind.unchecked)


def test_a_stranger_is_found_without_a_key(folders: tuple[Path, Path]) -> None:
    src, dst = folders
    path = first(dst)
    dataset = pydicom.dcmread(path)
    dataset.SeriesDescription = "KOWALCZYK"
    dataset.save_as(path)
    assert "identity" in {r.rule for r in look(src, dst, with_key=False).residuals}


def test_comments_in_bitstreams_are_found() -> None:
    import imagecodecs

    jpeg = bytes(imagecodecs.jpeg_encode(np.zeros((16, 16), np.uint8)))
    assert list(comments(jpeg)) == []
    spoilt = jpeg[:2] + b"\xff\xfe\x00\x0aSmithson" + b"\xff\xe1\x00\x06Exif" + jpeg[2:] + b"Smith"
    assert [kind for kind, _ in comments(spoilt)] == [
        "JPEG comment",
        "JPEG application data",
        "bytes past the end",
    ]
    j2k = bytes(imagecodecs.jpeg2k_encode(np.zeros((16, 16), np.uint8), codecformat="j2k"))
    assert list(comments(j2k)) == []
    assert [k for k, _ in comments(j2k[:2] + b"\xff\x64\x00\x0c\x00\x01Smithson" + j2k[2:])] == [
        "JPEG 2000 comment"
    ]
    assert JPEGBaseline8Bit.is_compressed
