"""Tuning runs: the list, and two or more of them side by side."""

from __future__ import annotations

import streamlit as st

from ui import session
from ui.components import head, run_compare
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

run_table(runs, catalog.metrics([r["run_id"] for r in runs]), key="open_run")
run_compare.show(catalog, runs)
