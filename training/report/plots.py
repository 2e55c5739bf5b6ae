"""Plots of the report as inline SVG: no script, no font, no file from outside.

What belongs here: shapes on axes. What does not: which numbers are drawn (page), tables (tables).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from curation.records import Metric

GREY, BLUE = "#8b959f", "#1f6aa5"
RISKS = {"lowest": "#2a8f64", "middle": "#c48a16", "highest": "#b2413b"}
_GRID = "#e3e7eb"
_ROW = 26
_LABEL_PX = 6.1
"""Width of a letter of a plot's text, px."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    is_step: bool = False
    is_dashed: bool = False


def chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    *,
    has_diagonal: bool = False,
) -> str:
    """Lines over two axes with their names beneath; what lies outside of the ranges is clipped."""
    width, height, left, top = 260, 200, 58, 22
    (x0, x1), (y0, y1) = x_range, y_range
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def at(x: float, y: float) -> str:
        return f"{width * (x - x0) / (x1 - x0):.1f},{height * (1 - (y - y0) / (y1 - y0)):.1f}"

    parts = [f'<text x="{left}" y="12" class="t">{escape(title)}</text>']
    for y in ticks(y0, y1):
        gy = top + height * (1 - (y - y0) / (y1 - y0))
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{gy:.1f}" y2="{gy:.1f}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{left - 5}" y="{gy + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(x0, x1):
        gx = left + width * (x - x0) / (x1 - x0)
        parts.append(f'<text x="{gx:.1f}" y="{top + height + 14}" text-anchor="middle">{x:g}</text>')
    lines = [_line(f"{at(x0, y0)} {at(x1, y1)}", "#c3cad1", is_dashed=True)] if has_diagonal else []
    for s in series:
        if s.low is not None and s.high is not None:
            points = _steps if s.is_step else _points
            band = points(s.x, s.high) + points(s.x, s.low)[::-1]
            lines.append(
                f'<polygon points="{" ".join(at(*p) for p in band)}" fill="{s.colour}" opacity=".13"/>'
            )
        line = (_steps if s.is_step else _points)(s.x, s.y)
        lines.append(_line(" ".join(at(*p) for p in line), s.colour, is_dashed=s.is_dashed))
    # an inner svg clips what lies outside of its box
    parts.append(f'<svg x="{left}" y="{top}" width="{width}" height="{height}">{"".join(lines)}</svg>')
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 29}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text transform="translate(10 {top + height / 2}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    )
    for k, s in enumerate(series):
        y = top + height + 46 + 15 * k
        parts.append(_line(f"{left},{y - 4} {left + 18},{y - 4}", s.colour, is_dashed=s.is_dashed))
        parts.append(f'<text x="{left + 24}" y="{y}">{escape(s.name)}</text>')
    return svg(left + width + 14, top + height + 40 + 15 * len(series), parts, title)


def forest(rows: Sequence[Metric], name: str) -> str:
    """Untuned (grey) and tuned (blue) of every site with intervals, one row a split, site and label."""
    keys = list(dict.fromkeys((r.split, r.site, r.label) for r in rows if r.value is not None))
    whole = [v for r in rows if r.arm != "gain" for v in (r.value, r.low, r.high) if v is not None]
    if not keys or not whole:
        return "<p class=quiet>None.</p>"
    names = [f"{split} · {'all sites' if site == 'all' else site} · {label}" for split, site, label in keys]
    left, width = round(max(map(len, names)) * _LABEL_PX) + 14, 360
    chance = [0.5] if name == "AUROC" else []
    low, high = min(whole + chance), max(whole + chance)
    low, high = low - 0.04 * (high - low) - 1e-9, high + 0.04 * (high - low) + 1e-9

    def x(value: float) -> float:
        return left + width * (value - low) / (high - low)

    bottom = _ROW * len(keys)
    parts = [
        f'<line x1="{x(t):.0f}" x2="{x(t):.0f}" y1="0" y2="{bottom}" stroke="{_GRID}"/>'
        f'<text x="{x(t):.0f}" y="{bottom + 14}" text-anchor="middle">{t:g}</text>'
        for t in ticks(low, high)
    ]
    for guess in chance:
        line = f'<line x1="{x(guess):.0f}" x2="{x(guess):.0f}" y1="0" y2="{bottom}" stroke="#b9c1c9" stroke-dasharray="3 3"/>'
        parts.append(line)
    for number, key in enumerate(keys):
        y = _ROW // 2 + _ROW * number
        weight = ' font-weight="600"' if key[1] == "all" else ""
        parts.append(f'<text x="0" y="{y + 4}"{weight}>{escape(names[number])}</text>')
        for r in rows:
            if (r.split, r.site, r.label) != key or r.arm == "gain" or r.value is None:
                continue
            colour, at = (BLUE, y + 4) if r.arm == "tuned" else (GREY, y - 4)
            if r.low is not None and r.high is not None:
                parts.append(_line(f"{x(r.low):.1f},{at} {x(r.high):.1f},{at}", colour))
            parts.append(f'<circle cx="{x(r.value):.1f}" cy="{at}" r="3.5" fill="{colour}"/>')
    return svg(left + width + 20, bottom + 20, parts, f"{name} of every site") + _legend(name)


