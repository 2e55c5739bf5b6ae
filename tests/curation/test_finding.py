"""Findings: what a sentence asserts, which sections count, what becomes one row. Sentences and answers: sentences.csv."""

from __future__ import annotations

import csv
from pathlib import Path
from uuid import UUID

import pytest

from curation import records
from curation.finding import (
    find_findings,
    find_sections,
    finding_bits,
    finding_name,
    findings_of,
    findings_of_labels,
    lexicon,
)
from curation.phrase import Phrases, fold
from curation.records import Refused
from curation.section import find_sentences, languages
from tests.curation.lake_rows import an_id, row

SENTENCES = list(
    csv.DictReader((Path(__file__).parent / "sentences.csv").read_text(encoding="utf-8").splitlines())
)
STUDY = UUID(int=7)
STAMP = {"site": "north", "delivery": "d", "code_version": "1"}


def said(text: str, language: str = "en") -> dict[str, str]:
    return {finding: assertion for finding, assertion, _ in find_findings(text, language=language)}


@pytest.mark.parametrize(
    ("text", "assertion"),
    [
        ("No nodule.", "absent"),
        ("Kein Erguss.", "absent"),
        ("Nodule.", "present"),
        ("Sin derrame.", "absent"),
    ],
)
def test_a_text_too_short_to_show_its_language_is_read_in_all(text: str, assertion: str) -> None:
    assert set(said(text, "und").values()) == {assertion}


@pytest.mark.parametrize("case", SENTENCES, ids=lambda c: f"{c['language']}-{c['finding']}-{c['sentence']}")
def test_a_sentence_asserts_what_its_reader_means(case: dict[str, str]) -> None:
    assert said(case["sentence"], case["language"]).get(case["finding"], "nothing") == case["assertion"]


def test_question_history_and_comparison_assert_nothing() -> None:
    text = (
        "CT CHEST, pneumonia?\nINDICATION: Known mass.\nHISTORY: Emphysema.\nCOMPARISON: Nodule on the prior film.\n"
        "TECHNIQUE: For pulmonary embolism.\nFINDINGS: Cardiomegaly.\nRECOMMENDATION: Follow the nodule.\n"
    )
    assert said(text) == {"cardiomegaly": "present"}


def test_a_report_without_headings_is_read_as_a_whole() -> None:
    assert said("Chest film. Small left effusion. No pneumothorax.") == {
        "pleural_effusion": "present",
        "pneumothorax": "absent",
    }


def test_the_impression_outranks_the_findings_and_an_addendum_too() -> None:
    text = "FINDINGS:\nThere is a nodule at the right base.\n\nIMPRESSION:\nPossible nodule.\n"
    assert said(text) == {"nodule": "uncertain"}
    assert said("FINDINGS: A nodule.\nIMPRESSION: Normal chest.") == {"nodule": "present"}
    assert said("FINDINGS: No nodule.\nADDENDUM: On review there is a nodule.") == {"nodule": "present"}


def test_within_a_section_present_outranks_uncertain_and_uncertain_absent() -> None:
    assert said("No effusion on the left. Possible effusion on the right.") == {
        "pleural_effusion": "uncertain"
    }
    assert said("No effusion on the left. Large effusion on the right. Possible effusion.") == {
        "pleural_effusion": "present"
    }


def test_evidence_is_the_sentence_as_it_stands_in_the_text() -> None:
    text = "FINDINGS: The heart is normal. A small nodule lies\nin the left apex. No effusion.\n"
    evidence = {f: e for f, _, e in find_findings(text)}
    assert evidence["nodule"].startswith("A small nodule lies")
    assert all(e in text for e in evidence.values())


def test_in_a_report_on_the_breast_no_mass_means_no_mass_of_the_breast() -> None:
    assert said("BREAST ULTRASOUND\n\nFINDINGS: No mass.") == {"breast_mass": "absent"}
    assert said("CT CHEST\n\nFINDINGS: No mass.") == {"mass": "absent"}
    assert said("MRT SCHÄDEL\n\nBEFUND: Keine fokale Läsion.", "de") == {"brain_lesion": "absent"}


def test_a_language_without_rules_gives_nothing() -> None:
    assert find_findings("Nessun pneumothorax.", language="it") == []


def test_sections_have_names_and_offsets_into_the_text() -> None:
    text = "Title\n\nINDICATION: cough\nFindings:\nClear. IMPRESSION: Normal.\nBEURTEILUNG\nKein Rundherd.\n"
    found = {(s["name"], text[s["start"] : s["end"]]) for s in find_sections(text)}
    assert found == {
        ("preamble", "Title"),
        ("indication", "cough"),
        ("findings", "Clear."),
        ("impression", "Normal."),
        ("impression", "Kein Rundherd."),
    }
    assert find_sections("") == []
    assert find_sections("\n \n") == []


