"""One released object as a file: rwid's own file meta, the clean header, and its frames copied, scrubbed or blanked.

What belongs here: bytes, offsets, padding, and that nothing of an object that cannot be released stays behind. What does not:
which file goes where (folder), how a frame is blanked (redact) or scrubbed (codestream).
"""

from __future__ import annotations

import array
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from mmap import mmap
from pathlib import Path

from curation import bitstream, part10
from curation.bitstream import Layout
from curation.deid.codestream import scrub
from curation.deid.cut import Cut, cut_of
from curation.deid.explicit import element
from curation.deid.header import Clean
from curation.deid.pixels import Plan
from curation.deid.redact import blank_native, native_group, redact_frames
from curation.frames import FLOATS, read_layout
from curation.records import Refused

IMPLEMENTATION_UID = "2.25.237482014786119318027430195478112207734"
SMALL_BYTES = 4 << 20
CHUNK_BYTES = 8 << 20
LONG_OFFSETS_ABOVE = 0xF0000000
"""Pixel data that may become larger get 64-bit offsets (PS3.3 C.7.6.3.1.8)."""
_TAGS = {keyword: tag for tag, keyword in part10.PIXEL_KEYWORDS.items()}
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def file_meta(clean: Clean, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information of a clean object, all rwid's own."""
    return meta_of(clean.sop_class, clean.sop_instance, transfer_syntax)


def meta_of(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1)."""
    body = b"".join(
        (
            element(0x00020001, b"OB", b"\x00\x01"),
            element(0x00020002, b"UI", sop_class.encode()),
            element(0x00020003, b"UI", sop_instance.encode()),
            element(0x00020010, b"UI", transfer_syntax.encode()),
            element(0x00020012, b"UI", IMPLEMENTATION_UID.encode()),
            element(0x00020013, b"SH", b"RWID"),
        )
    )
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<L", len(body))) + body


def write_object(data: bytes | mmap, clean: Clean, plan: Plan, path: Path, source_fd: int) -> int:
    """Writes the released object, its pixels as planned; gives its size in bytes.

    Native pixels go as Explicit VR Little Endian, compressed frames as they came, or as redact says where they are blanked.
    Raises Refused where its frames cannot be released, leaving nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        _write(out, data, clean, plan, source_fd)
        return os.lseek(out, 0, os.SEEK_END)
    except BaseException:
        with suppress(FileNotFoundError):
            path.unlink()
        raise
    finally:
        os.close(out)


def _write(out: int, data: bytes | mmap, clean: Clean, plan: Plan, source_fd: int) -> None:
    pixels = clean.pixels
    if pixels is None:
        _write_all(out, [file_meta(clean, part10.EXPLICIT_LITTLE), clean.header])
    elif pixels.is_encapsulated:
        _write_encapsulated(out, data, clean, plan, pixels)
    else:
        _write_native(out, data, clean, plan, pixels, source_fd)


def _element_head(pixels: part10.Pixels, length: int) -> bytes:
    tag = _TAGS[pixels.keyword]
    vr = b"OB" if pixels.is_encapsulated else b"OW" if pixels.vr == "UN" else pixels.vr.encode()
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length)


def _write_encapsulated(
    out: int, data: bytes | mmap, clean: Clean, plan: Plan, pixels: part10.Pixels
) -> None:
    """Each frame as one fragment, with an offset table that is true of them."""
    layout, header, syntax = read_layout(clean.header), clean.header, clean.transfer_syntax
    streams = bitstream.iter_bitstreams(data, pixels.offset, pixels.length, layout)
    cut = cut_of(plan, layout, syntax)
    frames: Iterator[bytes]
    if cut is None:
        n_pixels = layout.rows * layout.columns
        frames = (scrub(stream, syntax, n_pixels=n_pixels) for stream in streams)
    else:
        redactor, frames = redact_frames(streams, cut, layout, syntax)
        header, syntax = redactor.header(header), redactor.transfer_syntax
    _write_all(out, [file_meta(clean, syntax), header])
    largest = pixels.length if cut is None else layout.n_frames * _frame_bits(layout) // 8 * 2
    if layout.n_frames > 1 and largest > LONG_OFFSETS_ABOVE:
        _write_fragments_long(out, frames, pixels, layout)
    else:
        _write_fragments(out, frames, pixels, layout)


def _write_fragments(out: int, frames: Iterator[bytes], pixels: part10.Pixels, layout: Layout) -> None:
    """The basic offset table is written first and filled in last; a single frame needs none."""
    size = 4 * layout.n_frames if layout.n_frames > 1 else 0
    _write_all(out, [_element_head(pixels, part10.UNDEFINED), _ITEM, struct.pack("<L", size), bytes(size)])
    table = os.lseek(out, 0, os.SEEK_CUR) - size
    offsets, _ = _write_items(out, frames)
    if size:
        os.pwrite(out, struct.pack(f"<{layout.n_frames}L", *offsets), table)


def _write_fragments_long(out: int, frames: Iterator[bytes], pixels: part10.Pixels, layout: Layout) -> None:
    """The extended offset table and the frames' lengths, before pixel data with an empty basic one."""
    size = 8 * layout.n_frames
    heads = [struct.pack("<HH2sHL", 0x7FE0, number, b"OV", 0, size) for number in (1, 2)]
    first = os.lseek(out, 0, os.SEEK_CUR) + 12
    _write_all(out, [heads[0], bytes(size), heads[1], bytes(size)])
    _write_all(out, [_element_head(pixels, part10.UNDEFINED), _ITEM, bytes(4)])
    offsets, lengths = _write_items(out, frames)
    os.pwrite(out, struct.pack(f"<{layout.n_frames}Q", *offsets), first)
    os.pwrite(out, struct.pack(f"<{layout.n_frames}Q", *lengths), first + size + 12)


