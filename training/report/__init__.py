"""Writes what a run has to say: metrics.parquet, report.json, report.parquet, report.html, model_card.md, reading_sheet.csv.

What belongs here: which file holds what. What does not: what is true (evaluate), how a page looks (page), the words of
the card (card). No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from curation.cohort_folder import read_facts
from curation.pack_recipe import LEFT_OUT
from curation.records import Metric, to_table
from training import precheck
from training.audit import Item
from training.evaluate import Evidence
from training.examples import Examples
from training.provenance import exclusions
from training.report.card import model_card
from training.report.catalogue import complete, summary
from training.report.checklists import fill
from training.report.page import html_page
from training.report.reading_sheet import reading_sheet
from training.report.verdicts import verdicts
from training.runs import RunFolder
from training.spec import TUNER_VERSION, TuneSpec
from training.task import find_task

BASELINES = {
    "prototype": "the nearest class mean on the frozen backbone's features: the train split is averaged, nothing is fitted",
    "base_probe": "a logistic probe on the frozen backbone's features, fitted on the same patients with the same weights",
    "base_mlp": "a perceptron on the frozen backbone's features, learned on the same patients with the same weights",
    "base_attentive": "attention over the frozen backbone's patch tokens, learned on the same patients with the same weights",
    "zero_shot": "the same vision-language model as it came, asked the same questions",
    "linear_patches": "one linear layer on each of the frozen backbone's patch tokens, learned on the same masks",
    "base_decoder": "the decoder on the frozen backbone's patch tokens, learned on the same masks",
    "ridge_to_text": "ridge from the frozen backbone's features to those of the report, fitted on the same patients",
    "tfidf": "TF-IDF of words and pairs of words with balanced logistic regression, fitted on the same patients' reports",
    "component": "one component of partial least squares on the frozen backbone's features: covariances, nothing is fitted",
    "base_ridge": "a ridge probe on the frozen backbone's features, fitted on the same patients with the same weights",
}
"""What the arm called `untuned` is; see docs/tuning.md."""

_ITEM = pa.schema(
    [("run_id", pa.string()), ("entry", pa.string()), ("section", pa.string()), ("item", pa.string()),
     ("status", pa.string()), ("value", pa.float64()), ("text", pa.string())]
)  # fmt: skip


def baseline_of(spec: TuneSpec) -> str:
    """Name of the untuned arm. A probe moves no weight of the backbone, so it cannot be its own baseline."""
    of_probe, of_others = find_task(spec.task).arms
    if spec.method.head != "linear":
        return of_others if spec.method.kind == "probe" else f"base_{spec.method.head}"
    return of_probe if spec.method.kind == "probe" else of_others


def write_report(
    run: RunFolder,
    spec: TuneSpec,
    examples: Examples,
    found: Mapping[str, Any],
    evidence: Evidence,
    costs: Sequence[Item],
    seconds: float,
) -> None:
    """All files of the evidence; report.json last, for its presence means that the rest is there."""
    items = [*_precheck(run, spec, found), *evidence.items, *costs, _reproducibility(run, spec)]
    lines = complete(items, spec.task.kind, spec.report.statements)
    entries = summary(lines)
    baseline = baseline_of(spec)
    report = {
        "run_id": run.run_id,
        "name": spec.name,
        "cohort_id": examples.cohort_id,
        "method": spec.method.kind,
        "model": spec.model.id,
        "verdict": evidence.verdict,
        "metric": find_task(spec.task).headline,
        "headline": evidence.headline,
        "baseline": {"name": baseline, "is": BASELINES[baseline]},
        "precheck": dict(found),
        "loop": run.read_json("loop.json"),
        "environment": run.read_json("env.json"),
        "reliability": evidence.reliability,
        "items": [asdict(line) for line in lines],
        "catalogue": entries,
        "checklists": fill(entries),
        "tables": evidence.tables | {"exclusions": exclusions(read_facts(examples.folder))},
        "seconds": round(seconds, 1),
    }
    report["verdicts"] = verdicts(report)
    run.write_parquet("metrics.parquet", to_table(Metric, evidence.metrics))
    rows = [{"run_id": run.run_id, **asdict(line)} for line in lines]
    run.write_parquet("report.parquet", pa.Table.from_pylist(rows, schema=_ITEM))
    run.write_bytes("report.html", html_page(report, evidence.metrics, run.history().to_pylist()).encode())
    run.write_bytes("model_card.md", model_card(report, spec, evidence.metrics).encode())
    sheet = reading_sheet(examples, spec.task.labels, spec.seed)
    run.write_bytes("reading_sheet.csv", sheet.encode())
    run.write_json("report.json", report)


def _precheck(run: RunFolder, spec: TuneSpec, found: Mapping[str, Any]) -> list[Item]:
    """The backbone, and what the pre-check saw."""
    revision = (run.read_json("preprocess.json") or {}).get("revision", "")
    items = [Item("provenance", "backbone", "computed", None, f"{spec.model.id} {revision}")]
    for reason, n in found["left_out"].items():
        text = f"{LEFT_OUT.get(reason, reason)}; in no split, no row in predictions"
        items.append(Item("provenance", f"left out: {reason}", "computed", float(n), text))
    is_yes_no = find_task(spec.task).has_probabilities
    for label, strength in found["label_site_association"].items():
        if strength is None:
            items.append(
                Item("shortcut", f"{label}: goes with site", "not_applicable", None, "one site or one class")
            )
        else:
            text = f"{precheck.ASSOCIATION[is_yes_no]} on the train split; 0 none, 1 complete"
            items.append(Item("shortcut", f"{label}: goes with site", "computed", strength, text))
    items += [Item("precheck", "warning", "computed", None, warning) for warning in found["warnings"]]
    if not found["warnings"]:
        items.append(Item("precheck", "warnings", "computed", 0.0, "none"))
    return items


def _reproducibility(run: RunFolder, spec: TuneSpec) -> Item:
    versions = (run.read_json("env.json") or {}).get("packages", {})
    said = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    text = (
        f"run id {run.run_id} is the hash of spec, cohort and tuner version {TUNER_VERSION}; seed {spec.seed}; spec.json, "
        f"env.json and preprocess.json lie beside this report; {said}"
    )
    return Item("compute", "reproducibility", "computed", None, text)
