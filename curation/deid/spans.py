"""Spans of a report that are replaced, and the words among which they are found.

What belongs here: spans, tokens, merging what overlaps or touches. What does not: finding spans, or what replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from curation.deid.calendar_words import calendar
from curation.deid.lexicon import ANY, Kind, Lexicon
from curation.deid.spelling import fold


@dataclass(frozen=True, slots=True)
class Span:
    """Characters start to end of a text, what they are, and how sure: lower ranks win where spans overlap."""

    start: int
    end: int
    category: str
    rank: int
    replacement: str | None = None
    """What takes its place where the finder knows it (a moved date); None leaves it to the stand-ins."""


KNOWN, SHAPED, CONTEXT, GUESSED = range(4)
"""Ranks: said by the headers; a form of its own, such as a date or a mail address; by its context; by default deny."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word: letters and digits without a gap."""

    start: int
    end: int
    text: str
    low: str
    """Folded."""
    gap: str
    """What lies between the word before and this one."""

    @property
    def is_capital(self) -> bool:
        """Whether it begins with a capital, or is written without case (Chinese, Arabic)."""
        first = self.text[0]
        return first.isupper() or first.istitle() or (first.isalpha() and first.lower() == first.upper())

    @property
    def is_initial(self) -> bool:
        """Whether it is one capital letter."""
        return len(self.text) == 1 and self.text.isupper()


_WORD = re.compile(r"[^\W_]+")
_PARAGRAPH = re.compile(r"(?:[^\n]|\n(?![ \t\r]*\n))+")
_TITLE_CASE = re.compile(r"(?<![^\W_])(?:[^\W\d_a-z][a-z\u00df-\u00ff]+|A(?= [a-z]))")
_FIRST_LOWER = re.compile(r"[^\w]*[a-z\u00df-\u00ff][^\n]*\.[ ][a-z\u00df-\u00ff]")
_SENTENCE_CAPITAL = re.compile(r"(?:[a-z)]\.|[!?])\s+[^\W\d_a-z][a-z]|\n[ \t]*[^\W\d_a-z][a-z]")
_WORDS_A_CAPITAL = 50
_MIN_WORDS = 4  # by fewer one cannot tell


def raised(text: str) -> str:
    """The text with every paragraph in capitals that is written without, as dictated or typed in haste; same length.

    A paragraph is written without capitals where hardly a word begins with one: abbreviations do not count, and neither do
    months and weekdays, which programs put in; or where no sentence begins with one.
    """
    return _PARAGRAPH.sub(_raised, text)


def _raised(match: re.Match[str]) -> str:
    paragraph = match.group()
    words = sum(word.isalpha() for word in _WORD.findall(paragraph))
    of_dates = calendar(ANY).months.keys() | calendar(ANY).weekdays.keys()
    capitals = sum(fold(word) not in of_dates for word in _TITLE_CASE.findall(paragraph))
    is_lower = _FIRST_LOWER.match(paragraph) is not None and _SENTENCE_CAPITAL.search(paragraph) is None
    if words < _MIN_WORDS or (_WORDS_A_CAPITAL * capitals > words and not is_lower):
        return paragraph
    # some letters have no single capital: ß
    return "".join(up if len(up := c.upper()) == 1 else c for c in paragraph)


def tokenize(text: str) -> list[Token]:
    """The words of a text, in order."""
    tokens = []
    end = 0
    for match in _WORD.finditer(text):
        word = match.group()
        tokens.append(Token(match.start(), match.end(), word, fold(word), text[end : match.start()]))
        end = match.end()
    return tokens


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Spans without overlaps: where two meet they become one, of the category of the surer."""
    chosen: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.rank)):
        if not chosen or span.start >= chosen[-1].end:
            chosen.append(span)
            continue
        last = chosen[-1]
        # an address that holds a known name stays an address
        is_inside = span.end <= last.end and last.rank <= CONTEXT and last.replacement is None
        surer = last if (last.rank, last.start - last.end) <= (span.rank, span.start - span.end) else span
        best = last if is_inside else surer
        end = max(last.end, span.end)
        # a moved date fits its own characters only
        fits = (best.start, best.end) == (last.start, end)
        rank = min(last.rank, span.rank)
        chosen[-1] = Span(last.start, end, best.category, rank, best.replacement if fits else None)
    return chosen


_INSIDE_NAME = re.compile(r"[ \t]{1,2}|,[ \t]{0,2}|\.[ \t]?|[-'’]|-?[ \t]?\n[ \t]{0,4}")


def join_names(text: str, spans: list[Span]) -> list[Span]:
    """Names that only a space, comma or hyphen separates as one: a stand-in keeps the order and form of the whole."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if (
            last is not None
            and span.category == last.category == "NAME"
            and _INSIDE_NAME.fullmatch(text, last.end, span.start)
        ):
            joined[-1] = Span(last.start, span.end, "NAME", min(last.rank, span.rank))
        else:
            joined.append(span)
    return joined


def trimmed(span: Span, text: str, tokens: Sequence[Token], lexicon: Lexicon) -> Span:
    """The span without the words of the sentence around it: up to the verb before an address, and at its end in capitals.

    ST BRENDAN FOR FURTHER ends before FOR: in capitals nothing else says where a name ends.
    """
    found = text[span.start : span.end]
    if span.category == "ADDRESS" and span.rank > KNOWN:
        # she lives in Elm Road 5
        verbs = [t.end for t in tokens if span.start <= t.start < span.end and t.low in lexicon.verbs]
        follower = next((t for t in tokens if verbs and t.start >= verbs[-1]), None)
        return replace(span, start=follower.start) if follower and follower.start < span.end else span
    if span.rank < CONTEXT or span.replacement is not None or not found.isupper():
        return span
    inside = [t for t in tokens if span.start <= t.start < span.end]
    for place, token in enumerate(inside[1:], 1):
        if token.low not in lexicon.not_names | lexicon.verbs or token.low in lexicon.particles | _JOINERS:
            continue
        if all(t.low in lexicon.not_names or lexicon.kind(t.low) <= Kind.COMMON for t in inside[place:]):
            while place > 1 and inside[place - 1].low in _JOINERS:
                place -= 1
            return replace(span, end=inside[place - 1].end)
    return span


_JOINERS = frozenset(["of", "the", "and", "und", "y", "e", "et", "in", "am", "an", "on", "at"])