def gaps(rows: Sequence[Mapping[str, Any]]) -> str:
    """The gap between clean and comorbid studies, untuned and tuned, with intervals; 0 is no gap."""
    ends = [
        row[arm]["gap"][k] for row in rows for arm in ("untuned", "tuned") for k in ("value", "low", "high")
    ]
    known = [v for v in ends if v is not None]
    if not known:
        return ""
    names = [f"{row['covariate']} · {row['split']} · {row['label']}" for row in rows]
    left, width = round(max(map(len, names)) * _LABEL_PX) + 14, 360
    low, high = min(*known, 0.0) - 0.01, max(*known, 0.0) + 0.01

    def x(value: float) -> float:
        return float(left + width * (value - low) / (high - low))

    bottom = _ROW * len(rows)
    parts = [
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{bottom}" stroke="#8b959f" stroke-dasharray="3 3"/>'
    ]
    for t in ticks(low, high):
        parts.append(f'<text x="{x(t):.0f}" y="{bottom + 14}" text-anchor="middle">{t:+g}</text>')
    for number, row in enumerate(rows):
        y = _ROW // 2 + _ROW * number
        parts.append(f'<text x="0" y="{y + 4}">{escape(names[number])}</text>')
        for arm, colour, at in (("untuned", GREY, y - 4), ("tuned", BLUE, y + 4)):
            gap = row[arm]["gap"]
            if gap["value"] is None:
                continue
            if gap["low"] is not None:
                parts.append(_line(f"{x(gap['low']):.1f},{at} {x(gap['high']):.1f},{at}", colour))
            parts.append(f'<circle cx="{x(gap["value"]):.1f}" cy="{at}" r="3.5" fill="{colour}"/>')
    title = "AUROC without the comorbidity minus with it"
    return svg(left + width + 20, bottom + 20, parts, title) + _legend(title)


def svg(width: float, height: float, parts: Iterable[str], title: str) -> str:
    """The parts as one picture with a title that a screen reader speaks."""
    body = f"<title>{escape(title)}</title>{''.join(parts)}"
    return f'<svg viewBox="-4 -4 {width + 8:.0f} {height + 8:.0f}" width="{width + 8:.0f}" role="img">{body}</svg>'


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers from low to high."""
    rough = (high - low) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= rough * 0.8)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _points(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(x, y, strict=True))


def _legend(name: str) -> str:
    return (
        f'<p class=quiet>{escape(name)}: <span style="color:{GREY}">●</span> untuned, '
        f'<span style="color:{BLUE}">●</span> tuned; lines are 95 % intervals.</p>'
    )


def _line(points: str, colour: str, *, is_dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if is_dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _steps(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """A line that holds its height until the next x."""
    points = list[tuple[float, float]]()
    for k, (here, height) in enumerate(zip(x, y, strict=True)):
        if k:
            points.append((here, y[k - 1]))
        points.append((here, height))
    return points
