"""The frame of the pages: navigation, which snapshot is shown, whether Dagster answers. Each page is a script in views/."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from curation.records import ConfigurationError
from ui import formats, session
from ui.catalog import LakeError
from ui.dagster_client import DagsterClient

# a file of our own: an icon by name would have the browser ask another server for its picture
_MARK = Path(__file__).with_name("mark.svg")
st.set_page_config(page_title="rwid", page_icon=_MARK, layout="wide")
st.logo(Path(__file__).with_name("wordmark.svg"), icon_image=_MARK, size="large")


@st.cache_data(ttl=10, show_spinner=False)
def _dagster_is_up() -> bool:
    return DagsterClient().is_up()


def _sidebar() -> None:
    catalog = session.open_head()
    with st.sidebar:
        if catalog.is_empty:
            st.caption("The lake is empty.")
        else:
            when = formats.moment(catalog.snapshot.created_at_utc)
            st.caption(f":material/layers: Snapshot **{catalog.number}** of {when}")
        if _dagster_is_up():
            st.caption(":material/play_circle: Dagster is up: runs can be launched")
        else:
            st.caption(":material/pause_circle: Dagster is off: looking works, launching does not")


page = st.navigation(
    {
        "": [
            st.Page(
                "views/overview.py",
                title="Overview",
                icon=":material/home:",
                default=True,
                help="What is in the lake.",
            ),
        ],
        "Data": [
            st.Page(
                "views/studies.py",
                title="Studies",
                icon=":material/image_search:",
                help="Find studies and look at them.",
            ),
            st.Page(
                "views/cohorts.py",
                title="Cohorts",
                icon=":material/groups:",
                help="Frozen cohorts and what they hold.",
            ),
            st.Page(
                "views/sql.py",
                title="SQL",
                icon=":material/terminal:",
                help="Ask the lake anything, read-only.",
            ),
        ],
        "Models": [
            st.Page(
                "views/runs.py",
                title="Runs",
                icon=":material/model_training:",
                help="Tuning runs, live and finished.",
            ),
            st.Page(
                "views/evidence.py",
                title="Evidence",
                icon=":material/verified:",
                help="Comorbidity, sites never seen, outcomes.",
            ),
        ],
        "Trust": [
            st.Page(
                "views/lineage.py",
                title="Lineage",
                icon=":material/account_tree:",
                help="Back to the source, on to the runs.",
            ),
        ],
        "Details": [
            st.Page("views/study.py", title="Study", icon=":material/radiology:", visibility="hidden"),
            st.Page("views/cohort.py", title="Cohort", icon=":material/groups:", visibility="hidden"),
            st.Page("views/run.py", title="Run", icon=":material/model_training:", visibility="hidden"),
        ],
    }
)
try:
    _sidebar()
    page.run()
except (ConfigurationError, LakeError) as told:
    st.error(str(told), icon=":material/build:", title="This needs a hand")
