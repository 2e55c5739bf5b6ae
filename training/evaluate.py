"""What was learned, for whom, and whether to believe it: both arms on the same studies, per site always.

What belongs here: which cells are judged, paired gains, strata and subgroups, the shortcut audit, the verdict. What
does not: the metrics themselves (metrics), how they are shown (report). No torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import read_facts
from curation.lake import Lake
from curation.records import ConfigurationError, LabelIssue, Metric, schema_of
from curation.records import Study as StudyRow
from training import closed_form, metrics, time_to_event
from training.audit import ARMS, Item, Scores, audit
from training.audits.label_audit import label_audit, said_by_reports
from training.cells import UNKNOWN, Cell, hidden_cells, iter_cells
from training.examples import Examples
from training.spec import TuneSpec
from training.task import Task, find_task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Strings = NDArray[np.str_]

YES_OR_NO = ("multilabel", "multiclass")
"""Tasks whose outputs are labels somebody gave: yes or no."""

_AGE_BANDS = ((0, 18, "0-17"), (18, 40, "18-39"), (40, 65, "40-64"), (65, 999, "65+"))
_CHUNK = 500_000
"""Weights held at once by the bootstrap: 4 MB, so that they stay in the processor's cache."""


_THREADS = min(4, os.cpu_count() or 1)


@dataclass
class Evidence:
    """What `evaluate` found."""

    metrics: list[Metric] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    reliability: list[dict[str, Any]] = field(default_factory=list)
    verdict: str = ""
    headline: dict[str, Any] = field(default_factory=dict)
    issues: list[LabelIssue] = field(default_factory=list)
    """Suspected labels, the most suspect first."""


def evaluate(
    lake_root: Path,
    examples: Examples,
    names: Sequence[str],
    truth: Floats,
    scores: Scores,
    spec: TuneSpec,
    run_id: str,
    features: NDArray[np.float32],
) -> Evidence:
    """Metrics with intervals, the audit and the verdict."""
    found = Evidence()
    task = find_task(spec.task).prepared(examples.labels, examples.split == "train")
    strata, notes = _strata(lake_root, examples, spec)
    found.items += notes
    min_cell = max(spec.report.min_cell, int(read_facts(examples.folder)["min_cell"]))
    p_values: dict[str, float | None] = {}
    cells = list(iter_cells(examples, scores, strata))
    hidden = hidden_cells(cells, examples.patient[scores.index], min_cell)
    for cell in cells:
        if cell.key in hidden:
            text = f"{cell.split}: {cell.subgroup} {hidden[cell.key]}"
            found.items.append(Item("subgroups", "suppressed", "not_applicable", None, text))
            continue
        rows, reasons, p_value = _judge(cell, examples, task, names, truth, scores, spec, run_id)
        found.metrics += rows
        found.items += reasons
        if cell.site == "all" and cell.subgroup == "all":
            p_values[cell.split] = p_value
    asked = (
        names if task.has_probabilities else ()
    )  # yes/no questions: DeLong, calibration, the audit of each label
    found.items += closed_form.gains(examples, asked, truth, scores)
    found.items += closed_form.calibration(examples, asked, truth, scores, min_cell)
    found.items += time_to_event.lines(examples, scores, spec)
    found.reliability = _reliability(asked, truth, scores)
    found.items += audit(examples, asked, truth, scores, features, spec.seed)
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
    with (
        metrics.one_thread_each(),
        ThreadPoolExecutor(min(_THREADS, len(judged) or 1)) as pool,
    ):  # numpy works outside of the interpreter's lock
        of = [pool.submit(_values, task, cell, c, truth[member, c], scores, draws) for c, _ in judged]
        by_label |= {label: values.result() for (_, label), values in zip(judged, of, strict=True)}
    if len(names) > 1:
        both = [by_label[label] for c, label in judged if task.is_judged(truth[member, c])]
        if both:
            shared = set.intersection(*(set(v) for v in both))
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


