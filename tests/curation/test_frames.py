"""Stored values survive the lake bit by bit, and no decoder runs before its guard."""

from __future__ import annotations

import hashlib
import struct
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from curation import bitstream
from curation.deid.cut import Cut
from curation.deid.pixels import Box
from curation.frames import Payload, decode, encode, iter_payloads
from curation.records import Refused
from tests.curation.pixel_source import clean_of, file_of, ramp

TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom"
JPEG_LS = "1.2.840.10008.1.2.4.80"
LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
JPEG_TOLERANCE = 3  # grey levels between one inverse cosine transform and another


def payloads_of(data: bytes) -> list[Payload]:
    found = clean_of(data)
    assert found is not None
    return list(iter_payloads(data, found[0]))


def refusal_of(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        payloads_of(data)
    return caught.value.reason


def compare(path: Path) -> str:
    """equal, refused or unread (by pydicom, so that nothing can be compared); a difference fails."""
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = clean_of(data)
        except Exception:  # pydicom's own: such a file is not for this test
            return "unread"
        if found is None:
            return "unread"
        clean, dataset = found
        is_lossy = clean.transfer_syntax in LOSSY
        try:
            # raw: YBR stays YBR, as in the lake; a lossy JPEG is RGB in the lake
            expected = pydicom.pixels.get_decoder(clean.transfer_syntax).as_array(dataset, raw=not is_lossy)[
                0
            ]
        except Exception:  # as above
            return "unread"
    try:
        payloads = list(iter_payloads(data, clean))
    except Refused:
        return "refused"
    values = np.stack([decode(p.codec, p.payload) for p in payloads]).reshape(expected.shape)
    if is_lossy and payloads[0].codec == "jpeg":
        assert np.abs(values.astype(int) - expected.astype(int)).max() <= JPEG_TOLERANCE, path.name
    else:
        assert values.dtype == expected.dtype.newbyteorder("<"), path.name
        assert np.array_equal(values, expected), path.name
        whole = np.ascontiguousarray(expected.astype(values.dtype)).reshape(len(payloads), -1)
        assert [p.pixel_sha256 for p in payloads] == [hashlib.sha256(f.tobytes()).digest() for f in whole]
    return "equal"


def test_every_test_file_of_pydicom_comes_out_as_pydicom_reads_it() -> None:
    pytest.importorskip("curation.deid.codestream")
    files = sorted(p for p in TEST_FILES.rglob("*") if p.is_file() and p.stat().st_size < 4 << 20)
    outcomes = [compare(p) for p in files]
    assert outcomes.count("refused") == 0
    assert outcomes.count("equal") >= 40


def test_files_of_real_devices_come_out_as_pydicom_reads_them() -> None:
    if not SHARED.exists():
        pytest.skip("the shared sample files are not on this machine")
    pytest.importorskip("curation.deid.codestream")
    files = sorted(p for p in SHARED.rglob("*") if p.is_file() and p.stat().st_size < 2 << 20)[::3]
    outcomes = [compare(p) for p in files]
    assert outcomes.count("refused") == 0
    assert outcomes.count("equal") >= 20


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4"]).flatmap(
        lambda t: arrays.arrays(t, st.tuples(st.integers(1, 33), st.integers(1, 33)))
    )
)
def test_any_integer_image_survives_encoding(values: np.ndarray) -> None:
    payload = encode(values)
    again = decode(payload.codec, payload.payload, shape=values.shape, dtype=values.dtype)
    assert np.array_equal(again, values)
    assert payload.pixel_sha256 == hashlib.sha256(values.tobytes()).digest()


