"""What a vision-language model says of an image: questions answered by yes or no, and whole reports.

What belongs here: how both are judged. What does not: the model, tuning and asking it (training/dialogue). Labels are the
cohort's, and findings of the lexicon; a report that was written is judged by what the lexicon reads in it, negation heeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training.tasks.text_extraction import TextExtraction

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Vqa(TextExtraction):
    """One question a label; the answer's chance of yes against no is judged like any label's."""

    headline: ClassVar[str] = "auroc"
    reads: ClassVar[str] = "dialogue"
    arms: ClassVar[tuple[str, str]] = ("zero_shot", "zero_shot")


@dataclass(frozen=True)
class ReportGeneration(TextExtraction):
    """A report an image; each label is what the report asserts present: precision (no hallucination), recall (no omission), F1."""

    headline: ClassVar[str] = "f1"
    has_probabilities: ClassVar[bool] = False
    reads: ClassVar[str] = "dialogue"
    arms: ClassVar[tuple[str, str]] = ("zero_shot", "zero_shot")

    def operating_points(self, truth: Floats, answers: Floats) -> list[float | None]:
        """Half: a report asserts a finding or does not."""
        return [0.5] * truth.shape[1]
