"""What the train split shows too little of: sparse places of the embedding, clusters by site, groups, each beside the error there.

What belongs here: geometry of the frozen features over teachers and judged. What does not: errors themselves (the run's
predictions), which are those of the tuned arm on test and holdout, and what more patients would bring (learning_curve).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.cells import JUDGED, UNKNOWN, Cell, hidden_cells
from training.metrics import Estimate
from training.probe import standardise

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
Bools = NDArray[np.bool_]

NEIGHBOURS = 10
COMPONENTS = 32
QUARTERS = ("densest quarter", "second quarter", "third quarter", "sparsest quarter")
EXEMPLARS = 4
REPLICATES = 500
MIN_PATIENTS = 5
"""Fewer give no interval: a bootstrap of two says nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the judged studies. error: mean distance of score and truth, 0 to 1; distance: median to the train split,
    1 as far as the median judged study."""

    name: str
    n_train: int
    """Patients of the train split."""
    n_judged: int
    """Patients of test and holdout."""
    share_train: float
    share_judged: float
    distance: float | None
    error: Estimate
    sites: Mapping[str, int] = field(default_factory=dict)
    """Site -> patients of any split."""
    exemplars: Sequence[int] = ()
    """Members nearest to the middle."""


@dataclass(frozen=True)
class Coverage:
    """Parts by density, appearance and group; how many groups are hidden, being small."""

    quarters: Sequence[Part]
    clusters: Sequence[Part]
    groups: Sequence[Part]
    n_hidden: int
    distance: Floats
    """[N] distance of every member to the train split, in the unit of Part."""


@dataclass(frozen=True)
class _All:
    patient: Ints
    site: Strings
    is_train: Bools
    is_judged: Bools
    error: Floats
    distance: Floats
    seed: int


def coverage(
    features: NDArray[np.float32],
    split: Strings,
    site: Strings,
    patient: Ints,
    error: Floats,
    strata: Mapping[str, Strings],
    *,
    min_cell: int,
    seed: int,
) -> Coverage:
    """Parts of the judged studies of known error [N]. Empty where fewer than two train studies or no judged ones are there."""
    is_train, is_judged = split == "train", np.isin(split, JUDGED) & np.isfinite(error)
    if is_train.sum() < 2 or not is_judged.any():
        return Coverage((), (), (), 0, np.full(len(split), np.nan))
    x = embedded(features, is_train)
    distance = distance_to(x, x[is_train], patient, patient[is_train])
    distance = distance / max(float(np.median(distance[is_judged])), 1e-12)
    of = _All(patient, site, is_train, is_judged, error, distance, seed)
    edges = np.quantile(distance[is_judged], (0.25, 0.5, 0.75))
    quarter = np.searchsorted(edges, distance, side="left")
    cluster, centre_distance = clusters(x, seed)
    groups, n_hidden = _groups(of, strata, min_cell)
    return Coverage(
        [_part(of, name, quarter == k) for k, name in enumerate(QUARTERS)],
        [
            _part(of, f"appearance {k + 1}", cluster == k, centre_distance)
            for k in range(int(cluster.max()) + 1)
        ],
        groups,
        n_hidden,
        distance,
    )


def embedded(features: NDArray[np.float32], is_train: Bools) -> Floats:
    """[N, <= COMPONENTS] principal components of the train split's standardised features."""
    mean, std = standardise(features[is_train])
    x = (features - mean) / std
    _, _, axes = np.linalg.svd(x[is_train], full_matrices=False)
    return np.asarray(x @ axes[:COMPONENTS].T)


def distance_to(x: Floats, base: Floats, own: Ints, others: Ints) -> Floats:
    """[Q] mean Euclidean distance to the NEIGHBOURS nearest rows of `base`, never of the same patient; x [Q, D], base [B, D]."""
    found = np.empty(len(x))
    squares = (base**2).sum(1)
    for start in range(0, len(x), 512):
        q = x[start : start + 512]
        apart = np.sqrt(np.maximum((q**2).sum(1)[:, None] - 2 * q @ base.T + squares, 0))
        apart[own[start : start + 512, None] == others[None, :]] = np.inf
        k = min(NEIGHBOURS, len(base) - 1)
        near = np.partition(apart, k - 1, axis=1)[:, :k] if k else apart
        is_there = np.isfinite(near)
        found[start : start + 512] = np.where(is_there, near, 0).sum(1) / np.maximum(is_there.sum(1), 1)
    return found


def clusters(x: Floats, seed: int) -> tuple[Ints, Floats]:
    """[N] cluster of each member, largest first, and [N] distance to its middle: k-means with about sqrt(N / 2) middles, 3 to 12."""
    from sklearn.cluster import KMeans

    k = int(np.clip(round(np.sqrt(len(x) / 2)), min(3, len(x)), min(12, len(x))))
    model = KMeans(k, n_init=4, random_state=seed).fit(x)
    rank = np.argsort(np.argsort(-np.bincount(model.labels_, minlength=k), kind="stable"))
    return rank[model.labels_].astype(np.int64), np.linalg.norm(
        x - model.cluster_centers_[model.labels_], axis=1
    )


def _groups(of: _All, strata: Mapping[str, Strings], min_cell: int) -> tuple[list[Part], int]:
    """Groups by name; of too few patients, judged or in training, none is told."""
    whole = [Cell("judged", "all", "all", of.is_judged), Cell("train", "all", "all", of.is_train)]
    cells = list(whole)
    inside = {}
    for stratum, values in {"site": of.site, **strata}.items():
        for value in sorted(set(values[of.is_judged | of.is_train].tolist()) - {UNKNOWN}):
            name = f"{stratum}={value}"
            inside[name] = values == value
            if stratum != "site":  # a site is no person
                cells += [Cell(c.split, "all", name, c.rows & inside[name]) for c in whole]
    hidden = {key[2] for key in hidden_cells(cells, of.patient, min_cell)}
    return [_part(of, name, rows) for name, rows in inside.items() if name not in hidden], len(hidden)


def _part(of: _All, name: str, rows: Bools, centre_distance: Floats | None = None) -> Part:
    judged, train = rows & of.is_judged, rows & of.is_train
    n_train, n_judged = (len(set(of.patient[r].tolist())) for r in (train, judged))
    all_train, all_judged = (len(set(of.patient[r].tolist())) for r in (of.is_train, of.is_judged))
    sites, members = {}, np.flatnonzero(rows)
    for site in sorted(set(of.site[rows].tolist())):
        sites[site] = len(set(of.patient[rows & (of.site == site)].tolist()))
    return Part(
        name=name,
        n_train=n_train,
        n_judged=n_judged,
        share_train=n_train / max(all_train, 1),
        share_judged=n_judged / max(all_judged, 1),
        distance=float(np.median(of.distance[judged])) if judged.any() else None,
        error=_mean_error(of, judged),
        sites=sites,
        exemplars=[]
        if centre_distance is None
        else members[np.argsort(centre_distance[members])][:EXEMPLARS].tolist(),
    )


def _mean_error(of: _All, rows: Bools) -> Estimate:
    if not rows.any():
        return Estimate(None, None, None, "nobody of it was judged")
    _, dense = np.unique(of.patient[rows], return_inverse=True)
    if dense.max() + 1 < MIN_PATIENTS:
        return Estimate(float(of.error[rows].mean()), None, None, f"fewer than {MIN_PATIENTS} patients")
    weights = metrics.cluster_draws(dense, REPLICATES, of.seed)[:, dense]
    return metrics.estimate((weights @ of.error[rows]) / weights.sum(1))
