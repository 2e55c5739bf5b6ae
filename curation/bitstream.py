"""Compressed frames as sources send them: what their own headers announce, and their decoding behind that guard.

What belongs here: gathering fragments into frames, reading dimensions from JPEG, JPEG-LS and JPEG 2000 headers, and
turning one compressed frame into stored values. What does not: native pixels and the lake's own payloads (frames).

A decoder is asked only after the bitstream's own dimensions agree with Rows, Columns and Samples: a JPEG 2000 file of
540 bytes may ask for 4.5 GB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from curation.part10 import JPEG, JPEG_2000, JPEG_LS, RLE, Source, fragments
from curation.records import Refused

_LOSSY_SOF = (0xC0, 0xC1, 0xC2)
_JPEG_END = b"\xff\xd9"
_J2K_START = b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0c"
_COLOR = ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the header says the pixels are laid out (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    is_planar: bool
    photometric: str
    n_frames: int

    @property
    def shape(self) -> tuple[int, ...]:
        """[rows, columns], or [rows, columns, samples] for colour."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Little-endian integer of the allocated size; one byte for single bits."""
        return np.dtype(f"<{'i' if self.is_signed else 'u'}{max(self.bits_allocated // 8, 1)}")


@dataclass(frozen=True, slots=True)
class Announced:
    """What a bitstream's own header says: `sof` is the JPEG frame marker's low byte, 0 for JPEG 2000."""

    rows: int
    columns: int
    samples: int
    precision: int
    is_signed: bool
    sof: int


def iter_bitstreams(data: Source, offset: int, length: int, layout: Layout) -> Iterator[bytes]:
    """The compressed frames of encapsulated pixel data, in order. Raises Refused as `locate_bitstreams` does."""
    for group in locate_bitstreams(data, offset, length, layout):
        yield join_fragments(data, group)


def locate_bitstreams(
    data: Source, offset: int, length: int, layout: Layout
) -> list[Sequence[tuple[int, int]]]:
    """For each frame of encapsulated pixel data, offset and length of its fragments (PS3.5 A.4).

    By one fragment a frame (which an extended offset table demands), else by the basic offset table, else by the
    start markers of the bitstreams. Raises Refused("pixel_mismatch") where they do not give the frames stated.
    """
    (table_start, table_length), *items = fragments(data, offset, length) or [(0, 0)]
    table = bytes(data[table_start : table_start + table_length])
    if len(items) < layout.n_frames or not items:
        raise Refused("pixel_mismatch")
    if layout.n_frames == 1:
        groups: list[Sequence[tuple[int, int]]] = [items]
    elif len(items) == layout.n_frames:
        groups = [[item] for item in items]
    else:
        groups = _grouped(_starts_by_table(table, items) or _starts_by_marker(data, items), items)
    if len(groups) != layout.n_frames:
        raise Refused("pixel_mismatch")
    return groups


def join_fragments(data: Source, group: Sequence[tuple[int, int]]) -> bytes:
    """One compressed frame out of its fragments."""
    return b"".join(bytes(data[start : start + size]) for start, size in group)


def _starts_by_table(table: bytes, items: Sequence[tuple[int, int]]) -> list[int]:
    """Indices of the items at which frames begin, by the basic offset table; empty where there is none."""
    offsets = struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4])
    first = items[0][0]
    index_of = {start - first: index for index, (start, _) in enumerate(items)}
    starts = [index_of.get(o, -1) for o in offsets]
    if any(s < 0 for s in starts) or starts != sorted(set(starts)):
        raise Refused("pixel_mismatch")
    return starts


def _starts_by_marker(data: Source, items: Sequence[tuple[int, int]]) -> list[int]:
    heads = [bytes(data[start : start + min(size, 4)]) for start, size in items]
    return [i for i, h in enumerate(heads) if h[:3] == b"\xff\xd8\xff" or h in (_J2K_START, _JP2_START)]


def _grouped(starts: list[int], items: Sequence[tuple[int, int]]) -> list[Sequence[tuple[int, int]]]:
    if not starts or starts[0] != 0:
        raise Refused("pixel_mismatch")
    return [items[a:b] for a, b in zip(starts, [*starts[1:], len(items)], strict=True)]


