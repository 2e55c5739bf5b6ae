"""Tuning runs: the list, and two or more of them side by side."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ui import formats, session
from ui.components import head, plots
from ui.components.run_table import run_table

catalog = session.open_head()
head.head(
    "Runs",
    "What was tuned on which cohort, and what it brought: untuned against tuned on the same test studies.",
)
runs = catalog.runs()
if not runs:
    head.nothing_yet(
        "No run yet",
        "rwid tune demo",
        "Open a cohort and press *Tune this cohort*, or tune from a terminal. A run is a folder in the lake; this page reads those.",
    )
    st.page_link("views/cohorts.py", label="To the cohorts", icon=":material/groups:", query_params={})
    st.stop()

metrics = catalog.metrics([r["run_id"] for r in runs])
run_table(runs, metrics, key="open_run")

names = {f"{r['name']} · {formats.short(r['run_id'])}": r["run_id"] for r in runs}
finished = [name for name, run_id in names.items() if len(metrics) and run_id in set(metrics["run_id"])]
st.subheader("Compare", anchor=False)
if len(finished) < 2:
    st.caption("Two finished runs can be set side by side here.")
    st.stop()
chosen = st.multiselect(
    "Runs to set side by side", finished, key="compare", bind="query-params", placeholder="choose two or more"
)
if len(chosen) < 2:
    st.stop()

wanted = {names[c]: c for c in chosen}
tuned = metrics[metrics["run_id"].isin(wanted) & (metrics["arm"] == "tuned") & (metrics["subgroup"] == "all")]
tuned = tuned.assign(run=tuned["run_id"].map(wanted))
with st.container(horizontal=True):
    label = st.selectbox(
        "Label", sorted(tuned["label"].unique()), key="compare_label", bind="query-params", width=220
    )
    here = tuned[tuned["label"] == label]
    name = st.selectbox(
        "Metric", sorted(here["name"].unique()), key="compare_metric", bind="query-params", width=180
    )
    here = here[here["name"] == name]
    split = st.selectbox(
        "Split",
        sorted(here["split"].unique(), key="test holdout".find),
        key="compare_split",
        bind="query-params",
        width=160,
    )
here = here[here["split"] == split]
with st.container(border=True):
    plots.intervals(here, "site", title=f"Tuned, {formats.words(label)}", metric=name.upper(), colour="run")
if len({r["cohort_id"] for r in runs if r["run_id"] in wanted}) > 1:
    st.warning(
        "These runs were tuned on different cohorts: their test studies are not the same.",
        icon=":material/warning:",
    )

specs = {
    wanted[r["run_id"]]: pd.json_normalize(r["spec"]).iloc[0].astype(str)
    for r in runs
    if r["run_id"] in wanted
}
side = pd.DataFrame(specs)
differing = side[side.nunique(axis=1) > 1]
st.markdown("**Where their specs differ**")
st.dataframe(differing, alt="Choices in which the runs differ")
