"""model_card.md: what the model is, on whom it learned, how it did, and what nobody has checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curation.records import Metric
from training.spec import TuneSpec


def model_card(report: Mapping[str, Any], spec: TuneSpec, rows: Iterable[Metric]) -> str:
    """Markdown, filled from the report."""
    found = report["precheck"]
    environment = report["environment"] or {}
    lines = [
        f"# {report['name']}",
        "",
        f"Run `{report['run_id']}`: {spec.task.kind} of {', '.join(spec.task.labels)} by `{spec.method.kind}` on "
        f"`{spec.model.id}`.",
        "",
        f"**{report['verdict']}**",
        "",
        f"Untuned is {report['baseline']['is']}.",
        "",
        "## Learned on",
        "",
        f"Cohort `{report['cohort_id']}`: {found['n']} studies of {found['patients']} patients from {len(found['sites'])} "
        f"sites ({', '.join(found['sites'])}); splits by patient: "
        + ", ".join(f"{split} {n}" for split, n in found["splits"].items() if n)
        + f". Uncertain labels: {spec.task.uncertain}. Weights: {spec.data.weights}."
        + (f" Focal loss, gamma {spec.task.focal_gamma:g}." if spec.task.focal_gamma else ""),
        "",
        *(f"* {warning}" for warning in found["warnings"]),
        "",
        f"## {report['metric'].upper()} by site, with 95 % patient-cluster bootstrap intervals",
        "",
        "| split | site | label | studies | positive | untuned | tuned | gain |",
        "|---|---|---|---|---|---|---|---|",
        *_table(list(rows), report["metric"]),
        "",
        *_gaps(report["tables"].get("gaps", [])),
        "## What the author says",
        "",
        *_statements(report["catalogue"], spec.report.statements),
        "",
        "## Limits",
        "",
        "* Labels are taken as the cohort gives them; label_issues.parquet lists those that look wrong.",
        *(
            f"* Missing from the report: {r['title']}. {r['why']}"
            for r in report["catalogue"]
            if r["status"] == "missing" and r["by"] == "data"
        ),
        "* Not a medical device; research use.",
        "",
        "## Made with",
        "",
        f"{environment.get('device', 'cpu')}, {environment.get('precision', '')}, seed {spec.seed}, "
        f"{report['seconds']:.0f} s; versions in env.json.",
        "",
        *(
            f"* {i['item']}: {i['text']}"
            for i in report["items"]
            if i["section"] == "compute" and i["item"] != "reproducibility"
        ),
        "",
    ]
    return "\n".join(lines)


def _gaps(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Clean beside comorbid studies, of the first label that is told."""
    lines = [
        f"| {r['covariate']} | {r['split']} | {r['label']} | {_said(r['untuned']['gap'])} | {_said(r['tuned']['gap'])} | "
        f"{_said(r['narrowing'])} |"
        for r in rows
        if r["label"] == rows[0]["label"]
    ]
    if not lines:
        return []
    title = "## AUROC without a comorbidity minus with it, and what tuning makes of that gap"
    head = ["| beside | split | label | untuned | tuned | difference in gap |", "|---|---|---|---|---|---|"]
    return [title, "", *head, *lines, ""]


def _statements(catalogue: Sequence[Mapping[str, Any]], statements: Mapping[str, str]) -> list[str]:
    return [
        f"* {r['title']}: {statements.get(r['key'], '**the author must say**')}"
        for r in catalogue
        if r["by"] == "author"
    ]


def _said(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "-"
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:+.3f}"
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def _table(rows: list[Metric], metric: str) -> list[str]:
    cells: dict[tuple[str, str, str], dict[str, Metric]] = {}
    for r in rows:
        if r.name == metric and r.subgroup == "all" and r.split != "tune":
            cells.setdefault((r.split, r.site, r.label), {})[r.arm] = r
    lines = []
    for (split, site, label), arms in cells.items():
        facts = arms["tuned"]
        numbers = " | ".join(
            show(arms.get(arm), is_signed=arm == "gain") for arm in ("untuned", "tuned", "gain")
        )
        positive = "" if facts.n_positive is None else facts.n_positive
        lines.append(f"| {split} | {site} | {label} | {facts.n} | {positive} | {numbers} |")
    return lines


def show(metric: Metric | None, *, is_signed: bool = False) -> str:
    """A number with its interval, or a dash where there is none."""
    if metric is None or metric.value is None:
        return "-"
    sign = "+" if is_signed else ""
    if metric.low is None or metric.high is None:
        return f"{metric.value:{sign}.3f}"
    return f"{metric.value:{sign}.3f} [{metric.low:{sign}.3f}, {metric.high:{sign}.3f}]"
