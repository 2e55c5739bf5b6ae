"""Identity: what a header says about the person. Restricted: it never leaves memory except to clean text.

What belongs here: harvesting originals, and looking for them in what is about to be released. What does not: cleaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curation.deid.actions import emptied, vocabulary
from curation.deid.charset import readings
from curation.deid.explicit import element, elements_of
from curation.deid.policy import Act, Policy

MIN_WORD = 4
_SPLIT = re.compile(rb"[\^=\\ ,;:/()\0]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """RESTRICTED. What one header says about the person, in its original words."""

    site: str
    patient_id: str
    issuer: str
    names: tuple[str, ...]
    birth_date: str
    sex: str
    accession: str
    study_uid: str
    other: tuple[str, ...]
    patient_name: str = ""
    """The patient's own name, by which linkage tokens are made; `names` holds it too, among others'."""

    def __repr__(self) -> str:
        return "Identity(restricted)"


def harvest(
    seen: Iterable[tuple[str, bytes]], codecs: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and other identifying values of one header, each once, in order."""
    names: dict[str, None] = {}
    other: dict[str, None] = {}
    for kind, raw in dict.fromkeys(seen):
        if kind in ("block", "table"):  # what stayed, not what it says
            continue
        target = names if kind == "name" else other
        for text in readings(raw, codecs):
            for value in text.split("\\"):
                if value.strip(" ^"):
                    target[value.strip()] = None
    return tuple(names), tuple(other)


def naming_words(seen: Iterable[tuple[str, bytes]]) -> frozenset[bytes]:
    """Lower-case words and numbers, four bytes or longer, that would name the person in a header value."""
    words: set[bytes] = set()
    for kind, raw in seen:
        low = raw.lower()
        if kind == "name" or kind == "place" or kind == "address":
            words.update(w for w in _SPLIT.split(low) if len(w) >= MIN_WORD)
        elif kind in ("id", "phone"):
            words.update(w for w in (p.strip(b" \0") for p in low.split(b"\\")) if len(w) >= MIN_WORD)
    if any(kind == "table" for kind, _ in seen):  # numbers of 16 bits may spell a name
        text = [w.decode("ascii") for w in words if w.isascii()]
        words.update(w.encode(codec) for w in text for codec in ("utf-16-le", "utf-16-be"))
    return frozenset(words)


_TEXT = frozenset(b"AE CS LO LT SH ST UC UT".split())
_NUMBERS = frozenset(b"US SS UL SL SV UV FL FD AT OB OW OF OD OL OV UN DA TM DT AS".split())
_OWN = frozenset({0x00100010, 0x00100020, 0x00120063, 0x00120064, 0x00080005})


def drop_naming(header: bytes, words: frozenset[bytes], policy: Policy) -> bytes:
    """The header with every text value emptied that holds one of the words.

    Coded strings and equipment keep words of the safe vocabulary: a patient called Philips does not rename a scanner.
    """
    out = []
    for tag, vr, pos, start, stop in elements_of(header):
        if vr == b"SQ" and tag not in _OWN:
            out.append(element(tag, vr, _drop_in_items(header[start:stop], words, policy)))
        elif (
            (vr in _TEXT and tag not in _OWN and _names(header[start:stop], words, policy.by_vr[vr].get(tag)))
            or (
                vr in (b"IS", b"DS")
                and not words.isdisjoint(v.strip(b" \0") for v in header[start:stop].split(b"\\"))
            )
            or (vr in _NUMBERS and tag not in _OWN and _hides(header[start:stop], words))
        ):
            out.append(element(tag, vr, emptied(tag, vr) if vr in _TEXT else b""))
        else:
            out.append(header[pos:stop])
    return b"".join(out)


def _drop_in_items(items: bytes, words: frozenset[bytes], policy: Policy) -> bytes:
    out, pos = [], 0
    while pos < len(items):
        stop = pos + 8 + int.from_bytes(items[pos + 4 : pos + 8], "little")
        content = drop_naming(items[pos + 8 : stop], words, policy)
        out.append(b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content)
        pos = stop
    return b"".join(out)


def _hides(value: bytes, words: frozenset[bytes]) -> bool:
    """Whether a value that should be numbers spells one of the words."""
    low = value.lower()
    return any(word in low for word in words if not word.isdigit())


def _names(value: bytes, words: frozenset[bytes], rule: object) -> bool:
    low = value.lower()
    hits = [w for w in words if w in low]
    if not hits:
        return False
    is_free = getattr(rule, "act", rule) is Act.WORDS
    tokens = {t.strip(b"._-") for t in re.split(rb"[^0-9a-z.\x80-\xff-]+", low)}
    for word in hits:
        if word not in tokens and len(word) == MIN_WORD:
            continue
        if is_free or word.decode("latin-1") not in vocabulary().words:
            return True
    return False
