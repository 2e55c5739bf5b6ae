"""Features centred on their batch: the first steps keep what the probe gave, and what is released depends on no batch."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import training.method
from tests.training.planted import lay_down, tree
from training import batches, probe
from training.centred import CENTRED_FROM
from training.heads import KINDS, head_module
from training.spec import Method, parse_spec
from training.tune import tune

torch.set_num_threads(1)


def moved_head(kind: str, *, removed: bool = False) -> training.method.LinearHead:
    """A head of three outputs on twelve features whose every parameter is somewhere."""
    random = np.random.default_rng(3)
    mean, std, bias = random.normal(size=12), random.uniform(0.01, 0.1, 12), random.normal(size=3)
    directions = np.linalg.qr(random.normal(size=(12, 2)))[0] if removed else np.zeros((12, 0))
    solved = probe.Head(mean, std, random.normal(size=(12, 3)), bias, directions)
    module = head_module(solved, Method(kind="probe", head=kind))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize(
    ("kind", "removed"), [*((kind, False) for kind in KINDS), ("linear", True), ("mlp", True)]
)
def test_biases_take_in_a_centre(kind: str, removed: bool) -> None:
    module = moved_head(kind, removed=removed)
    tokens, vectors = torch.randn(4, 5, 6), torch.randn(4, 6)
    features = torch.cat([vectors, tokens.mean(1)], 1)
    centre = module.mean + 0.3 * torch.randn(12)
    with torch.no_grad():
        expected, before = module.judge(features, tokens, centre), module.judge(features, tokens)
        module.fold(centre)
        found = module.judge(features, tokens)
        assert (expected - before).abs().max() > 0.5, "the centre matters"
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        module.recentre(centre)
        torch.testing.assert_close(module.mean, centre)
        torch.testing.assert_close(module.judge(features, tokens), found, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_gradient_moves_a_batch_in_common(kind: str) -> None:
    module = moved_head(kind)
    vectors, tokens = torch.randn(9, 6).requires_grad_(), torch.randn(9, 5, 6).requires_grad_()
    features = torch.cat([vectors, tokens.mean(1)], 1)
    module.judge(features, tokens, features.mean(0)).square().sum().backward()
    assert vectors.grad is not None
    assert tokens.grad is not None
    for grad in (vectors.grad, tokens.grad.sum(1)):
        assert grad.sum(0).abs().max() < 1e-3 * grad.abs().max()


def curve(lake: Path, method: dict[str, object]) -> list[float]:
    """Loss on the tune split of the start and after each epoch."""
    found: list[float] = []
    budget = {"max_epochs": 2, "patience": 2, "max_minutes": 5}

    def listen(facts: dict[str, object]) -> None:
        if facts["kind"] == "epoch":
            found.append(float(str(facts["tune/loss"])))

    tune(lake, parse_spec(tree(method=method, budget=budget)), report=listen)
    return found


def test_first_steps_keep_what_the_probe_gave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = {"kind": "full", "lr": 3e-4, "batch_size": 16}
    for name in ("centred", "plain"):
        lay_down(tmp_path / name, n=192, signal=20)
    start, *centred = curve(tmp_path / "centred", method)
    monkeypatch.setattr(training.method, "CENTRED_FROM", 1000)
    again, *plain = curve(tmp_path / "plain", method)
    assert start == again, "where nothing has moved, the centre is the probe's"
    assert max(centred) < 3 * start, (start, centred)
    assert min(plain) > 5 * start, (start, plain)


def test_a_run_that_starts_from_another_learns_from_where_that_one_ended(tmp_path: Path) -> None:
    lay_down(tmp_path, n=192, signal=20)
    moved = {"kind": "cut", "blocks": 1, "lr": 1e-3, "batch_size": 16}
    budget = {"max_epochs": 3, "patience": 3, "max_minutes": 5}
    first = tune(tmp_path, parse_spec(tree(method=moved, budget=budget)), report=lambda facts: None)
    assert json.loads((first / "loop.json").read_text())["best_step"] > 0
    still = {"kind": "full", "lr": 1e-9, "head_lr": 1e-9, "batch_size": 16, "warm_start": first.name}
    run = tune(
        tmp_path,
        parse_spec(tree(method=still, budget=budget, data={"augment": "none"})),
        report=lambda facts: None,
    )
    rows = pq.read_table(run / "history.parquet").to_pylist()
    train = [r["value"] for r in rows if r["name"] == "train/loss"]
    tuned = [r["value"] for r in rows if r["name"] == "tune/loss"]
    assert max(train) < 2 * max(tuned), (train, tuned)  # what was folded into the biases is not counted twice
    assert tuned == pytest.approx(tuned[:1] * len(tuned), rel=1e-3)


def test_a_batch_too_small_to_have_a_mean_is_not_centred(tmp_path: Path) -> None:
    lay_down(tmp_path, signal=20)
    curves = [curve(tmp_path, {"kind": "lora", "batch_size": n}) for n in (CENTRED_FROM - 1, CENTRED_FROM)]
    assert abs(curves[0][-1] - curves[1][-1]) > 1e-3


def test_the_same_members_are_asked_for_the_centre_every_time() -> None:
    members = np.arange(1000) * 3
    some = batches.some_of(members, 100, seed=5)
    assert len(set(some.tolist())) == 100
    assert set(some.tolist()) <= set(members.tolist())
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, batches.some_of(members, 100, seed=5))
    assert some.tolist() != batches.some_of(members, 100, seed=6).tolist()
    np.testing.assert_array_equal(batches.some_of(members[:7], 100, seed=5), members[:7])
