"""What each site adds to the others: added one by one in every order, left out one by one, alone.

What belongs here: subsets of sites as teachers, judged by patients of all sites. What does not: the probes (learning_curve).
"Added" is the mean gain over the orders in which sites may come in, from none (AUROC 0.5) to all: the Shapley value, so that the
gains of all sites sum up to what all of them give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.learning_curve import Draws, judged, over_draws
from training.metrics import Estimate

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]

EXACT = 4
"""Up to so many sites every order is tried; beyond, ORDERS random ones."""
ORDERS = 12


@dataclass(frozen=True, slots=True)
class SiteValue:
    """One site: patients of the train and tune split, and AUROC (gains) with intervals."""

    site: str
    n_patients: int
    alone: Estimate
    added: Estimate
    left_out: Estimate
    """What is lost without it: all sites minus all but this one."""


def site_values(draws: Draws, site: Strings, seed: int) -> list[SiteValue]:
    """One row a site of the development members [N]; none where there is one site only."""
    names = sorted(set(site.tolist()))
    if len(names) < 2:
        return []
    home = {name: np.isin(np.arange(draws.n_patients), draws.patient[site == name]) for name in names}
    orders = _orders(names, seed)
    wanted = {frozenset(order[:k]) for order in orders for k in range(1, len(order) + 1)}
    wanted |= {frozenset(names) - {name} for name in names} | {frozenset([name]) for name in names}
    sets = sorted(wanted, key=sorted)
    values = np.array(
        [
            [
                judged(draws, s, np.any([home[name] for name in members], axis=0))
                for s in range(len(draws.order))
            ]
            for members in sets
        ]
    )
    none = np.where(np.isfinite(values[:1]), 0.5, np.nan)
    means = over_draws(np.concatenate([none, values]))
    of = {frozenset[str](): means[0], **dict(zip(sets, means[1:], strict=True))}
    everyone = frozenset(names)
    found = []
    for name in names:
        steps = [of[frozenset(o[: o.index(name) + 1])] - of[frozenset(o[: o.index(name)])] for o in orders]
        found.append(
            SiteValue(
                site=name,
                n_patients=int(home[name].sum()),
                alone=metrics.estimate(of[frozenset([name])]),
                added=metrics.estimate(np.mean(steps, axis=0)),
                left_out=metrics.estimate(of[everyone] - of[everyone - {name}]),
            )
        )
    return found


def _orders(names: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    if len(names) <= EXACT:
        return list(permutations(names))
    draw = np.random.Generator(np.random.Philox(key=[seed, 59]))
    return [tuple(draw.permutation(list(names)).tolist()) for _ in range(ORDERS)]
