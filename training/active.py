"""Which studies a reader should label next: those a run is unsure of, and unlike what it has seen.

What belongs here: uncertainty, diversity, the order. What does not: what the reader says (curation.relabel). Candidates come from
the train split alone, or from another cohort whose studies are no test or holdout patients of the run: what is picked by the
model must not change what it is judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import find_cohort
from curation.lake import Lake
from curation.records import ConfigurationError
from training.coverage import embedded
from training.examples import Examples, read_examples
from training.run_features import Progress, RunFeatures, cohort_features
from training.runs import RunFolder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Asked:
    """One study to look at, rank 1 first."""

    rank: int
    study_id: UUID
    series_id: UUID
    patient_id: UUID
    site: str
    label: str
    """Of which the run is least sure."""
    score: float
    """Probability of that label."""
    uncertainty: float
    """1 at the operating point, 0 at certainty."""
    distance: float
    """To what is labelled or asked before it, 1 for the farthest candidate at the start."""
    why: str
    """unlabelled, uncertain or labelled."""


def ask(
    of: RunFeatures,
    *,
    n: int = 50,
    pool: str | None = None,
    with_labelled: bool = False,
    backbone_cache: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Asked]:
    """The n studies to label next, by uncertainty times distance, greedily (k-centre weighted by uncertainty).

    Candidates are members of the train split, or of the cohort `pool`, of which a label is unknown or uncertain; with_labelled
    takes those of known labels too, which asks for a second look. One study a patient and series.
    Raises ConfigurationError where nobody is a candidate; the text says what to do.
    """
    if pool is None:
        examples, features, scores = of.examples, of.features, of.answers()
    else:
        examples, features, scores = _of_pool(of, pool, backbone_cache, progress)
    truth = of.task.targets(examples.labels, len(of.names))
    doubt = np.where(np.isfinite(scores), doubts(scores, operating_points(of)), 0)
    is_open = ~np.isfinite(truth)
    wanted = np.where(is_open | with_labelled, doubt, -1.0)
    is_candidate = (wanted.max(1) > 0) & _may_be_asked(of, examples, is_pool=pool is not None)
    if not is_candidate.any():
        raise ConfigurationError(
            "No study of the train split lacks a label: give a wider cohort with --pool (the same spec without the rule that asks "
            "for an assessment), or --with-labelled for a second look at what is labelled."
        )
    rows = np.flatnonzero(is_candidate)
    asked = {examples.study_id[i] for i in rows}
    is_asked = np.array([study in asked for study in of.examples.study_id], bool)
    is_known = np.isfinite(of.truth).all(1) & (of.examples.split == "train")
    seen = is_known & ~is_asked  # a second look is not near to itself
    axes = is_known if is_known.any() else of.examples.split == "train"
    x = embedded(np.concatenate([of.features, features[rows]]), np.r_[axes, np.zeros(len(rows), bool)])
    order, apart = spread(
        x[len(of.features) :], wanted[rows].max(1), x[: len(of.features)][seen], examples.patient[rows], n
    )
    found = []
    for rank, (k, distance) in enumerate(zip(order, apart, strict=True), start=1):
        i, c = rows[k], int(wanted[rows[k]].argmax())
        label = examples.labels[i]
        why = "unlabelled" if np.isnan(label).any() else "uncertain" if (label == -1).any() else "labelled"
        found.append(
            Asked(
                rank,
                examples.study_id[i],
                examples.series_id[i],
                examples.patient_id[i],
                str(examples.site[i]),
                of.names[c],
                float(scores[i, c]),
                float(wanted[i, c]),
                float(distance),
                why,
            )
        )
    return found


def doubts(scores: Floats, points: Floats) -> Floats:
    """[N, C] 1 at the operating point [C], falling in a straight line to 0 at probabilities 0 and 1."""
    below, above = scores / np.maximum(points, 1e-9), (1 - scores) / np.maximum(1 - points, 1e-9)
    return np.asarray(np.clip(np.minimum(below, above), 0, 1))


def operating_points(of: RunFeatures) -> Floats:
    """[C] of the run; 0.5 where it has none."""
    points = RunFolder(of.lake_root, of.run_id).read_json("operating_points.json") or {}
    return np.array([points.get(name) if points.get(name) is not None else 0.5 for name in of.names], float)


def spread(x: Floats, doubt: Floats, seen: Floats, patient: Ints, n: int) -> tuple[list[int], list[float]]:
    """Rows of x [K, D] in the order in which they are asked, at most n, and each one's distance when its turn came.

    Greedy: the next is the largest doubt times distance to what is seen or asked already. So a copy of what was asked has distance 0
    and comes last, and a patient is asked once.
    """
    near = np.full(len(x), np.inf)
    for start in range(0, len(seen), 512):
        near = np.minimum(near, _apart(x, seen[start : start + 512]).min(1))
    if not len(seen):
        near = np.linalg.norm(x - x.mean(0), axis=1) + 1e-12
    unit = max(float(near.max()), 1e-12)
    order: list[int] = []
    apart: list[float] = []
    is_left = np.ones(len(x), bool)
    while is_left.any() and len(order) < n:
        worth = np.where(is_left, doubt * near, -1)
        k = int(worth.argmax())
        order.append(k)
        apart.append(float(near[k] / unit))
        is_left &= patient != patient[k]
        near = np.minimum(near, _apart(x, x[k : k + 1])[:, 0])
    return order, apart


def _apart(x: Floats, base: Floats) -> Floats:
    squares = (x**2).sum(1)[:, None] + (base**2).sum(1) - 2 * x @ base.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _may_be_asked(of: RunFeatures, examples: Examples, *, is_pool: bool) -> Bools:
    """[N] of the pool: train split, and no patient by whom the run is chosen or judged."""
    kept = {p for p, s in zip(of.examples.patient_id, of.examples.split, strict=True) if s != "train"}
    is_free = np.array([p not in kept for p in examples.patient_id], bool)
    return np.asarray(is_free & (examples.split == "train"))


def _of_pool(
    of: RunFeatures, pool: str, backbone_cache: Path | None, progress: Progress
) -> tuple[Examples, NDArray[np.float32], Floats]:
    """Members, features and answers of another cohort, by the run's released model."""
    from training import batches
    from training.export import load_tuned

    folder = find_cohort(Lake(of.lake_root), pool)
    run = RunFolder(of.lake_root, of.run_id)
    facts = run.read_json("preprocess.json") or {}
    examples = read_examples(folder, of.spec.task.labels)
    features = cohort_features(of.lake_root, folder, of.spec, facts, backbone_cache, progress)
    tuned = load_tuned(run.path, backbone_cache)
    tiles = batches.Tiles(
        batches.find_pack(of.lake_root, folder, of.spec.model.input, progress), len(examples)
    )
    scores: list[Floats] = []
    for indices in batches.batches_of(np.arange(len(examples)), 32):
        scores.append(np.asarray(tuned.predict(np.asarray(tiles.take(indices))), float))
        progress(int(indices[-1]) + 1, len(examples))
    return examples, features, np.concatenate(scores)


COLUMNS = ("rank", "study_id", "series_id", "site", "label", "score", "uncertainty", "distance", "why")
"""Columns of the exported CSV: ids and numbers, no words that somebody wrote."""
