"""A finished run as one folder that reloads anywhere: backbone, what moved, head, preprocessing, report, and ONNX if asked.

What belongs here: making that folder and refusing one that is not whole. What does not: what is released of a run and how
it judges (export), the graph (onnx_graph).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.records import ConfigurationError
from training.export import BACKBONE, Tuned, load_tuned
from training.runs import RunFolder

FACTS, ONNX = "bundle.json", "model.onnx"
NEEDED = ("spec.json", "preprocess.json", "head.safetensors", "operating_points.json")
WELCOME = (
    "adapter.safetensors", "adapter_config.json", "base.safetensors", "report.json", "report.html", "model_card.md", "env.json", "precheck.json",
)  # fmt: skip
_UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".npy", ".npz")
"""Endings of files that may run code when they are read, or that nothing here reads."""


@dataclass(frozen=True)
class Bundle:
    """What was written: where, how many bytes, and how far the ONNX graph's logits are from torch's (None: none was asked for)."""

    path: Path
    bytes: int
    onnx_difference: float | None


def write_bundle(
    lake_root: Path, run_id: str, out: Path, *, with_onnx: bool = False, backbone_cache: Path | None = None
) -> Bundle:
    """The run's folder at `out`, whole or not at all, read back before it gets its name.

    Raises ConfigurationError where the run is not finished, `out` is there already, or the graph differs from torch.
    """
    from training.backbone import backbone_folder

    if out.exists():
        raise ConfigurationError(f"{out} is there already. Name a folder that is not, or delete that one.")
    run = RunFolder(lake_root, run_id)
    if (run.read_json("status.json") or {}).get("status") != "done":
        raise ConfigurationError(f"Run {run_id} is not finished. rwid runs lists those that are.")
    spec: dict[str, Any] = run.read_json("spec.json") or {}
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name in (*NEEDED, *WELCOME):
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, aside / name)
        _copy_backbone(backbone_folder(spec["model"]["id"], backbone_cache), aside / BACKBONE)
        facts: dict[str, Any] = {"run_id": run_id, "onnx": None}
        if with_onnx:
            from training.onnx_graph import write_onnx

            facts["onnx"] = write_onnx(load_tuned(aside), aside / ONNX)
        facts["files"] = _hashes(aside)
        (aside / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
        read_bundle(aside)
        os.rename(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Bundle(out, size, facts["onnx"] and facts["onnx"]["max_logit_difference"])


def read_bundle(folder: Path) -> Tuned:
    """The model of a bundle, on any machine.

    Raises ConfigurationError where a file is missing, was changed or added, or is of a kind that may run code.
    """
    path = folder / FACTS
    if not path.is_file():
        raise ConfigurationError(
            f"{folder} is no bundle: it has no {FACTS}. Make one: rwid runs export RUN DIR."
        )
    promised: dict[str, str] = json.loads(path.read_text())["files"]
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {FACTS}
    if unsafe := sorted(name for name in found if name.endswith(_UNSAFE)):
        raise ConfigurationError(
            f"{folder} holds {unsafe[0]}, which may run code when it is read. Delete it."
        )
    if missing := sorted(promised.keys() - found):
        raise ConfigurationError(f"{folder} lacks {missing[0]}. Export the run again.")
    if foreign := sorted(found - promised.keys()):
        raise ConfigurationError(f"{folder} holds {foreign[0]}, which its export did not write. Delete it.")
    for name, digest in _hashes(folder).items():
        if name != FACTS and promised[name] != digest:
            raise ConfigurationError(f"{folder}: {name} was changed since the export. Export the run again.")
    return load_tuned(folder)


def _copy_backbone(source: Path, target: Path) -> None:
    """What loading reads: configuration, safetensors, and code where there is any."""
    target.mkdir()
    for pattern in ("*.json", "*.safetensors", "*.py"):
        for path in sorted(source.glob(pattern)):
            shutil.copyfile(path, target / path.name)


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
