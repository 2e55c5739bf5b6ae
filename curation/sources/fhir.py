"""FHIR R4 resources in a JSON file: the reports a Bundle brings, and everybody it names.

What belongs here: DiagnosticReport and DocumentReference as items, the keys of their study. What does not: who is named
(deid.resources), searching a server (the site's export does that).
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curation.deid.resources import each, flat, keys_of_resources
from curation.records import Refused
from curation.source import Item
from curation.sources.text import decode_text

FHIR_ENDINGS = (".json", ".ndjson")

_MAX_BYTES = 256 << 20
_TAG = re.compile(r"<(br|p|div|tr|li|h\d)\b[^>]*>|<[^>]+>", re.IGNORECASE)
_Resource = Mapping[str, Any]


def read_resources(path: Path, name: str) -> Iterator[Item]:
    """Every report of a file as one item; one item `clinical` where the resources only name people.

    A JSON file that holds no FHIR resource is refused as `not_dicom`, as other files that rwid does not read.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        yield Item(name, "unknown", file=path, refused="too_large", bytes=size)
        return
    try:
        resources = _load(path)
    except (ValueError, RecursionError, Refused):
        yield Item(name, "unknown", file=path, refused="not_dicom", bytes=size)
        return
    message = json.dumps(resources)
    reports = [
        r for r in flat(resources) if str(r.get("resourceType")) in ("DiagnosticReport", "DocumentReference")
    ]
    texts = [(report, text) for report in reports if (text := _text(report)) is not None]
    if not texts:
        fields = keys_of_resources(resources)
        yield Item(name, "clinical", file=path, fields=fields, message=message, bytes=size)
    for number, (report, text) in enumerate(texts, start=1):
        where = name if len(texts) == 1 else f"{name}#{number}"
        fields = keys_of_resources(_belonging(report, resources))
        refused = None if text else "document"
        yield Item(
            where,
            "report",
            file=path,
            text=text or None,
            fields=fields,
            refused=refused,
            message=message,
            bytes=size,
        )


def _load(path: Path) -> list[_Resource]:
    text = decode_text(path.read_bytes())
    try:
        found = [json.loads(text)]
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(r, Mapping) and isinstance(r.get("resourceType"), str) for r in found):
        raise Refused("not_dicom")
    return found


def _belonging(report: _Resource, resources: list[_Resource]) -> list[_Resource]:
    """The report with the studies and orders it refers to; whoever has only one of them means that one."""
    parts = [*each(report, "imagingStudy"), *each(report, "basedOn")]
    parts += [related for context in each(report, "context") for related in each(context, "related")]
    wanted = {str(p.get("reference", "")).rsplit("/", 1)[-1].rsplit(":", 1)[-1] for p in parts}
    return [report, *(r for r in flat(resources) if str(r.get("id")) in wanted)]


def _text(report: _Resource) -> str | None:
    """The words of a report: its form in plain text, else its narrative, else its conclusion.

    None where it has none of these (a laboratory panel), empty where it has a form that is not plain text only.
    """
    forms = [
        *each(report, "presentedForm"),
        *(a for c in each(report, "content") for a in each(c, "attachment")),
    ]
    for form in forms:
        kind = str(form.get("contentType", "")).split(";")[0]
        if kind in ("text/plain", "text/html") and form.get("data"):
            try:
                text = decode_text(base64.b64decode(str(form["data"]), validate=True))
            except (binascii.Error, Refused):
                continue
            return _plain(text) if kind == "text/html" else text
    if report.get("conclusion"):
        return str(report["conclusion"])
    for narrative in each(report, "text"):
        if narrative.get("status") == "additional":  # says more than the coded fields
            return _plain(str(narrative.get("div", "")))
    return "" if any(form.get("data") or form.get("url") for form in forms) else None


def _plain(markup: str) -> str:
    """Words of XHTML, a line for each block."""
    text = _TAG.sub(lambda m: "\n" if m[1] else "", markup)
    return html.unescape(text).strip()
