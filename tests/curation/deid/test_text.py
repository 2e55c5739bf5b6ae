"""A report without the person: what the headers know, patterns with context, dates moved, a last look."""

import dataclasses
from datetime import date, timedelta
from functools import cache

import pytest

from curation.deid import dates
from curation.deid import lexicon as lexicon_module
from curation.deid.identity import Identity
from curation.deid.policy import Policy
from curation.deid.spelling import fold
from curation.deid.text import CleanText, clean_text
from curation.records import Refused
from tests.curation.deid.objects import SITE, policy, pseudonyms

PATIENT = pseudonyms().patient(SITE, "48213377")
OFFSET = pseudonyms().offset_days(PATIENT)


def identity(**changes: object) -> Identity:
    values = {
        "site": SITE,
        "patient_id": "48213377",
        "issuer": "",
        "names": ("Smithson^John^Albert", "Quackenbush^Eva^^Dr"),
        "birth_date": "19520314",
        "sex": "M",
        "accession": "ACC-47119",
        "study_uid": "1.2.826.0.1.3680043.8.498.2",
        "other": ("Mercy Falls Hospital", "12 Elm Street^Springfield", "555-867-5309"),
    }
    return Identity(**(values | changes))


@cache
def tagged(name: str) -> Policy:
    """The profile with tags instead of stand-ins, so that a test sees what was found."""
    known = policy(name)
    return dataclasses.replace(known, profile=dataclasses.replace(known.profile, text="tags"))


def clean(text: str, name: str = "research", **changes: object) -> CleanText:
    return clean_text(text, identity(**changes), tagged(name), pseudonyms(), PATIENT)


def moved(day: date) -> date:
    return day + timedelta(days=OFFSET)


@pytest.mark.parametrize(
    "text",
    [
        "SMITHSON, JOHN",
        "john albert smithson",
        "J. Smithson",
        "Smithson's nodule",
        "seen by quackenbush",
        "Eva QUACKENBUSH",
        "ID 48213377",
        "id 4821-3377",
        "48 213 377",
        "ACC47119",
        "acc 47119",
        "mercy falls hospital",
        "at Mercy Falls today",
        "12 Elm Street",
        "12, elm street, springfield",
        "from Springfield",
        "call 5558675309",
        "(555) 867-5309",
        "study 1.2.826.0.1.3680043.8.498.2",
        "born 14.03.1952",
        "March 14, 1952",
        "03/14/1952",
        "1952-03-14",
        "14 Mar 1952",
    ],
)
def test_what_the_headers_know_is_replaced(text: str) -> None:
    found = clean(f"Findings: stable nodule. {text}. No effusion.").text.lower()
    for word in (
        "smithson",
        "john",
        "albert",
        "quackenbush",
        "eva",
        "48213377",
        "3377",
        "47119",
        "mercy",
        "elm",
    ):
        assert word not in found.replace("[name]", "").split("stable")[1]
    for word in ("springfield", "867", "498", "1952"):
        assert word not in found
    assert "stable nodule" in found and "no effusion" in found and "[" in found


@pytest.mark.parametrize(
    ("header", "written"), [("Müller^Jörg", "Mueller"), ("Mueller^Joerg", "Müller"), ("O'Brien^X", "OBRIEN")]
)
def test_names_are_found_in_other_spellings(header: str, written: str) -> None:
    assert "[NAME]" in clean(f"Seen with {written} today.", names=(header,)).text


