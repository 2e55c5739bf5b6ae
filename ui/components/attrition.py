"""Attrition of a cohort: a bar a rule, and the same as a table."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from ui.components import plots


def show(frame: pd.DataFrame) -> None:
    """Columns rule, studies, patients, sites; one row a rule in the order of the spec, the first is what there was."""
    if frame.empty:
        st.info("This cohort has no record of its attrition.")
        return
    plots.attrition(frame[["rule", "studies"]])
    table = frame.assign(taken_out=-frame["studies"].diff().fillna(0).astype(int))
    st.dataframe(
        table,
        hide_index=True,
        column_order=[c for c in ("rule", "studies", "taken_out", "patients", "sites") if c in table.columns],
        column_config={
            "rule": st.column_config.TextColumn("Rule", width="large"),
            "studies": st.column_config.NumberColumn("Studies left", format="localized"),
            "taken_out": st.column_config.NumberColumn("Taken out", format="localized"),
            "patients": st.column_config.NumberColumn("Patients left", format="localized"),
            "sites": "Sites left",
        },
        alt="Studies, patients and sites left after each rule",
    )
