"""Coded entries: the scheme's own meaning, by the name that people write."""

import struct

import pytest

from curation.deid.codes import MEANING, SCHEME, VALUE, clean_code


def meaning(code: str, scheme: str, said: str) -> str | None:
    written = clean_code({VALUE: code.encode(), SCHEME: scheme.encode(), MEANING: said.encode()})
    if written is None:
        return None
    at = written.index(struct.pack("<HH2s", 0x0008, 0x0104, b"LO")) + 8
    return written[at:].decode().strip()


@pytest.mark.parametrize(
    ("code", "scheme", "said", "expected"),
    [
        ("10200004", "SCT", "Liver of John Smithson", "Liver"),
        ("121311", "DCM", "Dr. House", "Localizer"),
        ("99999999", "SCT", "Smithson axial", "axial"),
        ("SMITHSON", "SCT", "Liver", None),
        ("10200004", "99LOCAL", "Liver", None),
    ],
)
def test_meanings_are_the_schemes_own(code: str, scheme: str, said: str, expected: str | None) -> None:
    assert meaning(code, scheme, said) == expected
