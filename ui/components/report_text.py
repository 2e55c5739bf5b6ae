"""A report beside the image: sections, redactions and the sentences that carry findings, marked in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import streamlit as st

STAND_INS = "Names, numbers and dates in reports are stand-ins, not the patient's own."
REDACTION = re.compile(r"\[[A-Z][A-Z0-9 _/+-]{1,30}\]")
MARKS = {"present": "#CF8A3B", "absent": "#5B8E5A", "uncertain": "#8D83CF"}

_STYLE = """<style>
.rwid-report { white-space: pre-wrap; line-height: 1.6; font-size: 0.95rem; max-width: 46rem; }
.rwid-report .tag { font-family: monospace; font-size: .82em; padding: 1px 5px; border-radius: 4px; white-space: nowrap;
  background: color-mix(in srgb, currentColor 13%, transparent); }
.rwid-report mark { color: inherit; padding: 1px 0; border-bottom: 2px solid; border-radius: 2px 2px 0 0; }
.rwid-report mark.present { background: #CF8A3B33; border-color: #CF8A3B; }
.rwid-report mark.absent { background: #5B8E5A2b; border-color: #5B8E5A; }
.rwid-report mark.uncertain { background: #8D83CF33; border-color: #8D83CF; }
.rwid-report b { letter-spacing: .02em; }
</style>"""


def show(text: str, sections: Iterable[Mapping[str, Any]], findings: Iterable[Mapping[str, Any]]) -> None:
    """The text with its redaction tags, section heads and evidence; a finding with `evidence` and `assertion` is marked."""
    st.html(f'{_STYLE}<div class="rwid-report">{marked(text, sections, findings)}</div>')


def marked(text: str, sections: Iterable[Mapping[str, Any]], findings: Iterable[Mapping[str, Any]]) -> str:
    """HTML of the text: every character escaped, marks that never overlap."""
    spans: list[tuple[int, int, str, str]] = []
    for finding in findings:
        at = text.find(finding["evidence"]) if finding["evidence"] else -1
        if at >= 0:
            title = escape(f"{finding['finding']}: {finding['assertion']}", quote=True)
            spans.append(
                (
                    at,
                    at + len(finding["evidence"]),
                    f'<mark class="{_class(finding)}" title="{title}">',
                    "</mark>",
                )
            )
    spans = _without_overlap(spans)
    for found in REDACTION.finditer(text):
        spans.append(
            (
                found.start(),
                found.end(),
                '<span class="tag" title="replaced by de-identification">',
                "</span>",
            )
        )
    for section in sections:
        head = re.match(r"\s*[^:\n]{2,40}:", text[section["start"] : section["end"]])
        if head:
            spans.append((section["start"], section["start"] + head.end(), "<b>", "</b>"))
    return _nested(text, spans)


def _class(finding: Mapping[str, Any]) -> str:
    return finding["assertion"] if finding["assertion"] in MARKS else "uncertain"


def _without_overlap(spans: list[tuple[int, int, str, str]]) -> list[tuple[int, int, str, str]]:
    kept: list[tuple[int, int, str, str]] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept


def _nested(text: str, spans: list[tuple[int, int, str, str]]) -> str:
    """Opens and closes the spans in order; one that would cross the end of another is left out."""
    opened: list[tuple[int, str]] = []
    starts = sorted(spans, key=lambda s: (s[0], -s[1]))
    out, at, turn = [], 0, 0
    while at <= len(text):
        while opened and opened[-1][0] <= at:
            out.append(opened.pop()[1])
        while turn < len(starts) and starts[turn][0] <= at:
            start, end, head, tail = starts[turn]
            turn += 1
            if start == at and (not opened or end <= opened[-1][0]):
                out.append(head)
                opened.append((end, tail))
        if at < len(text):
            out.append(escape(text[at]))
        at += 1
    return "".join(out)
