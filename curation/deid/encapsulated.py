"""Documents inside DICOM objects: their text, for the report road. The object itself is never released.

What belongs here: the text of a PDF and of a CDA document, and what a CDA's own header says of people. What does not: whose
document it is (header.identify), cleaning (text), what becomes of the report (steps).
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from curation.deid.header import Clean, open_document
from curation.deid.identity import Identity
from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.part10 import Source
from curation.records import Refused

MAX_BYTES, MAX_PAGES, MAX_CHARACTERS = 64 << 20, 500, 1_000_000
PDF, CDA = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"


@dataclass(frozen=True, slots=True)
class Document:
    """RESTRICTED. Text as it was written, and the (kind, value) pairs that the document's own header gives."""

    text: str
    named: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return "Document(restricted)"


def read_document(
    data: Source, policy: Policy, pseudonyms: Pseudonyms, site: str
) -> tuple[Clean, str, Identity]:
    """Whose document an object holds, its text, and all that its own headers know of people. RESTRICTED."""
    about, raw = open_document(data, policy, pseudonyms, site)
    found = extract_text(raw, about.sop_class)
    names = tuple(value for kind, value in found.named if kind == "name")
    other = tuple(value for kind, value in found.named if kind != "name")
    known = about.identity
    return (
        about,
        found.text,
        replace(
            known,
            names=tuple(dict.fromkeys(known.names + names)),
            other=tuple(dict.fromkeys(known.other + other)),
        ),
    )


def extract_text(document: bytes, sop_class: str) -> Document:
    """The text of an encapsulated document.

    Raises Refused: unsupported_class for one that holds no text, unreadable_report where it cannot be read or is a picture
    of a page, encrypted, too_large.
    """
    if len(document) > MAX_BYTES:
        raise Refused("too_large")
    if sop_class == PDF:
        found = Document(_pdf(document))
    elif sop_class == CDA:
        found = _cda(document)
    else:
        raise Refused("unsupported_class")
    if len(found.text) > MAX_CHARACTERS:
        raise Refused("too_large")
    if len(re.findall(r"[^\W\d_]", found.text)) < 20:
        raise Refused("unreadable_report")  # scanned pages have no letters
    return found


# What a PDF that breaks the format's rules makes its reader raise, beside the reader's own errors.
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError,
    struct.error, zlib.error, binascii.Error,
)  # fmt: skip


def _pdf(document: bytes) -> str:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings quote the document
    try:
        reader = PdfReader(io.BytesIO(document))
        if reader.is_encrypted:
            raise Refused("encrypted")
        if len(reader.pages) > MAX_PAGES:
            raise Refused("too_large")
        return "\n".join(page.extract_text() for page in reader.pages)
    except (PyPdfError, *_BROKEN):
        raise Refused("unreadable_report") from None


def _cda(document: bytes) -> Document:
    root = _parse(document)
    if _name(root) != "ClinicalDocument":
        raise Refused("unreadable_report")
    bodies = [child for child in root if _name(child) == "component"]
    text = "\n".join(piece for body in bodies for piece in _narrative(body))
    title = next((child for child in root if _name(child) == "title"), None)
    head = "" if title is None else " ".join("".join(title.itertext()).split()) + "\n"
    named = [pair for child in root if child not in bodies for pair in _named(child)]
    return Document(head + text, tuple(dict.fromkeys(named)))


def _parse(document: bytes) -> ElementTree.Element:
    """The tree of an XML document; one that declares types or entities is refused, since those may ask for any memory."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def refuse() -> NoReturn:
        raise Refused("unreadable_report")

    parser.StartDoctypeDeclHandler = lambda *_: refuse()
    parser.EntityDeclHandler = lambda *_: refuse()
    parser.ExternalEntityRefHandler = lambda *_: refuse()
    parser.StartElementHandler = lambda name, attributes: builder.start(name, attributes)
    parser.EndElementHandler = lambda name: builder.end(name)
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(document.rstrip(b"\0 "), True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError, AssertionError):
        raise Refused("unreadable_report") from None


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


_LINES = frozenset(["paragraph", "item", "tr", "caption", "title", "text", "br", "section"])


def _narrative(body: ElementTree.Element) -> Iterator[str]:
    """What a reader is shown: section titles and text (CDA R2 4.3.5), or a body that is no XML and plain text."""
    for element in body.iter():
        if _name(element) == "nonXMLBody":
            yield _plain_body(element)
        elif _name(element) == "section":
            for child in element:
                if _name(child) in ("title", "text"):
                    yield from _lines(child)


def _lines(element: ElementTree.Element) -> Iterator[str]:
    line: list[str] = []

    def walk(node: ElementTree.Element) -> None:
        line.append("\n" if _name(node) in _LINES else " ")
        line.append(node.text or "")
        for child in node:
            walk(child)
            line.append(child.tail or "")
        line.append("\n" if _name(node) in _LINES else " ")

    walk(element)
    for text in "".join(line).split("\n"):
        if plain := " ".join(text.split()):
            yield plain


def _plain_body(element: ElementTree.Element) -> str:
    inner = next((child for child in element if _name(child) == "text"), None)
    if inner is None or inner.get("mediaType", "text/plain") != "text/plain":
        raise Refused("unreadable_report")
    raw = "".join(inner.itertext())
    if inner.get("representation") != "B64":
        return raw
    try:
        return base64.b64decode(raw, validate=False).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("unreadable_report") from None


def _named(element: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Names, numbers, addresses and telephones of everybody whom the CDA's header names."""
    for node in element.iter():
        name, text = _name(node), " ".join("".join(node.itertext()).split())
        if name in ("given", "family", "prefix", "suffix") and text:
            yield "name", text
        elif name == "name" and text:
            parts = ["".join(child.itertext()).strip() for child in node]
            yield "name", " ".join(p for p in parts if p) if parts else text
        elif name == "id" and node.get("extension"):
            yield "other", node.get("extension", "")
        elif name == "telecom" and node.get("value"):
            yield "other", node.get("value", "").partition(":")[2] or node.get("value", "")
        elif name in ("streetAddressLine", "city", "postalCode") and text:
            yield "other", text
