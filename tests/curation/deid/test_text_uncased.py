"""Reports written in capitals or without any: what a name is cannot be told by its first letter."""

from uuid import UUID

import pytest

from curation.deid.identity import Identity
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.spans import raised
from curation.deid.text import clean_text

BODY = "There is no pleural effusion or pneumothorax, and the lungs are clear. Prior study of June 3, 2019 was normal."

SPOKEN = {
    "History: Mrs. Abernathy presents with dyspnea.": ["abernathy"],
    "Spoke to her son Tobias Renshaw by phone at (413) 555-0182.": ["tobias", "renshaw", "0182"],
    "Seen in Fairhaven Urgent Care yesterday with cough.": ["fairhaven"],
    "Patient lives at 47 Heron Close, Wexcombe with her daughter.": ["heron", "wexcombe"],
    "Interpreted by Leopold Grantham, MD, on March 14, 2019.": ["leopold", "grantham"],
    "The patient was transferred from St. Brendan's for further care.": ["brendan"],
    "Checked: AO; verified: EJ.": [": ao", ": ej"],
    "Films from UCHM were uploaded to PACS.": ["uchm"],
    "He is in room 412-B of the west wing.": ["412"],
}


def cleaned(text: str) -> str:
    nobody = Identity("dev", "", "", (), "", "", "", "", ())
    policy = compile_policy(load_profile("research"))
    return clean_text(text, nobody, policy, Pseudonyms(b"k" * 32), UUID(int=5)).text


@pytest.mark.parametrize("form", [str, str.upper, str.lower])
@pytest.mark.parametrize("sentence", SPOKEN)
def test_identifiers_go_however_they_are_written(sentence: str, form: type[str]) -> None:
    text = cleaned(form(f"{sentence}\n{BODY}"))
    assert not [secret for secret in SPOKEN[sentence] if secret in text.lower()]
    assert form("pleural effusion or pneumothorax, and the lungs are clear.") in text
    assert "2019" not in text and form("was normal") in text


@pytest.mark.parametrize("form", [str.upper, str.lower])
def test_the_sentence_around_a_name_stays(form: type[str]) -> None:
    text = cleaned(form(f"The patient was transferred from St. Brendan's for further care.\n{BODY}"))
    assert form("for further care") in text
    text = cleaned(
        form("Der Patient wohnt in der Lindenallee 14b, 27404 Zeven. Kein Pleuraerguss, die Lunge ist frei.")
    )
    assert form("wohnt") in text and "zeven" not in text.lower()


def test_only_paragraphs_without_capitals_are_raised() -> None:
    text = "Findings: no mass.\n\nthe straße was wet, ct normal\nand so on\n\nA short\nline of words that goes on"
    assert raised(text) == (
        "Findings: no mass.\n\nTHE STRAßE WAS WET, CT NORMAL\nAND SO ON\n\nA short\nline of words that goes on"
    )


def test_what_lies_before_the_verb_of_an_address_keeps_its_own_span() -> None:
    text = cleaned(
        "Patient geb. 02.11.1931, wohnhaft Lindenallee 14b, 27404 Zeven. Kein Pleuraerguss, die Lunge ist frei."
    )
    assert not [secret for secret in ("02.11.1931", "1931", "Lindenallee", "14b", "Zeven") if secret in text]
