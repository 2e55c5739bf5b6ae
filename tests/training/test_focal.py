"""Focal loss: the formula, cross-entropy at gamma 0, gradients everywhere, and a rare finding that is learned."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training.spec import parse_spec
from training.tasks.multiclass import Multiclass
from training.tasks.multilabel import Multilabel
from training.tune import tune

torch.set_num_threads(1)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, targets (one unknown) and weights, each [9, 3]."""
    random = torch.Generator().manual_seed(seed)
    targets = (torch.rand(9, 3, generator=random) < 0.3).double()
    targets[2, 1] = torch.nan
    return (
        2 * torch.randn(9, 3, generator=random).double(),
        targets,
        torch.rand(9, 3, generator=random).double(),
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_each_answer_counts_by_the_formula(gamma: float) -> None:
    logits, targets, weights = batch()
    p, y = 1 / (1 + np.exp(-logits.numpy())), targets.numpy()
    right = np.where(y == 1, p, 1 - p)  # the chance of what is true
    each = -((1 - right) ** gamma) * np.log(right)
    known = np.isfinite(y)
    expected = (each * weights.numpy())[known].sum() / weights.numpy()[known].sum()
    assert float(
        Multilabel(("a", "b", "c"), focal_gamma=gamma).loss(logits, targets, weights)
    ) == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_of_several_classes_the_true_one_counts_by_the_formula(gamma: float) -> None:
    logits, _, weights = batch()
    true = torch.arange(9) % 3
    own = weights[torch.arange(9), true]
    right = logits.softmax(1)[torch.arange(9), true]
    expected = ((1 - right) ** gamma * functional.cross_entropy(logits, true, reduction="none") * own).sum()
    loss = Multiclass(("a", "b", "c"), focal_gamma=gamma).loss(
        logits, functional.one_hot(true, 3).double(), weights
    )
    assert float(loss) == pytest.approx(float(expected / own.sum()))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_answers_that_are_right_to_the_last_digit_have_a_gradient_that_is_a_number(gamma: float) -> None:
    for task, targets in (
        (Multilabel(("a", "b"), focal_gamma=gamma), torch.tensor([[1.0, 0.0], [0.5, torch.nan]])),
        (Multiclass(("a", "b"), focal_gamma=gamma), torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])),
    ):
        logits = torch.tensor([[200.0, -200.0], [0.0, 0.0]], requires_grad=True)
        task.loss(logits, targets, torch.ones(2, 2)).backward()
        assert torch.isfinite(logits.grad).all()


def test_many_easy_answers_pull_less_beside_a_rare_one() -> None:
    logits = torch.full(
        (100, 1), -3.0, requires_grad=True
    )  # 99 negatives that are told well, one positive that is not
    targets = torch.zeros(100, 1)
    targets[0] = 1
    pull = {}
    for gamma in (0.0, 2.0):
        logits.grad = None
        Multilabel(("a",), focal_gamma=gamma).loss(logits, targets, torch.ones(100, 1)).backward()
        pull[gamma] = float(-logits.grad[0] / logits.grad[1:].sum())
    assert pull[0.0] < 1 < 10 < pull[2.0], pull


def test_a_rare_finding_is_learned(tmp_path: Path) -> None:
    lay_down(tmp_path, n=240, rare=0.12, signal=40)
    weights = set()
    for gamma in (0.0, 2.0):
        task = {"kind": "multilabel", "labels": ["opacity"], "covariates": ["fibrosis"], "focal_gamma": gamma}
        method = {"kind": "probe", "head": "mlp", "batch_size": 8, "head_lr": 5e-3}
        run = tune(tmp_path, parse_spec(tree(task=task, method=method)), report=lambda facts: None)
        rows = pq.read_table(run / "metrics.parquet").to_pylist()
        where = {"split": "holdout", "site": "all", "subgroup": "all", "name": "auroc", "arm": "tuned"}
        (row,) = [r for r in rows if all(r[k] == v for k, v in where.items())]
        assert row["value"] > 0.9
        card = (run / "model_card.md").read_text()
        assert ("Focal loss, gamma 2" in card) == (gamma == 2.0)
        weights.add(hashlib.sha256((run / "head.safetensors").read_bytes()).hexdigest())
    assert len(weights) == 2, "gamma made no difference"


def test_what_it_is_not_for_says_so() -> None:
    focal = {"labels": ["opacity"], "focal_gamma": 2}
    with pytest.raises(ConfigurationError, match="solved by cross-entropy"):
        parse_spec(tree("probe", task={"kind": "multilabel", **focal}))
    with pytest.raises(ConfigurationError, match="not for regression"):
        parse_spec(tree(task={"kind": "regression", **focal}))
