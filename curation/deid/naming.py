"""Names of persons by what stands around them, and capitalised words that nothing else explains.

What belongs here: runs of name words after titles, labels and phrases, before credentials and verbs; default deny for
words that no vocabulary knows. What does not: names that the headers know (known), institutions and places (places).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum

from curation.deid.lexicon import Kind, Lexicon
from curation.deid.spans import CONTEXT, Span, Token

MAX_WORDS = 7
_NEAR_GAP = re.compile(r"[ \t]{0,3}\n?[ \t]{0,8}[:=#.,;>*\"“„(\[-]{0,3}[ \t]{0,20}\n?[ \t]{0,8}")
_LABEL_GAP = re.compile(
    r"[ \t]{0,3}(?:\([^()\n]{0,20}\)|\([^()\n]{0,20})?[ \t]{0,3}[:=#>|][ \t]{0,40}\n?[ \t]{0,8}[\"“(\[]?|[ \t]{0,2}[-–—][ \t]{1,3}|[ \t]{2,40}|\t+"
)
SPACE = re.compile(r"[ \t]{1,3}")
DOT = re.compile(r"\.[ \t]{0,3}")
TIGHT = re.compile(r"[-'’]")
COMMA = re.compile(r",[ \t]{0,3}")
_BREAK = re.compile(r"[ \t]{0,2}\n[ \t]{0,8}|-\n[ \t]{0,8}")


class Trust(IntEnum):
    """How surely a name follows."""

    NEAR = 0
    """A person may: only a word that could be a name is one."""
    SAID = 1
    """A person does: also a word that is in the general list alone."""
    SURE = 2
    """A person or nothing: the first capitalised word is a name, whatever else it may be."""


_TRUST = {
    "label": (Trust.SURE, _LABEL_GAP),
    "weak_label": (Trust.NEAR, _LABEL_GAP),
    "said_by": (Trust.SAID, _NEAR_GAP),
    "near": (Trust.NEAR, _NEAR_GAP),
    "relative": (Trust.SAID, _NEAR_GAP),
}


def find_names(
    tokens: Sequence[Token], lexicon: Lexicon, cues: Sequence[tuple[int, int, str]]
) -> Iterator[Span]:
    """Spans of names. cues are (first token, token after the last, kind) as lexicon's phrases stand in the text."""
    for first, after, kind in cues:
        if kind == "title":
            yield from _after_title(tokens, lexicon, first)
        elif kind in _TRUST and after < len(tokens):
            trust, gap = _TRUST[kind]
            if kind == "relative" and _is_written_as_name(tokens[after], lexicon):
                trust = Trust.SURE
            if gap.fullmatch(tokens[after].gap):
                yield from _run(tokens, lexicon, after, trust)
    for position, token in enumerate(tokens):
        if token.low in lexicon.credentials and position:
            yield from _before_credential(tokens, lexicon, position)


def _is_written_as_name(token: Token, lexicon: Lexicon) -> bool:
    """Whether a word right behind `wife` or `son` has a capital that no sentence gives it: her niece Art."""
    may_be_name = (
        token.low in lexicon.given or token.low in lexicon.ambiguous or token.low not in lexicon.clinical
    )
    return token.gap == " " and token.text.istitle() and may_be_name and token.low not in lexicon.verbs


def _after_title(tokens: Sequence[Token], lexicon: Lexicon, first: int) -> Iterator[Span]:
    """The name after a title; titles in a row are passed over."""
    position = first + 1
    title = tokens[first]
    if not title.is_capital and title.low not in ("dr", "prof", "dra"):
        return
    while position < len(tokens) and tokens[position].low in lexicon.titles and not _is_far(tokens[position]):
        position += 1
    if position >= len(tokens):
        return
    gap = tokens[position].gap
    if not (
        SPACE.fullmatch(gap)
        or DOT.fullmatch(gap)
        or _BREAK.fullmatch(gap)
        or gap in (". ", ".: ", ": ", ".\n", " (")
    ):
        return
    # one letter, as m. or d., is a title only where it is written as one
    if len(title.low) == 1 and not tokens[position].is_capital:
        return
    if (
        title.low in _PLAIN_TITLES
        and (SPACE.fullmatch(gap) or (gap == ". " and title.low != "frau"))
        and tokens[position].text.istitle()
        and tokens[position].low in lexicon.not_names
    ):
        yield Span(tokens[position].start, tokens[position].end, "NAME", CONTEXT)  # Mrs Foot, Mr Long
        return
    yield from _run(tokens, lexicon, position, Trust.SURE if len(title.low) > 1 else Trust.NEAR)


