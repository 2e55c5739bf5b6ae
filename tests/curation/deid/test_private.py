"""Private elements: known ones stay, by their creator, cleaned by their VR; everything else goes."""

import random
from dataclasses import replace
from functools import cache

import pytest
from pydicom._private_dict import private_dictionaries
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from curation.deid.header import clean_header
from curation.deid.policy import Policy, compile_policy, load_profile, read_rows
from tests.curation.deid.objects import SITE, ct, policy, pseudonyms, read, to_bytes

SIEMENS, GE = "SIEMENS MR HEADER", "GEMS_ACQU_01"


def with_private(ds: Dataset, block: int = 0x10) -> Dataset:
    """Safe and unsafe elements of two creators in one group, and of one that nobody knows."""
    ds.add_new(0x00190000 | block, "LO", SIEMENS)
    ds.add_new(0x00190000 | block + 1, "LO", GE)
    ds.add_new(0x00190000 | block + 2, "LO", "SMITHSON PRIVATE")
    first, second, third = (block + n << 8 for n in range(3))
    ds.add_new(0x00190000 | first | 0x0C, "IS", "1000")
    ds.add_new(0x00190000 | first | 0x0D, "CS", "DIRECTIONAL")
    ds.add_new(0x00190000 | first | 0x0E, "FD", [0.5, 0.25, -1.0])
    ds.add_new(0x00190000 | first | 0x0F, "SH", "of Smithson")
    ds.add_new(0x00190000 | second | 0x24, "DS", "1.5")
    ds.add_new(0x00190000 | second | 0x9E, "LO", "Thorax Smithson")
    ds.add_new(0x00190000 | third | 0x0C, "IS", "77")
    ds.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    ds.add_new(0x00291010, "OB", b"Smithson^John^Albert")
    return ds


@cache
def tcia() -> Policy:
    return compile_policy(replace(load_profile("research"), safe_private="tcia"))


def cleaned(ds: Dataset, syntax: str = ExplicitVRLittleEndian, book: Policy | None = None) -> Dataset:
    return read(clean_header(to_bytes(ds, syntax), book or policy(), pseudonyms(), SITE))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("block", [0x10, 0x40])
def test_safe_elements_stay_under_their_creators(syntax: str, block: int) -> None:
    source = with_private(ct(), block)
    if syntax == ExplicitVRBigEndian:
        source["PixelData"].VR = "OW"
    ds = cleaned(source, syntax)
    first, second = ds.private_block(0x0019, SIEMENS), ds.private_block(0x0019, GE)
    assert first[0x0C].value == 1000 and first[0x0D].value == "DIRECTIONAL"
    assert first[0x0E].value == [0.5, 0.25, -1.0]
    assert 0x0F not in first  # not in Table E.3.10-1
    assert second[0x24].value == 1.5 and second[0x9E].value == "Thorax"
    kept = [e.tag for e in ds if e.tag.is_private]
    assert (
        len(kept) == 2 + 3 + 2
        and b"Smithson" not in clean_header(to_bytes(source), policy(), pseudonyms(), SITE).header
    )


def test_blocks_that_stay_are_declared() -> None:
    ds = cleaned(with_private(ct()))
    declared = {
        (item.PrivateGroupReference, item.PrivateCreatorReference, item.BlockIdentifyingInformationStatus)
        for item in ds.PrivateDataElementCharacteristicsSequence
    }
    assert declared == {(0x0019, SIEMENS, "SAFE"), (0x0019, GE, "SAFE")}
    assert {i.CodeValue for i in ds.DeidentificationMethodCodeSequence} >= {"113111"}
    tags = [e.tag for e in ds]
    assert tags == sorted(tags)
    assert "PrivateDataElementCharacteristicsSequence" not in cleaned(ct())


