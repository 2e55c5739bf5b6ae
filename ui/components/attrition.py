"""Attrition of a cohort: a bar a rule, the same as a table, and what leaving a rule out would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ui import formats
from ui.components import plots


def show(frame: pd.DataFrame, what_if: Sequence[Mapping[str, Any]]) -> None:
    """Columns rule, studies, patients, sites; one row a rule in the order of the spec, the first is what there was.

    `what_if`: studies that would be left `without` a rule.
    """
    if frame.empty:
        st.info("This cohort has no record of its attrition.")
        return
    plots.attrition(frame[["rule", "studies"]])
    without = {w["without"]: w["studies"] for w in what_if}
    table = frame.assign(
        taken_out=-frame["studies"].diff().fillna(0).astype(int), without=frame["rule"].map(without)
    )
    st.dataframe(
        table,
        hide_index=True,
        placeholder=formats.DASH,
        column_order=[
            c for c in ("rule", "studies", "taken_out", "without", "patients", "sites") if c in table.columns
        ],
        column_config={
            "rule": st.column_config.TextColumn("Rule", width="medium"),
            "studies": st.column_config.NumberColumn("Studies left", format="localized"),
            "taken_out": st.column_config.NumberColumn("Taken out", format="localized"),
            "without": st.column_config.NumberColumn(
                "Without this rule",
                format="localized",
                help="Studies the cohort would hold if this one rule were left out.",
            ),
            "patients": st.column_config.NumberColumn("Patients left", format="localized"),
            "sites": "Sites left",
        },
        alt="Studies, patients and sites left after each rule",
    )
