"""Report text to findings, judged beside a baseline that knows no medicine: TF-IDF with logistic regression.

What belongs here: the comparison, both arms on the same reports. What does not: reading a report (curation.finding). Any
extractor must beat this baseline before it is called better. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.finding import find_findings, lexicon
from curation.records import ConfigurationError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Score:
    """One finding, one extractor, over the reports of known truth.

    precision: NaN where the extractor never says present. hits, hallucinations and omissions count reports.
    """

    finding: str
    extractor: str
    n: int
    hits: int
    hallucinations: int
    omissions: int
    precision: float
    recall: float
    f1: float


def compare(
    texts: Sequence[str], findings: Sequence[str], truth: Floats, patient: Ints, language: str = "en"
) -> list[Score]:
    """Scores of `lexicon` and `tfidf` for each finding. truth [N, L]: 1 present, 0 absent, NaN unknown; patient [N].

    The baseline judges each patient by a fit that saw none of that patient's reports (N_FOLDS folds). What a report calls
    uncertain counts as not present. Raises ConfigurationError where a finding has no words or cannot be judged.
    """
    _, number = np.unique(patient, return_inverse=True)
    fold = number % N_FOLDS
    _refuse_unjudged(findings, truth, fold)
    found = []
    for extractor, said in (
        ("lexicon", read_lexicon(texts, findings, language)),
        ("tfidf", read_tfidf(texts, truth, fold)),
    ):
        found += [_score(name, extractor, truth[:, c], said[:, c]) for c, name in enumerate(findings)]
    return found


def read_lexicon(texts: Sequence[str], findings: Sequence[str], language: str = "en") -> Bools:
    """[N, L] whether each report asserts each finding present, negation heeded."""
    present = [
        {name for name, assertion, _ in find_findings(text, None, language) if assertion == "present"}
        for text in texts
    ]
    return np.array([[name in said for name in findings] for said in present], dtype=np.bool_)


def read_tfidf(texts: Sequence[str], truth: Floats, fold: Ints) -> Bools:
    """[N, L] out-of-fold answers of balanced logistic regression on words and pairs of words, at 0.5."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    said = np.zeros(truth.shape, dtype=np.bool_)
    for k in range(N_FOLDS):
        seen, unseen = np.flatnonzero(fold != k).tolist(), np.flatnonzero(fold == k).tolist()
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        x = words.fit_transform([texts[i] for i in seen])  # words of the unseen must not be counted
        asked = words.transform([texts[i] for i in unseen])
        for c in range(truth.shape[1]):
            target = truth[seen, c]
            known = np.isfinite(target)
            model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
            said[unseen, c] = model.fit(x[known], target[known]).predict(asked) == 1
    return said


def _refuse_unjudged(findings: Sequence[str], truth: Floats, fold: Ints) -> None:
    for c, name in enumerate(findings):
        if name not in lexicon():
            raise ConfigurationError(
                f"{name!r} is no finding of the lexicon; it has: {', '.join(lexicon())}."
            )
        for k in range(N_FOLDS):
            if set(np.unique(truth[(fold != k) & np.isfinite(truth[:, c]), c]).tolist()) != {0.0, 1.0}:
                raise ConfigurationError(
                    f"{name!r} needs known reports with and without it outside each of {N_FOLDS} folds of patients. "
                    "Give more reports, or leave the finding out."
                )
        if not (fold == N_FOLDS - 1).any():
            raise ConfigurationError(f"The comparison needs reports of at least {N_FOLDS} patients.")


def _score(finding: str, extractor: str, truth: Floats, said: Bools) -> Score:
    known = np.isfinite(truth)
    is_there, says = truth[known] == 1, said[known]
    hits, wrong, missed = (
        int((is_there & says).sum()),
        int((~is_there & says).sum()),
        int((is_there & ~says).sum()),
    )
    precision = hits / (hits + wrong) if hits + wrong else float("nan")
    return Score(
        finding, extractor, int(known.sum()), hits, wrong, missed, precision,
        hits / (hits + missed), 2 * hits / (2 * hits + wrong + missed),
    )  # fmt: skip
