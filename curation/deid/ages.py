"""Ages over 89 in running text, replaced by words that say no more.

What belongs here: numbers and words that tell such an age. What does not: dates of birth (dates), the words of each
language themselves (rules/text/, section ages).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from curation.deid.dates import Found
from curation.deid.lexicon import iter_books

_NUMBER = r"0?(?:9\d|1[0-2]\d)"
_SEX = r"(?:[mfwhv]|male|female|man|woman|männlich|weiblich|mann|frau|hombre|mujer|varón|homme|femme|masculin|féminin)"
_ALONE = r"(?![\w/]|[.,:]\d|[ ]?(?:mm|cm|ml|mg|%|°|hu|bpm|cc|kg|gy|kv)|-\d)"
_PERSONS = (
    r"pat(?:ient(?:in|e|en)?)?\.?|paciente|frau|herrn?|mrs?\.?|ms\.?|mme|m\.|sra?\.?|man|woman|lady|gentleman|female|male|"
    r"mujer|varón|hombre|femme|homme"
)
_BEFORE = r"(?<![\w.,/-])"


@cache
def _patterns(code: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile(form, re.IGNORECASE), book["ages"]["oldest"])
        for book in iter_books(code)
        for form in (*_forms_of_digits(book["ages"]), *_forms_of_words(book["ages"]))
    )


def _forms_of_digits(ages: Mapping[str, Any]) -> Sequence[str]:
    return (
        rf"{_BEFORE}(?P<x>{_NUMBER})(?=(?:[ -]{{0,3}}|[ ]?\+[ ]?)(?:{ages['after']})(?![a-zà-ÿ]))",
        rf"(?<!\w)(?:{ages['before']})(?:[ ]?(?:\([a-z/]{{1,8}}\)|is|was|at|of|von|de)|[ ]?/[ ]?(?:sex|geschlecht|sexo|sexe))?[ :=.]{{1,8}}(?P<x>{_NUMBER})(?=[yaj]?(?![a-z\d]|[.,]\d|[ ]?(?:mm|cm|ml|mg|%)))",
        # a sex beside it: 93 F, 91F, 95/F, M/96, female, 92, m, 91
        rf"{_BEFORE}(?P<x>{_NUMBER})(?=[ ]?[/-]?[ ]?(?-i:[MFWHV]|yo[mf]?|y[ /.]o|ans|[ayAYJ](?:[ ]?[/,]?[ ]?[mfwMFWHV])?)(?![\w.°]))",
        rf"(?<![\w-]){_SEX}[ ]?[,/][ ]?(?P<x>{_NUMBER}){_ALONE}(?![ ]?(?:days|weeks|tage|wochen|días|jours))",
        # a person and the age in brackets: Patientin (92), Mr Hart (95)
        rf"(?<!\w)(?:{_PERSONS})(?:[ ](?-i:[A-Z][\w'’-]+)){{0,2}}[ ]?\((?P<x>{_NUMBER})(?=[,) ])",
        # the birthday or decade that is reached
        rf"{_BEFORE}(?P<x>{_NUMBER})(?=(?:st|nd|rd|th|\.|º|°|e|ème|er)?[ -]?(?:{ages['counted']})(?!\w))",
        rf"{_BEFORE}(?P<x>(?:10|11)(?:th|\.|ª|º|e|ème))(?=[ ](?:{ages['decade']})(?!\w))",
        rf"(?<!\w)(?:{ages['nineties_before']})[ -](?P<x>9\d(?:['’]?s|er|[ ]y[ ](?:tantos|pico))?)(?!\w|[.,/%]\d|[ ]?(?:mm|cm|ml|mg|%|°))",
    )


def _forms_of_words(ages: Mapping[str, Any]) -> Sequence[str]:
    words = ages["in_words"]
    return (
        rf"(?<!\w)(?P<x>{words})(?=[ -]{{0,2}}(?:{ages['in_words_after']})(?!\w))",
        rf"(?<!\w)(?:{ages['before']}|{ages['nineties_before']})[ :=-]{{1,3}}(?P<x>{words})(?!\w)",
        rf"(?<!\w)(?P<x>{ages['people']})(?!\w)",
    )


def find_old_ages(text: str, code: str) -> Iterator[Found]:
    """Every age over 89, replaced by words that say no more: 93-year-old becomes over 89-year-old."""
    for pattern, oldest in _patterns(code):
        for match in pattern.finditer(text):
            beside = text[match.end("x") : match.end("x") + 1]
            # 92yo, 97jähriger: the number was one word with what it counts
            gap = (
                "" if not beside.isalpha() else "-" if text[match.end("x") :].lower().startswith("j") else " "
            )
            yield Found(match.start("x"), match.end("x"), oldest + gap, None)