def test_a_heading_word_inside_a_sentence_opens_no_section() -> None:
    text = "The findings are discussed: see the impression of the study."
    assert [s["name"] for s in find_sections(text)] == ["preamble"]


def test_sentences_survive_abbreviations_decimals_wrapped_lines_and_bullets() -> None:
    text = (
        "V.a. Pneumonie re. basal. Rundherd 1.5 cm groß.\n- Kein Erguss\n- Kein Pneumothorax\n"
        "Diese lange Zeile ist umbrochen, weil sie zu lang war, und\ngeht hier weiter."
    )
    found = [text[a:b] for a, b in find_sentences(text, 0, len(text), "de")]
    assert found == [
        "V.a. Pneumonie re. basal.",
        "Rundherd 1.5 cm groß.",
        "- Kein Erguss",
        "- Kein Pneumothorax",
        "Diese lange Zeile ist umbrochen, weil sie zu lang war, und\ngeht hier weiter.",
    ]


def test_folding_keeps_every_position() -> None:
    text = "Ärzte prüfen “Fußnoten” – œdème, İstanbul"
    assert len(fold(text)) == len(text)
    assert fold(text).startswith("arzte prufen")


def test_phrases_find_what_their_pattern_says_longest_first() -> None:
    phrases = Phrases(["no", "no change", "heart ... enlarged", "lungenödem*"], "de")
    assert [t[2] for t in phrases.spans("no change", 0, 9)] == ["no change"]
    for text in ("lungenoedem", "lungenodeme", "heart is mildly enlarged"):
        assert len(phrases.spans(text, 0, len(text))) == 1
    assert phrases.spans("heart normal. not enlarged", 0, 26) == []


def test_every_bit_is_given_once_and_stays_in_a_signed_mask() -> None:
    bits = finding_bits()
    assert len(set(bits.values())) == len(bits) == len(lexicon())
    assert all(0 <= bit <= 62 for bit in bits.values())
    # bits are stored in lakes: these may never change
    first = [
        "nodule",
        "mass",
        "emphysema",
        "fibrosis",
        "pleural_effusion",
        "pneumothorax",
        "consolidation",
        "pneumonia",
    ]
    assert [bits[f] for f in first] == list(range(8))


@pytest.mark.parametrize("name", sorted(lexicon()))
def test_every_word_of_the_lexicon_is_found_alone_in_its_language(name: str) -> None:
    term = lexicon()[name]
    assert set(term.phrases) <= set(languages())
    assert "en" in term.phrases
    for language, facts in term.phrases.items():
        for key in ("words", "absent_words"):
            wanted = "present" if key == "words" else "absent"
            for phrase in facts.get(key, ()):
                plain = phrase.replace("*", "e").replace(" ... ", " ").capitalize() + "."
                # a phrase that begins with "no" is its own negation
                assert said(plain, language).get(name) == wanted, (language, phrase)


def test_a_report_becomes_rows_with_its_stamp() -> None:
    text = "FINDINGS: A nodule. No effusion."
    report = row(
        records.Report,
        study_id=STUDY,
        report_id=an_id("r"),
        language="en",
        text=text,
        sections=find_sections(text),
        **STAMP,
    )
    rows = findings_of(report)
    assert [(r.finding, r.assertion, r.source, r.evidence) for r in rows] == [
        ("nodule", "present", "report", "A nodule."),
        ("pleural_effusion", "absent", "report", "No effusion."),
    ]
    assert {(r.study_id, r.site, r.delivery) for r in rows} == {(STUDY, "north", "d")}


def test_labels_become_rows_and_empty_ones_say_nothing() -> None:
    labels = {
        "nodule": "1",
        "label_effusion": 0.0,
        "mass": -1,
        "rib_notching": "1.0",
        "x": "",
        "y": None,
        "z": float("nan"),
    }
    rows = findings_of_labels(STUDY, labels, **STAMP)
    assert [(r.finding, r.assertion) for r in rows] == [
        ("mass", "uncertain"),
        ("nodule", "present"),
        ("pleural_effusion", "absent"),
        ("rib_notching", "present"),
    ]
    assert {(r.source, r.evidence) for r in rows} == {("label", "")}


@pytest.mark.parametrize("value", ["yes", "2", 0.5])
def test_a_label_of_another_kind_is_refused_without_its_value(value: str | float) -> None:
    with pytest.raises(Refused) as caught:
        findings_of_labels(STUDY, {"nodule": value}, **STAMP)
    assert str(value) not in str(caught.value)


def test_other_names_of_a_finding_lead_to_the_lexicons() -> None:
    assert finding_name("label_Pulmonary Nodule") == "nodule"
    assert finding_name("Effusion") == "pleural_effusion"
    assert finding_name("something else") == "something_else"
