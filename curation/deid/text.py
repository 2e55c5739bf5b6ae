"""Report text without the person: what the headers know of them first, then rules with context, then a last look.

What belongs here: the order of the steps, and what becomes of each span. What does not: finding spans (known, naming,
places, numbers, dates), words and cues (lexicon, rules/text/), linking a report to its study (steps).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from curation.deid import ages, dates, second_opinion, worded_dates
from curation.deid.addresses import find_addresses
from curation.deid.default_deny import find_unexplained
from curation.deid.identity import Identity
from curation.deid.known import Known
from curation.deid.lexicon import ANY, Lexicon, detect_language, lexicon
from curation.deid.naming import find_names
from curation.deid.numbers import find_numbers
from curation.deid.places import find_places
from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.spans import SHAPED, Span, Token, join_names, raised, resolve, tokenize, trimmed
from curation.deid.spelling import fold
from curation.deid.standins import StandIns
from curation.records import Refused

MAX_CHARACTERS = 1_000_000
OLDEST_YEARS = 90
_BIRTH_REACH = 24  # characters between `born` and the date it announces


@dataclass(frozen=True, slots=True)
class CleanText:
    """A de-identified text. `actions` are (category, code): X replaced by a tag, C by a stand-in or a moved date."""

    text: str
    n_redactions: int
    actions: tuple[tuple[str, str], ...]
    language: str
    spans: tuple[tuple[int, int, str], ...] = ()
    """(start, end, category) of every replacement, in the cleaned text."""


def clean_text(
    text: str, identity: Identity, policy: Policy, pseudonyms: Pseudonyms, patient_id: UUID
) -> CleanText:
    """The text with every span that may identify replaced, as the profile's `text` says: by stand-ins or tags.

    Dates are moved by the patient's own offset; ages over 89 become words. A text whose language cannot be told gets
    the rules of all languages, and tags.

    Raises Refused: identity_suspected where something known of the person is still there after cleaning;
    unreadable_report where the text is in a language that the profile does not name; too_large above a million
    characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise Refused("too_large")
    text = unicodedata.normalize("NFC", text)
    language = detect_language(text)
    if language is None or (language != ANY and language not in policy.profile.languages):
        raise Refused("unreadable_report")
    words = lexicon(language)
    known = Known(identity, words)
    chosen = _chosen(text, words, known, policy, pseudonyms.offset_days(patient_id))
    real = known.words | frozenset(fold(w) for s in chosen for w in text[s.start : s.end].split())
    stand_ins = StandIns(pseudonyms, patient_id, words, known.given, real)
    is_tagged = policy.profile.text == "tags" or language == ANY
    cleaned, spans, actions = _replaced(text, chosen, stand_ins, is_tagged=is_tagged)
    if known.is_in(_outside(cleaned, spans) if is_tagged else cleaned):
        raise Refused("identity_suspected")
    if policy.profile.second_opinion and second_opinion.sees_a_person(cleaned, spans, words):
        raise Refused("identity_suspected")
    return CleanText(cleaned, len(chosen), actions, "und" if language == ANY else language, spans)


def _chosen(text: str, words: Lexicon, known: Known, policy: Policy, days: int) -> list[Span]:
    """Spans to replace. What is written without capitals is read as if it were written in capitals."""
    written, text = text, raised(text)
    tokens = tokenize(text)
    cues = find_cues(tokens, words)
    moved = list(_dates(written, tokens, cues, words, known.born, policy, days))
    if written != text:  # a day in may, written without capitals
        more = _dates(text, tokens, cues, words, known.born, policy, days)
        moved += [
            replace(s, replacement=s.replacement and s.replacement.lower())
            for s in more
            if not any(s.start < m.end and m.start < s.end for m in moved)
        ]
    spans = [
        *known.spans(text),
        *moved,
        *find_numbers(text, tokens, cues, words, {s.start: s.end for s in moved}),
        *find_places(text, tokens, cues, words),
        *find_addresses(text, words.code),
    ]
    spans += [*find_names(tokens, words, cues), *find_unexplained(tokens, words)]
    # before they are merged: what a trimmed span leaves may be another's
    spans = resolve(trimmed(span, text, tokens, words) for span in spans)
    return join_names(text, spans)


def find_cues(tokens: Sequence[Token], words: Lexicon) -> list[tuple[int, int, str]]:
    """(first token, token after the last, kind) of every cue phrase; of one kind the longest at each place."""
    found = []
    for position, token in enumerate(tokens):
        rows = words.cues.get(token.low)
        if rows is None:
            continue
        seen: set[str] = set()
        for phrase, kind in rows:
            after = position + len(phrase)
            if kind in seen or after > len(tokens):
                continue
            if all(tokens[position + n].low == word for n, word in enumerate(phrase[1:], 1)) and not any(
                "\n\n" in t.gap for t in tokens[position + 1 : after]
            ):
                seen.add(kind)
                found.append((position, after, kind))
    return found


def _dates(
    text: str, tokens: Sequence[Token], cues: Sequence[tuple[int, int, str]], words: Lexicon,
    born: date | None, policy: Policy, days: int,
) -> Iterator[Span]:  # fmt: skip
    mode = policy.profile.dates
    latest = date.today().year
    numeric = list(dates.find_numeric(text, days, words.code, born, latest))
    found = [*numeric, *worded_dates.find_worded(text, days, words.code, latest, numeric)]
    births = [tokens[after - 1].end for _, after, kind in cues if kind == "birth"]

    def is_birth(one: dates.Found) -> bool:
        return one.day is not None and (
            one.day == born or any(0 <= one.start - end <= _BIRTH_REACH for end in births)
        )

    last = max((f.day for f in found if f.day is not None and not is_birth(f)), default=None)
    for one in found:
        replacement = one.replacement if mode == "modified" else None
        if mode == "full" and replacement is None and one.replacement is not None and not is_birth(one):
            continue
        # a birth date of somebody who may be 90 tells an age that is kept from everybody else
        if (
            one.day is not None
            and is_birth(one)
            and (last is None or last.year - one.day.year >= OLDEST_YEARS)
        ):
            replacement = None
        yield Span(one.start, one.end, "DATE", SHAPED, replacement)
    for age in ages.find_old_ages(text, words.code):
        yield Span(age.start, age.end, "AGE", SHAPED, age.replacement)


def _replaced(
    text: str, chosen: Sequence[Span], stand_ins: StandIns, *, is_tagged: bool
) -> tuple[str, tuple[tuple[int, int, str], ...], tuple[tuple[str, str], ...]]:
    """The cleaned text, where each replacement stands in it, and what was done."""
    out: list[str] = []
    spans: list[tuple[int, int, str]] = []
    actions: dict[tuple[str, str], None] = {}
    pos = length = 0
    for span in chosen:
        new = span.replacement
        if new is None:
            is_plain = is_tagged or span.category in ("DATE", "AGE")
            new = (
                f"[{span.category}]" if is_plain else stand_ins.of(span.category, text[span.start : span.end])
            )
        kept = text[pos : span.start]
        out += [kept, new]
        spans.append((length + len(kept), length + len(kept) + len(new), span.category))
        length += len(kept) + len(new)
        actions[span.category, "X" if new == f"[{span.category}]" else "C"] = None
        pos = span.end
    return "".join([*out, text[pos:]]), tuple(spans), tuple(actions)


def _outside(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """The text with its tags blanked: a patient called Name is not left over because a tag says so."""
    out, pos = [], 0
    for start, end, category in spans:
        out += [text[pos:start], " " if text[start:end] == f"[{category}]" else text[start:end]]
        pos = end
    return "".join([*out, text[pos:]])
