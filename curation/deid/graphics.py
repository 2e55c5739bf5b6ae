"""Graphic annotations of presentation states: shapes stay, what people wrote goes through the text engine (Clean Graphics).

What belongs here: the Graphic Annotation and Graphic Layer sequences, PS3.3 C.10.5 and C.10.7. What does not: overlays and
curves, which are removed whole (policy), and how text is judged (structured).
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.deid.structured import Around, Cleaner
from curation.deid.tree import Item, Value

ANNOTATIONS, LAYERS = 0x00700001, 0x00700060
_LAYER, _ORDER, _TEXTS, _SHAPES, _REFERENCES = 0x00700002, 0x00700062, 0x00700008, 0x00700009, 0x00081140
_TEXT = 0x00700006
_SHAPE = frozenset(
    [
        0x00700005,
        0x00700020,
        0x00700021,
        0x00700022,
        0x00700023,
        0x00700024,
        0x00700226,
        0x00700294,
        0x00700295,
    ]
)
_ANCHOR = frozenset(
    [0x00700003, 0x00700004, 0x00700010, 0x00700011, 0x00700012, 0x00700014, 0x00700015, 0x00700226]
)
_REFERENCE = frozenset([0x00081150, 0x00081155, 0x00081160, 0x0062000B])
_RECOMMENDED = frozenset([0x00700062, 0x00700066, 0x00700401])


class Graphics:
    """The graphics of one presentation state; its layers are called anew, since a layer may be called after a person."""

    def __init__(self, around: Around) -> None:
        self.cleaner = Cleaner(around)
        self.names: dict[bytes, bytes] = {}

    def annotations(self, items: Sequence[Item]) -> list[Item]:
        """Annotations with their shapes, and with those texts of which something is left."""
        out = []
        for item in items:
            made: Item = {}
            if _REFERENCES in item:
                made[_REFERENCES] = (b"SQ", [self.only(i, _REFERENCE) for i in _items(item[_REFERENCES][1])])
            made[_LAYER] = (b"CS", self.layer(item))
            texts = [
                text for i in _items(item.get(_TEXTS, (b"", []))[1]) if (text := self.text(i)) is not None
            ]
            shapes = [self.only(i, _SHAPE) for i in _items(item.get(_SHAPES, (b"", []))[1])]
            if texts:
                made[_TEXTS] = (b"SQ", texts)
            if shapes:
                made[_SHAPES] = (b"SQ", shapes)
            if texts or shapes:
                out.append(dict(sorted(made.items())))
        return out

    def layers(self, items: Sequence[Item]) -> list[Item]:
        """Layers by number, with their order and colour."""
        out = []
        for item in items:
            made = self.only(item, _RECOMMENDED)
            made[_LAYER] = (b"CS", self.layer(item))
            out.append(dict(sorted(made.items())))
        return out

    def layer(self, item: Item) -> bytes:
        """LAYER1, LAYER2 and so on, in the order in which they are met."""
        value = item.get(_LAYER, (b"CS", b""))[1]
        name = value.strip(b" \0") if isinstance(value, bytes) else b""
        self.cleaner.note(_LAYER, "C")
        return self.names.setdefault(name, b"LAYER%d" % (len(self.names) + 1))

    def text(self, item: Item) -> Item | None:
        """A text with its place; None where nothing of it is known to be safe."""
        value = item.get(_TEXT, (b"", b""))[1]
        kept = self.cleaner.free_text(value) if isinstance(value, bytes) else b""
        self.cleaner.note(_TEXT, "C" if kept else "X")
        if not kept:
            return None
        made = self.only(item, _ANCHOR)
        made[_TEXT] = (b"ST", kept)
        return dict(sorted(made.items()))

    def only(self, item: Item, tags: frozenset[int]) -> Item:
        """These attributes of an item, where their grammar leaves no room for words."""
        made: Item = {}
        for tag, (vr, value) in item.items():
            if tag in tags and (plain := self.cleaner.scalar(tag, vr, value)):
                made[tag] = (vr, plain)
            elif tag not in (_LAYER, _TEXT):
                self.cleaner.note(tag, "X")
        return made


def _items(value: Value) -> list[Item]:
    return value if isinstance(value, list) else []
