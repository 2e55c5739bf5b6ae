"""What every object of the corpus has: patient, study, series and equipment modules, pixels of a size that stays quick.

What belongs here: modules shared by object types. What does not: the types (objects_*).
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from benchmarks.deid.corpus.canary import Canary, Mint
from benchmarks.deid.corpus.draft import LOSSY, Draft, Frame
from benchmarks.deid.corpus.people import Patient, Site, Study


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def start(
    mint: Mint,
    site: Site,
    patient: Patient,
    study: Study,
    kind: str,
    syntax: str,
    sop_class: str,
    modality: str,
) -> Draft:
    """A draft with the modules that all objects share. Its identities are the patient's, and noted in the key."""
    draft = Draft(Dataset(), kind, syntax, site, patient, study)
    ds = draft.ds
    ds.SpecificCharacterSet = list(site.charset) if len(site.charset) > 1 else site.charset[0]
    ds.SOPClassUID, ds.Modality = sop_class, modality
    for keyword, canary in (
        ("SOPInstanceUID", mint.uid()),
        ("StudyInstanceUID", study.uid),
        ("SeriesInstanceUID", study.series_uid(mint, kind)),
        ("PatientID", patient.id),
        ("AccessionNumber", study.accession),
        ("StudyID", study.number),
        ("ReferringPhysicianName", study.referrer),
        ("StudyDate", study.day),
        ("SeriesDate", study.day),
        ("ContentDate", study.day),
        ("PatientBirthDate", patient.birth),
    ):
        draft.plant(keyword, None, canary, "header")
    _name(draft, patient)
    ds.StudyTime, ds.SeriesTime, ds.ContentTime = "101500", "102000.5", "102112.25"
    ds.PatientSex, ds.PatientWeight, ds.PatientSize = patient.sex, patient.weight, "1.72"
    ds.PatientAge = f"{int(study.day.text[:4]) - int(patient.birth.text[:4]):03d}Y"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = site.maker, site.model, "VB42A"
    ds.DeviceSerialNumber = "48213"
    draft.plant("InstitutionName", None, mint.place(), "header")
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 3, 1 + len(study.instances), 1
    study.instances.append((sop_class, str(ds.SOPInstanceUID)))
    return draft


def _name(draft: Draft, patient: Patient) -> None:
    """The name in Latin letters, and in the site's script: as second group where the script is not alphabetic."""
    text = patient.name.text
    if len(draft.site.charset) > 1:
        text = f"{text}={patient.local_name.text}"
        draft.plant("PatientName", None, patient.name, "header", value=text)
        draft.note("<(0010,0010)>", "header", patient.local_name)
    elif draft.ds.SOPClassUID.endswith("1.2"):
        draft.plant("PatientName", None, patient.name, "header")
    else:
        draft.plant("PatientName", None, patient.local_name, "header")


def frame_of_reference(draft: Draft) -> None:
    draft.plant("FrameOfReferenceUID", None, draft.study.frame_of_reference, "header")
    draft.ds.PositionReferenceIndicator = ""


def acquired(draft: Draft, mint: Mint, body_part: str, description: str) -> None:
    """Dates of acquisition and the descriptions, each with somebody's name behind the useful words."""
    ds = draft.ds
    ds.BodyPartExamined, ds.ImageType = body_part, ["ORIGINAL", "PRIMARY", "AXIAL"]
    draft.plant("AcquisitionDate", None, draft.study.day, "header")
    ds.AcquisitionTime = "102105.125"
    draft.plant(
        "AcquisitionDateTime", None, draft.study.day, "header", value=f"{draft.study.day.text}102105.125"
    )
    ds.StudyDescription = description
    who = mint.spoken_name()
    draft.plant(
        "SeriesDescription", None, who, "descriptor", value=f"{description} {who.text}", retained=description
    )


def image(
    draft: Draft, mint: Mint, size: int = 64, *, bits: int = 12, n_frames: int = 1, color: bool = False
) -> None:
    """Frames of smooth anatomy with noise, [size, size(, 3)]; eight bits where asked, else in 16."""
    ds = draft.ds
    noise = np.random.default_rng(mint.random.getrandbits(32))
    wide = np.uint8 if bits == 8 else np.uint16
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = np.clip(1.2 - np.hypot(x / 0.9, y / 0.7), 0, 1) * (2**bits - 1) * 0.6
    for n in range(n_frames):
        plane = body + noise.normal(0, 2**bits * 0.02, (size, size)) + n
        plane = np.clip(plane, 0, 2**bits - 1).astype(wide)
        draft.frames.append(np.stack([plane, plane // 2, plane], -1) if color else plane)
    ds.SamplesPerPixel = 3 if color else 1
    ds.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        ds.PlanarConfiguration = 0
        if draft.syntax.endswith(".4.50"):
            ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.Rows = ds.Columns = size
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (
        (8, 8, 7, 0) if bits == 8 else (16, bits, bits - 1, 0)
    )
    if draft.syntax.endswith((".4.50", *LOSSY)):
        ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "8"
    if n_frames > 1:
        ds.NumberOfFrames = n_frames


def reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def study_reference(study: Study, series_uid: str, instances: list[tuple[str, str]]) -> Dataset:
    """Item of a Current Requested Procedure Evidence Sequence."""
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    series.ReferencedSOPSequence = [reference(*i) for i in instances]
    item = Dataset()
    item.StudyInstanceUID, item.ReferencedSeriesSequence = study.uid.text, [series]
    return item


__all__ = [
    "Canary",
    "Frame",
    "acquired",
    "code",
    "frame_of_reference",
    "image",
    "reference",
    "start",
    "study_reference",
]
