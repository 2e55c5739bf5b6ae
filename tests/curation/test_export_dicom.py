"""From a row back to a DICOM file: pydicom reads the very values that the lake hashed, whatever the source looked like."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from curation import dicom_file, frames, records
from curation.cohort import export_cohort
from curation.deid.release import IMPLEMENTATION_UID
from curation.lake import Lake
from tests.curation.lake_rows import an_id, row
from tests.curation.pixel_source import BIG_ENDIAN, _bytes_of, clean_of, file_of

COHORT = "0123456789abcdef"
CT = "1.2.840.10008.5.1.4.1.1.2"


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def rgb(*shape: int) -> np.ndarray:
    return rng().integers(0, 256, (*shape, 3), dtype=np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=90, colorspace="RGB", outcolorspace="YCbCr"))


COLOUR = {"SamplesPerPixel": 3, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
EIGHT = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
MASK = rng().integers(0, 2, (3, 5, 7)).astype(np.uint8)
SOURCES: dict[str, bytes] = {
    "ct, signed, 12 of 16 bits": file_of(
        rng().integers(-1024, 1024, (9, 11)).astype("<i2"), PixelRepresentation=1, BitsStored=12, HighBit=11
    ),
    "odd number of bytes": file_of(rng().integers(0, 255, (5, 7)).astype("u1"), **EIGHT),
    "cine": file_of(rng().integers(0, 4000, (4, 6, 8)).astype("<u2"), n_frames=4),
    "big endian": file_of(rng().integers(0, 4000, (6, 8)).astype(">u2"), syntax=BIG_ENDIAN),
    "colour by plane": file_of(
        rgb(6, 8).transpose(2, 0, 1).copy(), **COLOUR, PhotometricInterpretation="RGB", PlanarConfiguration=1
    ),
    "colour jpeg": file_of(
        None, streams=[jpeg(rgb(16, 16))], syntax=JPEGBaseline8Bit, Rows=16, Columns=16, **COLOUR,
        PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0,
    ),
    "single bits": file_of(
        np.packbits(MASK.ravel(), bitorder="little")[None], n_frames=3, Rows=5, Columns=7, BitsAllocated=1, BitsStored=1,
        HighBit=0,
    ),
}  # fmt: skip


def taken(name: str, source: bytes | None) -> tuple[records.Instance, list[records.Frame]]:
    """The rows that a source gives, but for de-identification."""
    instance, series = an_id(name), an_id("series 1" if name == "cine" else "series 2")
    dataset = pydicom.Dataset()
    found: list[frames.Payload] = []
    photometric = None
    if source is not None:
        read = clean_of(source)
        assert read is not None
        clean, whole = read
        found = list(frames.iter_payloads(source, clean))
        dataset = pydicom.dcmread(BytesIO(clean.header), force=True)
        is_jpeg = str(whole.file_meta.TransferSyntaxUID) == JPEGBaseline8Bit
        photometric = "RGB" if is_jpeg else str(whole.PhotometricInterpretation)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, f"2.25.{instance.int}"
    dataset.PatientID, dataset.Modality = "a pseudonym", "CT"
    dataset.add_new(0xFFFCFFFC, "OB", b"padding behind the pixels")
    facts = {
        "instance_id": instance, "series_id": series, "study_id": an_id("study"), "patient_id": an_id("p"),
        "delivery": "d1", "sop_class": CT, "n_frames": len(found), "photometric": photometric,
        "header": _bytes_of(dataset),
    }  # fmt: skip
    rows = [
        row(
            records.Frame, instance_id=instance, frame_index=i, series_id=series, codec=p.codec, payload=p.payload,
            pixel_sha256=p.pixel_sha256, delivery="d1",
        )
        for i, p in enumerate(found)
    ]  # fmt: skip
    return row(records.Instance, **facts), rows


def lake_of(root: Path, sources: dict[str, bytes | None], *, damaged: str = "", gone: str = "") -> Lake:
    lake = Lake(root / "lake")
    rows = {name: taken(name, source) for name, source in sources.items()}
    kept = [f for name, (_, found) in rows.items() for f in found if name != gone]
    for i, frame in enumerate(kept):
        if frame.instance_id == an_id(damaged):
            kept[i] = row(
                records.Frame, instance_id=frame.instance_id, frame_index=frame.frame_index, delivery="d1",
                series_id=frame.series_id, codec=frame.codec, payload=frame.payload[:40], pixel_sha256=frame.pixel_sha256,
            )  # fmt: skip
    tables: dict[str, tuple[type, list[Any]]] = {
        "instances": (records.Instance, [one for one, _ in rows.values()]),
        "frames": (records.Frame, kept),
    }
    parts = {n: [lake.write_part(n, records.to_table(cls, found))] for n, (cls, found) in tables.items()}
    empty = {n: records.to_table(records.TABLES[n], []) for n in ("studies", "patients", "series")}
    lake.commit({"d1": lake.stage("d1", parts)}, lambda con: empty)
    folder = lake.root / "cohorts" / COHORT
    folder.mkdir(parents=True)
    facts = {"cohort_id": COHORT, "name": "mixed", "snapshot": 1, "spec": {"purpose": "a test"}}
    (folder / "cohort.json").write_text(json.dumps(facts))
    (folder / "card.md").write_text("a card")
    members = [
        row(records.Member, cohort_id=COHORT, study_id=an_id("study"), series_id=an_id(f"series {n}"))
        for n in (1, 2)
    ]
    pq.write_table(records.to_table(records.Member, members), folder / "members.parquet")
    return lake


def digest(values: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()


def test_every_kind_of_pixels_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    sources: dict[str, bytes | None] = {**SOURCES, "no pixels": None}
    lake = lake_of(tmp_path, sources)
    dst = export_cohort(lake, COHORT, tmp_path / "out", "dicom")
    listed = {r["instance_id"]: r for r in pq.read_table(dst / "files.parquet").to_pylist()}
    assert pq.read_table(dst / "left_out.parquet").num_rows == 0
    assert set(listed) == {an_id(name) for name in sources}
    for name, source in sources.items():
        instance, rows = taken(name, source)
        path = dst / listed[an_id(name)]["path"]
        assert path.read_bytes()[128:132] == b"DICM"
        file = pydicom.dcmread(path)  # not forced: a whole Part 10 file
        assert file.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID == f"2.25.{an_id(name).int}"
        assert file.file_meta.ImplementationClassUID == IMPLEMENTATION_UID
        assert file.PatientID == "a pseudonym" and file[0xFFFCFFFC].value.startswith(b"padding")
        hashes = [r.pixel_sha256 for r in rows]
        assert listed[an_id(name)]["pixel_sha256"] == hashes
        if hashes:
            whole = pixel_array(path, raw=True)
            assert [digest(one) for one in (whole if len(hashes) > 1 else [whole])] == hashes, name
            assert file.PhotometricInterpretation == instance.photometric
    assert (pixel_array(dst / listed[an_id("single bits")]["path"], raw=True) == MASK).all()
    assert {p.name for p in dst.iterdir()} == {
        str(an_id("study")), "README.md", "card.md", "members.parquet", "files.parquet", "left_out.parquet"
    }  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake", "out"]


def test_float_pixels_come_back_too(tmp_path: Path) -> None:
    values = rng().normal(size=(5, 6)).astype("<f4")
    payload = frames.encode(values)
    head = pydicom.Dataset()
    head.SOPClassUID, head.SOPInstanceUID, head.BitsAllocated = CT, "2.25.7", 32
    head.SamplesPerPixel, head.PhotometricInterpretation, head.Rows, head.Columns = 1, "MONOCHROME2", 5, 6
    about = {"header": _bytes_of(head), "sop_class": CT, "n_frames": 1, "photometric": "MONOCHROME2"}
    dicom_file.write_file(tmp_path / "f.dcm", about, iter([values]))
    assert dicom_file.frame_hashes(tmp_path / "f.dcm") == [payload.pixel_sha256]


def test_what_cannot_be_rebuilt_is_left_out_with_the_reason(tmp_path: Path) -> None:
    names: dict[str, bytes | None] = {n: SOURCES[n] for n in ("cine", "big endian", "odd number of bytes")}
    lake = lake_of(tmp_path, names, damaged="big endian", gone="odd number of bytes")
    dst = export_cohort(lake, COHORT, tmp_path / "out", "dicom")
    reasons = {r["instance_id"]: r["reason"] for r in pq.read_table(dst / "left_out.parquet").to_pylist()}
    assert reasons == {an_id("big endian"): "decoder_failed", an_id("odd number of bytes"): "frame_missing"}
    assert [p.name for p in dst.rglob("*.*m") if p.is_file()] == [f"{an_id('cine')}.dcm"]
    assert not list(dst.rglob("*.part"))
    assert "1 files, 2 objects left out" in (dst / "README.md").read_text()


def test_a_file_that_does_not_give_the_values_back_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_of(tmp_path, {"cine": SOURCES["cine"]})
    monkeypatch.setattr(dicom_file.np, "ascontiguousarray", lambda values: np.array(values, copy=True) * 0)
    dst = export_cohort(lake, COHORT, tmp_path / "out", "dicom")
    assert pq.read_table(dst / "left_out.parquet")["reason"].to_pylist() == ["not_identical"]
    assert not list(dst.rglob("*.dcm"))


def test_a_killed_export_goes_on_and_reads_back_what_is_there(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, {name: SOURCES[name] for name in ("cine", "big endian")})

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_cohort(lake, COHORT, tmp_path / "out", "dicom", progress=stop)
    assert not (tmp_path / "out").exists()
    (first,) = tmp_path.glob(".out.*/**/*.dcm")
    written = first.stat().st_mtime_ns
    dst = export_cohort(lake, COHORT, tmp_path / "out", "dicom")
    name = UUID(first.stem)
    paths = {r["instance_id"]: dst / r["path"] for r in pq.read_table(dst / "files.parquet").to_pylist()}
    assert len(paths) == 2 and paths[name].stat().st_mtime_ns == written
    damaged = tmp_path / f".again.{COHORT}" / paths[name].relative_to(dst)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(paths[name].read_bytes()[:-30])  # as after a power cut
    again = export_cohort(lake, COHORT, tmp_path / "again", "dicom")
    assert (again / damaged.relative_to(damaged.parents[2])).read_bytes() == paths[name].read_bytes()
