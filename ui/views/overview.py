"""What is in the lake, what came last, what was refused, what ran."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from curation.records import REASONS
from ui import formats, session
from ui.components import head, plots, tables
from ui.components.run_table import run_table

catalog = session.open_head()

if catalog.is_empty:
    head.head(
        "Welcome to rwid", "Raw hospital imaging in; de-identified, versioned cohorts and tuned models out."
    )
    head.nothing_yet(
        "See it work on generated data",
        "make demo",
        "Four hospitals that do not exist, a cohort, a tuned model, its evidence. Takes a few minutes and needs no network.",
    )
    head.nothing_yet(
        "Or bring your own delivery",
        "rwid ingest PATH/TO/FOLDER --site my-hospital",
        "A folder of DICOM files and reports, zipped or not. Originals stay under `restricted/`; what cannot be cleaned is "
        "refused with a reason. This page fills when the delivery is in.",
    )
    st.stop()

head.head(
    "What is in the lake", f"Snapshot {catalog.number}, {formats.moment(catalog.snapshot.created_at_utc)}"
)
totals = catalog.totals
head.facts(
    {
        "Studies": formats.count(totals["studies"]),
        "Patients": formats.count(totals["patients"]),
        "Sites": formats.count(totals["sites"]),
        "Series": formats.count(totals["series"]),
        "Images": formats.count(totals["instances"]),
        "With report": formats.share(totals["reports"], totals["studies"]),
        "Source size": formats.size(totals["bytes"]),
    },
    helps={
        "Patients": "One person at one site; a person seen at two sites counts twice until linkage has run.",
        "Images": "DICOM objects released.",
        "Source size": "Size of the files as they were delivered.",
    },
)

with st.grid(3, min_column_width=260, gap="medium"):
    for facet, title in (("modality", "Modality"), ("site", "Site"), ("body_part", "Body part")):
        with st.container(border=True, height="stretch"):
            plots.bars(catalog.studies_by(facet), facet, "studies", title=title, limit=8)
    for facet, title in (("age_band", "Age, years"), ("sex", "Sex"), ("manufacturer", "Manufacturer")):
        with st.container(border=True, height="stretch"):
            plots.bars(catalog.studies_by(facet), facet, "studies", title=title, limit=8)

st.subheader("Deliveries", anchor=False)
refusals = catalog.refusals
reasons = refusals.groupby("reason", as_index=False)["inputs"].sum() if len(refusals) else pd.DataFrame()
left, right = st.columns([7, 4], gap="medium")
with left:
    brought = {d: h["number"] for h in reversed(catalog.history(50)) for d in h["deliveries"]}
    deliveries = catalog.deliveries
    deliveries = deliveries.assign(snapshot=deliveries["delivery"].map(brought)).sort_values(
        ["snapshot", "delivery"], ascending=False
    )
    st.dataframe(
        deliveries.head(200),
        hide_index=True,
        column_config={
            "delivery": st.column_config.TextColumn("Delivery", pinned=True),
            "snapshot": st.column_config.NumberColumn(
                "Snapshot", help="The snapshot that brought it, or changed it last."
            ),
            "site": "Site",
            "arrivals": st.column_config.NumberColumn(
                "Arrivals", format="localized", help="Objects released + reports + refusals."
            ),
            "instances": st.column_config.NumberColumn("Objects", format="localized"),
            "reports": st.column_config.NumberColumn("Reports", format="localized"),
            "refusals": st.column_config.NumberColumn("Refused", format="localized"),
        },
        alt="Deliveries with what arrived, what was released and what was refused",
    )
    if len(deliveries) > 200:
        st.caption(f"The newest 200 of {formats.count(len(deliveries))}; the SQL page has them all.")
with right:
    if len(reasons):
        with st.container(border=True):
            plots.bars(reasons, "reason", "inputs", title="Refused, by reason", unit="inputs", limit=12)
        with st.expander("What the reasons mean"):
            st.table(
                {reason: REASONS.get(reason, "") for reason in reasons["reason"]},
                border="horizontal",
                alt="Refusal reasons",
            )
    else:
        st.info("Nothing was refused.", icon=":material/verified:")

st.subheader("Latest runs", anchor=False)
runs = catalog.runs()[:5]
if runs:
    run_table(runs, catalog.metrics([r["run_id"] for r in runs]), key="overview_runs")
else:
    cohorts = catalog.cohorts()
    if len(cohorts):
        st.caption("No model has been tuned yet. Open a cohort and press *Tune this cohort*.")
        tables.linked(
            cohorts.head(5), ids="cohort_id", view="views/cohort.py", parameter="cohort", key="overview_cohorts",
            columns={"name": "Cohort", "purpose": "Purpose", "studies": "Studies", "snapshot": "Snapshot"}, alt="Newest cohorts",
        )  # fmt: skip
    else:
        st.caption("No cohort has been built yet. Shipped and own specs are built with:")
        st.code("rwid cohort build demo", language="bash")
