"""Compressed frames without words: comments and application segments leave, pixels stay bit for bit.

What belongs here: marker segments of JPEG, JPEG-LS and JPEG 2000, RLE headers. What does not: decoding, and words that
are drawn into the pixels.
"""

from __future__ import annotations

import itertools
import re
import struct

from curation import part10
from curation.records import Refused

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_KEPT = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xF8}  # tables, line count, restart, LS presets
# entropy-coded bytes: FF is followed by 00 or a restart marker (JPEG), or by a byte below 80 (JPEG-LS)
_NEXT_JPEG = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NEXT_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


def scrub(fragment: bytes, transfer_syntax: str, *, n_pixels: int = 0) -> bytes:
    """One whole compressed frame without comments, application segments and bytes after its end.

    JPEG (T.81) and JPEG-LS (T.87): a JFIF segment loses its thumbnail, Adobe's colour transform and HP's APP8 stay.
    JPEG 2000 (T.800): comments leave the main header and are blanked in tile parts. RLE (PS3.5 G): unused header
    words are zeroed, and what follows the last run of a segment leaves; only RLE needs `n_pixels`, rows times columns, to
    find it. Raises Refused: malformed, truncated, unsupported_syntax.
    """
    if transfer_syntax in part10.JPEG or transfer_syntax in part10.JPEG_LS:
        return _scrub_jpeg(fragment, transfer_syntax in part10.JPEG_LS)
    if transfer_syntax in part10.JPEG_2000:
        return _scrub_j2k(fragment)
    if transfer_syntax == part10.RLE:
        return _scrub_rle(fragment, n_pixels)
    raise Refused("unsupported_syntax")


def _scrub_jpeg(data: bytes, is_ls: bool) -> bytes:
    if data[:2] != b"\xff\xd8":
        raise Refused("malformed")
    out, pos = [b"\xff\xd8"], 2
    following = _NEXT_LS if is_ls else _NEXT_JPEG
    while True:
        while data[pos : pos + 2] == b"\xff\xff":  # fill bytes (T.81 B.1.1.2)
            pos += 1
        if len(data) - pos < 2:
            raise Refused("truncated")
        if data[pos] != 0xFF:
            raise Refused("malformed")
        marker = data[pos + 1]
        if marker == _EOI:
            out.append(b"\xff\xd9")
            return b"".join(out)
        stop = _segment_end(data, pos)
        segment = data[pos:stop]
        if marker == _SOS:
            if len(segment) < 5 or len(segment) != 8 + 2 * segment[4]:
                raise Refused("malformed")
            match = following.search(data, stop)
            if match is None:
                raise Refused("truncated")
            stop = match.start()
            out.append(data[pos:stop])
        else:
            out.append(_keep_segment(marker, segment))
        pos = stop


def _segment_end(data: bytes | bytearray, pos: int) -> int:
    if len(data) - pos < 4:
        raise Refused("truncated")
    length = data[pos + 2] << 8 | data[pos + 3]
    if length < 2:
        raise Refused("malformed")
    if pos + 2 + length > len(data):
        raise Refused("truncated")
    return pos + 2 + length


def _keep_segment(marker: int, segment: bytes) -> bytes:
    """The segment as it may be released; b"" where it only carries words. Its inner length must be exact."""
    body = segment[4:]
    if marker in _FRAMES and (len(body) < 6 or len(body) != 6 + 3 * body[5]):
        raise Refused("malformed")
    if marker == 0xDD and len(body) != 2:
        raise Refused("malformed")
    if (marker == 0xC4 and not _is_huffman(body)) or (marker == 0xDB and not _is_quantization(body)):
        raise Refused("malformed")
    if marker in _KEPT:
        return segment
    if marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 14:
        return b"\xff\xe0\x00\x10" + body[:12] + b"\0\0"
    if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
        return b"\xff\xee\x00\x0eAdobe" + b"\0\x64\0\0\0\0" + body[11:12]
    if marker == 0xE8 and body[:4] == b"mrfx" and len(body) == 5:  # colour transform of JPEG-LS
        return segment
    if 0xE0 <= marker <= 0xEF or marker == _COM:
        return b""
    raise Refused("malformed")


def _is_huffman(body: bytes) -> bool:
    pos = 0
    while pos + 17 <= len(body):
        pos += 17 + sum(body[pos + 1 : pos + 17])
    return pos == len(body)


