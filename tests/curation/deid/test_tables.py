"""Lookup tables stay where they are tables; whoever hides text in one loses it."""

import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from curation.deid.tables import is_table
from tests.curation.deid.objects import clean, ct, read, to_bytes

RED, SEGMENTED_RED, LUT = 0x00281201, 0x00281221, 0x00283006
NAME = "Smithson^John^Albert".encode("utf-16-le")


def palette(
    entries: int = 256, bits: int = 16, data: bytes | None = None, photometric: str = "PALETTE COLOR"
):
    """A CT with a palette."""
    ds = ct(PhotometricInterpretation=photometric)
    for n in range(3):
        ds.add_new(0x00281101 + n, "US", [entries, 0, bits])
        ds.add_new(0x00281201 + n, "OW", data if data is not None else bytes(2 * entries))
    return read(clean(to_bytes(ds)))


def test_a_palette_as_long_as_its_descriptor_says_stays() -> None:
    ds = palette()
    assert len(ds.RedPaletteColorLookupTableData) == 512 == len(ds.BluePaletteColorLookupTableData)
    assert len(palette(256, 8, bytes(range(256))).GreenPaletteColorLookupTableData) == 256


@pytest.mark.parametrize(
    ("data", "photometric"),
    [(NAME, "PALETTE COLOR"), (bytes(512) + NAME, "PALETTE COLOR"), (bytes(512), "MONOCHROME2")],
)
def test_a_palette_that_is_none_or_of_no_use_goes(data: bytes, photometric: str) -> None:
    assert "RedPaletteColorLookupTableData" not in palette(data=data, photometric=photometric)


def test_a_lookup_table_in_an_item_is_held_to_its_own_descriptor() -> None:
    items = []
    for entries, data in ((4, bytes(8)), (4, NAME), (10, NAME[:20])):
        item = Dataset()
        item.add_new(0x00283002, "US", [entries, 0, 16])
        item.add_new(LUT, "OW", data)
        items.append(item)
    bare = Dataset()
    bare.add_new(LUT, "OW", bytes(20))
    ds = read(clean(to_bytes(ct(VOILUTSequence=Sequence([*items, bare, items[0]])))))
    assert [bool(item.get("LUTData")) for item in ds.VOILUTSequence] == [True, False, False, False, True]


def test_segments_are_expanded() -> None:
    descriptor = struct.pack("<HHH", 8, 0, 16)
    segments = struct.pack("<3H", 0, 1, 7) + struct.pack("<3H", 1, 3, 9) + struct.pack("<4H", 2, 2, 0, 0)
    assert is_table(SEGMENTED_RED, segments, descriptor)
    assert not is_table(SEGMENTED_RED, segments + b"ab", descriptor)
    assert not is_table(SEGMENTED_RED, NAME, descriptor)
    assert not is_table(SEGMENTED_RED, segments, struct.pack("<HHH", 9, 0, 16))


def test_a_table_of_65536_entries_is_written_as_zero() -> None:
    assert is_table(RED, bytes(131072), struct.pack("<HHH", 0, 0, 16))
    assert not is_table(RED, bytes(131072), b"")


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Yattholf", "Yattholf, Quil", "Yattholf^Quil", "quil@example.org", "&#81;&#117;&#105;&#108;",
        "%51%75%69%6C",
    ],
)  # fmt: skip
def test_equipment_that_has_the_form_of_a_person_is_cleaned(text: str) -> None:
    ds = read(clean(to_bytes(ct(Manufacturer=text, SecondaryCaptureDeviceManufacturer=text))))
    for value in (ds.Manufacturer, ds.SecondaryCaptureDeviceManufacturer):
        assert not value or value in ("Dr", "REMOVED")
        assert "attholf" not in value and "81" not in value and "%" not in value


@pytest.mark.parametrize(
    "text", ["GE MEDICAL SYSTEMS", "Philips Medical Systems, DMC", "Sensation 64", "Acme Ω"]
)
def test_makers_stay(text: str) -> None:
    ds = read(clean(to_bytes(ct(ManufacturerModelName=text, SpecificCharacterSet="ISO_IR 192"))))
    kept = {"Philips Medical Systems, DMC": "Philips Medical Systems", "Acme Ω": None}.get(text, text)
    assert ds.get("ManufacturerModelName") == kept


def test_characters_written_as_numbers_are_no_description() -> None:
    for text in ("&#81;&#117;&#105;&#108;", "%56%6F%72%6E", "=56=6F=72", "\\u0056\\u006f"):
        ds = read(clean(to_bytes(ct(AcquisitionComments=f"Thorax {text} axial", StudyComments=text))))
        assert ds.AcquisitionComments == "Thorax axial" and not ds.StudyComments
