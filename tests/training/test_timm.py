"""A folder in timm's layout is a backbone: same features as timm's own, every method finds its blocks by structure."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from curation.records import ConfigurationError
from training.backbone import load_backbone

IS_THERE = all(importlib.util.find_spec(name) for name in ("timm", "torchvision"))
needs_timm = pytest.mark.skipif(
    not IS_THERE, reason="timm with a torchvision that fits torch is not installed"
)

TINY = {
    "vit_tiny_patch16_224": {"embed_dim": 24, "depth": 3, "num_heads": 2},
    "vit_small_patch16_dinov3": {"embed_dim": 24, "depth": 3, "num_heads": 2},
    "convnext_atto": {"dims": [8, 16, 24, 32], "depths": [1, 1, 2, 1]},
    "swin_tiny_patch4_window7_224": {
        "embed_dim": 12,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 3, 4],
        "img_size": 224,
    },
    "resnet10t": {},
}


def saved(folder: Path, architecture: str, arguments: dict[str, object]) -> Path:
    """A random tiny model, with a classifier, as timm saves one."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model(architecture, pretrained=False, num_classes=5, **arguments)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    facts = {"architecture": architecture, "num_classes": 5, "model_args": arguments}
    (folder / "config.json").write_text(
        json.dumps({**facts, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}})
    )
    return folder


@needs_timm
@pytest.mark.parametrize(("architecture", "arguments"), TINY.items())
def test_a_timm_folder_gives_timms_own_features(
    tmp_path: Path, architecture: str, arguments: dict[str, object]
) -> None:
    import timm
    from safetensors.torch import load_file

    folder = saved(tmp_path / "model", architecture, arguments)
    backbone = load_backbone(str(folder), 224)
    assert backbone.preprocess.mean == (0.5, 0.5, 0.5)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    own = timm.create_model(architecture, pretrained=False, num_classes=5, **arguments).eval()
    own.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.inference_mode():
        cls, tokens = backbone.embed(images)
        features = own.forward_features(images)
    if features.ndim == 3:
        torch.testing.assert_close(cls, features[:, 0])
        torch.testing.assert_close(tokens, features[:, own.num_prefix_tokens :])
    else:
        axes = (1, 2) if own.__class__.__name__.startswith("Swin") else (2, 3)
        torch.testing.assert_close(cls, features.mean(axes))
    assert len(backbone.blocks()) >= 3


@needs_timm
def test_a_timm_vit_takes_tiles_of_another_size(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "vit_tiny_patch16_224", TINY["vit_tiny_patch16_224"])
    backbone = load_backbone(str(folder), 112)
    assert backbone.embed(torch.zeros(1, 3, 112, 112))[1].shape[1] == 49
    backbone.check_cut(2)


@needs_timm
def test_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = saved(tmp_path / "model", "vit_tiny_patch16_224", TINY["vit_tiny_patch16_224"])
    tensors = load_file(folder / "model.safetensors")
    del tensors["blocks.1.mlp.fc1.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match="do not fill"):
        load_backbone(str(folder), 224)


@pytest.mark.skipif(IS_THERE, reason="timm is installed")
def test_without_timm_the_remedy_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224"}))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigurationError, match="Install timm"):
        load_backbone(str(tmp_path), 224)
