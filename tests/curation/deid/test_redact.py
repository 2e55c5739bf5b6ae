"""Blanked frames: gone inside the boxes, every pixel outside as it was, by decoders that did not write them."""

import io
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array

from curation.deid import dct, release
from curation.deid.codestream import scrub
from curation.deid.pixels import Box, Plan, Region
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.redact import replace_element
from curation.deid.take import Job, take_file
from curation.records import Refused
from tests.curation.deid.objects import SITE, ct, pseudonyms, to_bytes

ROWS, COLUMNS = 61, 77
BOXES = [Box(9, 5, 30, 11), Box(70, 50, 40, 40)]  # the second one reaches beyond the picture
PLAN = Plan(tuple(Region(box, "test") for box in BOXES), is_cleaned=True)
UID = "1.2.840.10008.1.2"
JPEG, JPEG_12, PROCESS_14, SV1 = (f"{UID}.4.{n}" for n in (50, 51, 57, 70))
LS, LS_NEAR, J2K, J2K_LOSSY = (f"{UID}.4.{n}" for n in (80, 81, 90, 91))
HT, HT_RPCL, HT_LOSSY, RLE = f"{UID}.4.201", f"{UID}.4.202", f"{UID}.4.203", f"{UID}.5"
SECRET = b"Smithson^John"


def picture(seed: int, dtype: str = "u1", samples: int = 1, top: int = 256) -> NDArray[Any]:
    """Smooth enough to compress, never 0, with every level somewhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    waves = [np.sin(x / (5 + 3 * c) + seed) + np.cos(y / (4 + c)) for c in range(samples)]
    values = (
        (np.stack(waves, axis=-1) + 2) / 4 * (top - 30) + 10 + rng.integers(0, 16, (ROWS, COLUMNS, samples))
    )
    low = top // 2 if dtype.startswith("i") else 0
    shaped: NDArray[Any] = (values - low).astype(dtype)
    return shaped[..., 0] if samples == 1 else shaped


def inside() -> NDArray[np.bool_]:
    mask = np.zeros((ROWS, COLUMNS), bool)
    for box in BOXES:
        mask[box.y : box.y + box.height, box.x : box.x + box.width] = True
    return mask


def dataset(frames: list[NDArray[Any]], bits: int, photometric: str, **changes: Any) -> Dataset:
    one = frames[0]
    colour = {"PlanarConfiguration": 0} if one.ndim == 3 else {}
    ds = ct(
        Rows=ROWS,
        Columns=COLUMNS,
        SamplesPerPixel=one.shape[2] if one.ndim == 3 else 1,
        PhotometricInterpretation=photometric,
        BitsAllocated=8 * one.dtype.itemsize,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(one.dtype.kind == "i"),
        NumberOfFrames=len(frames),
        **colour,
    )
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def encapsulated(ds: Dataset, streams: list[bytes], syntax: str, **how: Any) -> bytes:
    ds.PixelData = encapsulate(streams, **how)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return to_bytes(ds, syntax)


def native(ds: Dataset, raw: bytes, syntax: str = f"{UID}.1", vr: str = "OW") -> bytes:
    ds.PixelData = raw + bytes(len(raw) & 1)
    ds["PixelData"].VR = vr
    return to_bytes(ds, syntax)


@cache
def policy_with_pixels() -> Policy:
    profile = load_profile("research")
    options = tuple(dict.fromkeys((*profile.options, "clean_pixel_data")))
    return compile_policy(replace(profile, options=options))


def redacted(tmp_path: Path, data: bytes, plan: Plan = PLAN) -> tuple[Dataset, bytes]:
    """The released object as pydicom reads it, and its bytes. Raises Refused with the reason where it was withheld."""
    (tmp_path / "src").mkdir(exist_ok=True)
    path = tmp_path / "src" / "a.dcm"
    path.write_bytes(data)
    job = Job(tmp_path / "src", tmp_path / "dst", policy_with_pixels(), pseudonyms(), SITE)
    taken = take_file(job, path, plan=plan)
    if taken.withheld:
        raise Refused(taken.withheld)
    (released,) = (tmp_path / "dst").rglob("*.part")
    assert taken.released and taken.released.size == released.stat().st_size
    return pydicom.dcmread(released), released.read_bytes()


def values_of(ds: Dataset) -> NDArray[Any]:
    """Stored values [frames, rows, columns(, samples)] as pydicom's plugins decode them, without colour transforms."""
    found = pixel_array(ds, raw=True)
    return found if int(ds.NumberOfFrames) > 1 else found[None]


