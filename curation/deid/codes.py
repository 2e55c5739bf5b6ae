"""Coded entries: known coding schemes stay, with the scheme's own meaning; anything else is free text and goes.

What belongs here: PS3.3 8.8 code items. What does not: which sequences may stay (policy).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from curation.deid.actions import clean_words
from curation.deid.explicit import element
from curation.deid.policy import read_rows

VALUE, SCHEME, VERSION, MEANING, LONG_VALUE = 0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119
LAST = 0x00080120
"""All elements of a coded entry that are written lie at or below this tag."""


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {row["scheme"]: re.compile(row["pattern"]) for row in read_rows("schemes.csv")}


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """(scheme, code) to meaning, from the concepts that pydicom lists; read when the first code is met."""
    from pydicom.sr._concepts_dict import concepts as untyped

    concepts: Any = untyped
    found: dict[tuple[str, str], str] = {}
    for scheme, keywords in concepts.items():
        for codes in keywords.values():
            for code, (meaning, _) in codes.items():
                # one code has several names: "Liver" is what people write, "Liver structure (body structure)" its full one
                known = found.setdefault((scheme, code), meaning)
                if "(" in known and "(" not in meaning:
                    found[scheme, code] = meaning
    return found


def clean_code(parts: dict[int, bytes]) -> bytes | None:
    """The elements of a coded entry, cleaned; None where the scheme is unknown or the code is none of it."""
    texts = {tag: raw.strip(b" \0").decode("ascii", "replace") for tag, raw in parts.items()}
    scheme, code = texts.get(SCHEME, ""), texts.get(VALUE) or texts.get(LONG_VALUE, "")
    pattern = _patterns().get(scheme)
    if pattern is None:
        return None
    meaning = _meanings().get((scheme, code))
    if meaning is None and not pattern.fullmatch(code):
        return None
    version = texts.get(VERSION, "")
    value_tag = VALUE if VALUE in texts else LONG_VALUE
    entries = {SCHEME: scheme.encode()}
    if re.fullmatch(r"[0-9.]{1,16}", version):
        entries[VERSION] = version.encode()
    plain = (meaning or clean_words(texts.get(MEANING, "")) or code)[:64]
    entries[MEANING] = plain.encode("ascii", "ignore") or code.encode()
    entries[value_tag] = code.encode()
    return b"".join(
        element(tag, b"UC" if tag == LONG_VALUE else b"LO" if tag == MEANING else b"SH", value)
        for tag, value in sorted(entries.items())
    )
