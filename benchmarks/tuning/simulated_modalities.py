"""Simulated DICOM of every modality with a planted signal: what a patient's header says of age and sex is drawn in the picture.

What belongs here: the pictures, their headers, the outcome. What does not: taking them in, tuning, judging (bench_cells).
Everything is simulated: no person, no machine, no disease. A patch above on the left is brighter the older the patient is, one
below on the right is bright where the patient is male; days to death follow from age with little left to chance.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SIZE = 56
"""Height and width of a picture, px."""

NOISE = 0.01
"""Deviation of the noise of a pixel, as a share of black to white. The planted signal's strength is ours to choose: 0.45 from
the youngest to the oldest, 0.30 from female to male. With 0.05, as at first, the mean of the planted patch gave age with an R2
of 0.9997, but the random backbone makes so much of the noise that no head on its frozen features came over 0.86 with 120
patients; without noise it came to 0.999."""

SITES = ("mercy-lakes", "wattle-creek", "st-elsewhere")
"""The last one is held out."""


@dataclass(frozen=True)
class Modality:
    """One modality: its SOP class, the values that black and white are stored as, and what its headers must say."""

    name: str
    title: str
    sop_class: str
    low: int
    high: int
    bits: int
    body_part: str
    is_color: bool = False
    window: str | None = None
    """What a run asks to be shown in; None: the product's default."""
    tags: Mapping[str, Any] = field(default_factory=dict)


