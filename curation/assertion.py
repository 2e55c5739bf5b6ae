"""What one sentence says of one mention: present, absent, uncertain, or nothing at all.

What belongs here: triggers and how far they reach. What does not: which words are a finding (finding), which section
counts (finding), the trigger phrases (findings/languages/*.toml).

The method is that of NegEx and ConText: trigger phrases before, inside or after a mention, each with a scope. The roles:
negation, uncertainty; `silent` for what is not said of this study (history, the question asked, "no new nodule"); `pseudo`
for phrases that hold a trigger word and mean something else ("no change in the nodule").

How far a trigger reaches forward: to a terminator ("but", "there is"), or to a comma or "and" after which a new noun phrase
begins ("No pneumothorax, small effusion"), unless "or" later closes a list ("No pneumothorax, large effusion or fracture").
Uncertainty reaches less far than negation: to the next comma or "and" in any case. Backward, a trigger reaches to the
nearest mention and over a list of mentions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from curation.phrase import Phrases, any_of, pattern
from curation.section import language_rules

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"

Span = tuple[int, int]

_ROLES = (
    "pseudo",
    "silent_before",
    "silent_after",
    "uncertain_before",
    "uncertain_after",
    "negation_before",
    "negation_inside",
    "negation_after",
)
_MEANING = {"silent": None, "uncertain": UNCERTAIN, "negation": ABSENT}
_LIST_WORDS = 2  # adjectives allowed between two members of a list


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger phrase in a sentence, with all roles the phrase may play."""

    start: int
    end: int
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The compiled rules of one language."""

    triggers: Phrases
    roles: Mapping[str, frozenset[str]]
    terminators: re.Pattern[str]
    new_phrase: re.Pattern[str]
    joints: re.Pattern[str]
    closers: re.Pattern[str]
    plural_joints: re.Pattern[str]
    singular: re.Pattern[str]


@functools.cache
def rules_for(language: str) -> Rules:
    """The rules of a language that has a file."""
    facts = language_rules(language)
    phrases: dict[str, set[str]] = {}
    for role in _ROLES:
        for phrase in facts["triggers"]["pseudo"] if role == "pseudo" else facts["triggers"][role]:
            phrases.setdefault(phrase, set()).add(role)
    scope = facts["scope"]
    joiners = "|".join(pattern(j, language) for j in scope["joiners"])
    qualifiers = any_of(scope["qualifiers"], language).pattern
    return Rules(
        triggers=Phrases(phrases, language),
        roles={p: frozenset(roles) for p, roles in phrases.items()},
        terminators=re.compile(any_of(scope["terminators"], language).pattern + "|;|(?<=[a-z]):"),
        new_phrase=re.compile(rf"(?:,|{joiners})\s*(?:(?:{joiners})\s*)?(?:{qualifiers}|\d)"),
        joints=re.compile(rf",|{joiners}"),
        closers=any_of(scope["closers"], language),
        plural_joints=re.compile(
            rf"^(?:\s|,|/|-|\w+ ){{0,{_LIST_WORDS}}}(?:,|/|{joiners}|{any_of(scope['closers'], language).pattern})"
        ),
        singular=re.compile(r"^(?:is|was|has|ist|wurde|es|est|a)\b"),
    )


def find_triggers(sentence: str, rules: Rules) -> list[Trigger]:
    """Triggers of a folded sentence, leftmost and longest first, not overlapping."""
    return [
        Trigger(a, b, rules.roles[phrase])
        for a, b, phrase in rules.triggers.spans(sentence, 0, len(sentence))
    ]


def assess(
    sentence: str, mention: Span, others: Sequence[Span], triggers: Sequence[Trigger], rules: Rules
) -> str | None:
    """What the folded sentence says of the mention; None where it says nothing of this study.

    others: the spans of all mentions in the sentence. The nearest trigger decides; at the same distance silence wins over
    negation, and negation over uncertainty.
    """
    reached = sorted(
        (distance, ("silent", "negation", "uncertain").index(kind), kind)
        for distance, kind in _reaching(sentence, mention, others, triggers, rules)
    )
    if not reached:
        return PRESENT
    if any(kind == "silent" for _, _, kind in reached[:2]):
        return None
    return _MEANING[reached[0][2]]


def _reaching(
    sentence: str, mention: Span, others: Sequence[Span], triggers: Sequence[Trigger], rules: Rules
) -> Iterator[tuple[int, str]]:
    """Distance in words and kind of every trigger whose scope holds the mention."""
    start, end = mention
    for trigger in triggers:
        if start < trigger.end <= end and trigger.start >= start:
            if "negation_inside" in trigger.roles:
                yield 0, "negation"
            continue
        for role in trigger.roles:
            kind, _, side = role.partition("_")
            if side == "before" and trigger.end <= start:
                between = sentence[trigger.end : start]
                if _reaches_forward(between, sentence[end:], kind, rules):
                    yield len(between.split()), kind
            elif (
                side == "after"
                and trigger.start >= end
                and _reaches_backward(sentence, mention, trigger, others, rules)
            ):
                yield len(sentence[end : trigger.start].split()), kind


def _reaches_forward(between: str, rest: str, kind: str, rules: Rules) -> bool:
    between = between.lstrip(" :")
    if rules.terminators.search(between):
        return False
    # "no effusion, large pneumothorax or fracture": the closing "or" says that all of it is one list
    is_list = rules.closers.search(between) or _closes_list(rest, rules)
    stop = rules.new_phrase if kind in ("negation", "silent") else rules.joints
    return bool(is_list) or not stop.search(between)


def _closes_list(rest: str, rules: Rules) -> bool:
    """Whether the list goes on behind the mention and is closed by "or" before its clause ends."""
    closer = rules.closers.search(rest)
    return closer is not None and not rules.terminators.search(rest, 0, closer.start())


def _reaches_backward(
    sentence: str, mention: Span, trigger: Trigger, others: Sequence[Span], rules: Rules
) -> bool:
    between = sentence[mention[1] : trigger.start]
    if rules.terminators.search(between):
        return False
    later = sorted(o for o in others if mention[1] <= o[0] and o[1] <= trigger.start)
    if not later:
        return True
    # over other mentions only along a list, and "x and y is absent" speaks of y alone
    if rules.singular.match(sentence[trigger.start : trigger.end]):
        return False
    ends = [mention[1], *(o[1] for o in later)]
    starts = [o[0] for o in later]
    return all(_joins(sentence[a:b], rules) for a, b in zip(ends, starts, strict=False))


def _joins(between: str, rules: Rules) -> bool:
    words = re.findall(r"\w+", between)
    return len(words) <= _LIST_WORDS and bool(
        rules.joints.search(between) or rules.closers.search(between) or "/" in between
    )
