"""Heads of pages, facts in a row, and what a page says where there is nothing yet."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

STATUS: Mapping[str, tuple[str, str]] = {
    "running": ("blue", ":material/progress_activity:"),
    "done": ("green", ":material/check_circle:"),
    "failed": ("red", ":material/error:"),
    "stopped": ("orange", ":material/stop_circle:"),
    "interrupted": ("orange", ":material/warning:"),
    "queued": ("gray", ":material/schedule:"),
}


def head(title: str, caption: str = "", *, back: tuple[str, str] | None = None) -> None:
    """The page's title with a line below it; `back` is (view, label) of the list the page belongs to."""
    if back:
        st.page_link(back[0], label=back[1], icon=":material/arrow_back:", query_params={})
    st.title(title, anchor=False)
    if caption:
        st.caption(caption)


def facts(shown: Mapping[str, str], *, helps: Mapping[str, str] | None = None) -> None:
    """Numbers in a row that wraps on narrow windows."""
    with st.grid(max(1, len(shown)), min_column_width=118, gap="small"):
        for name, value in shown.items():
            st.metric(name, value, border=True, help=(helps or {}).get(name))


def status_badge(status: str) -> None:
    """A run's status as a coloured badge with a sign, so that it does not rest on colour alone."""
    color, icon = STATUS.get(status, ("gray", ":material/help:"))
    st.badge(status, icon=icon, color=color)  # type: ignore[arg-type]


def nothing_yet(what: str, command: str, why: str = "") -> None:
    """An empty state: what is missing and the command that changes it."""
    with st.container(border=True):
        st.subheader(what, anchor=False)
        if why:
            st.markdown(why)
        st.code(command, language="bash", wrap_lines=True)


def missing(what: str, view: str, label: str) -> None:
    """A page about a thing that is not there: says so, offers the list, and stops."""
    st.warning(f"{what} is not in this lake.", icon=":material/search_off:")
    st.page_link(view, label=label, icon=":material/arrow_back:", query_params={})
    st.stop()