def _is_quantization(body: bytes) -> bool:
    pos = 0
    while pos < len(body):
        pos += 129 if body[pos] >> 4 else 65
    return pos == len(body)


_SOC, _SOT, _SOD, _EOC, _COMMENT = b"\xff\x4f", b"\xff\x90", b"\xff\x93", b"\xff\xd9", b"\xff\x64"
_JP2 = b"\x00\x00\x00\x0cjP  "


def _scrub_j2k(data: bytes) -> bytes:
    if data[:8] == _JP2:
        data = _codestream_box(data)
    if data[:4] != b"\xff\x4f\xff\x51":
        raise Refused("malformed")
    out, pos = [_SOC], 2
    while data[pos : pos + 2] != _SOT:
        stop = _segment_end(data, pos)
        if data[pos] != 0xFF or not (0x30 <= data[pos + 1] <= 0x7F):
            raise Refused("malformed")
        if data[pos : pos + 2] != _COMMENT:
            out.append(data[pos:stop])
        pos = stop
    while data[pos : pos + 2] == _SOT:
        part, pos = _tile_part(data, pos)
        out.append(part)
    if len(data) - pos < 2:
        raise Refused("truncated")
    if data[pos : pos + 2] != _EOC:
        raise Refused("malformed")
    out.append(_EOC)
    return b"".join(out)


def _tile_part(data: bytes, pos: int) -> tuple[bytes, int]:
    """One tile part with blank comments, of the same length (T.800 A.4.2), and where the next begins."""
    if _segment_end(data, pos) != pos + 12:
        raise Refused("malformed")
    length = struct.unpack_from(">L", data, pos + 6)[0]
    if length == 0:  # the last one: up to the end of the codestream
        stop = data.rfind(_EOC, pos)
        if stop < 0:
            raise Refused("truncated")
    else:
        stop = pos + length
    if stop > len(data):
        raise Refused("truncated")
    part = bytearray(data[pos:stop])
    at = 12
    while part[at : at + 2] != _SOD:
        end = _segment_end(part, at)
        if part[at : at + 2] == _COMMENT:
            part[at + 4 : end] = bytes(end - at - 4)
        at = end
    return bytes(part), stop


def _codestream_box(data: bytes) -> bytes:
    """The codestream inside a JP2 file (T.800 I.5.4); its other boxes hold XML, UUIDs and words."""
    pos = 0
    while len(data) - pos >= 8:
        length, kind = struct.unpack_from(">L4s", data, pos)
        head = 8
        if length == 1 and len(data) - pos >= 16:
            length, head = struct.unpack_from(">Q", data, pos + 8)[0], 16
        if length == 0:
            length = len(data) - pos
        if length < head or length > len(data) - pos:
            raise Refused("malformed")
        if kind == b"jp2c":
            return data[pos + head : pos + length]
        pos += length
    raise Refused("malformed")


def _scrub_rle(data: bytes, n_pixels: int) -> bytes:
    """The frame with nothing between and behind its runs: each segment holds one byte of every pixel (PS3.5 G.2)."""
    if len(data) < 64:
        raise Refused("truncated")
    words = struct.unpack_from("<16L", data)
    count = words[0]
    if not 1 <= count <= 15:
        raise Refused("malformed")
    offsets = [*words[1 : 1 + count], len(data)]
    if offsets[0] != 64 or offsets != sorted(set(offsets)):
        raise Refused("malformed")
    segments = []
    for start, stop in itertools.pairwise(offsets):
        segment = data[start : _end_of_runs(data, start, stop, n_pixels)]
        segments.append(segment + bytes(len(segment) & 1))
    begins = itertools.accumulate(map(len, segments[:-1]), initial=64)
    return struct.pack("<16L", count, *begins, *([0] * (15 - count))) + b"".join(segments)


def _end_of_runs(data: bytes, pos: int, stop: int, n_bytes: int) -> int:
    """Where the runs that make `n_bytes` end (PS3.5 G.3.2)."""
    while n_bytes > 0:
        if pos >= stop:
            raise Refused("truncated" if stop == len(data) else "malformed")
        control = data[pos]
        if control < 128:
            pos += control + 2
            n_bytes -= control + 1
        elif control > 128:
            pos += 2
            n_bytes -= 257 - control
        else:  # says nothing
            pos += 1
    if n_bytes < 0 or pos > stop:
        raise Refused("malformed")
    return pos
