"""A folder of files as they come from a PACS export, a disc or a script: DICOM, archives, reports, tables, messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curation.part10 import sniff
from curation.records import Refused
from curation.source import Item
from curation.sources.archive import is_archive, unpack
from curation.sources.fhir import FHIR_ENDINGS, read_resources
from curation.sources.hl7 import HL7_ENDINGS, is_hl7, read_messages
from curation.sources.table import TABLE_ENDINGS, read_table
from curation.sources.text import read_report

MARKER = ".complete"
"""A file of this name says that a delivery in the inbox is complete; it is not an arrival."""

_SNIFF_BYTES = 512
_MAX_ARCHIVE_DEPTH = 3


def walk_folder(root: Path, spool: Path) -> Iterator[Item]:
    """Every file under `root` as one or more items, sorted by path; links are followed inside `root` only."""
    inside = root.resolve()
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file() or p.is_symlink())
    for path in files:
        name = path.name if path == root else path.relative_to(root).as_posix()
        if name == MARKER:
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            yield Item(name, "unknown", refused="not_dicom")
        elif path.is_file():
            yield from _items_of(path, name, spool, depth=0)


def _items_of(path: Path, name: str, spool: Path, depth: int) -> Iterator[Item]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError:
        yield Item(name, "unknown", refused="malformed", bytes=size)
        return
    ending = Path(name).suffix.lower()
    if sniff(head) and ending not in TABLE_ENDINGS and ending != ".txt":
        yield Item(name, "dicom", file=path, bytes=size)
    elif is_archive(path, head):
        yield from _members_of(path, name, spool, depth, size)
    elif ending in TABLE_ENDINGS:
        yield from read_table(path, name)
    elif ending in HL7_ENDINGS or is_hl7(head):
        yield from read_messages(path, name)
    elif ending in FHIR_ENDINGS:
        yield from read_resources(path, name)
    elif ending == ".txt":
        yield read_report(path, name)
    else:
        yield Item(name, "unknown", file=path, refused="not_dicom", bytes=size)


def _members_of(path: Path, name: str, spool: Path, depth: int, size: int) -> Iterator[Item]:
    if depth >= _MAX_ARCHIVE_DEPTH:
        yield Item(name, "archive", file=path, refused="too_large", bytes=size)
        return
    try:
        members = list(unpack(path, spool))
    except Refused as refusal:
        yield Item(name, "archive", file=path, refused=refusal.reason, bytes=size)
        return
    for member, file in members:
        yield from _items_of(file, f"{name}!{member}", spool, depth + 1)