@pytest.mark.parametrize("reduce", [0, 1])
def test_a_damaged_payload_is_an_error_and_no_image(reduce: int) -> None:
    payload = bytearray(encode(ramp()).payload)
    for at in range(len(payload) // 2, len(payload) - 2, 997):
        broken = payload.copy()
        broken[at] ^= 0x10
        with pytest.raises(ValueError, match="damaged"):
            decode("htj2k", bytes(broken), reduce=reduce)
        with pytest.raises(ValueError, match="damaged"):
            decode("htj2k", bytes(payload[:at]), reduce=reduce)
    jpeg = bytes(imagecodecs.jpeg_encode(ramp(16, 16, "u1", high=200)))
    with pytest.raises(ValueError, match="damaged"):
        decode("jpeg", jpeg[:-40])


def test_bits_floats_and_colour_have_a_payload() -> None:
    mask = ramp(20, 30) > 2000
    assert encode(mask).codec == "htj2k"
    assert np.array_equal(decode("htj2k", encode(mask).payload), mask.astype(np.uint8))
    dose = np.random.default_rng(1).normal(size=(9, 7)).astype("f4")
    assert encode(dose).codec == "zstd"
    assert np.array_equal(decode("zstd", encode(dose).payload), dose)
    assert decode("zstd", encode(dose).payload, reduce=1).shape == (5, 4)
    color = np.random.default_rng(1).integers(0, 255, (21, 33, 3), dtype=np.uint8)
    assert np.array_equal(decode("htj2k", encode(color).payload), color)


def test_a_payload_of_other_shape_than_stated_is_an_error() -> None:
    with pytest.raises(ValueError, match="another shape"):
        decode("htj2k", encode(ramp()).payload, shape=(48, 64))
    with pytest.raises(ValueError, match="no codec"):
        decode("png", b"")


def test_bits_above_bits_stored_are_no_part_of_the_value() -> None:
    values = ramp(8, 8, high=4000)
    dirty = values | np.uint16(0xA000)  # an overlay in the unused bits
    payload = payloads_of(file_of(dirty, BitsStored=12, HighBit=11))[0]
    assert np.array_equal(decode(payload.codec, payload.payload), values)
    signed = np.array([[-2048, -1], [0, 2047]], dtype="i2")
    payload = payloads_of(file_of(signed & 0x0FFF, BitsStored=12, HighBit=11, PixelRepresentation=1))[0]
    assert np.array_equal(decode(payload.codec, payload.payload), signed)


def test_single_bits_that_do_not_end_on_a_byte_are_parted_into_frames() -> None:
    masks = np.random.default_rng(5).integers(0, 2, (3, 5, 5), dtype=np.uint8)
    packed = np.packbits(masks.reshape(-1), bitorder="little")
    header = {"Rows": 5, "Columns": 5, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    payloads = payloads_of(file_of(packed.reshape(1, -1), n_frames=3, **header))
    assert [decode(p.codec, p.payload).tolist() for p in payloads] == masks.tolist()


def test_planes_of_colour_are_interleaved() -> None:
    planes = np.random.default_rng(5).integers(0, 255, (2, 3, 6, 5), dtype=np.uint8)
    header = {"SamplesPerPixel": 3, "PlanarConfiguration": 1, "PhotometricInterpretation": "RGB", "BitsAllocated": 8,
              "BitsStored": 8, "HighBit": 7}  # fmt: skip
    payloads = payloads_of(file_of(planes, n_frames=2, **header))
    assert np.array_equal(decode("htj2k", payloads[1].payload), planes[1].transpose(1, 2, 0))


def test_pixels_that_do_not_fit_the_header_are_refused() -> None:
    values = ramp(16, 16)
    assert refusal_of(file_of(values, Rows=17)) == "pixel_mismatch"
    assert refusal_of(file_of(values, n_frames=3)) == "pixel_mismatch"
    assert refusal_of(file_of(values, BitsAllocated=12)) == "pixel_mismatch"
    assert refusal_of(file_of(values, Columns=0)) == "pixel_mismatch"
    assert refusal_of(file_of(values, SamplesPerPixel=7)) == "pixel_mismatch"


def test_a_header_that_asks_for_gigabytes_is_refused_before_anything_is_made() -> None:
    assert refusal_of(file_of(ramp(), Rows=65535, Columns=65535)) == "too_large"


def forged_j2k(rows: int, columns: int) -> bytes:
    stream = bytearray(imagecodecs.jpeg2k_encode(ramp(16, 16), level=0, codecformat="J2K", reversible=True))
    struct.pack_into(">2L", stream, 8, columns, rows)
    struct.pack_into(">2L", stream, 24, columns, rows)
    return bytes(stream)


def test_a_jpeg_2000_bomb_is_refused_by_its_own_header() -> None:
    data = file_of(None, syntax=JPEG_2000, streams=[forged_j2k(65535, 65535)], Rows=16, Columns=16)
    assert refusal_of(data) == "pixel_mismatch"


def test_a_jpeg_bomb_is_refused_by_its_own_header() -> None:
    stream = bytearray(imagecodecs.jpeg_encode(ramp(16, 16, "u1", high=200)))
    at = stream.index(b"\xff\xc0")
    struct.pack_into(">2H", stream, at + 5, 65500, 65500)
    header = {"Rows": 16, "Columns": 16, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    assert refusal_of(file_of(None, syntax=LOSSY[0], streams=[bytes(stream)], **header)) == "pixel_mismatch"


def test_run_lengths_that_do_not_fill_the_frame_are_refused() -> None:
    bomb = struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\x81\x07\x81\x07"
    data = file_of(None, syntax=RLE, streams=[bomb], Rows=4, Columns=4)
    assert refusal_of(data) in ("pixel_mismatch", "decoder_failed")
    segments = struct.pack("<16L", 15, *range(64, 79)) + bytes(15)
    data = file_of(None, syntax=RLE, streams=[segments], Rows=4, Columns=4)
    assert refusal_of(data) == "pixel_mismatch"


def test_a_syntax_without_a_decoder_is_refused() -> None:
    data = file_of(None, syntax="1.2.840.10008.1.2.4.102", streams=[b"\0\0\0\1"], Rows=4, Columns=4)
    assert refusal_of(data) == "unsupported_syntax"


def test_frames_are_found_with_and_without_an_offset_table() -> None:
    images = [ramp(24, 24, high=h) for h in (500, 900, 3000)]
    streams = [
        bytes(imagecodecs.jpeg2k_encode(i, level=0, codecformat="J2K", reversible=True)) for i in images
    ]
    halves = [part for s in streams for part in (s[:200], s[200:])]  # each frame in two fragments
    starts = [0, *np.cumsum([len(s) + 16 + len(s) % 2 for s in streams[:-1]]).tolist()]
    for table in (struct.pack("<3L", *starts), b""):
        items = b"".join(_item(part) for part in [table, *halves])
        data = file_of(None, syntax=JPEG_2000, streams=[b"x"], n_frames=3, Rows=24, Columns=24)
        at = data.index(b"\xfe\xff\x00\xe0")
        payloads = payloads_of(data[:at] + items + b"\xfe\xff\xdd\xe0\0\0\0\0")
        assert [decode(p.codec, p.payload).tolist() for p in payloads] == [i.tolist() for i in images]


def _item(content: bytes) -> bytes:
    content += b"\0" * (len(content) % 2)
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(content)) + content


def test_too_few_fragments_are_refused() -> None:
    stream = bytes(imagecodecs.jpeg2k_encode(ramp(24, 24), level=0, codecformat="J2K", reversible=True))
    data = file_of(None, syntax=JPEG_2000, streams=[stream], n_frames=1_000_000, Rows=24, Columns=24)
    assert refusal_of(data) == "pixel_mismatch"


def test_a_jpeg_stays_the_bitstream_it_was() -> None:
    pytest.importorskip("curation.deid.codestream")
    stream = bytes(imagecodecs.jpeg_encode(ramp(40, 56, "u1", high=250), level=90))
    header = {"Rows": 40, "Columns": 56, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    payload = payloads_of(file_of(None, syntax=LOSSY[0], streams=[stream], **header))[0]
    assert payload.codec == "jpeg"
    scan = stream.index(b"\xff\xda")
    assert stream[scan:] in payload.payload  # the entropy-coded data as they came
    assert np.array_equal(decode("jpeg", payload.payload), imagecodecs.jpeg_decode(stream))


def test_a_colour_jpeg_says_itself_what_its_colours_are() -> None:
    pytest.importorskip("curation.deid.codestream")
    color = np.zeros((16, 16, 3), dtype=np.uint8)
    color[..., 0] = 200  # red
    for space, photometric in (("RGB", "RGB"), ("YCBCR", "YBR_FULL_422")):
        stream = bytes(imagecodecs.jpeg_encode(color, level=95, colorspace="RGB", outcolorspace=space))
        header = {"Rows": 16, "Columns": 16, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": 3,
                  "PhotometricInterpretation": photometric, "PlanarConfiguration": 0}  # fmt: skip
        payload = payloads_of(file_of(None, syntax=LOSSY[0], streams=[stream], **header))[0]
        assert np.abs(decode("jpeg", payload.payload).astype(int) - color).max() <= 3, photometric
        assert b"Adobe" in payload.payload


def test_blanked_regions_are_gone_from_the_payload_of_a_jpeg_too() -> None:
    stream = bytes(imagecodecs.jpeg_encode(np.full((32, 32), 180, dtype=np.uint8), level=90))
    header = {"Rows": 32, "Columns": 32, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    data = file_of(None, syntax=LOSSY[0], streams=[stream], **header)
    found = clean_of(data)
    assert found is not None

    cut = Cut((Box(0, 0, 32, 8),), None, 0, (1, 32, 32), is_ybr=False)
    payload = next(iter_payloads(data, found[0], cut=cut))
    values = decode(payload.codec, payload.payload)
    assert payload.codec == "jpeg"
    assert (values[:8] == 0).all()
    assert (values[8:] == imagecodecs.jpeg_decode(stream)[8:]).all()


def test_words_behind_the_end_of_a_frame_are_no_reason_to_refuse_it() -> None:
    values = np.full((32, 32), 180, dtype=np.uint8)
    header = {"Rows": 32, "Columns": 32, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    for syntax, encode_frame in ((LOSSY[0], imagecodecs.jpeg_encode), (JPEG_LS, imagecodecs.jpegls_encode)):
        whole = bytes(encode_frame(values))
        for tail in (b"", b"Smithson^John \xff\xd8"):
            data = file_of(None, syntax=syntax, streams=[whole + tail], **header)
            (payload,) = payloads_of(data)
            assert b"Smithson" not in payload.payload
            assert (decode(payload.codec, payload.payload) == 180).all()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_bitstreams_are_refused_and_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(DAMAGE)))
    syntax, whole = DAMAGE[kind]
    stream = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    stream = stream[: data.draw(st.integers(1, len(stream)))]
    file = file_of(None, syntax=syntax, streams=[bytes(stream)], Rows=16, Columns=16)
    try:
        payloads = payloads_of(file)
    except Refused:
        return
    assert decode(payloads[0].codec, payloads[0].payload).shape == (16, 16)


@pytest.mark.parametrize("kind", ["j2k", "htj2k", "jpeg_ls", "jpeg_lossless", "jpeg"])
def test_a_bitstream_cut_anywhere_is_refused_and_never_filled_up(kind: str) -> None:
    image = ramp(64, 64, "u1", high=250) if kind == "jpeg" else ramp(64, 64)
    syntax, stream = LOSSY[0] if kind == "jpeg" else DAMAGE[kind][0], ENCODERS[kind](image)
    bits = image.dtype.itemsize * 8
    header = {"Rows": 64, "Columns": 64, "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1}
    for n in range(2, len(stream) - 2, len(stream) // 25):
        assert refusal_of(file_of(None, syntax=syntax, streams=[stream[:n]], **header)) in CUT, n


def _rle(values: np.ndarray) -> bytes:
    planes = values.astype(">u2").tobytes()
    packed = [bytes(imagecodecs.packbits_encode(planes[i::2])) for i in (0, 1)]
    return struct.pack("<16L", 2, 64, 64 + len(packed[0]), *[0] * 13) + b"".join(packed)


_IMAGE = ramp(16, 16)
CUT = ("truncated", "decoder_failed", "pixel_mismatch")
ENCODERS = {
    "j2k": lambda v: bytes(imagecodecs.jpeg2k_encode(v, level=0, codecformat="J2K", reversible=True)),
    "htj2k": lambda v: bytes(imagecodecs.htj2k_encode(v)),
    "jpeg_ls": lambda v: bytes(imagecodecs.jpegls_encode(v)),
    "jpeg_lossless": lambda v: bytes(imagecodecs.ljpeg_encode(v)),
    "jpeg": lambda v: bytes(imagecodecs.jpeg_encode(v, level=90)),
    "rle": _rle,
}
DAMAGE = {
    "j2k": (JPEG_2000, ENCODERS["j2k"](_IMAGE)),
    "htj2k": ("1.2.840.10008.1.2.4.202", ENCODERS["htj2k"](_IMAGE)),
    "jpeg_ls": ("1.2.840.10008.1.2.4.80", ENCODERS["jpeg_ls"](_IMAGE)),
    "jpeg_lossless": ("1.2.840.10008.1.2.4.70", ENCODERS["jpeg_lossless"](_IMAGE)),
    "rle": (RLE, _rle(_IMAGE)),
}


@pytest.mark.parametrize("kind", sorted(DAMAGE))
def test_every_lossless_syntax_gives_the_values_that_went_in(kind: str) -> None:
    syntax, stream = DAMAGE[kind]
    payload = payloads_of(file_of(None, syntax=syntax, streams=[stream], Rows=16, Columns=16))[0]
    assert payload.codec == "htj2k"
    assert np.array_equal(decode("htj2k", payload.payload), _IMAGE)


def test_the_photometric_of_the_lake_says_what_its_frames_are() -> None:
    assert bitstream.stored_photometric(JPEG_2000, "YBR_RCT") == "RGB"
    assert bitstream.stored_photometric(LOSSY[0], "YBR_FULL_422") == "RGB"
    assert bitstream.stored_photometric("1.2.840.10008.1.2.1", "YBR_FULL_422") == "YBR_FULL"
    assert bitstream.stored_photometric(RLE, "YBR_FULL") == "YBR_FULL"
    assert bitstream.stored_photometric(LOSSY[0], "MONOCHROME1") == "MONOCHROME1"
