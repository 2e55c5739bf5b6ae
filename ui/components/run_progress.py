"""A run while it lives: progress, curves, log lines, cancel. Looks anew every second and stops looking at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from ui import formats
from ui.components import head, plots
from ui.dagster_client import DagsterClient, DagsterRefusedError, DagsterRun, DagsterUnreachableError

LOOK_EVERY_S = 1.0
_LOG_LINES = 40
STRENGTH, STRENGTH_SAID = "probe/strength", "strength of regularisation"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands: its own word, whether it may still change, and Dagster's run where one is known."""

    status: str
    is_live: bool
    dagster: DagsterRun | None


def standing(run: Mapping[str, Any]) -> Standing:
    """The run's own status, seen together with Dagster's.

    A run between two attempts, or one whose process is only starting, has no beating heart; Dagster knows that it lives.
    """
    if run["status"] == "done":
        return Standing("done", is_live=False, dagster=None)
    found = _newest(run["run_id"])
    waits = run["status"] != "running" and found is not None and not found.is_finished
    return Standing("queued" if waits else run["status"], run["status"] == "running" or waits, found)


def show(
    run: dict[str, Any],
    now: Standing,
    *,
    read: Callable[[], dict[str, Any] | None],
    curves: Callable[[], pd.DataFrame],
    log: Callable[[], str],
) -> None:
    """Progress, curves and log of a run; the callables look anew. The whole page is drawn again once, at the end."""

    @st.fragment(run_every=LOOK_EVERY_S if now.is_live else None)
    def look() -> None:
        latest = read() or run
        if now.is_live:
            state = standing(latest)
            if not state.is_live or state.status != now.status:
                st.rerun()
            left = f", about {formats.duration(latest['eta_s'])} left" if latest.get("eta_s") else ""
            st.progress(
                min(1.0, max(0.0, float(latest["progress"]))),
                text=f"{latest.get('message') or 'starting'}{left}",
            )
            _cancel(state.dagster)
        elif now.status != "done":
            st.error(
                latest.get("message") or "It left no message.",
                icon=":material/error:",
                title=f"The run is {now.status}",
            )
        _curves(curves())
        with st.expander(
            "Log", icon=":material/notes:", expanded=now.status not in ("done", "running", "queued")
        ):
            text = log()
            st.code(text or "nothing yet", language=None, height=260 if text.count("\n") > 10 else "content")

    look()


def awaited(run_id: str, is_there: Callable[[], bool]) -> bool:
    """For a run that was launched but has no folder yet: what Dagster says of it, until the folder is there.

    False where Dagster knows of no such run, or does not answer.
    """
    if _newest(run_id) is None:
        return False

    @st.fragment(run_every=LOOK_EVERY_S)
    def look() -> None:
        found = _newest(run_id)
        if is_there() or found is None:
            st.rerun()
            return
        if found.is_finished:
            st.error(
                "It ended before it began. What Dagster says:",
                icon=":material/error:",
                title=found.status.lower(),
            )
            _messages(found)
            return
        head.status_badge("queued")
        st.progress(
            0.0,
            text=f"Dagster has it: {found.status.lower()}. One run tunes at a time; numbers come when it is its turn.",
        )

    look()
    return True


def _curves(history: pd.DataFrame) -> None:
    if history.empty:
        return
    by = "step"
    if STRENGTH in set(history["name"]):
        history, by = _by_strength(history), STRENGTH_SAID
    names = list(dict.fromkeys(history["name"]))
    losses = [n for n in names if "loss" in n]
    rates = [n for n in names if n in ("lr", "head_lr", "examples_per_s") or n.endswith("/strength")]
    scores = [n for n in names if n not in losses and n not in rates]
    panels = [(n, title) for n, title in ((losses, "Loss"), (scores, "Score on the tune split")) if n]
    for place, (shown, title) in zip(st.columns(max(1, len(panels))), panels, strict=True):
        with place, st.container(border=True):
            plots.curves(history, shown, title=title, by=by)


def _by_strength(history: pd.DataFrame) -> pd.DataFrame:
    """A probe is not learned step by step: each of its steps is another strength of regularisation."""
    strengths = history[history["name"] == STRENGTH].set_index("step")["value"]
    rest = history[(history["name"] != STRENGTH) & history["step"].isin(strengths.index)]
    return rest.assign(**{STRENGTH_SAID: rest["step"].map(strengths)})


def _cancel(found: DagsterRun | None) -> None:
    if found is None:
        st.caption(
            "This run was not launched through the Dagster that answers here, so it cannot be cancelled here."
        )
        return
    if found.can_cancel and st.button("Cancel", icon=":material/stop_circle:", key="cancel"):
        try:
            DagsterClient().cancel(found.run_id)
            st.toast(
                "Asked the run to stop. It keeps its checkpoint and can go on later.",
                icon=":material/stop_circle:",
            )
        except (DagsterUnreachableError, DagsterRefusedError) as told:
            st.error(str(told))


def _messages(found: DagsterRun) -> None:
    try:
        lines = DagsterClient().messages(found.run_id)
    except (DagsterUnreachableError, DagsterRefusedError) as told:
        st.caption(str(told))
        return
    st.code("\n".join(lines[-_LOG_LINES:]) or "nothing yet", language=None)


def _newest(run_id: str) -> DagsterRun | None:
    if not run_id:
        return None
    try:
        found = DagsterClient().runs(partition=run_id, limit=1)
    except (DagsterUnreachableError, DagsterRefusedError):
        return None
    return found[0] if found else None
