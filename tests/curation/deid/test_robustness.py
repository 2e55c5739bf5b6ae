"""Whatever the bytes, the end is a clean object or a refusal from the closed list: never another exception."""

import random
import warnings
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from curation.deid.codestream import scrub
from curation.deid.header import Clean
from curation.part10 import ENCAPSULATED, JPEG, JPEG_2000, JPEG_LS, RLE
from curation.records import Refused
from tests.curation.deid.objects import clean, code, ct, jpeg_ct, read, to_bytes

BUNDLED = Path(pydicom.__file__).parent / "data"
SEEDS = [
    to_bytes(ct(ProcedureCodeSequence=[code("51185008", "SCT", "Chest")])),
    to_bytes(ct(), ImplicitVRLittleEndian),
    to_bytes(ct(), ExplicitVRBigEndian),
    jpeg_ct(b"\xff\xd8\xff\xd9", "1.2.840.10008.1.2.4.50"),
]


def attempt(data: bytes) -> Clean | None:
    try:
        return clean(data)
    except Refused:  # its reason is from the closed list: the class itself sees to that
        return None


def bundled() -> list[Path]:
    kept = (".py", ".pyc", ".json", ".md", ".txt")
    return sorted(p for p in BUNDLED.rglob("*") if p.is_file() and p.suffix not in kept)


def test_every_file_that_pydicom_carries_is_clean_or_refused() -> None:
    released = 0
    for path in bundled():
        found = attempt(path.read_bytes())
        if found is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ds = read(found)
            assert ds.PatientIdentityRemoved == "YES", path.name
            assert ds.SOPInstanceUID.startswith("2.25."), path.name
            released += 1
    assert released > 60


def test_what_is_released_holds_no_original_identifier() -> None:
    checked = 0
    for path in bundled():
        found = attempt(path.read_bytes())
        if found is None:
            continue
        identity = found.identity
        for value in (identity.study_uid, identity.accession, *(n for n in identity.names if len(n) > 5)):
            if len(value) > 5:
                assert value.encode("utf-8") not in found.header, path.name
                assert value.encode("latin-1", "replace") not in found.header, path.name
                checked += 1
    assert checked > 80


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_random_mutations_never_break_the_walk(seed: int) -> None:
    data, dice = SEEDS[seed], random.Random(seed)
    for _ in range(600):
        mutant = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 8))):
            at = dice.randrange(len(mutant))
            match dice.randrange(4):
                case 0:
                    mutant[at] = dice.randrange(256)
                case 1:
                    mutant[at : at + dice.randrange(8)] = dice.randbytes(dice.randrange(8))
                case 2:
                    mutant[at : at + 4] = dice.choice(
                        (b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\0\0\0\0", b"SQ\0\0")
                    )
                case _:
                    other = dice.randrange(len(mutant))
                    mutant[at:at] = mutant[other : other + dice.randrange(40)]
            if not mutant:
                break
        found = attempt(bytes(mutant))
        if found is not None and found.pixels is not None:
            assert found.pixels.offset + found.pixels.length <= len(mutant)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300))
def test_any_bytes_after_a_prefix_are_clean_or_refused(tail: bytes) -> None:
    start = SEEDS[0].index(b"\x18\x00\x50\x00DS")
    attempt(SEEDS[0][:start] + tail)
    attempt(bytes(128) + b"DICM" + tail)
    attempt(b"\x08\x00\x05\x00" + tail)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=60), st.sampled_from(["ISO_IR 192", "ISO_IR 100", "ISO 2022 IR 87", "GB18030", ""]))
def test_any_name_is_harvested_and_released_nowhere(name: str, charset: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = to_bytes(ct(SpecificCharacterSet=charset))
    raw = name.encode("utf-8").replace(b"\\", b"")[:64]
    raw += b" " * (len(raw) & 1)
    old = b"\x10\x00\x10\x00PN\x14\x00Smithson^John^Albert"
    assert old in data
    found = attempt(data.replace(old, b"\x10\x00\x10\x00PN" + len(raw).to_bytes(2, "little") + raw))
    nameless = attempt(data)
    assert found is not None and nameless is not None
    for word in raw.replace(b"^", b" ").split():
        # a name may be part of what every release says: "resear" of the profile research
        if len(word) > 5 and word.isalpha() and word not in nameless.header:
            assert word not in found.header


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(ENCAPSULATED)))
def test_any_codestream_is_scrubbed_or_refused(data: bytes, syntax: str) -> None:
    heads = {
        b"\xff\xd8": JPEG | JPEG_LS,
        b"\xff\x4f\xff\x51": JPEG_2000,
        b"\x01\0\0\0\x40\0\0\0" + bytes(56): {RLE},
    }
    for head in (b"", *(h for h, syntaxes in heads.items() if syntax in syntaxes)):
        try:
            scrub(head + data, syntax)
        except Refused:
            continue


@pytest.mark.parametrize("seed", SEEDS[:3], ids=["explicit", "implicit", "big endian"])
def test_bytes_put_into_the_pixels_are_not_released(seed: bytes) -> None:
    """What slid out behind the pixel data no longer adds up, so nobody knows what lies in the pixels."""
    assert attempt(seed) is not None
    assert attempt(seed + bytes(8)) is not None  # zero padding
    stop = len(seed) - 40
    shifted = seed[:stop] + seed[132:532] + b"\7" * 40 + seed[stop:]
    assert attempt(shifted) is None
