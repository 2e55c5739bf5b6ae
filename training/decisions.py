"""Section `operating`: what both arms do at points fixed on the tune split, and what acting on them is worth.

What belongs here: which studies are counted, the lines and the curves for the page. What does not: the arithmetic
(operating, calibration).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training import operating
from training.audit import ARMS, Item, Scores
from training.calibration import calibration_line, on_line
from training.cells import Question, iter_questions
from training.strata import Areas

Floats = NDArray[np.float64]
Table = list[dict[str, Any]]

CHANCES = np.round(np.arange(0.01, 0.96, 0.01), 2)
"""Thresholds of the decision curve."""
_SAID = (0.05, 0.1, 0.2, 0.5)
_FOUND = np.array([0.5, 0.8, 0.9, 0.95, 1.0])
_CURVE = np.linspace(0, 1, 41)


def points(names: Sequence[str], truth: Floats, scores: Scores) -> tuple[list[Item], Table]:
    """Sensitivity, specificity, PPV and NPV of each label at each point; rows for the page."""
    items, table = list[Item](), Table()
    for q in iter_questions(names, truth, scores):
        by_arm = {arm: _thresholds(q, truth, scores, arm) for arm in ARMS}
        for number, point in enumerate(operating.POINTS):
            where = f"point {point}, {q.split}: {q.label}"
            at = {arm: by_arm[arm][:, number] for arm in ARMS}
            if any(np.isnan(t).any() for t in at.values()):
                text = "the tune split holds one class of known labels, so no point could be fixed"
                items.append(Item("operating", where, "not_applicable", None, text))
                continue
            told = []
            for arm in ("tuned", "untuned"):
                found = operating.counts_at(q.y, scores.probability[arm][q.rows, q.c], at[arm])
                told.append(f"{arm}: " + ", ".join(f"{name} {share}" for name, share in found.items()))
                row: dict[str, Any] = {
                    "split": q.split,
                    "label": q.label,
                    "point": point,
                    "arm": arm,
                    "threshold": float(at[arm][0]),
                }
                for name, share in found.items():
                    row[name] = {"value": share.value, "low": share.low, "high": share.high, "n": share.n}
                table.append(row)
            text = f"{'; '.join(told)}. Wilson intervals, a study each"
            items.append(Item("operating", where, "computed", float(at["tuned"][0]), text))
    return items, table


def net_benefit(
    names: Sequence[str], truth: Floats, scores: Scores, areas: Sequence[Areas]
) -> tuple[list[Item], Table]:
    """The decision curve of each label; probabilities put on the tune split's calibration line first, for weights shift them.

    Intervals by the draws of `areas`, both arms under the same ones; the calibration line stays as it is.
    """
    items, table, draws = list[Item](), Table(), {of.split: of for of in areas}
    for q in iter_questions(names, truth, scores):
        where = f"net benefit, {q.split}: {q.label}"
        mended = {arm: _on_tune_line(q, truth, scores, arm) for arm in ARMS}
        if not q.has_both or any(np.isnan(p).any() for p in mended.values()):
            text = "one class of known labels, here or on the tune split"
            items.append(Item("operating", where, "not_applicable", None, text))
            continue
        under = {arm: operating.net_benefit(q.y, mended[arm], CHANCES) for arm in ARMS}
        parts = [{arm: under[arm](w) for arm in ARMS} for w in draws[q.split].weights(q.rows)]
        curve = {arm: np.concatenate([part[arm] for part in parts]) for arm in ARMS}  # [1 + B, T]
        curve["gain"] = curve["tuned"] - curve["untuned"]
        curve["all"] = operating.treat_all(q.y, CHANCES)[None]
        items.append(
            Item("operating", where, "computed", *_curve_words({k: _ends(v) for k, v in curve.items()}))
        )
        for name, replicates in curve.items():
            value, low, high = _ends(replicates)
            row = {"split": q.split, "label": q.label, "line": name, "at": CHANCES.tolist()}
            row["net_benefit"] = np.round(value, 6).tolist()
            row |= (
                {}
                if low is None or high is None
                else {"low": np.round(low, 6).tolist(), "high": np.round(high, 6).tolist()}
            )
            table.append(row)
    return items, table


def _ends(replicates: Floats) -> tuple[Floats, Floats | None, Floats | None]:
    """[T] estimates of replicates [1 + B, T] and both ends of their 95 % intervals, none without draws."""
    if len(replicates) < 2:
        return replicates[0], None, None
    low, high = np.quantile(replicates[1:], [0.025, 0.975], axis=0)
    return replicates[0], low, high


def _curve_words(curve: Mapping[str, tuple[Floats, Floats | None, Floats | None]]) -> tuple[float, str]:
    """Share of the thresholds at which tuned is ahead, and a decision curve in words."""

    def said(name: str, k: int) -> str:
        value, low, high = curve[name]
        ends = "" if low is None or high is None else f" [{low[k]:+.4f}, {high[k]:+.4f}]"
        return f"{value[k]:+.4f}{ends}"

    best_other = np.maximum.reduce([curve["untuned"][0], curve["all"][0], np.zeros(len(CHANCES))])
    ahead = float((curve["tuned"][0] > best_other + 1e-12).mean())
    told = "; ".join(
        f"at {at:g}: tuned {said('tuned', k)}, untuned {said('untuned', k)}, tuned minus untuned {said('gain', k)}, "
        f"all {said('all', k)}"
        for at in _SAID
        for k in [int(np.flatnonzero(at == CHANCES)[0])]
    )
    return (
        ahead,
        f"{told}. Tuned is ahead of untuned, all and none at {ahead:.0%} of the thresholds from 0.01 to 0.95",
    )


def workload(names: Sequence[str], truth: Floats, scores: Scores) -> tuple[list[Item], Table]:
    """How much must be read until most positives are found, both arms."""
    items, table = list[Item](), Table()
    for q in iter_questions(names, truth, scores):
        where = f"workload, {q.split}: {q.label}"
        if not q.has_both:
            items.append(Item("operating", where, "not_applicable", None, "one class of known labels"))
            continue
        of = {arm: scores.probability[arm][q.rows, q.c] for arm in ARMS}
        read = {arm: operating.workload(q.y, of[arm], _FOUND) for arm in ARMS}
        said = "; ".join(
            f"{share:.0%} of the positives after {read['tuned'][k]:.0%} of the studies (untuned {read['untuned'][k]:.0%})"
            for k, share in enumerate(_FOUND)
        )
        items.append(Item("operating", where, "computed", float(read["tuned"][2]), said))
        for arm in ARMS:
            values = operating.workload(q.y, of[arm], _CURVE)
            table.append({"split": q.split, "label": q.label, "arm": arm, "found": _CURVE.tolist(),
                          "read": np.round(values, 6).tolist()})  # fmt: skip
    return items, table


def _thresholds(q: Question, truth: Floats, scores: Scores, arm: str) -> Floats:
    """[n, POINTS] of each judged study, from the tune split of the fit that judged it; NaN where there is none."""
    folds, found = scores.folds()[q.rows], np.full((len(q.rows), len(operating.POINTS)), np.nan)
    for fold in sorted(set(folds.tolist())):
        tune = scores.tune_of(fold)
        chosen = operating.choose_points(truth[tune.index, q.c], tune.probability[arm][:, q.c])
        if chosen is not None:
            found[folds == fold] = list(chosen.values())
    return found


def _on_tune_line(q: Question, truth: Floats, scores: Scores, arm: str) -> Floats:
    """[n] probabilities on the calibration line of the fold's tune split; NaN where that holds one class."""
    folds, found = scores.folds()[q.rows], np.full(len(q.rows), np.nan)
    for fold in sorted(set(folds.tolist())):
        tune = scores.tune_of(fold)
        known = np.isfinite(truth[tune.index, q.c])
        y, p = truth[tune.index, q.c][known], tune.probability[arm][known, q.c]
        if 0 < y.sum() < len(y):
            here = folds == fold
            found[here] = on_line(scores.probability[arm][q.rows[here], q.c], *calibration_line(y, p))
    return found
