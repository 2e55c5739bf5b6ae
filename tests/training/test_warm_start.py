"""A finished run as the start of another: the same answers before the first step, released whole, or refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down, tree
from training.backbone import load_backbone
from training.export import load_tuned
from training.lowrank import LowRank, add_updates
from training.spec import parse_spec
from training.tune import tune
from training.warm_start import merge_updates

torch.set_num_threads(1)


def quiet(facts: dict[str, object]) -> None:
    """Nobody listens."""


def answers(run: Path, arm: str = "tuned") -> np.ndarray:
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    return np.array([r["score"] for r in rows if r["arm"] == arm])


def method(kind: str, start: str = "probe", **more: object) -> dict[str, object]:
    return {"kind": kind, "blocks": 1, "batch_size": 8, "warm_start": start, **more}


def test_updates_merged_into_their_weights_are_the_same_function(tmp_path: Path) -> None:
    backbone = load_backbone("builtin:tiny-vit", SIZE, cache=tmp_path)
    add_updates(backbone.model, 4, seed=1)
    for layer in backbone.model.modules():
        if isinstance(layer, LowRank):
            torch.nn.init.normal_(layer.lora_B, std=0.1)
    images = torch.randn(2, 3, SIZE, SIZE)
    before = backbone.embed(images)
    merge_updates(backbone.model)
    assert not any(isinstance(layer, LowRank) for layer in backbone.model.modules())
    for a, b in zip(before, backbone.embed(images), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_each_rung_starts_where_the_one_before_ended_and_is_released_whole(tmp_path: Path) -> None:
    cohort = lay_down(tmp_path, n=180, signal=8)
    one_step = {"max_steps": 1, "patience": 1}
    tiles = pq.read_table(cohort / "packs" / "byhand" / "tiles.parquet")["tile"].to_pylist()
    shown = np.stack([np.frombuffer(t, np.uint8).reshape(1, SIZE, SIZE) for t in tiles])
    learning = tree(method=method("cut", lr=3e-3), budget={"max_epochs": 12, "patience": 12})
    first = tune(tmp_path, parse_spec(learning), report=quiet)
    assert np.abs(answers(first) - answers(first, "untuned")).max() > 0.05, "the cut learned something"
    before = first
    for kind in ("last_n", "lora", "full"):
        still = method(kind, before.name, lr=1e-9, head_lr=1e-9)  # the start, and a step that moves nothing
        run = tune(tmp_path, parse_spec(tree(method=still, budget=one_step)), report=quiet)
        np.testing.assert_allclose(answers(run), answers(before), atol=5e-3)
        np.testing.assert_allclose(answers(run, "untuned"), answers(first, "untuned"), atol=1e-6)
        np.testing.assert_allclose(load_tuned(run).predict(shown)[:, 0], answers(run), atol=1e-4)
        before = run


def test_a_release_without_its_changed_base_is_refused(tmp_path: Path) -> None:
    lay_down(tmp_path)
    first = tune(tmp_path, parse_spec(tree("cut")), report=quiet)
    run = tune(tmp_path, parse_spec(tree(method=method("lora", first.name))), report=quiet)
    (run / "base.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"no base\.safetensors"):
        load_tuned(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"id": "builtin:tiny-vit", "input": {"size": 21}}}, r"another model\.input"),
        ({"task": {"kind": "multiclass", "labels": ["opacity"]}}, "another task"),
        ({"split": {"policy": "leave_one_site_out"}}, "know every site"),
        ({"method": method("lora", "0123456789abcdef")}, "not here, or not finished"),
        ({"method": method("cut", "0123456789abcdef")}, "warm_start: probe is all it can"),
    ],
)
def test_what_does_not_fit_is_refused_before_compute(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    cohort = lay_down(tmp_path)
    first = tune(tmp_path, parse_spec(tree("probe")), report=quiet)
    pack = json.loads((cohort / "packs" / "byhand" / "pack.json").read_text())
    caches = len(list((cohort / "packs" / "byhand" / "cache").iterdir()))
    with pytest.raises(ConfigurationError, match=message):
        tune(tmp_path, parse_spec({**tree(method=method("lora", first.name)), **change}), report=quiet)
    assert len(list((cohort / "packs" / "byhand" / "cache").iterdir())) == caches
    assert json.loads((cohort / "packs" / "byhand" / "pack.json").read_text()) == pack
