"""Stored pixel values <-> lossless payloads.

What belongs here: the lake's own codecs (htj2k, jpeg as it came, zstd), and the frames of one DICOM object as payloads.
What does not: decoding what sources send (bitstream), what our HTJ2K says of itself (htj2k), units and slice order (modality).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from curation import bitstream
from curation.bitstream import Layout
from curation.htj2k import add_mark, deepest, low_pass, read_mark
from curation.part10 import (
    DEFLATED_LITTLE,
    ENCAPSULATED,
    JPEG,
    JPEG_LS,
    Budget,
    Source,
    explicit_header,
    open_dataset,
    skip_element,
)
from curation.records import Refused

if TYPE_CHECKING:
    from curation.deid.cut import Cut
    from curation.deid.header import Clean

MAX_FRAME_BYTES = 512 << 20
"""A frame larger than this is refused as too_large: encoding takes about four times as much memory."""

FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
"""Kinds of values of float pixel data, by keyword."""
_WANTED = {
    0x00280002: "samples", 0x00280004: "photometric", 0x00280006: "planar", 0x00280008: "n_frames",
    0x00280010: "rows", 0x00280011: "columns", 0x00280100: "bits_allocated", 0x00280101: "bits_stored",
    0x00280103: "signed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Payload:
    """One encoded frame; `pixel_sha256` is over the decoded stored values, C order, little endian."""

    codec: str
    payload: bytes
    pixel_sha256: bytes


def encode(array: NDArray[Any]) -> Payload:
    """One frame, [rows, columns] or [rows, columns, samples], losslessly; decoded again and compared.

    Integers of 8, 16 and 32 bits become HTJ2K (.202, RPCL), single bits one byte each; what HTJ2K does not hold
    (floats, 64 bits) becomes zstd over a NumPy array file, which carries its own shape and type.
    """
    values = _little(array.astype(np.uint8) if array.dtype == np.bool_ else array)
    digest = _digest(values)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4 and values.size:
        payload = add_mark(bytes(imagecodecs.htj2k_encode(values)), int(values.min()), int(values.max()))
        if _digest(decode("htj2k", payload)) == digest:
            return Payload("htj2k", payload, digest)
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    payload = bytes(imagecodecs.zstd_encode(file.getvalue(), level=3))
    if _digest(decode("zstd", payload)) != digest:
        raise RuntimeError("A zstd payload did not decode to what was encoded: the codec library is broken.")
    return Payload("zstd", payload, digest)


def decode(
    codec: str,
    payload: bytes | memoryview,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: Any = None,
    reduce: int = 0,
) -> NDArray[Any]:
    """Stored values of one frame; colour JPEG comes as RGB.

    `reduce` n gives an image of ceil(rows / 2**n) by ceil(columns / 2**n): the wavelet's low-pass where the payload
    allows (centred on the first pixel of a block, half a block off its mean), else block means; never above or below
    the range of the whole image. `shape` and `dtype` are checked
    against the whole image where given. Raises ValueError where they differ, the codec is unknown, or the payload is
    damaged.
    """
    stream = bytes(payload)
    if codec == "htj2k" and (mark := read_mark(stream)) and reduce and shape is None:
        levels = min(reduce, deepest(mark))
        if levels:
            return _block_means(low_pass(stream, mark, levels), reduce - levels)
    values = _decode_whole(codec, stream)
    if (shape is not None and values.shape != tuple(shape)) or (dtype is not None and values.dtype != dtype):
        raise ValueError("The payload decodes to another shape or type than stated.")
    return _block_means(values, reduce)


def _decode_whole(codec: str, stream: bytes) -> NDArray[Any]:
    if codec == "htj2k":
        return np.asarray(imagecodecs.htj2k_decode(stream))
    if codec == "jpeg":
        if not bitstream.is_ended(stream):
            raise ValueError("The payload is damaged: it has no end.")
        return np.asarray(imagecodecs.jpeg_decode(stream))
    if codec == "zstd":
        file = io.BytesIO(imagecodecs.zstd_decode(stream))
        return np.asarray(np.load(file, allow_pickle=False))
    raise ValueError(f"There is no codec {codec!r}; the lake has htj2k, jpeg and zstd.")


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))


def _digest(values: NDArray[Any]) -> bytes:
    return hashlib.sha256(_little(values).data).digest()


def _block_means(values: NDArray[Any], reduce: int) -> NDArray[Any]:
    """Means of 2**n by 2**n blocks, those at the lower and right edge smaller; integers rounded to nearest."""
    if not reduce:
        return values
    step = 2**reduce
    is_exact = values.dtype.kind in "iu" and values.dtype.itemsize <= 4
    sums: NDArray[Any] = values
    for axis in (0, 1):
        shape = [-(-n // step) if a == axis else n for a, n in enumerate(sums.shape)]
        total = np.zeros(shape, dtype=np.int64 if is_exact else np.float64)
        for i in range(step):  # whole strided slices: many times faster than summing block by block
            part = sums[i::step] if axis == 0 else sums[:, i::step]
            target = total[: len(part)] if axis == 0 else total[:, : part.shape[1]]
            target += part
        sums = total
    heights, widths = (np.minimum(step, n - np.arange(0, n, step)) for n in values.shape[:2])
    counts = np.outer(heights, widths).reshape(sums.shape[:2] + (1,) * (values.ndim - 2))
    means: NDArray[Any] = ((sums + counts // 2) // counts if is_exact else sums / counts).astype(values.dtype)
    return means


def iter_payloads(data: Source, clean: Clean, *, cut: Cut | None = None) -> Iterator[Payload]:
    """All frames of one object, one at a time, so that memory stays bounded by a frame.

    `cut` says what of each frame is blanked; a DCT JPEG stays one, blanked among its blocks. Raises Refused: pixel_mismatch,
    too_large, decoder_failed, unsupported_syntax; dimensions are compared before any decoder runs.
    """
    pixels = clean.pixels
    if pixels is None:
        return
    layout = read_layout(clean.header, FLOATS.get(pixels.keyword))
    source: Source = open_dataset(data).data if clean.transfer_syntax == DEFLATED_LITTLE else data
    if pixels.offset + pixels.length > len(source):
        raise Refused("truncated")
    if not pixels.is_encapsulated:
        for index in range(layout.n_frames):
            values = _native_frame(source, clean, layout, index)
            yield encode(cut(values, index) if cut else values)
        return
    if clean.transfer_syntax not in ENCAPSULATED:
        raise Refused("unsupported_syntax")
    streams = bitstream.iter_bitstreams(source, pixels.offset, pixels.length, layout)
    for index, source_stream in enumerate(streams):
        stream = _ended(source_stream, clean.transfer_syntax)
        kept = _jpeg_to_keep(stream, index, clean.transfer_syntax, layout, cut)
        if kept is not None:
            yield _keep_jpeg(kept, clean.transfer_syntax, layout)
            continue
        values = bitstream.decode_bitstream(stream, clean.transfer_syntax, layout)
        yield encode(cut(values, index) if cut else values)


def read_frame(data: Source, clean: Clean, index: int) -> NDArray[Any]:
    """Stored values of one frame, [rows, columns] or [rows, columns, samples]. Raises Refused as `iter_payloads` does."""
    pixels = clean.pixels
    if pixels is None:
        raise Refused("pixel_mismatch")
    layout = read_layout(clean.header, FLOATS.get(pixels.keyword))
    if not 0 <= index < layout.n_frames:
        raise IndexError(index)
    source: Source = open_dataset(data).data if clean.transfer_syntax == DEFLATED_LITTLE else data
    if pixels.offset + pixels.length > len(source):
        raise Refused("truncated")
    if not pixels.is_encapsulated:
        return _native_frame(source, clean, layout, index)
    if clean.transfer_syntax not in ENCAPSULATED:
        raise Refused("unsupported_syntax")
    group = bitstream.locate_bitstreams(source, pixels.offset, pixels.length, layout)[index]
    stream = _ended(bitstream.join_fragments(source, group), clean.transfer_syntax)
    return bitstream.decode_bitstream(stream, clean.transfer_syntax, layout)


def _ended(stream: bytes, transfer_syntax: str) -> bytes:
    """A JPEG or JPEG-LS frame without what a device wrote behind its end marker; others as they are."""
    from curation.deid.codestream import scrub

    if transfer_syntax in JPEG | JPEG_LS and not bitstream.is_ended(stream):
        return scrub(stream, transfer_syntax)
    return stream


def _jpeg_to_keep(
    stream: bytes, index: int, transfer_syntax: str, layout: Layout, cut: Cut | None
) -> bytes | None:
    """A DCT JPEG as it stays one, blanked where asked for; None for everything that is decoded and encoded again."""
    from curation.deid.redact import JPEG_DCT, Redactor

    if transfer_syntax not in JPEG or layout.is_signed:
        return None
    if not bitstream.is_lossy_jpeg(bitstream.check_announced(stream, transfer_syntax, layout)):
        return None
    if cut is None:
        return stream
    if transfer_syntax not in JPEG_DCT:
        return None
    redactor = Redactor(cut, layout, transfer_syntax, stream)
    return redactor.frame(stream, index) if redactor.is_dct else None


def _keep_jpeg(stream: bytes, transfer_syntax: str, layout: Layout) -> Payload:
    """The source's own JPEG without comments and application segments: lossy once is enough."""
    from curation.deid.codestream import scrub

    kept = bitstream.keep_jpeg(scrub(stream, transfer_syntax), stream, layout.photometric)
    try:
        values = decode("jpeg", kept)
    except MemoryError:
        raise
    except Exception:  # the decoder raises what it likes on hostile bytes, and its text may quote them
        raise Refused("decoder_failed") from None
    if values.shape != layout.shape:
        raise Refused("pixel_mismatch")
    return Payload("jpeg", kept, _digest(values))


