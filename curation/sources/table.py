"""Tables of reports, labels and outcomes: CSV and JSONL, one row an item."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from curation.records import Refused
from curation.source import Item
from curation.sources.text import decode_text

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
KEYS = ("accession", "accession_number", "accessionnumber", "study_instance_uid", "studyinstanceuid")
TEXTS = ("report", "text", "report_text")

_MAX_TABLE_BYTES = 512 << 20


def read_table(path: Path, name: str) -> Iterator[Item]:
    """Rows of a table as items: `report` where a row has text, else `clinical`. A table without a key column is one refusal."""
    size = path.stat().st_size
    if size > _MAX_TABLE_BYTES:
        yield Item(name, "report", file=path, refused="too_large", bytes=size)
        return
    try:
        rows = list(_rows(path, Path(name).suffix.lower()))
    except Refused as refusal:
        yield Item(name, "report", file=path, refused=refusal.reason, bytes=size)
        return
    for number, row in enumerate(rows, start=1):
        yield _item(f"{name}#{number}", row)


def _item(name: str, row: Mapping[str, str] | None) -> Item:
    if row is None:
        return Item(name, "report", refused="unreadable_report")
    size = sum(len(k) + len(v) for k, v in row.items())
    text = next((row[k] for k in TEXTS if row.get(k, "").strip()), None)
    if not any(row.get(k, "").strip() for k in KEYS):
        return Item(
            name,
            "report" if text else "clinical",
            text=text,
            fields=row,
            refused="unlinked_report",
            bytes=size,
        )
    return Item(name, "report" if text else "clinical", text=text, fields=row, bytes=size)


def _rows(path: Path, ending: str) -> Iterator[dict[str, str] | None]:
    text = decode_text(path.read_bytes())
    if ending in (".jsonl", ".ndjson"):
        yield from (_json_row(line) for line in text.splitlines() if line.strip())
        return
    csv.field_size_limit(_MAX_TABLE_BYTES)
    try:
        reader = csv.DictReader(
            io.StringIO(text), delimiter="\t" if ending == ".tsv" else _delimiter(text), strict=True
        )
        columns = [(c or "").strip().lower() for c in reader.fieldnames or []]
        if not set(columns) & set(KEYS):
            raise Refused("unreadable_report")
        reader.fieldnames = columns
        for row in reader:
            yield (
                {k: v or "" for k, v in row.items()} if None not in row and None not in row.values() else None
            )
    except csv.Error:
        raise Refused("unreadable_report") from None


def _delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return max(",;\t", key=header.count)


def _json_row(line: str) -> dict[str, str] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    return {
        str(k).strip().lower(): "" if v is None else str(v)
        for k, v in row.items()
        if not isinstance(v, list | dict)
    }