def test_ordinary_words_that_are_names_stay_in_lower_case() -> None:
    found = clean("The vessel wall is thick. Wall was informed.", names=("Wall^Peter",)).text
    assert found.startswith("The vessel wall is thick. [NAME] was")


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Dictated by: Meredith Greyson, MD", "Greyson"),
        ("Electronically signed by Gregory Houseman on Monday", "Houseman"),
        ("Referring Physician: GREYSON, MEREDITH A", "GREYSON"),
        ("Discussed with Dr. Greyson at 14:35", "Greyson"),
        ("cc: Dr Perry Coxley", "Coxley"),
        ("Meredith Greyson, M.D.", "Greyson"),
        ("Her daughter Susan Greyson called", "Greyson"),
        ("Überweiser: Dr. med. Schulzendorf", "Schulzendorf"),
        ("mail m.greyson@hospital.org for images", "greyson"),
        ("see https://pacs.hospital.org/?id=7 for images", "pacs"),
        ("phone: 030 1234 5678", "1234"),
        ("pager 44-871 for questions", "871"),
        ("Tel. 06221/56-1234", "1234"),
        ("MRN: 99-887-1", "887"),
        ("Accession Number: X77-3321", "3321"),
        ("SSN 123-45-6789", "6789"),
        ("number 00347712345", "347712345"),
        ("Lives at 99 Oak Lane, Greenville, TX 75401", "Oak"),
        ("wohnhaft in der Lindenstraße 12, 69117 Heidelberg", "Linden"),
        ("transferred from Saint Martha Medical Center", "Martha"),
        ("Universitätsklinikum Heidelberg", "Heidelberg"),
    ],
)
def test_strangers_are_found_by_context(text: str, gone: str) -> None:
    found = clean(f"Stable nodule.\n{text}\nNo effusion.").text
    assert gone not in found and "[" in found
    assert found.startswith("Stable nodule.\n") and found.endswith("\nNo effusion.")


CLINICAL = """FINDINGS: The lungs are clear. Stable 4 mm nodule in the right lower lobe (series 4, image 88). Kerley B lines.
Schmorl node at L4/5. Baker cyst 2.3 x 1.4 cm. Bosniak II cyst, 12 HU. Gleason 3+4. Parkinson disease, Crohn colitis.
Patient: 45 year old male. Patient has normal heart size. T2 12/15. Ratio 1/2. TR 500/TE 15. BI-RADS 4. Agatston 1200.
IMPRESSION: 1. No acute abnormality. 2. Mild emphysema. Recommend follow up in 12 months per Fleischner guidelines.
Comparison: None. Technique: 120 kVp, 1.25 mm, 100 ml contrast. No evidence of May-Thurner. Hospital course uneventful."""


def test_clinical_words_stay() -> None:
    assert clean(CLINICAL).text == CLINICAL
    assert clean(CLINICAL).n_redactions == 0


@pytest.mark.parametrize(
    ("written", "day", "form"),
    [
        ("03/05/2019", date(2019, 3, 5), "%m/%d/%Y"),
        ("2019-03-05", date(2019, 3, 5), "%Y-%m-%d"),
        ("20190305", date(2019, 3, 5), "%Y%m%d"),
        ("2019/03/05", date(2019, 3, 5), "%Y/%m/%d"),
        ("25/03/2019", date(2019, 3, 25), "%d/%m/%Y"),
        ("05.03.2019", date(2019, 3, 5), "%d.%m.%Y"),
        ("25-Mar-2019", date(2019, 3, 25), "%d-%b-%Y"),
        ("March 2019", date(2019, 3, 15), "%B %Y"),
        ("03/05/19", date(2019, 3, 5), "%m/%d/%y"),
    ],
)
def test_dates_are_moved_and_keep_their_form(written: str, day: date, form: str) -> None:
    assert clean(f"Exam of {written}: clear.").text == f"Exam of {moved(day).strftime(form)}: clear."


@pytest.mark.parametrize(
    ("text", "day", "form"),
    [
        ("Exam of 25/12/2022. Compared with 02/10/2022.", date(2022, 10, 2), "%d/%m/%Y"),
        ("Exam of 12/25/2022. Compared with 02/10/2022.", date(2022, 2, 10), "%m/%d/%Y"),
        ("Born 04/03/1952. Compared with 02/10/2022.", date(2022, 10, 2), "%d/%m/%Y"),
        ("Born 03/04/1952. Compared with 02/10/2022.", date(2022, 2, 10), "%m/%d/%Y"),
        ("Compared with 02/10/2022.", date(2022, 2, 10), "%m/%d/%Y"),
    ],
)
def test_one_text_keeps_one_order_of_day_and_month(text: str, day: date, form: str) -> None:
    cleaned = clean(text, birth_date="19520304").text
    assert moved(day).strftime(form) in cleaned
    assert "1952" not in cleaned


def test_long_dates_keep_their_words() -> None:
    day = moved(date(2019, 3, 5))
    assert clean("On March 5, 2019 and").text == f"On {day.strftime('%B')} {day.day}, {day.year} and"
    assert clean("on 5 March 2019 and").text == f"on {day.day} {day.strftime('%B')} {day.year} and"
    assert clean("MARCH 5, 2019").text == f"{day.strftime('%B').upper()} {day.day}, {day.year}"
    assert clean("on the 5th of March 2019").text.endswith(f"of {day.strftime('%B')} {day.year}")


