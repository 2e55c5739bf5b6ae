"""What scientists need stays as it was: sixty acquisition attributes, and every interval between a patient's dates."""

import csv
from datetime import datetime
from pathlib import Path

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.curation.deid.objects import clean, code, ct, read, to_bytes

RULES = Path(__file__).parents[3] / "curation/deid/rules"
VALUES = {
    "Modality": "CT", "BodyPartExamined": "LSPINE", "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "Revolution Apex", "SliceThickness": "0.625", "SpacingBetweenSlices": "0.5",
    "PatientPosition": "HFS", "ImagePositionPatient": [-170.5, -170.25, 1e-3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "SliceLocation": "-12.375", "PixelSpacing": [0.488281, 0.488281], "Rows": 4, "Columns": 4, "BitsStored": 12,
    "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2", "RescaleIntercept": "-1024", "RescaleSlope": "1.0",
    "RescaleType": "HU", "WindowCenter": [40, -600], "WindowWidth": [400, 1500],
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], "InstanceNumber": "17", "AcquisitionNumber": "3",
    "KVP": "120", "ExposureTime": "500", "XRayTubeCurrent": "189", "Exposure": "94", "FilterType": "BODY FILTER",
    "ConvolutionKernel": ["Br40d", "3"], "ReconstructionDiameter": "341", "GantryDetectorTilt": "-12.5",
    "SpiralPitchFactor": 0.984375, "CTDIvol": 7.4, "SingleCollimationWidth": 0.625, "RepetitionTime": "3000",
    "EchoTime": "2.46", "InversionTime": "900", "FlipAngle": "9", "EchoTrainLength": "12", "MagneticFieldStrength": "3",
    "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SP", "MP"], "SequenceName": "*tfl3d1_16ns",
    "PixelBandwidth": "240", "DiffusionBValue": 1000.0, "DiffusionGradientOrientation": [0.5, -0.5, 0.70710678],
    "Units": "BQML", "DecayCorrection": "START", "RadionuclideTotalDose": "370000000", "RadionuclideHalfLife": "6586.2",
    "FrameReferenceTime": "59505.5", "ActualFrameDuration": "120000", "DoseCalibrationFactor": "1.0",
    "PhysicalDeltaX": 0.0312, "RegionLocationMaxX1": 639, "ViewPosition": "MLO", "ImagerPixelSpacing": [0.07, 0.07],
    "CompressionForce": "98.1", "BodyPartThickness": "53",
}  # fmt: skip


def published() -> list[str]:
    with (RULES / "science.csv").open(newline="") as file:
        return [row["keyword"] for row in csv.DictReader(file)]


def kept(before: Dataset, after: Dataset) -> list[str]:
    """The published attributes that are not what they were."""
    return [k for k in published() if k in before and (k not in after or after[k].value != before[k].value)]


def test_sixty_attributes_are_published_and_each_is_tested() -> None:
    names = published()
    assert len(names) == len(set(names)) == 60 and set(names) == set(VALUES)
    assert all(tag_for_keyword(name) for name in names)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_all_of_them_stay(syntax: str) -> None:
    source = ct(**VALUES)
    assert kept(source, read(clean(to_bytes(source, syntax)))) == []


