"""Institutions and places of a report.

What belongs here: the proper words around hospital and clinic; what follows `lives in`. What does not: names of
persons (naming), streets (addresses), post codes (rules/text/any.toml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from curation.deid.lexicon import Kind, Lexicon
from curation.deid.spans import CONTEXT, GUESSED, Span, Token

_SPACE = re.compile(r"[ \t]{1,3}|-|'|’|[ \t]?&[ \t]?|[ \t]?\"|[ \t]{0,2}\n[ \t]{0,8}")
_DOT = re.compile(r"\.[ \t-]?")
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
        elif kind in ("institution_label", "institution_sure_label", "place_label"):
            yield from _after_label(text, tokens, lexicon, after, kind)
        elif kind in ("institution_near", "place_near"):
            yield from _after_phrase(tokens, lexicon, after, kind)
        elif kind in ("institution_sure", "place_sure"):
            yield from _after_sure_phrase(tokens, lexicon, after, kind)
        elif (
            kind == "institution_brand"
            and tokens[first].text[0].isupper()
            and tokens[after - 1].text[0].isupper()
        ):
            end = _extend(tokens, lexicon, after)
            yield Span(tokens[first].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)
        elif kind == "place_name" and tokens[first].text[0].isupper() and tokens[after - 1].text[0].isupper():
            yield Span(tokens[first].start, tokens[after - 1].end, "PLACE", CONTEXT)
    yield from _compounds(tokens, lexicon)
    yield from _towns_with_codes(tokens, lexicon)
    if lexicon.prepositions:
        yield from _after_prepositions(tokens, lexicon)


def _is_proper(token: Token, lexicon: Lexicon) -> bool:
    """Whether a word may be the proper part of a name of an institution or place."""
    return token.text[0].isupper() and token.low not in lexicon.generic and token.low not in lexicon.not_names


def _follows(tokens: Sequence[Token], position: int) -> bool:
    """Whether a word goes on with what the word before it began."""
    gap = tokens[position].gap
    is_short = position > 0 and tokens[position - 1].low in _SHORT
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
        if word.text == "s" and word.gap in ("'", "’") and start > 1:
            start -= 1  # Queen's
            continue
        if word.text[0].isupper() and word.low not in lexicon.not_names | lexicon.verbs:
            has_proper = has_proper or _is_proper(word, lexicon)
        elif not (word.low in lexicon.joiners and start > 1 and _leads_to(tokens[start - 2], word, lexicon)):
            break
        if word.low in lexicon.titles and word.low not in ("st", "dr"):
            break
        start -= 1
    while start < first and (tokens[start].low in lexicon.generic or tokens[start].low in lexicon.joiners):
        start += 1
    end = _extend(tokens, lexicon, after)
    if (has_proper and start < first) or end > after:
        yield Span(tokens[start].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)


def _leads_to(word: Token, joiner: Token, lexicon: Lexicon) -> bool:
    """Whether the word before `of` is of the name too: University of Westmarch Hospital, not Images of Mercy Hospital."""
    is_part = word.low in lexicon.nouns or lexicon.kind(word.low) > Kind.COMMON
    return word.text[0].isupper() and is_part and joiner.low != "at"


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
            if _is_proper(word, lexicon) or (end == position > after and _is_second_proper(tokens, position)):
                end = position + 1
        elif word.low not in lexicon.joiners and word.low not in lexicon.particles:
            break
        position += 1
    if after < len(tokens) and tokens[after].low in _AND:
        return after
    # a clinical word alone after the noun, as in `Klinik Radiologie` or `Hospital Course`, is no name
    propers = [t for t in tokens[after:end] if _is_proper(t, lexicon)]
    if propers and all(lexicon.kind(t.low) is Kind.ORDINARY for t in propers):
        return after
    return end


def _is_second_proper(tokens: Sequence[Token], position: int) -> bool:
    """Whether a word with a capital belongs to the proper word before it, whatever it means: Sierra Alta."""
    ahead = tokens[position + 1].gap if position + 1 < len(tokens) else "."
    return tokens[position].gap == " " and tokens[position].text.istitle() and ahead[:1] not in ("", ":", "=")


_RANKS = frozenset(
    [
        "general",
        "universitario",
        "universitaria",
        "universitaire",
        "clinico",
        "provincial",
        "comarcal",
        "regional",
        "militar",
        "infantil",
        "materno",
        "civil",
        "central",
        "nacional",
        "intercommunal",
    ]
)
_LINKS = frozenset(
    [
        "sur",
        "sous",
        "en",
        "les",
        "lès",
        "am",
        "an",
        "der",
        "im",
        "in",
        "ob",
        "bei",
        "on",
        "upon",
        "by",
        "la",
        "le",
    ]
)
_AND = frozenset(["and", "und", "y", "et"])


def _after_lead(tokens: Sequence[Token], lexicon: Lexicon, first: int, after: int) -> Iterator[Span]:
    """`Hospital de la Paz`, `Universitätsklinikum Musterstadt`: on over the proper words; back over `St. Marien`."""
    if not tokens[first].text[0].isupper() and lexicon.code not in ("es", "fr"):
        return
    end = _extend(tokens, lexicon, after)
    if end == after and lexicon.code in ("es", "fr") and tokens[first].text[0].isupper():
        # Hospital General, Clínica Universitaria: with capitals they name the one of a town
        while (
            end < len(tokens)
            and tokens[end].low in _RANKS
            and tokens[end].text[0].isupper()
            and tokens[end].gap == " "
        ):
            end += 1
        if any(t.low in _RANKS for t in tokens[first:end]):
            yield Span(tokens[first].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)
        return
    if end > after and any(lexicon.kind(t.low) > Kind.COMMON or len(t.low) > 3 for t in tokens[after:end]):
        yield Span(tokens[first].start, tokens[end - 1].end, "INSTITUTION", CONTEXT)


_VALUE = re.compile(r"[^\n;|]{2,80}")
_STOP = re.compile(r"\.(?:\s|$)|[ \t]{3,}|\t|,?[ ](?=[A-ZÄÖÜÉ][\w .]{1,24}:)")


def _last_word(text: str, start: int, end: int) -> str:
    words = re.findall(r"[^\W_]+", text[start:end])
    return words[-1].lower() if words else ""


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
        and _last_word(text, match.start(), stop.start()) in _SHORT
    ):
        stop = _STOP.search(text, stop.end(), match.end())
    end = stop.start() if stop else match.end()
    is_place = kind != "institution_label"
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
        and not (kind == "institution_sure_label" and inside[0].low in lexicon.nobody | lexicon.not_names)
    ):
        yield Span(
            inside[0].start, inside[-1].end, "ADDRESS" if kind == "place_label" else "INSTITUTION", CONTEXT
        )


# a dot after these ends no sentence
_SHORT = frozenset(
    [
        "st",
        "str",
        "av",
        "avd",
        "avda",
        "pl",
        "apt",
        "ste",
        "sta",
        "sto",
        "dr",
        "dra",
        "dres",
        "drs",
        "prof",
        "no",
        "rd",
        "ave",
        "bd",
        "bvd",
        "nº",
        "kh",
        "krh",
        "kl",
        "hosp",
        "univ",
        "ev",
        "kath",
        "gen",
        "h",
        "u",
        "c",
        "inst",
        "fac",
        "ntra",
        "nª",
        "sra",
        "s",
        "m",
    ]
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
            and any(t.text[0].isupper() and t.gap == " " for t in tokens[end + 1 : end + 3])
        ):
            end += 1
        else:
            break
    words = tokens[start:end]
    if (
        words
        and not (
            words[0].text.isupper() and len(words[0].text) <= 4 and not _is_acronym(words, lexicon, kind)
        )
        and words[0].low not in lexicon.eponym_nouns
    ):
        yield Span(words[0].start, words[-1].end, "PLACE" if kind == "place_near" else "INSTITUTION", GUESSED)


def _is_acronym(words: Sequence[Token], lexicon: Lexicon, kind: str) -> bool:
    """UCSF, after `transferred from`: letters that no vocabulary knows."""
    word = words[0]
    return kind == "institution_near" and len(word.text) > 2 and lexicon.kind(word.low) is Kind.UNKNOWN


_CODE_GAP = re.compile(r"[ ]?[.,(-]?[ ]{0,2}")


def _towns_with_codes(tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[Span]:
    """A known town and the post code beside it: 8091 Zürich, Barcelona 08017."""
    for position, town in enumerate(tokens):
        if town.low not in lexicon.towns or not town.text[0].isupper():
            continue
        for code, is_before in ((position - 1, True), (position + 1, False)):
            if not 0 <= code < len(tokens):
                continue
            number = tokens[code].text
            gap = town.gap if is_before else tokens[code].gap
            is_code = number.isdigit() and (
                len(number) == 5 or (is_before and len(number) == 4 and number[:2] not in ("19", "20"))
            )
            if is_code and _CODE_GAP.fullmatch(gap):
                first, last = (tokens[code], town) if is_before else (town, tokens[code])
                yield Span(first.start, last.end, "ADDRESS", CONTEXT)


_MEMBERS = 8


def _after_sure_phrase(tokens: Sequence[Token], lexicon: Lexicon, after: int, kind: str) -> Iterator[Span]:
    """What follows `works at` or `born in`: a run of capitalised words, whatever else they mean."""
    start = after
    small = lexicon.joiners | lexicon.generic | lexicon.particles
    while (
        start < min(len(tokens), after + 3)
        and not tokens[start].text[0].isupper()
        and tokens[start].low in small
    ):
        start += 1
    end = last = start
    while end < len(tokens) and end - start < _MEMBERS:
        word = tokens[end]
        is_joined = word.gap in (" ", "  ", "-", "'", "’", ": ") or (
            end > start and word.gap in (", ", ". ", " & ")
        )
        is_titled = word.low in lexicon.titles and word.low != "st"
        if not is_joined or is_titled or word.low in lexicon.not_names - lexicon.particles:
            break
        if word.text[0].isupper() and (word.gap != ". " or tokens[end - 1].low in _SHORT):
            if word.gap == ", " and lexicon.kind(word.low) <= Kind.COMMON:
                break
            last = end + 1
        elif not (end > start and word.low in lexicon.joiners | lexicon.particles | _LINKS):
            break
        end += 1
    words = tokens[start:last]
    if words and any(
        t.low not in lexicon.generic | lexicon.kept_places | lexicon.departments | lexicon.joiners
        and len(t.low) > 1
        for t in words
    ):
        yield Span(words[0].start, words[-1].end, "PLACE" if kind == "place_sure" else "INSTITUTION", GUESSED)


def _after_prepositions(tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[Span]:
    """`in Tacoma`, `en Motril`: where sentences write proper words alone with a capital, one that is no clinical word."""
    for position in range(2, len(tokens)):
        word, before = tokens[position], tokens[position - 1]
        if before.low not in lexicon.prepositions or before.text != before.low or word.gap != " ":
            continue
        # `Findings in Axial Plane` is a heading
        is_heading = (
            tokens[position - 2].text[0].isupper() and position > 2 and tokens[position - 3].text[0].isupper()
        )
        if not word.text[0].isupper() or word.text.isupper() or not word.text.isalpha() or is_heading:
            continue
        is_plain = (
            word.low in lexicon.not_names | lexicon.generic | lexicon.kept_places | lexicon.eponym_nouns
        )
        if lexicon.kind(word.low) is not Kind.COMMON or is_plain or len(word.text) < 3:
            continue
        ahead = tokens[position + 1] if position + 1 < len(tokens) else None
        if (
            ahead is not None
            and ahead.gap == " "
            and ahead.text[0].isupper()
            and lexicon.kind(ahead.low) is Kind.ORDINARY
        ):
            continue
        yield Span(word.start, word.end, "PLACE", GUESSED)


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
        while start > 0 and position - start < 5:
            gap, before = tokens[start].gap, tokens[start - 1]
            if gap not in ("-", ".-") and not (gap in (". ", ".") and before.low in _SHORT):
                break
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