def read_layout(header: bytes, float_type: str | None = None) -> Layout:
    """Rows, columns, bits and so on of a clean header (Explicit VR Little Endian), checked for sense.

    `float_type` is f4 or f8 for float pixel data. Raises Refused("pixel_mismatch") where something is missing or
    absurd, Refused("too_large") for a frame above MAX_FRAME_BYTES.
    """
    facts = _read_facts(header)
    if float_type:
        facts |= {"bits_allocated": 8 * int(float_type[1]), "bits_stored": 8 * int(float_type[1])}
    bits = facts.get("bits_allocated", 0)
    layout = Layout(
        rows=facts.get("rows", 0),
        columns=facts.get("columns", 0),
        samples=facts.get("samples", 1),
        bits_allocated=bits,
        bits_stored=facts.get("bits_stored", bits),
        is_signed=facts.get("signed", 0) == 1 and bits > 1,
        is_planar=facts.get("planar", 0) == 1,
        photometric=_read_photometric(header),
        n_frames=facts.get("n_frames", 1) or 1,
    )
    if min(layout.rows, layout.columns, layout.n_frames) < 1 or layout.samples not in (1, 3, 4):
        raise Refused("pixel_mismatch")
    if bits not in (1, 8, 16, 32, 64) or not 1 <= layout.bits_stored <= bits:
        raise Refused("pixel_mismatch")
    if layout.rows * layout.columns * layout.samples * layout.dtype.itemsize > MAX_FRAME_BYTES:
        raise Refused("too_large")
    return layout


