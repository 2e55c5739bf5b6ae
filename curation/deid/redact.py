"""Frames with regions blanked inside their own transfer syntax: every pixel outside of the regions stays what it was.

What belongs here: how the frames of one object are blanked and packed again, and what its header then says of them. What does
not: which regions (pixels), words beside the pixels (codestream), coefficients of a JPEG (dct).

| it came as | how it is blanked | it goes as |
|---|---|---|
| native, deflated | stored values replaced in place | Explicit VR Little Endian |
| JPEG of 8 bits (.50, .51) | DCT blocks blackened; nothing is decoded | the same |
| JPEG of 12 bits (.51) | decoded, blanked, encoded losslessly | JPEG lossless SV1 (.70) |
| JPEG lossless (.57, .70), RLE | decoded, blanked, encoded | the same |
| JPEG-LS, JPEG 2000, HTJ2K | decoded, blanked, encoded losslessly | the family's lossless syntax |

What a lossy codestream decodes to is kept losslessly: a second lossy encoding would change pixels far from the regions.
LossyImageCompression and its ratio stay, for they tell of the pixels' past. Reversible JPEG 2000 under .91 and .203 keeps its
syntax, which allows both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from curation import bitstream
from curation.bitstream import Layout
from curation.deid import dct
from curation.deid.codestream import scrub
from curation.deid.cut import Cut
from curation.deid.explicit import element, elements_of
from curation.part10 import JPEG, JPEG_2000, JPEG_LS, RLE
from curation.records import Refused

JPEG_DCT = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51))
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
HTJ2K = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203))
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006
_WAVELET_YBR = ("YBR_ICT", "YBR_RCT")
_LOSSLESS: Mapping[str, str] = {"1.2.840.10008.1.2.4.81": "1.2.840.10008.1.2.4.80"}
"""Syntaxes that cannot carry what is encoded losslessly, or say that it is not."""


class Redactor:
    """Blanks the compressed frames of one object.

    `transfer_syntax` is that of the frames it gives; `is_dct` says that nothing is decoded.
    """

    def __init__(self, cut: Cut, layout: Layout, transfer_syntax: str, first: bytes) -> None:
        """`first` is the object's first frame: what it is tells how all of them are taken."""
        self._cut = cut
        self._layout = layout
        self._source = transfer_syntax
        self.is_dct = cut.mask is None and _is_dct(first, transfer_syntax)
        self.transfer_syntax = _released_syntax(transfer_syntax, self.is_dct)
        if transfer_syntax in JPEG_DCT and not self.is_dct and layout.samples > 1:
            raise Refused("unsupported_syntax")  # a lossless JPEG would have to say how its colours were made

    def frame(self, stream: bytes, index: int) -> bytes:
        """One compressed frame, blanked; without comments, even where nothing was blanked.

        Raises Refused: what the decoder says, and unsupported_syntax where nothing can encode it losslessly.
        """
        n_pixels = self._layout.rows * self._layout.columns
        clean = scrub(stream, self._source, n_pixels=n_pixels)
        if self.is_dct:
            bitstream.check_announced(clean, self._source, self._layout)
            return dct.blacken(clean, self._cut.boxes, is_ycc=is_ycc(clean, self._layout.photometric))
        values = self._cut(bitstream.decode_bitstream(clean, self._source, self._layout), index)
        packed = encode(values, self.transfer_syntax, self._layout)
        if not np.array_equal(bitstream.decode_bitstream(packed, self.transfer_syntax, self._layout), values):
            raise Refused("unsupported_syntax")  # such as JPEG 2000 of more than 26 bits
        return scrub(packed, self.transfer_syntax, n_pixels=n_pixels)

    def header(self, header: bytes) -> bytes:
        """The object's clean header, true of the frames this gives."""
        layout = self._layout
        if self.is_dct or layout.samples == 1:
            return header
        if self._source in JPEG_2000 and layout.photometric in _WAVELET_YBR:
            header = replace_element(header, _PHOTOMETRIC, b"CS", b"YBR_RCT")
        if self._source != RLE:
            header = replace_element(header, _PLANAR, b"US", b"\0\0")
        return header


