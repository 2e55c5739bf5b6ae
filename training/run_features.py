"""A finished run as arrays: its members, what is true of them, the frozen features they were given, and what it answered.

What belongs here: finding the cached features of a run again, without torch where they are still there. What does not: anything
learned from them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.pack import PACK_VERSION
from curation.records import ConfigurationError
from training import cache
from training.examples import Examples, read_examples
from training.runs import RunFolder, read_run
from training.spec import TuneSpec, parse_spec
from training.task import Task, find_task

Floats = NDArray[np.float64]
Features = NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunFeatures:
    """N members of the run's cohort, in the order of members.parquet; C outputs."""

    run_id: str
    lake_root: Path
    spec: TuneSpec
    task: Task
    examples: Examples
    names: tuple[str, ...]
    truth: Floats
    """[N, C] 0 or 1, NaN where it is not certain."""
    features: Features
    """[N, F]"""

    def answers(self) -> Floats:
        """[N, C] what the tuned arm said of each member; NaN of those whom it did not judge."""
        table = pq.read_table(
            RunFolder(self.lake_root, self.run_id).path / "predictions.parquet",
            columns=["series_id", "split", "arm", "label", "score"],
            filters=[("arm", "=", "tuned")],
        )
        place = {series: n for n, series in enumerate(self.examples.series_id)}
        column = {name: c for c, name in enumerate(self.names)}
        found = np.full(self.truth.shape, np.nan)
        for row in table.to_pylist():
            n = place.get(row["series_id"])
            # with leave_one_site_out a member is judged again as holdout: what counts is the model that is released
            if n is not None and row["split"] == self.examples.split[n] and row["label"] in column:
                found[n, column[row["label"]]] = row["score"]
        return found


def read_run_features(
    lake_root: Path,
    run_id: str,
    *,
    backbone_cache: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> RunFeatures:
    """What a finished run looked at. Features that are no longer cached are made again, which takes a pass of the backbone.

    Raises ConfigurationError where there is no such run, it has not finished, its task has no yes/no answers or its cohort is gone.
    """
    run = read_run(lake_root, run_id)
    folder = RunFolder(lake_root, run_id)
    facts = folder.read_json("preprocess.json")
    if run["status"] != "done":
        raise ConfigurationError(f"Run {run_id} is {run['status']}: let it finish first (rwid tune goes on).")
    if facts is None:
        raise ConfigurationError(
            f"Run {run_id} has no preprocess.json, so its features cannot be found. Run its spec again."
        )
    cohort = lake_root / "cohorts" / str(run["cohort_id"])
    if not (cohort / "members.parquet").is_file():
        raise ConfigurationError(f"Cohort {cohort.name} of run {run_id} is not in this lake; build it again.")
    spec = parse_spec(run["spec"], source=f"Run {run_id}")
    examples = read_examples(cohort, spec.task.labels, spec.task.covariates)
    task = find_task(spec.task, facts.get("task_state"))
    if not task.has_probabilities:
        raise ConfigurationError(
            f"Run {run_id} answers no yes/no questions, so there is no probability to go by."
        )
    names = tuple(facts["outputs"])
    features = cohort_features(lake_root, cohort, spec, facts, backbone_cache, progress)
    return RunFeatures(
        run_id, lake_root, spec, task, examples, names, task.targets(examples.labels, len(names)), features
    )


def cohort_features(
    lake_root: Path,
    cohort: Path,
    spec: TuneSpec,
    facts: dict[str, object],
    backbone_cache: Path | None,
    progress: Progress,
) -> Features:
    """[N, F] frozen features of a cohort's members, by the backbone of a run (its preprocess.json is `facts`)."""
    for path in sorted((cohort / "packs").glob("*/cache/*/cache.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        pack = json.loads((path.parents[2] / "pack.json").read_text(encoding="utf-8"))
        is_it = (known["version"], known["revision"], known["preprocess"]) == (
            cache.CACHE_VERSION, facts["revision"], facts["preprocess"],
        )  # fmt: skip
        shows = (pack["pack_version"], pack["recipe"]["size"], pack["recipe"]["tiles_per_series"])
        if is_it and shows == (PACK_VERSION, spec.model.input.size, spec.model.input.tiles):
            return np.asarray(np.load(path.with_name("features.npy")))
    return _made_again(lake_root, cohort, spec, str(facts["revision"]), backbone_cache, progress)


def _made_again(
    lake_root: Path,
    cohort: Path,
    spec: TuneSpec,
    revision: str,
    backbone_cache: Path | None,
    progress: Progress,
) -> Features:
    import torch

    from training import batches
    from training.backbone import load_backbone

    seen = spec.model
    backbone = load_backbone(seen.id, seen.input.size, revision, backbone_cache)
    pack = batches.find_pack(lake_root, cohort, seen.input, progress)
    tiles = batches.Tiles(pack, len(read_examples(cohort, ())))
    return cache.frozen(backbone, tiles, torch.device("cpu"), "fp32", progress=progress).features