def jpeg_lossless(values: NDArray[Any], bits: int, predictor: int = 1) -> bytes:
    space = "RGB" if values.ndim == 3 else None
    unsigned = values.view(values.dtype.str.replace("i", "u"))
    return bytes(
        imagecodecs.jpeg8_encode(
            unsigned,
            lossless=True,
            predictor=predictor,
            bitspersample=bits,
            colorspace=space,
            outcolorspace=space,
        )
    )


def j2k(values: NDArray[Any], **how: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(values, codecformat="j2k", **how))


def rle(values: NDArray[Any]) -> bytes:
    """Literal runs only: nothing of it could come from the encoder under test."""
    size = values.dtype.itemsize
    samples = values.reshape(ROWS * COLUMNS, -1)
    segments = []
    for sample in range(samples.shape[1]):
        byte = np.ascontiguousarray(samples[:, sample]).view(np.uint8).reshape(-1, size)
        for place in reversed(range(size)):
            plane = byte[:, place].tobytes()
            runs = [plane[at : at + 128] for at in range(0, len(plane), 128)]
            packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
            segments.append(packed + bytes(len(packed) & 1))
    offsets = np.cumsum([64, *map(len, segments)])[:-1]
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


# name: syntax it comes as, syntax it goes as, type, samples, levels, bits stored, photometric, goes as, encoder
LOSSLESS = {
    "jpeg process 14": (PROCESS_14, PROCESS_14, "u2", 1, 4096, 12, "MONOCHROME2", "MONOCHROME2", lambda v: jpeg_lossless(v, 12, 4)),
    "jpeg sv1 8": (SV1, SV1, "u1", 1, 256, 8, "MONOCHROME1", "MONOCHROME1", lambda v: jpeg_lossless(v, 8)),
    "jpeg sv1 16": (SV1, SV1, "u2", 1, 65536, 16, "MONOCHROME2", "MONOCHROME2", lambda v: jpeg_lossless(v, 16)),
    "jpeg sv1 signed": (SV1, SV1, "i2", 1, 65536, 16, "MONOCHROME2", "MONOCHROME2", lambda v: jpeg_lossless(v, 16)),
    "jpeg sv1 colour": (SV1, SV1, "u1", 3, 256, 8, "RGB", "RGB", lambda v: jpeg_lossless(v, 8)),
    "jpeg-ls 8": (LS, LS, "u1", 1, 256, 8, "MONOCHROME2", "MONOCHROME2", imagecodecs.jpegls_encode),
    "jpeg-ls 16": (LS, LS, "u2", 1, 65536, 16, "MONOCHROME2", "MONOCHROME2", imagecodecs.jpegls_encode),
    "jpeg-ls colour": (LS, LS, "u1", 3, 256, 8, "RGB", "RGB", imagecodecs.jpegls_encode),
    "jpeg-ls near": (LS_NEAR, LS, "u1", 1, 256, 8, "MONOCHROME2", "MONOCHROME2", lambda v: imagecodecs.jpegls_encode(v, level=3)),
    "j2k 12": (J2K, J2K, "u2", 1, 4096, 12, "MONOCHROME2", "MONOCHROME2", lambda v: j2k(v, reversible=True, level=0, bitspersample=12)),
    "j2k signed": (J2K, J2K, "i2", 1, 65536, 16, "MONOCHROME2", "MONOCHROME2", lambda v: j2k(v, reversible=True, level=0)),
    "j2k rct": (J2K, J2K, "u1", 3, 256, 8, "YBR_RCT", "YBR_RCT", lambda v: j2k(v, reversible=True, level=0, mct=True)),
    "j2k rgb": (J2K, J2K, "u1", 3, 256, 8, "RGB", "RGB", lambda v: j2k(v, reversible=True, level=0, mct=False)),
    "j2k lossy": (J2K_LOSSY, J2K_LOSSY, "u2", 1, 4096, 12, "MONOCHROME2", "MONOCHROME2", lambda v: j2k(v, level=40, bitspersample=12)),
    "j2k ict": (J2K_LOSSY, J2K_LOSSY, "u1", 3, 256, 8, "YBR_ICT", "YBR_RCT", lambda v: j2k(v, level=40, reversible=False, mct=True)),
    "htj2k": (HT, HT, "u2", 1, 4096, 12, "MONOCHROME2", "MONOCHROME2", lambda v: imagecodecs.htj2k_encode(v)),
    "htj2k rpcl": (HT_RPCL, HT_RPCL, "i2", 1, 65536, 16, "MONOCHROME2", "MONOCHROME2", lambda v: imagecodecs.htj2k_encode(v)),
    "htj2k lossy": (HT_LOSSY, HT_LOSSY, "u1", 1, 256, 8, "MONOCHROME2", "MONOCHROME2", lambda v: imagecodecs.htj2k_encode(v, level=0.01, reversible=False)),
    "rle 8": (RLE, RLE, "u1", 1, 256, 8, "PALETTE COLOR", "PALETTE COLOR", rle),
    "rle 16": (RLE, RLE, "i2", 1, 65536, 16, "MONOCHROME2", "MONOCHROME2", rle),
    "rle colour": (RLE, RLE, "u1", 3, 256, 8, "RGB", "RGB", rle),
    "rle 32": (RLE, RLE, "u4", 1, 1 << 20, 32, "MONOCHROME2", "MONOCHROME2", rle),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSLESS)
