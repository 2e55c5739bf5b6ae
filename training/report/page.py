"""report.html: the verdict first, then what it rests on; one page that needs nothing but itself.

What belongs here: what stands where. What does not: shapes (plots), rows (tables), what is true (evaluate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from curation.records import Metric
from training.report import plots, tables
from training.report.catalogue import catalogue

_STYLE = """
:root{--ink:#1b1f24;--quiet:#626c76;--line:#dde1e6;--blue:#1f6aa5}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1.5rem 1.25rem 4rem;color:var(--ink)}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:.6rem;border-top:2px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
nav{font-size:.85rem;margin:.6rem 0 1rem;line-height:1.9}nav a{color:var(--blue);margin-right:.9rem;text-decoration:none;white-space:nowrap}
.verdict{font-size:1.15rem;padding:.8rem 1rem;background:#eef3f8;border-left:4px solid var(--blue);margin:.8rem 0}
.also{display:block;font-size:.95rem;margin-top:.35rem}
.quiet{color:var(--quiet);font-size:.88rem}
.wide{overflow-x:auto;margin:.4rem 0 1rem}
table{border-collapse:collapse;width:100%;font-size:.86rem}
td,th{padding:.28rem .55rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--quiet);vertical-align:bottom;border-bottom:2px solid var(--line)}
td:last-child{min-width:9rem}
svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#444}svg .t{font-weight:600}
.plots{display:flex;flex-wrap:wrap;gap:1rem 1.5rem}
details{margin:.5rem 0}summary{cursor:pointer;padding:.25rem 0}
.chip{font-size:.76rem;padding:.05rem .45rem;border-radius:.7rem;white-space:nowrap;background:#e8ecf0;color:#4b555f}
.chip.computed,.chip.filled{background:#dcefe5;color:#1b6644}.chip.missing,.chip.author{background:#f9e3d8;color:#8d3f17}
.chip.partly{background:#f7efd2;color:#705a0e}
.cell{display:inline-block;padding:0 .5rem;border-radius:.2rem}
.numbers{display:flex;flex-wrap:wrap;gap:.6rem 2rem;margin:.4rem 0}.numbers b{font-size:1.05rem}
@media(max-width:40rem){body{padding:1rem .75rem 3rem}td,th{padding:.25rem .4rem}}
@media print{nav{display:none}details{display:block}h2{break-after:avoid}}
"""
_TITLES = {"other": "More lines", "headline": "Result", "sites": "Every site", "curves": "Curves of training", "catalogue": "What was examined",
           "checklists": "Checklists"}  # fmt: skip


def html_page(report: Mapping[str, Any], rows: Sequence[Metric], history: Sequence[Mapping[str, Any]]) -> str:
    """The whole report as one HTML document."""
    parts = {
        "headline": _headline(report),
        "strata": _strata(report),
        "survival": _survival(report),
        "sites": _sites(report, rows),
        "discrimination": _items(report, "discrimination"),
        "operating": _operating(report),
        "calibration": _calibration(report),
        "subgroups": _subgroups(report, rows),
        "generalisation": _generalisation(report),
        "shortcut": _items(report, "shortcut"),
        "labels": _items(report, "labels"),
        **{
            key: _items(report, key)
            for key in ("regression", "segmentation", "text_extraction", "generation", "retrieval")
        },
        "provenance": _provenance(report),
        "statements": _items(report, "statements"),
        "compute": _items(report, "compute"),
        "curves": _curves(history),
        "catalogue": _examined(report),
        "checklists": tables.checklist_tables(report["checklists"]),
    }
    titles = {s.key: s.title for s in catalogue().section} | _TITLES
    parts["other"] = tables.item_table(i for i in report["items"] if i["section"] not in titles)
    shown = {key: body for key, body in parts.items() if body and body != tables.NONE}
    links = " ".join(f'<a href="#{key}">{escape(titles[key])}</a>' for key in shown)
    sections = "".join(f'<h2 id="{key}">{escape(titles[key])}</h2>{body}' for key, body in shown.items())
    top = (
        f"<h1>{escape(report['name'])}</h1><p class=quiet>run {report['run_id']} · {escape(report['method'])} on "
        f"{escape(report['model'])} · cohort {escape(report['cohort_id'])}</p>"
        f"<p class=verdict>{escape(report['verdict'])}{_beside(report)}</p><nav>{links}</nav>"
    )
    head = (
        '<meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{escape(report['name'])}</title><style>{_STYLE}</style>"
    )
    return f"<!doctype html><html lang=en><head>{head}</head><body>{top}{sections}</body></html>\n"


def _headline(report: Mapping[str, Any]) -> str:
    known = report["catalogue"]
    missing = [r for r in known if r["status"] == "missing"]
    author = sum(r["by"] == "author" for r in missing)
    counts = (
        f"{sum(r['status'] == 'computed' for r in known)} of {len(known)} items of the report computed, "
        f"{sum(r['status'] == 'not_applicable' for r in known)} not applicable, {len(missing) - author} missing, "
        f"{author} for the author"
    )
    warnings = "".join(f"<li>{escape(w)}</li>" for w in report["precheck"]["warnings"])
    return (
        tables.headline_table(report["headline"])
        + f"<p>Untuned is {escape(report['baseline']['is'])}. Intervals are 95 % patient-cluster bootstrap; gains are paired.</p>"
        + f'<p class=quiet><a href="#catalogue">{counts}</a>.</p>'
        + (f"<p>Said before compute was spent:</p><ul>{warnings}</ul>" if warnings else "")
    )


def _beside(report: Mapping[str, Any]) -> str:
    """One sentence a covariate, of the split by which the run is judged."""
    rows = report["tables"].get("gaps", [])
    split = next(iter(report["headline"]), "")
    lead = [r for r in rows if r["split"] == split and r["label"] == rows[0]["label"]]
    said = (
        f"Beside {r['covariate']}: gap {tables.interval(r['untuned']['gap'], is_signed=True)} untuned, "
        f"{tables.interval(r['tuned']['gap'], is_signed=True)} tuned; difference "
        f"{tables.interval(r['narrowing'], is_signed=True)}: {r['verdict']}."
        for r in lead
    )
    return "".join(f"<span class=also>{escape(sentence)}</span>" for sentence in said)


def _strata(report: Mapping[str, Any]) -> str:
    rows = report["tables"].get("gaps", [])
    if not rows:
        return _items(report, "strata")
    lead = [r for r in rows if r["label"] == rows[0]["label"]]
    note = (
        "<p class=quiet>The gap is AUROC of studies without the comorbidity minus AUROC of studies with it; what tuning makes "
        "of it is the untuned gap minus the tuned one, under the same draws of patients; above 0, tuned loses less to it.</p>"
    )
    rest = _folded("Every label", tables.gap_table(rows)) if len(lead) < len(rows) else ""
    silent = [i for i in _of(report, "strata") if i["status"] != "computed"]
    return (
        plots.gaps(lead)
        + tables.gap_table(lead)
        + note
        + rest
        + (tables.item_table(silent) if silent else "")
    )


def _sites(report: Mapping[str, Any], rows: Sequence[Metric]) -> str:
    whole = [r for r in rows if r.subgroup == "all" and r.split != "tune"]
    metric = next((found["metric"] for found in report["headline"].values()), "auroc")
    lead = "macro" if any(r.label == "macro" for r in whole) else None
    drawn = [r for r in whole if r.name == metric and lead in (None, r.label)]
    return plots.forest(drawn, metric.upper()) + _folded(
        "Every metric of every site and label", tables.metric_table(whole)
    )


def _operating(report: Mapping[str, Any]) -> str:
    found = report["tables"]
    if not found.get("points"):
        return _items(report, "operating")
    drawn = []
    for split, label in _pairs(found.get("net_benefit", [])):
        of = {r["line"]: r for r in found["net_benefit"] if (r["split"], r["label"]) == (split, label)}
        at = of["tuned"]["at"]
        share = max(max(of["tuned"]["net_benefit"]), max(of["untuned"]["net_benefit"]), 0.01)
        series = [plots.Series(name, colour, at, of[key]["net_benefit"], of[key].get("low"), of[key].get("high"), is_dashed=key == "all") for key, name, colour in
                  (("untuned", "untuned", plots.GREY), ("tuned", "tuned", plots.BLUE), ("all", "treat all", "#b08d57"))]  # fmt: skip
        series.append(plots.Series("treat none", "#444444", [at[0], at[-1]], [0.0, 0.0], is_dashed=True))
        drawn.append(plots.chart(f"Decision curve · {label} · {split}", series, "threshold", "net benefit", (0, 0.95), (-0.25 * share, 1.1 * share)))  # fmt: skip
    for split, label in _pairs(found.get("workload", [])):
        of = {r["arm"]: r for r in found["workload"] if (r["split"], r["label"]) == (split, label)}
        series = [plots.Series(arm, colour, of[arm]["read"], of[arm]["found"]) for arm, colour in _ARMS]
        drawn.append(plots.chart(f"Workload · {label} · {split}", series, "share of studies read", "share of positives found", (0, 1), (0, 1), has_diagonal=True))  # fmt: skip
    rows = found.get("points", [])
    points = tables.point_table(rows)
    if len(rows) > _FEW_ROWS:
        points = _folded(f"Sensitivity, specificity, PPV and NPV at fixed points ({len(rows)} rows)", points)
    note = (
        "<p class=quiet>Thresholds come from the tune split alone; Wilson intervals count a study each.</p>"
    )
    return _plots(drawn) + points + note + _folded("All lines", _items(report, "operating"))


_SHOWN = 6
"""Plots of a section that are not folded away."""
_FEW_ROWS = 16
_ARMS = (("untuned", plots.GREY), ("tuned", plots.BLUE))


def _calibration(report: Mapping[str, Any]) -> str:
    points, drawn = report["reliability"], []
    for split, label in _pairs(points):
        of = {
            arm: [p for p in points if (p["split"], p["label"], p["arm"]) == (split, label, arm)]
            for arm, _ in _ARMS
        }
        series = [plots.Series(arm, colour, [p["score"] for p in of[arm]], [p["positive"] for p in of[arm]]) for arm, colour in _ARMS]  # fmt: skip
        drawn.append(plots.chart(f"Calibration · {label} · {split}", series, "score", "share positive", (0, 1), (0, 1), has_diagonal=True))  # fmt: skip
    return _plots(drawn) + _items(report, "calibration")


def _subgroups(report: Mapping[str, Any], rows: Sequence[Metric]) -> str:
    cells = [r for r in rows if r.subgroup != "all"]
    return _items(report, "subgroups") + (
        _folded("Every metric of every subgroup", tables.metric_table(cells)) if cells else ""
    )


def _generalisation(report: Mapping[str, Any]) -> str:
    rows = report["tables"].get("matrix", [])
    return (tables.matrix_table(rows) if rows else "") + _items(report, "generalisation")


def _survival(report: Mapping[str, Any]) -> str:
    curves, drawn = report["tables"].get("kaplan_meier", []), []
    for split in dict.fromkeys(c["split"] for c in curves):
        own = [c for c in curves if c["split"] == split]
        last = max(c["day"][-1] for c in own)
        series = [
            plots.Series(f"{c['third']} third: {c['events']} events of {c['n']}", plots.RISKS[c["third"]], [0, *c["day"]], [1, *c["free"]],
                         None if c["low"] is None else [1, *c["low"]], None if c["high"] is None else [1, *c["high"]], is_step=True)
            for c in own
        ]  # fmt: skip
        drawn.append(plots.chart(f"Kaplan-Meier by thirds of tuned risk · {split}", series, "days after the study", "share free", (0, last), (0, 1)))  # fmt: skip
    return _plots(drawn) + _items(report, "survival")


def _provenance(report: Mapping[str, Any]) -> str:
    flow = report["tables"].get("exclusions", [])
    rows = [(r["rule"], r["kind"], r["studies"], r["patients"], r["sites"]) for r in flow]
    shown = tables.table(("rule", "kind", "studies left", "patients left", "sites"), rows) if rows else ""
    return shown + tables.item_table(
        i for i in _of(report, "provenance") if i["entry"] != "provenance.exclusions" or not rows
    )


def _examined(report: Mapping[str, Any]) -> str:
    parts = []
    for section in catalogue().section:
        rows = [r for r in report["catalogue"] if r["section"] == section.key]
        if rows:
            parts.append(f"<h3>{escape(section.title)}</h3>{tables.catalogue_table(rows)}")
    return "".join(parts)


def _curves(history: Sequence[Mapping[str, Any]]) -> str:
    drawn = []
    for name in dict.fromkeys(row["name"] for row in history):
        here = [row for row in history if row["name"] == name]
        if len(here) < 2:
            continue
        x, y = [float(row["step"]) for row in here], [float(row["value"]) for row in here]
        drawn.append(
            plots.chart(
                name, [plots.Series(name, plots.BLUE, x, y)], "step", "", (x[0], x[-1]), (min(y), max(y))
            )
        )
    return _plots(drawn)


def _items(report: Mapping[str, Any], section: str) -> str:
    """A section's lines; what the task does not ask for stands in the catalogue alone."""
    own = _of(report, section)
    task = [i for i in own if not i["text"].startswith("not a question for the task")]
    return tables.item_table(task) if task else ""


def _of(report: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    return [i for i in report["items"] if i["section"] == section]


def _pairs(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r["split"], r["label"]) for r in rows))


def _plots(drawn: Sequence[str]) -> str:
    """The first few plots, the others folded away."""
    if not drawn:
        return ""
    rest = f"<div class=plots>{''.join(drawn[_SHOWN:])}</div>" if len(drawn) > _SHOWN else ""
    rest = _folded(f"{len(drawn) - _SHOWN} more plots", rest)
    return f"<div class=plots>{''.join(drawn[:_SHOWN])}</div>{rest}"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>" if body else ""
