"""Runs side by side: untuned, tuned and gain on the same studies, what each cost, and whether two of them differ.

What belongs here: the choice of runs and the drawing. What does not: the numbers (training.compare, through the catalog).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from curation.records import ConfigurationError
from training.ladder import RUNGS
from training.metrics import LOWER_IS_BETTER
from training.shared_studies import Common
from ui import formats
from ui.catalog import Catalog
from ui.components import plots

AT_FIRST = 6
"""So many runs are set side by side before anybody chooses."""


def groups(
    runs: Sequence[Mapping[str, Any]], cohort_names: Mapping[str, str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Finished runs of one cohort (in any version) and one task, at least two; newest group first, runs up the ladder, then by age."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        task = run["spec"].get("task", {})
        cohort = cohort_names.get(str(run.get("cohort_id")), str(run.get("cohort_id") or "no cohort"))
        if run["status"] == "done":
            key = f"{cohort}: {', '.join(map(formats.words, task.get('labels', [])))} ({formats.words(task.get('kind'))})"
            found.setdefault(key, []).insert(0, run)
    return {key: sorted(members, key=_rung) for key, members in found.items() if len(members) > 1}


def _rung(run: Mapping[str, Any]) -> int:
    kind = run["spec"].get("method", {}).get("kind")
    return RUNGS.index(kind) if kind in RUNGS else len(RUNGS)


def short_names(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Run id to what tells it from the others in a plot: name and method, as far as they differ, and the id where they do not."""
    kinds = {str(r["run_id"]): str(r["spec"].get("method", {}).get("kind")) for r in runs}
    if len({r["name"] for r in runs}) > 1:
        kinds = {str(r["run_id"]): f"{r['name']} · {kinds[str(r['run_id'])]}" for r in runs}
    told = list(kinds.values())
    return {i: kind if told.count(kind) == 1 else f"{kind} · {formats.short(i)}" for i, kind in kinds.items()}


def show(catalog: Catalog, runs: Sequence[Mapping[str, Any]]) -> None:
    """The whole comparison; choices are kept in the page's address."""
    st.header("Compare", anchor=False)
    cohorts = catalog.cohorts()
    found = groups(runs, dict(zip(cohorts["cohort_id"], cohorts["name"], strict=True)))
    if not found:
        st.caption("Two finished runs of one cohort and task are set side by side here. All rungs at once: "
                   "`rwid tune demo --ladder probe,cut,lora,full`.")  # fmt: skip
        return
    group = st.selectbox("Cohort and task", list(found), key="group", bind="query-params")
    # the rungs of a ladder share one name: what moved tells them apart
    names = {
        f"{r['name']} · {r['spec'].get('method', {}).get('kind')} · {formats.short(r['run_id'])}": r
        for r in found[group]
    }
    chosen = st.multiselect(
        "Runs",
        list(names),
        default=list(names)[-AT_FIRST:],
        key=f"compare-{group}",
        placeholder="choose two or more",
    )
    if len(chosen) < 2:
        st.caption("Choose two or more.")
        return
    picked = short_names([names[c] for c in chosen])
    try:
        _compared(catalog, picked, [names[c] for c in chosen])
    except ConfigurationError as told:
        st.warning(str(told), icon=":material/compare_arrows:", title="These cannot be compared")
    _specs([names[c] for c in chosen], picked)


def _compared(catalog: Catalog, picked: Mapping[str, str], runs: Sequence[Mapping[str, Any]]) -> None:
    labels, splits = catalog.comparable(tuple(picked))
    if not labels or not splits:
        raise ConfigurationError("They judged no label in common.")
    with st.container(horizontal=True):
        split = st.selectbox("Split", splits, key="compare_split", bind="query-params", width=170)
        label = st.selectbox(
            "Label", labels, key="compare_label", bind="query-params", width=220, format_func=formats.words
        )
        by = catalog.compared_by(tuple(picked), label)
        key = f"compare_by_{by[0]}"  # choices differ by kind of label: each keeps its own
        metric = st.selectbox(
            "Metric", by, key=key, bind="query-params", width=170, format_func=formats.metric_name
        )
    common, lines, differences = catalog.comparison(tuple(picked), split, label, metric)
    _say_on_what(common)
    if metric in LOWER_IS_BETTER:
        st.caption(f"{formats.metric_name(metric)}: lower is better, so a gain below 0 is an improvement.")
    lines = lines.assign(run=lines["run_id"].map(picked))
    overall = lines[lines["site"] == "all"]
    order = list(picked.values())
    side = st.grid(2, min_column_width=380)
    with side, st.container(border=True):
        plots.intervals(
            overall[overall["arm"] != "gain"], "run", order=order, metric=formats.metric_name(metric),
            title=f"{formats.words(label)}, {split}", reference=0.5 if metric in ("auroc", "c_index") else None,
        )  # fmt: skip
    with side, st.container(border=True):
        gain = overall[overall["arm"] == "gain"]
        plots.intervals(
            gain,
            "run",
            order=order,
            metric=f"gain in {formats.metric_name(metric)}",
            title="Tuned minus untuned, paired",
            reference=0,
        )
    st.dataframe(_cost(overall, runs, order), hide_index=True, column_config={
        "minutes": st.column_config.NumberColumn("Minutes", format="%.1f", help="Of compute, from loading to report. What an "
                                                 "earlier run had cached, a later one did not pay for again.")},
        alt="Runs with untuned, tuned, gain and minutes")  # fmt: skip
    _sites(lines, order)
    _differences(differences, picked, metric)


