"""One cohort: who is in it, who was left out and why, its splits and labels, its runs, and the way to tune a model on it."""

from __future__ import annotations

import streamlit as st
import yaml

from ui import formats, session
from ui.components import attrition, gallery, head, plots, tables, tune_form
from ui.components.run_table import run_table

head_catalog = session.open_head()
cohort = head_catalog.cohort(st.query_params.get("cohort", ""))
if cohort is None:
    head.head("Cohort", back=("views/cohorts.py", "Cohorts"))
    head.missing("This cohort", "views/cohorts.py", "All cohorts")
    raise AssertionError("head.missing stops the page")

cohort_id = str(cohort["cohort_id"])
catalog = session.open_at(int(cohort["snapshot"]))  # as the lake was when the cohort was frozen
TABS = [
    "Who is in it",
    "Attrition",
    "Splits and labels",
    "Images",
    "Runs",
    "Tune",
    "SQL and card",
    "Versions",
]


def _to_tuning() -> None:
    st.session_state["tab"] = "Tune"


title, action = st.columns([5, 2], vertical_alignment="bottom")
with title:
    head.head(
        str(cohort["name"]),
        f"{str(cohort['purpose']).rstrip('.')}. Cohort `{cohort_id}`, frozen from snapshot {cohort['snapshot']}.",
        back=("views/cohorts.py", "Cohorts"),
    )
with action:
    st.button(
        "Tune this cohort",
        type="primary",
        icon=":material/model_training:",
        on_click=_to_tuning,
        key="to_tuning",
        width="stretch",
    )

splits = catalog.splits(cohort_id)
by_split = splits.groupby("split")["studies"].sum().to_dict() if len(splits) else {}
head.facts(
    {
        "Studies": formats.count(cohort["studies"]),
        "Patients": formats.count(cohort["patients"]),
        "Sites": formats.count(cohort["sites"]),
        **{
            s.capitalize(): formats.count(by_split[s])
            for s in ("train", "tune", "test", "holdout")
            if s in by_split
        },
    },
    helps={"Holdout": "Sites that no model of this cohort may learn from."},
)

tabs = dict(zip(TABS, st.tabs(TABS, key="tab", on_change="rerun", bind="query-params"), strict=True))

if tabs["Who is in it"].open:
    with tabs["Who is in it"], st.grid(3, min_column_width=260, gap="medium"):
        for facet, name in (
            ("modality", "Modality"), ("sex", "Sex"), ("age_band", "Age, years"), ("site", "Site"), ("manufacturer", "Manufacturer"),
            ("body_part", "Body part"),
        ):  # fmt: skip
            with st.container(border=True, height="stretch"):
                plots.by_split(catalog.composition(cohort_id, facet), "value", title=name)

if tabs["Attrition"].open:
    with tabs["Attrition"]:
        attrition.show(catalog.attrition(cohort_id), cohort.get("what_if", []))

if tabs["Splits and labels"].open:
    with tabs["Splits and labels"]:
        st.caption(
            "Split by patient: nobody is in two splits. A patient's place never changes when the lake grows."
        )
        with st.container(border=True):
            plots.by_split(splits, "site", title="Sites")
        for column, name in (("labels", "Labels"), ("covariates", "Covariates")):
            found, measured = catalog.prevalence(cohort_id, column), catalog.numbers(cohort_id, column)
            if found.empty:
                continue
            st.subheader(name, anchor=False)
            if len(measured):
                st.caption("Those that are numbers, with their quartiles at each site:")
                st.dataframe(
                    measured, hide_index=True, placeholder=formats.DASH,
                    column_config={
                        "label": "Label", "site": "Site", "split": "Split", "studies": "Studies", "known": "Known",
                        "low": st.column_config.NumberColumn("Lower quartile", format="%.4g"),
                        "median": st.column_config.NumberColumn("Median", format="%.4g"),
                        "high": st.column_config.NumberColumn("Upper quartile", format="%.4g"),
                    },
                    alt=f"{name} that are numbers: quartiles per site and split",
                )  # fmt: skip
                found = found[~found["label"].isin(measured["label"])]
            if found.empty:
                continue
            with st.container(border=True):
                plots.prevalence(found)
            st.dataframe(
                found.assign(share=found["positive"] / found["known"].where(found["known"] > 0)),
                hide_index=True,
                column_config={
                    "label": "Label", "site": "Site", "split": "Split", "studies": "Studies",
                    "known": st.column_config.NumberColumn("Known", help="Studies whose report or label says yes or no."),
                    "positive": "Positive",
                    "share": st.column_config.NumberColumn("Positive of known", format="percent"),
                },
                alt=f"{name}: known and positive studies per site and split",
            )  # fmt: skip

