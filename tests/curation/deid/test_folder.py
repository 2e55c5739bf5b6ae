"""A folder into a folder: whole files under pseudonymous names, a log, and nothing that names anybody."""

import os
import shutil
import zipfile
from pathlib import Path
from uuid import UUID

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
    generate_uid,
)

from curation.deid import release, take
from curation.deid.folder import deidentify_folder
from curation.records import ConfigurationError, DeidLog, schema_of
from tests.curation.deid.objects import SITE, ct, jpeg_ct, policy, pseudonyms, to_bytes


def run(src: Path, dst: Path, workers: int = 0) -> dict:
    return deidentify_folder(src, dst, policy(), pseudonyms(), SITE, workers=workers)


def all_bytes(root: Path) -> bytes:
    return b"\n".join(
        str(p.relative_to(root)).encode() + p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "Smithson_John" / "ct").mkdir(parents=True)
    for n in range(4):
        path = root / "Smithson_John" / "ct" / f"Smithson{n}.dcm"
        path.write_bytes(to_bytes(ct(SOPInstanceUID=f"1.2.3.{n}", InstanceNumber=n)))
    (root / "note_Smithson.txt").write_text("Smithson has a nodule")
    (root / "empty").write_bytes(b"")
    cut = to_bytes(ct(SOPInstanceUID="1.2.3.9"))[:-4]
    (root / "cut.dcm").write_bytes(cut)
    return root


def test_counts_add_up_and_the_tree_is_mirrored(source: Path, tmp_path: Path) -> None:
    found = run(source, tmp_path / "dst")
    assert (found["read"], found["released"], found["kept"], found["reports"]) == (7, 4, 0, 1)
    assert found["withheld"] == {"not_dicom": 2, "truncated": 1}
    files = sorted((tmp_path / "dst").rglob("*.dcm"))
    assert len(files) == 4
    assert {len(p.relative_to(tmp_path / "dst").parts) for p in files} == {3}
    assert not [p for p in (tmp_path / "dst").rglob("*") if p.name.endswith(".part")]


def test_nothing_released_names_anybody(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "dst")
    told = all_bytes(tmp_path / "dst").lower()
    for word in (b"smithson", b"quackenbush", b"48213377", b"mercy", b"1.2.826.0.1.3680043.8.498"):
        assert word not in told


def test_released_files_are_whole_dicom_with_the_same_pixels(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "dst")
    for path in (tmp_path / "dst").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert path.stem == str(UUID(int=int(ds.SOPInstanceUID[5:])))
        assert ds.PixelData == ct().PixelData
        assert ds.preamble == bytes(128)


def test_the_log_has_one_row_a_file(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "dst")
    table = pq.read_table(tmp_path / "dst" / "deid_log.parquet")
    assert table.schema.equals(schema_of(DeidLog))
    rows = table.to_pylist()
    assert len(rows) == 7
    released = [r for r in rows if r["withheld"] is None]
    assert len(released) == 4
    assert all({"tag": "(0010,0010)", "action": "D"} in r["actions"] for r in released)
    assert {r["withheld"] for r in rows} == {None, "not_dicom", "truncated"}


def test_several_workers_write_the_same_bytes(source: Path, tmp_path: Path) -> None:
    one, two = run(source, tmp_path / "one"), run(source, tmp_path / "two", workers=2)
    assert one == two
    assert all_bytes(tmp_path / "one") == all_bytes(tmp_path / "two")


def test_a_second_run_gives_the_same(source: Path, tmp_path: Path) -> None:
    first = run(source, tmp_path / "dst")
    before = all_bytes(tmp_path / "dst")
    assert run(source, tmp_path / "dst") == first | {"kept": 4}
    assert all_bytes(tmp_path / "dst") == before


