"""What was learned, for whom, and whether to believe it: both arms on the same studies, per site always.

What belongs here: which cells are judged, paired gains, strata and subgroups, the shortcut audit, the verdict. What
does not: the metrics themselves (metrics), how they are shown (report). No torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import read_facts
from curation.records import LabelIssue, Metric
from training import (
    baselines,
    closed_form,
    continuous,
    decisions,
    generalisation,
    metrics,
    neighbours,
    provenance,
    strata,
    time_to_event,
)
from training.audit import ARMS, Item, Scores
from training.audits.blanking import Looked
from training.audits.columns import read_columns
from training.audits.label_audit import label_audit, said_by_reports
from training.audits.shortcut import shortcut_audit
from training.cells import JUDGED, Cell, Key, hidden_cells, iter_cells
from training.examples import Examples
from training.groups import read_strata
from training.spec import TuneSpec
from training.task import Task, find_task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Strings = NDArray[np.str_]
Measures = Mapping[str, Callable[[Floats], dict[str, Floats]]]
"""Arm -> weights [R, N] -> metric -> [R]."""

YES_OR_NO = ("multilabel", "multiclass")
"""Tasks whose outputs are labels somebody gave: yes or no."""

_THREADS = min(4, os.cpu_count() or 1)


@dataclass
class Evidence:
    """What `evaluate` found."""

    metrics: list[Metric] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    reliability: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows for the page's tables and plots, by name."""
    verdict: str = ""
    headline: dict[str, Any] = field(default_factory=dict)
    issues: list[LabelIssue] = field(default_factory=list)
    """Suspected labels, the most suspect first."""

    def take(self, name: str, found: tuple[list[Item], list[dict[str, Any]]]) -> None:
        """Lines, and their rows under a name."""
        self.items += found[0]
        self.tables[name] = found[1]


def evaluate(
    lake_root: Path,
    examples: Examples,
    names: Sequence[str],
    truth: Floats,
    scores: Scores,
    spec: TuneSpec,
    run_id: str,
    features: NDArray[np.float32],
    looked: Looked | None = None,
) -> Evidence:
    """Metrics with intervals, the audits and the verdict. looked: what the released model said once more (audits.blanking)."""
    found = Evidence()
    task = find_task(spec.task).prepared(examples.labels, examples.split == "train")
    groups, notes = read_strata(lake_root, examples, spec)
    found.items += provenance.lines(lake_root, examples, spec)
    found.take("near_duplicates", neighbours.near_duplicates(examples, features, spec.seed))
    found.items += notes
    min_cell = max(spec.report.min_cell, int(read_facts(examples.folder)["min_cell"]))
    p_values: dict[str, float | None] = {}
    cells = list(iter_cells(examples, scores, groups))
    hidden = hidden_cells(cells, examples.patient[scores.index], min_cell)
    found.items += _suppressed(cells, hidden)
    for cell in cells:
        if cell.key in hidden:
            continue
        rows, reasons, p_value = _judge(cell, examples, task, names, truth, scores, spec, run_id)
        found.metrics += rows
        found.items += reasons
        if cell.site == "all" and cell.subgroup == "all":
            p_values[cell.split] = p_value
    asked = (
        names if task.has_probabilities else ()
    )  # yes/no questions: DeLong, calibration, the audit of each label
    found.items += _arms(found.metrics, task.headline)
    if asked:
        areas = strata.all_areas(examples, asked, truth, scores, spec)
        _yes_no(found, examples, asked, truth, scores, spec, cells, hidden, areas)
        found.take("gaps", strata.gaps(areas, examples, scores, hidden))
        found.take("to_all", strata.to_all(areas, cells, hidden))
        found.take("worst_slices", strata.worst_slices(areas, groups, examples, scores, min_cell))
        found.take("left_out", generalisation.left_out(examples, asked, truth, scores, spec))
        found.take("matrix", generalisation.matrix(examples, asked, truth, features, spec))
    found.items += generalisation.never_seen(found.metrics, task.headline)
    found.items.append(generalisation.temporal())
    lines, curves, concordances = time_to_event.lines(examples, scores, spec, run_id)
    found.take("kaplan_meier", (lines, curves))
    found.metrics += concordances
    if spec.task.kind == "regression":
        found.items += continuous.lines(examples, names, truth, scores)
    found.reliability = _reliability(asked, truth, scores)
    recorded = read_columns(lake_root, examples)
    found.take(
        "shortcut", shortcut_audit(examples, asked, truth, scores, features, recorded, looked, spec.seed)
    )
    if spec.task.kind in YES_OR_NO:
        said = said_by_reports(lake_root, examples, names)
        found.issues, lines = label_audit(examples, names, truth, features, said, run_id, spec.seed)
        found.items += lines
    else:
        found.items.append(
            Item("labels", "label audit", "not_applicable", None, "the task has no yes/no labels")
        )
    found.headline, found.verdict = _verdict(found.metrics, p_values, task.headline)
    return found


