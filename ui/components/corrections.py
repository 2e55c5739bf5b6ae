"""What a reader corrects on a page: chosen from closed lists, kept until recorded, recorded by Dagster, used by the next run.

What belongs here: the form of one label, the list of what is not recorded yet, the two steps to a new run. What does not: the
lists of words (curation/relabels.toml) and what a correction does (curation.relabel).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st
import yaml

from curation.records import ConfigurationError
from curation.relabel import vocabulary
from ui import formats
from ui.catalog import Catalog
from ui.dagster_client import DagsterClient, DagsterRefusedError, DagsterUnreachableError

_KEY = "corrections"


def form(run: Mapping[str, Any], study: str, label: str) -> None:
    """What the reader says of one label of one study."""
    words = vocabulary()
    kept = _pending(run).get((study, label))
    with st.popover(
        "Corrected" if kept else "Correct the label", icon=":material/edit:", key=f"correct-{study}-{label}"
    ):
        role = st.selectbox("I am a", list(words["roles"]), key=f"role-{study}-{label}", format_func=formats.words,
                            index=list(words["roles"]).index(st.session_state.get("reader_role", "radiologist")))  # fmt: skip
        value = st.segmented_control(f"{formats.words(label).capitalize()} is", list(words["values"]), required=True,
                                     default=kept["value"] if kept else "present", key=f"value-{study}-{label}")  # fmt: skip
        reason = st.selectbox("because", list(words["reasons"]), key=f"reason-{study}-{label}",
                              format_func=lambda r: str(words["reasons"][r]))  # fmt: skip
        if st.button("Keep", type="primary", key=f"keep-{study}-{label}"):
            st.session_state["reader_role"] = role
            _pending(run)[study, label] = {"study_id": study, "label": label, "value": value, "role": role, "reason": reason,
                                           "run_id": str(run["run_id"])}  # fmt: skip
            st.rerun()


def show(run: Mapping[str, Any]) -> None:
    """The corrections that are not recorded yet, and the button that records them."""
    kept = list(_pending(run).values())
    if not kept:
        return
    with st.container(border=True):
        st.markdown(f"**{formats.plural(len(kept), 'correction')} not recorded yet**")
        st.dataframe(
            pd.DataFrame(kept).drop(columns="run_id"),
            hide_index=True,
            alt="Corrections that are not recorded yet",
        )
        with st.container(horizontal=True):
            if st.button("Record", type="primary", icon=":material/save:", key="record"):
                _record(run, kept)
            if st.button("Drop them", key="drop"):
                _pending(run).clear()
                st.rerun()
            st.download_button("As CSV", pd.DataFrame(kept).to_csv(index=False), file_name="corrections.csv", mime="text/csv",
                               on_click="ignore", icon=":material/download:")  # fmt: skip


def retrain(catalog: Catalog, run: Mapping[str, Any]) -> None:
    """From corrections to a new run: the next version of the cohort, then the same spec on it."""
    run_id = str(run["run_id"])
    told = catalog.relabels()
    here = told[told["run_id"] == run_id] if len(told) else told
    try:
        plan = catalog.retrain(run_id)
    except ConfigurationError as wrong:
        st.caption(str(wrong))
        return
    with st.container(border=True):
        st.markdown("**Retrain**")
        st.caption(
            f"{formats.plural(len(here), 'correction')} came from this run, {formats.count(len(told))} are in the lake. The same spec on "
            f"the next version of cohort {plan.cohort}, which uses them."
        )
        if plan.is_same:
            st.caption("Nothing has come into the lake since this run's cohort was frozen.")
        elif catalog.run(plan.run_id) is not None:
            st.page_link("views/run.py", label="To the retrained run", icon=":material/arrow_forward:",
                         query_params={"run": plan.run_id})  # fmt: skip
        elif not plan.is_frozen:
            if st.button("Freeze the next version of the cohort", icon=":material/ac_unit:", key="freeze"):
                _launch(
                    "build_cohort",
                    "cohorts",
                    plan.cohort,
                    "cohort",
                    {"text": plan.cohort_text},
                    f"rwid retrain {run_id}",
                )
                st.info(
                    "Dagster builds it. Come back to this page when it is done.",
                    icon=":material/hourglass_top:",
                )
        elif st.button("Retrain on it", type="primary", icon=":material/model_training:", key="retrain"):
            text = yaml.safe_dump(plan.spec.model_dump(mode="json"), sort_keys=False)
            facts = {"text": text, "cohort": plan.cohort_id}
            if _launch("tune", "runs", plan.run_id, "tuned_model", facts, f"rwid retrain {run_id}"):
                st.switch_page("views/run.py", query_params={"run": plan.run_id})


def _record(run: Mapping[str, Any], kept: list[dict[str, str]]) -> None:
    config = {"cohort": str(run["cohort_id"]), "at_utc": datetime.now(UTC).isoformat(), "corrections": kept}
    key = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
    if _launch(
        "relabel",
        "relabels",
        key,
        "relabels",
        config,
        f"rwid relabel corrections.csv --cohort {run['cohort_id']}",
    ):
        _pending(run).clear()
        st.success(
            "Dagster records them: a new snapshot will show them in a few seconds.", icon=":material/save:"
        )


def _launch(job: str, partition_set: str, key: str, op: str, facts: Mapping[str, Any], command: str) -> bool:
    try:
        DagsterClient().launch(
            job, partition_set=partition_set, key=key, config={"ops": {op: {"config": dict(facts)}}}
        )
    except DagsterUnreachableError as told:
        st.error(f"{told} Or from a terminal:", icon=":material/power_off:", title="Dagster is off")
        st.code(command, language="bash", wrap_lines=True)
        return False
    except DagsterRefusedError as told:
        st.error(str(told), icon=":material/block:", title="Dagster did not accept it")
        return False
    return True


def _pending(run: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    every: dict[str, dict[tuple[str, str], dict[str, str]]] = st.session_state.setdefault(_KEY, {})
    return every.setdefault(str(run["run_id"]), {})