def decode_bitstream(stream: bytes, transfer_syntax: str, layout: Layout) -> NDArray[Any]:
    """Stored values of one compressed frame, `layout.shape` and `layout.dtype`; J2K colour transforms come undone.

    Raises Refused: pixel_mismatch where the bitstream announces other dimensions, decoder_failed, unsupported_syntax.
    """
    if transfer_syntax == RLE:
        return _extend(_decode_rle(stream, layout), layout, layout.bits_stored)
    announced = check_announced(stream, transfer_syntax, layout)
    values = _decode(stream, transfer_syntax, announced)
    if values.shape != layout.shape:
        raise Refused("pixel_mismatch")
    if transfer_syntax in JPEG_2000:
        bits = announced.precision if announced.is_signed != layout.is_signed else 8 * layout.dtype.itemsize
        return _extend(values, layout, bits)
    if transfer_syntax in JPEG_LS and layout.is_signed:
        return _extend(values, layout, announced.precision)  # JPEG-LS knows no sign
    return _extend(values, layout, layout.bits_stored)


def check_announced(stream: bytes, transfer_syntax: str, layout: Layout) -> Announced:
    """What the bitstream announces, once it is whole and agrees with the layout. Raises Refused."""
    if transfer_syntax not in JPEG_2000 and not is_ended(stream):
        # without its end marker CharLS never comes back, and libjpeg fills up with grey
        raise Refused("truncated")
    announced = _read_siz(stream) if transfer_syntax in JPEG_2000 else _read_sof(stream)
    if (announced.rows, announced.columns, announced.samples) != (
        layout.rows,
        layout.columns,
        layout.samples,
    ):
        raise Refused("pixel_mismatch")
    if announced.precision > 8 * layout.dtype.itemsize:
        raise Refused("pixel_mismatch")
    return announced


def is_ended(stream: bytes) -> bool:
    """Whether a JPEG or JPEG-LS bitstream has its end marker; devices pad after it with 0 or 255."""
    return stream.rstrip(b"\0\xff").endswith(_JPEG_END)


def is_lossy_jpeg(announced: Announced) -> bool:
    """Whether this is a DCT JPEG, whose bitstream is kept as it came."""
    return announced.sof in _LOSSY_SOF


def _decode(stream: bytes, transfer_syntax: str, announced: Announced) -> NDArray[Any]:
    try:
        if (
            transfer_syntax in JPEG_2000
        ):  # HTJ2K as well: OpenJPH gives noise for a truncated stream, and says nothing
            decoded = imagecodecs.jpeg2k_decode(_codestream(stream), numthreads=1)
        elif announced.sof == 0xF7:
            decoded = imagecodecs.jpegls_decode(stream)
        elif announced.sof == 0xC3:
            decoded = imagecodecs.jpegsof3_decode(stream)
        elif is_lossy_jpeg(announced):
            decoded = imagecodecs.jpeg_decode(stream)
        else:
            raise Refused("unsupported_syntax")
    except (Refused, MemoryError):
        raise
    except Exception:  # decoders raise what they like on hostile bytes, and their texts may quote them
        raise Refused("decoder_failed") from None
    return np.asarray(decoded)


def _extend(values: NDArray[Any], layout: Layout, bits: int) -> NDArray[Any]:
    """The values as `layout.dtype`, of which only the lowest `bits` count (PS3.5 8.1.1), sign extended."""
    unsigned = np.ascontiguousarray(values.astype(f"<u{layout.dtype.itemsize}", copy=False))
    typed = unsigned.view(layout.dtype)
    shift = 8 * layout.dtype.itemsize - bits
    return typed if shift <= 0 else np.right_shift(np.left_shift(typed, shift), shift)


