"""Small real DICOM objects for the de-identification tests, as bytes."""

import io
import warnings
from datetime import date, timedelta
from functools import cache

import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from curation.deid.header import Clean, clean_header
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms

SITE = "st-elsewhere"
KEY = b"a key for tests only, 32 bytes.."


@cache
def policy(name: str = "research") -> Policy:
    return compile_policy(load_profile(name))


def pseudonyms() -> Pseudonyms:
    return Pseudonyms(KEY)


def clean(data: bytes, name: str = "research") -> Clean:
    return clean_header(data, policy(name), pseudonyms(), SITE)


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def ct(**changes: object) -> Dataset:
    """A CT slice of 4 x 4; keyword arguments change attributes, None removes one."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, "1.2.826.0.1.3680043.8.498.1.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.2", "1.2.826.0.1.3680043.8.498.3"
    ds.StudyDate, ds.SeriesDate, ds.StudyTime = "20190305", "20190306", "101500"
    ds.AcquisitionDateTime = "20190305101500.25+0100"
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = "ACC47119", "CT", "SIEMENS"
    ds.InstitutionName, ds.ReferringPhysicianName = "Mercy Falls Hospital", "Quackenbush^Eva"
    ds.StudyDescription, ds.SeriesDescription = "CT Thorax nativ", "Thorax 1.0 B31f"
    ds.ManufacturerModelName = "Sensation 64"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Smithson^John^Albert", "48213377", "19520314"
    ds.PatientSex, ds.PatientAge, ds.PatientWeight = "M", "066Y", "82.5"
    ds.BodyPartExamined, ds.SliceThickness, ds.KVP = "CHEST", "1.0", "120"
    ds.ConvolutionKernel, ds.DeviceSerialNumber = "B31f", "SN54321"
    ds.FrameOfReferenceUID, ds.InstanceNumber = "1.2.826.0.1.3680043.8.498.4", "1"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-170.5, -170.5, 1.0], [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 4, 4
    ds.PixelSpacing, ds.BitsAllocated, ds.BitsStored, ds.HighBit = [0.5, 0.5], 16, 12, 11
    ds.PixelRepresentation, ds.RescaleIntercept, ds.RescaleSlope = 0, "-1024", "1"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        CTImageStorage,
        "1.2.826.0.1.3680043.8.498.1.2",
    )
    ds.ReferencedImageSequence = Sequence([reference])
    ds.PixelData = bytes(range(32))
    ds["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def to_bytes(ds: Dataset, syntax: str = ExplicitVRLittleEndian, *, preamble: bytes = bytes(128)) -> bytes:
    """The object as a file's bytes."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    ds.file_meta, ds.preamble = meta, preamble
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def jpeg_ct(frame: bytes, syntax: str, **changes: object) -> bytes:
    """A CT whose one frame is the given codestream."""
    ds = ct(**changes)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return to_bytes(ds, syntax)


_META = (
    bytes(128)
    + b"DICM"
    + b"\x02\0\0\0UL\4\0\x1c\0\0\0"
    + b"\x02\0\x10\0UI\x14\x00"
    + b"1.2.840.10008.1.2.1\0"
)


def read(found: Clean) -> Dataset:
    """The clean header, read by pydicom, every value touched."""
    ds = pydicom.dcmread(io.BytesIO(_META + found.header))
    for element in ds.iterall():
        _ = element.value
    return ds


def registered(*vrs: str) -> list[tuple[int, str, str]]:
    """Tag, VR and keyword of every attribute of the dictionary with one of these VRs, groups of datasets only."""
    return [
        (tag, entry[0], entry[4])
        for tag, entry in sorted(DicomDictionary.items())
        if entry[0] in vrs
        and entry[4]
        and tag >> 16 >= 8
        and tag >> 16 not in (0xFFFE, 0x7FE0, 0xFFFA, 0xFFFC)
    ]


def canary_uid(n: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.777{n:06d}"


def canary_date(n: int) -> str:
    """Days that no shift of another canary can land on: centuries apart from what is written."""
    return (date(2300, 1, 1) + timedelta(days=n)).strftime("%Y%m%d")