def test_outside_the_boxes_every_pixel_of_every_syntax_stays(name: str, tmp_path: Path) -> None:
    syntax, target, dtype, samples, top, bits, photometric, released_as, encoder = LOSSLESS[name]
    frames = [picture(n, dtype, samples, top) for n in range(3)]
    streams = [bytes(encoder(frame)) for frame in frames]
    data = encapsulated(dataset(frames, bits, photometric, LossyImageCompression="01"), streams, syntax)
    ds, _ = redacted(tmp_path, data)
    assert ds.file_meta.TransferSyntaxUID == target
    assert ds.PhotometricInterpretation == released_as
    assert ds.LossyImageCompression == "01"
    original = pydicom.dcmread(io.BytesIO(data))
    before, after = values_of(original), values_of(ds)
    assert before.shape == after.shape and before.dtype == after.dtype
    assert np.array_equal(before[:, ~inside()], after[:, ~inside()])
    assert (before[:, inside()] != 0).any() and (after[:, inside()] == 0).all()


def chroma(samples: int, how: str) -> dict[str, Any]:
    return {"level": 90} | ({"subsampling": how} if samples == 3 else {})


@pytest.mark.parametrize("how", ["gray", "444", "422", "420", "440", "411"])
@pytest.mark.parametrize("syntax", [JPEG, JPEG_12])
def test_a_jpeg_changes_in_whole_blocks_only(how: str, syntax: str, tmp_path: Path) -> None:
    samples = 1 if how == "gray" else 3
    frames = [picture(n, "u1", samples) for n in range(2)]
    streams = [bytes(imagecodecs.jpeg8_encode(f, **chroma(samples, how))) for f in frames]
    commented = [s[:2] + b"\xff\xfe\x00\x0f" + SECRET + s[2:] + SECRET for s in streams]
    photometric = "MONOCHROME2" if samples == 1 else "YBR_FULL_422"
    ds, whole = redacted(tmp_path, encapsulated(dataset(frames, 8, photometric), commented, syntax))
    assert ds.file_meta.TransferSyntaxUID == syntax and ds.PhotometricInterpretation == photometric
    assert SECRET not in whole
    written = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=2))
    frame = dct.read_frame(scrub(streams[0], syntax))
    changed = np.zeros((ROWS, COLUMNS), bool)
    for box in dct.touched(frame, BOXES):
        changed[box.y : box.y + box.height, box.x : box.x + box.width] = True
    assert changed[inside()].all() and not changed.all()
    for old, new in zip(streams, written, strict=True):
        for decode, black in decoders(samples):
            before, after = decode(old), decode(new)
            assert np.array_equal(before[~changed], after[~changed])
            core = np.zeros((ROWS, COLUMNS), bool)
            core[BOXES[0].y + 1 : BOXES[0].y + 10, BOXES[0].x + 1 : BOXES[0].x + 29] = True
            assert (after[core] == black).all()
            assert (
                abs(after[inside()].astype(int) - black).max() < 100
            )  # thinned-out chroma blends at the edge


