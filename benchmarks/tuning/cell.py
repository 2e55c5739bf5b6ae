"""One cell: a run of the generic tuner, what knowing nothing would cost, and what an oracle reads from the same tiles.

What belongs here: one cell's figures. What does not: the simulated input (simulated_modalities), which cells, marks and the
file (bench_cells).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.tuning.simulated_modalities import patches
from curation.cohort_folder import find_cohort
from curation.lake import Lake
from training import batches, metrics, probe
from training.examples import Examples, read_examples
from training.spec import TuneSpec, parse_spec
from training.task import Task, cohort_labels, find_task
from training.tune import tune

Floats = NDArray[np.float64]
SIZE = 28


@dataclass(frozen=True)
class Asked:
    """One question: the task of a spec, which metric judges it, and the mark."""

    task: Mapping[str, Any]
    metric: str
    mark: float


@dataclass(frozen=True)
class Cell:
    """A cohort under one task, as the tuner sees it: N examples, C outputs."""

    lake_root: Path
    spec: TuneSpec
    examples: Examples
    task: Task
    targets: Floats
    truth: Floats
    watched: Floats

    def read_by(self, features: NDArray[np.float32]) -> Floats:
        """Logits [N, C] of the tuner's own linear head on other features than a backbone's."""
        seats = probe.Seats(self.of("train"), self.of("tune"), self.examples.patient)
        weights = (~np.isnan(self.targets)).astype(np.float64)
        head = self.task.fit_probe(
            features, self.targets, weights, self.watched, seats, lambda step, facts: None
        )
        return head.logits(features)

    def of(self, split: str) -> NDArray[np.int64]:
        """Examples of a split."""
        return np.flatnonzero(self.examples.split == split)

    def loss(self, logits: Floats) -> float:
        """The loop's loss over the whole train split."""
        train = self.of("train")
        targets = torch.from_numpy(self.targets[train])
        return float(self.task.loss(torch.from_numpy(logits[train]), targets, torch.ones_like(targets)))

    def judge(self, logits: Floats, metric: str) -> float:
        """AUROC, mean over outputs, or R2 of one output, on the held-out site."""
        held = self.of("holdout")
        truth, answers = self.truth[held], self.task.answers(torch.from_numpy(logits[held])).numpy()
        if metric == "r2":
            return float(1 - ((truth - answers) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
        found = probe.macro(metrics.auroc, answers, truth)
        assert found is not None
        return found


def spec_of(cohort: str, asked: Asked, window: str | None) -> TuneSpec:
    """The one spec that every cell has but for its task and, of CT, the window."""
    return parse_spec({
        "name": f"cell-{asked.task['kind']}",
        "cohort": cohort,
        "model": {"id": "builtin:tiny-vit", "input": {"size": SIZE, "window": window}},
        "task": dict(asked.task),
        "method": {"kind": "cut", "blocks": 1, "batch_size": 16, "lr": 3e-4, "head_lr": 1e-3},
        "data": {"augment": "none"},
        "budget": {"max_minutes": 5, "max_epochs": 10, "patience": 10},
        "compute": {"device": "cpu", "threads": 1},
        "report": {"bootstrap": 200, "min_cell": 5},
    })  # fmt: skip


def measure(lake_root: Path, cohort: str, asked: Asked, window: str | None) -> dict[str, Any]:
    """The run's figures on the held-out site with its losses, and the figure of an oracle there."""
    spec = spec_of(cohort, asked, window)
    run = tune(lake_root, spec, report=lambda facts: None)
    arms, losses, cell = _arms(run, asked), _losses(run), _cell(lake_root, spec)
    tuned, quarter = arms["tuned"], max(1, len(losses) // 4)
    nothing = cell.read_by(np.zeros((len(cell.examples), 1), np.float32))
    oracle = cell.read_by(_brightness(cell))
    return {
        "metric": asked.metric, "mark": asked.mark, "value": round(tuned["value"], 4), "low": round(tuned["low"], 4),
        "high": round(tuned["high"], 4), "untuned": round(arms["untuned"]["value"], 4),
        "oracle": round(cell.judge(oracle, asked.metric), 4), "studies": tuned["n"],
        "loss_knowing_nothing": round(cell.loss(nothing), 5),
        "loss_first_quarter": round(float(np.mean(losses[:quarter])), 5),
        "loss_last_quarter": round(float(np.mean(losses[-quarter:])), 5),
        "loss_of_oracle": round(cell.loss(oracle), 5),
        "best_step": json.loads((run / "loop.json").read_text())["best_step"],
        "warnings": json.loads((run / "precheck.json").read_text())["warnings"],
    }  # fmt: skip


def _cell(lake_root: Path, spec: TuneSpec) -> Cell:
    examples = read_examples(find_cohort(Lake(lake_root), spec.cohort), cohort_labels(spec.task))
    task = find_task(spec.task).prepared(examples.labels, examples.split == "train")
    n = len(task.outputs(examples.labels))
    values = examples.labels
    return Cell(
        lake_root, spec, examples, task,
        targets=task.training_targets(values, n), truth=task.targets(values, n), watched=task.watched(values, n),
    )  # fmt: skip


def _brightness(cell: Cell) -> NDArray[np.float32]:
    """[N, 2] mean grey level of the two planted patches in the tiles that the backbone was shown."""
    pack = batches.find_pack(
        cell.lake_root, cell.examples.folder, cell.spec.model.input, lambda done, total: None
    )
    tiles = batches.Tiles(pack, len(cell.examples)).take(np.arange(len(cell.examples)))[:, 0].double().numpy()
    return np.stack([tiles[:, rows, columns].mean((1, 2)) for rows, columns in patches(SIZE)], 1).astype("f4")


def _losses(run: Path) -> list[float]:
    history = pq.read_table(run / "history.parquet").to_pylist()
    return [r["value"] for r in history if r["name"] == "train/loss"]


def _arms(run: Path, asked: Asked) -> dict[str, dict[str, Any]]:
    wanted = {"split": "holdout", "site": "all", "subgroup": "all", "name": asked.metric}
    wanted["label"] = asked.task["labels"][0] if asked.metric == "r2" else "macro"
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    return {r["arm"]: r for r in rows if all(r[k] == v for k, v in wanted.items())}