def _draws(patients: Ints, n_replicates: int, seed: int) -> Callable[[], Iterator[NDArray[np.float64]]]:
    """Gives, each time it is called, the same weights [r, n] in chunks of bounded size."""
    _, dense = np.unique(patients, return_inverse=True)
    draws = metrics.cluster_draws(dense, n_replicates, seed)
    step = max(1, _CHUNK // max(1, len(patients)))

    def chunks() -> Iterator[NDArray[np.float64]]:
        for start in range(0, len(draws), step):
            yield np.take(draws[start : start + step], dense, axis=1).astype(np.float64)

    return chunks


def _values(
    task: Task, cell: Cell, c: int, truth: Floats, scores: Scores, draws: Callable[[], Iterator[Floats]]
) -> dict[tuple[str, str], Floats]:
    """(arm, metric) -> [1 + B], gains included: tuned minus untuned under the same draw."""
    found: dict[tuple[str, str], list[Floats]] = {}
    rows = cell.rows
    measure = {
        arm: task.measure(truth, scores.probability[arm][rows, c], scores.threshold[arm][rows, c])
        for arm in ARMS
    }
    for chunk in draws():
        by_arm = {arm: measure[arm](chunk) for arm in ARMS}
        for arm in ARMS:
            for name, values in by_arm[arm].items():
                found.setdefault((arm, name), []).append(values)
        for name in by_arm["tuned"].keys() & by_arm["untuned"].keys():
            found.setdefault(("gain", name), []).append(by_arm["tuned"][name] - by_arm["untuned"][name])
    return {key: np.concatenate(found[key]) for key in sorted(found)}


def _strata(lake_root: Path, examples: Examples, spec: TuneSpec) -> tuple[dict[str, Strings], list[Item]]:
    """Stratum name -> [N] value of each member, and what could not be had."""
    strata: dict[str, Strings] = {}
    items: list[Item] = []
    for name, values in examples.covariates.items():
        known = values[np.isfinite(values)]
        if set(known.tolist()) <= {0.0, 1.0}:
            strata[name] = np.where(values == 1, "yes", np.where(values == 0, "no", UNKNOWN))
        else:
            items.append(Item("subgroups", name, "not_applicable", None, "the covariate is not yes or no"))
    wanted = [s for s in spec.report.subgroups if s != "site"]
    if not wanted:
        return strata, items
    facts = _study_facts(lake_root, examples)
    for name in wanted:
        column = "age_years" if name == "age_band" else name
        if facts is None:
            items.append(
                Item("subgroups", name, "missing", None, "the cohort's snapshot is not in this lake")
            )
        elif column not in facts:
            raise ConfigurationError(
                f"report.subgroups: {name!r} is no column of studies; there are age_band, {', '.join(sorted(facts))}."
            )
        else:
            values_of = facts[column]
            found = [values_of.get(s) for s in examples.study_id]
            strata[name] = np.array(
                [_band(v) if name == "age_band" else UNKNOWN if v is None else str(v) for v in found]
            )
    return strata, items


def _study_facts(lake_root: Path, examples: Examples) -> dict[str, dict[Any, Any]] | None:
    """Plain columns of `studies` at the cohort's snapshot: column -> study -> value; None where the lake has none."""
    number = int(read_facts(examples.folder)["snapshot"])
    if not (lake_root / "snapshots" / f"{number:08d}.json").is_file():
        return None
    plain = [f.name for f in schema_of(StudyRow) if str(f.type) in ("string", "double", "int32", "bool")]
    connection = Lake(lake_root).connect(number)
    try:
        table: Any = connection.sql(f"SELECT study_id, {', '.join(plain)} FROM studies").to_arrow_table()
    finally:
        connection.close()
    wanted = set(examples.study_id)
    studies = table["study_id"].to_pylist()
    return {
        name: {s: v for s, v in zip(studies, table[name].to_pylist(), strict=True) if s in wanted}
        for name in plain
    }


def _band(age_years: float | None) -> str:
    if age_years is None:
        return UNKNOWN
    return next(name for low, high, name in _AGE_BANDS if low <= age_years < high)


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
