"""A row of `instances` and its frames as the DICOM file that they are: clean header, stored values, nothing else.

What belongs here: Part 10 bytes, and proving that they hold the same values. What does not: which rows (export_dicom).

Every file is Explicit VR Little Endian with native pixels, whatever the source's transfer syntax was: any reader opens it, and
the proof needs no decoder. Colour that came as JPEG is RGB, as the lake keeps it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.deid.explicit import element, elements_of
from curation.deid.release import meta_of
from curation.part10 import EXPLICIT_LITTLE
from curation.tile import Row

_SOP_INSTANCE, _PIXELS = 0x00080018, 0x7FE00000
_FLOAT, _DOUBLE, _INTEGER = 0x7FE00008, 0x7FE00009, 0x7FE00010
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_MAX_LENGTH = 0xFFFFFFFE


class NotRebuilt(Exception):  # noqa: N818 - what became of the row
    """A row that gives no file; `reason`: frame_missing, decoder_failed, too_large or not_identical."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def write_file(path: Path, row: Row, frames: Iterator[NDArray[Any]]) -> None:
    """Writes the file of an instance (`header`, `sop_class`, `n_frames`, `photometric`) and its decoded frames, in order.

    Raises NotRebuilt where the pixels are larger than a native element can be.
    """
    before, after = _parts(row["header"])
    first = next(frames, None)
    with path.open("wb") as out:
        out.write(meta_of(row["sop_class"], _text(before[_SOP_INSTANCE]), EXPLICIT_LITTLE))
        if first is not None:
            before |= _image_elements(before, row, first)
        for tag in sorted(before):
            out.write(before[tag])
        if first is not None:
            _write_pixels(out.write, row["n_frames"], first, frames, _number(before.get(_BITS_ALLOCATED)))
        for tag in sorted(after):
            out.write(after[tag])


def frame_hashes(path: Path) -> list[bytes]:
    """SHA-256 of every frame's stored values as pydicom reads them from the file; none where it has no pixels."""
    from pydicom import dcmread
    from pydicom.pixels.utils import iter_pixels, pixel_array

    dataset = dcmread(path)
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return []
    if dataset.BitsAllocated == 1:  # pydicom reads single bits whole: frames do not begin at whole bytes
        whole = pixel_array(dataset, raw=True)
        found: Iterable[NDArray[Any]] = whole if int(dataset.get("NumberOfFrames") or 1) > 1 else [whole]
    else:
        found = iter_pixels(dataset, raw=True)
    return [
        hashlib.sha256(np.ascontiguousarray(v.astype(v.dtype.newbyteorder("<"), copy=False)).data).digest()
        for v in found
    ]


def _parts(header: bytes) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Elements by tag before and behind the pixels; of the pixels' own group nothing."""
    before: dict[int, bytes] = {}
    after: dict[int, bytes] = {}
    for tag, _, start, _, end in elements_of(header):
        if tag >> 16 != _PIXELS >> 16:
            (before if tag < _PIXELS else after)[tag] = header[start:end]
    return before, after


def _image_elements(before: Mapping[int, bytes], row: Row, first: NDArray[Any]) -> dict[int, bytes]:
    """What the header must say so that it is true of values as the lake keeps them."""
    found: dict[int, bytes] = {}
    if row["photometric"]:
        found[0x00280004] = element(0x00280004, b"CS", row["photometric"].encode())
    if first.ndim == 3:
        found[0x00280006] = element(0x00280006, b"US", struct.pack("<H", 0))  # by pixel, not by plane
    allocated, bits = _number(before.get(_BITS_ALLOCATED)), 8 * first.dtype.itemsize
    if first.dtype.kind in "iu" and allocated not in (1, bits):
        stored = min(_number(before.get(_BITS_STORED)) or bits, bits)
        for tag, value in ((_BITS_ALLOCATED, bits), (_BITS_STORED, stored), (_HIGH_BIT, stored - 1)):
            found[tag] = element(tag, b"US", struct.pack("<H", value))
    return found


def _write_pixels(
    write: Any, n_frames: int, first: NDArray[Any], rest: Iterator[NDArray[Any]], allocated: int
) -> None:
    is_bits = allocated == 1
    size = -(-first.size * n_frames // 8) if is_bits else first.nbytes * n_frames
    if size > _MAX_LENGTH:
        raise NotRebuilt("too_large")
    tag, vr = _INTEGER, b"OB" if first.dtype.itemsize == 1 else b"OW"
    if first.dtype.kind == "f":
        tag, vr = (_FLOAT, b"OF") if first.dtype.itemsize == 4 else (_DOUBLE, b"OD")
    write(struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, size + (size & 1)))
    if is_bits:  # frames do not begin at whole bytes
        flat = np.concatenate([first.ravel(), *(values.ravel() for values in rest)])
        write(np.packbits(flat, bitorder="little").tobytes())
    else:
        for values in _all(first, rest):
            write(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).tobytes())
    write(bytes(size & 1))


def _all(first: NDArray[Any], rest: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    yield first
    yield from rest


def _text(raw: bytes) -> str:
    return raw[8:].rstrip(b"\0 ").decode("ascii")


def _number(raw: bytes | None) -> int:
    return int.from_bytes(raw[8:10], "little") if raw else 0