if tabs["Images"].open:
    with tabs["Images"]:
        st.caption(
            "A few of its series, always the same ones; sites take turns. Press a picture to open the study."
        )
        gallery.show(
            (
                {
                    **s,
                    "title": f"{s['modality']} {s['site']}",
                    "note": f"{s['split']}, {s['sex'] or '–'}, {formats.count(s['age_years'])} y",
                }
                for s in catalog.sample_series(cohort_id, 24)
            ),
            version=catalog.number,
        )

if tabs["Runs"].open:
    with tabs["Runs"]:
        runs = head_catalog.runs(cohort_id)
        if runs:
            run_table(runs, head_catalog.metrics([r["run_id"] for r in runs]), key="cohort_runs")
        else:
            st.info("No model has been tuned on this cohort yet.", icon=":material/model_training:")
            st.button(
                "Tune this cohort",
                icon=":material/model_training:",
                on_click=_to_tuning,
                key="to_tuning_from_runs",
            )

if tabs["Tune"].open:
    with tabs["Tune"]:
        tune_form.show(
            cohort,
            labels=catalog.label_names(cohort_id),
            covariates=catalog.label_names(cohort_id, "covariates"),
            lake_root=session.lake_root(),
            recipe_folders=session.recipe_folders(),
        )

if tabs["SQL and card"].open:
    with tabs["SQL and card"]:
        st.markdown("**Its members in any DuckDB**")
        st.code(catalog.attach_statement(cohort), language="sql")
        spec = cohort.get("spec")
        if spec:
            with st.expander("The spec", icon=":material/data_object:"):
                st.code(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), language="yaml")
        st.code(
            f"rwid cohort export {cohort_id} DIR --format parquet    # or dicom, hf, croissant",
            language="bash",
        )
        card = catalog.card(cohort_id)
        if card:
            with st.container(border=True):
                st.markdown(card)

if tabs["Versions"].open:
    with tabs["Versions"]:
        cohorts = head_catalog.cohorts()
        versions = cohorts[cohorts["name"] == cohort["name"]]
        tables.linked(
            versions, ids="cohort_id", view="views/cohort.py", parameter="cohort", key="versions",
            columns={"cohort_id": "Id", "snapshot": "Snapshot", "studies": "Studies", "patients": "Patients", "sites": "Sites"},
            alt="Versions of this cohort",
        )  # fmt: skip
        others = [str(v) for v in versions["cohort_id"] if v != cohort_id]
        if not others:
            st.caption(
                "This is the only version. Build the spec again after a delivery, and the two can be compared."
            )
        else:
            other = st.selectbox("Compare with", others, key="with", bind="query-params", width=320)
            counts, changes = head_catalog.difference(other, cohort_id)
            head.facts({name.capitalize(): formats.count(n) for name, n in counts.items()})
            if len(changes):
                tables.linked(
                    changes, ids="study_id", view="views/study.py", parameter="study", key="changed",
                    columns={"change": "Change", "study_id": "Study", "was": "Was", "now": "Now", "why": "Why"},
                    alt="Studies that differ between the two versions",
                )  # fmt: skip
