"""What a window hides is said, and what little it shows goes through the cut as the probe saw it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.curation.pack_lake import Made
from tests.training.planted import tree, write_pack
from tests.training.test_kinds import cohort_of
from training import cache, probe, visibility
from training.backbone import load_backbone
from training.batches import Tiles
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)
N = 60


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CT of 60 simulated patients, half called CHEST and half ABDOMEN; a patch is 100 HU brighter where the label is 1."""
    rng = np.random.default_rng(3)
    labels, series = [int(v) for v in rng.integers(2, size=N)], []
    for i, label in enumerate(labels):
        image = rng.normal(1024, 10, (28, 28))
        image[:14, :14] += 100 * label
        part = ("CHEST", "ABDOMEN")[i // 3 % 2]
        series.append(Made(f"ct{i}", [np.round(image).astype("i2")], body_part=part))
    return cohort_of(tmp_path_factory.mktemp("ct"), series, labels)


def warnings(lake: Path, **seen: object) -> str:
    model = {"id": "builtin:tiny-vit", "input": {"size": 28, **seen}}
    told: list[str] = []
    run = tune(
        lake,
        parse_spec(tree("probe", model=model, task={"kind": "multilabel", "labels": ["nodule"]})),
        report=lambda facts: told.append(str(facts.get("message"))) if facts["kind"] == "note" else None,
    )
    found = json.loads((run / "report.json").read_text())["precheck"]["warnings"]
    assert set(told) <= set(found), "what was said on the way stands in the report"
    return " ".join(found)


def test_several_windows_in_one_cohort_are_said_and_one_is_not(lake: Path) -> None:
    assert "(lung 30, soft tissue 30)" in warnings(lake)
    assert "several windows" not in warnings(lake, window="soft tissue")


def test_a_window_in_which_images_look_alike_is_said(lake: Path) -> None:
    assert "hardly differ" in warnings(lake, window=[-30000, 30000])
    assert "hardly differ" not in warnings(lake, window=[-160, 240])


def test_spread_is_a_share_of_the_size() -> None:
    features = 5 + 0.1 * np.random.default_rng(0).normal(size=(500, 64))
    assert visibility.spread(features) == pytest.approx(0.02, rel=0.05)
    assert visibility.spread(np.ones((4, 3))) == visibility.spread(np.zeros((4, 3))) == 0.0
    assert visibility.flat_features(features * np.linspace(0, 2, 500)[:, None]) == []


@pytest.mark.parametrize("tokens", [False, True])
def test_states_of_series_that_hardly_differ_are_not_rounded_into_each_other(
    tmp_path: Path, tokens: bool
) -> None:
    rng = np.random.default_rng(0)
    images = np.round(rng.normal(240, 1, (24, 28, 28))).astype(np.uint8)
    write_pack(tmp_path, [(i, 0, image.tobytes()) for i, image in enumerate(images)], 28, 1, 24)
    backbone, cpu = load_backbone("builtin:tiny-vit", 28), torch.device("cpu")
    tiles = Tiles(tmp_path / "packs" / "byhand", 24)
    cached = cache.frozen(
        backbone, tiles, cpu, "fp32", moving_blocks=1 - tokens, tokens=tokens, progress=lambda n, of: None
    )
    assert visibility.spread(cached.features) < 0.01 and cached.hidden is not None
    hidden = cached.hidden.take([0] * 24, np.arange(24), cpu).flatten(0, 1)  # [N, T, L, D] -> [N*T, L, D]
    with torch.inference_mode():
        cls, patches = (torch.zeros(24, 32), hidden) if tokens else backbone.embed_from(hidden, 1)
        again = cache.pool(cls, patches, 1).numpy()
    error = np.abs(again - cached.features) / probe.standardise(cached.features)[1]
    assert error[:, 32 * tokens :].max() < 0.05, "in deviations of the features, as a head sees them"
