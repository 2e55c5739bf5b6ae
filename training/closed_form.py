"""Lines of the evaluation that need no resampling: DeLong's interval of the gain, and how probabilities mean what they say.

What belongs here: which studies each line is about, and its words. What does not: the arithmetic (delong, calibration),
the bootstrap (evaluate).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, norm

from training import delong, metrics
from training.audit import COHORT, Item, Scores
from training.calibration import (
    at_temperature,
    brier_parts,
    calibration_line,
    conformal_cut,
    fit_temperature,
)
from training.cells import JUDGED, Cell, Key, Question, iter_questions
from training.examples import Examples

Floats = NDArray[np.float64]
_Z = float(norm.ppf(0.975))
COVERAGE = 0.9
"""What a conformal set promises of each class."""


def gains(examples: Examples, names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """Section `discrimination`: tuned minus untuned AUROC of each label, its interval and p by DeLong over patients.

    Where there are several labels, each p is held against their number: Holm 1979 (no false gain at all), Benjamini and
    Hochberg 1995 (share of false gains).
    """
    found: dict[str, dict[str, float]] = {}
    for q in iter_questions(names, truth, scores):
        first, second = (scores.probability[arm][q.rows, q.c] for arm in ("untuned", "tuned"))
        where = f"DeLong, {q.split}: {q.label}"
        try:
            gain = delong.compare(q.y, first, second, examples.patient[scores.index[q.rows]])
        except ValueError as why:
            yield Item("discrimination", where, "not_applicable", None, str(why))
            continue
        found.setdefault(q.split, {})[q.label] = gain.p_value
        text = (
            f"AUROC tuned minus untuned {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], patients as "
            f"clusters; p = {gain.p_value:.3g}"
        )
        yield Item("discrimination", where, "computed", gain.p_value, text)
    yield from _over_labels(found, len(names))


def _over_labels(p_values: Mapping[str, Mapping[str, float]], n_labels: int) -> Iterator[Item]:
    if n_labels < 2:
        yield Item("discrimination", "over labels", "not_applicable", None, "one label")
    for split, of in p_values.items() if n_labels > 1 else ():
        each = np.array(list(of.values()))
        both = zip(of, each, holm(each), false_discovery_control(each), strict=True)
        for label, p, strict, shared in both:
            text = f"p = {p:.3g} of {len(each)} labels: Holm {strict:.3g}, Benjamini-Hochberg {shared:.3g}"
            yield Item("discrimination", f"over labels, {split}: {label}", "computed", float(strict), text)


def holm(p_values: Floats) -> Floats:
    """[K] p-values adjusted by Holm's step-down procedure, in the order given."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * (len(p_values) - np.arange(len(p_values))))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def micro(examples: Examples, names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """Section `discrimination`: AUROC over the answers to all labels together, patients as clusters."""
    if len(names) < 2:
        yield Item("discrimination", "micro", "not_applicable", None, "one label")
        return
    questions = list(iter_questions(names, truth, scores))
    for split in JUDGED:
        of = [q for q in questions if q.split == split]
        if not of:
            continue
        y = np.concatenate([q.y for q in of])
        patient = np.concatenate([examples.patient[scores.index[q.rows]] for q in of])
        arms = [
            np.concatenate([scores.probability[arm][q.rows, q.c] for q in of]) for arm in ("untuned", "tuned")
        ]
        try:
            areas, covariance = delong.auc_covariance(y, np.stack(arms), patient)
        except ValueError as why:
            yield Item("discrimination", f"micro, {split}", "not_applicable", None, str(why))
            continue
        error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
        gain = float(areas[1] - areas[0])
        text = (
            f"AUROC over {len(y)} answers to {len(of)} labels: untuned {areas[0]:.3f}, tuned {areas[1]:.3f}, "
            f"{gain:+.3f} [{gain - _Z * error:+.3f}, {gain + _Z * error:+.3f}]"
        )
        yield Item("discrimination", f"micro, {split}", "computed", float(areas[1]), text)


def calibration(
    examples: Examples, names: Sequence[str], truth: Floats, scores: Scores, min_cell: int
) -> Iterator[Item]:
    """Section `calibration`: the tuned arm's temperature from the tune split, and what it mends at each site."""
    for c, label in enumerate(names):
        by_fold = {
            fold: _temperature(truth, scores, fold, c) for fold in sorted(set(scores.folds().tolist()))
        }
        temperature, n = by_fold.get(COHORT, (None, 0))
        if temperature is None:
            text = "the tune split has one class of known labels"
            yield Item("calibration", f"{label}: temperature", "not_applicable", None, text)
            continue
        text = f"temperature {temperature:.2f}, from {n} studies of the tune split; 1 is none, above 1 overconfident"
        yield Item("calibration", f"{label}: temperature", "computed", temperature, text)
        each = np.array([by_fold[fold][0] or np.nan for fold in scores.folds().tolist()])
        sites = examples.site[scores.index]
        for q in iter_questions([label], truth[:, [c]], scores):
            for site in ("all", *sorted(set(sites[q.rows].tolist()))):
                inside = np.full(len(q.rows), True) if site == "all" else sites[q.rows] == site
                y, rows = q.y[inside], q.rows[inside]
                where = f"{label}: {q.split}, {'all sites' if site == 'all' else site}"
                if len(y) < min_cell or not 0 < y.sum() < len(y):
                    text = f"fewer than {min_cell} studies, or one class"
                    yield Item("calibration", where, "not_applicable", None, text)
                elif np.isnan(each[rows]).any():
                    text = "a fit that judged here had one class on its tune split"
                    yield Item("calibration", where, "not_applicable", None, text)
                else:
                    yield _line(where, y, scores.probability["tuned"][rows, c], each[rows])


