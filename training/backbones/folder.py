"""A model folder on this machine: config.json and safetensors in the transformers layout.

What belongs here: making such a folder once, naming its content by a hash, loading it. No hub is ever asked, and code that
a folder brings runs only where the spec names its class and the hash of all of it (own_code).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.records import ConfigurationError
from training.backbones import own_code

if TYPE_CHECKING:
    from torch import nn

    from training.model_spec import Code


def install(folder: Path, write: Callable[[Path], None]) -> Path:
    """`folder`, made by `write` on first use. Whole or absent, whoever else is making it at the same time."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError:
        raise ConfigurationError(
            f"Cannot write {folder.parent}: backbones are kept there once converted. Make it writable, or point "
            "XDG_CACHE_HOME elsewhere."
        ) from None
    try:
        write(aside)
        os.rename(aside, folder)
    except OSError:
        if not folder.is_dir():  # not another process that was first: a real failure
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def digest(folder: Path) -> str:
    """sha256 over config and every tensor's name, type, shape and bytes: the same weights in any container."""
    from safetensors import safe_open

    hasher = hashlib.sha256(_config_bytes(folder))
    hasher.update(own_code.digest(folder).encode() if own_code.named(folder) else b"")
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            for name in sorted(tensors.keys()):
                tensor = tensors.get_tensor(name).contiguous()
                hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                hasher.update(tensor.flatten().view(_uint8()).numpy().data)
    return hasher.hexdigest()


def load(folder: Path, code: Code | None = None) -> nn.Module:
    """The vision model of a folder, fp32, in evaluation mode. `code`: the folder's own that may run.

    Raises ConfigurationError where the folder holds no safetensors, an architecture transformers does not have
    natively and whose code is not allowed, or weights that do not fill the model.
    """
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            f"{folder} must hold config.json and *.safetensors; pickled weights are not read. Mend model.id."
        )
    from transformers import CONFIG_MAPPING, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what is missing is judged below
    kind = json.loads((folder / "config.json").read_text()).get("model_type")
    own_code.check(folder, code, kind in CONFIG_MAPPING)
    try:
        model, info = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=code is not None,
            use_safetensors=True,
            output_loading_info=True,
            dtype="float32",
        )
    except (ValueError, KeyError, OSError) as error:
        raise ConfigurationError(f"transformers cannot load {folder}: {error}") from None
    missing = sorted(info["missing_keys"])
    if needed := [key for key in missing if "pooler" not in key and "mask_token" not in key]:
        raise ConfigurationError(
            f"{folder} lacks {len(needed)} tensors, first {needed[0]}: a model in part re-initialised is refused."
        )
    vision: nn.Module = getattr(model, "vision_model", model)
    _forget(model, vision, missing)
    return vision.eval()


def _forget(model: nn.Module, vision: nn.Module, missing: list[str]) -> None:
    """Tensors the folder lacks and nothing here uses must not stay random: a copy of them would differ every time."""
    import torch

    own = dict(model.named_parameters())
    with torch.no_grad():
        for name in missing:
            own[name].zero_()
    if any("pooler" in name for name in missing):
        vision.pooler = None  # type: ignore[assignment]


def normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel means and deviations from preprocessor_config.json, else ImageNet's."""
    path = folder / "preprocessor_config.json"
    facts: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    mean = facts.get("image_mean") or (0.485, 0.456, 0.406)
    std = facts.get("image_std") or (0.229, 0.224, 0.225)
    return tuple(map(float, mean)), tuple(map(float, std))


def _config_bytes(folder: Path) -> bytes:
    facts = json.loads((folder / "config.json").read_text())
    facts.pop("transformers_version", None)  # says who wrote the file, not what the model is
    facts.pop("_name_or_path", None)
    return json.dumps(facts, sort_keys=True).encode()


def _uint8() -> Any:
    import torch

    return torch.uint8
