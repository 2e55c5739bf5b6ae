"""Heads that are learned: they start as the solved probe, find what a mean hides, and go on after a stop with the same bytes."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.training.planted import SIZE, lay_down, tree
from training import probe
from training.export import load_tuned
from training.heads import KINDS, from_arrays, head_module, to_arrays
from training.job import Stopped
from training.spec import Method, parse_spec
from training.tune import tune

torch.set_num_threads(1)
LARGE = {"id": "builtin:tiny-vit", "input": {"size": 84}}


def quiet(facts: dict[str, object]) -> None:
    """Nobody listens."""


def score(run: Path, arm: str = "tuned", split: str = "holdout") -> float:
    where = {"split": split, "site": "all", "subgroup": "all", "name": "auroc", "arm": arm}
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    (row,) = [r for r in rows if all(r[k] == v for k, v in where.items())]
    return float(row["value"])


def solved(n_features: int = 12, n_outputs: int = 3) -> probe.Head:
    random = np.random.default_rng(0)
    mean, std = random.normal(size=n_features), random.uniform(0.5, 2, n_features)
    return probe.Head(mean, std, random.normal(size=(n_features, n_outputs)), random.normal(size=n_outputs))


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_head_starts_as_the_solved_probe_and_comes_back_from_disk(kind: str) -> None:
    head = solved()
    module = head_module(head, Method(kind="probe", head=kind))
    cls, tokens = torch.randn(4, 6), torch.randn(4, 5, 6)  # two series of two tiles
    features = torch.cat([cls, tokens.mean(1)], 1).view(2, 2, 12).mean(1)
    np.testing.assert_allclose(module(cls, tokens, 2).detach(), head.logits(features.numpy()), atol=1e-5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    again = from_arrays(kind, to_arrays(module))
    torch.testing.assert_close(again(cls, tokens, 2), module(cls, tokens, 2))


def test_attention_finds_what_the_mean_of_all_patches_hides(tmp_path: Path) -> None:
    lay_down(tmp_path, n=240, signal=50, size=84, needle=True)
    scores = {}
    for head in ("mlp", "attentive"):
        method = {"kind": "probe", "head": head, "batch_size": 16, "head_lr": 5e-3}
        budget = {"max_epochs": 40, "patience": 10}
        run = tune(tmp_path, parse_spec(tree(method=method, model=LARGE, budget=budget)), report=quiet)
        scores[head] = score(run)
        scores["linear"] = score(run, "untuned")
    assert scores["attentive"] > 0.95, scores
    assert scores["attentive"] > scores["linear"] + 0.1, scores


def test_a_stopped_attentive_probe_goes_on_and_serves_what_it_judged(tmp_path: Path) -> None:
    spec = parse_spec(tree(method={"kind": "probe", "head": "attentive", "batch_size": 8}))
    released = []
    for folder, is_stopped in ((tmp_path / "whole", False), (tmp_path / "broken", True)):
        cohort = lay_down(folder, signal=10)
        asked: list[int] = []

        def listen(facts: dict[str, object], asked: list[int] = asked) -> None:
            if facts.get("stage") == "tuning" and int(str(facts["step"])) >= 20:
                asked.append(1)

        if is_stopped:
            with pytest.raises(Stopped):
                tune(folder, spec, report=listen, should_stop=lambda asked=asked: bool(asked))  # type: ignore[misc]
        run = tune(folder, spec, report=quiet)
        released.append(hashlib.sha256((run / "head.safetensors").read_bytes()).hexdigest())
    assert released[0] == released[1]
    tiles = pq.read_table(cohort / "packs" / "byhand" / "tiles.parquet")["tile"].to_pylist()
    shown = np.stack([np.frombuffer(t, np.uint8).reshape(1, SIZE, SIZE) for t in tiles])
    rows = [r for r in pq.read_table(run / "predictions.parquet").to_pylist() if r["arm"] == "tuned"]
    np.testing.assert_allclose(
        load_tuned(run).predict(shown)[:, 0], [r["score"] for r in rows], atol=2e-3
    )  # the tokens were kept in half precision