def test_german_dates_and_words() -> None:
    found = clean(
        "Befund vom 5. März 2019: kein Nachweis einer Embolie, die Lunge ist frei. Voruntersuchung vom 05.03.2018."
    )
    assert found.language == "de"
    assert moved(date(2018, 3, 5)).strftime("%d.%m.%Y") in found.text and "2019:" not in found.text


def test_intervals_in_text_equal_those_of_the_headers() -> None:
    found = clean("CT 2019-03-05 compared to 2018-03-05.").text
    first, second = (date.fromisoformat(w.strip(".")) for w in found.split() if w[:2] == "20")
    assert (first - second).days == 365
    assert (first - date(2019, 3, 5)).days == OFFSET


def test_impossible_dates_go() -> None:
    assert clean("scan 2019-02-30 read").text == "scan [DATE] read"


def test_lone_years_move_with_context_only() -> None:
    assert (
        clean("compared to the study from 2016.").text
        == f"compared to the study from {2016 + round(OFFSET / 365.25)}."
    )
    assert clean("Fleischner 2017 guidelines").text == "Fleischner 2017 guidelines"


def test_other_profiles_treat_dates_their_way() -> None:
    assert clean("exam 2019-03-05 read", "basic").text == "exam [DATE] read"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("93-year-old man", "over 89-year-old man"),
        ("aged 101 with pain", "aged over 89 with pain"),
        ("a 89-year-old", "a 89-year-old"),
        ("95 yo female", "over 89 yo female"),
        (
            "94-jähriger Patient mit Husten und ohne Fieber",
            "über 89-jähriger Patient mit Husten und ohne Fieber",
        ),
        ("window 95, level 120", "window 95, level 120"),
    ],
)
def test_ages_over_89_become_words(text: str, expected: str) -> None:
    assert clean(text).text == expected


def test_what_is_still_known_after_cleaning_is_refused() -> None:
    # the birth date in a form that no pattern knows
    with pytest.raises(Refused, match="identity_suspected"):
        clean("born in the year 1952, of March, the 14 -- 1952 Mar 14th; 14-03-19 52 1952.MARCH.14")


def test_actions_and_counts_hold_no_words() -> None:
    found = clean("Dr. Greyson saw John Smithson on 2019-03-05, age 93 years.")
    assert found.n_redactions == 4
    assert set(found.actions) == {("NAME", "X"), ("DATE", "C"), ("AGE", "C")}


def test_nothing_known_leaves_patterns_at_work() -> None:
    empty = identity(names=(), patient_id="", accession="", other=(), birth_date="", study_uid="")
    found = clean_text("Dr. Greyson: clear lungs.", empty, tagged("research"), pseudonyms(), PATIENT)
    assert found.text == "Dr. [NAME]: clear lungs."


def test_cleaning_twice_changes_dates_only() -> None:
    text = "Patient: SMITHSON, JOHN. Dr. Greyson, MRN 48213377. No nodule."
    once = clean(text).text
    assert clean(once).text == once


def test_spellings_of_a_day_are_letters_and_digits() -> None:
    assert all(s.isalnum() for s in dates.spellings(date(1952, 3, 14)))
    assert {"19520314", "14031952", "march141952", "14marz1952"} <= set(dates.spellings(date(1952, 3, 14)))


def test_a_megabyte_of_text_does_not_hang() -> None:
    text = "The lungs are clear 12.3 and Dr. Jones said 03/05/2019 hello. " * 3000
    assert clean(text).n_redactions >= 6000
    with pytest.raises(Refused, match="too_large"):
        clean("a" * 1_000_001)


def test_the_general_word_lists_are_read_as_their_own_package_reads_them() -> None:
    spellchecker = pytest.importorskip("spellchecker")
    counts = spellchecker.SpellChecker(language="fr", distance=1).word_frequency.dictionary
    assert lexicon_module._common("fr") == {fold(word) for word in counts if word.isalpha()}
    english = spellchecker.SpellChecker(language="en", distance=1).word_frequency.dictionary
    least = lexicon_module._COMMON_MIN["en"]
    assert lexicon_module._common("en") == {fold(w) for w, n in english.items() if n > least and w.isalpha()}
