"""Every way in which something known of a person may be written, and the search for it in text and in bytes.

What belongs here: names, numbers, addresses as patterns; decoding what hides text (base64, hex, UTF-16, …). What does not:
where is looked (verify), dates (verify_dates), who is known (verify_known).

The second look shares no code with the de-identifier: it turns the text into plain small letters and searches there,
instead of listing what might be replaced.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import tomllib
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote_to_bytes

from pydicom._dicom_dict import DicomDictionary
from pydicom.sr._concepts_dict import concepts

FOLDER = Path(__file__).parent / "rules" / "verify"

SHORTEST_WORD = 4
"""Letters; a shorter name counts only beside another part of it."""
SHORTEST_INSIDE = 5
"""Letters; a shorter name is not looked for inside of longer words."""
SHORTEST_SPLIT = 6
"""Letters; a shorter name is not looked for across delimiters."""
SHORTEST_ID = 4
SHORTEST_PHONE = 7

_TOKEN = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_PHONE_ONLY = re.compile(r"[\s\d()+/.\-]*")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@cache
def _letters() -> dict[int, str]:
    """Letters that no decomposition makes Latin."""
    book = tomllib.loads((FOLDER / "letters.toml").read_text(encoding="utf-8"))
    return {ord(letter): latin for table in book.values() for letter, latin in table.items()}


@cache
def ordinary() -> frozenset[str]:
    """Words that alone are no sign of a person, plain: the dictionary's, the standard concepts', words.toml."""
    words: set[str] = set()
    for _, _, title, _, _ in DicomDictionary.values():
        words.update(_TOKEN.findall(title))
    for scheme in concepts.values():
        for keyword in scheme:
            words.update(_CAMEL.findall(keyword))
    book = tomllib.loads((FOLDER / "words.toml").read_text(encoding="utf-8"))
    for group in book.values():
        words.update(group["words"].split())
    return frozenset(plain(word) for word in words)


def plain(text: str) -> str:
    """Small Latin letters without accents; ä, ae and a are one letter, so that every spelling of a name is the same."""
    if text.isascii():
        low = text.lower()
    else:
        split = unicodedata.normalize("NFKD", text.casefold().translate(_letters()))
        low = "".join(c for c in split if not unicodedata.combining(c)).translate(_letters())
    return low.replace("ae", "a").replace("oe", "o").replace("ue", "u")


@dataclass(frozen=True, slots=True)
class Sight:
    """What was met: kind and form, never the value."""

    kind: str
    form: str


@dataclass(frozen=True)
class Identifiers:
    """All that is known of one person, ready to be searched for."""

    words: frozenset[str]
    """Names and places that are a sign by themselves."""
    pairs: tuple[tuple[str, ...], ...]
    """Two parts of one name, side by side in either order."""
    joined: frozenset[str]
    """Parts of one name written as one word, or with an initial."""
    places: frozenset[str]
    """Words of addresses and institutions."""
    phrases: frozenset[str]
    """Whole addresses."""
    glyphs: frozenset[str]
    """Names in ideographs."""
    numbers: tuple[tuple[str, re.Pattern[str], str], ...]
    """Compact id, the id with separators, kind."""
    phones: tuple[tuple[str, re.Pattern[str]], ...]
    n_unknown: int
    """How many identifiers are too short or too common to be searched for."""
    raw: tuple[tuple[bytes, str, str], ...] = field(repr=False, default=())
    """Bytes in small ASCII letters to find anywhere in a file: pattern, kind, form."""

    def __repr__(self) -> str:
        return "Identifiers(restricted)"

    def in_text(self, text: str, *, is_free: bool = True, is_equipment: bool = False) -> Iterator[Sight]:
        """What stands in one text. `is_free`: words people write, not numbers or codes. `is_equipment`: a maker or model,
        which may share its word with an institution."""
        low = plain(text)
        tokens = _TOKEN.findall(low)
        there = set(tokens)
        line = f" {' '.join(tokens)} "
        yield from self._names(there, line, low)
        if not is_equipment:
            if self.places & there:
                yield Sight("address", "word")
            if any(phrase in line for phrase in self.phrases):
                yield Sight("address", "whole")
        yield from self._numbers(low, there, is_free)
        if is_free:
            yield from self._phones(low)

    def _names(self, there: set[str], line: str, low: str) -> Iterator[Sight]:
        if self.words & there:
            yield Sight("name", "word")
        if self.joined & there:
            yield Sight("name", "joined or with initials")
        if any(f" {pair} " in line for pair in self._pairs_text):
            yield Sight("name", "first and last")
        for word in self.words:
            if len(word) >= SHORTEST_INSIDE and word in line and word not in there:
                inside = [t for t in there if word in t]
                if any(t not in ordinary() for t in inside):
                    yield Sight("name", "part of a word")
        if any(glyph in low for glyph in self.glyphs):
            yield Sight("name", "ideographs")
        closed = _CLOSED.sub("", low)
        spaced = "".join(part.replace(" ", "") for part in _SPACED.findall(low))
        for word in self.words:
            if len(word) >= SHORTEST_SPLIT and word not in low and (word in closed or word in spaced):
                yield Sight("name", "split by delimiters")

    @property
    def _pairs_text(self) -> list[str]:
        return [" ".join(pair) for pair in self.pairs]

    def _numbers(self, low: str, there: set[str], is_free: bool) -> Iterator[Sight]:
        compact = _NOT_ALNUM.sub("", low) if is_free else ""
        for number, pattern, kind in self.numbers:
            if is_free:
                if number in compact and pattern.search(low):
                    yield Sight(kind, "plain" if number in there else "with separators")
            elif number in {value.strip() for value in low.split("\\")}:
                yield Sight(kind, "plain")

    def _phones(self, low: str) -> Iterator[Sight]:
        digits = _NOT_DIGIT.sub("", low)
        for number, pattern in self.phones:
            if number in digits and pattern.search(low):
                yield Sight("phone", "with separators")

    def in_bytes(self, raw: bytes, *, is_free: bool = True, is_equipment: bool = False) -> Iterator[Sight]:
        """What stands in bytes, in every encoding that hides text."""
        for form, text in readings(raw):
            for sight in self.in_text(text, is_free=is_free, is_equipment=is_equipment):
                yield sight if form == "text" else Sight(sight.kind, f"{sight.form}, {form}")

    def across(self, left: bytes, right: bytes) -> Iterator[str]:
        """Kinds of what begins at the end of one value and ends at the beginning of the next."""
        first, second = (_NOT_ALNUM.sub("", plain(raw.decode("latin-1"))) for raw in (left, right))
        common = ordinary()
        for word in self.words:
            for cut in range(2, len(word) - 1) if len(word) > SHORTEST_SPLIT else ():
                if first.endswith(word[:cut]) and second.startswith(word[cut:]):
                    last = _TOKEN.findall(plain(left.decode("latin-1")))[-1:]
                    if not set(last) <= common:
                        yield "name"
                    break

    def anywhere(self, low: bytes) -> Iterator[tuple[int, Sight]]:
        """Offset and what, in bytes whose ASCII letters are small: for whole files, pixels and what follows them."""
        for pattern, kind, form in self.raw:
            at = low.find(pattern)
            if at >= 0:
                yield at, Sight(kind, form)


_NOT_ALNUM = re.compile(r"[\W_]+")
_NOT_DIGIT = re.compile(r"\D+")
_CLOSED = re.compile(r"[\\^=\0|_*~\x01-\x1f]+")
_SPACED = re.compile(r"(?<![^\W_])(?:[^\W\d_][ .\-]){5,}[^\W\d_](?![^\W_])")


def parts_of(name: str) -> list[str]:
    """The words of a name, plain."""
    return _TOKEN.findall(plain(name))


def compile_identifiers(
    names: Iterable[str], ids: Iterable[str], phones: Iterable[str], places: Iterable[str]
) -> Identifiers:
    """Identifiers from the originals. What is too short or too common to search for is counted."""
    words: set[str] = set()
    pairs: set[tuple[str, ...]] = set()
    joined: set[str] = set()
    glyphs: set[str] = set()
    n_unknown = 0
    common = ordinary()
    for name in dict.fromkeys(names):
        is_found = False
        for group in name.split("="):
            parts = [p for p in parts_of(group) if not p.isdigit()]
            if _IDEOGRAPH.search(group):
                shown = {g for g in re.split(r"[\^\s]+", group) if len(g) > 1 and _IDEOGRAPH.search(g)}
                glyphs |= {plain(g) for g in shown}
                is_found = is_found or bool(shown)
                continue
            own = {p for p in parts if len(p) >= SHORTEST_WORD and p not in common}
            words |= own
            is_found |= bool(own)
            for pair in _pairs(parts, common):
                pairs |= {pair, pair[::-1]}
                is_found = True
            joined |= set(_joined(parts, common))
        n_unknown += not is_found and bool(name.strip(" ^="))
    numbers, n_short = _compile_ids(ids)
    calls, n_calls = _compile_phones(phones)
    streets, phrases, n_streets = _compile_places(places)
    raw = _raw(words, numbers)
    return Identifiers(
        frozenset(words), tuple(sorted(pairs)), frozenset(joined), frozenset(streets), frozenset(phrases),
        frozenset(glyphs), tuple(numbers), tuple(calls), n_unknown + n_short + n_calls + n_streets, raw,
    )  # fmt: skip


def _pairs(parts: Sequence[str], common: frozenset[str]) -> Iterator[tuple[str, ...]]:
    for i, first in enumerate(parts):
        for second in parts[i + 1 :]:
            long = [p for p in (first, second) if len(p) > 1 and p not in common]
            if long and len(first) + len(second) >= 4 and first != second:
                yield (first, second)


def _joined(parts: Sequence[str], common: frozenset[str]) -> Iterator[str]:
    """familygiven, givenfamily, gfamily, familyg: at least five letters, and no word of the language."""
    for i, first in enumerate(parts):
        for j, second in enumerate(parts):
            if i == j or len(first) < 2:
                continue
            for text in {first + second, second + first, first + second[0], second[0] + first}:
                if len(text) >= 5 and text not in common and first not in common:
                    yield text


def _compile_ids(ids: Iterable[str]) -> tuple[list[tuple[str, re.Pattern[str], str]], int]:
    found: dict[str, tuple[str, re.Pattern[str], str]] = {}
    n_unknown = 0
    common = ordinary()
    for value in dict.fromkeys(ids):
        low = plain(value)
        compact = _NOT_ALNUM.sub("", low)
        if not compact:
            continue
        if len(compact) < SHORTEST_ID or compact in common or not any(c.isdigit() for c in compact):
            n_unknown += 1
            continue
        # leading zeros come and go with the system that prints a number
        bare = compact.lstrip("0") if compact.isdigit() else compact
        for text in {compact, bare if len(bare) >= 6 else compact}:
            gap = r"[\s\-_./\\^]?" if len(text) >= 6 else ""
            edge = (r"(?<![\d.])0*", r"(?!\d|\.\d)") if text.isdigit() else (r"(?<![^\W_])", r"(?![^\W_])")
            pattern = re.compile(edge[0] + gap.join(map(re.escape, text)) + edge[1])
            found[text] = (text, pattern, "id")
    return list(found.values()), n_unknown


def _compile_phones(phones: Iterable[str]) -> tuple[list[tuple[str, re.Pattern[str]]], int]:
    found = {}
    n_unknown = 0
    for value in dict.fromkeys(phones):
        digits = _NOT_DIGIT.sub("", value).lstrip("0")
        if len(digits) < SHORTEST_PHONE:
            n_unknown += bool(digits)
            continue
        # without the country and the leading zero: as somebody writes it at home
        tail = digits[-max(SHORTEST_PHONE, len(digits) - 3) :]
        found[tail] = re.compile(r"[\s\-./()+]{0,3}".join(tail) + r"(?!\d)")
    return list(found.items()), n_unknown


def _compile_places(places: Iterable[str]) -> tuple[set[str], set[str], int]:
    words: set[str] = set()
    phrases: set[str] = set()
    n_unknown = 0
    common = ordinary()
    for place in dict.fromkeys(places):
        tokens = _TOKEN.findall(plain(place))
        own = {t for t in tokens if len(t) >= 5 and t not in common and not t.isdigit()}
        words |= own
        if len(tokens) >= 3 and not all(t in common for t in tokens):
            phrases.add(f" {' '.join(tokens)} ")
        elif not own and tokens:
            n_unknown += 1
    return words, phrases, n_unknown


def _raw(
    words: set[str], numbers: list[tuple[str, re.Pattern[str], str]]
) -> tuple[tuple[bytes, str, str], ...]:
    found = []
    pieces = [(w, "name") for w in words if len(w) >= SHORTEST_SPLIT]
    pieces += [(n, kind) for n, _, kind in numbers if len(n) >= 7]
    for text, kind in sorted(pieces):
        for codec in ("utf-8", "utf-16-le", "utf-16-be"):
            found.append((text.encode(codec), kind, "plain" if codec == "utf-8" else codec))
        for coded in _in_base64(text.upper()), _in_base64(text.capitalize()):
            found += [(c.lower(), kind, "base64") for c in coded if len(c) >= 7]
        found.append((text.encode().hex().encode(), kind, "hex"))
        found.append((text.upper().encode().hex().encode(), kind, "hex"))
    return tuple(dict.fromkeys(found))


def _in_base64(text: str) -> Iterator[bytes]:
    """What base64 makes of a text at each of three offsets, without the signs that its neighbours decide."""
    data = text.encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + data)
        yield coded[(0, 2, 3)[shift] : len(coded) - (0, 3, 2)[(shift + len(data)) % 3]]


_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}[ :-]?){4,}")
_RUN = re.compile(rb"[\x09\x20-\x7e\x80-\xff]{4,}")
_MOST_TEXT = 1 << 20


def readings(raw: bytes, depth: int = 0) -> Iterator[tuple[str, str]]:
    """(form, text): the bytes as text, and what they hide: UTF-16, percent, entities, quoted-printable, base64, hex, zlib."""
    if len(raw) > _MOST_TEXT:  # bulk data: `anywhere` looks there
        raw = raw[:_MOST_TEXT]
    trimmed = raw.strip(b" \0")
    if not trimmed:
        return
    is_ascii = trimmed.isascii()
    yield "text", trimmed.decode("latin-1")
    if not is_ascii:
        yield from _other_sets(trimmed)
    if trimmed.count(0) * 4 >= len(trimmed):
        for codec in ("utf-16-le", "utf-16-be"):
            # both alignments: the text may begin anywhere
            for piece in (raw, raw[1:]):
                yield codec, piece[: len(piece) & ~1].decode(codec, "replace")
    if depth == 2:
        return
    for form, inner in _hidden(trimmed):
        for _, text in readings(inner, depth + 1):
            yield form, text


def _other_sets(raw: bytes) -> Iterator[tuple[str, str]]:
    for codec in (
        "utf-8",
        "cp1251",
        "iso8859-5",
        "iso8859-7",
        "koi8-r",
        "shift_jis",
        "euc_jp",
        "euc_kr",
        "gb18030",
    ):
        try:
            yield "text", raw.decode(codec)
        except UnicodeDecodeError:
            continue


def _hidden(raw: bytes) -> Iterator[tuple[str, bytes]]:
    if b"\x1b" in raw:
        for codec in ("iso2022_jp_2", "iso2022_kr"):
            try:
                yield codec, raw.decode(codec).encode()
            except UnicodeDecodeError:
                continue
    if b"%" in raw and (opened := unquote_to_bytes(raw)) != raw:
        yield "percent", opened
    if b"&" in raw and (shown := html.unescape(raw.decode("latin-1")).encode()) != raw:
        yield "entities", shown
    if b"=" in raw and (shown := binascii.a2b_qp(raw)) != raw:
        yield "quoted-printable", shown
    for match in _BASE64.finditer(raw):
        yield from (("base64", data) for data in _from_base64(match[0]))
    for match in _HEX.finditer(raw):
        digits = re.sub(rb"[ :-]", b"", match[0])
        data = bytes.fromhex(digits[: len(digits) & ~1].decode())
        if _is_text(data):
            yield "hex", data
    if raw[:1] == b"\x78" or raw[:2] == b"\x1f\x8b":
        try:
            yield "zlib", zlib.decompressobj(47).decompress(raw, _MOST_TEXT)
        except zlib.error:
            return


def _from_base64(run: bytes) -> Iterator[bytes]:
    standard = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    if standard.isalpha() and (standard.islower() or standard.isupper()):
        return  # a word
    for start in range(min(4, len(standard) - 7)):
        piece = standard[start:]
        piece = piece[:-1] if len(piece) % 4 == 1 else piece
        data = base64.b64decode(piece + b"=" * (-len(piece) % 4))
        if _is_text(data) or b"\0" in data:
            yield data


def _is_text(data: bytes) -> bool:
    return any(len(run) >= 4 for run in _RUN.findall(data))