def test_the_same_object_twice_is_released_once(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    (src / "a.dcm").write_bytes(to_bytes(ct()))
    (src / "b.dcm").write_bytes(to_bytes(ct()))
    (src / "c.dcm").write_bytes(to_bytes(ct(SliceThickness="7.0")))
    found = run(src, tmp_path / "dst")
    assert (found["read"], found["released"]) == (3, 1)
    assert found["withheld"] == {"duplicate": 1, "uid_conflict": 1}
    (path,) = (tmp_path / "dst").rglob("*.dcm")
    assert pydicom.dcmread(path).SliceThickness == 1


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_every_native_encoding_is_released_as_explicit_little_endian(
    tmp_path: Path, syntax: str, bits: int
) -> None:
    src = tmp_path / "src"
    src.mkdir()
    values = np.arange(9, dtype=np.uint8 if bits == 8 else np.uint16) * 7
    ds = ct(Rows=3, Columns=3, BitsAllocated=bits, BitsStored=8, HighBit=7)
    raw = values.astype(
        values.dtype.newbyteorder(">") if syntax == ExplicitVRBigEndian else values.dtype
    ).tobytes()
    ds.PixelData = raw + bytes(len(raw) & 1)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    (src / "a.dcm").write_bytes(to_bytes(ds, syntax))
    assert run(src, tmp_path / "dst")["released"] == 1
    (path,) = (tmp_path / "dst").rglob("*.dcm")
    found = pydicom.dcmread(path)
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(found.pixel_array.ravel(), values)


def comment(frame: bytes) -> bytes:
    return frame[:2] + b"\xff\xfe\x00\x0aSmithson" + frame[2:]


def test_compressed_frames_are_scrubbed_and_stay_compressed(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    frame = bytes(imagecodecs.jpeg8_encode(np.full((16, 16), 99, np.uint8)))
    shape = {"Rows": 16, "Columns": 16, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    (src / "a.dcm").write_bytes(jpeg_ct(comment(frame), JPEGBaseline8Bit, **shape))
    split = ct(SOPInstanceUID=generate_uid(), NumberOfFrames=2, **shape)
    split.PixelData = encapsulate([comment(frame), comment(frame)], fragments_per_frame=2)
    split["PixelData"].VR, split["PixelData"].is_undefined_length = "OB", True
    (src / "b.dcm").write_bytes(to_bytes(split, JPEGBaseline8Bit))
    assert run(src, tmp_path / "dst")["released"] == 2
    assert b"smithson" not in all_bytes(tmp_path / "dst").lower()
    for path in (tmp_path / "dst").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        assert ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        assert (ds.pixel_array == 99).all()


def test_big_pixel_data_are_copied_by_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = tmp_path / "src"
    src.mkdir()
    monkeypatch.setattr(release, "SMALL_BYTES", 1000)
    monkeypatch.setattr(take, "SMALL_BYTES", 1000)
    values = np.arange(64 * 64, dtype=np.uint16)
    ds = ct(Rows=64, Columns=64, PixelData=values.tobytes())
    (src / "a.dcm").write_bytes(to_bytes(ds))
    run(src, tmp_path / "dst")
    (path,) = (tmp_path / "dst").rglob("*.dcm")
    kernel = path.read_bytes()
    path.unlink()  # else it would be left as it is

    def no_kernel(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "copy_file_range", no_kernel)
    run(src, tmp_path / "dst")
    assert path.read_bytes() == kernel
    assert np.array_equal(pydicom.dcmread(path).pixel_array.ravel(), values)


def ultrasound(**changes: object) -> pydicom.Dataset:
    region = pydicom.Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 2
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 3, 3
    us = ct(SOPClassUID=UltrasoundImageStorage, Modality="US", SequenceOfUltrasoundRegions=[region])
    us.PixelData = b"\x01\x02" * 16
    for keyword, value in changes.items():
        setattr(us, keyword, value)
    return us


def test_an_ultrasound_keeps_its_regions_only_whatever_it_says(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    two = ultrasound(SOPInstanceUID="1.2.3.5", NumberOfFrames=2, PixelData=b"\x01\x02" * 32)
    whole = ultrasound(SequenceOfUltrasoundRegions=[], SOPInstanceUID="1.2.3.6")
    (src / "one.dcm").write_bytes(to_bytes(ultrasound()))
    (src / "two.dcm").write_bytes(to_bytes(two))
    (src / "none.dcm").write_bytes(to_bytes(whole))
    (src / "no.dcm").write_bytes(to_bytes(ultrasound(BurnedInAnnotation="NO", SOPInstanceUID="1.2.3.7")))
    found = run(src, tmp_path / "dst")
    assert (found["read"], found["released"], found["withheld"]) == (4, 4, {})
    logged = pq.read_table(tmp_path / "dst" / "deid_log.parquet").to_pylist()
    assert sorted(bool(row["regions"]) for row in logged) == [False, True, True, True]
    for path in (tmp_path / "dst").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        assert ds.BurnedInAnnotation == "NO"  # all four were looked at
        frames = ds.pixel_array.reshape(-1, 4, 4)
        assert (frames[:, 2:] == 0x201).all()
        assert (
            frames[:, :2]
            == (0 if "SequenceOfUltrasoundRegions" in ds and ds.SequenceOfUltrasoundRegions else 0x201)
        ).all()


def test_progress_counts_files(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    deidentify_folder(
        source,
        tmp_path / "dst",
        policy(),
        pseudonyms(),
        SITE,
        progress=lambda what, n, total: seen.append((what, n, total)),
    )
    assert seen == [("files", n, 7) for n in range(1, 8)]


def test_wrong_folders_are_wrong_configuration(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder and no zip"):
        run(tmp_path / "nothing", tmp_path / "dst")
    with pytest.raises(ConfigurationError, match="lies in"):
        run(source, source / "out")


def test_links_are_not_followed(source: Path, tmp_path: Path) -> None:
    (source / "link.dcm").symlink_to(source / "Smithson_John" / "ct" / "Smithson0.dcm")
    assert run(source, tmp_path / "dst")["read"] == 7


def packed(source: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(source.with_name("disc")), kind, source))


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_gives_what_its_folder_gives(kind: str, source: Path, tmp_path: Path) -> None:
    of_folder, of_archive = (
        run(src, tmp_path / name) for src, name in ((source, "a"), (packed(source, kind), "b"))
    )
    assert of_archive == of_folder and of_archive["released"] == 4
    assert all_bytes(tmp_path / "b") == all_bytes(tmp_path / "a")


def test_an_archive_in_a_folder_is_read_as_a_folder_and_laid_out_nowhere_afterwards(
    source: Path, tmp_path: Path
) -> None:
    root, spool = tmp_path / "delivered", tmp_path / "spool"
    root.mkdir()
    packed(source, "zip").rename(root / "disc.zip")
    found = deidentify_folder(root, tmp_path / "dst", policy(), pseudonyms(), SITE, spool=spool)
    assert found["released"] == 4 and found["read"] == 7
    assert not spool.exists()
    assert b"mithson" not in all_bytes(tmp_path / "dst")
    again = deidentify_folder(root, tmp_path / "dst", policy(), pseudonyms(), SITE, spool=spool)
    assert again["kept"] == 4


def test_a_cut_off_archive_is_withheld_whole_and_costs_no_other_file(source: Path, tmp_path: Path) -> None:
    whole = packed(source, "zip").read_bytes()
    (source / "cut.zip").write_bytes(whole[: len(whole) // 2])
    found = run(source, tmp_path / "dst")
    assert found["released"] == 4 and found["withheld"]["truncated"] == 2
    assert found["read"] == 8


def test_a_member_that_climbs_out_is_written_inside(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "climbing.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(source / "Smithson_John" / "ct" / "Smithson0.dcm", "../../../../escaped/Smithson.dcm")
    assert run(archive, tmp_path / "deep" / "dst")["released"] == 1
    (released,) = (tmp_path / "deep").rglob("*.dcm")
    assert released.is_relative_to(tmp_path / "deep" / "dst")
    assert not list(tmp_path.rglob("escaped"))