def enhanced(frames: int) -> Dataset:
    """An enhanced object: the attributes in functional groups, shared and by frame."""
    ds = ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", Modality="MR", NumberOfFrames=frames)
    ds.PixelData = bytes(32 * frames)

    def groups(n: int) -> Dataset:
        item = Dataset()
        for name in ("PixelMeasures", "PlanePosition", "PlaneOrientation", "MREcho", "MRDiffusion"):
            inner = Dataset()
            for keyword, value in VALUES.items():
                setattr(inner, keyword, value)
            inner.SliceLocation = str(n * 1.5)
            inner.ImagePositionPatient = [-170.5, 3.25, 1.25 * n]
            setattr(item, f"{name}Sequence", Sequence([inner]))
        return item

    ds.SharedFunctionalGroupsSequence = Sequence([groups(0)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([groups(n) for n in range(frames)])
    return ds


def test_they_stay_in_functional_groups() -> None:
    source = enhanced(12)
    ds = read(clean(to_bytes(source)))
    assert ds.NumberOfFrames == 12
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        assert len(ds[name].value) == len(source[name].value)
        for before, after in zip(source[name].value, ds[name].value, strict=True):
            for element in before:
                assert kept(element.value[0], after[element.tag].value[0]) == []


def pet(**times: str) -> Dataset:
    ds = ct(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Modality="PT", PatientWeight="82.5", PatientSize="1.78"
    )
    injection = Dataset()
    injection.RadiopharmaceuticalStartTime = "091512.00"
    injection.RadiopharmaceuticalStartDateTime = "20190305091512.00+0100"
    injection.RadiopharmaceuticalStopDateTime = "20190305091530.25"
    injection.RadionuclideTotalDose, injection.RadionuclideHalfLife = "370000000", "6586.2"
    injection.RadionuclideCodeSequence = Sequence([code("C-111A1", "SRT", "^18^Fluorine")])
    ds.RadiopharmaceuticalInformationSequence = Sequence([injection])
    for keyword, value in {
        "SeriesTime": "101500",
        "AcquisitionDate": "20190305",
        "AcquisitionTime": "101510.5",
    }.items():
        setattr(ds, keyword, value)
    for keyword, value in times.items():
        setattr(ds, keyword, value)
    return ds


def seconds(text: str) -> float:
    stamp, _, fraction = text.split("+")[0].partition(".")
    return datetime.strptime(stamp, "%Y%m%d%H%M%S").timestamp() + float(f"0.{fraction or 0}")


def test_uptake_times_survive() -> None:
    source = pet()
    ds = read(clean(to_bytes(source)))
    before, after = (d.RadiopharmaceuticalInformationSequence[0] for d in (source, ds))
    for keyword in ("RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStopDateTime"):
        uptake = [
            seconds(str(d.AcquisitionDate) + str(d.AcquisitionTime)) - seconds(str(item[keyword].value))
            for d, item in ((source, before), (ds, after))
        ]
        assert uptake[0] == uptake[1]
    assert after.RadiopharmaceuticalStartTime == before.RadiopharmaceuticalStartTime
    assert (after.RadionuclideTotalDose, ds.PatientWeight, ds.PatientSize) == (370000000, 82.5, 1.78)
    assert after.RadionuclideCodeSequence[0].CodeValue == "C-111A1"


DATES = {
    "StudyDate": "20190228", "SeriesDate": "20190301", "AcquisitionDate": "20200229", "ContentDate": "20191231",
    "InstanceCreationDate": "20190305", "PerformedProcedureStepStartDate": "20181231", "DateOfLastCalibration": "20170101",
    "DateOfSecondaryCapture": "20190901", "LastMenstrualDate": "20190101", "AdmittingDate": "20190227",
}  # fmt: skip


def test_every_interval_between_a_patients_dates_is_kept() -> None:
    source = ct(**DATES)
    item = Dataset()
    for keyword, value in DATES.items():
        setattr(item, keyword, value)
    source.DerivationImageSequence = Sequence([item])
    other = ct(StudyDate="20210110", SeriesDate=None, SOPInstanceUID="1.2.3.4.5")
    found, later = read(clean(to_bytes(source))), read(clean(to_bytes(other)))
    offsets = {
        (datetime.strptime(str(d[k].value), "%Y%m%d") - datetime.strptime(v, "%Y%m%d")).days
        for d in (found, found.DerivationImageSequence[0])
        for k, v in DATES.items()
        if k in d
    }
    offsets.add((datetime.strptime(later.StudyDate, "%Y%m%d") - datetime(2021, 1, 10)).days)
    assert len(offsets) == 1 and offsets.pop() < -300
    assert sum(k in found for k in DATES) >= 9


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("20190305-20190307", "DA"), ("20190305-", "DA"), ("2019.03.05", "DA"), ("20190305\\20190306", "DA"),
        ("20190305101500.123456", "DT"), ("201903051015", "DT"), ("20190305", "DT"), ("201903", "DT"), ("2019", "DT"),
        ("20190305101500+0100", "DT"), ("20190305101500-0500\\20190306101500-0500", "DT"),
    ],
)  # fmt: skip
def test_dates_in_every_form_move_and_keep_their_form(value: str, kind: str) -> None:
    source = ct()
    source.add_new("AcquisitionDateTime" if kind == "DT" else "SeriesDate", kind, "20190305")
    data = to_bytes(source)
    # pydicom refuses some of the forms that devices write: put in by hand
    plain = (value + " " * (len(value) % 2)).encode()
    element = (b"\x08\x00\x2a\x00DT" if kind == "DT" else b"\x08\x00\x21\x00DA") + b"\x08\x00" + b"20190305"
    assert data.count(element) == 1
    data = data.replace(element, element[:6] + len(plain).to_bytes(2, "little") + plain)
    header = clean(data).header
    at = header.index(element[:6]) + 8
    moved = header[at : at + int.from_bytes(header[at - 2 : at], "little")].decode().strip()
    zoned = value.replace("+0100", "").replace("-0500", "")
    assert "2019" not in moved and len(moved) == len(zoned.replace(".03.", "03"))
    digits = [part for part in zoned.replace("-", "\\").split("\\") if part]
    assert len([part for part in moved.replace("-", "\\").split("\\") if part]) == len(digits)


def test_the_time_zone_goes_and_times_of_day_stay() -> None:
    source = ct(TimezoneOffsetFromUTC="+0100", SeriesTime="235959.999999", AcquisitionTime="000000")
    ds = read(clean(to_bytes(source)))
    assert "TimezoneOffsetFromUTC" not in ds
    assert (ds.SeriesTime, ds.AcquisitionTime, ds.StudyTime) == ("235959.999999", "000000", "101500")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20190305101500+0100", "101500"),
        ("20190305101500+0000", "111500"),
        ("20190305233000.5-0500", "053000.5"),
        ("2019030510", "10"),
    ],
)
def test_date_times_of_another_zone_are_told_in_the_datasets(value: str, expected: str) -> None:
    ds = read(clean(to_bytes(ct(TimezoneOffsetFromUTC="+0100", AcquisitionDateTime=value))))
    days = int("0500" in value)
    moved = datetime.strptime(str(ds.AcquisitionDateTime)[:8], "%Y%m%d")
    assert (moved - datetime.strptime(ds.StudyDate, "%Y%m%d")).days == days
    assert str(ds.AcquisitionDateTime)[8:] == expected
