"""Report texts: one file, one report."""

from __future__ import annotations

from pathlib import Path

from curation.records import Refused
from curation.source import Item

_MAX_REPORT_BYTES = 4 << 20


def read_report(path: Path, name: str) -> Item:
    """A report's text as one item."""
    size = path.stat().st_size
    if size > _MAX_REPORT_BYTES:
        return Item(name, "report", file=path, refused="too_large", bytes=size)
    try:
        return Item(name, "report", file=path, text=decode_text(path.read_bytes()), bytes=size)
    except Refused as refusal:
        return Item(name, "report", file=path, refused=refusal.reason, bytes=size)


def decode_text(data: bytes) -> str:
    """Text of a report file: UTF-8 or UTF-16 by its mark, else UTF-8, else Windows-1252.

    Raises Refused("unreadable_report") for what holds control characters, and so is no text.
    """
    for mark, codec in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            codecs = [codec]
            break
    else:
        codecs = ["utf-8", "cp1252"]
    for codec in codecs:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if text.strip() and not any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
            return text
    raise Refused("unreadable_report")
