"""Measurements: one continuous value a label (age, a diameter, an ejection fraction), by ridge and by Huber or squared error.

Logits are in robust units: the train split's median is 0, its interquartile range / 1.349 (a normal's deviation) is 1. Answers
are in the label's own unit. What does not belong here: arithmetic of metrics (continuous) and of heads (probe).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from training import continuous, probe

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_IQR_OF_NORMAL = 1.349
_HUBER = 1.345
"""Robust units beyond which an error counts linearly: 95 % as efficient as least squares on normal errors (Huber 1981)."""


@dataclass(frozen=True)
class Regression:
    """One output a label. error: huber or squared. centre, spread: of each label, filled by `prepared`."""

    labels: tuple[str, ...]
    error: str = "huber"
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    has_probabilities: ClassVar[bool] = False
    reads: ClassVar[str] = "images"
    in_units: ClassVar[frozenset[str]] = frozenset({"mae", "rmse", "bias"})
    arms: ClassVar[tuple[str, str]] = ("component", "base_ridge")

    @property
    def headline(self) -> str:
        """Mean absolute error of one label; of several, whose units differ, R2."""
        return "mae" if len(self.labels) == 1 else "r2"

    def prepared(self, values: Floats, train: NDArray[np.bool_]) -> Self:
        """Median and spread of each label on the train split; a spread of 0 becomes the deviation, or 1."""
        centre, spread = [], []
        for column in self.targets(values[train], len(self.labels)).T:
            known = column[np.isfinite(column)]
            low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]) if known.size else (0.0, 0.0, 0.0)
            width = (high - low) / _IQR_OF_NORMAL or (float(known.std()) if known.size else 0.0) or 1.0
            centre.append(float(middle))
            spread.append(float(width))
        return replace(self, centre=tuple(centre), spread=tuple(spread))

    def state(self) -> dict[str, list[float]]:
        """Centre and spread."""
        return {"centre": list(self.centre), "spread": list(self.spread)}

    def outputs(self, values: Floats) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    def targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C] values as they are; NaN where not finite."""
        return np.where(np.isfinite(values), values, np.nan)

    def training_targets(self, values: Floats, n_outputs: int) -> Floats:
        """[N, C] in robust units."""
        return np.asarray((self.targets(values, n_outputs) - np.array(self.centre)) / np.array(self.spread))

    def watched(self, values: Floats, n_outputs: int) -> Floats:
        """As `training_targets`."""
        return self.training_targets(values, n_outputs)

    def groups(self, column: Floats) -> Ints:
        """Thirds of the label."""
        return np.searchsorted(np.quantile(column, [1 / 3, 2 / 3]), column).astype(np.int64)

    def problems(self, names: Sequence[str], targets: Floats) -> list[str]:
        """Labels of which the train split knows nothing, or one value."""
        found = []
        for name, column in zip(names, targets.T, strict=True):
            known = column[np.isfinite(column)]
            if not known.size:
                found.append(f"No study of the train split knows {name!r}. Choose a label that is measured.")
            elif known.min() == known.max():
                text = f"All {known.size} known studies of the train split have the same {name!r}: nothing to learn."
                found.append(text)
        return found

    def warnings(self, names: Sequence[str], targets: Floats, split: str) -> list[str]:
        """Labels that a split does not measure, and such as look like a question of yes or no."""
        found = []
        for name, column in zip(names, targets.T, strict=True):
            if not self.is_judged(column):
                use = "early stopping is blind to it" if split == "tune" else "no test metric can be given"
                found.append(f"The {split} split holds no two values of {name!r}: {use}.")
            elif set(column[np.isfinite(column)].tolist()) <= {-1.0, 0.0, 1.0}:
                found.append(
                    f"{name!r} holds 0 and 1 alone on {split}: multilabel judges such a label better."
                )
        return found

    def site_association(self, site: NDArray[np.str_], column: Floats) -> float | None:
        """Correlation ratio of the label over sites."""
        return continuous.correlation_ratio(site, column)

    def fit_probe(
        self,
        features: NDArray[np.float32],
        targets: Floats,
        weights: Floats,
        watched: Floats,
        seats: probe.Seats,
        log: probe.Log,
    ) -> probe.Head:
        """Ridge regression in closed form, its strength chosen on the tune split by the task's own error."""
        solver = probe.ridge(self._cost)
        return probe.fit_probe(features, targets, weights, watched, seats, solver=solver, log=log)

    def fit_baseline(self, features: NDArray[np.float32], targets: Floats) -> probe.Head:
        """One component of partial least squares."""
        return probe.fit_component(features, targets)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted mean error of known labels in robust units; 0 where a batch knows none."""
        import torch
        from torch.nn import functional

        weights = weights * ~torch.isnan(targets)
        known = torch.nan_to_num(targets)
        if self.error == "huber":
            each = functional.huber_loss(logits, known, reduction="none", delta=_HUBER)
        else:
            each = 0.5 * (logits - known) ** 2
        return (each * weights).sum() / weights.sum().clamp_min(1e-6)

    def watch(self, logits: Floats, watched: Floats) -> tuple[tuple[float, float], dict[str, float]]:
        """Minus the task's error, then minus the mean absolute error, in robust units."""
        known = np.isfinite(watched)
        loss, absolute = self._cost(logits, watched), float(np.abs(logits - watched)[known].mean())
        return (-loss, -absolute), {"tune/loss": loss, "tune/mae": absolute}

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """[B, C] in the labels' own units."""
        return logits * logits.new_tensor(self.spread) + logits.new_tensor(self.centre)

    def operating_points(self, truth: Floats, answers: Floats) -> list[float | None]:
        """None: a measurement has no threshold."""
        return [None] * truth.shape[1]

    def measure(
        self, truth: Floats, answers: Floats, thresholds: Floats
    ) -> Callable[[Floats], dict[str, Floats]]:
        """MAE, RMSE, bias, R2, Pearson, Spearman, slope."""
        return continuous.measure(truth, answers)

    def is_judged(self, truth: Floats) -> bool:
        """Whether two values differ."""
        known = truth[np.isfinite(truth)]
        return bool(known.size and known.min() < known.max())

    def n_positive(self, truth: Floats) -> int | None:
        """None: a measurement is neither positive nor negative."""
        return None

    def _cost(self, logits: Floats, truth: Floats) -> float:
        error = np.abs((logits - truth)[np.isfinite(truth)])
        linear = _HUBER * (error - 0.5 * _HUBER)
        squared = 0.5 * error**2
        each = np.where(error <= _HUBER, squared, linear) if self.error == "huber" else squared
        return float(each.mean())
