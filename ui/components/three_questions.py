"""The three questions that tuning is for, each answered by one run with a figure and its interval, or by a command.

What belongs here: how an answer is shown. What does not: which runs there are (views/evidence), reading them (catalog).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ui import formats
from ui.components import head, plots

SPLITS: Mapping[str, str] = {
    "holdout": "sites the model never saw",
    "test": "held-out patients of the training sites",
}


def comorbidity(found: pd.DataFrame, names: Mapping[str, str], command: str) -> None:
    """Is a finding seen as well where a comorbidity is present? Rows of Catalog.comorbidity_gaps."""
    st.header("With a comorbidity present", anchor=False)
    st.caption(
        "The gap is AUROC without the comorbidity minus AUROC with it: 0 means that the finding is seen as well beside it. "
        "Tuning on varied data should narrow it."
    )
    here = _choose(found, names, "comorbidity")
    if here is None:
        head.nothing_yet(
            "No run answers this",
            command,
            "It takes a cohort with yes-or-no covariates (emphysema, say) that the run names.",
        )
        return
    arms = here[here["quantity"] != "narrowing"].rename(columns={"quantity": "arm"})
    with st.container(border=True):
        plots.intervals(
            arms,
            "covariate",
            title="Gap without minus with, untuned and tuned",
            metric="AUROC gap",
            reference=0.0,
        )
    for row in here[here["quantity"] == "narrowing"].to_dict("records"):
        _verdict(row, f"{formats.words(row['covariate'])}: tuning narrows the gap by")


def unseen(found: pd.DataFrame, names: Mapping[str, str], command: str) -> None:
    """Does it hold where it never learned? Rows of Catalog.unseen_sites."""
    st.header("At sites never seen", anchor=False)
    st.caption(
        "Untuned against tuned on patients of sites that lent nobody to training. Each site by itself: an average hides a hospital."
    )
    here = _choose(found, names, "unseen")
    if here is None:
        head.nothing_yet(
            "No run answers this",
            command,
            "It takes a cohort with `split.holdout_sites`, or a run that leaves one site out at a time.",
        )
        return
    with st.container(border=True):
        plots.intervals(
            here[here["arm"] != "gain"],
            "site",
            title="AUROC at sites never seen",
            metric="AUROC",
            reference=0.5,
        )
    gains = here[here["arm"] == "gain"]
    if set(gains["site"]) - {"all"} and gains["site"].nunique() == 2:
        gains = gains[gains["site"] != "all"]  # of one site, all of them says the same again
    for row in gains.to_dict("records"):
        where = "All of them" if row["site"] == "all" else str(row["site"])
        _verdict(row, f"{where}: gain in AUROC")


def outcome(found: pd.DataFrame, names: Mapping[str, str], command: str) -> None:
    """Does the image say more of the outcome than clinical variables do? Rows of Catalog.outcomes."""
    st.header("What becomes of the patient", anchor=False)
    st.caption(
        "Concordance: of two patients, how often the one to whom it happened earlier was given the higher risk (0.5 is a coin, 1 is "
        "always; Harrell's). Clinical variables alone, and with the tuned model's risk; both fitted on the tune split."
    )
    here = _choose(found, names, "outcome")
    if here is None:
        head.nothing_yet(
            "No run answers this",
            command,
            "It takes labels of days and event (`outcome_days('death')`, `outcome_observed('death')`), clinical covariates, and ten "
            "events a variable on the tune split.",
        )
        return
    arms = {str(r["arm"]): r for r in here.to_dict("records")}
    head.facts(
        {
            "Clinical alone": formats.metric(arms["untuned"]["value"]),
            "With the image": formats.metric(arms["tuned"]["value"]),
            "What the image adds": f"{arms['gain']['value']:+.3f}",
            "Studies": formats.count(arms["gain"]["n"]),
        }
    )
    _verdict(arms["gain"], "The image adds to concordance")


def _choose(found: pd.DataFrame, names: Mapping[str, str], key: str) -> pd.DataFrame | None:
    """The rows of one run, split and label, chosen on the page where there are several; None where nothing is found."""
    if found.empty:
        return None
    with st.container(horizontal=True):
        run_ids = [r for r in names if r in set(found["run_id"])]
        run_id = _select("Run", run_ids, f"{key}_run", names.__getitem__, width=340)
        here = found[found["run_id"] == run_id]
        splits = [s for s in SPLITS if s in set(here["split"])]
        split = _select("Judged on", splits, f"{key}_split", SPLITS.__getitem__, width=320)
        here = here[here["split"] == split]
        labels = sorted(here["label"].unique(), key=lambda v: (v != "macro", v))
        label = _select("Label", labels, f"{key}_label", formats.words, width=200)
    st.page_link(
        "views/run.py", label="Its run", icon=":material/model_training:", query_params={"run": str(run_id)}
    )
    return here[here["label"] == label]


def _select(title: str, options: Sequence[Any], key: str, words: Callable[[Any], str], *, width: int) -> Any:
    return st.selectbox(
        title,
        options,
        key=key,
        bind="query-params",
        format_func=words,
        width=width,
        disabled=len(options) < 2,
    )


def _verdict(row: Mapping[str, Any], what: str) -> None:
    """One sentence; an interval that holds 0 is called so."""
    if row["low"] != row["low"] or row["low"] is None:
        st.info(f"{what} {row['value']:+.3f}; no interval.", icon=":material/trending_flat:")
        return
    told = f"{what} {row['value']:+.3f}, 95 % interval {row['low']:+.3f} to {row['high']:+.3f}, {formats.count(row['n'])} studies"
    if row["low"] > 0:
        st.success(f"{told}.", icon=":material/trending_up:")
    elif not (row["value"] or row["low"] or row["high"]):
        st.info(f"{told}: tuned and untuned answer alike.", icon=":material/trending_flat:")
    elif row["high"] < 0:
        st.error(f"{told}: the wrong way.", icon=":material/trending_down:")
    else:
        st.info(f"{told}: the interval holds 0, so nothing is shown.", icon=":material/trending_flat:")
