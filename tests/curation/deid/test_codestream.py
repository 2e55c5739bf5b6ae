"""Compressed frames lose comments and application segments; every decoded pixel stays."""

import struct
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from curation.deid.codestream import scrub
from curation.part10 import ENCAPSULATED, RLE
from curation.records import Refused

JPEG, JPEG_LS, J2K, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 80, 90, 201))
SECRET = b"Smithson^John"
RAMP = (np.add.outer(np.arange(64), np.arange(64)) * 2 % 256).astype(np.uint8)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def with_segments(stream: bytes, *segments: bytes) -> bytes:
    return stream[:2] + b"".join(segments) + stream[2:]


def reason(data: bytes, syntax: str) -> str:
    with pytest.raises(Refused) as caught:
        scrub(data, syntax)
    return caught.value.reason


STREAMS = {
    JPEG: (imagecodecs.jpeg8_encode(RAMP, level=90), imagecodecs.jpeg8_decode),
    JPEG_LS: (imagecodecs.jpegls_encode(RAMP), imagecodecs.jpegls_decode),
    J2K: (
        imagecodecs.jpeg2k_encode(RAMP, codecformat="j2k", reversible=True, level=0),
        imagecodecs.jpeg2k_decode,
    ),
    HTJ2K: (imagecodecs.htj2k_encode(RAMP), imagecodecs.htj2k_decode),
}


@pytest.mark.parametrize("syntax", STREAMS)
def test_pixels_stay_bit_for_bit(syntax: str) -> None:
    stream, decode = STREAMS[syntax]
    stream = bytes(stream)
    assert np.array_equal(decode(scrub(stream, syntax)), decode(stream))
    assert scrub(scrub(stream, syntax), syntax) == scrub(stream, syntax)


@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS])
def test_jpeg_comments_and_application_segments_leave(syntax: str) -> None:
    stream, decode = STREAMS[syntax]
    words = [
        segment(0xFE, SECRET),
        segment(0xE1, b"Exif\0\0" + SECRET),
        segment(0xED, SECRET),
        segment(0xEF, SECRET),
    ]
    dirty = with_segments(bytes(stream), *words) + SECRET
    assert SECRET not in scrub(dirty, syntax)
    assert np.array_equal(decode(scrub(dirty, syntax)), decode(bytes(stream)))


def test_a_thumbnail_leaves_and_colour_transforms_stay() -> None:
    stream = bytes(STREAMS[JPEG][0])
    jfif = segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01" + b"\x02\x02" + SECRET[:12])
    adobe = segment(0xEE, b"Adobe" + SECRET[:6] + b"\x01" + SECRET)
    found = scrub(with_segments(stream, jfif, adobe), JPEG)
    assert SECRET[:6] not in found
    assert segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0") in found
    assert segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01") in found


def test_words_inside_tables_of_the_wrong_size_are_refused() -> None:
    stream = bytes(STREAMS[JPEG][0])
    for marker, body in ((0xDB, bytes(65) + SECRET), (0xC4, bytes(17) + SECRET), (0xDD, b"\0\0" + SECRET)):
        assert reason(with_segments(stream, segment(marker, body)), JPEG) == "malformed"
    at = stream.index(b"\xff\xc0") + 4
    longer = (
        stream[: at - 2]
        + struct.pack(">H", 11 + len(SECRET))
        + stream[at : at + 9]
        + SECRET
        + stream[at + 9 :]
    )
    assert reason(longer, JPEG) == "malformed"


def test_j2k_comments_leave_the_main_header_and_are_blanked_in_tile_parts() -> None:
    stream = bytes(STREAMS[J2K][0])
    comment = segment(0x64, b"\0\x01" + SECRET)
    tile = stream.index(b"\xff\x90")
    length = struct.unpack(">L", stream[tile + 6 : tile + 10])[0]
    part = (
        stream[tile : tile + 6]
        + struct.pack(">L", length + len(comment))
        + stream[tile + 10 : tile + 12]
        + comment
    )
    dirty = stream[:tile] + comment + part + stream[tile + 12 :] + SECRET
    found = scrub(dirty, J2K)
    assert SECRET not in found
    assert np.array_equal(imagecodecs.jpeg2k_decode(found), RAMP)


def test_a_jp2_wrapper_is_taken_off() -> None:
    wrapped = bytes(imagecodecs.jpeg2k_encode(RAMP, codecformat="jp2", reversible=True, level=0))
    at = wrapped.index(b"jp2c") - 4
    box = struct.pack(">L4s", 8 + len(SECRET), b"xml ") + SECRET
    found = scrub(wrapped[:at] + box + wrapped[at:], J2K)
    assert found[:2] == b"\xff\x4f" and SECRET not in found
    assert np.array_equal(imagecodecs.jpeg2k_decode(found), RAMP)


def rle(*segments: bytes, words: int = 0) -> bytes:
    offsets = [64]
    for part in segments[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack("<16L", len(segments), *offsets, *([words] * (15 - len(segments)))) + b"".join(
        segments
    )


def test_nothing_stays_in_an_rle_frame_but_its_runs() -> None:
    first, second = (
        b"\x03abcd\x00e",
        b"\xfd\x07\x80\x00\x08",
    )  # four literals and one; four times 7, nothing, one 8
    dirty = rle(first + SECRET, second + SECRET, words=0x6E686F4A)
    found = scrub(dirty, RLE, n_pixels=5)
    assert found == rle(first + b"\0", second + b"\0")
    assert scrub(found, RLE, n_pixels=5) == found


def test_rle_runs_that_do_not_make_the_pixels_are_refused() -> None:
    for frame, n_pixels in (
        (rle(b"\x03abcd"), 5),
        (rle(b"\x03abcd"), 3),
        (rle(b"\x03abc"), 4),
        (struct.pack("<16L", 2, 64, 10, *([0] * 13)) + b"\x03abcd", 4),
        (struct.pack("<16L", 16, *([64] * 15)), 4),
    ):
        with pytest.raises(Refused) as caught:
            scrub(frame, RLE, n_pixels=n_pixels)
        assert caught.value.reason in ("truncated", "malformed")


@pytest.mark.parametrize("syntax", STREAMS)
def test_a_stream_cut_anywhere_is_refused(syntax: str) -> None:
    stream = bytes(STREAMS[syntax][0])
    for cut in range(0, len(stream) - 1, 7):
        assert reason(stream[:cut], syntax) in ("truncated", "malformed")


def test_another_syntax_is_not_scrubbed() -> None:
    assert reason(b"", "1.2.840.10008.1.2.4.100") == "unsupported_syntax"


def test_the_frames_of_real_files_decode_to_the_same_pixels() -> None:
    same = 0
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, force=True)
            syntax = getattr(ds.file_meta, "TransferSyntaxUID", "")
            if syntax not in ENCAPSULATED or "PixelData" not in ds or syntax == RLE or ds.Rows > 600:
                continue
            n_frames = int(ds.get("NumberOfFrames", 1) or 1)
            frame = next(generate_frames(ds.PixelData, number_of_frames=n_frames))
        decode = imagecodecs.jpeg2k_decode if syntax.endswith((".90", ".91")) else imagecodecs.jpeg_decode
        try:
            before = decode(frame)
        except Exception:  # a decoder that cannot read the file says nothing about scrubbing
            continue
        assert np.array_equal(decode(scrub(frame, syntax)), before), path.name
        same += 1
    assert same > 10