def _is_dct(stream: bytes, transfer_syntax: str) -> bool:
    if transfer_syntax not in JPEG_DCT:
        return False
    return dct.read_frame(scrub(stream, transfer_syntax)).is_transcodable


def _released_syntax(transfer_syntax: str, is_dct: bool) -> str:
    if transfer_syntax in JPEG_DCT and not is_dct:
        return JPEG_LOSSLESS_SV1
    return _LOSSLESS.get(transfer_syntax, transfer_syntax)


def is_ycc(stream: bytes, photometric: str) -> bool:
    """Whether a scrubbed JPEG of three components holds luminance and colour differences, as decoders guess it."""
    transform = bitstream.adobe_transform(stream)
    if transform is not None:
        return transform == 1
    return b"JFIF\0" in stream[:64] or photometric.startswith("YBR_")


def encode(values: NDArray[Any], transfer_syntax: str, layout: Layout) -> bytes:
    """Stored values as one lossless frame of that syntax. Raises Refused("unsupported_syntax") where no encoder takes them."""
    packer: Callable[[NDArray[Any], Layout], bytes]
    if transfer_syntax == RLE:
        packer = _rle
    elif transfer_syntax in JPEG:
        packer = _jpeg_lossless
    elif transfer_syntax in JPEG_LS:
        packer = _jpeg_ls
    elif transfer_syntax in HTJ2K:
        packer = _htj2k_rpcl if transfer_syntax == HTJ2K_RPCL else _htj2k
    else:
        packer = _jpeg_2000
    try:
        return packer(np.ascontiguousarray(values), layout)
    except MemoryError:
        raise
    except Exception:  # encoders raise what they like, and each its own class
        raise Refused("unsupported_syntax") from None


def _unsigned(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(values.dtype.str.replace("i", "u"))


def _jpeg_lossless(values: NDArray[Any], layout: Layout) -> bytes:
    # JPEG knows no sign: a negative value keeps its bits, up to the top one
    bits = 8 * values.dtype.itemsize if layout.is_signed else max(layout.bits_stored, 2)
    space = "RGB" if layout.samples == 3 else None  # no colour transform
    return bytes(
        imagecodecs.jpeg8_encode(
            _unsigned(values),
            lossless=True,
            predictor=1,
            bitspersample=bits,
            colorspace=space,
            outcolorspace=space,
        )
    )


def _jpeg_ls(values: NDArray[Any], layout: Layout) -> bytes:
    room = bytearray(2 * values.nbytes + 4096)  # noise takes more than its own size
    return bytes(imagecodecs.jpegls_encode(_unsigned(values), level=0, out=room))


def _jpeg_2000(values: NDArray[Any], layout: Layout) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            values,
            level=0,
            codecformat="j2k",
            reversible=True,
            mct=layout.photometric in _WAVELET_YBR,
            bitspersample=None if layout.is_signed else layout.bits_stored,
            numthreads=1,
        )
    )


def _htj2k(values: NDArray[Any], layout: Layout) -> bytes:
    return bytes(imagecodecs.htj2k_encode(values, reversible=True, rgb=layout.photometric in _WAVELET_YBR))


def _htj2k_rpcl(values: NDArray[Any], layout: Layout) -> bytes:
    return bytes(
        imagecodecs.htj2k_encode(values, reversible=True, rgb=layout.photometric in _WAVELET_YBR, tlm=True)
    )


