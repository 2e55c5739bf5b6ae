"""Volumes, slabs and clips go into runs: a planted signal is found from a lake's own frames, and a misfit is told early."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from curation.cohort_spec import CohortSpec
from curation.lake import Lake
from curation.pack import PackRecipe, open_pack
from curation.records import Cohort, ConfigurationError, Member, to_table
from tests.curation.lake_rows import an_id
from tests.curation.pack_lake import COHORT, Made, lake_with
from tests.training.planted import tree
from training import batches, shown
from training.backbones.i3resnet import I3ResNetAdapter
from training.backbones.preprocess import Preprocess, VolumePreprocess
from training.export import load_tuned
from training.model_spec import Input
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)

CONFIG = {
    "rwid_adapter": "i3resnet", "depths": [1, 1], "width": 4, "input_depth": 8, "low_hu": -1000, "high_hu": 200
}  # fmt: skip
SIZE = 24
LEFT_OUT = 7


def thorax(rng: np.random.Generator, has_nodule: bool) -> list[np.ndarray]:
    """Synthetic: air with a dense ball that ends between slices, 10 slices of 24 x 24 px."""
    z, y, x = np.mgrid[0:10, 0:24, 0:24]
    stored = rng.normal(150, 60, (10, 24, 24))
    if has_nodule:
        centre = rng.uniform([3, 8, 8], [7, 16, 16])
        ball = (2 * (z - centre[0])) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 36
        stored[ball] = 1050
    return list(np.round(stored).astype("i2"))


def clip(rng: np.random.Generator, is_moving: bool) -> list[np.ndarray]:
    """Synthetic: eight frames in colour, half of them red where something moves."""
    images = rng.integers(60, 90, (8, 24, 24, 3)).astype(np.uint8)
    if is_moving:
        images[4:, 6:18, 6:18, 0] = 220
    return list(images)


def cohort_of(root: Path, series: list[Made], labels: list[int]) -> Path:
    """A lake whose frozen cohort has these series with their label, at three sites, one of them held out."""
    lake = lake_with(root, *series)
    folder = lake.root / "cohorts" / COHORT
    members = []
    for i, (made, label) in enumerate(zip(series, labels, strict=True)):
        site = ("northside", "southside", "st-elsewhere")[i % 3]
        split = "holdout" if i % 3 == 2 else ("train", "train", "tune", "test")[(i // 3) % 4]
        ids = an_id(f"study {made.name}"), an_id(made.name), an_id(f"patient {i}")
        said = [{"name": "nodule", "value": float(label)}]
        members.append(Member(COHORT, *ids, site, split, said, []))
    pq.write_table(to_table(Member, members), folder / "members.parquet")
    facts = Cohort(COHORT, "planted", "a test", 1, len(series), len(series), 3, 1)
    pq.write_table(to_table(Cohort, [facts]), folder / "cohort.parquet")
    rule = CohortSpec.model_validate({"cohort": "planted", "split": {"holdout_sites": ["st-elsewhere"]}})
    where = rule.model_dump(mode="json")
    told = {"cohort_id": COHORT, "name": "planted", "snapshot": 1, "min_cell": 5, "spec": where}
    (folder / "cohort.json").write_text(json.dumps(told))
    return lake.root


def ct_cohort(root: Path, n: int = 60) -> Path:
    rng = np.random.default_rng(1)
    labels = [int(v) for v in rng.integers(2, size=n)]
    series = [
        Made(
            f"ct{i}",
            thorax(rng, bool(label)),
            positions=[[0.0, 0.0, 2.0 * k + (5.0 if i == LEFT_OUT and k > 4 else 0)] for k in range(10)],
            facts={"pixel_spacing_row_mm": 1.0, "pixel_spacing_column_mm": 1.0},
        )
        for i, label in enumerate(labels)
    ]
    return cohort_of(root, series, labels)


@pytest.fixture(scope="module")
def ct_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ct_cohort(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random 3-D encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(3)
    save_file(I3ResNetAdapter().build(CONFIG).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def spec(method: str, model: str, seen: dict[str, Any], **over: object) -> Any:
    task = {"kind": "multilabel", "labels": ["nodule"]}
    return parse_spec(tree(method, model={"id": model, "input": {"size": SIZE, **seen}}, task=task, **over))


def holdout(run: Path) -> float:
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    cell = {"split": "holdout", "site": "all", "subgroup": "all", "name": "auroc", "arm": "tuned"}
    (row,) = [r for r in rows if all(r[k] == v for k, v in cell.items())]
    return float(row["value"])


@pytest.mark.parametrize("method", ["probe", "lora"])
def test_a_3d_encoder_finds_a_planted_nodule_in_ct_volumes(ct_lake: Path, encoder: Path, method: str) -> None:
    seen = {"kind": "volume", "spacing_mm": [2.5, 1.0, 1.0]}
    budget = {"max_minutes": 5, "max_epochs": 2, "patience": 2}
    run = tune(ct_lake, spec(method, str(encoder), seen, budget=budget), report=lambda facts: None)
    assert holdout(run) > 0.95
    report = json.loads((run / "report.json").read_text())
    assert report["precheck"]["left_out"] == {"uneven_spacing": 1}
    judged = set(pq.read_table(run / "predictions.parquet")["series_id"].to_pylist())
    assert len(judged) == 59 and an_id(f"ct{LEFT_OUT}") not in judged


def test_a_released_3d_model_judges_volumes_as_its_run_did(ct_lake: Path, encoder: Path) -> None:
    seen = {"kind": "volume", "spacing_mm": [2.5, 1.0, 1.0]}
    run = tune(ct_lake, spec("probe", str(encoder), seen, seed=8), report=lambda facts: None)
    tuned = load_tuned(run)
    assert tuned.recipe == PackRecipe(
        size=SIZE, text=False, kind="volume", depth=8, spacing_mm=(2.5, 1.0, 1.0)
    )
    pack = batches.find_pack(ct_lake, Lake(ct_lake).root / "cohorts" / COHORT, tuned.recipe, print)
    rows = open_pack(pack).tiles[0][:4]
    series = open_pack(pack).tiles.facts["series_id"].to_pylist()[:4]
    said = {
        r["series_id"]: r["score"]
        for r in pq.read_table(run / "predictions.parquet").to_pylist()
        if r["arm"] == "tuned"
    }
    assert tuned.predict(rows[:, None])[:, 0] == pytest.approx([said[s] for s in series], abs=1e-6)


def test_slabs_feed_a_2d_encoder(ct_lake: Path) -> None:
    run = tune(
        ct_lake, spec("cut", "builtin:tiny-vit", {"size": 28, "kind": "slab"}), report=lambda facts: None
    )
    assert holdout(run) > 0.95


def test_clips_in_colour_feed_a_2d_encoder_frame_by_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    labels = [int(v) for v in rng.integers(2, size=48)]
    series = [
        Made(f"us{i}", clip(rng, bool(label)), "US", "b_mode", None, "RGB", is_cine=True, rescale=None)
        for i, label in enumerate(labels)
    ]
    lake = cohort_of(tmp_path, series, labels)
    seen = {"size": 28, "kind": "clip", "tiles": 4, "color": "rgb"}
    run = tune(lake, spec("probe", "builtin:tiny-vit", seen), report=lambda facts: None)
    assert holdout(run) > 0.95


def test_volumes_in_another_unit_are_refused_before_they_are_shown(tmp_path: Path, encoder: Path) -> None:
    facts = {"pixel_spacing_row_mm": 1.0, "pixel_spacing_column_mm": 1.0}
    series = [
        Made(f"mr{i}", thorax(np.random.default_rng(i), i % 2 == 1), "MR", "t1", facts=facts)
        for i in range(24)
    ]
    lake = cohort_of(tmp_path, series, [i % 2 for i in range(24)])
    with pytest.raises(ConfigurationError, match="takes volumes in HU, the cohort's are in share"):
        tune(lake, spec("probe", str(encoder), {"kind": "volume"}), report=lambda facts: None)


def test_bytes_become_values_in_their_unit() -> None:
    deep = PackRecipe(size=16, bits=16)
    levels = np.array([0, 257, 40000, 65535], "<u2").repeat(64).reshape(1, 1, 16, 16)
    found = shown.values_of_arrays(levels, deep, "level")
    assert found.dtype == torch.float32
    assert found.unique().tolist() == pytest.approx([0, 1, 40000 / 257, 255])
    volume = PackRecipe(size=16, kind="volume", depth=2)
    stored = np.full((2, 1, 2, 16, 16), -300, "<i2")
    assert shown.values_of_arrays(stored, volume, "HU").shape == (2, 1, 1, 2, 16, 16)
    assert shown.values_of_arrays(stored, volume, "SUV").unique().tolist() == pytest.approx([-3.0])


def test_a_volume_is_augmented_as_one_thing_within_its_limits() -> None:
    one = torch.full((2, 1, 1, 4, 24, 24), -1000.0)
    one[..., 8:16, 8:16] = 150.0
    moved = batches.augment(one, np.array([3, 4]), seed=1, epoch=2, limits=(-1000.0, 200.0))
    assert moved.shape == one.shape and moved.min() >= -1000 and moved.max() <= 200
    is_dense = (moved > -400).float()
    assert (is_dense[:, 0, 0, 0] - is_dense[:, 0, 0, 3]).abs().mean() < 0.01, "all slices move together"
    assert 0.05 < is_dense.mean() < 0.2


def test_what_does_not_fit_is_told_with_the_remedy() -> None:
    flat, deep = Preprocess(SIZE, (0.5,), (0.5,)), VolumePreprocess(SIZE, 8, -1000, 200)
    with pytest.raises(ConfigurationError, match=r"Set model\.input\.kind to volume"):
        shown.refuse_misfit(Input(kind="clip"), deep, "a model")
    with pytest.raises(ConfigurationError, match="takes 1 channel, slabs and rgb have three"):
        shown.refuse_misfit(Input(kind="slab"), flat, "a model")
    assert shown.recipe_of(Input(kind="volume"), deep).depth == 8
    assert shown.recipe_of(Input(kind="volume", depth=5), deep).depth == 5
    with pytest.raises(ConfigurationError, match=r"model\.input.*A pack of kind tile has no gap"):
        parse_spec(tree(model={"id": "builtin:tiny-vit", "input": {"gap": 2}}))