def _write_items(out: int, frames: Iterator[bytes]) -> tuple[list[int], list[int]]:
    """Where each frame's item begins, from the first one on, and its length without padding."""
    offsets, lengths, at = [], [], 0
    for stream in frames:
        even = len(stream) + (len(stream) & 1)
        _write_all(out, [_ITEM, struct.pack("<L", even), stream, bytes(even - len(stream))])
        offsets.append(at)
        lengths.append(len(stream))
        at += 8 + even
    _write_all(out, [_SEQUENCE_END])
    return offsets, lengths


def _frame_bits(layout: Layout) -> int:
    shared = layout.samples == 3 and layout.photometric.endswith("_422")
    return layout.rows * layout.columns * (2 if shared else layout.samples) * layout.bits_allocated


def _write_native(
    out: int, data: bytes | mmap, clean: Clean, plan: Plan, pixels: part10.Pixels, source_fd: int
) -> None:
    pad = bytes(pixels.length & 1)
    head = [file_meta(clean, part10.EXPLICIT_LITTLE), clean.header]
    head.append(_element_head(pixels, pixels.length + len(pad)))
    is_deflated = clean.transfer_syntax == part10.DEFLATED_LITTLE
    source = part10.open_dataset(data).data if is_deflated else data
    if plan.regions or plan.mask is not None:
        layout = read_layout(clean.header, FLOATS.get(pixels.keyword))
        cut = cut_of(plan, layout, part10.EXPLICIT_LITTLE)
        assert cut is not None
        _write_all(out, head)
        _write_blanked(out, source, pixels, layout, cut)
        _write_all(out, [pad])
    elif pixels.is_big_endian:
        _write_all(out, head)
        _write_swapped(out, source, pixels, _bits_allocated(clean, pixels))
        _write_all(out, [pad])
    elif is_deflated or pixels.length <= SMALL_BYTES:
        with memoryview(source) as view, view[pixels.offset : pixels.offset + pixels.length] as body:
            _write_all(out, [*head, body, pad])
    else:
        _write_all(out, head)
        _copy_range(source_fd, out, pixels.offset, pixels.length)
        _write_all(out, [pad])


def _write_all(out: int, parts: Sequence[bytes | memoryview]) -> None:
    total = sum(len(part) for part in parts)
    written = os.writev(out, parts)
    if written < total:  # a signal or a full disk: the slow road says which
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(out, rest) :]


def _copy_range(source: int, out: int, offset: int, length: int) -> None:
    """Bytes from file to file inside the kernel; through a small buffer where it cannot."""
    while length:
        try:
            copied = os.copy_file_range(source, out, min(length, 1 << 30), offset)
        except OSError:
            copied = os.write(out, os.pread(source, min(length, CHUNK_BYTES), offset))
        if not copied:
            raise Refused("truncated")
        offset += copied
        length -= copied


def _bits_allocated(clean: Clean, pixels: part10.Pixels) -> int:
    return read_layout(clean.header, FLOATS.get(pixels.keyword)).bits_allocated


def _write_swapped(out: int, data: part10.Source, pixels: part10.Pixels, bits: int) -> None:
    """Big endian pixel words as little endian, a chunk at a time."""
    for start in range(0, pixels.length, CHUNK_BYTES):
        stop = min(start + CHUNK_BYTES, pixels.length)
        whole = stop + (stop & 1)  # an odd length ends in half a word: its pad byte is in the source
        chunk = bytes(data[pixels.offset + start : pixels.offset + whole])
        _write_all(out, [_little(chunk, pixels.vr, bits)[: stop - start]])


def _little(chunk: bytes, vr: str, bits: int) -> bytes:
    """Big endian words as little endian: words of 16 bits in OW, of the whole value where that is longer."""
    size = {"OW": 2, "OF": 4, "OD": 8}.get(vr, 1)
    code = {2: "H", 4: "I", 8: "Q"}.get(max(size, bits // 8 if size > 1 else 1))
    if code is None:
        return chunk
    words = array.array(code, chunk)
    words.byteswap()
    return words.tobytes()


def _write_blanked(out: int, source: part10.Source, pixels: part10.Pixels, layout: Layout, cut: Cut) -> None:
    """Native frames, a few at a time, blanked."""
    kind = FLOATS.get(pixels.keyword, "")
    is_swapped = pixels.is_big_endian and pixels.vr == "OW"
    step = native_group(layout, is_swapped)
    for first in range(0, layout.n_frames, step):
        begin = first * _frame_bits(layout) // 8
        last = min(first + step, layout.n_frames)
        stop = -(-last * _frame_bits(layout) // 8)
        whole = stop + (stop & 1 if is_swapped else 0)
        raw = bytes(source[pixels.offset + begin : pixels.offset + whole])
        if pixels.is_big_endian:
            raw = _little(raw, pixels.vr, layout.bits_allocated)
        _write_all(out, [blank_native(raw[: stop - begin], cut, layout, first, kind)])
