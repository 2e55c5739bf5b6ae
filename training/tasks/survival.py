"""Time to one event, with studies whose observation ended first: a chance for each interval between horizons.

Two labels say it: days from the study, and whether the event was seen then (0: observation ended). Each output is the hazard
of one interval, learned from who entered it and was seen to its end (Gensheimer and Narasimhan 2019); its probability is the
chance of the event by that horizon. A horizon is judged as a question on those whose answer is known; what the censored tell
beyond that is judged by concordance (training/time_to_event.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.tasks.multilabel import masked_cross_entropy
from training.tasks.yes_no import YesNo

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_QUANTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Survival(YesNo):
    """The event by each horizon. horizons: days after the study; none: chosen from the events seen."""

    horizons: tuple[float, ...] = ()

    def outputs(self, values: Floats) -> tuple[str, ...]:
        """The event by each horizon, such as `death by day 90`."""
        return tuple(f"{self.labels[1]} by day {day:g}" for day in horizons_of(values, self.horizons))

    def targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C] whether the event came by each horizon; NaN where observation ended before it."""
        days, event, known = seen(values)
        ends = horizons_of(values, self.horizons)[None, :]
        had, free = event[:, None] & (days[:, None] <= ends), _is_free(days, event, known, ends)
        return np.where(had, 1.0, np.where(free, 0.0, np.nan))

    def training_targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C] whether the event came within each interval."""
        return hazards_of(values, self.horizons)

    def watched(self, values: Floats, n_outputs: int) -> Floats:
        """The hazards' own truth: logits are hazards, not chances by a horizon."""
        return hazards_of(values, self.horizons)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """A hazard is a yes/no question of its own; intervals that a study did not enter, or left unseen, are masked."""
        return masked_cross_entropy(logits, targets, weights)

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """[B, C] chance of the event by each horizon, never falling."""
        return 1 - (-logits).sigmoid().cumprod(1)


def hazards_of(values: Floats, horizons: Sequence[float]) -> Floats:
    """[N, C] whether the event came within each interval; NaN where it had come before, or observation ended in it."""
    days, event, known = seen(values)
    ends = horizons_of(values, horizons)
    starts = np.concatenate([[-1.0], ends[:-1]])[None, :]  # an event on day 0 belongs to the first interval
    within = event[:, None] & (days[:, None] > starts) & (days[:, None] <= ends[None, :])
    return np.where(within, 1.0, np.where(_is_free(days, event, known, ends[None, :]), 0.0, np.nan))


def seen(values: Floats) -> tuple[Floats, Bools, Bools]:
    """Days [N], whether the event was seen [N], and of whom both are known [N]; before day 0 nothing is."""
    days, event = values[:, 0], values[:, 1]
    known = np.isfinite(days) & ((event == 0) | (event == 1)) & (np.nan_to_num(days, nan=-1) >= 0)
    return np.where(known, days, np.nan), known & (event == 1), known


def horizons_of(values: Floats, horizons: Sequence[float]) -> Floats:
    """[C] days, rising: those asked for, else quartiles of the days at which events were seen, in whole days."""
    if horizons:
        return np.unique(np.asarray(horizons, dtype=np.float64))
    days, event, _ = seen(values)
    if not event.any():
        return np.array([365.0])
    return np.unique(np.maximum(np.ceil(np.quantile(days[event], _QUANTILES)), 1.0))


def _is_free(days: Floats, event: Bools, known: Bools, ends: Floats) -> Bools:
    """[N, C] who is known to have come to a horizon without the event; being lost on that day counts as having come."""
    return known[:, None] & ((days[:, None] > ends) | (~event[:, None] & (days[:, None] >= ends)))
