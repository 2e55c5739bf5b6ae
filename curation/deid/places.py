"""Institutions, addresses and places of a report.

What belongs here: the proper words around hospital, clinic, street; what follows `lives in`. What does not: names of
persons (naming), post codes (rules/text/any.toml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from curation.deid.calendar_words import calendar
from curation.deid.lexicon import Kind, Lexicon, iter_books, words_of
from curation.deid.spans import CONTEXT, GUESSED, Span, Token

_SPACE = re.compile(r"[ \t]{1,3}|-|'|’|[ \t]?&[ \t]?|[ \t]?\"|[ \t]{0,2}\n[ \t]{0,8}")
_DOT = re.compile(r"\.[ \t-]?")
_SHORT_LETTERS = 4  # St., Dr., Prof.: a dot after more letters ends a sentence
_LABEL_GAP = re.compile(r"[ \t]{0,3}[:=#][ \t]{0,40}\n?[ \t]{0,8}")
MAX_WORDS = 7


def find_places(
    text: str, tokens: Sequence[Token], cues: Sequence[tuple[int, int, str]], lexicon: Lexicon
) -> Iterator[Span]:
    """Spans of institutions, addresses and places."""
    for first, after, kind in cues:
        if kind == "institution_head":
            yield from _before_head(tokens, lexicon, first, after)
        elif kind == "institution_lead":
            yield from _after_lead(tokens, lexicon, first, after)
        elif kind in ("institution_label", "place_label"):
            yield from _after_label(text, tokens, lexicon, after, kind)
        elif kind in ("institution_near", "place_near"):
            yield from _after_phrase(tokens, lexicon, after, kind)
    yield from _streets(text, lexicon.code)
    yield from _compounds(tokens, lexicon)


def _is_proper(token: Token, lexicon: Lexicon) -> bool:
    """Whether a word may be the proper part of a name of an institution or place."""
    return token.text[0].isupper() and token.low not in lexicon.generic and token.low not in lexicon.not_names


def _follows(tokens: Sequence[Token], position: int) -> bool:
    """Whether a word goes on with what the word before it began."""
    gap = tokens[position].gap
    is_short = position > 0 and len(tokens[position - 1].low) <= _SHORT_LETTERS
    return _SPACE.fullmatch(gap) is not None or (is_short and _DOT.fullmatch(gap) is not None)


def _before_head(tokens: Sequence[Token], lexicon: Lexicon, first: int, after: int) -> Iterator[Span]:
    """`Mercy Falls Hospital`: back over capitalised words; and on over `of Springfield`."""
    if not tokens[first].text[0].isupper():
        return
    start = first
    has_proper = False
    while (
        start > 0 and first - start < MAX_WORDS and _follows(tokens, start) and "\n" not in tokens[start].gap
    ):
        word = tokens[start - 1]
        if word.text[0].isupper() and word.low not in lexicon.not_names | lexicon.verbs:
            has_proper = has_proper or _is_proper(word, lexicon)
        elif not (word.low in lexicon.joiners and start > 1 and tokens[start - 2].text[0].isupper()):
            break
        if word.low in lexicon.titles and word.low not in ("st", "dr"):
            break
        start -= 1
    while start < first and (tokens[start].low in lexicon.generic or tokens[start].low in lexicon.joiners):
        start += 1
    end = _extend(tokens, lexicon, after)
    if (has_proper and start < first) or end > after:
        yield Span(tokens[start].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)


def _extend(tokens: Sequence[Token], lexicon: Lexicon, after: int) -> int:
    """The token after the proper words that follow: `of the Good Shepherd`, `Sankt Georg`; `after` where there are none."""
    end = position = after
    while position < len(tokens) and position - after < MAX_WORDS:
        word = tokens[position]
        if not _follows(tokens, position):
            break
        if "\n" in word.gap and (position == after or not word.text[0].isupper()):
            break
        if word.text[0].isupper() or (word.text.isdigit() and end > after):
            if (word.low in lexicon.not_names or lexicon.kind(word.low) <= Kind.COMMON) and "\n" in word.gap:
                break
            if _is_proper(word, lexicon):
                end = position + 1
        elif word.low not in lexicon.joiners and word.low not in lexicon.particles:
            break
        position += 1
    # a clinical word alone after the noun, as in `Klinik Radiologie` or `Hospital Course`, is no name
    propers = [t for t in tokens[after:end] if _is_proper(t, lexicon)]
    if propers and all(lexicon.kind(t.low) is Kind.ORDINARY for t in propers):
        return after
    return end


def _after_lead(tokens: Sequence[Token], lexicon: Lexicon, first: int, after: int) -> Iterator[Span]:
    """`Hospital de la Paz`, `Universitätsklinikum Musterstadt`: on over the proper words; back over `St. Marien`."""
    if not tokens[first].text[0].isupper() and lexicon.code not in ("es", "fr"):
        return
    end = _extend(tokens, lexicon, after)
    if end > after and any(lexicon.kind(t.low) > Kind.COMMON or len(t.low) > 3 for t in tokens[after:end]):
        yield Span(tokens[first].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)


_VALUE = re.compile(r"[^\n;|]{2,80}")
_STOP = re.compile(r"\.(?:\s|$)|[ \t]{3,}|\t|,?[ ](?=[A-ZÄÖÜÉ][\w .]{1,24}:)")


def _after_label(
    text: str, tokens: Sequence[Token], lexicon: Lexicon, after: int, kind: str
) -> Iterator[Span]:
    """What follows `Hospital:` or `Address:` up to the end of its line or the next label."""
    if after >= len(tokens) or not _LABEL_GAP.fullmatch(tokens[after].gap):
        return
    match = _VALUE.match(text, tokens[after].start)
    if match is None:
        return
    stop = _STOP.search(text, match.start(), match.end())
    while (
        stop is not None
        and stop.group().startswith(".")
        and text[max(stop.start() - 3, 0) : stop.start()].strip().lower() in _SHORT
    ):
        stop = _STOP.search(text, stop.end(), match.end())
    end = stop.start() if stop else match.end()
    is_place = kind == "place_label"
    inside = [t for t in tokens[after : after + 16] if t.end <= end]
    proper = [
        t
        for t in inside
        if t.text[0].isupper()
        and (is_place or lexicon.kind(t.low) > Kind.COMMON)
        and t.low not in lexicon.generic
    ]
    has_number = any(t.text.isdigit() for t in inside)
    if (
        inside
        and (proper or (is_place and has_number))
        and not (inside[0].low in lexicon.kept_places and len(inside) == 1)
    ):
        yield Span(inside[0].start, inside[-1].end, "ADDRESS" if is_place else "INSTITUTION", CONTEXT)


_SHORT = frozenset(
    ["st", "str", "av", "avd", "avda", "pl", "apt", "ste", "dr", "no", "rd", "ave", "bd", "bvd", "nº"]
)


def _after_phrase(tokens: Sequence[Token], lexicon: Lexicon, after: int, kind: str) -> Iterator[Span]:
    """What follows `lives in` or `transferred from`: a run of proper words that are no vocabulary."""
    start = after
    while (
        start < len(tokens)
        and start - after < 3
        and not tokens[start].text[0].isupper()
        and tokens[start].low in lexicon.joiners | lexicon.generic | lexicon.particles
    ):
        start += 1
    end = start
    while (
        end < len(tokens)
        and end - start < 5
        and (
            tokens[end].gap in (" ", "-", "  ") or (end > start and tokens[end].gap in (", ", ". ", "'", "’"))
        )
    ):
        word = tokens[end]
        is_unusual = lexicon.kind(word.low) > Kind.COMMON and word.low not in lexicon.generic
        if (
            word.text[0].isupper()
            and word.text.isalpha()
            and word.low not in lexicon.kept_places
            and word.low not in lexicon.not_names
            and len(word.text) > 1
            and (is_unusual or end > start)
        ) or (
            end > start
            and word.low in lexicon.joiners
            and end + 1 < len(tokens)
            and tokens[end + 1].text[0].isupper()
        ):
            end += 1
        else:
            break
    words = tokens[start:end]
    if (
        words
        and not (words[0].text.isupper() and len(words[0].text) <= 4)
        and words[0].low not in lexicon.eponym_nouns
    ):
        yield Span(words[0].start, words[-1].end, "PLACE" if kind == "place_near" else "INSTITUTION", GUESSED)


def _compounds(tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[Span]:
    """`Marienhospital`, `St.-Josef-Krankenhaus`: German words that end in an institution and are no vocabulary."""
    if not lexicon.institution_endings:
        return
    for position, token in enumerate(tokens):
        if not token.text[0].isupper() or not token.low.endswith(lexicon.institution_endings):
            continue
        stem = next(token.low[: -len(h)] for h in lexicon.institution_endings if token.low.endswith(h)).strip(
            "s"
        )
        start = position
        while start > 0 and tokens[start].gap in ("-", ".-", ". ", ".") and position - start < 5:
            start -= 1
        has_stem = (
            len(stem) > 2
            and stem not in lexicon.clinical
            and stem not in lexicon.generic
            and stem not in lexicon.departments
        )
        if has_stem or any(
            _is_proper(t, lexicon) and t.low not in lexicon.clinical for t in tokens[start:position]
        ):
            end = _extend(tokens, lexicon, position + 1)
            yield Span(tokens[start].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)


_CAP = r"(?:(?:St|Ste|Dr|Dra|Av|Gen|Gral|Sta|Sto|Mt|Ft|Prof|[A-Z])\.|[A-ZÀ-ÖØ-Þ][\w'’-]{0,30})"
_NUMBER = r"\d{1,5}(?:[ ]?[a-zA-Z](?!\w))?(?:[ ]?[-/][ ]?\d{1,4})?"


@cache
def _street_patterns(code: str) -> tuple[re.Pattern[str], ...]:
    found = []
    for book in iter_books(code):
        found += [re.compile(p) for p in _street_forms(book)]
    return tuple(found)


def _street_forms(book: Mapping[str, Any]) -> Iterator[str]:
    after = "|".join(w for w in book["addresses"].get("street_after", "").split("|") if w)
    before = "|".join(re.escape(w) for w in book["addresses"].get("street_before", "").split("|") if w)
    if book["code"] == "en":
        unit = r"(?:,?[ ]*(?:(?i:apt|apartment|suite|ste|unit|flat|floor|room|rm|bldg)\.?[ ]*|\#[ ]?)[\w-]{1,6})?"
        yield rf"\b(?P<x>(?:(?i:flat|apt|apartment|suite|unit)[ ]\w{{1,5}},?[ ])?\d{{1,5}}[A-Za-z]?,?[ ]+(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.?[ ]+)?(?:(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th))[ ]+){{1,4}}(?i:{after})\b\.?{unit}(?:,[ ]*{_CAP}(?:[ ]{_CAP}){{0,2}}(?:,[ ]*[A-Z]{{2}})?(?:[ ]+\d{{5}}(?:-\d{{4}})?)?)?)"
    if book["code"] == "de":
        yield rf"(?P<x>\b(?:(?:[Aa]m|[Aa]n der|[Ii]m|[Zz]um|[Zz]ur|[Aa]uf der|[Aa]uf dem|[Ii]n der|[Uu]nter den|[Aa]lte[r]?|[Nn]eue[r]?)[ ]{_CAP}(?:[ ]{_CAP})?|[A-ZÄÖÜ][\wäöüß-]{{1,30}}(?i:{after})\b\.?|(?:{_CAP}[ -]){{1,3}}(?i:straße|strasse|str|weg|platz|allee|gasse|ring|ufer|damm)\b\.?)[ ]+\d{{1,4}}[ ]?[a-z]?(?!\w)(?!\.\d)(?![ ]?(?:mm|cm|ml))(?:,?[ ]+(?:in[ ]+)?(?:(?:D|A|CH)[- ]?)?\d{{4,5}}[ ]+{_CAP}(?:[ ](?:am|an der|im)[ ]{_CAP})?)?)"
    if book["code"] == "es":
        yield rf"(?P<x>(?<!\w)(?i:{before})\.?[ ]*(?:(?:de|del|la|las|los|el|D\.|Dr\.|Dra\.|San|Santa)[ ]+){{0,3}}{_CAP}(?:[ ]+(?:(?:de|del|la|las|los|y|e)[ ]+){{0,2}}{_CAP}){{0,4}}(?:[ ]*,?[ ]*(?:(?i:nº|n°|n\.º|núm\.?|número|no\.?|s/n)[ ]*)?(?:{_NUMBER}))?(?:[ ]*[,-][ ]*(?:\d{{1,2}}[ºª°]?[ ]?(?:[A-Za-z]{{0,3}}|[Dd]cha|[Ii]zda|[Ii]zq|[Dd]er)\.?(?!\w)|(?i:piso|bajo|ático|puerta|esc(?:alera)?\.?|izda\.?|dcha\.?|portal|bloque)[ ]?\w{{0,4}}\.?)){{0,4}}(?:,?[ ]+\d{{5}}(?:[ ]+{_CAP}(?:[ ]{_CAP}){{0,2}})?)?)"
        yield r"(?P<x>(?<!\w)(?:Calle|C/|Avenida|Avda?\.?|Av\.|Paseo|Pso\.?|Plaza|Pza\.?|Ronda|Travesía|Carretera|Ctra\.?)[ ]?(?:[^\W\d_]{1,20}\.?[ ]){1,5}(?:,[ ]?|nº[ ]?)?\d{1,4}(?!\w|[.,]\d|[ ]?(?:mm|cm)))"
    if book["code"] == "fr":
        yield rf"(?P<x>\b\d{{1,4}}(?:[ ]?(?i:bis|ter|quater))?,?[ ]+(?i:{before})\b\.?[ ]+(?:(?:de|du|des|la|le|les|l['’]|d['’]|et|aux?|en|sur|Saint|Sainte|St|Ste|\d{{1,2}})[ -]?){{0,4}}{_CAP}(?:[ -](?:(?:de|du|des|la|le|les|sous|sur|et|l['’]|d['’])[ -]?){{0,2}}{_CAP}){{0,4}}(?:,?[ ]+\d{{5}}(?:[ ]+{_CAP}(?:[ -](?:(?:sur|sous|en|le|la|les|de|du)[ -])?{_CAP}){{0,3}})?)?)"
        yield rf"(?P<x>\b(?i:rue|avenue|boulevard|place|chemin|impasse|allée|quai|route)[ ]+(?:(?:de|du|des|la|le|les|l['’]|d['’])[ ]?){{0,3}}{_CAP}(?:[ -]{_CAP}){{0,3}})"


def _streets(text: str, code: str) -> Iterator[Span]:
    months = calendar(code).months
    for pattern in _street_patterns(code):
        for match in pattern.finditer(text):
            if not any(w in months for w in words_of(match["x"])[:2]):  # am Juli 2014
                yield Span(*match.span("x"), "ADDRESS", CONTEXT)
