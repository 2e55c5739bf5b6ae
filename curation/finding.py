"""Report text to findings with an assertion: present, absent or uncertain, and the sentence that says so.

What belongs here: the lexicon, which sections count, and how many sentences become one row. What does not: the scope of
negation (assertion), sections and sentences (section), the words (findings/*.toml).

Rule for one row a study, finding and source: impression and addendum outrank every other section; within the outranking
section present wins over uncertain and uncertain over absent. Indication, history, technique, comparison, recommendation
and signature assert nothing.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from uuid import UUID

from curation.assertion import ABSENT, PRESENT, UNCERTAIN, Span, assess, find_triggers, rules_for
from curation.phrase import Phrases, fold
from curation.records import Finding, Refused, Report
from curation.section import PREAMBLE, find_sections, find_sentences, languages

__all__ = [
    "Said",
    "Term",
    "find_findings",
    "find_sections",
    "finding_bits",
    "finding_name",
    "findings_of",
    "findings_of_labels",
    "lexicon",
]

_SILENT = frozenset({"indication", "history", "technique", "comparison", "recommendation", "signature"})
_RANK = {"addendum": 2, "impression": 2}
_STRENGTH = {ABSENT: 0, UNCERTAIN: 1, PRESENT: 2}
_TITLE_CHARS = 300
UNDETERMINED = "und"
_LABELS = {1.0: PRESENT, 0.0: ABSENT, -1.0: UNCERTAIN}

Said = tuple[str, str, str]
"""Finding, assertion, evidence."""


@dataclass(frozen=True, slots=True)
class Term:
    """One finding of the lexicon: bit in `studies.finding_mask`, other names of its labels, phrases by language."""

    name: str
    title: str
    bit: int
    aliases: Sequence[str]
    phrases: Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class _Matcher:
    name: str
    words: Phrases
    not_words: Phrases
    absent_words: Phrases
    context: Phrases
    context_words: Phrases


@functools.cache
def lexicon() -> Mapping[str, Term]:
    """All findings by name, in the order of their bits."""
    folder = resources.files("curation") / "findings"
    terms = []
    for path in folder.iterdir():
        if path.name.endswith(".toml"):
            facts = tomllib.loads(path.read_text(encoding="utf-8"))
            name, aliases = path.name.removesuffix(".toml"), facts.pop("aliases", ())
            terms.append(Term(name, facts.pop("title"), facts.pop("bit"), tuple(aliases), facts))
    return {t.name: t for t in sorted(terms, key=lambda t: t.bit)}


def finding_bits() -> dict[str, int]:
    """Finding to its bit in `studies.finding_mask`, 0 to 62; a bit is never given to another finding."""
    return {term.name: term.bit for term in lexicon().values()}


@functools.cache
def _aliases() -> Mapping[str, str]:
    return {alias: term.name for term in lexicon().values() for alias in term.aliases}


def finding_name(label: str) -> str:
    """The lexicon's name of a finding or label: lower case, `label_` taken off, other names resolved."""
    name = re.sub(r"\W+", "_", label.strip().lower()).strip("_").removeprefix("label_")
    return _aliases().get(name, name)


@functools.cache
def _matchers(language: str) -> Sequence[_Matcher]:
    keys = ("words", "not_words", "absent_words", "context", "context_words")
    return [
        _Matcher(term.name, *(Phrases(words.get(key, ()), language) for key in keys))
        for term in lexicon().values()
        if (words := term.phrases.get(language))
    ]


def find_findings(
    text: str, sections: Iterable[Mapping[str, Any]] | None = None, language: str = "en"
) -> list[Said]:
    """What a report says, one entry a finding, sorted by name: (finding, assertion, the sentence that says so).

    sections: as `find_sections` gives them (found here where None). A language without rules gives nothing: words taken
    without the language's negations would assert what the report denies. A text too short to show its language ("und",
    ISO 639-2) is read in all of them, and what one of them denies is denied.
    """
    if language == UNDETERMINED:
        said: dict[str, Said] = {}
        for one in [one for code in languages() for one in find_findings(text, sections, code)]:
            if one[0] not in said or _STRENGTH[one[1]] < _STRENGTH[said[one[0]][1]]:
                said[one[0]] = one
        return [said[name] for name in sorted(said)]
    if language not in languages():
        return []
    found = list(sections) if sections is not None else find_sections(text)
    reader = _Reader(text, fold(text), language, _in_context(text, found, language))
    best: dict[str, tuple[tuple[int, int], str, str]] = {}
    for name, start, end in _asserting(found):
        for finding, assertion, evidence in reader.read(start, end):
            weight = (_RANK.get(name, 1), _STRENGTH[assertion])
            if finding not in best or weight > best[finding][0]:
                best[finding] = (weight, assertion, evidence)
    return [(finding, said[1], said[2]) for finding, said in sorted(best.items())]


