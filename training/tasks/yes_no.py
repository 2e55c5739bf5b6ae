"""What tasks share whose every output is a yes/no question: logistic heads, AUROC first, operating points, probabilities.

What belongs here: the defaults of the contract (training/task.py) for such tasks. What does not: targets and loss, which
each kind has of its own; arithmetic of metrics (metrics) and of heads (probe). Loads without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from training import metrics, probe

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]
Ints = NDArray[np.int64]

SATURATED = 2.0
"""Cross-entropy, in units of that of logits of 0, above which chances are taken to be saturated."""


_RIGHT = 1e-6
"""An answer so near to the truth is right."""


@dataclass(frozen=True)
class YesNo:
    """Base of multilabel, multiclass and survival. Truth is [N, C] of 0 and 1, NaN where it is not certain."""

    labels: tuple[str, ...]

    headline: ClassVar[str] = "auroc"
    has_probabilities: ClassVar[bool] = True
    reads: ClassVar[str] = "images"
    in_units: ClassVar[frozenset[str]] = frozenset()
    is_exclusive: ClassVar[bool] = False
    """Whether exactly one output is true."""
    arms: ClassVar[tuple[str, str]] = ("prototype", "base_probe")

    def prepared(self, values: Floats, train: NDArray[np.bool_]) -> Self:
        """Nothing to learn of the train split."""
        return self

    def state(self) -> dict[str, list[float]]:
        """Nothing to keep."""
        return {}

    def groups(self, column: Floats) -> Ints:
        """Negative and positive; a soft target counts with its nearer class."""
        return (column >= 0.5).astype(np.int64)

    def problems(self, names: Sequence[str], targets: Floats) -> list[str]:
        """Outputs of which the train split knows nothing, or one class."""
        found = []
        for column, name in enumerate(names):
            known = targets[~np.isnan(targets[:, column]), column]
            if not known.size:
                found.append(
                    f"No study of the train split knows {name!r}. Choose a label the reports speak of."
                )
            elif known.min() == known.max():
                which = "positive" if known[0] else "negative"
                found.append(
                    f"All {known.size} known studies of the train split are {which} for {name!r}: nothing to learn."
                )
        return found

    def warnings(self, names: Sequence[str], targets: Floats, split: str) -> list[str]:
        """Outputs of which a split does not hold both classes."""
        use = "early stopping watches the loss alone" if split == "tune" else "no test metric can be given"
        return [
            f"The {split} split does not hold both classes of {name!r}: {use}."
            for column, name in enumerate(names)
            if not self.is_judged(targets[:, column])
        ]

    def site_association(self, site: Strings, column: Floats) -> float | None:
        """Cramer's V of site and class."""
        return metrics.cramers_v(site, column.astype(np.int64).astype(np.str_))

    def fit_probe(
        self,
        features: NDArray[np.float32],
        targets: Floats,
        weights: Floats,
        watched: Floats,
        seats: probe.Seats,
        log: probe.Log,
    ) -> probe.Head:
        """Logistic regression, its strength chosen on the tune split."""
        solver = probe.logistic(self.is_exclusive)
        return probe.fit_probe(features, targets, weights, watched, seats, solver=solver, log=log)

    def fit_baseline(self, features: NDArray[np.float32], targets: Floats) -> probe.Head:
        """Nearest class mean."""
        return probe.fit_prototypes(features, targets)

    def watch(self, logits: Floats, watched: Floats) -> tuple[tuple[float, float], dict[str, float]]:
        """(macro AUPRC, minus cross-entropy), and both besides macro AUROC as curves.

        Weights whose chances are saturated come behind all others: they may rank a small tune split well, and tell nothing
        apart elsewhere.
        """
        loss = probe.cross_entropy(logits, watched, self.is_exclusive)
        is_saturated = loss > SATURATED * probe.cross_entropy(
            np.zeros_like(logits), watched, self.is_exclusive
        )
        auprc = probe.macro(metrics.auprc, logits, watched)
        auroc = probe.macro(metrics.auroc, logits, watched)
        values = {"tune/loss": loss}
        if auprc is not None and auroc is not None:
            values |= {"tune/auprc": auprc, "tune/auroc": auroc}
        return ((auprc if auprc is not None else 0.0) - is_saturated, -loss), values

    def answers(self, logits: torch.Tensor) -> torch.Tensor:
        """Sigmoid of each output, [B, C]."""
        return logits.sigmoid()

    def operating_points(self, truth: Floats, answers: Floats) -> list[float | None]:
        """Largest Youden index of each output."""
        return [metrics.operating_point(truth[:, c], answers[:, c]) for c in range(truth.shape[1])]

    def measure(
        self, truth: Floats, answers: Floats, thresholds: Floats
    ) -> Callable[[Floats], dict[str, Floats]]:
        """AUROC, AUPRC, Brier, ECE, and sensitivity and specificity where there are thresholds."""
        return metrics.measure(truth, answers, thresholds)

    def is_judged(self, truth: Floats) -> bool:
        """Whether both classes are there."""
        known = truth[~np.isnan(truth)]
        return bool(0 < known.sum() < known.size)

    def n_positive(self, truth: Floats) -> int | None:
        """Positives among the known."""
        return int(np.nansum(truth))


def focal(missed: torch.Tensor, gamma: float) -> torch.Tensor:
    """What the cross-entropy of an answer is multiplied by: missed ^ gamma (Lin et al. 2017), missed 0 right to 1 wrong.

    An answer that is right to six digits keeps those: below gamma 1 the slope at 0 has no end.
    """
    return missed.clamp_min(_RIGHT) ** gamma
