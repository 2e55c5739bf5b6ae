"""A released model gives the same answers again, and a release that is not whole is refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch
from torch import nn

from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down, tree
from training.backbone import load_backbone
from training.batches import Tiles
from training.export import load_tuned
from training.lowrank import adapter_config, adapter_tensors, add_updates
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)


def released(lake: Path, kind: str) -> tuple[Path, Path]:
    """Cohort folder and run, tuned hard enough that every method moves."""
    folder = lay_down(lake, n=120, signal=10)
    method = {"kind": kind, "blocks": 1, "batch_size": 8, "lr": 3e-3}
    return folder, tune(lake, parse_spec(tree(method=method)), report=lambda facts: None)


@pytest.mark.parametrize("method", ["probe", "cut", "lora", "full"])
def test_a_released_model_predicts_what_the_run_predicted(tmp_path: Path, method: str) -> None:
    folder, run = released(tmp_path, method)
    tuned = load_tuned(run)
    tiles = Tiles(folder / "packs" / "byhand", 120)
    again = tuned.predict(tiles.take(np.arange(120)).numpy())[:, 0]
    rows = [r for r in pq.read_table(run / "predictions.parquet").to_pylist() if r["arm"] == "tuned"]
    said = np.array([r["score"] for r in rows])
    assert np.abs(again - said).max() < 5e-3  # the run saw activations in half precision
    assert tuned.outputs == ("opacity",)


def test_a_release_without_its_head_is_refused(tmp_path: Path) -> None:
    _, run = released(tmp_path, "cut")
    tensors = load_file(run / "head.safetensors")
    save_file({k: v for k, v in tensors.items() if k != "bias"}, run / "head.safetensors")
    with pytest.raises(ConfigurationError, match=r"lacks bias"):
        load_tuned(run)
    (run / "head.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"no head\.safetensors"):
        load_tuned(run)


@pytest.mark.parametrize("method", ["cut", "lora"])
def test_a_release_that_lacks_a_moved_tensor_is_refused(tmp_path: Path, method: str) -> None:
    _, run = released(tmp_path, method)
    tensors = load_file(run / "adapter.safetensors")
    last = sorted(k for k in tensors if "layers" in k)[-1]
    save_file({k: v for k, v in tensors.items() if k != last}, run / "adapter.safetensors")
    with pytest.raises(ConfigurationError, match="does not fit the backbone"):
        load_tuned(run)


def test_a_release_on_another_backbone_is_refused(tmp_path: Path) -> None:
    _, run = released(tmp_path, "probe")
    facts = json.loads((run / "preprocess.json").read_text())
    (run / "preprocess.json").write_text(json.dumps({**facts, "revision": "sha256:" + "0" * 64}))
    with pytest.raises(ConfigurationError, match="the spec wants sha256:000000000000"):
        load_tuned(run)


def test_peft_reads_the_adapter_and_agrees(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    ours = load_backbone("builtin:tiny-vit", SIZE).model
    names = add_updates(ours, rank=4, seed=1)
    for name, parameter in ours.named_parameters():
        if name.endswith("lora_B"):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter_config(names, 4)))
    tensors = {name: tensor.contiguous() for name, tensor in adapter_tensors(ours).items()}
    save_torch(tensors, tmp_path / "adapter_model.safetensors")
    theirs = peft.PeftModel.from_pretrained(load_backbone("builtin:tiny-vit", SIZE).model, str(tmp_path))
    x = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a, b = ours(pixel_values=x).last_hidden_state, theirs(pixel_values=x).last_hidden_state
        plain = load_backbone("builtin:tiny-vit", SIZE).model(pixel_values=x).last_hidden_state
    assert torch.allclose(a, b, atol=1e-4)
    assert not torch.allclose(a, plain, atol=0.1), "the adapter changes something"