def test_elements_of_unknown_representation_have_the_tables() -> None:
    source = ct()
    source.add_new(0x00190010, "LO", SIEMENS)
    source.add_new(0x0019100C, "UN", b"1000")
    source.add_new(0x0019100E, "UN", b"\0" * 24)
    ds = cleaned(source)
    assert ds[0x0019, 0x100C].VR == "IS" and ds[0x0019, 0x100C].value == 1000
    assert ds[0x0019, 0x100E].value == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("element", "vr", "value"),
    [
        (0x0C, "LO", "Smithson"),  # not the VR of the table
        (0x0C, "UN", b"SMITHSON"),  # no number
        (0x0D, "CS", "SMITHSON"),  # names the person
        (0x0D, "CS", "GRIXKWEMITHSON"),  # a word that nobody knows to be safe
        (0x0E, "FD", [0.5] * 4),  # longer than its multiplicity
        (0x0E, "UN", b"Smithson^John^Albert"),  # no whole number of numbers
        (0x0E, "UN", b"Smithson^John^Albert^Dr."),  # numbers that spell a name
        (0x77, "IS", "3"),
    ],
)
def test_what_is_not_what_the_table_says_goes(element: int, vr: str, value: object) -> None:
    source = ct()
    source.add_new(0x00190010, "LO", SIEMENS)
    source.add_new(0x00191000 | element, vr, value)
    found = clean_header(to_bytes(source), policy(), pseudonyms(), SITE)
    assert b"mithson" not in found.header and b"MITHSON" not in found.header
    left = read(found).get((0x0019, 0x1000 | element))
    assert left is None or not left.value


def test_items_have_creators_of_their_own() -> None:
    source = ct()
    source.add_new(0x00190010, "LO", SIEMENS)
    known, stranger = Dataset(), Dataset()
    known.add_new(0x00190010, "LO", GE)
    known.add_new(0x00191024, "DS", "2.5")
    stranger.add_new(0x00191024, "DS", "3.5")
    source.DerivationImageSequence = Sequence([known, stranger, known, known])
    ds = cleaned(source)
    items = ds.DerivationImageSequence
    assert [item.get((0x0019, 0x1024)) is not None for item in items] == [True, False, True, True]
    assert items[3].private_block(0x0019, GE)[0x24].value == 2.5
    assert (0x0019, 0x0010) not in ds  # its block is empty


def test_without_the_option_nothing_private_stays() -> None:
    ds = cleaned(with_private(ct()), book=policy("basic"))
    assert not [e.tag for e in ds if e.tag.is_private]


def test_the_larger_list_is_opt_in() -> None:
    source = ct()
    source.add_new(0x00190010, "LO", SIEMENS)
    source.add_new(0x0019100A, "US", 36)  # images in a mosaic: TCIA alone
    assert (0x0019, 0x100A) not in cleaned(source)
    assert cleaned(source, book=tcia())[0x0019, 0x100A].value == 36


def test_memory_does_not_carry_creators_over() -> None:
    shared = compile_policy(load_profile("research"))
    numbers = random.Random(7)
    for n in range(40):
        source = ct(SOPInstanceUID=f"1.2.3.{n}")
        creator = [SIEMENS, GE, "NOBODY"][n // 4 % 3]
        source.add_new(0x00190010, "LO", creator)
        source.add_new(0x0019100C, "IS", "1000")
        if n % 3:
            source.add_new(0x00191024, "DS", str(numbers.randrange(3)))
        data = to_bytes(source)
        fresh = clean_header(data, policy(), pseudonyms(), SITE)
        policy().persons.clear()
        assert clean_header(data, shared, pseudonyms(), SITE) == fresh
        kept = {e.tag.elem for e in read(fresh) if e.tag.group == 0x0019}
        assert (0x100C in kept) == (creator == SIEMENS)
        assert (0x1024 in kept) == (creator == GE and n % 3 > 0)


def test_the_table_is_whole_and_its_vrs_are_the_dictionarys() -> None:
    rows = read_rows("private_safe.csv")
    standard = [row for row in rows if row["source"] == "E.3.10-1"]
    assert len(standard) == 87 and len(rows) > 2400
    assert len({(r["creator"], r["group"], r["element"]) for r in rows}) == len(rows)
    checked = 0
    for row in rows:
        known = private_dictionaries.get(row["creator"], {})
        entry = known.get(f"{row['group']}xx{row['element']}") or known.get(
            f"{row['group'].lower()}xx{row['element'].lower()}"
        )
        if entry and not row["checked"].startswith("pydicom"):
            assert entry[0] == row["vr"], row
            checked += 1
    assert checked > 1600
