"""Is it the finding or the site? What the site alone would give, and the AUROC where site and label are untied.

What belongs here: the shortcut audit, and the scores and lines that it shares with the rest of the evaluation. What does
not: metrics of the arms (evaluate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.examples import Examples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]

ARMS = ("untuned", "tuned")
COHORT = "cohort"
"""Name of the fit on the cohort's own split."""


@dataclass(frozen=True)
class Watched:
    """What one fit says of its own tune split, by which everything is chosen that may be chosen."""

    index: Ints
    """[T] member."""
    probability: Mapping[str, Floats]
    """arm -> [T, C]."""


@dataclass(frozen=True)
class Scores:
    """Judged members: M rows; a member is judged once by the cohort's fold and once by each fold that left its site out."""

    index: Ints
    """[M] member."""
    split: Strings
    """[M] under which split it counts."""
    probability: Mapping[str, Floats]
    """arm -> [M, C]."""
    threshold: Mapping[str, Floats]
    """arm -> [M, C] operating point of its fold, from the tune split; NaN where there is none."""
    fold: Strings = field(default_factory=lambda: np.array([], dtype=np.str_))
    """[M] which fit judged it; empty: the cohort's own fit judged all."""
    watched: Mapping[str, Watched] = field(default_factory=dict)
    """fold -> its tune split; of the cohort's own fold, where it is not here, the rows of the split `tune`."""

    @staticmethod
    def concatenate(parts: Sequence[Scores]) -> Scores:
        """All folds below one another."""
        return Scores(
            np.concatenate([p.index for p in parts]),
            np.concatenate([p.split for p in parts]),
            {arm: np.concatenate([p.probability[arm] for p in parts]) for arm in ARMS},
            {arm: np.concatenate([p.threshold[arm] for p in parts]) for arm in ARMS},
            np.concatenate([p.folds() for p in parts]),
            {name: watched for p in parts for name, watched in p.watched.items()},
        )

    def folds(self) -> Strings:
        """[M] which fit judged each row."""
        return self.fold if len(self.fold) else np.full(len(self.index), COHORT)

    def tune_of(self, fold: str) -> Watched:
        """What a fold says of its tune split; nothing (no rows) where that is not known."""
        if fold in self.watched:
            return self.watched[fold]
        rows = (self.split == "tune") & (self.folds() == fold)
        return Watched(self.index[rows], {arm: share[rows] for arm, share in self.probability.items()})


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the report. status: computed, not_applicable (with the reason) or missing (with the remedy)."""

    section: str
    item: str
    status: str
    value: float | None
    text: str


def audit(
    examples: Examples,
    names: Sequence[str],
    truth: Floats,
    scores: Scores,
    features: NDArray[np.float32],
    seed: int,
) -> list[Item]:
    """Lines of the section `shortcut`."""
    if len(examples.sites) < 2:
        return [Item("shortcut", "site", "not_applicable", None, "one site")]
    items = [_site_probe(examples, features, seed)]
    in_test = scores.split == "test"
    member = scores.index[in_test]
    for c, label in enumerate(names):
        known = np.isfinite(truth[member, c])
        y, site = truth[member[known], c], examples.site[member[known]]
        if not 0 < y.sum() < len(y):
            items.append(
                Item(
                    "shortcut",
                    f"{label}: site alone",
                    "not_applicable",
                    None,
                    "the test split holds one class",
                )
            )
            continue
        alone = _site_prevalence(examples, truth[:, c])
        guess = np.array([alone.get(s, 0.5) for s in site])
        one = np.ones((1, len(y)))
        value = float(metrics.auroc(y, guess, one)[0])
        text = "AUROC on test of knowing nothing but the site"
        items.append(Item("shortcut", f"{label}: site alone", "computed", value, text))
        weights = _untied(y, site)
        for arm in ARMS:
            untied = float(metrics.auroc(y, scores.probability[arm][in_test][known, c], weights[None, :])[0])
            name = f"{label}: {arm}, site and label untied"
            items.append(
                Item("shortcut", name, "not_applicable", None, "no site of the test split holds both classes")
                if np.isnan(untied)
                else Item(
                    "shortcut",
                    name,
                    "computed",
                    untied,
                    "AUROC on test, every site with as many of both classes",
                )
            )
    return items


def _untied(y: Floats, site: Strings) -> Floats:
    """Weights under which both classes of each site weigh the same; 0 for sites with one class."""
    weights = np.zeros(len(y))
    for name in set(site.tolist()):
        here = site == name
        n, n_positive = int(here.sum()), float(y[here].sum())
        if 0 < n_positive < n:
            weights[here] = np.where(y[here] == 1, n / (2 * n_positive), n / (2 * (n - n_positive)))
    return weights


def _site_prevalence(examples: Examples, truth: Floats) -> dict[str, float]:
    found = {}
    for site in examples.sites:
        known = truth[(examples.site == site) & (examples.split == "train")]
        known = known[np.isfinite(known)]
        if known.size:
            found[site] = float(known.mean())
    return found


def _site_probe(examples: Examples, features: NDArray[np.float32], seed: int) -> Item:
    """Can the site be read from the frozen features? Encoding is not use: a high number alone condemns nothing."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    train, test = examples.split == "train", np.isin(examples.split, ["tune", "test"])
    here = sorted(set(examples.site[train].tolist()) & set(examples.site[test].tolist()))
    test &= np.isin(examples.site, here)
    if len(here) < 2:
        return Item(
            "shortcut",
            "site read from frozen features",
            "not_applicable",
            None,
            "one site in the train split",
        )
    mean, std = features[train].mean(0), features[train].std(0) + 1e-6
    model = LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    model.fit((features[train] - mean) / std, examples.site[train])
    guess = model.predict((features[test] - mean) / std)
    value = float(balanced_accuracy_score(examples.site[test], guess))
    text = f"balanced accuracy over {len(here)} sites on tune and test; chance is {1 / len(here):.2f}"
    return Item("shortcut", "site read from frozen features", "computed", value, text)
