"""Phrases of the lexicon as regular expressions over folded text.

What belongs here: how a phrase of `findings/*.toml` is written and what it matches. What does not: which phrases there are.

Folding keeps every character's position, so a match in folded text is a match in the report: lower case, no accents,
plain quotes and dashes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_GAP = r"(?:\s+[^\s.;:,]+){0,4}?\s+"  # up to four words, inside one clause
_SPACE = r"[\s\-_/]+"


def _folding() -> dict[int, str]:
    table: dict[int, str] = {}
    for code in range(0xC0, 0x250):
        base = unicodedata.normalize("NFD", chr(code))[0].lower()
        if len(base) == 1:
            table[code] = base
    table |= {
        ord("ß"): "s",
        ord("ẞ"): "s",
        ord("ø"): "o",
        ord("Ø"): "o",
        ord("œ"): "o",
        ord("Œ"): "o",
        ord("ł"): "l",
    }
    table |= {ord(c): "'" for c in "’‘`´ʼ"} | {ord(c): '"' for c in "“”„«»"} | {ord(c): "-" for c in "‐‑‒–—−"}
    return table


_FOLDING = _folding()


def fold(text: str) -> str:
    """The text in lower case without accents, as long as it was."""
    plain = text.translate(_FOLDING)
    lower = plain.lower()
    # a few letters outside Latin become longer in lower case: they are left as they are
    return (
        lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in plain)
    )


def _word(word: str, language: str) -> str:
    """One word as a pattern: `*` any letters, a dot optional; German also by its digraphs."""
    if language == "de":
        word = word.translate({ord("ä"): "ä\0", ord("ö"): "ö\0", ord("ü"): "ü\0", ord("ß"): "ss"})
    out = []
    for char in fold(word):
        if char == "\0":
            out.append("e?")
        elif char == "*":
            out.append(r"\w*")
        elif char == ".":
            out.append(r"\.?\s?")
        elif char == "-":
            out.append(r"[\s\-_/]?")
        else:
            out.append(re.escape(char))
    return "".join(out).replace("ss", "ss?") if language == "de" else "".join(out)


def pattern(phrase: str, language: str) -> str:
    """The regular expression of one phrase, with word boundaries where the phrase begins or ends with a letter."""
    pieces = [
        _SPACE.join(_word(w, language) for w in piece.split()) for piece in phrase.strip().split(" ... ")
    ]
    before = r"(?<!\w)" if phrase[0].isalnum() else ""
    after = r"(?!\w)" if phrase[-1].isalnum() or phrase[-1] == "." else ""
    return before + _GAP.join(pieces) + after


def any_of(phrases: Iterable[str], language: str) -> re.Pattern[str]:
    """Matches any of the phrases, the longest first; no phrase: matches nothing."""
    ordered = sorted(set(phrases), key=lambda p: (-len(p), p))
    return re.compile("|".join(pattern(p, language) for p in ordered) or r"(?!)")


def _anchor(phrase: str, language: str) -> str:
    """The longest run of characters that stands in every match of the phrase as it is."""
    plain = re.sub(r"\S\*|\*", " ", phrase.replace(" ... ", " "))
    if language == "de":
        plain = re.sub(r"[äöü]", lambda m: fold(m[0]) + " ", plain.replace("ß", "ss"))
        plain = fold(plain).replace("ss", "s ")
    return max(re.split(r"[\s.\-*]+", fold(plain)), key=len)


class Phrases:
    """Many phrases searched at once: only those whose longest fixed piece is in the text are tried.

    A plain alternation of hundreds of phrases is tried at every character; this is some twenty times faster.
    """

    def __init__(self, phrases: Iterable[str], language: str, *, lead: str = "", tail: str = "") -> None:
        self.phrases = sorted(set(phrases))
        self._items = [
            (_anchor(p, language), re.compile(lead + pattern(p, language) + tail, re.MULTILINE))
            for p in self.phrases
        ]

    def spans(self, text: str, start: int, end: int) -> list[tuple[int, int, str]]:
        """Start, end and phrase of every match in text[start:end], the leftmost and longest first, without overlaps."""
        window = text[start:end]
        found = [
            (m.start(), -m.end(), phrase)
            for phrase, (anchor, regex) in zip(self.phrases, self._items, strict=True)
            if anchor in window
            for m in regex.finditer(text, start, end)
        ]
        kept: list[tuple[int, int, str]] = []
        for begin, minus_end, phrase in sorted(found):
            if not kept or begin >= kept[-1][1]:
                kept.append((begin, -minus_end, phrase))
        return kept
