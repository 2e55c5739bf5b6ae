"""One study: its images in a viewer, the report beside them with redactions and findings, and where it came from."""

from __future__ import annotations

import streamlit as st

from ui import formats, session, slices
from ui.components import deidentified, head, report_text, tables, viewer

catalog = session.open_head()
study_id = st.query_params.get("study", "")
study = catalog.study(study_id)
if study is None:
    head.head("Study", back=("views/studies.py", "Studies"))
    head.missing("This study", "views/studies.py", "All studies")
    raise AssertionError("head.missing stops the page")

title = f"{study['modality']} {(study['body_part'] or '').lower()}".strip()
head.head(
    title,
    f"Study `{study_id}` from **{study['site']}**, {formats.day(study['study_date'])} (date shifted)",
    back=("views/studies.py", "Studies"),
)
age = "90+" if (study["age_years"] or 0) >= 90 else formats.count(study["age_years"])
with st.container(horizontal=True, vertical_alignment="center"):
    st.badge(f"sex {study['sex'] or 'unknown'}", color="gray")
    st.badge(f"age {age}", color="gray")
    st.badge(study["manufacturer"] or "manufacturer unknown", color="gray")
    st.badge(formats.plural(study["n_series"], "series", "series"), color="gray")
    st.badge(formats.plural(study["n_instances"], "image"), color="gray")
    deidentified.face_badge(catalog.faces_of_study(study_id))
    for finding in study["findings"] or []:
        st.badge(formats.words(finding), color="orange", icon=":material/radio_button_checked:")
    st.page_link(
        "views/lineage.py",
        label="Where it came from",
        icon=":material/account_tree:",
        query_params={"study": study_id},
    )

series = catalog.series_of(study_id)
reports = catalog.report(study_id)
findings = catalog.findings(study_id)
shown = {s["series_id"]: s for s in series if s["n_frames"]}

left, right = st.columns([3, 2], gap="medium")
with left:
    if not shown:
        st.info("This study has no images that can be shown.", icon=":material/hide_image:")
    else:
        labels = {}
        for number, (key, s) in enumerate(shown.items(), start=1):
            told = " ".join(
                filter(
                    None,
                    [
                        formats.words(s["kind"]),
                        s["view"],
                        s["laterality"],
                        s["phase"],
                        s["series_description"],
                    ],
                )
            )
            labels[key] = f"{number}. {told} ({s['n_frames']})"
        chosen = st.query_params.get("series", "")
        chosen = chosen if chosen in shown else next(iter(shown))
        if len(shown) > 1:
            keys = list(shown)
            picked = st.selectbox(
                "Series (frames)",
                keys,
                index=keys.index(chosen),
                format_func=labels.__getitem__,
                key=f"series-of-{study_id}",
            )
            if picked != chosen:
                st.query_params.from_dict(
                    {"study": study_id, "series": picked}
                )  # a new series starts at its own slice
                chosen = picked
        current = shown[chosen]
        viewer.show(
            current,
            current["n_frames"],
            version=catalog.number,
            reduce=slices.reduce_for(current["rows_px"], current["columns_px"]),
        )
        with st.expander("About this series", icon=":material/info:"):
            facts = {
                "Kind": formats.words(current["kind"]),
                "Orientation": current["orientation"],
                "Whole": "yes"
                if current["is_whole"]
                else "no: a gap, a duplicate position or mixed geometry",
                "Matrix": f"{current['rows_px'] or formats.DASH} × {current['columns_px'] or formats.DASH} px",
                "Pixel spacing": current["pixel_spacing_row_mm"]
                and f"{current['pixel_spacing_row_mm']:.3g} mm",
                "Slice thickness": current["slice_thickness_mm"]
                and f"{current['slice_thickness_mm']:.3g} mm",
                "Between slices": current["spacing_between_slices_mm"]
                and f"{current['spacing_between_slices_mm']:.3g} mm",
                "Kernel": current["kernel"],
                "Tube voltage": current["kvp"] and f"{current['kvp']:.0f} kV",
                "Contrast": {True: "stated", False: "none"}.get(current["contrast"]),
                "Photometric": current["photometric"],
                "Device": " ".join(filter(None, [current["manufacturer"], current["model"]])),
            }
            st.table(
                {k: str(v) for k, v in facts.items() if v},
                border="horizontal",
                width="content",
                alt="Facts of the series",
            )

with right:
    if reports:
        for report in reports:
            with st.container(border=True):
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.subheader("Report", anchor=False)
                    st.badge(
                        formats.plural(report["n_redactions"], "redaction"),
                        icon=":material/ink_eraser:",
                        color="gray",
                    )
                    st.badge(report["language"], color="gray")
                st.caption(report_text.STAND_INS)
                report_text.show(report["text"], report["sections"] or [], findings.to_dict("records"))
    else:
        st.info("No report is linked to this study.", icon=":material/description:")
    if len(findings):
        st.markdown("**Findings**")
        st.dataframe(
            findings.assign(
                finding=findings["finding"].map(formats.words),
                assertion=findings["assertion"].map(lambda a: [a]),
            ),
            hide_index=True,
            column_config={
                "finding": "Finding",
                "assertion": st.column_config.MultiselectColumn(
                    "Assertion",
                    options=["present", "absent", "uncertain"],
                    color=["orange", "green", "violet"],
                    width="small",
                ),
                "source": st.column_config.TextColumn("Source", width="small"),
                "evidence": st.column_config.TextColumn("Evidence", width="large"),
            },
            alt="Findings of the study with assertion, source and evidence",
        )
    provenance = catalog.provenance(study_id)
    deidentified.show(
        catalog.actions_of_study(study_id),
        catalog.regions_of_study(study_id),
        sorted(provenance["policy_version"].dropna().unique()),
        sorted(provenance["key_id"].dropna().unique()),
    )
    others = catalog.studies_of_patient(study["patient_id"])
    others = others[others["study_id"] != study_id]
    if len(others):
        st.markdown("**Other studies of this patient**")
        tables.linked(
            others, ids="study_id", view="views/study.py", parameter="study", key="other_studies",
            columns={"study_date": st.column_config.DateColumn("Date (shifted)"), "modality": "Modality", "body_part": "Body part",
                     "n_instances": "Images"},
            alt="Other studies of the same patient",
        )  # fmt: skip
