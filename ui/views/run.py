"""One run: its progress while it lives, then what it learned, for whom, and whether to believe it."""

from __future__ import annotations

import streamlit as st

from ui import session
from ui.components import corrections, head, next_data, run_progress, run_results, second_look

catalog = session.open_head()
run_id = st.query_params.get("run", "")
run = catalog.run(run_id)

if run is None:
    head.head("Run", f"`{run_id}`" if run_id else "", back=("views/runs.py", "Runs"))
    if not run_progress.awaited(run_id, lambda: catalog.run(run_id) is not None):
        head.missing("This run", "views/runs.py", "All runs")
    st.stop()

spec = run["spec"]
now = run_progress.standing(run)
head.head(
    run["name"] or run_id,
    f"Run `{run_id}`: {spec.get('method', {}).get('kind', '')} on {spec.get('model', {}).get('id', '')}, "
    f"seed {spec.get('seed', '')}",
    back=("views/runs.py", "Runs"),
)
with st.container(horizontal=True, vertical_alignment="center"):
    head.status_badge(now.status)
    cohort_id = run.get("cohort_id") or spec.get("cohort")
    if cohort_id:
        st.page_link(
            "views/cohort.py",
            label="Its cohort",
            icon=":material/groups:",
            query_params={"cohort": cohort_id},
        )
    st.page_link(
        "views/lineage.py", label="Lineage", icon=":material/account_tree:", query_params={"run": run_id}
    )
    if catalog.report_page(run_id) is not None:
        st.link_button(
            "Full report", f"/api/run/{run_id}/report.html", icon=":material/lab_profile:", type="tertiary"
        )

run_progress.show(
    run,
    now,
    read=lambda: catalog.run(run_id),
    curves=lambda: catalog.curves(run_id),
    log=lambda: catalog.log_tail(run_id),
)

metrics = catalog.metrics([run_id])
if len(metrics):
    run_results.show(run, metrics)
    second_look.show(catalog, run)
    corrections.retrain(catalog, run)
    next_data.show(catalog, run)

card = catalog.model_card(run_id)
if card:
    with st.expander("Model card", icon=":material/badge:"):
        st.markdown(card)
with st.expander("The spec", icon=":material/data_object:"):
    st.json(spec)
