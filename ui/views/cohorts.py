"""Frozen cohorts: which there are, and how to build another."""

from __future__ import annotations

import streamlit as st

from ui import session
from ui.components import head, tables

catalog = session.open_head()
head.head(
    "Cohorts", "Frozen selections of studies: the same spec on the same snapshot always gives the same id."
)
cohorts = catalog.cohorts()
if cohorts.empty:
    head.nothing_yet(
        "No cohort yet",
        "rwid cohort build demo" if not catalog.is_empty else "make demo",
        "A cohort is a YAML file of named SQL rules. Shipped ones are built by name; own ones lie in `cohorts/` of the home.",
    )
    st.stop()

n_runs = dict.fromkeys(cohorts["cohort_id"], 0)
for run in catalog.runs():
    if run.get("cohort_id") in n_runs:
        n_runs[run["cohort_id"]] += 1
only_newest = st.toggle("Only the newest version of each name", value=True, key="newest", bind="query-params")
shown = cohorts.drop_duplicates("name") if only_newest else cohorts
tables.linked(
    shown.assign(runs=shown["cohort_id"].map(n_runs)),
    ids="cohort_id",
    view="views/cohort.py",
    parameter="cohort",
    key="open_cohort",
    columns={  # counts first: a narrow window shows them without scrolling
        "name": st.column_config.TextColumn("Cohort"),
        "studies": st.column_config.NumberColumn("Studies", format="localized", width="small"),
        "patients": st.column_config.NumberColumn("Patients", format="localized", width="small"),
        "sites": st.column_config.NumberColumn("Sites", width="small"),
        "snapshot": st.column_config.NumberColumn(
            "Snapshot", width="small", help="The lake's snapshot it was built from."
        ),
        "runs": st.column_config.NumberColumn("Runs", width="small"),
        "purpose": st.column_config.TextColumn("Purpose", width="large"),
        "cohort_id": "Id",
    },
    alt="Frozen cohorts",
)
