"""Pixels at the second look: hashes of frames decoded once more, comments inside of bitstreams, bytes past the last pixel.

What belongs here: decoding by imagecodecs directly, not by `frames`. What does not: finding text in pictures (detect).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_fragments

from curation.deid.verify import Found, Person, look_at_bytes

_ENCODERS = re.compile(
    rb"(?:Created by OpenJPEG|Kakadu|OpenJPH|Grok|imagecodecs|Lavc|HTJ2K|RWID)[\x20-\x7e]*"
)


def decode_payload(codec: str, payload: bytes) -> NDArray[np.generic]:
    """Stored values of one frame of the lake. Raises ValueError where the payload is damaged."""
    try:
        if codec == "htj2k":
            return np.asarray(imagecodecs.htj2k_decode(payload))
        if codec == "jpeg":
            return np.asarray(imagecodecs.jpeg_decode(payload))
        if codec == "zstd":
            return np.asarray(np.load(io.BytesIO(imagecodecs.zstd_decode(payload)), allow_pickle=False))
    except (RuntimeError, OSError, EOFError):
        raise ValueError("A payload is damaged.") from None
    raise ValueError("An unknown codec.")


def digest_of(values: NDArray[np.generic]) -> bytes:
    """SHA-256 of stored values, C order, little endian."""
    return hashlib.sha256(
        np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    ).digest()


def payload_faults(codec: str, payload: bytes, person: Person | None, place: str) -> Iterator[Found]:
    """What one frame's bitstream says beside its pixels."""
    if codec == "jpeg":
        yield from _stream_faults(payload, person, place)
    elif person is not None:
        yield from look_at_bytes(payload, person, place)


def dataset_pixel_faults(dataset: Dataset, person: Person | None) -> Iterator[Found]:
    """Comments in compressed frames, and bytes past the last pixel of native ones."""
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword not in dataset:
            continue
        raw = dataset.get_item(keyword).value
        if dataset.file_meta.TransferSyntaxUID.is_compressed and keyword == "PixelData":
            if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
                yield from _surplus(dataset, keyword, raw)
                continue
            for n, fragment in enumerate(generate_fragments(raw)):
                yield from _stream_faults(fragment, person, f"fragment {n}")
        else:
            yield from _surplus(dataset, keyword, raw)


def _surplus(dataset: Dataset, keyword: str, raw: bytes) -> Iterator[Found]:
    bits = {"PixelData": int(dataset.get("BitsAllocated", 0)), "FloatPixelData": 32}.get(keyword, 64)
    samples = int(dataset.get("SamplesPerPixel", 1))
    if str(dataset.get("PhotometricInterpretation", "")).endswith("_422"):
        samples = 2
    frames = int(dataset.get("NumberOfFrames") or 1)
    expected = (int(dataset.Rows) * int(dataset.Columns) * samples * frames * bits + 7) // 8
    if len(raw) - expected not in (0, expected & 1) or raw[expected:].strip(b"\0"):
        yield Found(keyword, "element", "bytes past the last pixel")


def _stream_faults(stream: bytes, person: Person | None, place: str) -> Iterator[Found]:
    for kind, content in comments(stream):
        yield Found(place, "element", kind)
        if person is not None:
            for sight in person.identifiers.in_bytes(content):
                yield Found(place, "identity", sight.kind, f"{sight.form}, {kind}")
    if person is not None:
        yield from look_at_bytes(stream, person, place)


def comments(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """(kind, content) of segments that are no part of the picture: JPEG COM and APPn, JPEG 2000 COM and boxes, tails."""
    if stream[:2] == b"\xff\xd8":
        yield from _jpeg_segments(stream)
    elif stream[:3] == b"\xff\x4f\xff":
        yield from _j2k_segments(stream)
    elif stream[:8] == b"\0\0\0\x0cjP  ":
        yield "JPEG 2000 file boxes", stream[:4096]


def _jpeg_segments(stream: bytes) -> Iterator[tuple[str, bytes]]:
    at = 2
    while at + 4 <= len(stream):
        if stream[at] != 0xFF:  # entropy-coded data: on to the next marker
            at = stream.find(b"\xff", at)
            if at < 0:
                return
        code = stream[at + 1]
        if code == 0xD9:
            if stream[at + 2 :].strip(b"\0"):
                yield "bytes past the end", stream[at + 2 :]
            return
        if code in (0x00, 0x01, 0xFF) or 0xD0 <= code <= 0xD8:
            at += 1 if code == 0xFF else 2
            continue
        size = int.from_bytes(stream[at + 2 : at + 4], "big")
        content = stream[at + 4 : at + 2 + size]
        is_picture = (code == 0xE0 and content[:4] == b"JFIF") or (code == 0xEE and content[:5] == b"Adobe")
        if (code == 0xFE or 0xE0 <= code <= 0xEF) and not (is_picture or code == 0xE8):
            yield "JPEG comment" if code == 0xFE else "JPEG application data", content
        at += 2 + size


def _j2k_segments(stream: bytes) -> Iterator[tuple[str, bytes]]:
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != 0x90:
        size = int.from_bytes(stream[at + 2 : at + 4], "big")
        content = stream[at + 6 : at + 2 + size]
        if stream[at + 1] == 0x64 and content.strip(b"\0 ") and not _ENCODERS.fullmatch(content.strip(b"\0")):
            yield "JPEG 2000 comment", content
        at += 2 + size