def _say_on_what(common: Common) -> None:
    known = ~np.isnan(common.truth).all(axis=1)  # without those of which they hold different truths
    n, patients = (
        formats.plural(int(known.sum()), "study", "studies"),
        len(set(common.patient[known].tolist())),
    )
    told = f"{n} of {formats.plural(patients, 'patient')}"
    if common.is_same:
        st.success(f"All judged on the same {told}, by the same truth.", icon=":material/check_circle:")
        return
    why = []
    if common.n_missing:
        own = ", ".join(formats.count(k) for k in common.n_own.values())
        why.append(f"they judged {own} studies in this split")
    if common.n_disputed:
        why.append(f"of {formats.plural(common.n_disputed, 'study', 'studies')} they hold different truths")
    st.warning(
        f"These runs were not judged alike: {'; '.join(why)}. Below is what all of them share: {told}.",
        icon=":material/warning:",
    )


def _cost(overall: pd.DataFrame, runs: Sequence[Mapping[str, Any]], order: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name, run in zip(order, runs, strict=True):
        arms = {r["arm"]: r for r in overall[overall["run"] == name].to_dict("records")}
        rows.append(
            {
                "Run": name,
                "Method": run["spec"].get("method", {}).get("kind"),
                **{arm.capitalize(): _interval(arms[arm]) for arm in ("untuned", "tuned", "gain")},
                "minutes": (run.get("seconds") or float("nan")) / 60,
            }
        )
    return pd.DataFrame(rows)


def _sites(lines: pd.DataFrame, order: Sequence[str]) -> None:
    sites = [s for s in dict.fromkeys(lines["site"]) if s != "all"]
    rows = []
    for site in sites:
        here = lines[(lines["site"] == site) & (lines["arm"] == "tuned")]
        told = {str(r["run"]): _interval(r) for r in here.to_dict("records")}
        first = here.iloc[0]
        rows.append(
            {"Site": site, "Studies": int(first["n"]), "Patients": int(first["n_patients"])}
            | {n: told[n] for n in order}
        )
    st.markdown("**Tuned, per site**")
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, alt="Tuned arm of every run at each site, with intervals"
    )


def _differences(differences: pd.DataFrame, picked: Mapping[str, str], metric: str) -> None:
    st.markdown("**Do two of them differ?** Tuned minus tuned on the same studies, draw by draw.")
    shown = differences.assign(
        pair=[
            f"{picked[a]} − {picked[b]}"
            for a, b in zip(differences["run_id"], differences["other"], strict=True)
        ]
    )
    overall = shown[shown["site"] == "all"]
    with st.container(border=True):
        plots.intervals(overall, "pair", metric=f"difference in {formats.metric_name(metric)}", title="Over all sites", reference=0,
                        order=list(overall["pair"]))  # fmt: skip
    told = pd.DataFrame(
        {
            "Pair": shown["pair"],
            "Site": shown["site"],
            "Difference": [_interval(r) for r in shown.to_dict("records")],
            "p": shown["p"],
            "Shown": [_shown(r) for r in shown.to_dict("records")],
            "Studies": shown["n"],
        }
    )
    with st.expander("Each pair at each site", icon=":material/table:"):
        st.dataframe(told, hide_index=True, column_config={"p": st.column_config.NumberColumn(format="%.3f")},
                     alt="Differences of runs at each site, with intervals")  # fmt: skip
        st.caption(
            "No correction for looking at many pairs: judge a family of pairs by its intervals, not by one p."
        )


def _shown(row: Mapping[str, Any]) -> str:
    if pd.isna(row["low"]):
        return formats.DASH
    return "a difference" if row["low"] > 0 or row["high"] < 0 else "none"


def _interval(row: Mapping[str, Any]) -> str:
    value, low, high = (None if pd.isna(row[k]) else float(row[k]) for k in ("value", "low", "high"))
    return formats.interval(value, low, high)


def _specs(runs: Sequence[Mapping[str, Any]], picked: Mapping[str, str]) -> None:
    specs = {picked[str(r["run_id"])]: pd.json_normalize(dict(r["spec"])).iloc[0].astype(str) for r in runs}
    side = pd.DataFrame(specs)
    with st.expander("Where their specs differ", icon=":material/difference:"):
        st.dataframe(side[side.nunique(axis=1) > 1], alt="Choices in which the runs differ")
