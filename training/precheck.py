"""What can be known before any compute: is the split honest, can the labels be learned, is the label the site?

What belongs here: refusing a hopeless run early, and the estimate for the form of the Tune page. What does not:
anything that needs torch or pixels.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import find_cohort, read_facts
from curation.lake import Lake
from curation.leakage import leakage
from curation.pack_file import reasons_in_words
from curation.records import ConfigurationError
from training.cells import UNKNOWN
from training.examples import SPLITS, Examples, read_examples
from training.groups import property_of
from training.spec import TuneSpec, run_id
from training.task import Task, cohort_labels, find_task

Floats = NDArray[np.float64]

SITE_LABEL_WARNING = 0.3
"""Association of site and label from which a model may learn the site instead of the finding."""

_EMPTY = "The train split is empty. Give the cohort's split a train share, or ingest more studies."

ASSOCIATION = {True: "Cramer's V", False: "correlation ratio"}
"""What says it of classes, and of measurements."""

_CPU_GFLOPS_PER_CORE = 60.0
_GPU_GFLOPS = 100_000.0
_SHAPES: Mapping[str, tuple[int, int, int]] = {
    "builtin:vits14": (384, 12, 14),
    "builtin:tiny-vit": (32, 2, 7),
    "builtin:i3resnet152-astra": (2048, 50, 32),  # of the order of its volumes
}
"""Backbone -> width, blocks, patch px."""


def check(
    lake_root: Path, examples: Examples, spec: TuneSpec, left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Counts, prevalence, association of label and site, `problems` (refuse) and `warnings` (run, but read them).

    left_out: why members that are not among the examples any more have no pixels to show, one reason a member.
    """
    leaks, unchecked = _leaks(lake_root, examples)
    train = examples.split == "train"
    task = find_task(spec.task).prepared(examples.labels, train)
    names = task.outputs(examples.labels)
    targets = task.targets(examples.labels, len(names))
    association = {name: _site_association(examples, task, targets[:, c]) for c, name in enumerate(names)}
    return {
        "cohort_id": examples.cohort_id,
        "n": len(examples),
        "patients": int(examples.patient.max()) + 1,
        "sites": examples.sites,
        "splits": {s: int((examples.split == s).sum()) for s in SPLITS},
        "labels": list(names),
        "prevalence": _prevalence(examples, task, names, targets),
        "label_site_association": association,
        "problems": leaks
        + (task.problems(names, targets[train]) if train.any() else [_EMPTY])
        + _nothing_to_project(examples, spec),
        "left_out": dict(sorted(Counter(left_out).items())),
        "warnings": unchecked
        + _left_out(left_out, len(examples))
        + _warnings(examples, task, names, targets, association),
    }


def _left_out(reasons: Sequence[str], n_kept: int) -> list[str]:
    if not reasons:
        return []
    why = reasons_in_words(Counter(reasons))
    return [f"{len(reasons)} of {len(reasons) + n_kept} members are in no split and not judged: {why}."]


def _nothing_to_project(examples: Examples, spec: TuneSpec) -> list[str]:
    """What data.project asks to take out must differ among those who teach."""
    if spec.data.project == "none":
        return []
    values = set(property_of(examples, spec.data.project)[examples.split == "train"].tolist()) - {UNKNOWN}
    if len(values) > 1:
        return []
    return [
        f"data.project: the train split knows one value of {spec.data.project!r} at most. Set it to none, or add studies."
    ]