def _yes_no(
    found: Evidence,
    examples: Examples,
    asked: Sequence[str],
    truth: Floats,
    scores: Scores,
    spec: TuneSpec,
    cells: Sequence[Cell],
    hidden: Mapping[Key, str],
    areas: Sequence[strata.Areas],
) -> None:
    """What is said of yes/no questions alone; nothing but the decision curve is resampled."""
    min_cell = max(spec.report.min_cell, int(read_facts(examples.folder)["min_cell"]))
    found.items += closed_form.gains(examples, asked, truth, scores)
    found.items += closed_form.micro(examples, asked, truth, scores)
    found.items += baselines.majority(examples, asked, truth, scores)
    if spec.task.kind != "survival":  # its clinical baseline is a concordance (time_to_event)
        found.items += baselines.clinical(examples, asked, truth, scores)
    found.take("points", decisions.points(asked, truth, scores))
    found.take("net_benefit", decisions.net_benefit(asked, truth, scores, areas))
    found.take("workload", decisions.workload(asked, truth, scores))
    found.items += closed_form.calibration(examples, asked, truth, scores, min_cell)
    found.items += closed_form.brier(asked, truth, scores)
    found.take("conformal", closed_form.conformal(asked, truth, scores, cells, hidden))


def _suppressed(cells: Sequence[Cell], hidden: Mapping[Key, str]) -> Iterator[Item]:
    """Which subgroups are not shown, and how many are."""
    n = sum(cell.subgroup != "all" and cell.key not in hidden for cell in cells)
    if any(cell.subgroup != "all" for cell in cells):
        yield Item(
            "subgroups", "cells", "computed", float(n), "subgroups shown, all splits together; see the table"
        )
    for cell in cells:
        if cell.key in hidden:
            text = f"{cell.split}: {cell.subgroup} {hidden[cell.key]}"
            yield Item("subgroups", "suppressed", "not_applicable", None, text)
    if not hidden:
        yield Item("subgroups", "suppressed", "computed", 0.0, "no subgroup was suppressed")


def _arms(rows: Sequence[Metric], metric: str) -> Iterator[Item]:
    """The table in a line a split: how many numbers, and the headline of both arms."""
    for split in JUDGED:
        here = [
            r
            for r in rows
            if (r.split, r.site, r.subgroup, r.name, r.arm) == (split, "all", "all", metric, "tuned")
        ]
        for r in here:
            interval = "" if r.low is None else f" [{r.low:.3f}, {r.high:.3f}]"
            status = "not_applicable" if r.value is None else "computed"
            text = (
                "only one class is there"
                if r.value is None
                else f"tuned {r.value:.3f}{interval}; {r.n} studies, see the table"
            )
            yield Item("discrimination", f"{metric.upper()}, {split}: {r.label}", status, r.value, text)


def _judge(
    cell: Cell,
    examples: Examples,
    task: Task,
    names: Sequence[str],
    truth: Floats,
    scores: Scores,
    spec: TuneSpec,
    run_id: str,
) -> tuple[list[Metric], list[Item], float | None]:
    """Metrics of one cell: each label, and their mean (`macro`) where there is more than one; p-value of the gain."""
    member = scores.index[cell.rows]
    n_replicates = 0 if cell.split == "tune" else spec.report.bootstrap
    draws = _draws(examples.patient[member], n_replicates, spec.seed)
    rows: list[Metric] = []
    items: list[Item] = []
    by_label: dict[str, dict[tuple[str, str], Floats]] = {}
    counts: dict[str, tuple[int, int | None]] = {}
    known = np.isfinite(truth[member])
    for c, label in enumerate(names):
        counts[label] = (int(known[:, c].sum()), task.n_positive(truth[member, c]))
        if not counts[label][0]:
            items.append(Item("discrimination", f"{cell.split}/{cell.site}/{cell.subgroup}/{label}", "not_applicable", None,
                              "no study of known label"))  # fmt: skip
    judged = [(c, label) for c, label in enumerate(names) if counts[label][0]]
    of = _values(task, cell, [c for c, _ in judged], truth[member], scores, draws)
    by_label |= {label: values for (_, label), values in zip(judged, of, strict=True)}
    if len(names) > 1:
        both = [by_label[label] for c, label in judged if task.is_judged(truth[member, c])]
        if both:
            shared = {k for k in set.intersection(*(set(v) for v in both)) if k[1] not in task.in_units}
            by_label["macro"] = {k: np.mean([v[k] for v in both], axis=0) for k in sorted(shared)}
        counts["macro"] = (int(cell.rows.sum()), None)
    for label, values in by_label.items():
        n, n_positive = counts[label]
        for (arm, name), replicates in values.items():
            e = metrics.estimate(replicates)
            rows.append(Metric(run_id, arm, cell.split, cell.site, cell.subgroup, label, name, e.value, e.low, e.high,
                               n, n_positive))  # fmt: skip
            if e.value is None and name == task.headline and arm == "tuned":
                where = f"{cell.split}/{cell.site}/{cell.subgroup}/{label}"
                items.append(Item("discrimination", where, "not_applicable", None, e.reason))
    lead = by_label.get("macro") or by_label.get(names[0]) or {}
    gains = lead.get(("gain", task.headline))
    return rows, items, None if gains is None else metrics.sign_p_value(gains)


