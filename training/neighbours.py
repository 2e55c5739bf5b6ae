"""Near-duplicates across splits: is a judged study closer to the train split than different patients are to one another?

What belongs here: nearest neighbours by cosine over frozen features, and the line that says it. What does not: exact
duplicates, which the pre-check refuses by patient, person, pixels and report (curation.leakage).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from training.audit import Item
from training.examples import Examples

Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

_BLOCK = 8_000_000
"""Cosines held at once."""
_REFERENCES = 5_000
"""Studies of the train split whose own nearest neighbour is looked for; more would not move the threshold."""
_SHOWN = 20


def nearest(queries: Floats32, base: Floats32, own: Ints, others: Ints) -> tuple[Floats32, Ints]:
    """[Q] highest cosine of each query with the base, and [Q] where; base rows of the same number (`own` [Q], `others` [B]) do not count.

    Rows have length 1. Without any other row the cosine is -1.
    """
    best, place = np.full(len(queries), -1.0, np.float32), np.zeros(len(queries), np.int64)
    step = max(1, _BLOCK // max(len(base), 1))
    for start in range(0, len(queries), step):
        cosine = queries[start : start + step] @ base.T  # [step, B]
        cosine[own[start : start + step, None] == others[None, :]] = -1.0
        place[start : start + step] = cosine.argmax(1)
        best[start : start + step] = cosine.max(1)
    return best, place


def excess_p_value(n_above: int, n_queries: int, n_references: int) -> float:
    """Chance that the n_above highest of all cosines are all queries', were queries and references drawn alike.

    Every order of the pooled cosines is then as likely as any other (a permutation test in closed form).
    """
    if n_above == 0:
        return 1.0
    total = n_queries + n_references

    def ways(n: int) -> float:
        return float(gammaln(n + 1) - gammaln(n - n_above + 1))

    return float(np.exp(ways(n_queries) - ways(total)))


def near_duplicates(
    examples: Examples, features: NDArray[np.float32], seed: int
) -> tuple[list[Item], list[dict[str, Any]]]:
    """The line of section `provenance`, and a row with the count, its p and the closest pairs of studies.

    The threshold is the closest that two different patients of the train split are to one another: nothing that the split
    did can make a judged study closer than that, save by chance, and the chance is said.
    """
    train = np.flatnonzero(examples.split == "train")
    judged = np.flatnonzero(np.isin(examples.split, ["tune", "test", "holdout"]))
    if len(train) < 2 or not len(judged) or len(set(examples.patient[train].tolist())) < 2:
        text = "needs two patients in the train split and one study outside of it"
        return [Item("provenance", "near-duplicates", "not_applicable", None, text)], []
    unit = _unit(features, train)
    chosen = np.random.default_rng(seed).permutation(train)[:_REFERENCES]
    within, _ = nearest(unit[chosen], unit[train], examples.patient[chosen], examples.patient[train])
    across, place = nearest(unit[judged], unit[train], examples.patient[judged], examples.patient[train])
    threshold = float(within.max())
    above = np.flatnonzero(across > threshold)
    p_value = excess_p_value(len(above), len(judged), len(chosen))
    by_chance = len(judged) / (len(chosen) + 1)
    text = (
        f"{len(above)} of {len(judged)} judged studies are closer to a study of the train split than any two of its patients "
        f"are to one another (cosine {threshold:.4f} over {unit.shape[1]} frozen features); {by_chance:.1f} by chance, "
        f"p = {p_value:.2g}; {int((across > 1 - 1e-6).sum())} are the same to 1e-6"
    )
    closest = above[np.argsort(-across[above], kind="stable")][:_SHOWN]
    pairs = [
        {"judged": str(examples.study_id[judged[k]]), "split": str(examples.split[judged[k]]),
         "train": str(examples.study_id[train[place[k]]]), "cosine": float(across[k])}
        for k in closest
    ]  # fmt: skip
    row = {
        "n_above": len(above),
        "n_judged": len(judged),
        "by_chance": by_chance,
        "p": p_value,
        "pairs": pairs,
    }
    return [Item("provenance", "near-duplicates", "computed", float(len(above)), text)], [row]


def _unit(features: NDArray[np.float32], train: Ints) -> Floats32:
    """Features standardised on the train split and brought to length 1: what all images share would make all close."""
    mean, std = features[train].mean(0), features[train].std(0)
    x = ((features - mean) / np.where(std > 1e-6, std, 1.0)).astype(np.float32)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), dtype=np.float32)
