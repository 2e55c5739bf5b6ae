"""Which weights are kept: those that do best on the tune split, unless their chances are saturated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.planted import lay_down, tree
from training.spec import parse_spec
from training.tasks.multiclass import Multiclass
from training.tasks.multilabel import Multilabel
from training.tasks.yes_no import YesNo
from training.tune import tune

torch.set_num_threads(1)


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


def test_patience_counts_from_the_best_epoch_not_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.9, 0.5, 0.6, 0.55, 0.7, 0.65, 0.6, 1.0])  # of the start, then of each epoch

    def watch(
        self: YesNo, logits: np.ndarray, truth: np.ndarray
    ) -> tuple[tuple[float, float], dict[str, float]]:
        score = next(scores)
        return (score, 0.0), {"tune/auprc": score}

    lay_down(tmp_path)
    monkeypatch.setattr(YesNo, "watch", watch)
    budget = {"max_minutes": 5, "max_epochs": 20, "patience": 2}
    run = tune(tmp_path, parse_spec(tree(budget=budget)), report=lambda facts: None)
    loop = json.loads((run / "loop.json").read_text())
    assert loop["stopped_by"] == "no better tune split"
    assert loop["best_step"] == 0, "the start was best"
    assert loop["step"] == 6 * -(-38 // 8), (
        "the third epoch is no better than the second, the fourth is, two more are not"
    )
