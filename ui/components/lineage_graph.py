"""Lineage as a graph: what a study came from and what came of it; what a run rests on. The views put an equal table below."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from pydicom.datadict import keyword_for_tag

from ui import formats

ACTIONS: Mapping[str, str] = {
    "D": "replaced by a dummy value",
    "Z": "emptied, or replaced by a dummy value",
    "X": "removed",
    "K": "kept",
    "C": "cleaned: identifying words replaced, dates moved by the patient's offset",
    "U": "replaced by a keyed pseudonym",
}
"""Action codes of PS3.15 Table E.1-1a."""


_TAG = re.compile(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)")


def meaning(action: str) -> str:
    """An action code in words; compound codes and own actions as they are."""
    return ACTIONS.get(action, "")


def number(tag: str) -> int | None:
    """The attribute's tag as a number, of the last one in a path; None for text categories."""
    last = _TAG.findall(tag)
    return int("".join(last[-1]), 16) if last else None


def attribute(tag: str) -> str:
    """The keyword of an attribute such as (0010,0010): PatientName; nothing for text categories and private tags."""
    found = number(tag)
    return str(keyword_for_tag(found)) if found is not None else ""


def of_study(
    study: Mapping[str, Any],
    provenance: pd.DataFrame,
    cohorts: pd.DataFrame,
    runs: Sequence[Mapping[str, Any]],
) -> None:
    """Sources by delivery and policy, the study, its cohorts, their runs."""
    lines = ["flowchart LR"]
    for n, ((delivery, policy, key, kind), group) in enumerate(
        provenance.groupby(["delivery", "policy_version", "key_id", "kind"], sort=True)
    ):
        what = "object" if kind == "instance" else str(kind)
        lines.append(f'  src{n}["{formats.plural(len(group), what)}<br/>delivery {_plain(delivery)}"]')
        lines.append(
            f'  deid{n}["de-identified, {formats.count(group["n_actions"].sum())} actions<br/>{_plain(policy)}<br/>key {_plain(key)}"]'
        )
        lines.append(f"  src{n} --> deid{n} --> study")
    lines.append(
        f'  study["{_plain(study["modality"])} {_plain(study["body_part"] or "")}<br/>study {formats.short(study["study_id"])}"]'
    )
    lines.append("  style study stroke-width:3px")
    for c in cohorts.itertuples():
        lines.append(
            f'  c{c.cohort_id}["cohort {_plain(c.name)}<br/>{c.cohort_id[:8]}, snapshot {c.snapshot}"]'
        )
        lines.append(f"  study --> c{c.cohort_id}")
    for run in runs:
        lines.append(
            f'  r{run["run_id"]}["run {_plain(run["name"])}<br/>{run["run_id"][:8]}, {_plain(run["status"])}"]'
        )
        lines.append(f"  c{run['cohort_id']} --> r{run['run_id']}")
    said = f"From {formats.plural(len(provenance), 'source')} over the study to {formats.plural(len(cohorts), 'cohort')} and {formats.plural(len(runs), 'run')}"
    st.mermaid_chart("\n".join(lines), alt=said)


def of_run(
    run: Mapping[str, Any], cohort: Mapping[str, Any] | None, sources: pd.DataFrame, limit: int = 12
) -> None:
    """Deliveries with policy and key, the cohort, the run."""
    lines = [
        "flowchart LR",
        f'  run["run {_plain(run["name"])}<br/>{run["run_id"][:8]}, {_plain(run["status"])}"]',
        "  style run stroke-width:3px",
    ]
    if cohort is not None:
        lines.append(
            f'  cohort["cohort {_plain(cohort["name"])}<br/>{cohort["cohort_id"][:8]}, snapshot {cohort["snapshot"]}"]'
        )
        lines.append("  cohort --> run")
    for n, s in enumerate(sources.head(limit).itertuples()):
        lines.append(f'  d{n}["delivery {_plain(s.delivery)}<br/>{formats.count(s.objects)} objects"]')
        lines.append(f'  p{n}["{_plain(s.policy_version)}<br/>key {_plain(s.key_id)}"]')
        lines.append(f"  d{n} --> p{n} --> cohort")
    if len(sources) > limit:
        lines.append(f'  more["{len(sources) - limit} more deliveries"] --> cohort')
    st.mermaid_chart(
        "\n".join(lines),
        alt=f"The run rests on one cohort from {formats.plural(len(sources), 'delivery', 'deliveries')}",
    )


def _plain(text: object) -> str:
    """Text that cannot end a node's label or start markup."""
    return re.sub(r"[^\w .,+/-]", "_", str(text))[:60]
