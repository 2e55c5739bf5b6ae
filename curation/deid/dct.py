"""Boxes of a DCT JPEG blackened among its coefficients: every block outside of them stays as it was.

What belongs here: which blocks a box touches, and the way through libjpeg's coefficients. What does not: what is in the
other marker segments (codestream), and every other way to compress (redact).

Only 8-bit Huffman JPEG of one or three components; sequential or progressive comes, sequential without restarts goes. The
frame travels through memory files: libjpeg wants paths, and a raw picture must not lie on a disk.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.deid.pixels import Box
from curation.records import Refused

_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_GRAY, _RGB, _YCC = 1, 2, 3
"""libjpeg's names of colour spaces."""
_BLACK = -1024
"""The DC coefficient times its quantization of a block of zeros (T.81 A.3.1, level shift of 8 bits)."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a frame header: identifier, sampling factors, quantization table."""

    identifier: int
    horizontal: int
    vertical: int
    table: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame header of a JPEG says (T.81 B.2.2)."""

    rows: int
    columns: int
    precision: int
    sof: int
    components: tuple[Component, ...]

    @property
    def is_transcodable(self) -> bool:
        """Whether its coefficients can be read and written here."""
        return self.sof in _HUFFMAN_FRAMES and self.precision == 8 and len(self.components) in (1, 3)

    def cell(self, component: Component) -> tuple[int, int]:
        """Height and width in pixels of what one block of a component covers."""
        widest = max(c.horizontal for c in self.components)
        tallest = max(c.vertical for c in self.components)
        return 8 * tallest // component.vertical, 8 * widest // component.horizontal

    def blocks(self, component: Component) -> tuple[int, int]:
        """Rows and columns of blocks of a component."""
        height, width = self.cell(component)
        return -(-self.rows // height), -(-self.columns // width)


def read_frame(stream: bytes) -> Frame:
    """The frame header of a scrubbed JPEG. Raises Refused where there is none."""
    for marker, body, _ in segments(stream):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            precision, rows, columns, count = struct.unpack_from(">BHHB", body)
            parts = [body[6 + 3 * i : 9 + 3 * i] for i in range(count)]
            components = tuple(Component(p[0], p[1] >> 4, p[1] & 15, p[2]) for p in parts)
            if not (rows and columns and components) or any(
                not (1 <= c.horizontal <= 4 and 1 <= c.vertical <= 4) for c in components
            ):
                raise Refused("malformed")
            return Frame(rows, columns, precision, marker, components)
    raise Refused("malformed")


def segments(stream: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, body and start of each segment before the first scan, that scan's header last."""
    pos = 2
    while pos + 4 <= len(stream) and stream[pos] == 0xFF:
        size = int.from_bytes(stream[pos + 2 : pos + 4], "big")
        yield stream[pos + 1], stream[pos + 4 : pos + 2 + size], pos
        if stream[pos + 1] == 0xDA:
            return
        pos += 2 + size
    raise Refused("malformed")


def touched(frame: Frame, boxes: Sequence[Box]) -> list[Box]:
    """The pixels that may change when the boxes go: whole coding units, and beside thinned-out chroma one block more.

    Decoders blend a thinned-out chroma sample into its neighbours. So what is blackened in full resolution reaches one block
    beyond the chroma that is: pixels further out keep their chroma whatever the decoder does.
    """
    reach = _reach(frame)
    return [
        _clipped(unit.x - reach[1], unit.y - reach[0], unit, reach, frame) for unit in _units(frame, boxes)
    ]


def _reach(frame: Frame) -> tuple[int, int]:
    """How far, down and across, full-resolution blocks are blackened beyond the coding units."""
    cells = [frame.cell(c) for c in frame.components]
    return (8 if any(h > 8 for h, _ in cells) else 0), (8 if any(w > 8 for _, w in cells) else 0)


def _clipped(x: int, y: int, unit: Box, reach: tuple[int, int], frame: Frame) -> Box:
    right = min(unit.x + unit.width + reach[1], frame.columns)
    bottom = min(unit.y + unit.height + reach[0], frame.rows)
    left, top = max(x, 0), max(y, 0)
    return Box(left, top, right - left, bottom - top)