def _is_far(token: Token) -> bool:
    return not (SPACE.fullmatch(token.gap) or DOT.fullmatch(token.gap) or token.gap in ("-", "/", ". -"))


def _accepts(
    tokens: Sequence[Token], position: int, lexicon: Lexicon, trust: Trust, *, is_first: bool
) -> bool:
    """Whether a word may be part of a name here."""
    token = tokens[position]
    if token.is_initial:
        return True
    if _is_month_as_name(tokens, position, lexicon) or (
        trust >= Trust.SAID and _is_behind_initial(tokens, position)
    ):
        return True
    may_be_both = trust is Trust.SURE and is_first and token.low in lexicon.ambiguous
    if not token.text.isalpha() or (token.low in lexicon.not_names and not may_be_both):
        return False
    kind = lexicon.kind(token.low)
    if not token.is_capital:
        if position and token.gap == "-" and not is_first:
            return kind >= Kind.UNKNOWN  # Seo-yeon
        # typed without capitals: only what is a name or no word at all, or directly behind a title: dr. long
        is_titled = position > 0 and tokens[position - 1].low in _DOCTORS and token.low not in lexicon.verbs
        return (
            trust is Trust.SURE
            and is_first
            and len(token.low) > 2
            and (kind >= Kind.UNKNOWN or (is_titled and token.low in lexicon.ambiguous))
        )
    if (trust is Trust.SURE and is_first) or kind > Kind.COMMON:
        return True
    if kind is Kind.ORDINARY:
        return trust is Trust.SURE and not is_first and _is_only_surname(tokens, position, lexicon)
    # a rare surname may stand in the general word list
    if is_first:
        return trust >= Trust.SAID or _leads_to_name(tokens, position, lexicon)
    is_begun = lexicon.kind(tokens[position - 1].low) >= Kind.UNKNOWN or tokens[position - 1].is_initial
    return trust >= Trust.SAID or not lexicon.has_compounds or is_begun


_PLAIN_TITLES = frozenset(
    ["mr", "mrs", "ms", "miss", "mister", "mx", "herrn", "frau", "madame", "monsieur", "señora"]
)
_DOCTORS = frozenset(["dr", "drs", "dra", "prof", "doctor", "professor", "docteur", "doctora"])


