"""Architectures of every shape go through the tuner with no code of their own: each method runs and its loss falls."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from benchmarks.tuning.bench_architectures import METHODS, SIZE, TABLE, run_method, save_model
from curation.records import ConfigurationError
from tests.training.planted import lay_down
from training.backbone import Backbone, Preprocess, load_backbone
from training.lowrank import LowRank, add_updates

torch.set_num_threads(1)

ARCHITECTURES = yaml.safe_load(TABLE.read_text())["architectures"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("resnet", "lora"),  # convolutions alone
        ("resnet", "cut"),  # four resolutions
        ("swin", "cut"),
        ("vitdet", "cut"),  # hidden states as maps
        ("data2vec-vision", "cut"),
        ("mobilenet_v1", "lora"),  # reads its convolutions' strides to pad by hand
        ("hgnet_v2", "full"),  # gives feature maps, no last hidden state
        ("internvl_vision", "lora"),  # patch sizes in pairs
        ("segformer", "full"),
    ],
)
def test_an_architecture_without_code_of_its_own_is_tuned(tmp_path: Path, name: str, kind: str) -> None:
    lay_down(tmp_path, n=120, signal=8, size=SIZE)
    save_model(name, ARCHITECTURES[name], tmp_path / "model")
    found = run_method(tmp_path, tmp_path / "model", kind)
    assert found["outcome"] == "loss falls", found


def load(folder: Path, name: str) -> Backbone:
    save_model(name, ARCHITECTURES[name], folder)
    return load_backbone(str(folder), SIZE)


def test_the_table_names_methods_of_the_spec_and_enough_architectures() -> None:
    assert set(METHODS) == {"probe", "cut", "lora", "full"}
    assert len(ARCHITECTURES) >= 40


@pytest.mark.parametrize("name", ["vit", "swin", "resnet", "vitdet", "convnextv2", "dinov3_vit"])
def test_going_on_from_hidden_states_gives_what_the_whole_pass_gives(tmp_path: Path, name: str) -> None:
    backbone = load(tmp_path, name)
    n = len(backbone.blocks())
    for cut in (1, n - 1):
        backbone.check_cut(cut)
    images = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cls, tokens, hidden = backbone.embed_and_tap(images, n - 1)
        other, _ = backbone.embed_from(hidden.flip(0), n - 1)
    assert torch.allclose(other, cls.flip(0), atol=1e-4)
    assert tokens.shape[0] == 3


class Skipping(nn.Module):
    """The last block's outcome is joined by the first one's: hidden states before the last are not enough."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 1), nn.GELU()) for _ in range(3))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        x = first = self.blocks[0](self.stem(pixel_values))
        for block in self.blocks[1:]:
            x = block(x)
        return x + first


class Guessing(Skipping):
    """Draws random numbers in its pass."""

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return super().forward(pixel_values + torch.randn_like(pixel_values))


def by_hand(model: nn.Module) -> Backbone:
    torch.manual_seed(0)
    return Backbone("by hand", "sha256:0", model.eval(), Preprocess(SIZE, (0.5,) * 3, (0.5,) * 3))


def test_a_cut_that_would_lose_a_skip_connection_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="read more than the hidden states"):
        by_hand(Skipping()).check_cut(2)


def test_a_backbone_that_draws_random_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Two passes"):
        by_hand(Guessing()).blocks()


def test_a_size_the_model_does_not_take_is_told_before_tiles_are_made(tmp_path: Path) -> None:
    backbone = load(tmp_path, "vit_msn")
    tiny = Backbone(backbone.id, backbone.revision, backbone.model, Preprocess(4, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ConfigurationError, match="does not take an image of 4 px"):
        tiny.blocks()


@pytest.mark.parametrize("name", ["vit", "clip", "sam_vision_model", "dinov2"])
def test_what_moves_behind_the_last_block_has_a_part_in_the_outcome(tmp_path: Path, name: str) -> None:
    backbone = load(tmp_path, name)
    image = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        before = backbone.embed(image)[1].clone()
    for parameter in backbone.flow.after:
        assert not parameter.startswith(backbone.flow.blocks[-1])
        with torch.no_grad():
            moved = backbone.model.get_parameter(parameter)
            kept = moved.clone()
            moved += torch.randn(moved.shape, generator=torch.Generator().manual_seed(0))
            assert not torch.allclose(backbone.embed(image)[1], before), parameter
            moved.copy_(kept)
    if name == "clip":
        assert backbone.flow.after == (), (
            "the norm behind CLIP's blocks is of the pooled vector, which is not used"
        )
    else:
        assert backbone.flow.after


def test_an_update_of_a_convolution_is_a_convolution(tmp_path: Path) -> None:
    backbone = load(tmp_path, "resnet")
    names = add_updates(backbone.model, 2, seed=1)
    layer = backbone.model.get_submodule(names[1])
    assert isinstance(layer, LowRank) and isinstance(layer.base, nn.Conv2d)
    assert layer.base.kernel_size == (3, 3)
    nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(3))
    x = torch.randn(2, layer.base.in_channels, 9, 9, generator=torch.Generator().manual_seed(4))
    weight = torch.einsum("or,rikl->oikl", layer.lora_B[:, :, 0, 0], layer.lora_A) * layer.scale
    merged = nn.functional.conv2d(
        x, layer.base.weight + weight, layer.base.bias, layer.base.stride, layer.base.padding
    )
    assert np.allclose(layer(x).detach(), merged.detach(), atol=1e-4)
