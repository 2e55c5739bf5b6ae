"""Sequences that are cleaned as a whole, once the walk has met all that the object says of the person.

What belongs here: which sequences, and who cleans them. What does not: how (structured, graphics).
"""

from __future__ import annotations

from collections.abc import Mapping

from curation.deid.graphics import ANNOTATIONS, LAYERS, Graphics
from curation.deid.structured import (
    CONTENT,
    OBSERVERS,
    TEMPLATE,
    Around,
    clean_content,
    clean_items,
    clean_observers,
    clean_template,
)
from curation.deid.tree import Item, splice, write_items

CONTEXT = 0x00400555
ASIDE = frozenset({CONTENT, CONTEXT, OBSERVERS, TEMPLATE, ANNOTATIONS, LAYERS})
"""Top-level sequences of content items, their template, who verified them, and graphics."""


def put_back(
    header: bytes, aside: Mapping[int, list[Item]], around: Around
) -> tuple[bytes, list[bytes], list[tuple[str, str]]]:
    """The header with these sequences cleaned and put where they stood; what was put there; the actions for the log."""
    made: dict[int, bytes | None] = {}
    log: list[tuple[str, str]] = []
    graphics = Graphics(around)
    for tag, items in sorted(aside.items()):
        if tag == ANNOTATIONS:
            clean = graphics.annotations(items)
        elif tag == LAYERS:
            clean = graphics.layers(items)
        elif tag == OBSERVERS:
            clean = clean_observers(items, around)
            log.append(("(0040,a073)", "D"))
        elif tag == TEMPLATE:
            clean = clean_template(items, around)
        else:
            clean, actions = (clean_content if tag == CONTENT else clean_items)(items, around)
            log += actions
        # an acquisition context may be empty and must be there (PS3.3 C.7.6.14)
        made[tag] = write_items(clean) if clean or tag == CONTEXT else None
    return (
        splice(header, made),
        [value for value in made.values() if value],
        [*log, *dict.fromkeys(graphics.cleaner.log)],
    )
