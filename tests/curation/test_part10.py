"""Bytes are read with exact lengths: cut anywhere, they are refused; asked for too much, they are refused."""

import mmap
import struct
import zlib

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from curation import part10
from curation.records import Refused
from tests.curation.deid.objects import clean, ct, jpeg_ct, read, to_bytes

EXPLICIT = to_bytes(ct())
JPEG_FRAME = b"\xff\xd8\xff\xd9"
FORMS = {
    "explicit": EXPLICIT,
    "implicit": to_bytes(ct(), ImplicitVRLittleEndian),
    "big endian": to_bytes(ct(), ExplicitVRBigEndian),
    "deflated": to_bytes(ct(), DeflatedExplicitVRLittleEndian),
    "encapsulated": jpeg_ct(JPEG_FRAME, JPEGBaseline8Bit),
}


def reason(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        clean(data)
    return caught.value.reason


def dataset_start(data: bytes) -> int:
    return part10.open_dataset(data).start


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_at_any_byte_is_refused(form: str) -> None:
    data = FORMS[form]
    whole = clean(data)
    for cut in range(len(data)):
        try:
            found = clean(data[:cut])
        except Refused:
            continue
        # only padding after the object may be missing
        assert found.header == whole.header and found.pixels == whole.pixels, cut
        assert form == "deflated", cut


@pytest.mark.parametrize("form", FORMS)
def test_every_encoding_gives_the_same_clean_header(form: str) -> None:
    found = read(clean(FORMS[form]))
    assert found == read(clean(EXPLICIT))


@pytest.mark.parametrize("form", FORMS)
def test_bytes_memoryview_and_mapped_file_give_the_same(form: str, tmp_path) -> None:
    data = FORMS[form]
    path = tmp_path / "one.dcm"
    path.write_bytes(data)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found = [clean(data), clean(memoryview(data)), clean(bytearray(data)), clean(mapped)]
    assert all(f == found[0] for f in found)


def test_preamble_and_file_meta_may_be_missing() -> None:
    for form in ("explicit", "implicit", "big endian"):
        data = FORMS[form]
        assert part10.sniff(data[:132])
        bare = data[dataset_start(data) :]
        assert part10.sniff(bare[:132])
        assert clean(bare).header == clean(data).header
        assert clean(data[132:]).header == clean(data).header


def test_other_files_are_not_dicom() -> None:
    for data in (b"", b"DICM", b"%PDF-1.7 and so on" * 10, b"\x89PNG\r\n\x1a\n" + bytes(200), bytes(400)):
        assert not part10.sniff(data[:132])
        assert reason(data) == "not_dicom"


def test_an_unknown_transfer_syntax_is_refused() -> None:
    assert reason(EXPLICIT.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.77")) == "unsupported_syntax"


def test_a_deflated_bomb_is_refused_without_being_inflated() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    data = FORMS["deflated"]
    head = data[: data.index(b"1.2.840.10008.1.2.1.99") + 22]
    meta_end = 132 + 12 + int.from_bytes(data[140:144], "little")
    assert len(head) <= meta_end
    assert reason(data[:meta_end] + packed) == "too_large"


def test_nesting_deeper_than_the_cap_is_refused() -> None:
    def nested(depth: int) -> bytes:
        body = b""
        for _ in range(depth):
            item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(body)) + body
            body = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<L", len(item)) + item
        return body

    def with_sequence(depth: int) -> bytes:
        data = to_bytes(ct(ReferencedImageSequence=None))
        start = data.index(b"\x10\x00\x10\x00PN")
        return data[:start] + nested(depth) + data[start:]

    clean(with_sequence(part10.MAX_DEPTH))
    assert reason(with_sequence(part10.MAX_DEPTH + 1)) == "malformed"
    assert reason(with_sequence(400)) == "malformed"


def test_a_length_that_points_past_the_end_is_refused() -> None:
    at = EXPLICIT.index(b"\x08\x00\x60\x00CS") + 6
    assert reason(EXPLICIT[:at] + b"\xfe\xff" + EXPLICIT[at + 2 :]) == "truncated"
    at = EXPLICIT.index(b"\x08\x00\x40\x11SQ") + 8
    assert reason(EXPLICIT[:at] + b"\xf0\xff\xff\xff" + EXPLICIT[at + 4 :]) == "truncated"


def test_elements_out_of_order_or_twice_are_refused() -> None:
    at = EXPLICIT.index(b"\x08\x00\x60\x00CS")
    element = EXPLICIT[at : at + 10]
    assert reason(EXPLICIT[:at] + element + EXPLICIT[at:]) == "malformed"


def test_reserved_bytes_of_long_elements_must_be_zero() -> None:
    at = EXPLICIT.index(b"\x08\x00\x40\x11SQ") + 6
    assert reason(EXPLICIT[:at] + b"Jo" + EXPLICIT[at + 2 :]) == "malformed"


def test_zero_padding_after_the_object_is_tolerated_and_not_taken() -> None:
    assert clean(EXPLICIT + bytes(10)).pixels == clean(EXPLICIT).pixels
    assert reason(EXPLICIT + b"Smithson") in ("truncated", "malformed")


def test_pixel_data_shorter_than_the_header_says_is_a_mismatch() -> None:
    assert reason(to_bytes(ct(Rows=5))) == "pixel_mismatch"
    assert reason(to_bytes(ct(NumberOfFrames=1000000))) == "pixel_mismatch"
    assert reason(to_bytes(ct(Rows=65535, Columns=65535))) == "pixel_mismatch"


def test_surplus_pixel_bytes_are_left_out() -> None:
    ds = ct()
    ds.PixelData = bytes(range(32)) + b"SMITHSON"
    found = clean(to_bytes(ds))
    assert found.pixels is not None and found.pixels.length == 32


def test_an_image_without_pixel_data_is_truncated() -> None:
    assert reason(to_bytes(ct(PixelData=None))) == "truncated"


def test_more_frames_than_fragments_is_a_mismatch() -> None:
    assert reason(jpeg_ct(JPEG_FRAME, JPEGBaseline8Bit, NumberOfFrames=1000000)) == "pixel_mismatch"


def test_fragments_are_found_with_their_lengths() -> None:
    data = FORMS["encapsulated"]
    pixels = clean(data).pixels
    assert pixels is not None and pixels.is_encapsulated
    table, frame = part10.fragments(data, pixels.offset, pixels.length)
    assert data[frame[0] : frame[0] + frame[1]] == JPEG_FRAME
    assert table[0] == pixels.offset + 8


def test_many_empty_items_are_cheap_or_refused() -> None:
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 20000
    data = to_bytes(ct(ReferencedImageSequence=None))
    at = data.index(b"\x10\x00\x10\x00PN")
    sequence = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<L", len(items)) + items
    assert len(read(clean(data[:at] + sequence + data[at:])).ReferencedImageSequence) == 20000
    budget = part10.Budget(100)
    with pytest.raises(Refused, match="too_large"):
        part10.skip_items(items, 0, len(items), budget, depth=1)


def test_undefined_length_un_is_walked_as_implicit() -> None:
    inner = (
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x10\x00\x10\x00\x04\0\0\0John" + b"\xfe\xff\x0d\xe0\0\0\0\0"
    )
    element = b"\x09\x00\x10\x10UN\0\0\xff\xff\xff\xff" + inner + b"\xfe\xff\xdd\xe0\0\0\0\0"
    at = EXPLICIT.index(b"\x10\x00\x10\x00PN")
    found = clean(EXPLICIT[:at] + element + EXPLICIT[at:])
    assert b"John" not in found.header
    assert found.header == clean(EXPLICIT).header


def test_the_transfer_syntax_is_the_sources() -> None:
    assert clean(FORMS["implicit"]).transfer_syntax == ImplicitVRLittleEndian
    assert clean(EXPLICIT).transfer_syntax == ExplicitVRLittleEndian
