"""Which weights are kept: those that do best on the tune split, unless their chances are saturated."""

from __future__ import annotations

import numpy as np

from training.tasks.multiclass import Multiclass
from training.tasks.multilabel import Multilabel


def test_saturated_weights_come_behind_those_that_rank_a_little_worse() -> None:
    task, truth = Multilabel(("opacity",)), np.array([[0.0], [0.0], [1.0], [1.0]])
    modest, _ = task.watch(np.array([[-1.0], [0.6], [0.5], [1.0]]), truth)
    saturated, values = task.watch(
        np.array([[90.0], [91.0], [100.0], [101.0]]), truth
    )  # ranks all, says 1 to all
    assert values["tune/auprc"] == 1
    assert saturated < modest


def test_certain_and_right_is_not_saturated() -> None:
    task, truth = Multilabel(("opacity",)), np.array([[0.0], [0.0], [1.0], [1.0]])
    modest, _ = task.watch(np.array([[-1.0], [0.6], [0.5], [1.0]]), truth)
    certain, _ = task.watch(np.array([[-90.0], [-91.0], [100.0], [101.0]]), truth)
    assert certain > modest


def test_of_saturated_weights_the_better_are_kept_and_classes_count_alike() -> None:
    task, truth = Multiclass(("grade",)), np.eye(3)
    better, _ = task.watch(50 * (np.eye(3) + np.array([0.0, 0.0, 9.0])), truth)
    worse, _ = task.watch(50 * (1 - np.eye(3) + np.array([0.0, 0.0, 9.0])), truth)
    modest, _ = task.watch(np.eye(3), truth)
    assert worse < better < modest