def _draws(patients: Ints, n_replicates: int, seed: int) -> Iterator[Floats]:
    """Weights [r, n] in chunks of bounded size, the row of ones first."""
    _, dense = np.unique(patients, return_inverse=True)
    return metrics.draws_of(metrics.cluster_draws(dense, n_replicates, seed), dense)


def _values(
    task: Task, cell: Cell, columns: Sequence[int], truth: Floats, scores: Scores, draws: Iterator[Floats]
) -> list[dict[tuple[str, str], Floats]]:
    """Of each column of truth [M, C], (arm, metric) -> [1 + B], gains included: tuned minus untuned under the same draw.

    Labels side by side in threads: numpy and scipy work outside of the interpreter's lock.
    """
    rows = cell.rows

    def measures(c: int) -> Measures:
        of = {arm: (scores.probability[arm][rows, c], scores.threshold[arm][rows, c]) for arm in ARMS}
        return {arm: task.measure(truth[:, c], *of[arm]) for arm in ARMS}

    def under(measure: Measures, weights: Floats) -> dict[tuple[str, str], Floats]:
        return {(arm, name): values for arm in ARMS for name, values in measure[arm](weights).items()}

    with ThreadPoolExecutor(min(_THREADS, len(columns) or 1)) as pool:
        of_columns = list(pool.map(measures, columns))
        parts = [list(pool.map(under, of_columns, repeat(weights))) for weights in draws]
    return [
        _with_gains({key: np.concatenate([part[key] for part in of]) for key in of[0]})
        for of in zip(*parts, strict=True)
    ]


def _with_gains(found: dict[tuple[str, str], Floats]) -> dict[tuple[str, str], Floats]:
    names = {name for arm, name in found if arm == "tuned"} & {
        name for arm, name in found if arm == "untuned"
    }
    gains = {("gain", name): found["tuned", name] - found["untuned", name] for name in names}
    return dict(sorted((found | gains).items()))


def _reliability(names: Sequence[str], truth: Floats, scores: Scores) -> list[dict[str, Any]]:
    rows = []
    for split in ("test", "holdout"):
        here = scores.split == split
        for c, label in enumerate(names):
            for arm in ARMS:
                y, p = truth[scores.index[here], c], scores.probability[arm][here, c]
                known = np.isfinite(y)
                for mean_score, share, n in metrics.reliability(y[known], p[known]) if known.any() else ():
                    row = {
                        "split": split,
                        "label": label,
                        "arm": arm,
                        "score": mean_score,
                        "positive": share,
                        "n": n,
                    }
                    rows.append(row)
    return rows


def _verdict(
    rows: Sequence[Metric], p_values: Mapping[str, float | None], metric: str
) -> tuple[dict[str, Any], str]:
    """The headline numbers and one sentence. Judged on holdout where there is one that can be, else on test."""
    headline: dict[str, Any] = {}
    for split in ("holdout", "test"):
        label = "macro" if any(r.label == "macro" for r in rows) else None
        here = {
            r.arm: r
            for r in rows
            if (r.split, r.site, r.subgroup, r.name) == (split, "all", "all", metric)
            and label in (None, r.label)
        }
        if len(here) < 3 or here["gain"].value is None:
            continue
        headline[split] = {
            "metric": metric,
            **{arm: {"value": r.value, "low": r.low, "high": r.high} for arm, r in here.items()},
            "n": here["tuned"].n,
            "p": p_values.get(split),
        }
    if not headline:
        return headline, f"Nothing shown: {metric.upper()} cannot be given, on test or on holdout."
    split = "holdout" if "holdout" in headline else "test"
    gain = headline[split]["gain"]
    words = f"{metric.upper()} on {split} {headline[split]['untuned']['value']:.3f} -> {headline[split]['tuned']['value']:.3f}"
    if gain["low"] is None:
        return headline, f"{words}; no interval."
    interval = f"gain {gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    better, worse = gain["low"] > 0, gain["high"] < 0
    if metric in metrics.LOWER_IS_BETTER:
        better, worse = worse, better
    judged = "a gain" if better else "a loss" if worse else "no gain shown"
    return headline, f"{words}; {interval}: {judged}."