def decoders(samples: int) -> list[tuple[Any, Any]]:
    """libjpeg-turbo, which interpolates chroma, and Thomas Richter's libjpeg, which gives colours as they are stored."""
    libjpeg = pytest.importorskip("libjpeg")

    stored = [0, 128, 128] if samples == 3 else 0
    return [(imagecodecs.jpeg8_decode, 0), (lambda stream: np.asarray(libjpeg.decode(bytes(stream))), stored)]


def restarted_and_progressive() -> list[bytes]:
    """Streams with restart markers and in several scans, as devices write them; Pillow is not ours, libjpeg-turbo is."""
    from PIL import Image

    found = []
    for samples in (1, 3):
        image = Image.fromarray(picture(4, "u1", samples))
        for how in (
            {"restart_marker_blocks": 3},
            {"progressive": True},
            {"progressive": True, "restart_marker_rows": 1},
        ):
            file = io.BytesIO()
            image.save(file, "JPEG", quality=85, **how)
            found.append(file.getvalue())
    return found


@pytest.mark.parametrize("n", range(6))
def test_restarts_and_progressive_scans_are_understood(n: int) -> None:
    pytest.importorskip("PIL")
    stream = restarted_and_progressive()[n]
    assert (b"\xff\xd0" in stream) == (n % 3 != 1) or n % 3 == 2
    clean = scrub(stream, JPEG)
    blanked = dct.blacken(clean, BOXES, is_ycc=n >= 3)
    frame = dct.read_frame(blanked)
    assert frame.sof in (0xC0, 0xC1)
    changed = np.zeros((ROWS, COLUMNS), bool)
    for box in dct.touched(frame, BOXES):
        changed[box.y : box.y + box.height, box.x : box.x + box.width] = True
    before, after = imagecodecs.jpeg8_decode(stream), imagecodecs.jpeg8_decode(blanked)
    assert np.array_equal(before[~changed], after[~changed])
    assert after[inside()].max() < 40


