"""Find studies: facets with counts, words in reports, a paged list or pictures."""

from __future__ import annotations

import streamlit as st

from ui import formats, session
from ui.catalog import ORDERS, StudyFilter
from ui.components import gallery, head, plots, tables

PER_PAGE = 24
TITLES = {
    "modality": "Modality",
    "body_part": "Body part",
    "site": "Site",
    "sex": "Sex",
    "age_band": "Age, years",
    "manufacturer": "Manufacturer",
    "finding": "Finding present",
}

catalog = session.open_head()
head.head(
    "Studies",
    "Every filter counts what the others leave. Press a bar, or choose from the lists; the address keeps your choice.",
)
if catalog.is_empty:
    head.nothing_yet("No study yet", "make demo", "The lake is empty.")
    st.stop()


def _toggle(facet: str, key: str) -> None:
    """A pressed bar joins or leaves the filter of its facet."""
    picked = [p["value"] for p in st.session_state[key]["selection"].get("pick", [])]
    chosen = list(st.session_state.get(facet, []))
    st.session_state[facet] = [v for v in chosen if v not in picked] + [v for v in picked if v not in chosen]
    st.session_state["page"] = 1


def _first_page() -> None:
    st.session_state["page"] = 1


def _clear() -> None:
    for name in TITLES:
        st.session_state[name] = []
    st.session_state["words"], st.session_state["report"], st.session_state["page"] = "", None, 1


with st.container(border=True):
    with st.grid(4, min_column_width=190, gap="small"):
        chosen = {
            name: tuple(
                st.multiselect(
                    title,
                    catalog.facet_values(name),
                    key=name,
                    bind="query-params",
                    placeholder="all",
                    on_change=_first_page,
                )
            )
            for name, title in TITLES.items()
        }
        report = st.selectbox(
            "Report", ["with report", "without report"], index=None, key="report", bind="query-params", placeholder="either",
            on_change=_first_page,
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Words in the report",
            key="words",
            bind="query-params",
            placeholder="such as: right upper lobe",
            on_change=_first_page,
        )
        order = st.selectbox(
            "Order", list(ORDERS), key="order", bind="query-params", width=170, on_change=_first_page
        )
        shape = st.segmented_control(
            "Show", ["Table", "Images"], default="Table", required=True, key="show", bind="query-params"
        )
        st.button("Clear", icon=":material/filter_alt_off:", on_click=_clear)

wanted = StudyFilter(**chosen, report=report, words=words or "")
n_studies, n_patients = catalog.count_studies(wanted)

with (
    st.expander("Counts", expanded=True, icon=":material/bar_chart:", key="facets"),
    st.grid(4, min_column_width=185, gap="medium"),
):
    for name, title in TITLES.items():
        counts = catalog.facet(name, wanted, limit=6)
        if len(counts):
            key = f"facet-{name}-{hash(wanted)}"
            plots.pick_bars(
                counts, chosen[name], title=title, key=key, on_pick=lambda f=name, k=key: _toggle(f, k)
            )

st.markdown(f"**{formats.plural(n_studies, 'study', 'studies')}** of {formats.plural(n_patients, 'patient')}")
if not n_studies:
    st.info("No study passes all filters.", icon=":material/filter_alt:")
    st.stop()

n_pages = -(-n_studies // PER_PAGE)
if st.session_state.get("page", 1) > n_pages:
    st.session_state["page"] = n_pages
slot = st.container()
page = st.pagination(n_pages, key="page", bind="query-params")
found = catalog.studies(wanted, page=page, per_page=PER_PAGE, order=ORDERS[order])
with slot:
    if shape == "Images":
        first = catalog.first_series(list(found["study_id"]))
        gallery.show(
            (
                {
                    "study_id": s.study_id,
                    "series_id": first[s.study_id],
                    "title": f"{s.modality} {(s.body_part or '').lower()}",
                    "note": f"{s.site}, {s.sex or 'sex unknown'}, {formats.count(s.age_years)} y",
                }
                for s in found.itertuples()
                if s.study_id in first
            ),
            version=catalog.number,
        )
    else:
        tables.linked(
            found,
            ids="study_id",
            view="views/study.py",
            parameter="study",
            key="open_study",
            columns={
                "modality": st.column_config.TextColumn("Modality", width="small"),
                "body_part": "Body part",
                "site": "Site",
                "study_date": st.column_config.DateColumn(
                    "Date (shifted)", help="Shifted by one secret offset a patient."
                ),
                "sex": st.column_config.TextColumn("Sex", width="small"),
                "age_years": st.column_config.NumberColumn(
                    "Age", format="%.0f", width="small", help="90 means 90 and over."
                ),
                "findings": st.column_config.ListColumn("Findings present"),
                "has_report": st.column_config.CheckboxColumn("Report", width="small"),
                "n_series": st.column_config.NumberColumn("Series", width="small"),
                "n_instances": st.column_config.NumberColumn("Images", width="small", format="localized"),
                "manufacturer": "Manufacturer",
            },
            alt=f"Studies, page {page} of {n_pages}",
        )
