"""Spans of a report that are replaced, and the words among which they are found.

What belongs here: spans, tokens, merging what overlaps or touches. What does not: finding spans, or what replaces them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

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
