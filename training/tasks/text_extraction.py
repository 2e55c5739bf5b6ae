"""Report to findings: several yes/no labels read from text, judged as a reader is: precision, recall, F1.

What belongs here: what differs from `multilabel`. What does not: texts and their encoders (text), the run (reading).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.tasks.multilabel import Multilabel

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TextExtraction(Multilabel):
    """As multilabel; each arm says present from the threshold of the best F1 on the tune split, else from 0.5."""

    headline: ClassVar[str] = "f1"
    reads: ClassVar[str] = "text"
    arms: ClassVar[tuple[str, str]] = ("tfidf", "tfidf")

    def operating_points(self, truth: Floats, answers: Floats) -> list[float | None]:
        """The threshold of the best F1, the lowest of several; 0.5 where one class is not there."""
        return [_best_f1(truth[:, c], answers[:, c]) for c in range(truth.shape[1])]

    def measure(
        self, truth: Floats, answers: Floats, thresholds: Floats
    ) -> Callable[[Floats], dict[str, Floats]]:
        """As yes/no questions, and besides precision, recall and F1 of what is said to be present."""
        plain = metrics.measure(truth, answers, thresholds)
        known = np.isfinite(truth)
        is_there = known & (truth == 1)
        says = known & (answers >= np.where(np.isfinite(thresholds), thresholds, 0.5))
        hits, said, there = (x.astype(np.float64) for x in (is_there & says, says, is_there))

        def under(weights: Floats) -> dict[str, Floats]:
            n_hits, n_said, n_there = weights @ hits, weights @ said, weights @ there
            either = n_said + n_there
            return {
                **plain(weights),
                "precision": n_hits / np.where(n_said > 0, n_said, np.nan),
                "recall": n_hits / np.where(n_there > 0, n_there, np.nan),
                "f1": 2 * n_hits / np.where(either > 0, either, np.nan),
            }

        return under


def _best_f1(truth: Floats, answers: Floats) -> float:
    known = np.isfinite(truth)
    y, p = truth[known], answers[known]
    if not 0 < y.sum() < len(y):
        return 0.5
    points = np.unique(p)
    says = p[None, :] >= points[:, None]
    f1 = 2 * (says & (y == 1)).sum(1) / (says.sum(1) + y.sum())
    return float(points[f1.argmax()])
