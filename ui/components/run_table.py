"""Runs as a table: state, what was tuned, and untuned against tuned at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ui import formats
from ui.components import tables

STATES = ["running", "done", "failed", "stopped", "interrupted"]
_COLORS = ["blue", "green", "red", "orange", "orange"]
HEADLINES = ("auroc", "accuracy", "c_index", "r2", "mae", "dice")
"""The metric that stands for a run, the first of these that it has."""


def headline(metrics: pd.DataFrame, run_id: str) -> dict[str, Any]:
    """The metric that stands for a run: name, untuned and tuned over all sites of the test split."""
    if metrics.empty:
        return {}
    here = metrics[
        (metrics["run_id"] == run_id)
        & (metrics["site"] == "all")
        & (metrics["subgroup"] == "all")
        & (metrics["split"] == "test")
    ].dropna(subset=["value"])
    name = next((n for n in HEADLINES if n in set(here["name"])), None)
    here = here[here["name"] == name]
    labels = set(here["label"])
    here = here[here["label"] == ("macro" if "macro" in labels else min(labels, default=""))]
    arms = dict(zip(here["arm"], here["value"], strict=True))
    return {"metric": name, "untuned": arms.get("untuned"), "tuned": arms.get("tuned")} if arms else {}


def run_table(runs: Sequence[dict[str, Any]], metrics: pd.DataFrame, *, key: str) -> None:
    """The table; each row opens the run's page."""
    rows = []
    for run in runs:
        spec, shown = run["spec"], headline(metrics, run["run_id"])
        rows.append(
            {
                "run_id": run["run_id"],
                "name": run["name"],
                "status": [run["status"]],
                "model": spec.get("model", {}).get("id"),
                "method": spec.get("method", {}).get("kind"),
                "task": ", ".join(spec.get("task", {}).get("labels", [])),
                "metric": formats.metric_name(shown.get("metric") or ""),
                "untuned": shown.get("untuned"),
                "tuned": shown.get("tuned"),
                "started": run.get("started_at_utc"),
                "took": formats.duration(run.get("seconds")),
            }
        )
    tables.linked(
        pd.DataFrame(rows),
        ids="run_id",
        view="views/run.py",
        parameter="run",
        key=key,
        columns={
            "name": st.column_config.TextColumn("Run"),
            "method": "Method",
            "status": st.column_config.MultiselectColumn("Status", options=STATES, color=_COLORS),
            "metric": st.column_config.TextColumn("Metric", width="small"),
            "untuned": st.column_config.NumberColumn("Untuned", format="%.3f", width="small"),
            "tuned": st.column_config.NumberColumn("Tuned", format="%.3f", width="small"),
            "task": "Labels",
            "model": "Model",
            "started": st.column_config.DatetimeColumn(
                "Started (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"
            ),
            "took": "Compute",
        },
        alt="Tuning runs with status and test result, untuned and tuned",
    )