def _asserting(sections: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """Name, start and end of the sections that assert something."""
    has_body = any(s["name"] in ("findings", "impression") for s in sections)
    # before the first heading of a structured report stand title and question; elsewhere it is the report itself
    silent = _SILENT | {PREAMBLE} if has_body else _SILENT
    spans = [(str(s["name"]), int(s["start"]), int(s["end"])) for s in sections]
    return [s for s in spans if s[0] not in silent]


def _in_context(text: str, sections: Sequence[Mapping[str, Any]], language: str) -> frozenset[str]:
    """Findings whose organ the title or technique names: there their plain words ("no mass") mean them."""
    spans = [(s["start"], s["end"]) for s in sections if s["name"] in (PREAMBLE, "technique")]
    told = fold(" ".join(text[a : min(b, a + _TITLE_CHARS)] for a, b in spans))
    return frozenset(m.name for m in _matchers(language) if m.context.spans(told, 0, len(told)))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One report being read."""

    text: str
    folded: str
    language: str
    in_context: frozenset[str]

    def read(self, start: int, end: int) -> list[Said]:
        """Everything a section says, mention by mention."""
        mentions = self._mentions(start, end)
        if not mentions:
            return []
        said: list[Said] = []
        rules = rules_for(self.language)
        for a, b in find_sentences(self.text, start, end, self.language):
            inside = [
                (name, (s - a, e - a), states) for name, (s, e), states in mentions if a <= s and e <= b
            ]
            if not inside:
                continue
            sentence = self.folded[a:b]
            triggers = find_triggers(sentence, rules)
            spans = [span for _, span, _ in inside]
            for name, span, states in inside:
                # "the heart is not enlarged" as a whole says absent: its own "not" is no second negation
                outside = [t for t in triggers if states == PRESENT or t.end <= span[0] or span[1] <= t.start]
                assertion = assess(sentence, span, spans, outside, rules)
                if states == ABSENT:
                    # "the lungs are not clear" says that something is there, not what
                    assertion = ABSENT if assertion == PRESENT else None
                if assertion is not None:
                    said.append((name, assertion, self.text[a:b]))
        return said

    def _mentions(self, start: int, end: int) -> list[tuple[str, Span, str]]:
        """Finding, span and whether its words state presence or absence, for every mention in a section."""
        matchers = _matchers(self.language)
        claimed = {
            m.name: self._spans(m.context_words, start, end) for m in matchers if m.name in self.in_context
        }
        mentions: list[tuple[str, Span, str]] = []
        for matcher in matchers:
            absent = self._spans(matcher.absent_words, start, end)
            mentions += [(matcher.name, span, ABSENT) for span in absent]
            words = self._spans(matcher.words, start, end)
            own = claimed.get(matcher.name, [])
            if not words and not own:
                continue
            masked = absent + self._spans(matcher.not_words, start, end)
            if matcher.name not in claimed:
                # in a report on the breast, "mass" is a mass of the breast and of nothing else
                masked += [span for spans in claimed.values() for span in spans]
            kept = [w for w in words if not _overlaps(w, masked)]
            kept += [w for w in own if not _overlaps(w, kept)]
            mentions += [(matcher.name, w, PRESENT) for w in kept]
        return mentions

    def _spans(self, phrases: Phrases, start: int, end: int) -> list[Span]:
        return [(a, b) for a, b, _ in phrases.spans(self.folded, start, end)]


def _overlaps(span: Span, others: Sequence[Span]) -> bool:
    return any(o[0] < span[1] and span[0] < o[1] for o in others)


def findings_of(report: Report) -> list[Finding]:
    """What a de-identified report says, as rows with source `report`."""
    stamp = {"site": report.site, "delivery": report.delivery, "code_version": report.code_version}
    said = find_findings(report.text, report.sections, report.language)
    return [
        Finding(report.study_id, name, assertion, "report", evidence, **stamp)
        for name, assertion, evidence in said
    ]


def findings_of_labels(
    study_id: UUID, labels: Mapping[str, float | str | None], *, site: str, delivery: str, code_version: str
) -> list[Finding]:
    """Labels of one study as rows with source `label`: 1 present, 0 absent, -1 uncertain; empty says nothing.

    Raises Refused("unreadable_report") for any other value. Two columns of one finding: the stronger one stands.
    """
    best: dict[str, str] = {}
    for label, value in labels.items():
        assertion = _assertion_of(value)
        name = finding_name(label)
        if assertion and (name not in best or _STRENGTH[assertion] > _STRENGTH[best[name]]):
            best[name] = assertion
    stamp = {"site": site, "delivery": delivery, "code_version": code_version}
    return [
        Finding(study_id, name, assertion, "label", "", **stamp) for name, assertion in sorted(best.items())
    ]


def _assertion_of(value: float | str | None) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except ValueError:
        raise Refused("unreadable_report") from None
    if math.isnan(number):
        return None
    if number not in _LABELS:
        raise Refused("unreadable_report")
    return _LABELS[number]
