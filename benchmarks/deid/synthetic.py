"""Synthetic objects for the de-identification benchmarks: a CT slice with everything, and a big multi-frame object."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def ct_slice(number: int, series_uid: str, study_uid: str, pixels: bytes) -> Dataset:
    """A CT slice of 512 x 512 int16 with about 130 top-level elements, private blocks and nested sequences."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    ds.SOPClassUID, ds.SOPInstanceUID = CT_CLASS, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(ds, keyword, "20190305")
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(ds, keyword, f"1012{number % 60:02d}.250000")
    ds.AcquisitionDateTime = f"201903051012{number % 60:02d}.250000"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "ACC0047119", "CT", "SIEMENS"
    ds.InstitutionName, ds.InstitutionAddress = "St Elsewhere Hospital", "12 Elm Street, Springfield"
    ds.ReferringPhysicianName, ds.PerformingPhysicianName = "Miller^Eva^^Dr", "Grey^Meredith"
    ds.NameOfPhysiciansReadingStudy, ds.OperatorsName = "House^Gregory", "Ratched^Mildred"
    ds.StationName, ds.StudyDescription, ds.SeriesDescription = (
        "CTAWP66031",
        "CT Thorax nativ",
        "Thorax 1.0 B31f",
    )
    ds.InstitutionalDepartmentName, ds.ManufacturerModelName = "Radiology", "Sensation 64"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Smith^John^Albert", "48213377", "19520314"
    ds.PatientSex, ds.PatientAge, ds.PatientSize, ds.PatientWeight = "M", "066Y", "1.78", "82.5"
    ds.OtherPatientIDs, ds.PatientAddress = "X-99812", "4 Oak Lane, Springfield"
    ds.PatientTelephoneNumbers, ds.PatientComments = "555-867-5309", "Lives with wife Mary"
    ds.BodyPartExamined, ds.ScanOptions, ds.ProtocolName = "CHEST", "HELIX", "ThorRoutine"
    for keyword, value in _NUMBERS.items():
        setattr(ds, keyword, value)
    ds.ConvolutionKernel, ds.SoftwareVersions, ds.DeviceSerialNumber = "B31f", "syngo CT 2012B", "54321"
    ds.FilterType, ds.PatientPosition, ds.StudyID, ds.ImageComments = "0", "HFS", "1", "for Dr. House"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = generate_uid(entropy_srcs=[series_uid]), "SN"
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 2, 1, number
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-170.5, -170.5, 1.0 * number], [1, 0, 0, 0, 1, 0]
    ds.SliceLocation = 1.0 * number
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 512, 512
    ds.PixelSpacing, ds.BitsAllocated, ds.BitsStored, ds.HighBit = [0.666, 0.666], 16, 12, 11
    ds.PixelRepresentation, ds.WindowCenter, ds.WindowWidth = 1, [40, -600], [400, 1200]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.WindowCenterWidthExplanation = ["WINDOW1", "WINDOW2"]
    ds.RequestingPhysician, ds.RequestedProcedureDescription = "Cox^Perry", "CT chest without contrast"
    ds.PerformedProcedureStepDescription, ds.PerformedProcedureStepID = "CT Thorax", "PPS12345"
    ds.AdmissionID, ds.AdditionalPatientHistory, ds.EthnicGroup = "ADM778", "Fell off horse", "unknown"
    reference = Dataset()
    localizer = generate_uid(entropy_srcs=[series_uid, "localizer"])
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT_CLASS, localizer
    reference.PurposeOfReferenceCodeSequence = Sequence([code("121311", "DCM", "Localizer")])
    ds.ReferencedImageSequence = Sequence([reference, reference])
    ds.ProcedureCodeSequence = Sequence([code("24627-2", "LN", "Chest CT")])
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "RP1", "SPS1"
    request.ScheduledProtocolCodeSequence = Sequence([code("CTTHX", "99LOCAL", "Thorax Dr. House")])
    ds.RequestAttributesSequence = Sequence([request])
    for group, creator in (
        (0x0019, "SIEMENS CT VA0  COAD"),
        (0x0021, "SIEMENS MED"),
        (0x0029, "SIEMENS CSA HEADER"),
    ):
        block = ds.private_block(group, creator, create=True)
        for element in range(8):
            block.add_new(0x10 + element, "LO", f"private Smith {element}")
    ds.PixelData = pixels
    ds["PixelData"].VR = "OW"
    return ds


_NUMBERS = {
    "SliceThickness": 1.0, "KVP": 120, "DataCollectionDiameter": 500, "ReconstructionDiameter": 341,
    "DistanceSourceToDetector": 1040, "DistanceSourceToPatient": 570, "GantryDetectorTilt": 0, "TableHeight": 154,
    "ExposureTime": 500, "XRayTubeCurrent": 189, "Exposure": 94, "GeneratorPower": 23, "FocalSpots": 1.2,
    "SpiralPitchFactor": 1.1, "TotalCollimationWidth": 19.2, "SingleCollimationWidth": 0.6, "TableSpeed": 42.0,
    "TableFeedPerRotation": 21.0, "CTDIvol": 7.4, "SmallestImagePixelValue": 0, "LargestImagePixelValue": 3000,
    "EstimatedDoseSaving": 10.0, "RevolutionTime": 0.5, "RotationDirection": "CW", "ExposureModulationType": "XYZ_EC",
}  # fmt: skip


def write(ds: Dataset, path: Path) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta = meta
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def write_series(folder: Path, n: int) -> None:
    """n slices of one CT series."""
    study_uid, series_uid = generate_uid(), generate_uid()
    for number in range(n):
        pixels = struct.pack("<H", number & 0xFFFF) * (512 * 512)
        write(ct_slice(number, series_uid, study_uid, pixels), folder / f"slice{number:05d}.dcm")


def write_big(path: Path, frames: int) -> None:
    """A multi-frame ultrasound object of 512 x 512 x 16 bit frames; the pixels are a hole in the file."""
    ds = ct_slice(1, generate_uid(), generate_uid(), b"\0\0")
    ds.SOPClassUID, ds.Modality, ds.NumberOfFrames = UltrasoundMultiFrameImageStorage, "US", frames
    ds.BurnedInAnnotation = "NO"
    write(ds, path)
    head = path.read_bytes()[:-6]
    length = 512 * 512 * 2 * frames
    with path.open("wb") as file:
        file.write(head + struct.pack("<L", length))
        file.seek(length - 1, 1)
        file.write(b"\0")
