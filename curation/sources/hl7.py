"""HL7 v2 messages in a file: one item a message, with the report it brings and the order it belongs to.

What belongs here: splitting a file, the text of OBX and NTE segments (v2.5.1 chapter 7), the keys of the study. What does
not: who the message names (deid.messages), sending and acknowledging (MLLP is an interface engine's work).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from curation.deid.messages import Message
from curation.records import Refused
from curation.source import Item
from curation.sources.text import decode_text

HL7_ENDINGS = (".hl7", ".oru", ".adt", ".orm")

_MAX_BYTES = 64 << 20
_START = re.compile(r"^MSH(?=[^\w\s])", re.MULTILINE)
_FRAME = bytes.maketrans(
    b"\x0b\x1c\r", b"\n\n\n"
)  # MLLP's block marks and HL7's segment ends become line ends
_TEXT_TYPES = ("TX", "FT", "ST")
_NO_SECTION = re.compile(
    r"^\W*(IMPRESSION|FINDINGS?|TECHNIQUE|HISTORY|INDICATION|COMPARISON)\b", re.IGNORECASE
)
_SECTIONS = {
    "IMP": "IMPRESSION",
    "GDT": "FINDINGS",
    "ADT": "ADDENDUM",
    "HIST": "HISTORY",
    "CMP": "COMPARISON",
}


def is_hl7(head: bytes) -> bool:
    """Whether a file begins like a message, a batch or an MLLP frame."""
    start = head.lstrip(b"\xef\xbb\xbf\x0b\r\n ")
    return start[:3] in (b"MSH", b"FHS", b"BHS") and start[3:4] != b"" and not start[3:4].isalnum()


def read_messages(path: Path, name: str) -> Iterator[Item]:
    """Every message of a file as one item: kind `report` where it brings a text, `clinical` where it only names people."""
    size = path.stat().st_size
    if size > _MAX_BYTES:
        yield Item(name, "report", file=path, refused="too_large", bytes=size)
        return
    try:
        text = decode_text(path.read_bytes().translate(_FRAME))
    except Refused as refusal:
        yield Item(name, "report", file=path, refused=refusal.reason, bytes=size)
        return
    starts = [m.start() for m in _START.finditer(text)]
    if not starts:
        yield Item(name, "report", file=path, refused="unreadable_report", bytes=size)
        return
    for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(text)], strict=True), start=1):
        yield _item(text[start:stop], name if len(starts) == 1 else f"{name}#{number}", path)


def _item(raw: str, name: str, path: Path) -> Item:
    size = len(raw.encode())
    try:
        message = Message(raw)
    except Refused as refusal:
        return Item(name, "report", file=path, refused=refusal.reason, bytes=size)
    text = _narrative(message)
    if not text and any(c[0] == "ED" for c in message.values("OBX", 2)):
        # a PDF or a picture inside the message: not read, and not passed over in silence
        return Item(name, "report", file=path, refused="document", bytes=size)
    fields = {"accession": message.accession, "study_instance_uid": message.study_uid}
    kind = "report" if text else "clinical"
    return Item(name, kind, file=path, text=text or None, fields=fields, message=raw, bytes=size)


def _narrative(message: Message) -> str:
    """Text of the OBX and NTE segments that hold words, a heading where the observation's suffix says a section begins."""
    lines: list[str] = []
    section = ""
    for segment in message.segments:
        kind = segment[0]
        if kind == "NTE" and lines and len(segment) > 3:
            lines += message.lines(segment[3])
        elif kind == "OBX" and len(segment) > 5 and segment[2] in _TEXT_TYPES:
            said = message.lines(segment[5])
            suffix = segment[3].split(message.component)[0].split(message.sub)[-1]
            heading = _SECTIONS.get(suffix, "")
            if heading and heading != section and not (said and _NO_SECTION.match(said[0])):
                lines.append(f"{heading}:")
            section = heading
            lines += said
    return "\n".join(lines).strip("\n ")
