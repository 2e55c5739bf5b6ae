"""Default deny: capitalised words that are names, or that no vocabulary explains.

What belongs here: single words and their neighbours, without a cue. What does not: names by their context (naming).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from curation.deid.lexicon import Kind, Lexicon
from curation.deid.naming import AND, COMMA, DOT, SPACE, TIGHT, Trust, follows_given, is_eponym, leads_on
from curation.deid.spans import GUESSED, Span, Token

_SENTENCE_END = re.compile(r"[.:;!?\n•*)\]\"»]|^$|[-–—][ \t]|/")


def find_unexplained(tokens: Sequence[Token], lexicon: Lexicon) -> Iterator[Span]:
    """Capitalised words that are names, or that no vocabulary explains: default deny."""
    small = _written_small(tokens)
    n_upper = sum(t.text.isupper() and len(t.text) > 3 for t in tokens)
    is_shouted = n_upper > len(tokens) * 0.3
    position = 0
    while position < len(tokens):
        if _is_suspect(tokens, position, lexicon, small, is_shouted=is_shouted):
            first, last = _widen(tokens, position, lexicon)
            yield Span(tokens[first].start, tokens[last].end, "NAME", GUESSED)
            position = last + 1
        else:
            position += 1


_INNER_CAPITAL = re.compile(
    r"(?!(?:Ma?c|De|Di|Du|La|Le|Van|Von|Fitz|Mac|Saint|O|D|El|Al|Ben)[A-Z])[A-ZÀ-Þ].*[A-ZÀ-Þ]"
)
_SHORT_LETTERS = 3


def _is_explained(tokens: Sequence[Token], position: int, lexicon: Lexicon, small: set[str]) -> bool:
    """Whether an unknown word is written small too, an abbreviation (IgG, Hto), or a verb at a sentence's beginning."""
    token = tokens[position]
    if token.low in small:
        return True
    if _has_name_neighbour(tokens, position, lexicon) or _before_verb(tokens, position, lexicon):
        return False
    if len(token.text) <= _SHORT_LETTERS or (token.text.isupper() and len(token.text) <= _SHORT_LETTERS + 1):
        return True
    if not token.text.isupper() and _INNER_CAPITAL.match(token.text):
        return True
    return _starts_sentence(tokens, position) and token.low.endswith(lexicon.verb_endings)


_FREE = re.compile(r"[\s,;:)(]|\.\s|\.$|$")


def _written_small(tokens: Sequence[Token]) -> set[str]:
    """Words that the text also writes without a capital, as words of its own and not in a mail address or path."""
    ahead = [*(t.gap for t in tokens[1:]), ""]
    return {
        token.low
        for token, gap in zip(tokens, ahead, strict=True)
        if token.text.islower() and token.gap[-1:] in (" ", "\n", "\t", "(", "") and _FREE.match(gap)
    }


def _is_suspect(
    tokens: Sequence[Token], position: int, lexicon: Lexicon, small: set[str], *, is_shouted: bool
) -> bool:
    token = tokens[position]
    if len(token.text) < 2 or not token.is_capital or not token.text.isalpha() or token.low in lexicon.titles:
        return False
    if _touches_number(tokens, position):
        return False
    kind = lexicon.kind(token.low)
    is_upper = token.text.isupper()
    if is_upper and not is_shouted and len(token.text) <= 5 and kind is not Kind.NAME:
        return False  # an abbreviation
    if token.low in lexicon.kept_places or token.low in lexicon.credentials:
        return False
    if token.low in lexicon.eponyms and is_eponym(tokens, position, lexicon):
        return False
    if kind is Kind.NAME:
        return not is_upper or len(token.low) > 2 or _has_name_neighbour(tokens, position, lexicon)
    if kind is Kind.COMMON:
        return follows_given(tokens, position, lexicon) and token.low not in lexicon.not_names
    if kind is Kind.UNKNOWN:
        return not _is_explained(tokens, position, lexicon, small)
    if kind is Kind.ORDINARY or is_eponym(tokens, position, lexicon):
        return False
    if _before_verb(tokens, position, lexicon) and token.low not in lexicon.not_names:
        return True
    if _has_name_neighbour(tokens, position, lexicon) and token.low not in lexicon.not_names:
        return True
    # an eponym that is a surname too, in the middle of a sentence, with nothing beside it that an eponym has
    return kind is Kind.EPONYM and token.low in lexicon.names and not _starts_sentence(tokens, position)


