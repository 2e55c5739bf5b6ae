"""The studies that finished runs judged alike: the same truth, and the answers of every run and arm.

What belongs here: reading predictions back, which labels and splits runs share, where their truths differ. What does not: what
is computed of it (compare). A question is of one of three kinds: yes or no, a measurement, or the time to an event, whose days
come from the runs' cohorts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.records import ConfigurationError
from training.examples import read_examples
from training.runs import read_run
from training.tasks.survival import seen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ARMS = ("untuned", "tuned")
MACRO = "macro"
YES_NO, MEASURED, TIME = "yes or no", "measurement", "time to an event"
METRICS: Mapping[str, tuple[str, ...]] = {
    YES_NO: ("auroc", "auprc", "brier", "ece"),
    MEASURED: ("mae", "rmse", "r2", "pearson", "spearman"),
    TIME: ("c_index",),
}
"""What needs answers alone, by kind. Sensitivity and specificity need each run's own operating point: see the run's page."""
_IN_UNITS = ("mae", "rmse")
"""No mean over labels."""


@dataclass(frozen=True)
class Common:
    """What several runs judged alike: N studies, L labels."""

    run_ids: tuple[str, ...]
    split: str
    labels: tuple[str, ...]
    patient: Ints
    """[N] patient number."""
    site: NDArray[np.str_]
    truth: Floats
    """[N, L] NaN where unknown, or where the runs hold different truths; of a time: whether the event was seen."""
    scores: Mapping[tuple[str, str], Floats]
    """(run, arm) -> [N, L] probabilities or values; of a time [N, 1] risk, higher is sooner."""
    n_own: Mapping[str, int]
    """Run -> how many studies it judged in this split."""
    n_disputed: int
    """Studies with a label of which the runs hold different truths: not judged by that label."""
    kind: str = YES_NO
    days: Floats = field(default_factory=lambda: np.zeros(0))
    """[N] days to the event or to the end of observation; of other kinds empty."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What these runs can be compared by, the usual one first."""
        return metrics_of(self.kind, MACRO if len(self.labels) > 1 else self.labels[0])

    @property
    def n_missing(self) -> int:
        """How many studies at most one run judged and another did not."""
        return max(self.n_own.values()) - len(self.patient)

    @property
    def is_same(self) -> bool:
        """Whether every run was judged on exactly these studies by the same truth."""
        return not self.n_disputed and all(n == len(self.patient) for n in self.n_own.values())


def metrics_of(kind: str, label: str) -> tuple[str, ...]:
    """What runs can be compared by on a label of a kind: errors in a unit have no mean over labels."""
    if kind == MEASURED and label == MACRO:
        return tuple(name for name in METRICS[kind] if name not in _IN_UNITS)
    return METRICS[kind]


def judged_labels(lake_root: Path, run_ids: Sequence[str]) -> list[str]:
    """Labels that every run judged, in alphabetical order; `macro` first where there are several. Of survival runs these are the
    questions by a horizon, and last the event itself, whose time is judged.
    """
    shared = set.intersection(*(set(_read(lake_root, r)["label"].unique().to_pylist()) for r in run_ids))
    events = [_event(lake_root, run) for run in run_ids]
    whole = {events[0]} if events[0] and len(set(events)) == 1 else set()
    return [*([MACRO] if len(shared) > 1 else []), *sorted(shared), *sorted(whole - {None})]


def judged_splits(lake_root: Path, run_ids: Sequence[str]) -> list[str]:
    """Splits that every run judged: test before holdout before tune before train."""
    shared = set.intersection(*(set(_read(lake_root, r)["split"].unique().to_pylist()) for r in run_ids))
    return [s for s in ("test", "holdout", "tune", "train") if s in shared]


def kind_of(lake_root: Path, run_ids: Sequence[str], label: str) -> str:
    """Which kind of question a label is. Raises ConfigurationError where runs differ in that."""
    tasks = [_task(lake_root, run) for run in run_ids]
    is_time = [_event(lake_root, run) == label for run in run_ids]
    kinds = {
        TIME if time else MEASURED if task.get("kind") == "regression" else YES_NO
        for task, time in zip(tasks, is_time, strict=True)
    }
    if len(kinds) > 1:
        raise ConfigurationError(
            f"{label} is a {' for one run and a '.join(sorted(kinds))} for another: choose runs of one task."
        )
    return kinds.pop()


