"""Planted identities are found nowhere in what is released: in no attribute, item, private block, odd place."""

import json
import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from curation.deid.policy import Act
from curation.deid.release import file_meta
from curation.part10 import EXPLICIT_LITTLE
from curation.records import Refused
from tests.curation.deid.objects import canary_date, canary_uid, clean, ct, policy, read, registered, to_bytes

TEXT = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")


def decisions(name: str) -> dict[str, Act]:
    return {d.keyword: d.act for d in policy(name).decisions}


def canary(n: int) -> str:
    return f"Zq{n:05d}canary"


def released(data: bytes, name: str = "research") -> bytes:
    """All bytes of a released file but its pixels, lower case."""
    found = clean(data, name)
    read(found)
    return (file_meta(found, EXPLICIT_LITTLE) + found.header + json.dumps(found.actions).encode()).lower()


def planted(vrs: tuple[str, ...], value, skip: set[str]) -> list[tuple[str, str]]:
    return [(keyword, value(n)) for n, (_, _, keyword) in enumerate(registered(*vrs)) if keyword not in skip]


def with_values(values: list[tuple[str, str]], *, in_item: bool) -> bytes:
    ds = ct()
    target = Dataset() if in_item else ds
    for keyword, value in values:
        setattr(target, keyword, value)
    if in_item:
        ds.DerivationCodeSequence = Sequence([Dataset()])
        ds.DerivationCodeSequence[0].ReferencedSeriesSequence = Sequence([target])
    return to_bytes(ds)


# what stays as it is: equipment and technique (docs/deidentification.md lists them as kept plain)
def plain(name: str) -> set[str]:
    return {k for k, act in decisions(name).items() if act is Act.PLAIN}


CONTROL = {"PatientID", "SpecificCharacterSet", "TransferSyntaxUID", "SOPClassUID"}


@pytest.mark.parametrize("name", ["basic", "research"])
@pytest.mark.parametrize("in_item", [False, True], ids=["top", "nested"])
def test_text_planted_in_every_attribute_is_gone(name: str, in_item: bool) -> None:
    values = planted(TEXT, canary, plain(name) | CONTROL)
    assert len(values) > 700
    told = released(with_values(values, in_item=in_item), name)
    assert [k for k, v in values if v.lower().encode() in told] == []


@pytest.mark.parametrize("name", ["basic", "research"])
@pytest.mark.parametrize("in_item", [False, True], ids=["top", "nested"])
def test_uids_planted_in_every_attribute_are_gone(name: str, in_item: bool) -> None:
    values = planted(("UI",), canary_uid, CONTROL | plain(name))
    assert len(values) > 80
    told = released(with_values(values, in_item=in_item), name)
    assert [k for k, v in values if v.encode() in told] == []


@pytest.mark.parametrize("name", ["basic", "research"])
@pytest.mark.parametrize("in_item", [False, True], ids=["top", "nested"])
def test_dates_planted_in_every_attribute_are_gone(name: str, in_item: bool) -> None:
    values = planted(("DA", "DT"), canary_date, set())
    assert len(values) > 100
    told = released(with_values(values, in_item=in_item), name)
    # fewer than 365 days are planted, and every offset is longer: no moved day is another planted one
    assert len(values) < 365
    assert [k for k, v in values if v.encode() in told] == []


def test_times_are_gone_under_the_basic_profile() -> None:
    values = planted(("TM",), lambda n: f"{n % 24:02d}5959.{n:06d}", set())
    told = released(with_values(values, in_item=False), "basic")
    assert [k for k, v in values if v.encode() in told] == []


def test_the_text_that_stays_is_equipment_and_technique() -> None:
    assert plain("basic") <= plain("research") and len(plain("basic")) < 30
    identity = {
        "Name",
        "Address",
        "Telephone",
        "Patient",
        "Physician",
        "Institution",
        "Comment",
        "Description",
    }
    for keyword in plain("basic"):
        assert not any(word in keyword for word in identity - {"Name"}), keyword


def put(at: bytes, element: bytes) -> bytes:
    data = to_bytes(ct())
    place = data.index(at)
    return data[:place] + element + data[place:]


SECRET = b"Zq00001canary "
PRIVATE = b"\x09\x00\x10\x00LO\x06\x00Zqmake" + b"\x09\x00\x01\x10LO\x0e\x00" + SECRET
AFTER_0008 = b"\x10\x00\x10\x00PN"