def _temperature(truth: Floats, scores: Scores, fold: str, c: int) -> tuple[float | None, int]:
    """The temperature of one label from a fold's tune split, and of how many studies; None with one class."""
    tune = scores.tune_of(fold)
    known = np.isfinite(truth[tune.index, c])
    y, p = truth[tune.index, c][known], tune.probability["tuned"][known, c]
    return (fit_temperature(y, p) if 0 < y.sum() < len(y) else None), len(y)


def _line(where: str, y: Floats, p: Floats, temperature: Floats) -> Item:
    ones = np.ones((1, len(y)))
    before = float(metrics.ece(y, p, ones)[0])
    after = float(metrics.ece(y, at_temperature(p, temperature), ones)[0])
    intercept, slope = calibration_line(y, p)
    text = (
        f"ECE {before:.3f}, with the temperature {after:.3f}; line: intercept {intercept:+.2f} (0 is right), slope "
        f"{slope:.2f} (1 is right); {len(y)} studies"
    )
    return Item("calibration", where, "computed", after - before, text)


def brier(names: Sequence[str], truth: Floats, scores: Scores) -> Iterator[Item]:
    """Section `calibration`: the Brier score of both arms, taken apart."""
    for q in iter_questions(names, truth, scores):
        told = []
        for arm in ("untuned", "tuned"):
            p = scores.probability[arm][q.rows, q.c]
            parts = brier_parts(q.y, p)
            whole = float(((p - q.y) ** 2).mean())
            told.append(
                f"{arm} {whole:.4f} = reliability {parts.reliability:.4f} - resolution {parts.resolution:.4f} + "
                f"uncertainty {parts.uncertainty:.4f} + within bins {parts.within:+.4f}"
            )
        yield Item("calibration", f"Brier, {q.split}: {q.label}", "computed", whole, "; ".join(told))


def conformal(
    names: Sequence[str], truth: Floats, scores: Scores, cells: Sequence[Cell], hidden: Mapping[Key, str]
) -> tuple[list[Item], list[dict[str, Any]]]:
    """Section `calibration`: coverage of the tuned arm's conformal sets, of all and of each shown site and subgroup."""
    items, table = list[Item](), list[dict[str, Any]]()
    for q in iter_questions(names, truth, scores):
        covered, size = _sets(truth, scores, q)
        where = f"conformal, {q.split}: {q.label}"
        if np.isnan(size).any():
            text = f"a tune split holds fewer than {round(1 / (1 - COVERAGE)) - 1} studies of a class"
            items.append(Item("calibration", where, "not_applicable", None, text))
            continue
        parts = {}
        for cell in cells:
            inside = cell.rows[q.rows]
            if cell.split == q.split and cell.key not in hidden and inside.any():
                name = (
                    cell.subgroup
                    if cell.subgroup != "all"
                    else f"site={cell.site}"
                    if cell.site != "all"
                    else "all"
                )
                parts[name] = (float(covered[inside].mean()), int(inside.sum()))
                table.append({"split": q.split, "label": q.label, "group": name, "coverage": parts[name][0],
                              "mean_size": float(size[inside].mean()), "n": parts[name][1]})  # fmt: skip
        lowest = min(parts, key=lambda name: parts[name][0])
        of_class = [
            f"{covered[q.y == k].mean():.3f} of the {w}"
            for k, w in ((1, "positive"), (0, "negative"))
            if (q.y == k).any()
        ]
        text = (
            f"coverage {covered.mean():.3f} where {COVERAGE:g} is promised ({', '.join(of_class)}); {size.mean():.2f} answers a "
            f"set; lowest in {lowest}: {parts[lowest][0]:.3f} of {parts[lowest][1]}. Binary sets, each class its own cut"
        )
        items.append(Item("calibration", where, "computed", float(covered.mean()), text))
    return items, table


def _sets(truth: Floats, scores: Scores, q: Question) -> tuple[Floats, Floats]:
    """[n] whether the truth is in the set, [n] answers in the set; NaN where a fold's tune split gives no cut."""
    p, folds = scores.probability["tuned"][q.rows, q.c], scores.folds()[q.rows]
    covered, size = np.full(len(p), np.nan), np.full(len(p), np.nan)
    for fold in sorted(set(folds.tolist())):
        tune = scores.tune_of(fold)
        known = np.isfinite(truth[tune.index, q.c])
        y, own = truth[tune.index, q.c][known], tune.probability["tuned"][known, q.c]
        cuts = [conformal_cut(y, own, positive, COVERAGE) for positive in (True, False)]
        if cuts[0] is None or cuts[1] is None:
            continue
        here = folds == fold
        with_yes, with_no = 1 - p[here] <= cuts[0], p[here] <= cuts[1]
        covered[here] = np.where(q.y[here] == 1, with_yes, with_no)
        size[here] = with_yes.astype(np.float64) + with_no
    return covered, size