def _touches_number(tokens: Sequence[Token], position: int) -> bool:
    """Whether a digit is part of the same expression: T2, Th12, c-Arm."""
    token = tokens[position]
    ahead = tokens[position + 1] if position + 1 < len(tokens) else None
    return (ahead is not None and ahead.gap == "-" and ahead.text[0].isdigit()) or (
        token.gap == "-" and position > 0 and tokens[position - 1].text[-1].isdigit()
    )


def _starts_sentence(tokens: Sequence[Token], position: int) -> bool:
    return _SENTENCE_END.search(tokens[position].gap) is not None or position == 0


def _before_verb(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether the word does what persons do: `Wall reviewed`, `Wall was informed`, `Wall and Long-Smith agree`."""
    ahead = position + 1
    while ahead < min(len(tokens) - 1, position + _REACH):
        token = tokens[ahead]
        is_near = SPACE.fullmatch(token.gap) is not None or TIGHT.fullmatch(token.gap) is not None
        goes_on = token.is_capital or (token.low in AND and tokens[ahead + 1].is_capital)
        if not is_near or not goes_on or (token.is_capital and lexicon.kind(token.low) is Kind.ORDINARY):
            break
        ahead += 1
    if ahead >= len(tokens) or not SPACE.fullmatch(tokens[ahead].gap) or tokens[ahead].is_capital:
        return False
    if tokens[ahead].low in lexicon.auxiliaries:
        return any(t.low in lexicon.participles for t in tokens[ahead + 1 : ahead + 3])
    return tokens[ahead].low in lexicon.verbs


_REACH = 6  # words of two names and what joins them


def _has_name_neighbour(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether an unmistakable name or an initial stands directly beside the word."""
    token = tokens[position]
    if position and (SPACE.fullmatch(token.gap) or token.gap in ("-", "'", "’")):
        before = tokens[position - 1]
        if (
            before.is_capital
            and not before.is_initial
            and lexicon.kind(before.low) is Kind.NAME
            and len(before.low) > 2
        ):
            return True
    if position and token.gap in (". ", ".") and tokens[position - 1].is_initial:
        return token.low in lexicon.names
    if position + 1 < len(tokens):
        ahead = tokens[position + 1]
        if ahead.gap in (" ", "-", ", ") and ahead.is_capital and len(ahead.low) > 2:
            return lexicon.kind(ahead.low) is Kind.NAME
    return False


def _widen(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> tuple[int, int]:
    """The suspect with the initials, particles and further name words around it."""
    first = last = position
    while first > 0 and first > position - 4:
        word, gap = tokens[first - 1], tokens[first].gap
        is_near = (
            SPACE.fullmatch(gap)
            or TIGHT.fullmatch(gap)
            or (DOT.fullmatch(gap) and len(word.text) <= 2)
            or COMMA.fullmatch(gap)
        )
        if not is_near:
            break
        if (word.is_initial and not COMMA.fullmatch(gap)) or (
            word.is_capital and _counts_beside(word, lexicon)
        ):
            first -= 1
        elif (
            word.low in lexicon.particles
            and first > 1
            and tokens[first - 2].is_capital
            and _counts_beside(tokens[first - 2], lexicon)
        ):
            first -= 2
        else:
            break
    while last + 1 < len(tokens) and last < position + 4:
        word, gap = tokens[last + 1], tokens[last + 1].gap
        if COMMA.fullmatch(gap):
            if word.is_initial or (
                word.is_capital and lexicon.kind(word.low) is Kind.NAME and word.low not in lexicon.not_names
            ):
                last += 1
                continue
            break
        if not (
            SPACE.fullmatch(gap)
            or TIGHT.fullmatch(gap)
            or (DOT.fullmatch(gap) and len(tokens[last].text) == 1)
        ):
            break
        if (
            word.is_capital and (_counts_beside(word, lexicon) or (word.is_initial and word.text != "I"))
        ) or (word.low in lexicon.particles and leads_on(tokens, last + 1, lexicon, Trust.NEAR)):
            last += 1
        else:
            break
    return first, last


def _counts_beside(word: Token, lexicon: Lexicon) -> bool:
    return (
        word.text.isalpha()
        and lexicon.kind(word.low) >= Kind.AMBIGUOUS
        and word.low not in lexicon.not_names
        and len(word.low) > 1
    )
