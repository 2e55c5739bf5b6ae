"""Tables whose rows open a page.

What belongs here: the button column and the way from a click to an id. What does not: which columns a view shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ui.formats import DASH


def linked(
    frame: pd.DataFrame,
    *,
    ids: str,
    view: str,
    parameter: str,
    key: str,
    columns: Mapping[str, Any],
    alt: str,
) -> None:
    """A table with an *Open* button in each row that goes to `view` with `parameter` = that row's id.

    A click says a position, not an id. The ids of the very frame that was drawn go into the callback, so that a click on
    a table whose data have changed meanwhile still opens what the reader saw.
    """
    shown = frame[[c for c in columns if c in frame.columns]].copy()
    shown.insert(0, "open", ":material/arrow_forward: Open")
    st.dataframe(
        shown,
        hide_index=True,
        placeholder=DASH,
        column_config={
            **{name: how for name, how in columns.items() if how is not None},
            "open": st.column_config.ButtonColumn(
                "",
                key=key,
                on_click=_open,
                args=(view, parameter, tuple(frame[ids].astype(str)), key),
                width="small",
                pinned=True,
            ),
        },
        alt=alt,
    )


def _open(view: str, parameter: str, ids: Sequence[str], key: str) -> None:
    click = st.session_state.get(key)
    if click is not None and 0 <= click["row"] < len(ids):
        st.switch_page(view, query_params={parameter: ids[click["row"]]})
