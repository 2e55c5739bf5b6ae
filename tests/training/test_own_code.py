"""Code that a model folder brings runs only where the spec names its class and the hash of all of it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.records import ConfigurationError
from training.backbone import load_backbone
from training.backbones import own_code
from training.model_spec import Code

torch.set_num_threads(1)

MODELING = """
import pathlib
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

pathlib.Path(__file__).with_name("ran").touch()


class PatchConfig(PretrainedConfig):
    model_type = "patch_mixer"
    width = 8
    patch_size = 16


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, hidden):
        return hidden + self.fc(hidden).tanh()


class PatchMixer(PreTrainedModel):
    config_class = PatchConfig

    def __init__(self, config):
        super().__init__(config)
        self.patch = nn.Conv2d(3, 8, 16, 16)
        self.blocks = nn.ModuleList([Block() for _ in range(3)])
        self.post_init()

    def forward(self, pixel_values):
        hidden = self.patch(pixel_values).flatten(2).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden)
        return BaseModelOutput(last_hidden_state=hidden)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "mixer"
    folder.mkdir()
    (folder / "modeling_mixer.py").write_text(MODELING)
    maps = {"AutoConfig": "modeling_mixer.PatchConfig", "AutoModel": "modeling_mixer.PatchMixer"}
    config = {
        "model_type": "patch_mixer",
        "auto_map": maps,
        "patch_size": 16,
        "architectures": ["PatchMixer"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    tensors = {"patch.weight": torch.randn(8, 3, 16, 16), "patch.bias": torch.zeros(8)}
    for n in range(3):
        tensors |= {f"blocks.{n}.fc.weight": torch.randn(8, 8), f"blocks.{n}.fc.bias": torch.zeros(8)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def code(folder: Path, name: str = "PatchMixer") -> Code:
    return Code(name=name, sha256=f"sha256:{own_code.digest(folder)}")


def ran(folder: Path) -> bool:
    return any(folder.parent.rglob("ran"))


def test_code_of_a_folder_is_refused_and_the_refusal_says_how_to_allow_it(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"code.name=PatchMixer .*sha256:{own_code.digest(folder)}"):
        load_backbone(str(folder), 64)
    assert not ran(folder)


def test_allowed_code_runs_and_is_a_backbone_like_any_other(folder: Path) -> None:
    backbone = load_backbone(str(folder), 64, code=code(folder))
    assert ran(folder)
    cls, tokens = backbone.embed(torch.randn(2, 3, 64, 64))
    assert (cls.shape, tokens.shape, len(backbone.blocks())) == ((2, 8), (2, 16, 8), 3)
    backbone.check_cut(2)


def test_changed_code_and_another_class_are_refused(folder: Path) -> None:
    allowed = code(folder)
    with pytest.raises(ConfigurationError, match="brings PatchMixer"):
        load_backbone(str(folder), 64, code=code(folder, "Another"))
    (folder / "more.py").write_text("import os")
    with pytest.raises(ConfigurationError, match="Read what changed"):
        load_backbone(str(folder), 64, code=allowed)
    assert not ran(folder)


def test_code_from_a_hub_is_refused_even_if_allowed(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "somebody/model--modeling_mixer.PatchMixer"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="from a hub"):
        load_backbone(str(folder), 64, code=code(folder))
    assert not ran(folder)


def test_code_is_part_of_the_revision(folder: Path) -> None:
    before = load_backbone(str(folder), 64, code=code(folder)).revision
    (folder / "more.py").write_text("import os")
    assert load_backbone(str(folder), 64, code=code(folder)).revision != before


def test_allowing_code_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Leave out model\.code"):
        load_backbone("builtin:tiny-vit", 28, cache=folder.parent, code=code(folder))
