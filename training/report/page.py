"""report.html: one page that needs nothing but itself; plots are inline SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from curation.records import Metric
from training.report.card import show

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{padding:.25rem .5rem;border-bottom:1px solid #dde1e6;text-align:left;font-variant-numeric:tabular-nums}
.verdict{font-size:1.1rem;padding:.75rem 1rem;background:#eef3f8;border-left:4px solid #2f6f9f}
.quiet{color:#667079}svg text{font:11px system-ui,sans-serif;fill:#444}svg{max-width:100%}
"""
_GREY, _BLUE = "#9aa4ae", "#2f6f9f"


def html_page(report: Mapping[str, Any], rows: Sequence[Metric], history: Sequence[Mapping[str, Any]]) -> str:
    """The whole report as one HTML document."""
    body = [
        f"<h1>{escape(report['name'])} <span class=quiet>{report['run_id']}</span></h1>",
        f"<p class=verdict>{escape(report['verdict'])}</p>",
        f"<p>Untuned is {escape(report['baseline']['is'])}. Intervals are 95 % patient-cluster bootstrap; gains are paired.</p>",
        "<h2>Every site</h2>",
        _forest([r for r in rows if r.name == "auroc" and r.subgroup == "all" and r.split != "tune"]),
        _metric_table(r for r in rows if r.subgroup == "all" and r.split != "tune"),
        "<h2>With and without: covariates and subgroups</h2>",
        _metric_table(
            r for r in rows if r.subgroup != "all" and r.name in ("auroc", "sensitivity", "specificity")
        ),
        "<h2>Calibration</h2>",
        _reliability(report["reliability"]),
        "<h2>Is it the finding or the site?</h2>",
        _items(i for i in report["items"] if i["section"] in ("shortcut", "precheck")),
        "<h2>Curves</h2>",
        _curves(history),
        "<h2>All items</h2>",
        _items(i for i in report["items"] if i["section"] not in ("shortcut", "precheck")),
    ]
    head = f"<meta charset=utf-8><title>{escape(report['name'])}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _metric_table(rows: Iterable[Metric]) -> str:
    cells: dict[tuple[str, ...], dict[str, Metric]] = {}
    for r in rows:
        cells.setdefault((r.split, r.site, r.subgroup, r.label, r.name), {})[r.arm] = r
    if not cells:
        return "<p class=quiet>None.</p>"
    lines = []
    for key, arms in cells.items():
        any_arm = next(iter(arms.values()))
        n = f"{any_arm.n}" + ("" if any_arm.n_positive is None else f" ({any_arm.n_positive})")
        numbers = [show(arms.get(arm), is_signed=arm == "gain") for arm in ("untuned", "tuned", "gain")]
        lines.append("<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in (*key, n, *numbers)) + "</tr>")
    names = ("split", "site", "subgroup", "label", "metric", "n (positive)", "untuned", "tuned", "gain")
    return f"<table><tr>{''.join(f'<th>{n}</th>' for n in names)}</tr>{''.join(lines)}</table>"


def _items(items: Iterable[Mapping[str, Any]]) -> str:
    lines = []
    for i in items:
        value = "" if i["value"] is None else f"{i['value']:.3f}"
        cells = (i["section"], i["item"], i["status"].replace("_", " "), value, i["text"])
        lines.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return f"<table>{''.join(lines)}</table>" if lines else "<p class=quiet>None.</p>"


def _forest(rows: Sequence[Metric]) -> str:
    """Untuned (grey) and tuned (blue) AUROC of every site, with intervals, on one axis from 0 to 1."""
    keys = list(dict.fromkeys((r.split, r.site, r.label) for r in rows))
    left, width = 260, 380

    def x(value: float) -> float:
        return left + width * value

    parts = [f'<line x1="{x(t):.0f}" x2="{x(t):.0f}" y1="0" y2="{26 * len(keys)}" stroke="#e3e7eb"/>'
             f'<text x="{x(t):.0f}" y="{26 * len(keys) + 14}" text-anchor="middle">{t:g}</text>'
             for t in (0, 0.25, 0.5, 0.75, 1)]  # fmt: skip
    for number, key in enumerate(keys):
        y = 13 + 26 * number
        parts.append(f'<text x="0" y="{y + 4}">{escape(" · ".join(key))}</text>')
        for r in rows:
            if (r.split, r.site, r.label) != key or r.arm == "gain" or r.value is None:
                continue
            colour, at = (_BLUE, y + 4) if r.arm == "tuned" else (_GREY, y - 4)
            if r.low is not None and r.high is not None:
                line = f'<line x1="{x(r.low):.1f}" x2="{x(r.high):.1f}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2"/>'
                parts.append(line)
            parts.append(f'<circle cx="{x(r.value):.1f}" cy="{at}" r="3.5" fill="{colour}"/>')
    legend = "<p class=quiet>AUROC; grey untuned, blue tuned.</p>"
    return _svg(left + width + 20, 26 * len(keys) + 20, parts) + legend


def _reliability(points: Sequence[Mapping[str, Any]]) -> str:
    """Mean score against share positive, per label of the test split (else holdout), both arms."""
    splits = {p["split"] for p in points}
    split = "test" if "test" in splits else "holdout"
    plots = []
    for label in dict.fromkeys(p["label"] for p in points):
        size = 180
        parts = [f'<rect width="{size}" height="{size}" fill="none" stroke="#cfd5db"/>',
                 f'<line x1="0" y1="{size}" x2="{size}" y2="0" stroke="#cfd5db"/>']  # fmt: skip
        for arm, colour in (("untuned", _GREY), ("tuned", _BLUE)):
            here = [p for p in points if (p["split"], p["label"], p["arm"]) == (split, label, arm)]
            xy = " ".join(f"{size * p['score']:.1f},{size * (1 - p['positive']):.1f}" for p in here)
            parts.append(f'<polyline points="{xy}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="4" y="{size + 14}">{escape(label)}, {split}: score to the right, share positive up</text>'
        )
        plots.append(_svg(size + 160, size + 20, parts))
    return "".join(plots) or "<p class=quiet>None.</p>"


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    plots = []
    for name in dict.fromkeys(row["name"] for row in history):
        here = [(row["step"], row["value"]) for row in history if row["name"] == name]
        if len(here) < 2:
            continue
        low, high = min(v for _, v in here), max(v for _, v in here)
        first, last = here[0][0], here[-1][0]
        xy = " ".join(
            f"{260 * (s - first) / max(1, last - first):.1f},{80 - 76 * (v - low) / max(high - low, 1e-12):.1f}"
            for s, v in here
        )
        words = f"{escape(name)}: {here[0][1]:.3g} to {here[-1][1]:.3g} in {last} steps"
        parts = [
            f'<polyline points="{xy}" fill="none" stroke="{_BLUE}" stroke-width="1.5"/>',
            f'<text y="98">{words}</text>',
        ]
        plots.append(_svg(300, 104, parts))
    return "".join(plots) or "<p class=quiet>None.</p>"


def _svg(width: int, height: int, parts: Iterable[str]) -> str:
    return f'<svg viewBox="-4 -4 {width + 8} {height + 8}" width="{width}" role="img">{"".join(parts)}</svg>'