def _units(frame: Frame, boxes: Sequence[Box]) -> list[Box]:
    """The coding units that hold the boxes, as boxes."""
    height = max(frame.cell(c)[0] for c in frame.components)
    width = max(frame.cell(c)[1] for c in frame.components)
    units = []
    for box in boxes:
        left, top = max(box.x, 0) // width * width, max(box.y, 0) // height * height
        right = min(-(-(box.x + box.width) // width) * width, -(-frame.columns // width) * width)
        bottom = min(-(-(box.y + box.height) // height) * height, -(-frame.rows // height) * height)
        if box.width > 0 and box.height > 0 and right > left and bottom > top:
            units.append(Box(left, top, right - left, bottom - top))
    return units


def blacken(stream: bytes, boxes: Sequence[Box], *, is_ycc: bool) -> bytes:
    """A scrubbed JPEG with the boxes black and everything that `touched` does not name as it was.

    `is_ycc`: whether three components are luminance and colour differences. Raises Refused: malformed, decoder_failed.
    libjpeg may end the process over damaged data: call it in a worker whose end is expected.
    """
    frame = read_frame(stream)
    if not frame.is_transcodable:
        raise Refused("unsupported_syntax")
    coefficients, tables = _read(stream, frame)
    units, reach = _units(frame, boxes), touched(frame, boxes)
    for n, (component, planes) in enumerate(zip(frame.components, coefficients, strict=True)):
        height, width = frame.cell(component)
        is_full = (height, width) == (8, 8)
        is_chroma = is_ycc and n > 0
        black = 0 if is_chroma else _BLACK // max(int(tables[component.table]), 1)
        for box in reach if is_full else units:
            part = planes[
                box.y // height : -(-(box.y + box.height) // height),
                box.x // width : -(-(box.x + box.width) // width),
            ]
            part[...] = 0
            part[..., 0] = black
    return _dressed(_write(stream, frame, coefficients), stream)


def _read(stream: bytes, frame: Frame) -> tuple[list[NDArray[np.int16]], NDArray[np.uint16]]:
    """Coefficients [block rows, block columns, 64] of each component, and the DC step of each quantization table."""
    from jpeglib._bind import CJpegLib

    planes = [np.zeros((*frame.blocks(c), 64), np.int16) for c in frame.components]
    tables = np.zeros((4, 64), np.uint16)
    numbers = np.zeros(4, np.int16)
    with _memory_file(stream) as path:
        try:
            CJpegLib.read_jpeg_dct(
                path, *_four(planes), _pointer(tables, ctypes.c_ushort), _pointer(numbers, ctypes.c_short)
            )
        except OSError:
            raise Refused("decoder_failed") from None
    return planes, tables[:, 0]


def _write(stream: bytes, frame: Frame, planes: list[NDArray[np.int16]]) -> bytes:
    from jpeglib._bind import CJpegLib

    space = _GRAY if len(planes) == 1 else _YCC
    with _memory_file(stream) as source, _memory_file(b"") as target:
        try:
            CJpegLib.write_jpeg_dct(
                source,
                target,
                *_four(planes),
                image_dims=(ctypes.c_int * 2)(frame.rows, frame.columns),
                block_dims=None,
                in_color_space=space,
                in_components=len(planes),
                samp_factor=None,
                qt=None,
                quality=-1,
                quant_tbl_no=None,
                num_markers=0,
                marker_types=None,
                marker_lengths=None,
                markers=None,
                flags=["+OPTIMIZE_CODING"],
            )
        except OSError:
            raise Refused("decoder_failed") from None
        with open(target, "rb") as file:
            return file.read()


def _four(planes: Sequence[NDArray[np.int16]]) -> list[Any]:
    """Pointers to the planes of up to four components."""
    return [_pointer(p, ctypes.c_short) for p in planes] + [None] * (4 - len(planes))


def _pointer(values: NDArray[Any], kind: Any) -> Any:
    return values.ctypes.data_as(ctypes.POINTER(kind))


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path of a file that lies in memory only and goes with this process."""
    fd = os.memfd_create("frame")
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _dressed(written: bytes, original: bytes) -> bytes:
    """What libjpeg wrote, with the original's application segments and component identifiers in place of its own.

    Decoders guess the colour space from them; the photometric interpretation of the object speaks of the original.
    """
    kept = b"".join(
        original[at : at + 4 + len(body)] for marker, body, at in segments(original) if marker >> 4 == 0xE
    )
    identifiers = [c.identifier for c in read_frame(original).components]
    out, end = bytearray(b"\xff\xd8" + kept), 0
    for marker, body, at in segments(written):
        part = bytearray(written[at : at + 4 + len(body)])
        end = at + len(part)
        if marker >> 4 == 0xE:
            continue
        if marker in _HUFFMAN_FRAMES:
            for i, identifier in enumerate(identifiers):
                part[10 + 3 * i] = identifier
        elif marker == 0xDA:
            if part[4] != len(identifiers):  # one scan over all components is what libjpeg writes
                raise Refused("decoder_failed")
            for i, identifier in enumerate(identifiers):
                part[5 + 2 * i] = identifier
        out += part
    return bytes(out + written[end:])
