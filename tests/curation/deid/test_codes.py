"""Coded entries: the scheme's own meaning, by the name that people write."""

import struct

import pytest

from curation.deid.codes import MEANING, SCHEME, VALUE, clean_code
from curation.deid.header import clean_header
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from tests.curation.deid.objects import code, ct, to_bytes


def meaning(value: str, scheme: str, said: str) -> str | None:
    written = clean_code({VALUE: value.encode(), SCHEME: scheme.encode(), MEANING: said.encode()})
    if written is None:
        return None
    at = written.index(struct.pack("<HH2s", 0x0008, 0x0104, b"LO")) + 8
    return written[at:].decode().strip()


@pytest.mark.parametrize(
    ("value", "scheme", "said", "expected"),
    [
        ("10200004", "SCT", "Liver of John Smithson", "Liver"),
        ("121311", "DCM", "Dr. House", "Localizer"),
        ("99999999", "SCT", "Smithson axial", "axial"),
        ("SMITHSON", "SCT", "Liver", None),
        ("10200004", "99LOCAL", "Liver", None),
    ],
)
def test_meanings_are_the_schemes_own(value: str, scheme: str, said: str, expected: str | None) -> None:
    assert meaning(value, scheme, said) == expected


def test_a_sequence_whose_codes_all_went_goes_where_none_is_better_than_an_empty_one() -> None:
    ds = ct()
    ds.PerformedProtocolCodeSequence = [code("X1", "99LOCAL", "Smithson special")]
    ds.ProcedureCodeSequence = [code("X1", "99LOCAL", "Smithson special")]
    clean = clean_header(to_bytes(ds), compile_policy(load_profile("research")), Pseudonyms(b"k" * 32), "dev")
    assert b"\x40\x00\x60\x02" not in clean.header  # (0040,0260), nowhere of Type 2
    assert b"\x08\x00\x32\x10" in clean.header  # (0008,1032), Type 2 somewhere
