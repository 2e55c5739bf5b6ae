"""A head that would lean on the site is made to do without it, in training and in what is released."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training import probe
from training.batches import Tiles, loss_weights
from training.examples import read_examples
from training.export import load_tuned
from training.method import LinearHead
from training.repair import fit_repaired
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)


def quiet(step: int, values: dict[str, float]) -> None:
    """Nobody listens."""


def confounded(seed: int, concordance: float, n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [n, 20], truth and site: a weak finding in four of them, a loud site in three."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    site = (rng.random(n) < np.where(y == 1, concordance, 1 - concordance)).astype(int)
    x = rng.normal(size=(n, 20))
    x[:, :4] += 0.8 * y[:, None]
    x[:, 3:6] += 3.0 * site[:, None]
    return x.astype(np.float32), y[:, None].astype(float), np.where(site == 1, "b", "a")


def heads(seed: int) -> tuple[probe.Head, probe.Head]:
    """Nothing done, and repaired, on 95 to 5."""
    x, y, site = confounded(seed, 0.95)
    seats = probe.Seats(np.arange(0, 400), np.arange(400, 500), np.arange(500))
    solver = replace(probe.logistic(False), strengths=(1e-2, 1e-1))
    weights = np.zeros_like(y)
    weights[:400] = loss_weights(y[:400], site[:400], "site_x_label", lambda c: c.astype(np.int64))
    plain = probe.fit_probe(x, y, np.ones_like(y), y, seats, solver=solver, log=quiet)
    return plain, fit_repaired(x, y, weights, y, seats, property_of=site, solver=solver, log=quiet)


@pytest.mark.parametrize("seed", [0, 1])
def test_most_of_the_auroc_that_the_site_cost_is_given_back(seed: int) -> None:
    plain, repaired = heads(seed)
    x, y, _ = confounded(seed + 100, 0.05, 4000)
    rng = np.random.default_rng(seed)
    best = 0.8 * y[:, 0] * 2 + rng.normal(size=len(y))  # what four features of that size tell
    lost, kept, ceiling = (
        roc_auc_score(y, s) for s in (plain.logits(x)[:, 0], repaired.logits(x)[:, 0], best)
    )
    assert lost < 0.6
    assert (kept - lost) / (ceiling - lost) > 0.8


def test_the_matrix_does_not_see_what_was_taken_out() -> None:
    _, repaired = heads(0)
    k = repaired.removed.shape[1]
    assert k > 0
    assert np.allclose(repaired.removed.T @ repaired.removed, np.eye(k), atol=1e-9)
    assert np.abs(repaired.removed.T @ repaired.matrix).max() < 1e-9


def test_a_head_that_learns_on_stays_blind_and_is_released_blind() -> None:
    _, repaired = heads(0)
    module = LinearHead(repaired)
    with torch.no_grad():
        module.linear.weight.add_(
            torch.randn(module.linear.weight.shape, generator=torch.Generator().manual_seed(1))
        )
    cls, tokens = torch.randn(6, 10), torch.randn(6, 5, 10)
    features = torch.cat([cls, tokens.mean(1)], 1)
    along = (
        torch.from_numpy(repaired.removed[:, :1].T).float() * module.std
    )  # one standardised step in a removed direction
    before = module(cls, tokens, 1)
    moved = features + 5 * along
    after = module(moved[:, :10], moved[:, None, 10:].expand(-1, 5, -1), 1)
    assert torch.allclose(before, after, atol=1e-4)
    released = probe.Head(
        repaired.mean,
        repaired.std,
        module.matrix().detach().double().numpy(),
        module.linear.bias.detach().double().numpy(),
    )
    assert np.allclose(released.logits(features.numpy()), before.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("method", ["probe", "cut"])
def test_a_run_with_projection_is_released_with_it(tmp_path: Path, method: str) -> None:
    folder = lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(tree(method, data={"project": "site"})), report=lambda facts: None)
    examples = read_examples(folder, ["opacity"])
    tuned = load_tuned(run)
    told = [p["score"] for p in pq.read_table(run / "predictions.parquet").to_pylist() if p["arm"] == "tuned"]
    tiles = Tiles(folder / "packs" / "byhand", len(examples)).take(np.arange(len(examples))).numpy()
    assert np.allclose(tuned.predict(tiles)[:, 0], told, atol=2e-3)
    assert json.loads((run / "spec.json").read_text())["data"]["project"] == "site"


def test_a_covariate_can_be_taken_out_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(tree("probe", data={"project": "fibrosis"})), report=lambda facts: None)
    assert (run / "head.safetensors").is_file()
    with pytest.raises(
        ConfigurationError, match=r"none of none, site, fibrosis; name it in task\.covariates"
    ):
        parse_spec(tree("probe", data={"project": "emphysema"}))


def test_a_property_of_one_value_is_refused_before_compute(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    members = pq.read_table(folder / "members.parquet")
    site = members.schema.get_field_index("site")
    pq.write_table(
        members.set_column(site, members.schema.field(site), [["northside"] * len(members)]),
        folder / "members.parquet",
    )
    with pytest.raises(ConfigurationError, match="one value of 'site'"):
        tune(tmp_path, parse_spec(tree("probe", data={"project": "site"})), report=lambda facts: None)
