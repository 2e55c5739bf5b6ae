"""model_card.md: what the model is, on whom it learned, how it did, and what nobody has checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        + f". Uncertain labels: {spec.task.uncertain}. Weights: {spec.data.weights}.",
        "",
        *(f"* {warning}" for warning in found["warnings"]),
        "",
        "## AUROC by site, with 95 % patient-cluster bootstrap intervals",
        "",
        "| split | site | label | studies | positive | untuned | tuned | gain |",
        "|---|---|---|---|---|---|---|---|",
        *_table(list(rows)),
        "",
        "## Not checked",
        "",
        "* Intended use, and harm where it is used otherwise: **the author must say**.",
        "* Whether the backbone saw these patients in its own training: not known to rwid.",
        "* Label errors, and readers' agreement: labels are taken as the cohort gives them.",
        "* Not a medical device; research use.",
        "",
        "## Made with",
        "",
        f"{environment.get('device', 'cpu')}, {environment.get('precision', '')}, seed {spec.seed}, "
        f"{report['seconds']:.0f} s; versions in env.json.",
        "",
    ]
    return "\n".join(lines)


def _table(rows: list[Metric]) -> list[str]:
    cells: dict[tuple[str, str, str], dict[str, Metric]] = {}
    for r in rows:
        if r.name == "auroc" and r.subgroup == "all" and r.split != "tune":
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
