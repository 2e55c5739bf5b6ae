"""Text that hides in another coding: hexadecimal and base64 (RFC 4648) in attributes whose plain values are kept.

What belongs here: telling that a word decodes to readable text. What does not: what becomes of the value (values).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

_WORD = re.compile(rb"[A-Za-z0-9+/_-]{12,}")
_HEX = re.compile(rb"[0-9A-Fa-f]{12,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def holds_encoded_text(value: bytes) -> bool:
    """Whether a word of twelve characters or more is the coding of printable ASCII text.

    By chance that is one word of several thousand for what makers write, and one of twenty for numbers of twelve digits.
    """
    return len(value) >= 12 and any(_is_readable(raw) for raw in _decoded(value))


def _decoded(value: bytes) -> Iterator[bytes]:
    for found in _HEX.finditer(value):
        word = found[0]
        yield bytes.fromhex(word[: len(word) & ~1].decode("ascii"))
    for found in _WORD.finditer(value):
        word = found[0].translate(_URL_SAFE)
        if word.isupper() or word.islower():
            continue  # base64 of text has both; codes of makers and of the standard are written in one case
        yield base64.b64decode(word[: len(word) & ~3])  # what a cut leaves over is less than a letter


def _is_readable(raw: bytes) -> bool:
    return raw.isascii() and raw.decode("ascii").isprintable()
