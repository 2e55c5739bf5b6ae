"""Tables of the report as HTML.

What belongs here: numbers in rows. What does not: plots (plots), which table stands where (page).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from curation.records import Metric
from training.report.card import show

NONE = "<p class=quiet>None.</p>"
_STATUS = {"computed": "computed", "not_applicable": "not applicable", "missing": "missing"}
_FILLED = {"filled": "filled", "partly": "filled in part; author completes", "author": "author must fill"}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that scrolls by itself where the window is narrow; text is escaped, `Html` is not."""
    lines = [
        "".join(f"<td>{cell if isinstance(cell, Html) else escape(str(cell))}</td>" for cell in row)
        for row in rows
    ]
    if not lines:
        return NONE
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=wide><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def metric_table(rows: Iterable[Metric]) -> str:
    """Both arms and the gain of every cell."""
    cells: dict[tuple[str, ...], dict[str, Metric]] = {}
    for r in rows:
        cells.setdefault((r.split, r.site, r.subgroup, r.label, r.name), {})[r.arm] = r
    lines = []
    for key, arms in cells.items():
        first = next(iter(arms.values()))
        n = f"{first.n}" + ("" if first.n_positive is None else f" ({first.n_positive})")
        numbers = [show(arms.get(arm), is_signed=arm == "gain") for arm in ("untuned", "tuned", "gain")]
        lines.append((*key, n, *numbers))
    return table(
        ("split", "site", "subgroup", "label", "metric", "n (positive)", "untuned", "tuned", "gain"), lines
    )


def headline_table(headline: Mapping[str, Any]) -> str:
    """The number by which the run is summed up, on each judged split."""
    lines = [
        (split, found["metric"].upper(), found["n"], *(interval(found[arm], is_signed=arm == "gain") for arm in ("untuned", "tuned", "gain")),
         "" if found["p"] is None else f"{found['p']:.3g}")
        for split, found in headline.items()
    ]  # fmt: skip
    return table(("split", "metric", "studies", "untuned", "tuned", "gain", "p"), lines)


def gap_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Clean and comorbid studies, both arms, and what tuning makes of the gap."""
    lines = []
    for r in rows:
        pairs = [
            f"{r[arm]['without']['value']:.3f} / {r[arm]['with']['value']:.3f}"
            for arm in ("untuned", "tuned")
        ]
        gaps = [interval(r[arm]["gap"], is_signed=True) for arm in ("untuned", "tuned")]
        n = f"{r['n_without']} / {r['n_with']}"
        told = Html(f"<b>{interval(r['narrowing'], is_signed=True)}</b><br>{escape(r['verdict'])}")
        lines.append(
            (
                r["covariate"],
                r["split"],
                r["label"],
                *gaps,
                told,
                interval(r["gain_with"], is_signed=True),
                *pairs,
                n,
            )
        )
    head = ("beside", "split", "label", "gap, untuned", "gap, tuned", "untuned gap minus tuned gap", "gain with it",
            "untuned AUROC without / with", "tuned AUROC without / with", "studies without / with")  # fmt: skip
    return table(head, lines)


def point_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """What each arm does at each fixed point."""
    names = ("sensitivity", "specificity", "PPV", "NPV")
    lines = [
        (
            r["split"],
            r["label"],
            r["point"],
            r["arm"],
            f"{r['threshold']:.4f}",
            *(interval(r[name]) for name in names),
        )
        for r in rows
    ]
    return table(("split", "label", "point", "arm", "threshold", *names), lines)


def matrix_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Taught at (rows), judged at (columns); the deeper the blue the higher."""
    parts = []
    for label in dict.fromkeys(r["label"] for r in rows):
        here = {(r["taught_at"], r["judged_at"]): r["auroc"] for r in rows if r["label"] == label}
        taught, at = (list(dict.fromkeys(key[k] for key in here)) for k in (0, 1))
        lines = [
            (f"taught at {a}", *(_shade(here[a, b]) if (a, b) in here else "" for b in at)) for a in taught
        ]
        parts.append(f"<h3>{escape(label)}</h3>" + table(("", *(f"judged at {b}" for b in at)), lines))
    return "".join(parts) or NONE


def item_table(items: Iterable[Mapping[str, Any]]) -> str:
    """Lines of the report as they are."""
    lines = [
        (
            i["item"],
            _chip(i["status"], _STATUS[i["status"]]),
            "" if i["value"] is None else f"{i['value']:.3g}",
            i["text"],
        )
        for i in items
    ]
    return table(("item", "status", "value", ""), lines)


def catalogue_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Everything that must be said, and what became of it."""
    lines = [
        (r["title"], _chip(r["status"], "author must fill" if r["by"] == "author" and r["status"] == "missing" else _STATUS[r["status"]]),
         r["means"] + (f" {r['why']}" if r["why"] else ""))
        for r in rows
    ]  # fmt: skip
    return table(("item", "status", ""), lines)


def checklist_tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each checklist, folded away."""
    parts = []
    for name in dict.fromkeys(r["checklist"] for r in rows):
        own = [r for r in rows if r["checklist"] == name]
        counts = {s: sum(r["status"] == s for r in own) for s in _FILLED}
        lines = [(r["number"], r["asks"], _chip(r["status"], _FILLED[r["status"]]), r["where"]) for r in own]
        said = f"{counts['filled']} filled, {counts['partly']} in part, {counts['author']} for the author, of {len(own)}"
        parts.append(
            f"<details><summary><b>{escape(name)}</b>: {said}</summary><p class=quiet>{escape(own[0]['source'])} "
            f"The questions are in rwid's own words.</p>{table(('no.', 'asks', 'status', 'where'), lines)}</details>"
        )
    return "".join(parts)


def interval(found: Mapping[str, Any], *, is_signed: bool = False) -> str:
    """A number with its interval, or a dash."""
    sign = "+" if is_signed else ""
    if found["value"] is None:
        return "-"
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:{sign}.3f}"
    return f"{found['value']:{sign}.3f} [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"


def _chip(kind: str, words: str) -> Html:
    return Html(f'<span class="chip {kind}">{escape(words)}</span>')


def _shade(value: float) -> Html:
    depth = max(0.0, min(1.0, (value - 0.5) / 0.5))
    return Html(f'<span class=cell style="background:rgba(31,106,165,{0.45 * depth:.2f})">{value:.3f}</span>')
