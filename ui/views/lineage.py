"""Lineage from rows alone: back to the source digest and every action of de-identification, on to cohorts and runs."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ui import formats, session
from ui.components import head, lineage_graph, tables

catalog = session.open_head()
head.head(
    "Lineage",
    "Read from the lake's own tables: it holds with Dagster off, and after Dagster's history is wiped.",
)


def _moved() -> None:
    asked = st.session_state["lineage_of"].strip()
    key = "run" if len(asked) == 16 else "study"
    st.query_params.from_dict({key: asked})


study_id, run_id = st.query_params.get("study", ""), st.query_params.get("run", "")
st.session_state.setdefault("lineage_of", study_id or run_id)
if study_id or run_id:
    st.session_state["lineage_of"] = study_id or run_id
st.text_input(
    "Study id or run id",
    key="lineage_of",
    on_change=_moved,
    placeholder="a study's UUID, or the 16 digits of a run",
)

if run_id:
    run = catalog.run(run_id)
    if run is None:
        head.missing("This run", "views/runs.py", "All runs")
        raise AssertionError("head.missing stops the page")
    cohort = catalog.cohort(run.get("cohort_id") or run["spec"].get("cohort", ""))
    sources = (
        session.open_at(int(cohort["snapshot"])).sources_of_cohort(str(cohort["cohort_id"]))
        if cohort
        else pd.DataFrame()
    )
    lineage_graph.of_run(run, cohort, sources)
    rows = [{"what": "Run", "name": run["name"], "id": run_id, "version": f"status {run['status']}"}]
    if cohort:
        rows.append(
            {
                "what": "Cohort",
                "name": cohort["name"],
                "id": cohort["cohort_id"],
                "version": f"snapshot {cohort['snapshot']}",
            }
        )
    rows += [
        {
            "what": "Delivery",
            "name": s.delivery,
            "id": s.site,
            "version": f"policy {s.policy_version}, key {s.key_id}, {formats.count(s.objects)} objects",
        }
        for s in sources.itertuples()
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={"what": "What", "name": "Name", "id": "Id", "version": "Version"},
        alt="Lineage of the run",
    )
    with st.container(horizontal=True):
        st.page_link(
            "views/run.py", label="The run", icon=":material/model_training:", query_params={"run": run_id}
        )
        if cohort:
            st.page_link(
                "views/cohort.py",
                label="Its cohort",
                icon=":material/groups:",
                query_params={"cohort": cohort["cohort_id"]},
            )
    st.stop()

if not study_id:
    st.info(
        "Open a study or a run and press *Lineage*, or paste its id above.", icon=":material/account_tree:"
    )
    newest = catalog.recent_studies(8)
    if len(newest):
        tables.linked(
            newest, ids="study_id", view="views/lineage.py", parameter="study", key="some_studies",
            columns={"modality": "Modality", "body_part": "Body part", "site": "Site", "delivery": "Delivery", "study_id": "Study"},
            alt="Some studies to start from",
        )  # fmt: skip
    st.stop()

study = catalog.study(study_id)
if study is None:
    head.missing("This study", "views/studies.py", "All studies")
    raise AssertionError("head.missing stops the page")
provenance = catalog.provenance(study_id)
cohorts = catalog.cohorts()
cohorts = cohorts[cohorts["cohort_id"].isin(catalog.cohorts_of_study(study_id))]
runs = [r for r in catalog.runs() if r.get("cohort_id") in set(cohorts["cohort_id"])]
lineage_graph.of_study(study, provenance, cohorts, runs)

with st.container(horizontal=True):
    st.page_link(
        "views/study.py", label="The study", icon=":material/radiology:", query_params={"study": study_id}
    )
    for cohort in cohorts.head(3).itertuples():
        st.page_link(
            "views/cohort.py",
            label=f"{cohort.name} ({cohort.snapshot})",
            icon=":material/groups:",
            query_params={"cohort": cohort.cohort_id},
        )
    for run in runs[:3]:
        st.page_link(
            "views/run.py",
            label=str(run["name"]),
            icon=":material/model_training:",
            query_params={"run": run["run_id"]},
        )

st.subheader("Sources", anchor=False)
st.caption(
    "One row a source file. The digest is keyed: it proves which file it was, to those who hold the key and the file."
)
if provenance.empty:
    st.info("This study has no de-identification log.", icon=":material/help:")
    st.stop()
picked = st.dataframe(
    provenance,
    hide_index=True,
    on_select="rerun",
    selection_mode="single-row",
    key=f"sources-{study_id}-{catalog.number}",
    column_order=["source_digest", "kind", "n_actions", "n_regions", "delivery", "policy_version", "key_id", "released_as", "code_version", "withheld"],
    column_config={
        "source_digest": st.column_config.TextColumn("Source digest", width="medium"),
        "kind": "Kind", "n_actions": "Actions", "n_regions": "Blanked regions", "delivery": "Delivery",
        "policy_version": "Policy", "key_id": "Key", "released_as": "Released as", "code_version": "rwid", "withheld": "Withheld",
    },
    alt="Source files of the study with policy, key and number of actions",
)  # fmt: skip
rows = picked["selection"]["rows"]
at = rows[0] if rows and rows[0] < len(provenance) else 0
source = provenance.iloc[at]
actions = catalog.actions(source["source_digest"])
st.markdown(
    f"**What was done to** `{formats.short(source['source_digest'])}…` ({formats.plural(len(actions), 'action')})"
)
st.dataframe(
    actions.assign(
        keyword=actions["tag"].map(lineage_graph.attribute),
        meaning=actions["action"].map(lineage_graph.meaning),
    ),
    hide_index=True,
    column_order=["tag", "keyword", "action", "meaning"],
    column_config={
        "tag": "Attribute or category",
        "keyword": "Keyword",
        "action": st.column_config.TextColumn("Action", width="small"),
        "meaning": "Meaning",
    },
    alt="Actions of de-identification on the chosen source",
)