def test_colours_that_are_not_transformed_stay_so(tmp_path: Path) -> None:
    frame = picture(1, "u1", 3)
    stream = bytes(imagecodecs.jpeg8_encode(frame, level=92, colorspace="RGB", outcolorspace="RGB"))
    ds, _ = redacted(tmp_path, encapsulated(dataset([frame], 8, "RGB"), [stream], JPEG))
    (written,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    before, after = imagecodecs.jpeg8_decode(stream), imagecodecs.jpeg8_decode(written)
    assert np.array_equal(before[30:45, 50:68], after[30:45, 50:68])
    assert (after[inside()] == 0).all()


def test_a_jpeg_of_12_bits_becomes_lossless(tmp_path: Path) -> None:
    frame = picture(1, "u2", 1, 4096)
    stream = bytes(imagecodecs.jpeg8_encode(frame, level=95, bitspersample=12))
    decoded = imagecodecs.jpeg8_decode(stream)
    ds, _ = redacted(
        tmp_path,
        encapsulated(dataset([frame], 12, "MONOCHROME2", LossyImageCompression="01"), [stream], JPEG_12),
    )
    assert ds.file_meta.TransferSyntaxUID == SV1 and ds.LossyImageCompression == "01"
    after = values_of(ds)[0]
    assert np.array_equal(decoded[~inside()], after[~inside()]) and (after[inside()] == 0).all()


NATIVE = {
    "u1": (f"{UID}.1", "u1", 1, 8, "MONOCHROME2", 0),
    "u2": (UID, "u2", 1, 16, "MONOCHROME2", 0),
    "i2 with bits above the stored": (f"{UID}.1", "i2", 1, 12, "MONOCHROME2", 0),
    "u4": (f"{UID}.1", "u4", 1, 32, "MONOCHROME2", 0),
    "big u1": (f"{UID}.2", "u1", 1, 8, "MONOCHROME2", 0),
    "big u2": (f"{UID}.2", "u2", 1, 16, "MONOCHROME2", 0),
    "big u4": (f"{UID}.2", "u4", 1, 32, "MONOCHROME2", 0),
    "deflated": (f"{UID}.1.99", "u2", 1, 16, "MONOCHROME2", 0),
    "rgb": (f"{UID}.1", "u1", 3, 8, "RGB", 0),
    "rgb in planes": (f"{UID}.1", "u1", 3, 8, "RGB", 1),
    "ybr": (f"{UID}.1", "u1", 3, 8, "YBR_FULL", 0),
    "big rgb": (f"{UID}.2", "u1", 3, 8, "RGB", 0),
}


@pytest.mark.parametrize("name", NATIVE)
def test_native_pixels_are_blanked_in_place(name: str, tmp_path: Path) -> None:
    syntax, dtype, samples, bits, photometric, planar = NATIVE[name]
    frames = np.stack([picture(n, dtype, samples, 256 if dtype == "u1" else 4096) for n in range(3)])
    is_big = syntax == f"{UID}.2"
    stored = frames.transpose(0, 3, 1, 2) if planar else frames
    raw = np.ascontiguousarray(stored).astype(stored.dtype.newbyteorder(">" if is_big else "<")).tobytes()
    ds = dataset(list(frames), bits, photometric)
    if samples == 3:
        ds.PlanarConfiguration = planar
    if is_big and dtype == "u1":  # bytes in big endian words stand in swapped pairs
        raw += bytes(len(raw) & 1)
        raw = np.frombuffer(raw, ">u2").astype("<u2").tobytes()
    found, _ = redacted(tmp_path, native(ds, raw, syntax))
    assert found.file_meta.TransferSyntaxUID == f"{UID}.1"
    after = np.frombuffer(found.PixelData[: frames.nbytes], frames.dtype).reshape(stored.shape)
    after = after.transpose(0, 2, 3, 1) if planar else after
    assert np.array_equal(frames[:, ~inside()], after[:, ~inside()])
    black = [0, 128, 128] if photometric == "YBR_FULL" else 0
    assert (after[:, inside()] == black).all()


def test_pixels_that_share_their_chroma_are_blanked_in_pairs(tmp_path: Path) -> None:
    pairs = np.random.default_rng(1).integers(1, 100, (2, ROWS, 39, 4), np.uint8)
    ds = dataset([picture(0, "u1", 3)] * 2, 8, "YBR_FULL_422", Columns=78)
    found, _ = redacted(tmp_path, native(ds, pairs.tobytes(), vr="OB"))
    after = np.frombuffer(found.PixelData[: pairs.size], np.uint8).reshape(pairs.shape)
    mask = np.zeros((ROWS, 39), bool)
    mask[5:16, 4:20] = True  # columns 9 to 38 and the neighbours that share their chroma
    mask[50:, 35:] = True
    assert np.array_equal(pairs[:, ~mask], after[:, ~mask])
    assert (after[:, mask] == [0, 0, 128, 128]).all()


@pytest.mark.parametrize("syntax", [f"{UID}.1", f"{UID}.2"])
def test_single_bits_are_blanked_across_byte_borders(syntax: str, tmp_path: Path) -> None:
    n_frames = 19
    bits = np.ones((n_frames, ROWS, COLUMNS), np.uint8)
    raw = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds = dataset([picture(0)] * n_frames, 1, "MONOCHROME2", BitsAllocated=1, HighBit=0)
    raw += bytes(len(raw) & 1)
    if syntax.endswith(".2"):
        raw = np.frombuffer(raw, ">u2").astype("<u2").tobytes()
    found, _ = redacted(tmp_path, native(ds, raw, syntax))
    after = np.unpackbits(np.frombuffer(found.PixelData, np.uint8), bitorder="little")[: bits.size]
    after = after.reshape(bits.shape)
    assert (after[:, ~inside()] == 1).all() and (after[:, inside()] == 0).all()


@pytest.mark.parametrize("syntax", ["native", J2K, SV1, JPEG_12])
def test_a_mask_is_filled_frame_by_frame(syntax: str, tmp_path: Path) -> None:
    frames = [picture(n, "u2", 1, 4096) for n in range(3)]
    mask = np.random.default_rng(2).random((3, ROWS, COLUMNS)) < 0.2
    plan = Plan(mask=np.packbits(mask).tobytes(), fill=7, is_defaced=True)
    ds = dataset(frames, 12, "MONOCHROME2")
    encoders: dict[str, Any] = {
        J2K: lambda v: j2k(v, reversible=True, level=0, bitspersample=12),
        SV1: lambda v: jpeg_lossless(v, 12),
        JPEG_12: lambda v: bytes(imagecodecs.jpeg8_encode(v, level=100, bitspersample=12)),
    }
    if syntax == "native":
        data = native(ds, np.stack(frames).tobytes())
    else:
        data = encapsulated(ds, [encoders[syntax](f) for f in frames], syntax)
    before = values_of(pydicom.dcmread(io.BytesIO(data)))
    if syntax == JPEG_12:  # decoders round lossy JPEG each in their own way
        before = np.stack([imagecodecs.jpeg8_decode(encoders[syntax](f)) for f in frames])
    found, _ = redacted(tmp_path, data, plan)
    after = values_of(found)
    assert np.array_equal(before[~mask], after[~mask]) and (after[mask] == 7).all()
    assert found.get("RecognizableVisualFeatures") == "NO"


def test_only_a_pass_over_the_pixels_is_claimed(tmp_path: Path) -> None:
    data = native(dataset([picture(0)], 8, "MONOCHROME2"), picture(0).tobytes(), vr="OB")
    for plan, claims in ((PLAN, True), (Plan(PLAN.regions), False), (Plan(), False)):
        found, _ = redacted(tmp_path, data, plan)
        codes = [item.CodeValue for item in found.DeidentificationMethodCodeSequence]
        assert ("113101" in codes) == claims == (found.get("BurnedInAnnotation") == "NO")


def test_an_object_that_confesses_is_withheld_without_a_pass(tmp_path: Path) -> None:
    ds = dataset([picture(0)], 8, "MONOCHROME2", BurnedInAnnotation="YES")
    data = native(ds, picture(0).tobytes(), vr="OB")
    with pytest.raises(Refused, match="identity_suspected"):
        redacted(tmp_path, data, Plan())
    assert redacted(tmp_path, data, PLAN)[0].BurnedInAnnotation == "NO"


def test_the_offset_table_is_true_of_what_was_written(tmp_path: Path) -> None:
    frames = [picture(n) for n in range(4)]
    streams = [bytes(imagecodecs.jpegls_encode(f)) for f in frames]
    data = encapsulated(dataset(frames, 8, "MONOCHROME2"), streams, LS, fragments_per_frame=3)
    for plan in (PLAN, Plan()):
        ds, _ = redacted(tmp_path, data, plan)
        table, fragments = read_items(ds.PixelData)
        offsets = struct.unpack("<4L", table)
        assert offsets == tuple(np.cumsum([0, *(8 + len(f) for f in fragments)])[:4])
        assert len(fragments) == 4


def read_items(value: bytes) -> tuple[bytes, list[bytes]]:
    items, at = [], 0
    while value[at : at + 4] == b"\xfe\xff\x00\xe0":
        size = int.from_bytes(value[at + 4 : at + 8], "little")
        items.append(value[at + 8 : at + 8 + size])
        at += 8 + size
    return items[0], items[1:]


def test_large_objects_get_long_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "LONG_OFFSETS_ABOVE", 100)
    frames = [picture(n) for n in range(4)]
    streams = [bytes(imagecodecs.jpegls_encode(f)) for f in frames]
    ds, _ = redacted(tmp_path, encapsulated(dataset(frames, 8, "MONOCHROME2"), streams, LS), Plan())
    table, fragments = read_items(ds.PixelData)
    assert table == b""
    offsets = struct.unpack("<4Q", ds.ExtendedOffsetTable)
    lengths = struct.unpack("<4Q", ds.ExtendedOffsetTableLengths)
    assert offsets == tuple(np.cumsum([0, *(8 + len(f) for f in fragments)])[:4])
    assert all(len(f) - n in (0, 1) for f, n in zip(fragments, lengths, strict=True))
    assert np.array_equal(values_of(ds), np.stack(frames))