def _elements(header: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, VR and value of the top-level elements up to group 0028; sequences are skipped whole."""
    pos, end, budget = 0, len(header), Budget()
    while end - pos >= 8:
        tag, vr, start, length = explicit_header(header, pos, end)
        if tag > 0x00280103:
            return
        if tag in _WANTED and length <= end - start:
            yield tag, vr, header[start : start + length]
        _, pos = skip_element(header, pos, end, budget)


def _read_facts(header: bytes) -> dict[str, int]:
    facts: dict[str, int] = {}
    for tag, vr, value in _elements(header):
        if vr == b"US" and len(value) >= 2:
            facts[_WANTED[tag]] = int.from_bytes(value[:2], "little")
        elif vr == b"IS" and value.strip(b" \0"):
            digits = value.strip(b" \0+")
            if not digits.isdigit() or len(digits) > 10:
                raise Refused("pixel_mismatch")
            facts[_WANTED[tag]] = int(digits)
    return facts


def _read_photometric(header: bytes) -> str:
    for tag, _, value in _elements(header):
        if _WANTED[tag] == "photometric":
            return value.strip(b" \0").decode("ascii", "replace")
    return ""


def _native_frame(data: Source, clean: Clean, layout: Layout, index: int) -> NDArray[Any]:
    """Stored values of one frame of native pixel data, straight from the buffer."""
    pixels = clean.pixels
    assert pixels is not None
    stored_samples = 2 if layout.photometric == "YBR_FULL_422" and layout.samples == 3 else layout.samples
    n_values = layout.rows * layout.columns * stored_samples
    if ceil(n_values * layout.bits_allocated * layout.n_frames / 8) > pixels.length:
        raise Refused("pixel_mismatch")
    # 8-bit values in big-endian words stand in swapped pairs
    is_swapped = pixels.is_big_endian and pixels.vr == "OW" and layout.bits_allocated == 8
    first, last = index * n_values * layout.bits_allocated, (index + 1) * n_values * layout.bits_allocated
    start, end = first // 8, ceil(last / 8)
    if is_swapped:
        start, end = start // 2 * 2, min(ceil(end / 2) * 2, len(data) - pixels.offset)
    raw = np.frombuffer(data[pixels.offset + start : pixels.offset + end], dtype=np.uint8)
    if is_swapped:
        raw = raw[: raw.size // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)[first // 8 - start :][:n_values]
    if layout.bits_allocated == 1:
        raw = np.unpackbits(raw, bitorder="little")[first - 8 * start :][:n_values]
    return _shaped(raw, clean, layout)


def _shaped(raw: NDArray[np.uint8], clean: Clean, layout: Layout) -> NDArray[Any]:
    pixels = clean.pixels
    assert pixels is not None
    order = ">" if pixels.is_big_endian else "<"
    kind = FLOATS.get(pixels.keyword, layout.dtype.str[1:])
    values = np.ascontiguousarray(raw).view(f"{order}{kind}")
    if layout.samples == 3 and layout.photometric == "YBR_FULL_422":
        values = _upsample_422(values, layout)
    elif layout.samples > 1 and layout.is_planar:
        values = values.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    values = values.reshape(layout.shape)
    if kind[0] == "f" or layout.bits_allocated == 1:
        return _little(values)
    return bitstream.extend_stored(_little(values), layout)


def _upsample_422(values: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Y1 Y2 Cb Cr -> Y1 Cb Cr, Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    if layout.columns % 2:
        raise Refused("pixel_mismatch")
    pairs = values.reshape(-1, 4)
    return np.stack([pairs[:, [0, 2, 3]], pairs[:, [1, 2, 3]]], axis=1).reshape(layout.shape)


def read_palette(header: bytes) -> NDArray[np.uint8]:
    """The palette of a clean header, uint8 [entries, 3] (PS3.3 C.7.6.3.1.5), for frames that are PALETTE COLOR.

    Raises ValueError where the header has no usable palette.
    """
    from pydicom.filereader import read_dataset
    from pydicom.pixels.processing import apply_color_lut

    dataset = read_dataset(io.BytesIO(header), is_implicit_VR=False, is_little_endian=True)
    descriptor = dataset.get("RedPaletteColorLookupTableDescriptor")
    if not descriptor or len(descriptor) != 3:
        raise ValueError("A PALETTE COLOR image without a palette.")
    n_entries, first, bits = (int(v) for v in descriptor)
    indices = np.arange(first + (n_entries or 65536), dtype=np.uint16)
    colors = apply_color_lut(indices, dataset)
    return colors.astype(np.uint8) if bits == 8 else (colors >> 8).astype(np.uint8)
