"""ok, suspicious or shortcut, and the sentence why.

What belongs here: the rule. What does not: its thresholds (verdict.toml), the figures it judges (reliance, blanking).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from training.audits.reliance import Reliance

Level = Literal["ok", "suspicious", "shortcut"]
LEVELS: tuple[Level, ...] = ("ok", "suspicious", "shortcut")
"""Rising; the word of a run is the worst of its labels."""

PERSONAL = ("sex", "age_band")
"""What a person is may be seen in an image and go with disease: at most suspicious."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Thresholds; what each means stands in verdict.toml."""

    association: float
    z: float
    sure: float
    readable: float
    follows: float
    drop: float
    blanked: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word on one label."""

    level: Level
    sentence: str


@dataclass(frozen=True, slots=True)
class Blanked:
    """AUROC of one label with a part of every tile blanked, against the same studies whole."""

    part: str
    lost: float
    low: float
    """Lower end of the 95 % interval of what was lost."""
    changed: float
    """Share of studies whose answer at the operating point changed; NaN where there is no such point."""


def read_rule() -> Rule:
    """The rule of this release."""
    return Rule(**tomllib.loads(resources.files("training.audits").joinpath("verdict.toml").read_text()))


def judge(label: str, columns: Sequence[Reliance], blanked: Sequence[Blanked], rule: Rule) -> Verdict:
    """The word on one label: the worst of what each column and each blanked part says."""
    found = [_of_column(label, one, rule) for one in columns] + [
        _of_part(label, one, rule) for one in blanked
    ]
    worst = max(found, key=lambda v: LEVELS.index(v.level), default=None)
    if worst is None:
        return Verdict("ok", f"{label}: nothing is recorded by which its scores could be told apart.")
    if worst.level == "ok":
        return Verdict("ok", f"{label}: scores follow no recorded property that goes with the label.")
    return worst


def _of_column(label: str, one: Reliance, rule: Rule) -> Verdict:
    is_following = one.z >= rule.sure or (one.z >= rule.z and not one.readable < rule.readable)
    is_leaning = one.association >= rule.association and one.follows >= rule.follows and is_following
    if not is_leaning:
        return Verdict("ok", "")
    words = (
        f"{label} goes with {one.column} (V {one.association:.2f}), and among studies of the same label scores follow it "
        f"({one.follows:.2f}, 0.50 is not at all)"
    )
    if one.drop is None or one.turned is None:
        return Verdict("suspicious", f"{words}; the test split has no study that goes against it.")
    words += f"; AUROC {one.plain.value:.2f} is {one.turned.value:.2f} where the association is turned round"
    if one.drop.value >= rule.drop and one.drop.low > 0 and one.column not in PERSONAL:
        return Verdict("shortcut", f"{words}.")
    return Verdict("suspicious", f"{words}: or its patients differ in how ill they are.")


def _of_part(label: str, one: Blanked, rule: Rule) -> Verdict:
    if one.lost < rule.blanked or one.low <= 0:
        return Verdict("ok", "")
    return Verdict(
        "suspicious",
        f"{label}: AUROC falls by {one.lost:.2f} where {one.part} are blanked, which hold no anatomy to speak of.",
    )