def _is_month_as_name(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether a month's word is a given name, for a surname follows: April Wall, JUNE PHAM."""
    token = tokens[position]
    is_both = token.low in lexicon.not_names and (
        token.low in lexicon.given or token.low in lexicon.ambiguous
    )
    if not is_both or position + 1 >= len(tokens):
        return False
    ahead = tokens[position + 1]
    may_be_name = ahead.is_capital and ahead.text.isalpha() and ahead.low not in lexicon.not_names
    return token.is_capital and ahead.gap == " " and may_be_name and lexicon.kind(ahead.low) > Kind.COMMON


def _is_behind_initial(tokens: Sequence[Token], position: int) -> bool:
    """Whether a given name and an initial stand before the word: Callum W. March."""
    if position < 2:
        return False
    token, initial, given = tokens[position], tokens[position - 1], tokens[position - 2]
    is_name = given.text.istitle() and initial.is_initial and initial.gap == " "
    return is_name and token.text.istitle() and len(token.text) > 2 and token.gap in (". ", " ")


def _is_only_surname(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether a word of the language can only be the surname of the given name before it: Frau Dr. Waltraud Magen."""
    token, before = tokens[position], tokens[position - 1]
    is_given = before.low in lexicon.given
    ahead = tokens[position + 1] if position + 1 < len(tokens) else None
    ends = ahead is None or not (SPACE.fullmatch(ahead.gap) and not ahead.is_capital) or ahead.low in AND
    return is_given and token.gap == " " and token.text.istitle() and before.text.istitle() and ends


def follows_given(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether a given name or an initial stands directly before the word."""
    if position == 0:
        return False
    before, gap = tokens[position - 1], tokens[position].gap
    if before.is_initial:
        return DOT.fullmatch(gap) is not None or gap == " "
    is_given = before.low in lexicon.given and lexicon.kind(before.low) is Kind.NAME
    return is_given and before.is_capital and (SPACE.fullmatch(gap) is not None or gap == "-")


def _leads_to_name(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    if position + 1 >= len(tokens):
        return False
    ahead = tokens[position + 1]
    is_near = SPACE.fullmatch(ahead.gap) is not None or ahead.gap in ("-", ", ")
    return is_near and ahead.is_capital and len(ahead.low) > 1 and lexicon.kind(ahead.low) >= Kind.AMBIGUOUS


def _run(tokens: Sequence[Token], lexicon: Lexicon, position: int, trust: Trust) -> Iterator[Span]:
    """The run of name words from a position on; further names after a comma, `and` or a slash."""
    start = end = -1
    n_words = 0
    last: Token | None = None
    while position < len(tokens) and n_words < MAX_WORDS:
        token = tokens[position]
        if last is not None and not _joins(last, token, lexicon, trust):
            break
        if token.low in lexicon.titles and (last is None or token.text[0].isupper()) and len(token.low) > 1:
            if last is None or _accepts_after(tokens, position, lexicon):
                last = last or token
                position += 1
                continue
            break
        if token.low in lexicon.particles and leads_on(tokens, position, lexicon, trust):
            start = token.start if start < 0 else start
            last = token
            position += 1
            continue
        # what a particle led to was looked at as a first word: del Río, vom Bruch
        is_led = last is not None and last.low in lexicon.particles
        if not _accepts(tokens, position, lexicon, trust, is_first=n_words == 0 or is_led):
            break
        if (
            n_words == 0
            and token.is_initial
            and trust is not Trust.SURE
            and not _accepts_after(tokens, position, lexicon)
        ):
            break
        start = token.start if start < 0 else start
        end = token.end
        n_words += 1
        last = token
        position += 1
    if n_words and end > start:
        if trust is Trust.NEAR and is_eponym(tokens, position - 1, lexicon):
            return
        yield Span(start, end, "NAME", CONTEXT)
        if position + 1 < len(tokens):
            yield from _next_name(tokens, lexicon, position)


AND = frozenset(["and", "und", "y", "e", "et", "or", "oder", "o", "ou", "with", "mit", "con", "avec"])


def _next_name(tokens: Sequence[Token], lexicon: Lexicon, position: int) -> Iterator[Span]:
    """A second name: `Smith and Jones`, `Smith / Jones`."""
    token = tokens[position]
    if token.low in AND and SPACE.fullmatch(token.gap):
        follower = position + 1
        if tokens[follower].is_capital and lexicon.kind(tokens[follower].low) > Kind.COMMON:
            yield from _run(tokens, lexicon, follower, Trust.NEAR)
    elif token.gap.strip(" \t") in ("/", "&", ";", "+") and token.is_capital:
        yield from _run(tokens, lexicon, position, Trust.NEAR)


def _joins(last: Token, token: Token, lexicon: Lexicon, trust: Trust) -> bool:
    """Whether two words may be of one name, by what lies between them."""
    gap = token.gap
    if SPACE.fullmatch(gap) or TIGHT.fullmatch(gap):
        return True
    if DOT.fullmatch(gap):
        return len(last.low) <= 2 or last.low in lexicon.titles
    if COMMA.fullmatch(gap):
        return token.is_capital and (token.is_initial or _is_name_like(token, lexicon, trust))
    if _BREAK.fullmatch(gap):
        return (
            token.is_capital
            and lexicon.kind(token.low) in (Kind.NAME, Kind.UNKNOWN)
            and token.low not in lexicon.titles
        )
    return gap in (" (", "(", ", (") and token.is_capital and lexicon.kind(token.low) is Kind.NAME


def _is_name_like(token: Token, lexicon: Lexicon, trust: Trust) -> bool:
    kind = lexicon.kind(token.low)
    return token.low not in lexicon.not_names and (
        kind >= Kind.AMBIGUOUS or (trust is Trust.SURE and kind >= Kind.COMMON) or kind is Kind.EPONYM
    )


def _accepts_after(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether the next word is a capitalised word that may be a name."""
    if position + 1 >= len(tokens):
        return False
    token = tokens[position + 1]
    near = SPACE.fullmatch(token.gap) or DOT.fullmatch(token.gap) or TIGHT.fullmatch(token.gap)
    return bool(near) and _accepts(tokens, position + 1, lexicon, Trust.NEAR, is_first=True)


def leads_on(tokens: Sequence[Token], position: int, lexicon: Lexicon, trust: Trust) -> bool:
    """Whether particles lead to a word that may be a name."""
    for place, ahead in enumerate(tokens[position + 1 : position + 4], position + 1):
        if not (SPACE.fullmatch(ahead.gap) or TIGHT.fullmatch(ahead.gap) or DOT.fullmatch(ahead.gap)):
            return False
        if ahead.low in lexicon.particles:
            continue
        return ahead.is_capital and _accepts(tokens, place, lexicon, trust, is_first=True)
    return False


def _before_credential(tokens: Sequence[Token], lexicon: Lexicon, position: int) -> Iterator[Span]:
    """The name before MD, FRCR, RN: back over capitalised words that may be one."""
    token = tokens[position]
    if not (
        token.text.isupper()
        or token.text
        in (
            "PhD",
            "Facharzt",
            "Fachärztin",
            "Oberarzt",
            "Oberärztin",
            "Chefarzt",
            "Ph",
            "Arzt",
            "Ärztin",
            "Assistenzarzt",
            "Assistenzärztin",
        )
    ):
        return
    start, end, n_words = -1, -1, 0
    gap = token.gap
    for earlier in range(position - 1, max(position - 6, -1), -1):
        word = tokens[earlier]
        fits = (
            SPACE.fullmatch(gap)
            or DOT.fullmatch(gap)
            or COMMA.fullmatch(gap)
            or TIGHT.fullmatch(gap)
            or _BREAK.fullmatch(gap)
        )
        if not fits:
            break
        if word.low in lexicon.credentials and n_words == 0 and len(word.low) > 1:
            gap = word.gap
            continue
        if word.low in lexicon.particles and n_words and not word.is_capital:
            gap = word.gap
            continue
        if (
            not word.is_capital
            or not _accepts(tokens, earlier, lexicon, Trust.NEAR, is_first=n_words == 0)
            or word.low in lexicon.titles
        ):
            break
        start, end, n_words = word.start, max(end, word.end), n_words + 1
        gap = word.gap
    if n_words and end - start > 1:
        yield Span(start, end, "NAME", CONTEXT)


def is_eponym(tokens: Sequence[Token], position: int, lexicon: Lexicon) -> bool:
    """Whether the word is used as an eponym: a cyst, sign, grade or number stands beside it."""
    token = tokens[position]
    if lexicon.kind(token.low) is Kind.NAME and token.low not in lexicon.eponyms:
        return False
    if token.low not in lexicon.eponyms and lexicon.kind(token.low) is not Kind.AMBIGUOUS:
        return False
    for beside, gap in (
        (position - 1, token.gap),
        (position + 1, tokens[position + 1].gap if position + 1 < len(tokens) else ""),
    ):
        if gap in ("-", "–") and beside >= 0 and tokens[beside].low in lexicon.eponyms:
            return True
    after = [t for t in tokens[position + 1 : position + 5] if t.low != "s"]
    for n, ahead in enumerate(after[:3]):
        if "." in ahead.gap or "\n" in ahead.gap:
            break
        if ahead.low in lexicon.eponym_nouns or (
            n == 0 and (ahead.text[0].isdigit() or _ROMAN.fullmatch(ahead.text))
        ):
            return True
    before = [t.low for t in tokens[max(position - 3, 0) : position]]
    return any(word in lexicon.eponym_nouns for word in before) or before[-1:] in (["of"], ["morbus"])


_ROMAN = re.compile(r"[IVX]{1,4}[A-Fab]?")
