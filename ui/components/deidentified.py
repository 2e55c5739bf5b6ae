"""What de-identification did to one study: removed, shifted, replaced, cleaned, blanked. Never the original."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from pydicom.datadict import dictionary_VR

from ui import formats
from ui.components import lineage_graph

EFFECTS: Mapping[str, tuple[str, str]] = {
    "removed": (":material/delete:", "gone, or emptied where the standard wants the attribute to stay"),
    "shifted": (":material/event:", "moved by the patient's own secret number of days: intervals hold"),
    "replaced": (
        ":material/swap_horiz:",
        "a pseudonym or a stand-in, the same wherever the original was the same",
    ),
    "cleaned": (":material/ink_eraser:", "reduced to words and codes that name nobody"),
}
"""What an action comes to, for a reader: icon and meaning."""


def effect(kind: str, tag: str, action: str) -> str:
    """removed, shifted, replaced or cleaned, of an action code of PS3.15 Table E.1-1a on an attribute or text category."""
    if action == "C":
        return "shifted" if _is_date(tag) else "cleaned" if kind == "instance" else "replaced"
    return {"U": "replaced", "D": "replaced"}.get(action, "removed")


def _is_date(tag: str) -> bool:
    found = lineage_graph.number(tag)
    if found is None:
        return tag.upper().startswith("DATE")
    try:
        return dictionary_VR(found) in ("DA", "DT")
    except KeyError:
        return False


def face_badge(n_images: int) -> None:
    """A warning where a study's images may hold a face; nothing where they do not."""
    if n_images:
        st.badge(
            "may show a face",
            icon=":material/face:",
            color="orange",
            help=f"{formats.plural(n_images, 'image')} of a head whose face was not removed: a surface drawn from them may be "
            "recognised. A profile with clean_recognizable_visual_features removes it.",
        )


def show(actions: pd.DataFrame, regions: pd.DataFrame, policies: list[str], keys: list[str]) -> None:
    """The account of one study, from `Catalog.actions_of_study` and `Catalog.regions_of_study`."""
    with st.expander("What de-identification did", icon=":material/shield_person:"):
        if actions.empty and regions.empty:
            st.caption("No action is logged for this study.")
            return
        told = actions.assign(
            effect=[effect(r.kind, r.tag, r.action) for r in actions.itertuples()],
            attribute=[lineage_graph.attribute(r.tag) or formats.words(r.tag) for r in actions.itertuples()],
        )
        with st.container(horizontal=True):
            for name, (icon, meaning) in EFFECTS.items():
                n = told.loc[told["effect"] == name, "attribute"].nunique()
                if n:
                    st.badge(f"{n} {name}", icon=icon, color="gray", help=meaning)
            if n := int(regions["n_regions"].sum()):
                st.badge(
                    f"{formats.plural(n, 'region')} blanked",
                    icon=":material/select:",
                    color="orange",
                    help="outlined on the image; B turns the outlines off",
                )
        if len(regions):
            st.caption(
                "Blanked: "
                + "; ".join(
                    f"{formats.plural(r.n_regions, 'region')} on {formats.plural(r.n_objects, 'image')} ({r.source})"
                    for r in regions.itertuples()
                )
            )
        st.dataframe(
            told.sort_values(["effect", "attribute"]),
            hide_index=True,
            height=35 * min(len(told) + 1, 8) + 3,
            column_order=["effect", "attribute", "n", "tag"],
            column_config={
                "effect": st.column_config.TextColumn("What", width="small"),
                "attribute": "Attribute or kind of text",
                "tag": st.column_config.TextColumn("Tag", width="small"),
                "n": st.column_config.NumberColumn("Objects", width="small"),
            },
            alt="What de-identification did to the study, attribute by attribute",
        )
        st.caption(f"Policy {', '.join(policies)}; key {', '.join(keys)}. Originals are never shown here.")