_CLASS = "1.2.840.10008.5.1.4.1.1."
MODALITIES = (
    Modality("DX", "digital X-ray", _CLASS + "1.1", 200, 3800, 12, "CHEST", tags={"ViewPosition": "PA"}),
    Modality("CR", "computed radiography", _CLASS + "1", 100, 900, 10, "CHEST", tags={"ViewPosition": "AP"}),
    # planted in the soft tissue of the chest, where the default is the lung window: a run has to say so, as a person would
    Modality("CT", "CT", _CLASS + "2", -160, 240, 16, "CHEST", window="soft tissue",
             tags={"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "HU"}),
    Modality("MR", "MR", _CLASS + "4", 0, 1500, 12, "BRAIN",
             tags={"ScanningSequence": "SE", "SequenceVariant": "NONE", "MRAcquisitionType": "2D", "RepetitionTime": "500",
                   "EchoTime": "12"}),
    Modality("US", "ultrasound", _CLASS + "6.1", 0, 255, 8, "ABDOMEN", is_color=True),
    Modality("MG", "mammography", _CLASS + "1.2", 0, 4000, 12, "BREAST",
             tags={"ViewPosition": "CC", "ImageLaterality": "L"}),
    Modality("PT", "PET", _CLASS + "128", 0, 20000, 16, "CHEST",
             tags={"RescaleSlope": "0.5", "RescaleIntercept": "0", "Units": "BQML"}),
    Modality("NM", "nuclear medicine", _CLASS + "20", 0, 900, 16, "WHOLEBODY"),
    Modality("XA", "angiography", _CLASS + "12.1", 0, 1000, 10, "HEART"),
    Modality("OP", "fundus photography", _CLASS + "77.1.5.1", 0, 255, 8, "EYE", is_color=True),
    Modality("ES", "endoscopy", _CLASS + "77.1.1", 0, 255, 8, "COLON", is_color=True),
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """A simulated person: age in years, whether male, days to death and whether it was seen."""

    number: int
    age: int
    is_male: bool
    days: int
    is_seen: bool


def make_patients(n: int, seed: int) -> list[Patient]:
    """n persons from 20 to 85; the older, the sooner; one in six is lost sooner than that."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(n):
        age = int(random.integers(20, 86))
        days = 2500 * np.exp(-(age - 20) / 20) * random.weibull(12)
        lost = days * random.uniform(0.3, 1.0) if random.random() < 1 / 6 else np.inf
        found.append(
            Patient(number, age, bool(random.integers(2)), int(min(days, lost)) + 1, bool(days <= lost))
        )
    return found


def picture(patient: Patient, random: np.random.Generator) -> NDArray[np.float64]:
    """[SIZE, SIZE] in 0..1: noise, both patches, and a corner of black and one of white so that any window is the same."""
    image = random.normal(0.35, NOISE, (SIZE, SIZE))
    half, edge = SIZE // 2, SIZE // 8
    image[:half, :half] += 0.45 * (patient.age - 20) / 65
    image[half:, half:] += 0.30 * patient.is_male
    image = np.clip(image, 0.05, 0.9)
    image[:edge, -edge:], image[-edge:, :edge] = 1.0, 0.0
    return image


def patches(size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the patch of age and of that of sex in a picture of that size, px; their seams left out."""
    half = size // 2
    return (slice(1, half - 1), slice(1, half - 1)), (slice(half + 1, size - 1), slice(half + 1, size - 1))


def dicom(modality: Modality, patient: Patient, site: str, random: np.random.Generator) -> bytes:
    """One object of one frame, explicit little endian."""
    name = f"{modality.name}-{site}-{patient.number}"
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = (
        ["ORIGINAL", "PRIMARY", "AXIAL"] if modality.name in ("CT", "MR", "PT") else ["ORIGINAL", "PRIMARY"]
    )
    ds.SOPClassUID, ds.SOPInstanceUID = modality.sop_class, generate_uid(entropy_srcs=[name, "object"])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[name, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[name, "series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[name, "frame"])
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20210614"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "101500"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = (
        accession(modality, patient),
        modality.name,
        "Simulated",
    )
    ds.PatientName, ds.PatientID = f"Simulated^{site}^{patient.number}", person(modality, patient)
    ds.PatientSex, ds.PatientAge = "M" if patient.is_male else "F", f"{patient.age:03d}Y"
    ds.PatientBirthDate = f"{2021 - patient.age}0101"
    ds.BodyPartExamined, ds.StudyDescription, ds.SeriesDescription = (
        modality.body_part,
        modality.title,
        modality.title,
    )
    ds.BurnedInAnnotation, ds.InstanceNumber, ds.SeriesNumber = "NO", "1", "1"
    ds.PixelSpacing, ds.SliceThickness = ["1.0", "1.0"], "1.0"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    for key, value in modality.tags.items():
        setattr(ds, key, value)
    _pixels(ds, modality, picture(patient, random))
    if modality.name == "US":
        region = Dataset()
        region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
        region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
        region.RegionLocationMaxX1 = region.RegionLocationMaxY1 = SIZE - 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaX = region.PhysicalDeltaY = 0.1
        ds.SequenceOfUltrasoundRegions = [region]
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
        ds.SOPClassUID,
        ds.SOPInstanceUID,
    )
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _pixels(ds: Dataset, modality: Modality, image: NDArray[np.float64]) -> None:
    is_signed = modality.low < 0
    stored = 8 if modality.bits <= 8 else 16
    kind = f"{'i' if is_signed else 'u'}{stored // 8}"
    values = np.round(modality.low + image * (modality.high - modality.low)).astype(kind)
    if modality.is_color:
        values = np.repeat(values[..., None], 3, axis=2)
        ds.PlanarConfiguration = 0
    ds.SamplesPerPixel = 3 if modality.is_color else 1
    ds.PhotometricInterpretation = "RGB" if modality.is_color else "MONOCHROME2"
    ds.Rows = ds.Columns = SIZE
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = stored, modality.bits, modality.bits - 1
    ds.PixelRepresentation = int(is_signed)
    ds.PixelData = values.tobytes()
    if modality.name == "NM":
        ds.NumberOfFrames = "1"


def person(modality: Modality, patient: Patient) -> str:
    """Patient ID: each modality has persons of its own, so that a cohort of one holds nobody of another."""
    return f"{modality.name}{patient.number:05d}"


def accession(modality: Modality, patient: Patient) -> str:
    """Accession number of the one study of a patient."""
    return f"A{modality.name}{patient.number:05d}"


def deliver(root: Path, wanted: Sequence[Modality], n: int, seed: int) -> Iterator[tuple[str, Path]]:
    """Site and folder of three deliveries: n patients of each modality over all sites, and their outcomes.

    A modality has the same patients and pictures whichever others are wanted.
    """
    rows: dict[str, list[dict[str, str]]] = {site: [] for site in SITES}
    for place, modality in enumerate(MODALITIES):
        if modality not in wanted:
            continue
        random = np.random.default_rng([seed, place])
        for patient in make_patients(n, seed * 1000 + place):
            site = SITES[patient.number % len(SITES)]
            path = root / site / modality.name / f"{patient.number:05d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dicom(modality, patient, site, random))
            rows[site].append(
                {
                    "accession": accession(modality, patient),
                    "patient_id": person(modality, patient),
                    "outcome_death_days": str(patient.days),
                    "outcome_death_observed": str(int(patient.is_seen)),
                }
            )
    for site, lines in rows.items():
        out = io.StringIO()
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        (root / site / "outcomes.csv").write_text(out.getvalue())
        yield site, root / site
