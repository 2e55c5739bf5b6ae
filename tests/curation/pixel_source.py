"""A file as `frames` sees it, located by pydicom: what de-identification does to the header is another station's matter."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from curation.deid.header import Clean
from curation.part10 import Pixels, open_dataset

IMAGE_PIXEL = ("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
               "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")  # fmt: skip
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
_NOBODY: Any = None


def clean_of(data: bytes) -> tuple[Clean, Dataset] | None:
    """The file as a clean object and as pydicom reads it; None where it has no pixels."""
    dataset = pydicom.dcmread(BytesIO(data), force=True)
    keyword = next((k for k in PIXELS if k in dataset), None)
    if keyword is None:
        return None
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", "1.2.840.10008.1.2"))
    raw: Any = dataset.get_item(keyword)
    is_encapsulated = raw.length == 0xFFFFFFFF
    header = Dataset()
    for name in IMAGE_PIXEL:
        if name in dataset:
            header[name] = dataset[name]
    # of a deflated file, offsets count in what it inflates to
    offset = open_dataset(data).data.find(raw.value) if syntax == DEFLATED else raw.value_tell
    length = len(raw.value) if is_encapsulated or syntax == DEFLATED else raw.length
    pixels = Pixels(offset, length, raw.VR or "OW", is_encapsulated, syntax == BIG_ENDIAN, keyword)
    nobody = UUID(int=0)
    clean = Clean(_bytes_of(header), "", syntax, nobody, nobody, nobody, nobody, None, (), pixels, _NOBODY)
    return clean, dataset


def _bytes_of(dataset: Dataset) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_dataset(file, dataset)
    return file.getvalue()


def file_of(
    values: np.ndarray | None,
    *,
    syntax: str = "1.2.840.10008.1.2.1",
    streams: list[bytes] | None = None,
    n_frames: int = 1,
    **header: Any,
) -> bytes:
    """A DICOM file around native values, or around compressed frames."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = (
        1,
        "MONOCHROME2",
        0,
    )
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    if n_frames > 1:
        dataset.NumberOfFrames = n_frames
    if values is not None:
        dataset.Rows, dataset.Columns = values.shape[-2:]
    for name, value in header.items():
        setattr(dataset, name, value)
    if streams is None:
        assert values is not None
        dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    else:
        dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].VR = "OB" if streams is not None else "OW"
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def ramp(rows: int = 64, columns: int = 48, dtype: str = "u2", low: int = 0, high: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(3)
    smooth = np.linspace(low, high, rows * columns).reshape(rows, columns)
    return np.clip(smooth + rng.normal(0, 9, smooth.shape), low, high).astype(dtype)
