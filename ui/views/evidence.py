"""Evidence: what the runs of a cohort say of comorbidity, of sites never seen, and of outcomes."""

from __future__ import annotations

import streamlit as st

from ui import formats, session
from ui.components import head, three_questions

catalog = session.open_head()
head.head(
    "Evidence",
    "Three questions to every tuned model: is it right where comorbidities look alike, does it hold at sites it never saw, does "
    "it say how the patient fares?",
)
finished = [run for run in catalog.runs() if run["status"] == "done"]
if not finished:
    head.nothing_yet(
        "No finished run yet",
        "rwid tune demo",
        "The answers come from runs of this lake; this page computes none.",
    )
    st.page_link("views/cohorts.py", label="To the cohorts", icon=":material/groups:", query_params={})
    st.stop()

cohorts = {run["cohort_id"]: catalog.cohort(run["cohort_id"]) for run in finished}
titles = {
    cohort_id: f"{(cohort or {}).get('name', 'cohort')} · {formats.short(cohort_id)}"
    for cohort_id, cohort in cohorts.items()
}
chosen = st.selectbox(
    "Cohort",
    list(titles),
    key="cohort",
    bind="query-params",
    format_func=titles.__getitem__,
    width=420,
)
runs = [run for run in finished if run["cohort_id"] == chosen]
names = {
    run[
        "run_id"
    ]: f"{run['name']} · {run['spec'].get('method', {}).get('kind', '')} · {formats.short(run['run_id'])}"
    for run in runs
}
run_ids = list(names)
tune = f"rwid tune my.yaml --cohort {chosen}"
covariates = ",".join(catalog.label_names(chosen, "covariates")) or "emphysema,fibrosis"

three_questions.comorbidity(
    catalog.comorbidity_gaps(run_ids), names, f"{tune} --set 'task.covariates=[{covariates}]'"
)
three_questions.unseen(catalog.unseen_sites(run_ids), names, f"{tune} --set split.policy=leave_one_site_out")
three_questions.outcome(
    catalog.outcomes(run_ids),
    names,
    f"{tune} --set task.kind=survival --set 'task.labels=[days,died]' --set 'task.covariates=[age,is_male]'",
)
