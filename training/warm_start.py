"""A finished run as the start of another: its weights in the backbone, its head on top, or a refusal that says what differs.

What belongs here: what fits what, and putting it there. What does not: the probe that starts every other run (probe, heads).
Only from pixels: what a cut reads was cached of the backbone as it came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation.records import ConfigurationError
from training.job import Job
from training.spec import TuneSpec, parse_spec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from training.backbone import Backbone
    from training.method import LinearHead


@dataclass(frozen=True)
class Warm:
    """Where a run starts: the head, and every tensor of the backbone that is another than the one it came with."""

    head: LinearHead
    base: Mapping[str, torch.Tensor]


def check_fits(job: Job, revision: str) -> None:
    """Raises ConfigurationError where the run that `method.warm_start` names is not finished, or another question."""
    asked = job.spec
    if asked.method.warm_start == "probe":
        return
    folder, spec = _source(job)
    facts = json.loads((folder / "preprocess.json").read_text())
    known = json.loads((folder / "precheck.json").read_text())["cohort_id"]
    differs = {
        "model.id": facts["revision"] != revision,
        "model.input": spec.model.input != asked.model.input,
        "cohort": known != job.examples.cohort_id,
        "task": spec.task.kind != asked.task.kind or tuple(facts["outputs"]) != job.names,
        "method.head": spec.method.head not in ("linear", asked.method.head),
    }
    if wrong := [name for name, is_other in differs.items() if is_other]:
        raise ConfigurationError(
            f"method.warm_start: run {folder.name} does not fit, it has another {', '.join(wrong)}. Start from a run that has "
            "the same, or set it to probe."
        )
    if asked.split.policy != "cohort":
        raise ConfigurationError(
            "method.warm_start: the run's weights know every site, so no fit could leave one out. Set split.policy to cohort."
        )


def warm_up(job: Job, came: Backbone, own: Backbone) -> Warm:
    """Puts the source's weights into `own`, a copy of the backbone as it `came`. Raises ConfigurationError where a shape
    does not fit.
    """
    import torch

    from training.export import load_adapter_of, load_head

    folder, spec = _source(job)
    load_adapter_of(folder, spec, own)
    merge_updates(own.model)
    before = dict(came.model.named_parameters())
    changed = {n: p.detach() for n, p in own.model.named_parameters() if not torch.equal(p, before[n])}
    base = {} if job.spec.method.kind == "full" else {n: t.cpu().clone() for n, t in sorted(changed.items())}
    return Warm(load_head(folder, job.spec.method.head), base)


def merge_updates(model: nn.Module) -> None:
    """Adds every low-rank update to the weight it was for, in place, and takes it away: the same function of images."""
    import torch
    from transformers.pytorch_utils import Conv1D

    from training.lowrank import LowRank

    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, LowRank)]:
        down, up = layer.lora_A, layer.lora_B
        update = torch.einsum("or,ri...->oi...", up.flatten(1), down) * layer.scale
        weight = layer.base.weight
        assert isinstance(weight, torch.Tensor)
        with torch.no_grad():
            weight.add_(update.T if isinstance(layer.base, Conv1D) else update)
        model.set_submodule(name, layer.base)


def _source(job: Job) -> tuple[Path, TuneSpec]:
    name = job.spec.method.warm_start
    folder = job.run.path.parent / name
    status = folder / "status.json"
    if not status.is_file() or json.loads(status.read_text())["status"] != "done":
        raise ConfigurationError(
            f"method.warm_start: run {name} is not here, or not finished; rwid runs lists them. Finish it first."
        )
    return folder, parse_spec(json.loads((folder / "spec.json").read_text()), source=f"run {name}")
