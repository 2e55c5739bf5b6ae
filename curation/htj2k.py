"""The lake's own HTJ2K codestreams: what they say of themselves, and images of a reduced size from them.

What belongs here: the comment with range and checksum, and the wavelet's low-pass. What does not: encoding and decoding whole
frames (frames), codestreams of others (bitstream).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

_SWING = tuple(gain**2 for gain in (1.0, 1.5, 1.625, 1.6875, 1.6962890625, 1.7066650390625))
"""How many times the range of an image the low-pass of the 5/3 wavelet can span after 0, 1, .. 5 levels: the sum of the sizes of
its coefficients (ITU-T T.800 F.3.8.2), in both directions."""
_ROUNDING = 16
"""Values by which the integer steps of the wavelet may round beyond that."""
_MARK = b"rwid range and checksum "


@dataclass(frozen=True, slots=True)
class Mark:
    """What the comment in one of our own HTJ2K codestreams says, and what its header does."""

    low: int
    high: int
    bits: int
    levels: int


def add_mark(codestream: bytes, low: int, high: int) -> bytes:
    """The codestream with a comment (ITU-T T.800 A.9.2) of its range and a checksum of the rest.

    Reduced images are clipped to the range. The checksum is there because OpenJPH fills up a damaged codestream with
    noise and says nothing.
    """
    head, tail = _split(codestream)
    text = _MARK + f"{low} {high} {_checksum(head, tail):08x}".encode()
    return head + b"\xff\x64" + (len(text) + 4).to_bytes(2, "big") + b"\x00\x01" + text + tail


def read_mark(codestream: bytes) -> Mark | None:
    """The comment of a codestream, None where it has none. Raises ValueError where the checksum does not hold."""
    head, tail = _split(codestream)
    at = head.rfind(_MARK)
    if at < 0:
        return None
    low, high, checksum = head[at + len(_MARK) :].split()
    if _checksum(head[: at - 6], tail) != int(checksum, 16):
        raise ValueError("The payload is damaged: its checksum does not hold.")
    return Mark(int(low), int(high), (head[42] & 0x7F) + 1, head[head.index(b"\xff\x52") + 9])


def _checksum(head: bytes, tail: memoryview) -> int:
    """CRC-32 of both (libdeflate's, which takes a sixth of zlib's time: it runs on every read of every frame)."""
    deflate_crc32: Callable[..., int] = (
        imagecodecs.deflate_crc32
    )  # its stub forbids a memoryview, it does not
    return deflate_crc32(tail, deflate_crc32(head))


def _split(codestream: bytes) -> tuple[bytes, memoryview]:
    """The main header, and all from the first tile on, without a copy of it."""
    pos = 2
    while pos + 4 <= len(codestream) and codestream[pos : pos + 2] != b"\xff\x90":
        pos += 2 + int.from_bytes(codestream[pos + 2 : pos + 4], "big")
    return codestream[:pos], memoryview(codestream)[pos:]


def deepest(mark: Mark) -> int:
    """To how many levels the type has room for the low-pass, which under- and overshoots the range; what it does not hold
    would wrap around, black to white."""
    span, room = mark.high - mark.low, (1 << mark.bits) - _ROUNDING
    return max(n for n in range(min(mark.levels + 1, len(_SWING))) if not n or span * _SWING[n] <= room)


def low_pass(codestream: bytes, mark: Mark, levels: int) -> NDArray[Any]:
    """The wavelet's low-pass after so many levels, clipped to the stated range; the type has room for it.

    It is looked at from the middle of the range, from where what lies below and what lies above can be told apart.
    """
    values = np.asarray(imagecodecs.htj2k_decode(codestream, skipres=levels))
    middle = (mark.low + mark.high) // 2
    offset = np.array(middle % (1 << 8 * values.itemsize)).astype(f"u{values.itemsize}")
    unsigned = values.view(offset.dtype)
    unsigned -= offset
    signed = values.view(f"i{values.itemsize}")
    np.clip(signed, mark.low - middle, mark.high - middle, out=signed)
    unsigned += offset
    return values
