"""Private elements known to identify nobody (PS3.15 Table E.3.10-1, and the TCIA knowledge base where a profile says so).

What belongs here: the table, compiled for the walk and for datasets without VRs, and the declaration of the blocks that
stayed. What does not: walking a private group (items).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from curation.deid.explicit import WIDTH, element, elements_of
from curation.deid.profile import Profile, read_rows

CHARACTERISTICS = 0x00080300
LISTS = {"standard": ("E.3.10-1",), "tcia": ("E.3.10-1", "TCIA")}
_MOST_BYTES = 1024
"""Of a value whose multiplicity nobody states."""

Block = tuple[bytes, int]
"""Private creator and group."""


@dataclass(frozen=True, slots=True)
class SafeElement:
    """VR of one private element, and the most bytes a value of numbers may have."""

    vr: bytes
    most: int


def safe_elements(profile: Profile) -> Mapping[Block, Mapping[int, SafeElement]]:
    """By creator and group, then by the element's own byte; empty where the profile keeps no private elements."""
    return _table(profile.safe_private) if "retain_safe_private" in profile.options else {}


@cache
def _table(name: str) -> dict[Block, dict[int, SafeElement]]:
    found: dict[Block, dict[int, SafeElement]] = {}
    for row in read_rows("private_safe.csv"):
        if row["source"] in LISTS[name]:
            block = row["creator"].encode("latin-1"), int(row["group"], 16)
            most = _most_bytes(row["vr"], row["vm"])
            found.setdefault(block, {})[int(row["element"], 16)] = SafeElement(row["vr"].encode(), most)
    return found


def _most_bytes(vr: str, vm: str) -> int:
    last, width = vm.split("-")[-1], WIDTH.get(vr.encode())
    if width is None:
        return 0xFFFE
    return width * int(last) if last.isdigit() else _MOST_BYTES


def creator_of(raw: bytes) -> bytes:
    """The name of a private creator as the table has it."""
    return raw.strip(b" \0")


def declare(header: bytes, blocks: Iterable[bytes]) -> bytes:
    """The header with (0008,0300): every private block that stayed holds safe elements alone (PS3.15 E.3.10)."""
    items = b""
    for block in sorted(set(blocks)):
        item = (
            element(0x00080301, b"US", block[:2])
            + element(0x00080302, b"LO", block[2:])
            + element(0x00080303, b"CS", b"SAFE")
        )
        items += b"\xfe\xff\x00\xe0" + len(item).to_bytes(4, "little") + item
    if not items:
        return header
    at = len(header)
    for tag, _, begin, _, _ in elements_of(header):
        if tag >= CHARACTERISTICS:
            at = begin
            break
    return header[:at] + element(CHARACTERISTICS, b"SQ", items) + header[at:]