def common_studies(lake_root: Path, run_ids: Sequence[str], split: str, label: str) -> Common:
    """The studies of a split that every run judged, with the scores of each.

    `label` is one label or `macro`. Raises ConfigurationError where a run has no predictions or no study is shared.
    """
    labels = judged_labels(lake_root, run_ids)
    if label not in (MACRO, *labels):
        raise ConfigurationError(
            f"Not every run judged {label!r}; they share: {', '.join(labels) or 'none'}."
        )
    kind = kind_of(lake_root, run_ids, label)
    events = {_event(lake_root, run) for run in run_ids}
    wanted = tuple(x for x in labels if x not in (MACRO, *events)) if label == MACRO else (label,)
    if kind == TIME:
        tables = {run: _times(lake_root, run, split) for run in run_ids}
    else:
        tables = {run: _of(_read(lake_root, run), split, wanted) for run in run_ids}
    shared = set.intersection(*(set(t.rows) for t in tables.values()))
    if not shared:
        raise ConfigurationError(
            f"These runs share no study of the split {split}: there is nothing to compare."
        )
    keys = sorted(shared)
    first = tables[run_ids[0]]
    truths = np.stack([tables[run].take(keys, "target") for run in run_ids])  # [runs, N, L]
    if kind == YES_NO and not np.isin(truths[np.isfinite(truths)], (0.0, 1.0)).all():
        raise ConfigurationError(
            f"{label} is no yes or no: runs of such tasks are compared by their own reports."
        )
    is_disputed = _differ(truths)
    days = np.zeros((len(run_ids), len(keys), 0))
    if kind == TIME:
        days = np.stack([tables[run].take(keys, "days") for run in run_ids])
        is_disputed |= _differ(days)
    who = [first.who[key] for key in keys]
    numbers: dict[str, int] = {}
    return Common(
        run_ids=tuple(run_ids),
        split=split,
        labels=wanted,
        patient=np.array([numbers.setdefault(patient, len(numbers)) for patient, _ in who], np.int64),
        site=np.array([site for _, site in who], np.str_),
        truth=np.where(is_disputed, np.nan, truths[0]),
        scores={(run, arm): tables[run].take(keys, arm) for run in run_ids for arm in ARMS},
        n_own={run: len(tables[run].rows) for run in run_ids},
        n_disputed=int(is_disputed.any(1).sum()),
        kind=kind,
        days=days[0].reshape(-1),
    )


def _differ(truths: Floats) -> NDArray[np.bool_]:
    """[N, L] where runs hold different truths [runs, N, L], or one of them none."""
    some, every = np.isfinite(truths).any(0), np.isfinite(truths).all(0)
    return np.asarray((some & ~every) | (np.nan_to_num(truths.max(0) - truths.min(0)) > 0))


@dataclass(frozen=True)
class _Of:
    """The predictions of one run in one split. rows: study and series -> place in the columns."""

    rows: Mapping[str, int]
    who: Mapping[str, tuple[str, str]]
    columns: Mapping[str, Floats]

    def take(self, keys: Sequence[str], name: str) -> Floats:
        return self.columns[name][[self.rows[key] for key in keys]]


def _read(lake_root: Path, run_id: str) -> Any:
    path = lake_root / "runs" / run_id / "predictions.parquet"
    if not path.is_file():
        raise ConfigurationError(
            f"Run {run_id} has no predictions: let it finish (rwid tune) before comparing it."
        )
    return pq.read_table(path)


def _task(lake_root: Path, run_id: str) -> Mapping[str, Any]:
    task: Mapping[str, Any] = read_run(lake_root, run_id)["spec"]["task"]
    return task


def _event(lake_root: Path, run_id: str) -> str | None:
    """The event whose time a survival run foretells; None for other runs."""
    task = _task(lake_root, run_id)
    return str(task["labels"][1]) if task.get("kind") == "survival" else None


def _times(lake_root: Path, run_id: str, split: str) -> _Of:
    """A survival run's risk (the mean chance over its own horizons), with days and event from its cohort."""
    table = _read(lake_root, run_id)
    of = _of(table, split, sorted(table["label"].unique().to_pylist()))
    folder = lake_root / "cohorts" / str(read_run(lake_root, run_id)["cohort_id"])
    if not (folder / "members.parquet").is_file():
        raise ConfigurationError(
            f"The cohort of run {run_id} is not in this lake, and with it the days; its horizons can be compared."
        )
    examples = read_examples(folder, list(_task(lake_root, run_id)["labels"]))
    days, event, known = seen(examples.labels)
    truth = {"days": days, "target": np.where(known, event.astype(np.float64), np.nan)}
    columns = {name: np.full((len(of.rows), 1), np.nan) for name in truth}
    for at, (study, series) in enumerate(zip(examples.study_id, examples.series_id, strict=True)):
        row = of.rows.get(f"{study}/{series}")
        if row is not None:
            for name, values in truth.items():
                columns[name][row] = values[at]
    risk = {arm: of.columns[arm].mean(1, keepdims=True) for arm in ARMS}
    return replace(of, columns={**columns, **risk})


def _of(table: Any, split: str, labels: Sequence[str]) -> _Of:
    table = table.filter(pc.equal(table["split"], split))
    keys = [
        f"{a}/{b}" for a, b in zip(table["study_id"].to_pylist(), table["series_id"].to_pylist(), strict=True)
    ]
    rows: dict[str, int] = {}
    who: dict[str, tuple[str, str]] = {}
    for key, patient, site in zip(
        keys, table["patient_id"].to_pylist(), table["site"].to_pylist(), strict=True
    ):
        rows.setdefault(key, len(rows))
        who[key] = (str(patient), site)
    columns = {name: np.full((len(rows), len(labels)), np.nan) for name in ("target", *ARMS)}
    place = {label: c for c, label in enumerate(labels)}
    for key, arm, label, target, score in zip(
        keys, *(table[c].to_pylist() for c in ("arm", "label", "target", "score")), strict=True
    ):
        if label in place:
            columns[arm][rows[key], place[label]] = score
            columns["target"][rows[key], place[label]] = np.nan if target is None else target
    return _Of(rows, who, columns)
