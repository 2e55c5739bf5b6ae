"""Finished runs set side by side: the same studies, the same truth, the same bootstrap draws, so that differences are paired.

What belongs here: which studies runs have in common, and what each arm gives on them. What does not: a run on its own
(evaluate), drawing (ui). Every run and arm is weighed by one set of patient-cluster draws; a difference of two runs is
taken draw by draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.records import ConfigurationError
from training import metrics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ARMS = ("untuned", "tuned")
METRICS = ("auroc", "auprc", "brier", "ece")
"""What needs scores alone. Sensitivity and specificity need each run's own operating point: see the run's page."""

MACRO = "macro"
ALL = "all"


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
    """[N, L] NaN where unknown, or where the runs hold different truths."""
    scores: Mapping[tuple[str, str], Floats]
    """(run, arm) -> [N, L] probabilities."""
    n_own: Mapping[str, int]
    """Run -> how many studies it judged in this split."""
    n_disputed: int
    """Studies with a label of which the runs hold different truths: not judged by that label."""

    @property
    def n_missing(self) -> int:
        """How many studies at most one run judged and another did not."""
        return max(self.n_own.values()) - len(self.patient)

    @property
    def is_same(self) -> bool:
        """Whether every run was judged on exactly these studies by the same truth."""
        return not self.n_disputed and all(n == len(self.patient) for n in self.n_own.values())


@dataclass(frozen=True, slots=True)
class Line:
    """One estimate: of an arm (or the gain) of a run, at a site or `all`."""

    run_id: str
    arm: str
    site: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    n_patients: int
    reason: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Run minus other, both tuned, paired over the draws."""

    run_id: str
    other: str
    site: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    n_patients: int


def judged_labels(lake_root: Path, run_ids: Sequence[str]) -> list[str]:
    """Labels that every run judged, in alphabetical order; `macro` first where there are several."""
    shared = set.intersection(*(set(_read(lake_root, r)["label"].unique().to_pylist()) for r in run_ids))
    return [*([MACRO] if len(shared) > 1 else []), *sorted(shared)]


def judged_splits(lake_root: Path, run_ids: Sequence[str]) -> list[str]:
    """Splits that every run judged: test before holdout before tune before train."""
    shared = set.intersection(*(set(_read(lake_root, r)["split"].unique().to_pylist()) for r in run_ids))
    return [s for s in ("test", "holdout", "tune", "train") if s in shared]


def common_studies(lake_root: Path, run_ids: Sequence[str], split: str, label: str) -> Common:
    """The studies of a split that every run judged, with the scores of each.

    `label` is one label or `macro`. Raises ConfigurationError where a run has no predictions or no study is shared.
    """
    labels = judged_labels(lake_root, run_ids)
    wanted = tuple(name for name in labels if name != MACRO) if label == MACRO else (label,)
    if label not in (MACRO, *labels):
        raise ConfigurationError(
            f"Not every run judged {label!r}; they share: {', '.join(labels) or 'none'}."
        )
    tables = {run: _of(_read(lake_root, run), split, wanted) for run in run_ids}
    shared = set.intersection(*(set(t.rows) for t in tables.values()))
    if not shared:
        raise ConfigurationError(
            f"These runs share no study of the split {split}: there is nothing to compare."
        )
    keys = sorted(shared)
    first = tables[run_ids[0]]
    truths = np.stack([tables[run].take(keys, "target") for run in run_ids])
    if not np.isin(truths[np.isfinite(truths)], (0.0, 1.0)).all():
        raise ConfigurationError(
            f"{label} is no yes or no: runs of such tasks are compared by their own reports."
        )
    is_disputed = (np.isfinite(truths).any(0) & ~np.isfinite(truths).all(0)) | (
        np.nan_to_num(truths.max(0) - truths.min(0)) > 0
    )
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
    )


def compare(
    common: Common, metric: str = "auroc", *, n_replicates: int = 1000, seed: int = 7
) -> tuple[list[Line], list[Difference]]:
    """Every arm and gain of every run, and every pair of tuned runs, over all sites and at each.

    Estimates with 95 % percentile intervals of the patient-cluster bootstrap; of several labels the mean over those of
    which both classes are there.
    """
    if metric not in METRICS:
        raise ConfigurationError(f"Runs are compared by {', '.join(METRICS)}, not by {metric!r}.")
    lines: list[Line] = []
    differences: list[Difference] = []
    for site in (ALL, *sorted(set(common.site.tolist()))):
        rows = np.flatnonzero((common.site == site) | (site == ALL))
        rows = rows[np.isfinite(common.truth[rows]).any(1)]
        if not len(rows):
            continue
        values = _values(common, rows, metric, n_replicates, seed)
        size = (len(rows), len(set(common.patient[rows].tolist())))
        for run in common.run_ids:
            both = {arm: values[run, arm] for arm in ARMS}
            both["gain"] = both["tuned"] - both["untuned"]
            for arm, replicates in both.items():
                e = metrics.estimate(replicates)
                lines.append(Line(run, arm, site, e.value, e.low, e.high, *size, e.reason))
        for at, run in enumerate(common.run_ids):
            for other in common.run_ids[at + 1 :]:
                gap = values[run, "tuned"] - values[other, "tuned"]
                e = metrics.estimate(gap)
                p = metrics.sign_p_value(gap) if e.low is not None else None
                differences.append(Difference(run, other, site, e.value, e.low, e.high, p, *size))
    return lines, differences


def _values(
    common: Common, rows: Ints, metric: str, n_replicates: int, seed: int
) -> dict[tuple[str, str], Floats]:
    """(run, arm) -> [1 + B] of the metric on these rows, under draws that all share."""
    truth = common.truth[rows]
    none = np.full(len(rows), np.nan)
    both = [c for c in range(truth.shape[1]) if _has_both(truth[:, c])]
    judged = both or [c for c in range(truth.shape[1]) if np.isfinite(truth[:, c]).any()][:1]
    measure: dict[tuple[str, str], list[Callable[[Floats], dict[str, Floats]]]] = {
        key: [metrics.measure(truth[:, c], scores[rows, c], none) for c in judged]
        for key, scores in common.scores.items()
    }
    found: dict[tuple[str, str], list[Floats]] = {key: [] for key in measure}
    for weights in _draws(common.patient[rows], n_replicates, seed):
        for key, of_labels in measure.items():
            found[key].append(np.mean([m(weights)[metric] for m in of_labels], axis=0))
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _has_both(truth: Floats) -> bool:
    known = truth[np.isfinite(truth)]
    return bool(len(known) and 0 < known.sum() < len(known))


def _draws(patients: Ints, n_replicates: int, seed: int) -> Iterator[Floats]:
    """Weights [r, n] of the patient-cluster bootstrap in chunks of bounded size, the row of ones first."""
    _, dense = np.unique(patients, return_inverse=True)
    draws = metrics.cluster_draws(dense, n_replicates, seed)
    return metrics.draws_of(draws, dense)


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
