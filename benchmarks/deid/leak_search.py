"""Finds planted identities in released files: by bytes in every coding, and by the words of decoded values.

What belongs here: the codings of a value, the search of one file. What does not: what was planted (corpus) and the verdict.
"""

from __future__ import annotations

import binascii
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from benchmarks.deid.corpus.answer_key import Planted
from tests.identity_search import ANCHOR, Patterns, in_base64

CHARSETS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "iso8859_5", "iso8859_7", "cp1251", "shift_jis", "euc_jp", "iso2022_jp",
            "euc_kr", "gb18030")  # fmt: skip
DEFLATED = b"1.2.840.10008.1.2.1.99"
_WORDS = re.compile(r"[^\W_]+", re.UNICODE)


def forms(piece: str) -> Iterator[tuple[str, bytes, bool]]:
    """(how it is written, bytes, whether capitals matter)."""
    seen = set()
    for charset in CHARSETS:
        try:
            raw = piece.encode(charset)
        except UnicodeEncodeError:
            continue
        if raw in seen:
            continue
        seen.add(raw)
        yield charset, _bare(raw), False
        yield f"{charset} in hex", binascii.hexlify(_bare(raw)), False
    raw = piece.encode()
    # without the first sign: a cleaner that cuts the beginning has hidden nothing
    yield "percent", "".join(f"%{byte:02X}" for byte in raw[1:]).encode(), False
    yield "entities", "".join(f"&#{ord(sign)};" for sign in piece[1:]).encode(), False
    for coded in in_base64(raw):
        yield "base64", coded, True
    if piece.isdigit() and len(piece) == 8:
        for dashed in (f"{piece[:4]}-{piece[4:6]}-{piece[6:]}", f"{piece[6:]}.{piece[4:6]}.{piece[:4]}"):
            yield "date in words", dashed.encode(), False


def _bare(raw: bytes) -> bytes:
    """ISO 2022 text without its escapes at either end: neighbours decide on those."""
    return re.sub(rb"^\x1b[$(][@BJ]|\x1b[$(][@BJ]$", b"", raw)


class LeakSearch:
    """The search for the planted values of one corpus."""

    def __init__(self, planted: Iterable[Planted]) -> None:
        pieces = {piece: p for p in planted for piece in p.pieces}
        self.planted = pieces
        self._short = {piece.lower(): piece for piece in pieces if len(piece.encode()) < ANCHOR}
        folded: list[tuple[bytes, tuple[str, str]]] = []
        exact: list[tuple[bytes, tuple[str, str]]] = []
        for piece in pieces:
            for form, raw, is_exact in forms(piece):
                (exact if is_exact else folded).append((raw if is_exact else raw.lower(), (piece, form)))
        self._folded, self._exact = Patterns(folded), Patterns(exact)

    def in_file(self, path: Path) -> dict[str, str]:
        """Piece to form of what the file still holds."""
        data = path.read_bytes()
        return self.in_bytes(data)

    def in_bytes(self, data: bytes) -> dict[str, str]:
        found = dict(self._folded.find(data.lower())) | dict(self._exact.find(data))
        if DEFLATED in data[:1024]:
            inflated = _inflated(data)
            found |= dict(self._folded.find(inflated.lower())) | dict(self._exact.find(inflated))
        for word in _words(data):
            if word in self._short:
                found[self._short[word]] = "decoded value"
        return found


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(data[144 + int.from_bytes(data[140:144], "little") :])
    except zlib.error:
        return b""


def _words(data: bytes) -> set[str]:
    """Words of every decoded value, small; short identifiers are found here, for in bytes they would turn up by accident."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), force=True, stop_before_pixels=True)
            return set(_of(ds))
        except Exception:
            return set()


def _of(ds: Dataset) -> Iterator[str]:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                yield from _of(item)
        elif isinstance(element.value, bytes):
            yield from (word.lower() for word in _WORDS.findall(element.value[:4096].decode("latin-1")))
        else:
            yield from (word.lower() for word in _WORDS.findall(str(element.value)))
