"""Which data would help a run next: the learning curve, what each site adds, where the train split is thin.

What belongs here: drawing. What does not: the numbers (training.next_data, through the catalog).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from curation.records import ConfigurationError
from training.coverage import Part
from training.metrics import Estimate
from training.next_data import NextData
from ui import formats
from ui.catalog import Catalog
from ui.components import gallery, plots


@st.fragment
def show(catalog: Catalog, run: dict[str, Any]) -> None:
    """The whole section; worked out when asked for, for it takes seconds."""
    st.header("What data would help next", anchor=False)
    if not st.toggle(
        "Work it out", key="next_data", help="Hundreds of small probes on cached features: seconds."
    ):
        return
    try:
        with st.spinner("Fitting probes on subsets of patients"):
            found = catalog.next_data(str(run["run_id"]))
    except ConfigurationError as told:
        st.info(str(told), icon=":material/info:")
        return
    for sentence in found.sentences:
        st.markdown(f"- {sentence}")
    side = st.grid(2, min_column_width=380)
    with side, st.container(border=True):
        plots.learning_curve(_points(found))
    with side, st.container(border=True):
        if found.sites:
            plots.intervals(
                _sites(found),
                "site",
                colour="how",
                metric="gain in AUROC",
                title="What each site adds to the others",
                reference=0,
            )
        else:
            st.caption("One site: there is nothing to add or to leave out.")
    st.caption(
        f"Ridge probes on frozen features, taught and judged by the {formats.plural(found.n_patients, 'patient')} of the train and tune "
        "split; the test split has no say in what to collect. Intervals hold the chance of the judges and of who teaches. Added: the "
        "mean gain over the orders in which sites may come in, from none (0.5) to all. Beyond what was measured, the curve is a power "
        "law: it knows nothing of other hospitals."
    )
    _coverage(catalog, found)


def _coverage(catalog: Catalog, found: NextData) -> None:
    of = found.coverage
    if not of.quarters:
        st.caption("Nobody was judged, so nothing can be said of where the train split is thin.")
        return
    st.subheader("Where the train split is thin", anchor=False)
    side = st.grid(2, min_column_width=380)
    with side, st.container(border=True):
        plots.intervals(_errors(of.quarters), "part", order=[p.name for p in of.quarters], metric="mean error",
                        title="Judged studies by distance to the train split")  # fmt: skip
    with side, st.container(border=True):
        far_first = sorted((g for g in of.groups if g.distance is not None), key=_by_distance)
        plots.intervals(_errors(far_first), "part", order=[p.name for p in far_first], metric="mean error",
                        title="Groups, farthest from the train split first")  # fmt: skip
    if of.n_hidden:
        st.caption(f"{formats.plural(of.n_hidden, 'group')} of too few patients not shown.")
    st.markdown("**Appearances**: clusters of the embedding, with the patients of each site in them")
    st.dataframe(_appearances(of.clusters), hide_index=True, column_config={
        "Distance": st.column_config.NumberColumn(format="%.2f", help="Of the median judged study to the train split; 1: as far as the "
                                                  "median of all."),
        "Teach": st.column_config.NumberColumn(format="percent"), "Judged": st.column_config.NumberColumn(format="percent")},
        alt="Clusters of the embedding with shares, distance, error and sites")  # fmt: skip
    shown = catalog.tiles_of_members(str(found.run_id), {p.name: list(p.exemplars) for p in of.clusters})
    gallery.show(shown, version=catalog.number)


def _by_distance(part: Part) -> float:
    return -(part.distance or 0)


def _appearances(parts: Sequence[Part]) -> pd.DataFrame:
    rows = []
    for p in parts:
        rows.append(
            {
                "Appearance": p.name,
                "Teach": p.share_train,
                "Judged": p.share_judged,
                "Distance": p.distance,
                "Error": formats.interval(p.error.value, p.error.low, p.error.high),
            }
            | dict(p.sites)
        )
    frame = pd.DataFrame(rows)
    sites = [c for c in frame.columns if c not in ("Appearance", "Teach", "Judged", "Distance", "Error")]
    return (
        frame.astype(dict.fromkeys(sites, float))
        .fillna(dict.fromkeys(sites, 0))
        .astype(dict.fromkeys(sites, int))
    )


def _points(found: NextData) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"patients": p.n_patients, "kind": "measured" if p.is_measured else "power law"} | _row(p.auroc)
            for p in found.curve.points
        ]
    )


def _sites(found: NextData) -> pd.DataFrame:
    rows = []
    for s in found.sites:
        for how, e in (("added one by one", s.added), ("lost when left out", s.left_out)):
            rows.append({"site": s.site, "how": how, "n": s.n_patients} | _row(e))
    return pd.DataFrame(rows)


def _errors(parts: Sequence[Part]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"part": p.name, "n": p.n_judged} | _row(p.error) for p in parts if p.error.value is not None]
    )


def _row(e: Estimate) -> dict[str, float | None]:
    return {"value": e.value, "low": e.low, "high": e.high}
