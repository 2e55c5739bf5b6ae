"""Numbers, mail and web addresses of persons: by their own form, or by the label before them.

What belongs here: record and order numbers, telephones, insurance and identity numbers. What does not: dates, and the
forms themselves (rules/text/any.toml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from curation.deid.lexicon import Lexicon, patterns
from curation.deid.spans import CONTEXT, SHAPED, Span, Token

_FILLER = r"[ \t]{0,3}(?:(?i:no|nr|num|number|nummer|id|is|was|lautet|es|est|at|unter|al|au|the|ending(?:[ ]in)?|ends[ ]in|endend[ ]auf|endet[ ]auf|(?:acabad|terminad)[oa][ ]en|internal|interne?)\b[.:]?|[:=#.°º)]|n[°º]|[-–—](?=[ \t\d]))?[ \t]{0,20}"
_LEAD = re.compile(rf"(?:{_FILLER}){{1,5}}\n?[ \t]{{0,8}}")
_UNIT = r"(?![.,]\d|[ ]?(?:mm|cm|ml|hu|mg|mgy|%|ms|kv|mas|jahre|years|años|ans|min|h\b))"
_PLATE = (
    r"(?-i:[A-Z]{2}[ -]\d{3}[ -][A-Z]{2}|[A-Z]{2}\d{2}[ ]?[A-Z]{3}|\d{4}[ -]?[BCDFGHJ-NPR-TV-Z]{3})(?!\w)"
)
_ID = re.compile(
    rf"{_PLATE}|(?:(?-i:[A-ZÄÖÜ]{{1,5}})[ ]|(?-i:[A-ZÄÖÜ]{{1,3}}-[A-Z]{{1,2}})[ ]|(?-i:\d[ ][A-Z]{{1,3}}[ ]))?(?=[^\s]{{0,40}}\d)[A-Za-z0-9](?:[A-Za-z0-9]|[-./_](?=[A-Za-z0-9])){{0,40}}(?:[ ](?=[0-9A-Z-]{{1,12}}\b)(?=[A-Z-]{{0,4}}\d)[A-Z0-9-]{{1,12}}){{0,7}}(?:[ ][A-Z](?![\w]))?(?:[ ]?/[ ]?\d{{1,4}})?{_UNIT}",
    re.IGNORECASE,
)
_PHONE = re.compile(
    rf"\+?\(?\d(?:[\d()]|[ ./\t-]{{1,3}}(?=[\d(])){{2,24}}(?:[ ]?(?:x|ext\.?|dw|-)[ ]?\d{{1,5}})?{_UNIT}",
    re.IGNORECASE,
)
_DATE_LIKE = re.compile(
    r"\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d\d)|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}|(?:19|20)\d\d"
)
_TIME = re.compile(r"[T@/ .-]{0,2}(?:[01]\d|2[0-3])(?:[0-5]\d){0,2}|")
_DIGITS_MIN = 3


def find_numbers(
    text: str, tokens: Sequence[Token], cues: Sequence[tuple[int, int, str]], lexicon: Lexicon,
    dates: Mapping[int, int],
) -> Iterator[Span]:  # fmt: skip
    """Spans of everything that is a number, mail or network address of somebody or something.

    `dates` are where dates begin and end: what follows one in the same run of digits is a time.
    """
    for category, needs, pattern in patterns():
        if needs and needs not in text:
            continue
        for match in pattern.finditer(text):
            end = dates.get(match.start("x"))
            if end is not None and _TIME.fullmatch(text, end, match.end("x")):
                continue
            yield Span(*match.span("x"), category, SHAPED if category in ("EMAIL", "URL", "IP") else CONTEXT)
    for _, after, kind in cues:
        if kind not in ("id", "phone"):
            continue
        lead = _LEAD.match(text, tokens[after - 1].end)
        start = lead.end() if lead else tokens[after - 1].end
        value = (_ID if kind == "id" else _PHONE).match(text, start)
        if value is None or start == tokens[after - 1].end:
            continue
        found = value.group()
        n_digits = sum(c.isdigit() for c in found)
        is_number = n_digits >= _DIGITS_MIN or (
            kind == "id" and n_digits > 1 and len(found) > 2 * _DIGITS_MIN
        )
        if is_number and not _DATE_LIKE.fullmatch(found):
            yield Span(value.start(), value.end(), "ID" if kind == "id" else "PHONE", CONTEXT)
