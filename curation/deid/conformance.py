"""The facts of the DICOM conformance statement (docs/conformance.md) that the rules themselves say.

What belongs here: tables of options, classes, dummies, retained attributes and reasons, as Markdown. What does not: what is
written by hand around them, and sentences about one attribute (explain). Bring the page up to date with
`python -m curation.deid.conformance docs/conformance.md`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from curation.deid.actions import DUMMIES, dummy
from curation.deid.policy import Act, Policy, compile_policy, load_profile, read_rows
from curation.deid.release import IMPLEMENTATION_UID
from curation.records import REASONS

PROFILES = ("basic", "research")
ROADS = {
    "frames": "attributes by the table, pixels copied or blanked in their own transfer syntax",
    "attributes": "attributes by the table",
    "content": "content tree item by item (Table E.3.4-1); needs Clean Structured Content, withheld without",
    "graphics": "attributes by the table, shapes of annotations kept, their text cleaned, layers renamed",
    "waveform": "attributes by the table, samples kept, labels and annotations cleaned",
    "report": "not released; the text becomes a report of its study (import), withheld as `document` (folder)",
    "": "withheld",
}


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _options() -> str:
    profiles = [load_profile(name) for name in PROFILES]
    rows = read_rows("options.csv")
    return _table(
        ("code", "option", *(f"`{p.name}`" for p in profiles), "where options meet"),
        (
            (
                r["code"],
                r["meaning"],
                *("yes" if r["option"] in p.options else "" for p in profiles),
                r["why"],
            )
            for r in rows
        ),
    )


def _implementation() -> str:
    edition = {load_profile(name).edition for name in PROFILES}
    return _table(
        ("fact", "value"),
        iter(
            [
                ("Implementation Class UID (0002,0012)", f"`{IMPLEMENTATION_UID}`"),
                ("Implementation Version Name (0002,0013)", "`RWID`"),
                ("edition of PS3.15", ", ".join(sorted(edition))),
                ("attributes of Table E.1-1", str(len(read_rows("ps315_2026d.csv")))),
                ("content items of Table E.3.4-1", str(len(read_rows("ps315_content_2026d.csv")))),
                ("UIDs", "2.25 and the decimal number of 128 bits, HMAC-SHA256 under the key"),
            ]
        ),
    )


def _dummies() -> str:
    vrs = [*sorted(DUMMIES), b"LO", b"UI", b"US", b"FD"]
    special = {b"UI": "a keyed UID, the same for the same original"}
    return _table(
        ("VR", "dummy (action D)"),
        ((vr.decode(), special.get(vr) or f"`{_shown(dummy(vr))}`") for vr in vrs),
    )


def _shown(value: bytes) -> str:
    return value.decode() if value.strip(b"\0") else f"{len(value)} zero bytes"


def _acts() -> str:
    counts = {name: Counter(d.act for d in _policy(name).decisions) for name in PROFILES}
    return _table(
        ("an attribute is", *(f"`{name}`" for name in PROFILES)),
        ((act.value, *(str(counts[name][act]) for name in PROFILES)) for act in Act),
    )


def _retained() -> str:
    """Text attributes that stay as they are; numbers and coded strings that stay are told by VR in deidentification.md."""
    kept = {name: {d.keyword: d for d in _policy(name).decisions if d.act is Act.PLAIN} for name in PROFILES}
    keywords = sorted({k for found in kept.values() for k in found})
    return _table(
        ("attribute kept as plain text", *(f"`{name}`" for name in PROFILES)),
        ((k, *("kept" if k in kept[name] else "" for name in PROFILES)) for k in keywords),
    )


def _classes() -> str:
    rows = sorted(read_rows("classes.csv"), key=lambda r: (r["status"], r["road"], r["name"]))
    return _table(
        ("SOP class", "UID", "becomes", "why"),
        ((r["name"], r["sop_class"], f"{r['status']}: {ROADS[r['road']]}" if r["road"] else r["status"], r["why"]) for r in rows),
    )  # fmt: skip


def _content() -> str:
    counts = Counter((r["value_type"], r["basic"]) for r in read_rows("ps315_content_2026d.csv"))
    return _table(
        ("value type", "action in the Basic column", "content items"),
        ((kind, action, str(n)) for (kind, action), n in sorted(counts.items())),
    )


def _reasons() -> str:
    return _table(("reason", "meaning"), ((f"`{reason}`", text) for reason, text in REASONS.items()))


def _policy(name: str) -> Policy:
    return compile_policy(load_profile(name))


BLOCKS: Mapping[str, Callable[[], str]] = {
    "implementation": _implementation,
    "options": _options,
    "actions": _acts,
    "dummies": _dummies,
    "retained": _retained,
    "content": _content,
    "classes": _classes,
    "reasons": _reasons,
}


def with_blocks(page: str) -> str:
    """A Markdown page whose blocks between markers hold what the rules say now.

    Raises ValueError where a marker is missing.
    """
    for name, make in BLOCKS.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"The page has no lines {begin} and {end}.")
        page = f"{before}{begin}\n\n{make()}\n{end}{after}"
    return page


if __name__ == "__main__":
    _page = Path(sys.argv[1])
    _page.write_text(with_blocks(_page.read_text()))
