"""What typing, printing and interfaces do to a made-up report: capitals, lost marks, slips, hard line ends.

Belongs here: changes to pieces of text that keep track of what is an identifier. Does not: what the pieces say.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from benchmarks.deid.text import test_side_people as people


@dataclass
class Piece:
    text: str
    category: str = ""
    """Empty: clinical words. `neutral`: counted neither way (times, titles, states)."""
    known: bool = False
    entity: str = ""
    form: str = ""
    day: str = ""
    pattern: str = ""


def mess_up(pieces: list[Piece], rng: random.Random, language: str) -> list[Piece]:
    """What typing, printing and interfaces do to a report; identifiers are hit like everything else."""
    if rng.random() < 0.06:
        for p in pieces:
            p.text = people.upper(p.text)
    if language != "en" and rng.random() < 0.05:
        for p in pieces:
            p.text = people.unmarked(p.text)
    if rng.random() < 0.12:
        longest = max((p for p in pieces if not p.category), key=lambda p: len(p.text))
        longest.text = _typos(longest.text, rng)
    if rng.random() < 0.05:
        for p in pieces:
            if not p.category:
                p.text = re.sub(r"([,:;]) (?=\S)", r"\1", p.text)
    if rng.random() < 0.05:
        for p in pieces:
            if not p.category:
                p.text = p.text.replace(". ", ".  ")
    if rng.random() < 0.2:
        _wrap(pieces, rng.randrange(58, 90))
    if rng.random() < 0.08:
        for p in pieces:
            p.text = p.text.replace("\n", "\r\n")
    return pieces


def _typos(text: str, rng: random.Random) -> str:
    for _ in range(2):
        at = rng.randrange(1, len(text) - 2)
        if text[at : at + 2].isalpha():
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def _wrap(pieces: list[Piece], width: int) -> None:
    """Hard line ends by column: they fall within names, dates and addresses too."""
    column = 0
    for piece in pieces:
        text = ""
        for c in piece.text:
            if c == " " and column > width:
                c = "\n"
            column = 0 if c == "\n" else column + 1
            text += c
        piece.text = text