def refuse_problems(found: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where `check` found problems."""
    if found["problems"]:
        raise ConfigurationError(" ".join(found["problems"]))


def estimate(lake_root: Path, spec: TuneSpec) -> dict[str, Any]:
    """`check` of the spec's cohort, plus run_id, minutes (order of magnitude) and whether the run exists already.

    Raises ConfigurationError where the cohort, a label or a covariate is not there.
    """
    folder = find_cohort(Lake(lake_root), spec.cohort)
    examples = read_examples(folder, cohort_labels(spec.task), spec.task.covariates)
    name = run_id(spec, examples.cohort_id)
    return {
        **check(lake_root, examples, spec),
        "run_id": name,
        "exists": (lake_root / "runs" / name / "spec.json").is_file(),
        "minutes": round(_minutes(examples, spec), 1),
    }


def _leaks(lake_root: Path, examples: Examples) -> tuple[list[str], list[str]]:
    """Sentences for what the test split shares with the train split, and for what could not be checked."""
    pairs = {(int(p), str(s)) for p, s in zip(examples.patient, examples.split, strict=True)}
    remedy = "the evaluation would be a lie. Build the cohort again."
    if n := len(pairs) - len({p for p, _ in pairs}):
        return [f"{n} patients have studies in two splits: {remedy}"], []
    number = int(read_facts(examples.folder)["snapshot"])
    lake = Lake(lake_root)
    if number not in lake.numbers():
        return [], [f"Snapshot {number} is not in this lake: shared pixels and reports were not looked for."]
    return [f"{p.title.rstrip('.')} ({p.n}): {remedy}" for p in leakage(lake, examples.folder)], []


def _warnings(
    examples: Examples,
    task: Task,
    names: tuple[str, ...],
    targets: Floats,
    association: Mapping[str, float | None],
) -> list[str]:
    warnings = []
    for name, strength in association.items():
        if strength is not None and strength >= SITE_LABEL_WARNING:
            warnings.append(
                f"{name!r} goes with the site ({ASSOCIATION[task.has_probabilities]} {strength:.2f}): the model may learn the site."
            )
    for split in ("tune", "test"):
        warnings += task.warnings(names, targets[examples.split == split], split)
    return warnings


def _prevalence(
    examples: Examples, task: Task, names: tuple[str, ...], targets: Floats
) -> list[dict[str, Any]]:
    rows = []
    for split in SPLITS:
        for site in ["all", *examples.sites]:
            here = (examples.split == split) & ((examples.site == site) | (site == "all"))
            for column, name in enumerate(names):
                known = targets[here, column][~np.isnan(targets[here, column])]
                if here.any():
                    mean = float(known.mean()) if known.size else None
                    row = {
                        "split": split,
                        "site": site,
                        "label": name,
                        "n": int(here.sum()),
                        "known": int(known.size),
                    }
                    rows.append({**row, "prevalence" if task.has_probabilities else "mean": mean})
    return rows


def _site_association(examples: Examples, task: Task, target: Floats) -> float | None:
    known = ~np.isnan(target) & (examples.split == "train")
    return task.site_association(examples.site[known], target[known])


def _minutes(examples: Examples, spec: TuneSpec) -> float:
    """Forward cost of a ViT of that shape, times how often each method passes each tile, over an honest speed."""
    if find_task(spec.task).reads == "text":
        return 0.2 + len(examples) / 5000  # a bag; of a transformers model several times that
    width, n_blocks, patch = _shape(spec.model.id)
    tokens = (spec.model.input.size // patch) ** 2 + 1
    forward = n_blocks * (24 * tokens * width**2 + 4 * tokens**2 * width) / 1e9  # GFLOP a tile
    n_tiles = len(examples) * spec.model.input.tiles
    epochs = min(
        spec.budget.max_epochs, spec.budget.max_steps * spec.method.batch_size / max(1, len(examples))
    )
    moving = {
        "probe": 0.0,
        "cut": 3 * spec.method.blocks / n_blocks,
        "last_n": 1 + 2 * spec.method.blocks / n_blocks,
    }
    share = float((examples.split == "train").mean())
    passes = 1.0 + (spec.method.views - 1) * (spec.method.kind == "cut")
    passes += epochs * share * moving.get(spec.method.kind, 3.0 if spec.method.kind == "full" else 2.4)
    has_gpu = spec.compute.device != "cpu" and Path("/proc/driver/nvidia/version").exists()
    cores = spec.compute.threads or len(os.sched_getaffinity(0))
    speed = _GPU_GFLOPS if has_gpu else _CPU_GFLOPS_PER_CORE * cores
    return 0.2 + min(
        n_tiles * forward * passes / speed / 60, spec.budget.max_minutes + n_tiles * forward / speed / 60
    )


def _shape(model_id: str) -> tuple[int, int, int]:
    if model_id in _SHAPES:
        return _SHAPES[model_id]
    config = Path(model_id) / "config.json"
    if not config.is_file():
        raise ConfigurationError(
            f"Backbone {model_id!r} is neither built in ({', '.join(_SHAPES)}) nor a folder with config.json. Mend model.id."
        )
    facts = json.loads(config.read_text())
    facts = facts.get("vision_config", facts)
    return (
        _largest(facts.get("hidden_size"), 384),
        _largest(facts.get("num_hidden_layers"), 12),
        _largest(facts.get("patch_size"), 16),
    )


def _largest(value: Any, default: int) -> int:
    """Of a number, of one for each side or stage, or of none."""
    numbers = value if isinstance(value, list) else [value]
    return max((int(n) for n in numbers if n), default=default)
