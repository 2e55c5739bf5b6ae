"""SQL over the lake, read-only and in a sandbox of its own: questions as an address, answers as a file."""

from __future__ import annotations

import time

import streamlit as st

from curation.query import QueryError
from ui import console, formats, session
from ui.components import head

catalog = session.open_head()
head.head(
    "SQL",
    "DuckDB over one snapshot, read-only, in a process that reaches no file and no network. The address keeps the question.",
)

examples = console.examples()
with st.container(horizontal=True, vertical_alignment="bottom"):
    chosen = st.selectbox(
        "Examples",
        list(examples),
        index=None,
        placeholder="choose one to start from",
        key="sql_example",
        width=420,
    )
    numbers = [str(n) for n in reversed(catalog.lake.numbers())] or ["newest"]
    snapshot = st.selectbox("Snapshot", numbers, key="at", bind="query-params", width=130)


if chosen and st.session_state.get("sql_example_used") != chosen:
    st.session_state["q"] = examples[chosen]
    st.session_state["sql_example_used"] = chosen

query = st.text_area(
    "Question",
    key="q",
    bind="query-params",
    height=180,
    placeholder="SELECT modality, count(*) FROM studies GROUP BY ALL",
)
with st.container(horizontal=True, vertical_alignment="center"):
    st.button("Run", type="primary", icon=":material/play_arrow:", shortcut="mod+enter")
    st.caption(
        f"At most {formats.count(console.MAX_ROWS)} rows and {console.TIMEOUT_S:.0f} seconds. For more: `rwid sql`."
    )

if query and query.strip():
    started = time.monotonic()
    try:
        answer = console.ask(session.lake_root(), query, None if snapshot == "newest" else int(snapshot))
    except QueryError as told:
        st.error(str(told), icon=":material/database_off:")
    else:
        n = len(answer.frame)
        more = ", cut off: there are more" if answer.is_cut else ""
        st.caption(f"{formats.plural(n, 'row')}{more} in {formats.duration(time.monotonic() - started)}")
        st.dataframe(answer.frame, hide_index=True, alt="Answer to the question")
        with st.container(horizontal=True):
            st.download_button(
                "CSV",
                console.as_csv(answer.frame),
                "rwid-answer.csv",
                "text/csv",
                on_click="ignore",
                icon=":material/download:",
            )
            st.download_button(
                "Parquet", console.as_parquet(answer.frame), "rwid-answer.parquet", "application/vnd.apache.parquet", on_click="ignore",
                icon=":material/download:",
            )  # fmt: skip

with st.expander("Tables and columns", icon=":material/schema:", key="schema", on_change="rerun") as schema:
    if schema.open:
        table = st.selectbox("Table", console.tables(), key="table", bind="query-params", width=260)
        st.caption(console.grain(table))
        st.dataframe(console.columns(table), hide_index=True, alt=f"Columns of {table}")
