"""Studies of a run that deserve a second look, each with image and report side by side, and what a reader says of them.

What belongs here: the lists, their filters, the cards. What does not: keeping and recording corrections (corrections).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from curation.records import ConfigurationError
from ui import formats
from ui.catalog import ERRORS, Catalog
from ui.components import corrections, report_text

PER_PAGE = 4
WRONG, SUSPECT, QUEUE = "Most wrong", "Suspect labels", "To label next"
_KINDS = {WRONG: "Held-out studies on which the tuned model is furthest from the truth.",
          SUSPECT: "Labels that other patients' images or the report contradict.",
          QUEUE: "Studies of the train split of which the run is unsure and which are unlike what it has seen."}  # fmt: skip
_QUEUED = 40


@st.fragment
def show(catalog: Catalog, run: Mapping[str, Any]) -> None:
    """Choice of the list, filters, cards, and the corrections not yet recorded."""
    run_id = str(run["run_id"])
    labels, sites = catalog.judged(run_id)
    labels = formats.in_order(labels)
    if not labels:
        return
    st.header("Look again", anchor=False)
    kinds = list(_KINDS) if is_yes_no(run) else [WRONG]
    kind = st.segmented_control(
        "List",
        kinds,
        default=WRONG,
        required=True,
        key="look",
        bind="query-params",
        label_visibility="collapsed",
    )
    st.caption(f"{_KINDS[kind]} {report_text.STAND_INS}")
    with st.container(horizontal=True):
        label = st.selectbox("Label ", list(labels), key="look_label", width=200, format_func=formats.words)
        site = st.selectbox("Site", ["all", *sites], key="look_site", width=200)
        error = (
            st.selectbox("Errors", ERRORS, key="look_error", width=200)
            if kind == WRONG and is_yes_no(run)
            else "all"
        )
        again = kind == QUEUE and st.toggle("Also labelled ones", key="look_again")
    try:
        found = _found(catalog, run_id, kind, label, None if site == "all" else site, error, again)
    except ConfigurationError as told:
        st.info(str(told), icon=":material/info:")
        return
    if found.empty:
        st.info("Nothing here.", icon=":material/check_circle:")
    else:
        _page(catalog, run, found, kind)
    corrections.show(run)


def is_yes_no(run: Mapping[str, Any]) -> bool:
    """Whether a run's labels are yes or no, each on its own: only then is there something to correct."""
    return bool(run["spec"].get("task", {}).get("kind") == "multilabel")


def is_measured(run: Mapping[str, Any]) -> bool:
    """Whether a run's labels and answers are measurements."""
    return bool(run["spec"].get("task", {}).get("kind") == "regression")


def _found(
    catalog: Catalog, run_id: str, kind: str, label: str, site: str | None, error: str, again: bool
) -> pd.DataFrame:
    if kind == WRONG:
        return catalog.mistakes(run_id, label, kind=error, site=site)
    if kind == SUSPECT:
        return catalog.suspects(run_id, label, site=site)
    queue = catalog.queue(run_id, _QUEUED, with_labelled=again)
    queue = queue[queue["label"] == label] if len(queue) else queue
    return queue if site is None else queue[queue["site"] == site]


def _page(catalog: Catalog, run: Mapping[str, Any], found: pd.DataFrame, kind: str) -> None:
    n_pages = -(-len(found) // PER_PAGE)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        at = st.number_input("Page", 1, n_pages, key=f"look_page_{kind}", width=120) if n_pages > 1 else 1
        st.markdown(f"**{formats.plural(len(found), 'study', 'studies')}**, worst first")
        if kind == QUEUE:
            st.download_button("Ids as CSV", found.drop(columns=["n_frames", "modality"]).to_csv(index=False),
                               file_name=f"queue-{run['run_id']}.csv", mime="text/csv", on_click="ignore",
                               icon=":material/download:")  # fmt: skip
    for row in found.iloc[PER_PAGE * (at - 1) : PER_PAGE * at].to_dict("records"):
        with st.container(border=True):
            _card(catalog, run, row)


def _card(catalog: Catalog, run: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    study = str(row["study_id"])
    left, right = st.columns([2, 3], gap="medium")
    with left:
        index = int(row["n_frames"] or 1) // 2 if pd.notna(row["n_frames"]) else 0
        st.html(f'<img loading="lazy" alt="{escape(str(row["modality"]))} image of the study" src="/api/series/{escape(str(row["series_id"]))}'
                f'/{index}.webp?v={catalog.number or 0}" style="width:100%;max-height:420px;object-fit:contain;background:#000;'
                'border-radius:6px">')  # fmt: skip
    with right:
        with st.container(horizontal=True, vertical_alignment="center"):
            for text, color in _badges(row, measured=is_measured(run)):
                st.badge(text, color=color)  # type: ignore[arg-type]
            st.page_link(
                "views/study.py", label="Open", icon=":material/open_in_new:", query_params={"study": study}
            )
        reports = catalog.report(study)
        findings = catalog.findings(study).to_dict("records") if reports else []
        with st.container(height=260 if reports else "content", border=False):
            for report in reports:
                report_text.show(report["text"], report["sections"] or [], findings)
            if not reports:
                st.caption("No report is linked to this study.")
        if is_yes_no(run):
            corrections.form(run, study, str(row["label"]))


def _answered(row: Mapping[str, Any], *, measured: bool) -> str:
    if "rank" in row:
        return f"probability {row['score']:.2f}"
    return f"predicted {row['score']:.3g}" if measured else f"scored {row['score']:.2f}"


def _badges(row: Mapping[str, Any], *, measured: bool) -> list[tuple[str, str]]:
    told = []
    label = formats.words(str(row["label"]))
    target = row.get("target")
    if measured and "target" in row and pd.notna(target):
        told.append((f"{label}: {target:.3g}", "gray"))
    elif "target" in row:
        known = (
            {1.0: "present", 0.0: "absent", -1.0: "uncertain"}.get(float(target))
            if pd.notna(target)
            else None
        )
        told.append((f"{label}: {known or 'unknown'}", "orange" if known == "present" else "green"))
    else:
        told.append((f"{label}: {row['why']}", "violet"))
    if pd.notna(row["score"]):
        told.append((_answered(row, measured=measured), "gray"))
    if row.get("is_wrong"):
        told.append(("false negative" if float(target or 0) > 0.5 else "false positive", "red"))
    if row.get("is_report_conflict"):
        told.append(("the report says otherwise", "red"))
    if row.get("is_odd_image"):
        told.append(("looks like the other class", "red"))
    told.append((str(row["site"]) + (f", {row['split']}" if "split" in row else ""), "gray"))
    return told