def extend_stored(values: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Stored values without the bits above BitsStored, which may hold overlays or rubbish."""
    return (
        values
        if layout.bits_stored >= 8 * layout.dtype.itemsize
        else _extend(values, layout, layout.bits_stored)
    )


def _decode_rle(stream: bytes, layout: Layout) -> NDArray[Any]:
    """DICOM run lengths (PS3.5 annex G): one segment a byte plane, most significant first."""
    width = layout.dtype.itemsize
    n_planes = layout.samples * width
    if len(stream) < 64:
        raise Refused("pixel_mismatch")
    n_segments, *offsets = struct.unpack("<16L", stream[:64])
    if n_segments != n_planes or n_planes > 15:
        raise Refused("pixel_mismatch")
    ends = [*offsets[1:n_segments], len(stream)]
    planes = np.empty((layout.samples, width, layout.rows * layout.columns), dtype=np.uint8)
    for i, (start, end) in enumerate(zip(offsets[:n_segments], ends, strict=True)):
        if not 64 <= start <= end <= len(stream):
            raise Refused("malformed")
        plane = planes[i // width, width - 1 - i % width]
        try:
            filled = imagecodecs.packbits_decode(stream[start:end], out=plane)
        except Exception:  # as in _decode
            raise Refused("decoder_failed") from None
        if len(filled) != plane.size:
            raise Refused("pixel_mismatch")
    # [samples, bytes, pixels] -> [pixels, samples, bytes] -> [rows, columns(, samples)]
    packed = np.ascontiguousarray(planes.transpose(2, 0, 1))
    return packed.reshape(-1).view(f"<u{width}").reshape(layout.shape)


def _read_sof(stream: bytes) -> Announced:
    """The first frame header of a JPEG or JPEG-LS bitstream (ITU-T T.81 B.2.2, T.87 C.2.2)."""
    if stream[:2] != b"\xff\xd8":
        raise Refused("decoder_failed")
    pos = 2
    while pos + 4 <= len(stream):
        if stream[pos] != 0xFF:
            raise Refused("decoder_failed")
        marker = stream[pos + 1]
        if marker == 0xFF:  # fill byte
            pos += 1
            continue
        size = int.from_bytes(stream[pos + 2 : pos + 4], "big")
        is_frame = marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC))
        if is_frame and pos + 10 <= len(stream):
            precision, rows, columns, samples = struct.unpack_from(">BHHB", stream, pos + 4)
            return Announced(rows, columns, samples, precision, False, marker)
        if marker in (0xD9, 0xDA) or size < 2:
            break
        pos += 2 + size
    raise Refused("decoder_failed")


def _codestream(stream: bytes) -> bytes:
    """The JPEG 2000 codestream, taken out of a JP2 file where a device wrote one."""
    start = 0 if stream.startswith(_J2K_START) else stream.find(_J2K_START)
    if start < 0:
        raise Refused("decoder_failed")
    return stream[start:] if start else stream


def _read_siz(stream: bytes) -> Announced:
    """The image and tile size segment of a JPEG 2000 codestream (ITU-T T.800 A.5.1)."""
    code = _codestream(stream)[:200]
    if len(code) < 45:
        raise Refused("decoder_failed")
    x, y, x0, y0, tile_x, tile_y, _, _, n = struct.unpack_from(">8LH", code, 8)
    components = code[42 : 42 + 3 * n]
    if not (x > x0 and y > y0 and tile_x and tile_y) or len(components) < 3 * n or not n:
        raise Refused("pixel_mismatch")
    if len(set(components[0::3])) > 1 or set(components[1::3]) | set(components[2::3]) != {1}:
        raise Refused("pixel_mismatch")  # components of different depth, or subsampled
    if -(-x // tile_x) * -(-y // tile_y) > 65535:
        raise Refused("pixel_mismatch")
    return Announced(y - y0, x - x0, n, (components[0] & 0x7F) + 1, bool(components[0] & 0x80), 0)


def keep_jpeg(stream: bytes, original: bytes, photometric: str) -> bytes:
    """A scrubbed colour JPEG that says itself whether it is YCbCr or RGB.

    Decoders guess from application segments, which scrubbing takes away: an Adobe segment (T.872 6.5.3) is put back
    according to the original's segments, else to the photometric interpretation. The entropy-coded data stay.
    """
    sof = _read_sof(stream)
    if sof.samples != 3 or adobe_transform(stream) is not None:
        return stream
    transform = adobe_transform(original)
    if transform is None:
        is_ycc = b"JFIF\0" in original[:64] or photometric in _COLOR
        transform = 1 if is_ycc else 0
    segment = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    return stream[:2] + segment + stream[2:]


def adobe_transform(stream: bytes) -> int | None:
    """The colour transform that Adobe's segment of a JPEG states (T.872 6.5.3), None where there is none."""
    pos = 2
    while pos + 4 <= len(stream) and stream[pos] == 0xFF and stream[pos + 1] not in (0xD9, 0xDA):
        size = int.from_bytes(stream[pos + 2 : pos + 4], "big")
        if stream[pos + 1] == 0xEE and stream[pos + 4 : pos + 9] == b"Adobe" and size >= 14:
            return stream[pos + 15]
        pos += 2 + max(size, 2)
    return None


def stored_photometric(transfer_syntax: str, photometric: str) -> str:
    """Photometric interpretation of the frames in the lake, which may differ from that of the source.

    JPEG 2000 and JPEG decoders give RGB; native subsampled YBR_FULL_422 is stored unsubsampled as YBR_FULL.
    """
    if transfer_syntax in JPEG_2000 and photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    if transfer_syntax in JPEG and photometric in _COLOR:
        return "RGB"
    return "YBR_FULL" if photometric == "YBR_FULL_422" else photometric
