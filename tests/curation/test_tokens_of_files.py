"""From files of a hospital, through de-identification, to volumes: what geometry and SUV need is still there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from curation.dicom_file import frame_hashes, write_file
from curation.frames import decode
from curation.lake import Connection
from curation.pack import PackRecipe, read_tiles
from curation.scratch import scratch_lake
from curation.settings import load_settings
from tests.curation.in_process import stay

PET, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.4.1"


def item(**given: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in given.items():
        setattr(dataset, keyword, value)
    return dataset


def image(name: str, sop_class: str, modality: str, values: np.ndarray, **given: object) -> Dataset:
    ds = item(
        SOPClassUID=sop_class, SOPInstanceUID=generate_uid(entropy_srcs=[name, str(given.get("InstanceNumber"))]),
        StudyInstanceUID=f"1.2.3.{len(name)}", SeriesInstanceUID=f"1.2.3.{len(name)}.1", PatientID="P1",
        PatientName="ZEBEDYNE^QUILL", PatientBirthDate="19610203", PatientSex="F", StudyDate="20240305",
        StudyTime="095900", Modality=modality, BodyPartExamined="CHEST", Manufacturer="ACME", Rows=16, Columns=16,
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PixelRepresentation=0, BitsAllocated=16,
        BitsStored=16, HighBit=15, PixelData=values.astype("<u2").tobytes(), **given,
    )  # fmt: skip
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def pet_slice(number: int) -> Dataset:
    isotope = item(
        RadionuclideTotalDose="370000000",
        RadionuclideHalfLife="6586.2",
        RadiopharmaceuticalStartTime="090000",
        RadiopharmaceuticalStartDateTime="20240305090000",
    )
    return image(
        "pet", PET, "PT", np.full((16, 16), 5000), InstanceNumber=number, ImagePositionPatient=[0, 0, 3 * number],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[4, 4], SliceThickness=3, RescaleSlope=2,
        RescaleIntercept=0, Units="BQML", DecayCorrection="START", SeriesDate="20240305", SeriesTime="100000",
        AcquisitionDate="20240305", AcquisitionTime="100100", PatientWeight="70",
        RadiopharmaceuticalInformationSequence=[isotope],
    )  # fmt: skip


def enhanced_mr() -> Dataset:
    values = np.stack([np.full((16, 16), 100 * i) for i in range(5)])
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[2, 2], SliceThickness=5)],
    )
    groups = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 20 - 5 * i])]) for i in range(5)]
    return image(
        "enhanced", ENHANCED_MR, "MR", values, InstanceNumber=1, NumberOfFrames=5, ImageType=["ORIGINAL", "PRIMARY"],
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=groups,
    )  # fmt: skip


def test_suv_and_functional_groups_survive_de_identification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay(monkeypatch)
    src = tmp_path / "src"
    src.mkdir()
    for i in range(4):
        pet_slice(i + 1).save_as(src / f"pet{i}.dcm", enforce_file_format=True)
    enhanced_mr().save_as(src / "mr.dcm", enforce_file_format=True)
    settings = load_settings(tmp_path / "home").model_copy(update={"workers": 1})
    recipe = PackRecipe(size=16, text=False, kind="volume", depth=4)
    with scratch_lake(settings, src) as scratch:
        assert not scratch.curated.refusals
        with scratch.lake.connect() as con:
            query = "SELECT series_id, study_id, patient_id, modality FROM series"
            members = [
                dict(zip(("series_id", "study_id", "patient_id", "modality"), row, strict=True))
                for row in con.execute(query).fetchall()
            ]
            rebuilt = _rebuild(con, tmp_path)
        arrays, shown, left_out = read_tiles(scratch.lake, scratch.lake.snapshot(), members, recipe)
    assert left_out == {}
    found = {m["modality"]: arrays[m["series_id"]][0] for m in members}
    suv = 10000 * 70000 / (370e6 * 2 ** (-3600 / 6586.2))
    assert np.abs(found["PT"] * 0.01 - suv).max() < 0.006
    assert (np.diff(found["MR"].astype(int)[:, 8, 8]) < 0).all(), "the device went from the head down"
    assert sorted(len(frames) for frames in shown.values()) == [4, 5]
    assert len(rebuilt) == 5
    (mr,) = [file for file in rebuilt if file.Modality == "MR"]
    groups = mr.PerFrameFunctionalGroupsSequence
    places = [float(g.PlanePositionSequence[0].ImagePositionPatient[2]) for g in groups]
    assert places == [20, 15, 10, 5, 0] and len(mr.pixel_array) == 5
    assert {str(file.PatientIdentityRemoved) for file in rebuilt} == {"YES"}


def _rebuild(con: Connection, folder: Path) -> list[Dataset]:
    """Every object as the file that it is again, proved by the hashes of its frames."""
    files = []
    columns = ("instance_id", "sop_class", "n_frames", "photometric", "header")
    for found in con.execute(f"SELECT {', '.join(columns)} FROM instances").fetchall():
        row = dict(zip(columns, found, strict=True))
        query = "SELECT codec, payload, pixel_sha256 FROM frames WHERE instance_id = ? ORDER BY frame_index"
        stored = con.execute(query, [row["instance_id"]]).fetchall()
        path = folder / f"{row['instance_id']}.dcm"
        write_file(path, row, (decode(codec, payload) for codec, payload, _ in stored))
        assert frame_hashes(path) == [bytes(digest) for _, _, digest in stored]
        files.append(dcmread(path))
    return files
