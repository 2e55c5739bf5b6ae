"""Sections and sentences of a report.

What belongs here: where a section begins and ends, and where a sentence does. What does not: what a sentence says
(assertion, finding). Section headings and abbreviations are data: findings/languages/*.toml.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from curation.phrase import Phrases, fold

PREAMBLE = "preamble"
"""What stands before the first heading; the whole report where there is none."""

_LINE_WRAPS_FROM = 50  # a shorter line ended because its author ended it
_BULLET = re.compile(r"\s*(?:[-*•·]\s|\d{1,2}[.)]\s|$)")
_STOP = re.compile(r"[.!?]+(?=[\s\"')\]]|$)|\n")


@functools.cache
def languages() -> tuple[str, ...]:
    """Languages with rules, sorted."""
    folder = resources.files("curation") / "findings" / "languages"
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")))


@functools.cache
def language_rules(language: str) -> Mapping[str, Any]:
    """The rules of one language as they stand in its file."""
    path = resources.files("curation") / "findings" / "languages" / f"{language}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@functools.cache
def _headings() -> list[tuple[Phrases, Mapping[str, str]]]:
    """For each language its headings, and heading to section name."""
    # a heading opens a line or a sentence and ends in a colon, or stands alone in its line
    lead, tail = r"(?:(?<=\n)|(?<=^)|(?<=[.!?\]]\s))[ \t#*=_-]*(?:", r")[ \t*_=]*(?::|(?=\n)|$)"
    found: list[tuple[Phrases, Mapping[str, str]]] = []
    for language in languages():
        names = {
            p: section for section, phrases in language_rules(language)["sections"].items() for p in phrases
        }
        found.append((Phrases(names, language, lead=lead, tail=tail), names))
    return found


def find_sections(text: str) -> list[dict[str, Any]]:
    """Sections in order: name, and start and end as character offsets into the text; a heading is in no section.

    Names: preamble, indication, history, technique, comparison, findings, impression, recommendation, addendum, signature.
    Empty sections are left out; a name may come twice.
    """
    folded = fold(text)
    marks: list[tuple[int, int, str]] = []
    for headings, names in _headings():
        marks += [(a, b, names[phrase]) for a, b, phrase in headings.spans(folded, 0, len(folded))]
    marks = _leftmost(marks)
    bounds = [(0, 0, PREAMBLE), *marks]
    sections = []
    for n, (_, start, name) in enumerate(bounds):
        end = bounds[n + 1][0] if n + 1 < len(bounds) else len(text)
        body = text[start:end]
        start += len(body) - len(body.lstrip())
        end = start + len(body.strip())
        if end > start:
            sections.append({"name": name, "start": start, "end": end})
    return sections


def _leftmost(marks: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Marks in order, the longer first where two begin together, without overlaps."""
    kept: list[tuple[int, int, str]] = []
    for mark in sorted(marks, key=lambda m: (m[0], -m[1])):
        if not kept or mark[0] >= kept[-1][1]:
            kept.append(mark)
    return kept


@functools.cache
def _abbreviations(language: str) -> frozenset[str]:
    return frozenset(fold(a) for a in language_rules(language)["abbreviations"])


def find_sentences(text: str, start: int, end: int, language: str) -> list[tuple[int, int]]:
    """Start and end of every sentence of a section, as offsets into the text.

    A sentence ends at a full stop that no abbreviation explains, at an empty line, before a bullet, and at the end of a
    short line; a long line is taken to be wrapped.
    """
    abbreviations = _abbreviations(language)
    sentences, begin = [], start
    for stop in _STOP.finditer(text, start, end):
        if not _ends_sentence(text, begin, stop, end, abbreviations):
            continue
        sentences.append((begin, stop.end()))
        begin = stop.end()
    sentences.append((begin, end))
    return [s for s in (_trimmed(text, a, b) for a, b in sentences) if s[0] < s[1]]


def _ends_sentence(
    text: str, begin: int, stop: re.Match[str], end: int, abbreviations: frozenset[str]
) -> bool:
    at = stop.start()
    if stop[0] != "\n":
        words = text[begin:at].split()
        last = fold(words[-1]).lstrip("([\"'") if words else ""
        # "V. a. Pneumonie": a single letter before a full stop is part of an abbreviation
        return stop[0] != "." or not (last in abbreviations or (len(last) == 1 and last.isalpha()))
    line = text[text.rfind("\n", 0, at) + 1 : at]
    following = text[at + 1 : end].split("\n", 1)[0]
    return len(line.rstrip()) < _LINE_WRAPS_FROM or _BULLET.match(following) is not None


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def section_at(sections: Sequence[Mapping[str, Any]], position: int) -> str:
    """Name of the section that holds a character position; empty for a heading."""
    return next((str(s["name"]) for s in sections if s["start"] <= position < s["end"]), "")
