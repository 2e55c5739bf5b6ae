"""Linkage tokens: same person, same token; different person or key, another; no data, no token."""

import pytest

from curation.linkage import Tokenizer, normal_birth_date, normal_first, normal_last, normal_sex

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dr. Mary", "MARY"),
        ("José", "JOSE"),
        ("Mary Ann", "MARY"),
        ("John Q.", "JOHN"),
        ("Łukasz", "LUKASZ"),
        ("unknown", None),
        ("  ", None),
    ],
)
def test_given_names_come_to_one_form(name: str, expected: str | None) -> None:
    assert normal_first(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("O'Neil", "ONEIL"),
        ("Smith Jr. III", "SMITH"),
        ("Müller", "MULLER"),
        ("Ng", "NG"),
        ("Xz", None),
        ("TEST", None),
    ],
)
def test_family_names_come_to_one_form(name: str, expected: str | None) -> None:
    assert normal_last(name) == expected


def test_birth_dates_are_read_from_dicom_and_iso_form_and_nothing_else() -> None:
    assert normal_birth_date("19931103") == normal_birth_date("1993-11-03") == "1993-11-03"
    assert normal_birth_date("18991103") is None
    assert normal_birth_date("19931303") is None


def test_other_sex_has_no_form() -> None:
    assert (normal_sex(" m "), normal_sex("F"), normal_sex("O"), normal_sex("")) == (
        "MALE",
        "FEMALE",
        None,
        None,
    )


def test_one_person_gets_the_same_tokens_however_the_name_is_written() -> None:
    tokenizer = Tokenizer(KEY)
    first = tokenizer.tokens("MÜLLER^JOSÉ^^Dr", "19500102", "M")
    assert first == tokenizer.tokens("Müller^José", "1950-01-02", "Male")
    assert first["T1"] is not None
    assert len(first["T1"]) == 32
    assert len({t for t in first.values() if t}) == 3


def test_rules_without_data_have_no_token() -> None:
    tokens = Tokenizer(KEY).tokens("DOE^JANE", "", "F")
    assert tokens["T1"] is None
    assert tokens["T2"] is None
    assert tokens["T4"] is None
    assert tokens["T5"] is not None


def test_another_key_or_ring_makes_other_tokens() -> None:
    one = Tokenizer(KEY).tokens("DOE^JANE", "19500102", "F")
    other = Tokenizer(KEY[::-1]).tokens("DOE^JANE", "19500102", "F")
    ring = Tokenizer(KEY, "2027").tokens("DOE^JANE", "19500102", "F")
    assert len({one["T3"], other["T3"], ring["T3"]}) == 3


def test_the_token_is_the_published_construction() -> None:
    import hashlib
    import hmac

    secret = hmac.digest(KEY, b"rwid linkage local", "sha256")
    signature = "DOE|JANE|FEMALE|1950-01-02"
    expected = hmac.digest(secret, hashlib.sha256(signature.encode()).hexdigest().encode(), "sha256")
    assert Tokenizer(KEY).tokens("DOE^JANE", "19500102", "F")["T3"] == expected
