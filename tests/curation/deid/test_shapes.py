"""Items built alike are recognised whole, and what is written is what the slow road writes, to the byte."""

import random
import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from curation.deid import items
from curation.deid.header import clean_header
from curation.deid.policy import compile_policy, load_profile
from curation.deid.shapes import shape_of
from curation.records import Refused
from tests.curation.deid.objects import SITE, code, ct, policy, pseudonyms, read, to_bytes


def one(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def frame(n: int, numbers: random.Random, *, is_open: bool) -> Dataset:
    """The functional groups of one frame; now and then one that is not like the others."""
    item = Dataset()
    item.FrameContentSequence = one(
        FrameAcquisitionDateTime=f"2019030510{n % 3600 // 60:02d}{n % 60:02d}",
        StackID=numbers.choice(["1", "2", "Smithson", "Axial"]),
        FrameComments=numbers.choice(["axial", "Smithson", "axial "]),
        InStackPositionNumber=n,
    )
    item.PlanePositionSequence = one(ImagePositionPatient=[-120.5, 3.25, round(1.25 * (n % 9), 2)])
    item.PixelMeasuresSequence = one(PixelSpacing=[0.9, 0.9], SliceThickness="1.25")
    item.FrameAnatomySequence = one(
        FrameLaterality=numbers.choice("RLUB"),
        AnatomicRegionSequence=Sequence([code("12738006", "SCT", "Brain")]),
    )
    item.DerivationImageSequence = one(
        SourceImageSequence=one(ReferencedSOPInstanceUID=f"1.2.840.99.{n % 13}", ReferencedFrameNumber=n)
    )
    if numbers.random() < 0.2:
        item.FrameContentSequence[0].FrameReferenceDateTime = "20190305"
    if numbers.random() < 0.3:
        item.add_new(0x00190010, "LO", numbers.choice(["SIEMENS MR HEADER", "GEMS_ACQU_01"]))
        item.add_new(0x0019100C, "IS", "1000")
        item.add_new(0x00191024, "DS", "2.50")
    if is_open:
        for element in item:
            if element.VR == "SQ" and numbers.random() < 0.5:
                element.value.is_undefined_length = True
                element.is_undefined_length = True
        item.is_undefined_length_sequence_item = numbers.random() < 0.5
    return item


def enhanced(seed: int, *, is_open: bool = False, frames: int = 40) -> bytes:
    numbers = random.Random(seed)
    ds = ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames=frames, SOPInstanceUID=f"1.2.3.{seed}")
    ds.PixelData = bytes(32 * frames)
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [frame(n, numbers, is_open=is_open) for n in range(frames)]
    )
    return to_bytes(ds)


@pytest.mark.parametrize("is_open", [False, True])
def test_recognised_items_are_written_as_unrecognised_ones(
    monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    shared = compile_policy(load_profile("research"))
    for seed in range(6):
        data = enhanced(seed, is_open=is_open)
        with monkeypatch.context() as slow:
            slow.setattr(items, "_SHAPES_A_KEY", 0)
            expected = clean_header(data, compile_policy(load_profile("research")), pseudonyms(), SITE)
        found = clean_header(data, shared, pseudonyms(), SITE)
        assert found.header == expected.header
        assert set(found.actions) == set(expected.actions) and found.identity == expected.identity
        assert b"Smithson" not in found.header
    assert any(
        shape for known in shared.rules.values() for shapes in known.shapes.values() for shape in shapes
    )


def test_a_name_in_one_frame_of_many_is_found() -> None:
    data = enhanced(3, frames=60)
    last = data.rindex(b"\x20\x00\x56\x90SH")
    size = struct.unpack_from("<H", data, last + 6)[0]
    changed = data[: last + 8] + b"SMITHSON AXIAL  "[:size].ljust(size) + data[last + 8 + size :]
    header = clean_header(changed, policy(), pseudonyms(), SITE).header
    assert b"SMITH" not in header


def test_a_date_that_is_none_loses_its_place_in_a_recognised_item() -> None:
    data = enhanced(1)
    at = data.rindex(b"2019030510")
    broken = data[:at] + b"2019139910" + data[at + 10 :]
    ds = read(clean_header(broken, policy(), pseudonyms(), SITE))
    moved = [
        str(f.FrameContentSequence[0].FrameAcquisitionDateTime) for f in ds.PerFrameFunctionalGroupsSequence
    ]
    assert moved.count("") == 1 and len(ds.PerFrameFunctionalGroupsSequence) == 40


def test_nesting_stays_capped_in_recognised_items() -> None:
    rules = policy().rules_of(b"1.2.840.10008.5.1.4.1.1.2").nested
    inner = b""
    for _ in range(40):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner
        inner = b"\x08\x00\x15\x92SQ\0\0" + struct.pack("<L", len(item)) + item
    shape = shape_of(inner, 0, len(inner), rules, is_open=False, has_private=True, is_rigid=False)
    assert shape is None or shape.n_levels >= 39
    source = ct(DerivationImageSequence=one(DerivationDescription="X"))
    deep = to_bytes(source)
    at = deep.index(b"\x08\x00\x24\x91SQ")
    items_bytes = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner for _ in range(3))
    rest = deep[at + 12 + struct.unpack_from("<L", deep, at + 8)[0] :]
    with pytest.raises(Refused, match="malformed"):
        clean_header(
            deep[: at + 8] + struct.pack("<L", len(items_bytes)) + items_bytes + rest,
            policy(),
            pseudonyms(),
            SITE,
        )
