"""Report extraction beside TF-IDF: negation decides, patients stay apart, what cannot be judged is refused."""

import numpy as np
import pytest

from curation.records import ConfigurationError
from training.extraction import compare, read_lexicon, read_tfidf

FINDING = "pleural_effusion"
TEXTS = [
    "FINDINGS: There is a moderate left pleural effusion. IMPRESSION: Pleural effusion.",
    "FINDINGS: The lungs are clear. IMPRESSION: No pleural effusion.",
]


def test_both_extractors_find_what_is_plain_and_are_counted_alike() -> None:
    truth = np.array([[1.0], [0.0]] * 20)
    scores = compare(TEXTS * 20, (FINDING,), truth, np.arange(40) // 2)
    assert [(s.extractor, s.n, s.hits, s.hallucinations, s.omissions, s.f1) for s in scores] == [
        ("lexicon", 40, 20, 0, 0, 1.0),
        ("tfidf", 40, 20, 0, 0, 1.0),
    ]


def test_a_denied_finding_called_present_is_an_omission_and_its_reverse_a_hallucination() -> None:
    swapped = np.array([[0.0], [1.0]] * 20)
    lexicon = compare(TEXTS * 20, (FINDING,), swapped, np.arange(40) // 2)[0]
    assert (lexicon.hits, lexicon.hallucinations, lexicon.omissions, lexicon.f1) == (0, 20, 20, 0.0)
    assert read_lexicon(TEXTS, (FINDING,)).tolist() == [[True], [False]]


def test_the_baseline_never_saw_the_patient_it_judges() -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 4)
    truth = rng.integers(2, size=60)[patient].astype(np.float64)[:, None]
    texts = [f"note wordof{p} again wordof{p}" for p in patient]  # a patient's own word tells, and only it
    apart = (read_tfidf(texts, truth, patient % 5)[:, 0] == truth[:, 0]).mean()
    mixed = (read_tfidf(texts, truth, np.arange(240) % 5)[:, 0] == truth[:, 0]).mean()
    assert mixed > 0.95
    assert apart < 0.7


def test_unknown_truth_is_not_judged() -> None:
    truth = np.array([[1.0], [0.0]] * 20)
    truth[:4] = np.nan
    assert {s.n for s in compare(TEXTS * 20, (FINDING,), truth, np.arange(40) // 2)} == {36}


@pytest.mark.parametrize(
    ("finding", "truth", "message"),
    [
        ("bad_mood", [1.0, 0.0], "no finding of the lexicon"),
        (FINDING, [1.0, 1.0], "with and without it"),
    ],
)
def test_what_cannot_be_judged_is_refused(finding: str, truth: list[float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        compare(TEXTS * 20, (finding,), np.array(truth * 20)[:, None], np.arange(40) // 2)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 5 patients"):
        compare(TEXTS * 20, (FINDING,), np.array([[1.0], [0.0]] * 20), np.arange(40) % 4)
