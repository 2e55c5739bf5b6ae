"""Datasets to the bytes of a file, in the transfer syntax that a site's device uses.

What belongs here: encoding pixels, file meta, preamble. What does not: which elements a dataset has.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN)
IMPLEMENTATION_UID = "1.2.826.0.1.3680043.10.5713.1"

Frame = NDArray[np.generic]


def _rle(frame: Frame) -> bytes:
    """RLE of PS3.5 annex G: one segment a byte plane, most significant first, each row packed on its own."""
    rows = frame.shape[0]
    samples = frame.reshape(rows, -1, frame.shape[2] if frame.ndim == 3 else 1)
    segments = []
    for sample in range(samples.shape[2]):
        plane = np.ascontiguousarray(samples[:, :, sample]).astype(samples.dtype.newbyteorder(">"))
        octets = plane.view(np.uint8).reshape(rows, -1, plane.dtype.itemsize)
        for place in range(plane.dtype.itemsize):
            packed = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in octets[:, :, place])
            segments.append(packed + b"\0" * (len(packed) % 2))
    offsets = np.cumsum([64, *(len(s) for s in segments[:-1])])
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : 1 + len(segments)] = offsets
    return header.tobytes() + b"".join(segments)


def _lossless_jpeg(frame: Frame) -> bytes:
    return bytes(imagecodecs.ljpeg_encode(frame, bitspersample=8 * frame.dtype.itemsize))


def _baseline(frame: Frame) -> bytes:
    if frame.ndim == 3:
        return bytes(
            imagecodecs.jpeg8_encode(
                frame, level=88, colorspace="RGB", outcolorspace="YCBCR", subsampling="422"
            )
        )
    return bytes(imagecodecs.jpeg8_encode(frame, level=88))


def _unsigned(frame: Frame) -> Frame:
    return frame if frame.dtype.kind == "u" else frame.view(f"u{frame.dtype.itemsize}")


ENCODERS: Mapping[str, Callable[[Frame], bytes]] = {
    "1.2.840.10008.1.2.5": lambda f: _rle(_unsigned(f)),
    JPEG_BASELINE: _baseline,
    "1.2.840.10008.1.2.4.70": lambda f: _lossless_jpeg(_unsigned(f)),
    "1.2.840.10008.1.2.4.80": lambda f: bytes(imagecodecs.jpegls_encode(f, level=0)),
    "1.2.840.10008.1.2.4.90": lambda f: bytes(
        imagecodecs.jpeg2k_encode(f, level=0, codecformat="j2k", reversible=True, mct=False)
    ),
    "1.2.840.10008.1.2.4.201": lambda f: bytes(imagecodecs.htj2k_encode(f, reversible=True)),
}
"""Encoder of one frame by transfer syntax; native syntaxes need none."""


def with_comment(jpeg: bytes, comment: str) -> bytes:
    """A JPEG stream with a comment segment after its start: where devices write the patient's name."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def set_pixels(
    ds: Dataset, frames: list[Frame], syntax: str, comment: str = "", surplus: bytes = b""
) -> None:
    """Write frames, little endian [rows, columns] or [rows, columns, 3], into the dataset as pixel data of the syntax.

    `surplus` goes behind native pixels, where the standard has nothing.
    """
    if syntax in NATIVE:
        big = syntax == BIG_ENDIAN
        raw = b"".join((f.byteswap() if big else f).tobytes() for f in frames) + surplus
        ds.PixelData = raw + b"\0" * (len(raw) % 2)
        ds["PixelData"].VR = "OB" if frames[0].dtype.itemsize == 1 and syntax != IMPLICIT else "OW"
        return
    streams = [ENCODERS[syntax](f) for f in frames]
    if comment:
        streams = [with_comment(streams[0], comment), *streams[1:]]
    ds.PixelData = encapsulate([s + b"\0" * (len(s) % 2) for s in streams])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def to_bytes(ds: Dataset, syntax: str, meta: Mapping[str, str | bytes], preamble: bytes = b"") -> bytes:
    """A whole Part 10 file. `meta` holds what the site adds to the file meta, such as its AE title."""
    file_meta = FileMetaDataset()
    file_meta.FileMetaInformationVersion = b"\0\1"
    file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    file_meta.TransferSyntaxUID = UID(syntax)
    file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    for keyword, value in meta.items():
        setattr(file_meta, keyword, value)
    ds.file_meta = file_meta
    ds.preamble = preamble.ljust(128, b"\0")[:128]
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
