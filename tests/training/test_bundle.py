"""A run as one folder: reloads without the lake and its caches, gives the same answers, refuses what is not whole."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down, tree
from training import bundle
from training.export import load_tuned
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)
TILES = (
    np.random.default_rng(1).normal(100, 20, (5, 1, SIZE, SIZE)).astype(np.uint8)
)  # as the planted ones are


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A LoRA run and its bundle with ONNX."""
    lake = tmp_path_factory.mktemp("bundle") / "lake"
    lay_down(lake, n=60, signal=40)
    run = tune(
        lake, parse_spec(tree("lora", budget={"max_steps": 4, "max_minutes": 2})), report=lambda facts: None
    )
    bundle.write_bundle(lake, run.name, lake.parent / "model", with_onnx=True)
    return run, lake.parent / "model"


@pytest.fixture
def copy(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "copy"))


def test_a_bundle_reloads_with_no_cache_and_gives_the_same_answers(
    made: tuple[Path, Path], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_tuned(made[0]).predict(TILES)
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy.parent / "empty"))
    assert np.array_equal(bundle.read_bundle(copy).predict(TILES), expected)
    assert not (copy.parent / "empty").exists()


def test_the_onnx_graph_answers_as_torch_does_for_any_batch(made: tuple[Path, Path]) -> None:
    run, folder = made
    facts = json.loads((folder / "bundle.json").read_text())["onnx"]
    assert facts["max_logit_difference"] < 1e-4
    assert facts["names"] == ["opacity"]
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    scores, _ = session.run(None, {"tiles": TILES})
    assert np.abs(scores - load_tuned(run).predict(TILES)).max() < 1e-4
    assert scores.std() > 1e-3, "the scores differ from tile to tile"


@pytest.mark.parametrize("name", ["head.safetensors", "backbone/config.json", "adapter.safetensors"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ConfigurationError, match=f"lacks {name}"):
        bundle.read_bundle(copy)


def test_another_backbone_is_refused_even_with_a_mended_list(copy: Path) -> None:
    config = json.loads((copy / "backbone/config.json").read_text())
    (copy / "backbone/config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    with pytest.raises(ConfigurationError, match=r"backbone/config\.json was changed"):
        bundle.read_bundle(copy)
    facts = json.loads((copy / "bundle.json").read_text())
    facts["files"] = {k: v for k, v in bundle._hashes(copy).items() if k != "bundle.json"}
    (copy / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(ConfigurationError, match="the spec wants sha256"):
        bundle.read_bundle(copy)


def test_a_pickle_and_a_foreign_file_are_refused(copy: Path) -> None:
    (copy / "notes.txt").write_text("hello")
    with pytest.raises(ConfigurationError, match=r"notes\.txt, which its export did not write"):
        bundle.read_bundle(copy)
    (copy / "backbone/pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(ConfigurationError, match="may run code"):
        bundle.read_bundle(copy)


def test_an_unfinished_run_and_a_folder_that_is_there_are_refused(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    lake = made[0].parents[1]
    with pytest.raises(ConfigurationError, match="is there already"):
        bundle.write_bundle(lake, made[0].name, tmp_path)
    with pytest.raises(ConfigurationError, match="not finished"):
        bundle.write_bundle(lake, "0" * 16, tmp_path / "model")
    assert not list(tmp_path.iterdir())