@pytest.mark.parametrize(
    ("at", "element"),
    [
        pytest.param(AFTER_0008, PRIVATE, id="private"),
        pytest.param(AFTER_0008, b"\x0a\x00\x10\x00LO\x0e\x00" + SECRET, id="unregistered even group"),
        pytest.param(AFTER_0008, b"\x08\x00\xf0\xffLO\x0e\x00" + SECRET, id="unregistered element"),
        pytest.param(AFTER_0008, b"\x08\x00\x55\x20OB\0\0\x0e\0\0\0" + SECRET, id="text attribute as OB"),
        pytest.param(AFTER_0008, b"\x08\x00\x55\x20UN\0\0\x0e\0\0\0" + SECRET, id="text attribute as UN"),
        pytest.param(b"\x18\x00\x50\x00DS", b"\x18\x00\x22\x00LO\x0e\x00" + SECRET, id="coded string as LO"),
        pytest.param(b"\x18\x00\x50\x00DS", b"\x18\x00\x25\x00DS\x0e\x00" + SECRET, id="coded string as DS"),
        pytest.param(b"\x28\x00\x30\x00DS", b"\x28\x00\x14\x00US\x0e\x00" + SECRET, id="text in a number"),
        pytest.param(
            b"\x28\x00\x00\x01US", b"\x28\x00\x34\x00IS\x0e\x00" + SECRET, id="text in an integer string"
        ),
        pytest.param(b"\x28\x00\x00\x01US", b"\x28\x00\x34\x00IS\x0d\x00" + SECRET[:13], id="odd length"),
        pytest.param(
            b"\x28\x00\x30\x00DS", b"\x28\x00\x14\x00US\x0d\x00" + SECRET[:13], id="odd length in a number"
        ),
        pytest.param(b"\xe0\x7f\x10\x00OW", b"\x00\x60\x00\x30OW\0\0\x0e\0\0\0" + SECRET, id="overlay"),
        pytest.param(b"\xe0\x7f\x10\x00OW", b"\x00\x60\x22\x00LO\x0e\x00" + SECRET, id="overlay description"),
        pytest.param(b"\xe0\x7f\x10\x00OW", b"\x00\x50\x00\x30OW\0\0\x0e\0\0\0" + SECRET, id="curve"),
        pytest.param(b"\x28\x00\x02\x00US", b"\x28\x00\x00\x00UL\x0e\x00" + SECRET, id="group length"),
        pytest.param(
            b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x01\x00OV\0\0\x10\0\0\0" + SECRET + b"12", id="offset table"
        ),
    ],
)
def test_text_planted_in_odd_places_is_gone(at: bytes, element: bytes) -> None:
    data = put(at, element)
    assert b"canary" in data
    assert b"canary" not in released(data)
    assert b"zqmake" not in released(data)


def test_preamble_and_file_meta_are_written_anew() -> None:
    ds = ct()
    data = to_bytes(ds, preamble=(b"MZ" + SECRET * 9)[:128])
    meta = b"\x02\x00\x16\x00AE\x0e\x00" + SECRET + b"\x02\x00\x00\x01UI\x04\x001.2\0"
    meta += b"\x02\x00\x02\x01OB\0\0\x0e\0\0\0" + SECRET
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    told = released(data[:start] + meta + data[start:])
    assert b"canary" not in told and not told[:128].strip(b"\0")
    # the original UID of file meta is another one than in the dataset: neither comes out
    assert b"1.2.826.0.1.3680043.8.498" not in told


@pytest.mark.parametrize(
    "tail",
    [
        b"\xfc\xff\xfc\xffOB\0\0\x0e\0\0\0" + SECRET,
        b"\xe1\x7f\x10\x00LO\x06\x00Zqmake" + b"\xe1\x7f\x10\x10OB\0\0\x0e\0\0\0" + SECRET,
        b"\xfa\xff\xfa\xffSQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\xdd\xe0\0\0\0\0",
    ],
)
def test_elements_after_the_pixel_data_are_left_out(tail: bytes) -> None:
    data = to_bytes(ct())
    assert clean(data + tail).pixels == clean(data).pixels
    assert b"canary" not in released(data + tail)


def test_bytes_after_the_pixel_data_that_are_no_elements_are_refused() -> None:
    with pytest.raises(Refused):
        clean(to_bytes(ct()) + SECRET * 3)


def test_free_text_in_code_meanings_is_gone() -> None:
    data = to_bytes(ct())
    item = (
        b"\x08\x00\x00\x01SH\x06\x00121311"
        + b"\x08\x00\x02\x01SH\x04\x00DCM "
        + b"\x08\x00\x04\x01LO\x0e\x00"
        + SECRET
    )
    items = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(item)) + item
    element = b"\x08\x00\x32\x10SQ\0\0" + struct.pack("<L", len(items)) + items
    at = data.index(b"\x08\x00\x3e\x10LO")
    told = released(data[:at] + element + data[at:])
    assert b"canary" not in told and b"121311" in told and b"localizer" in told


def test_sequences_that_hold_identity_are_removed_whole() -> None:
    ds = ct()
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = "Zq1canary", "TEXT"
    ds.OtherPatientIDsSequence = Sequence([item])
    modified = Dataset()
    modified.PatientName, modified.OtherPatientIDs = "Zq2canary", "Zq3canary"
    original = Dataset()
    original.ModifiedAttributesSequence = Sequence([modified])
    ds.OriginalAttributesSequence = Sequence([original])
    encrypted = Dataset()
    encrypted.EncryptedContent, encrypted.EncryptedContentTransferSyntaxUID = (
        b"Zq4canary!",
        "1.2.840.10008.1.2",
    )
    ds.EncryptedAttributesSequence = Sequence([encrypted])
    found = read(clean(to_bytes(ds)))
    assert b"canary" not in released(to_bytes(ds))
    for keyword in ("OtherPatientIDsSequence", "OriginalAttributesSequence", "EncryptedAttributesSequence"):
        assert keyword not in found
