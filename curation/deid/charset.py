"""Character sets: bytes of a value to text, by the Specific Character Set that the dataset declares (PS3.3 C.12.1.1.2).

What belongs here: terms, code extensions (ISO 2022), and every way in which a value may be read. What does not: what
becomes of text, or of bytes that contradict their set (values).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from curation.deid.profile import read_rows

_ESCAPES = {
    b"\x1b(B": "ascii", b"\x1b(J": "shift_jis", b"\x1b)I": "shift_jis", b"\x1b-A": "iso8859-1", b"\x1b-B": "iso8859-2",
    b"\x1b-C": "iso8859-3", b"\x1b-D": "iso8859-4", b"\x1b-L": "iso8859-5", b"\x1b-G": "iso8859-6", b"\x1b-F": "iso8859-7",
    b"\x1b-H": "iso8859-8", b"\x1b-M": "iso8859-9", b"\x1b-b": "iso8859-15", b"\x1b-T": "tis-620", b"\x1b$)C": "euc_kr",
    b"\x1b$)A": "gb2312", b"\x1b$B": "iso2022_jp", b"\x1b$@": "iso2022_jp", b"\x1b$(D": "iso2022_jp_2",
}  # fmt: skip
"""Escape sequences of PS3.3 Tables C.12-3 and C.12-4, and the codec of what follows them."""
_FRAGMENT = re.compile(rb"(\x1b(?:\$[()]?|[()-]).)")
_KEEPS_ESCAPE = frozenset({"iso2022_jp", "iso2022_jp_2"})


@cache
def _charsets() -> dict[str, str]:
    return {row["term"]: row["codec"] for row in read_rows("charsets.csv")}


def codecs_of(charset: bytes) -> tuple[str, ...] | None:
    """Python codecs of a Specific Character Set; None where one of its values is not in the allow-list."""
    known = _charsets()
    terms = [t.strip(b" \0").decode("ascii", "replace") for t in charset.split(b"\\")]
    codecs = [known.get(term) for term in terms]
    return None if None in codecs else tuple(c for c in codecs if c is not None)


def decode(raw: bytes, codecs: Sequence[str] | None) -> str | None:
    """Text by the declared character set; None where the bytes contradict it."""
    if b"\x1b" in raw:
        return _decode_escaped(raw, codecs or ())
    if raw.isascii():
        return raw.decode("ascii")
    for codec in dict.fromkeys(codecs or ()):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return None


def _decode_escaped(raw: bytes, codecs: Sequence[str]) -> str | None:
    """Text with code extensions: each escape sequence must be known, and of a declared set; None where one is not."""
    allowed = {*codecs, "ascii", "shift_jis" if "iso2022_jp" in codecs else "ascii"}
    parts = _FRAGMENT.split(raw)
    pieces = [(codecs[0] if codecs else "ascii", b"", parts[0])]
    for escape, body in zip(parts[1::2], parts[2::2], strict=True):
        codec = _ESCAPES.get(escape)
        if codec is None or codec not in allowed:
            return None
        pieces.append((codec, escape, body))
    try:
        text = "".join(
            # a delimiter ends the extension in names: ASCII bytes after it are ASCII in every set
            (escape + body).decode(codec) if codec in _KEEPS_ESCAPE else body.decode(codec)
            for codec, escape, body in pieces
        )
    except UnicodeDecodeError:
        return None
    return None if "\x1b" in text else text


def readings(raw: bytes, codecs: Sequence[str] | None) -> Iterator[str]:
    """Every way in which an identifying value may be read: a wrong character set must not hide a name."""
    plain = raw.strip(b" \0")
    if b"\x1b" in plain:
        every = (*(codecs or ()), *_ESCAPES.values())
        text = decode(plain, codecs) or _decode_escaped(plain, every)
        if text is not None:
            yield text
        return
    if plain.isascii():
        yield plain.decode("ascii")
        return
    for codec in dict.fromkeys((*(codecs or ()), "utf-8", "iso8859-1")):
        try:
            yield plain.decode(codec)
        except UnicodeDecodeError:
            continue
