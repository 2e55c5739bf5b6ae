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
    small = {t.low for t in tokens if t.text.islower()}
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
        return token.low not in small and (len(token.text) > 2) and not (is_upper and len(token.text) <= 4)
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
    """Whether the word does what persons do: `Wall reviewed`, `Wall was informed`, `Wall and Long agree`."""
    ahead = [t for t in tokens[position + 1 : position + 4] if SPACE.fullmatch(t.gap) or t.gap in (", ",)]
    if not ahead or ahead[0].start - tokens[position].end > len(ahead[0].gap):
        return False
    if (
        len(ahead) > 2
        and ahead[0].low in AND
        and ahead[1].is_capital
        and lexicon.kind(ahead[1].low) > Kind.COMMON
    ):
        return _before_verb(tokens, position + 2, lexicon)
    if ahead[0].is_capital:
        return False
    if ahead[0].low in lexicon.auxiliaries:
        return any(t.low in lexicon.participles for t in ahead[1:])
    return ahead[0].low in lexicon.verbs


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