def test_icons_and_overlays_do_not_outlive_the_pixels(tmp_path: Path) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 8
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation, icon.PixelData = 7, 0, SECRET * 5
    ds = dataset([picture(0)], 8, "MONOCHROME2", IconImageSequence=[icon])
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60003000, "OW", SECRET[:8])
    found, whole = redacted(tmp_path, native(ds, picture(0).tobytes(), vr="OB"))
    assert "IconImageSequence" not in found and 0x60003000 not in found
    assert SECRET[:8] not in whole


def test_what_cannot_be_encoded_again_is_withheld_and_leaves_nothing(tmp_path: Path) -> None:
    frame = picture(0, "u1")
    stream = bytes(imagecodecs.jpegls_encode(frame))
    good = dataset([frame], 8, "MONOCHROME2")
    with pytest.raises(Refused):
        redacted(tmp_path, encapsulated(good, [stream[:-40] + b"\xff\xd9"], LS))
    colour = dataset([picture(0, "u2", 3, 4096)], 12, "RGB")
    twelve = bytes(imagecodecs.jpeg8_encode(picture(0, "u2", 3, 4096), level=95, bitspersample=12))
    with pytest.raises(Refused):
        redacted(tmp_path, encapsulated(colour, [twelve], JPEG_12))
    assert not [p for p in (tmp_path / "dst").rglob("*") if p.is_file()]


def test_an_element_is_replaced_where_it_stands() -> None:
    header = b"\x28\0\4\0CS\4\0RGB \x28\0\x10\0US\2\0\1\0"
    found = replace_element(header, 0x00280004, b"CS", b"YBR_RCT")
    assert found == b"\x28\0\4\0CS\x08\0YBR_RCT \x28\0\x10\0US\2\0\1\0"
    assert replace_element(header, 0x00280006, b"US", b"\0\0") == header
