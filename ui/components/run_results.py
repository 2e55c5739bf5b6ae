"""What a finished run found out: untuned against tuned, per site always, and subgroups."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from training.metrics import LOWER_IS_BETTER
from ui import formats
from ui.components import head, plots

CHANCE = {"auroc": 0.5, "c_index": 0.5}
"""Metric to the value that guessing gives."""
_FIRST = ("auroc", "c_index", "accuracy", "auprc", "mae", "dice")


def show(
    run: dict[str, Any],
    metrics: pd.DataFrame,
) -> None:
    """The results; which label, metric and split is chosen on the page and kept in its address."""
    st.header("What tuning brought", anchor=False)
    report = run.get("report") or {}
    if report.get("verdict"):
        st.markdown(f":material/gavel: **Verdict of the report:** {report['verdict']}")
    chosen = _choose(metrics)
    here, label, metric, split = chosen
    overall = here[(here["subgroup"] == "all") & (here["site"] == "all")]
    arms = {str(r["arm"]): r for r in overall.to_dict("records")}
    head.facts(
        {
            "Untuned": _estimate(arms.get("untuned")),
            "Tuned": _estimate(arms.get("tuned")),
            "Gain, paired": _estimate(arms.get("gain"), sign=True),
            "Studies": formats.count(arms["tuned"]["n"]) if "tuned" in arms else formats.DASH,
            **_positive(arms.get("tuned")),
        },
        helps={
            "Untuned": (report.get("baseline") or {}).get("is", "The same model before tuning."),
            "Gain, paired": f"Tuned minus untuned on the same studies, with its own interval.{_better(metric)}",
        },
    )
    _verdict(arms.get("gain"), metric)
    by_site = here[(here["subgroup"] == "all") & here["arm"].isin(["untuned", "tuned"])]
    with st.container(border=True):
        plots.intervals(
            by_site,
            "site",
            title=f"{formats.words(label)}, {split} split, per site",
            metric=formats.metric_name(metric),
            reference=CHANCE.get(metric),
        )
    groups = here[
        (here["subgroup"] != "all") & (here["site"] == "all") & here["arm"].isin(["untuned", "tuned"])
    ]
    if len(groups):
        with st.container(border=True):
            plots.intervals(
                groups,
                "subgroup",
                title="Subgroups and strata",
                metric=formats.metric_name(metric),
                reference=CHANCE.get(metric),
            )
    with st.expander("All numbers", icon=":material/table:"):
        known = metrics.drop(columns=["run_id"]).dropna(axis=1, how="all")  # measurements have no positives
        st.dataframe(
            known,
            hide_index=True,
            placeholder=formats.DASH,
            column_config={c: st.column_config.NumberColumn(format="%.3f") for c in ("value", "low", "high")},
            alt="Every metric of the run",
        )
    _report_items(run)


def _choose(metrics: pd.DataFrame) -> tuple[pd.DataFrame, str, str, str]:
    splits = [s for s in ("test", "holdout", "tune", "train") if s in set(metrics["split"])]
    splits += sorted(set(metrics["split"]) - set(splits))
    with st.container(horizontal=True):
        split = st.selectbox("Split", splits, key="split", bind="query-params", width=170)
        here = metrics[metrics["split"] == split]
        labels = sorted(formats.in_order(here["label"].unique()), key=lambda v: v == "macro")
        label = st.selectbox(
            "Label", labels, key="label", bind="query-params", width=220, format_func=formats.words,
            help="macro: the mean over the labels." if "macro" in labels else None,
        )  # fmt: skip
        here = here[here["label"] == label]
        names = [n for n in _FIRST if n in set(here["name"])]
        names += sorted(set(here["name"]) - set(names))
        metric = st.selectbox(
            "Metric", names, key="metric", bind="query-params", width=220, format_func=formats.metric_name
        )
    return here[here["name"] == metric], label, metric, split


def _estimate(row: dict[str, Any] | None, *, sign: bool = False) -> str:
    if row is None or row["value"] is None or row["value"] != row["value"]:
        return formats.DASH
    return f"{row['value']:+.3f}" if sign else formats.metric(row["value"])


def _positive(row: dict[str, Any] | None) -> dict[str, str]:
    """How many of the studies are positive; nothing of measurements, which have none."""
    return {} if row is None or pd.isna(row["n_positive"]) else {"Positive": formats.count(row["n_positive"])}


def _better(metric: str) -> str:
    return " Lower is better: a gain below 0 is an improvement." if metric in LOWER_IS_BETTER else ""


def _verdict(gain: dict[str, Any] | None, metric: str) -> None:
    if gain is None or gain["value"] != gain["value"] or gain["low"] is None or gain["low"] != gain["low"]:
        return
    told = f"Gain in {formats.metric_name(metric)} {gain['value']:+.3f}, 95 % interval {gain['low']:+.3f} to {gain['high']:+.3f}"
    sign = -1 if metric in LOWER_IS_BETTER else 1
    told += " (lower is better)" if sign < 0 else ""
    low, high = sorted((sign * gain["low"], sign * gain["high"]))
    if low > 0:
        st.success(f"{told}: better than untuned on these studies.", icon=":material/trending_up:")
    elif high < 0:
        st.error(f"{told}: worse than untuned on these studies.", icon=":material/trending_down:")
    elif low == high == 0:
        st.info(
            f"{told}: both answer alike. Where nothing learned does better on the tune split than the start, the start is kept.",
            icon=":material/trending_flat:",
        )
    else:
        st.info(
            f"{told}: the interval holds 0, so these studies do not show a difference.",
            icon=":material/trending_flat:",
        )


def _report_items(run: dict[str, Any]) -> None:
    """What the report says of each of its items: computed, not applicable with the reason, or missing."""
    items = (run.get("report") or {}).get("items")
    if not items:
        return
    rows = (
        items
        if isinstance(items, list)
        else [{"item": k, **(v if isinstance(v, dict) else {"status": v})} for k, v in items.items()]
    )
    with st.expander("What was examined", icon=":material/checklist:"):
        st.dataframe(
            pd.DataFrame(rows).astype(str), hide_index=True, alt="Items of the report with their status"
        )