def _rle(values: NDArray[Any], layout: Layout) -> bytes:
    """One segment a byte plane, most significant first, runs ending with each row (PS3.5 G.3)."""
    width = values.dtype.itemsize
    planes = values.reshape(layout.rows, layout.columns, layout.samples)
    segments = []
    for sample in range(layout.samples):
        byte = np.ascontiguousarray(planes[:, :, sample]).view(np.uint8).reshape(layout.rows, -1, width)
        for place in reversed(range(width)):
            rows = np.ascontiguousarray(byte[:, :, place])
            packed = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)
            segments.append(packed + bytes(len(packed) & 1))
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    head = struct.pack("<16L", len(segments), *offsets, *([0] * (15 - len(segments))))
    return head + b"".join(segments)


def replace_element(header: bytes, tag: int, vr: bytes, value: bytes) -> bytes:
    """The header with another value of a top-level element that it has; unchanged where it has none."""
    for found, _, begin, _, stop in elements_of(header):
        if found == tag:
            return header[:begin] + element(tag, vr, value) + header[stop:]
    return header


def native_group(layout: Layout, is_swapped: bool) -> int:
    """How many native frames end together on a whole byte, or on a whole word where words were swapped."""
    if layout.bits_allocated == 1:
        return 16
    return 2 if is_swapped and layout.bits_allocated == 8 else 1


def blank_native(raw: bytes, cut: Cut, layout: Layout, first: int, kind: str = "") -> bytes:
    """Little-endian native frames from number `first` on, blanked in place; all other bits stay.

    `raw` holds whole frames (see `native_group`); `kind` is f4 or f8 for float pixel data. A pair of pixels that share their
    chroma (YBR_FULL_422) goes as a whole.
    """
    if layout.bits_allocated == 1:
        return _blank_bits(raw, cut, layout, first)
    values = np.frombuffer(raw, f"<{kind}" if kind else layout.dtype).copy()
    if layout.samples == 3 and layout.photometric.endswith("_422"):
        _blank_pairs(values, cut, layout)
        return values.tobytes()
    size = layout.rows * layout.columns * layout.samples
    for n in range(values.size // size):
        frame = values[n * size : (n + 1) * size]
        if layout.samples > 1 and layout.is_planar:
            planes = frame.reshape(layout.samples, layout.rows, layout.columns)
            planes[...] = cut(planes.transpose(1, 2, 0), first + n).transpose(2, 0, 1)
        else:
            shaped = frame.reshape(layout.shape)
            shaped[...] = cut(shaped, first + n)
    return values.tobytes()


def _blank_pairs(values: NDArray[Any], cut: Cut, layout: Layout) -> None:
    """Y1 Y2 Cb Cr of two neighbours (PS3.3 C.7.6.3.1.2): black luminance, no colour difference."""
    if layout.columns % 2:
        raise Refused("pixel_mismatch")
    pairs = values.reshape(-1, layout.rows, layout.columns // 2, 4)
    for box in cut.boxes:
        part = pairs[:, box.y : box.y + box.height, box.x // 2 : -(-(box.x + box.width) // 2)]
        part[..., :2] = 0
        part[..., 2:] = 128


def _blank_bits(raw: bytes, cut: Cut, layout: Layout, first: int) -> bytes:
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    size = layout.rows * layout.columns
    for n in range(min(bits.size // size, layout.n_frames - first)):
        frame = bits[n * size : (n + 1) * size].reshape(layout.rows, layout.columns)
        frame[...] = cut(frame, first + n)
    return np.packbits(bits, bitorder="little").tobytes()


def redact_frames(
    frames: Iterator[bytes], cut: Cut, layout: Layout, transfer_syntax: str
) -> tuple[Redactor, Iterator[bytes]]:
    """A redactor made for an object's compressed frames, and the frames blanked, one at a time."""
    first = next(frames, None)
    if first is None:
        raise Refused("pixel_mismatch")
    redactor = Redactor(cut, layout, transfer_syntax, first)

    def blanked() -> Iterator[bytes]:
        yield redactor.frame(first, 0)
        for index, stream in enumerate(frames, 1):
            yield redactor.frame(stream, index)

    return redactor, blanked()
