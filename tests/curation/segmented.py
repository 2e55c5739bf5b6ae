"""A lake of simulated CT slices with real DICOM SEG objects (highdicom) beside them, taken in by the road of every delivery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from curation.catalog import publish
from curation.cohort import build_cohort
from curation.cohort_spec import CohortSpec
from curation.deid.pseudonyms import Pseudonyms
from curation.delivery import curate, register
from curation.lake import Lake
from curation.settings import load_key, load_settings, open_home
from curation.site import Site, add_site, load_sites

SIDE = 64
COHORT = {
    "cohort": "lesions",
    "purpose": "simulated lesions with their masks",
    "include": [{"name": "CT", "where": "modality = 'CT'"}],
    "series": {"keep": "modality = 'CT'", "order": "n_instances DESC", "per_study": 1},
    "split": {"train": 0.5, "tune": 0.2, "test": 0.3},
    "min_cell": 2,
}


def picture(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A slice in HU, int16 [SIDE, SIDE], and its mask: a disc brighter than the noise around it."""
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.integers(16, SIDE - 16, 2)
    mask = (y - cy) ** 2 + (x - cx) ** 2 <= rng.integers(6, 13) ** 2
    hu = rng.normal(-700, 60, (SIDE, SIDE)) + 500 * mask
    return hu.astype(np.int16), mask.astype(np.uint8)


def ct(patient: int, n: int, hu: np.ndarray[Any, Any], study: str, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["seg test", str(patient), str(n)])
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    d.StudyInstanceUID, d.SeriesInstanceUID = study, series
    d.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame of reference"])
    d.PatientID, d.PatientName, d.PatientSex, d.PatientBirthDate = (
        f"P{patient}",
        f"Kowalczyk^Nr{patient}",
        "F",
        "19600101",
    )
    d.AccessionNumber, d.StudyID, d.ReferringPhysicianName = f"A{patient}", "1", ""
    d.StudyDate, d.StudyTime, d.Modality, d.BodyPartExamined = "20210304", "101500", "CT", "CHEST"
    d.SeriesNumber, d.InstanceNumber, d.ImageType = 1, n + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.PositionReferenceIndicator, d.Laterality, d.PatientPosition = "", "", "HFS"
    d.ImageOrientationPatient, d.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-100, -100, 5.0 * n]
    d.PixelSpacing, d.SliceThickness = [3, 3], 5
    d.RescaleSlope, d.RescaleIntercept = 1, -1024
    d.Rows = d.Columns = SIDE
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    d.PixelData = np.clip(hu + 1024, 0, 4095).astype("<u2").tobytes()
    return d


def seg(slices: list[FileDataset], masks: np.ndarray[Any, Any], name: str = "Lung lesion") -> Segmentation:
    """A binary SEG of one structure over those slices."""
    concept = Code("M-80000", "SRT", name)
    segment = SegmentDescription(1, name, codes.SCT.MorphologicallyAbnormalStructure, concept, "MANUAL")
    return Segmentation(
        slices, masks, "BINARY", [segment], generate_uid(), 2, generate_uid(), 1, "Klar", "Reader", "1", "1",
        content_creator_name="Kowalczyk^Reader",
    )  # fmt: skip


def deliver(folder: Path, patients: range, n_slices: int = 1) -> None:
    """Files of those patients; every fifth has no segmentation."""
    rng = np.random.default_rng(patients.start)
    for patient in patients:
        own = folder / f"p{patient}"
        own.mkdir(parents=True)
        study, series = (
            generate_uid(entropy_srcs=["seg test", kind, str(patient)]) for kind in ("study", "series")
        )
        drawn = [picture(rng) for _ in range(n_slices)]
        slices = [ct(patient, n, hu, study, series) for n, (hu, _) in enumerate(drawn)]
        for n, one in enumerate(slices):
            one.save_as(own / f"ct{n}.dcm", enforce_file_format=True)
        if patient % 5 != 4:
            seg(slices, np.stack([mask for _, mask in drawn])).save_as(own / "seg.dcm")


def make_lake(home: Path, n_patients: int, n_slices: int = 1) -> tuple[Lake, Path]:
    """The lake of two sites, and the folder of its cohort."""
    settings = load_settings(home).model_copy(update={"workers": 1, "verify_sample": 0})
    places = open_home(settings)
    staged = {}
    lake = Lake(places.lake)
    for number, site in enumerate(("north", "south")):
        add_site(places, Site(name=site, country="NO", continent="Europe"))
        half = n_patients // 2
        deliver(home / "raw" / site, range(number * half, number * half + half), n_slices)
        register(settings, home / "raw" / site, site, site)
        done = curate(settings, site)
        assert not done.refusals, done.refusals
        staged[site] = done.part_list
    publish(lake, staged, load_sites(places), Pseudonyms(load_key(settings)).split_bucket)
    return lake, build_cohort(lake, CohortSpec.model_validate(COHORT))


assert highdicom  # imported before warnings are turned into errors
