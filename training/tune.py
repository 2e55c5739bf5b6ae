"""One run, read from top to bottom: cohort, pack, frozen features, untuned arm, the loop, predictions, evidence.

What belongs here: the order of things. What does not: how each thing is done, and the loop itself (loop). A run that
was killed anywhere and started again ends with the same bytes on the same machine: order and augmentation follow from
the step, the state is replaced in one step, caches are whole or absent.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import find_cohort
from curation.lake import Lake
from curation.pack import Pack, open_pack
from curation.records import ConfigurationError, LabelIssue, Metric, to_table
from training import (
    batches,
    cache,
    checkpoint,
    dialogue,
    masks,
    pairs,
    precheck,
    probe,
    processes,
    reading,
    shown,
    visibility,
)
from training.attempt import alone, recorded
from training.audit import Scores
from training.audits.blanking import Looked, look
from training.evaluate import evaluate
from training.examples import Examples, read_examples
from training.footprint import Meter
from training.groups import property_of
from training.job import Fold, Job, make_job, named, plan_folds
from training.judged import judge, predictions
from training.repair import fit_repaired
from training.report import write_report
from training.report.catalogue import check_statements
from training.runs import RunFolder
from training.spec import TuneSpec, run_id
from training.task import cohort_labels, find_task
from training.tasks.yes_no import YesNo

if TYPE_CHECKING:
    from training.backbone import Backbone
    from training.method import LinearHead

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHECKPOINT_EVERY_S = 30.0


def tune(
    lake_root: Path,
    spec: TuneSpec,
    *,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool] = lambda: False,
    backbone_cache: Path | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> Path:
    """The run's folder, finished. Resumes what a former attempt left; a finished run is given back as it is.

    Raises ConfigurationError (nothing can be learned this way), Diverged, Stopped (state kept, start again to go on).
    """
    folder = find_cohort(Lake(lake_root), spec.cohort)
    examples = read_examples(folder, cohort_labels(spec.task), spec.task.covariates)
    name, group = run_id(spec, examples.cohort_id), processes.join(spec.compute.device)
    if group.world > 1 and find_task(spec.task).reads != "images":
        raise ConfigurationError(f"{spec.task.kind} takes one process. Start it as one.")
    if not group.is_first:
        return _help(lake_root, name, spec, examples, group, should_stop, backbone_cache)
    run = RunFolder(lake_root, name)
    with alone(run):
        if (run.read_json("status.json") or {}).get("status") == "done":
            group.say(False)
            return run.path
        run.write_json("spec.json", spec.model_dump(mode="json"))
        with recorded(run, spec, examples.cohort_id, report) as began:
            check_statements(spec.report.statements)
            found = precheck.check(lake_root, examples, spec)
            run.write_json("precheck.json", found)
            precheck.refuse_problems(found)
            job = make_job(spec, run, examples, report, should_stop, checkpoint_every_s, group)
            meter = Meter(_gpu_index(job))
            rows: list[Metric] = []
            looked: Looked | None = None
            if job.task.reads == "text":
                read = reading.fit_all(job, lake_root)
                scores, features = read.scores, read.features
                added = list(reading.lines(job, read))
            elif job.task.reads == "dialogue":
                talked = dialogue.fit_all(job, lake_root)
                scores, features, added = talked.scores, talked.features, talked.items
            else:
                backbone, pack = _load(job, lake_root, backbone_cache)
                if pack.left_out.num_rows:
                    examples = examples.without(pack.left_out["member_index"].to_pylist())
                    found = precheck.check(lake_root, examples, spec, pack.left_out["reason"].to_pylist())
                    run.write_json("precheck.json", found)
                    precheck.refuse_problems(found)
                    job = make_job(spec, run, examples, report, should_stop, checkpoint_every_s, group)
                tiles = _tiles(job, pack)
                _warn(job, found, visibility.mixed_windows(pack))
                if job.task.reads == "masks":
                    job, drawn = masks.fit_all(job, lake_root, backbone, pack, tiles)
                    run.write_parquet(masks.OVERLAP, masks.table(drawn.rows))
                    scores, features = drawn.scores, drawn.features
                    added, rows = list(masks.lines(drawn.rows)), list(masks.beyond_dice(job, drawn.rows))
                elif job.task.reads == "pairs":
                    cached = _frozen(job, backbone, tiles)
                    _warn(job, found, visibility.flat_features(cached.features[examples.split == "train"]))
                    paired = pairs.fit_all(job, lake_root, backbone, tiles, cached)
                    scores, added, rows = paired.scores, paired.items, paired.rows
                    features = cached.features
                else:
                    cached = _frozen(job, backbone, tiles)
                    _warn(job, found, visibility.flat_features(cached.features[examples.split == "train"]))
                    group.say(True)
                    scores, added = _fit_all(job, backbone, tiles, cached), []
                    features = cached.features
                    looked = _look_again(job, tiles, backbone_cache)
            job.beat("evaluating", 0.92)
            run.write_parquet("predictions.parquet", predictions(job, scores))
            evidence = evaluate(
                lake_root, examples, job.names, job.truth, scores, spec, run.run_id, features, looked
            )
            evidence.items += added
            evidence.metrics += rows
            run.write_parquet("label_issues.parquet", to_table(LabelIssue, evidence.issues))
            run.write_parquet("history.parquet", run.history())
            costs = list(meter.lines(began.seconds(), _gpu_peak(job)))
            write_report(run, spec, examples, found, evidence, costs, began.seconds())
        run.beat("done", progress=1.0, step=0, message="done")
    report({"kind": "done", "run_id": run.run_id, "progress": 1.0, "verdict": evidence.verdict})
    return run.path


def _warn(job: Job, found: dict[str, Any], sentences: list[str]) -> None:
    """What only pixels could tell joins the warnings of the pre-check, and whoever looks at the run sees it at once."""
    for sentence in sentences:
        found["warnings"].append(sentence)
        job.note(sentence)
    if sentences:
        job.run.write_json("precheck.json", found)


def _help(
    lake_root: Path,
    name: str,
    spec: TuneSpec,
    examples: Examples,
    group: processes.Processes,
    should_stop: Callable[[], bool],
    backbone_cache: Path | None,
) -> Path:
    """The part of a process that is not the first: fits along, and writes nothing. Waits for tiles and frozen features."""
    run = processes.Watching(lake_root, name)
    if group.say(True):
        job = make_job(spec, run, examples, lambda facts: None, should_stop, math.inf, group)
        backbone, pack = _load(job, lake_root, backbone_cache)
        if pack.left_out.num_rows:
            examples = examples.without(pack.left_out["member_index"].to_pylist())
            job = make_job(spec, run, examples, lambda facts: None, should_stop, math.inf, group)
        tiles = _tiles(job, pack)
        _fit_all(job, backbone, tiles, _frozen(job, backbone, tiles))
    return run.path


def _fit_all(job: Job, backbone: Backbone, tiles: batches.Tiles, cached: cache.Cached) -> Scores:
    """Both arms of every fold, judged."""
    found = []
    folds = plan_folds(job.examples, job.spec.split.policy)
    for number, fold in enumerate(folds):
        done = 0.35 + 0.55 * number / len(folds)
        job.beat(f"fitting {fold.name}", done)
        head = job.processes.say(_fit_probe(job, fold, cached))
        solved = head.logits(cached.features)
        if job.spec.method.head == "linear":
            module, logits = None, solved
        else:
            module, logits = _learn_head(job, fold, backbone, tiles, head, len(folds), done)
        if job.spec.method.kind == "probe":
            # what the head's form adds to the linear probe; of the linear one, what fitting adds to no fit
            untuned, tuned = solved, logits
            if module is None:
                baseline = job.task.fit_baseline(cached.features[fold.train], job.targets[fold.train])
                untuned = baseline.logits(cached.features)
            if number == 0:
                _export_probe(job, backbone, head, module)
        else:
            untuned = logits
            tuned = _fit_learner(job, fold, backbone, tiles, cached, head, module, len(folds), done)
        found.append(judge(job, fold, untuned, tuned))
    return Scores.concatenate(found)


def _fit_learner(
    job: Job,
    fold: Fold,
    backbone: Backbone,
    tiles: batches.Tiles,
    cached: cache.Cached,
    head: probe.Head,
    module: LinearHead | None,
    n_folds: int,
    done: float,
) -> Floats:
    """Logits [N, C] of the best state; rows that nobody asks for are NaN. module: the head where it was learned."""
    from training.export import export_learner
    from training.loop import learn, load_moving, predict, recentre
    from training.method import Learner, LinearHead
    from training.warm_start import Warm, warm_up

    own = dataclasses.replace(backbone, model=copy.deepcopy(backbone.model))
    start = Warm(LinearHead(head) if module is None else module, {})
    if job.spec.method.warm_start != "probe":
        start = warm_up(job, backbone, own)
    learner = Learner(job.spec, own, tiles, cached, start.head, job.device)
    if job.spec.method.warm_start != "probe":
        recentre(job, fold, learner)
    state = learn(job, fold, learner, n_folds, done)
    load_moving(learner, state.best)
    if fold.name == "cohort":
        export_learner(job.run, job.spec, backbone, learner, job.names, job.task.state(), start.base)
        job.run.write_json("loop.json", checkpoint.counters(state))
    logits = np.full((len(job.examples), len(job.names)), np.nan)
    asked = np.union1d(fold.judged, fold.tune)
    logits[asked] = predict(job, learner, asked, done)
    return logits


def _learn_head(
    job: Job,
    fold: Fold,
    backbone: Backbone,
    tiles: batches.Tiles,
    head: probe.Head,
    n_folds: int,
    done: float,
) -> tuple[LinearHead, Floats]:
    """The head of the spec's form, learned on frozen features from the solved probe, and its logits [N, C]."""
    from training.heads import HeadLearner, head_module
    from training.loop import learn, load_moving, predict

    method = job.spec.method
    cached = job.processes.in_turn(
        lambda: cache.frozen(
            backbone,
            tiles,
            job.device,
            job.precision,
            tokens=method.head == "attentive",
            progress=lambda n, of: job.beat("patch tokens", done),
        )
    )
    module = head_module(head, method)
    learner = HeadLearner(method, module, tiles, cached, job.device)
    # of a method that goes on from here this is a fit of its own, with a checkpoint and curves of its own
    own = fold if method.kind == "probe" else dataclasses.replace(fold, name=f"{fold.name}-head")
    state = learn(job, own, learner, n_folds, done)
    load_moving(learner, state.best)
    if method.kind == "probe" and fold.name == "cohort":
        job.run.write_json("loop.json", checkpoint.counters(state))
    return module, predict(job, learner, np.arange(len(job.examples)), done)


def _look_again(job: Job, tiles: batches.Tiles, backbone_cache: Path | None) -> Looked | None:
    """What the released model says of test and tune, whole and blanked; None where its answers are no chances."""
    from training.export import load_tuned

    if not job.task.has_probabilities:
        return None
    points = job.run.read_json("operating_points.json") or {}
    threshold = np.array(
        [np.nan if points.get(n) is None else points[n] for n in job.names], dtype=np.float64
    )
    return look(load_tuned(job.run.path, backbone_cache), tiles, job.examples, threshold, job.spec.seed)


def _fit_probe(job: Job, fold: Fold, cached: cache.Cached) -> probe.Head:
    is_tuned_arm = job.spec.method.kind == "probe" and job.spec.method.head == "linear"

    def log(step: int, values: dict[str, float]) -> None:
        if is_tuned_arm:
            job.run.log(step, 0, named(fold, values))
            job.report(
                {"kind": "epoch", "run_id": job.run.run_id, "fold": fold.name, "epoch": step, **values}
            )

    seats = probe.Seats(fold.train, fold.tune, job.examples.patient)
    wanted = job.spec.data.project
    if wanted != "none" and isinstance(job.task, YesNo):
        return fit_repaired(
            cached.features, job.targets, job.weights, job.watched, seats,
            property_of=property_of(job.examples, wanted), solver=probe.logistic(job.task.is_exclusive), log=log,
        )  # fmt: skip
    return job.task.fit_probe(cached.features, job.targets, job.weights, job.watched, seats, log)


def _gpu_index(job: Job) -> int | None:
    """Which GPU the run uses; None: none."""
    import torch

    if job.device.type != "cuda":
        return None
    return job.device.index if job.device.index is not None else int(torch.cuda.current_device())


def _gpu_peak(job: Job) -> int | None:
    import torch

    return int(torch.cuda.max_memory_allocated(job.device)) if job.device.type == "cuda" else None


def _load(job: Job, lake_root: Path, backbone_cache: Path | None) -> tuple[Backbone, Pack]:
    from training.backbone import load_backbone
    from training.export import write_environment
    from training.warm_start import check_fits

    write_environment(job.run, job.device, job.precision)
    job.beat("loading the backbone", 0.01)
    seen = job.spec.model
    backbone = load_backbone(seen.id, seen.input.size, seen.revision, backbone_cache, seen.code)
    moving = job.spec.method.blocks
    shown.refuse_misfit(seen.input, backbone.preprocess, seen.id)
    check_fits(job, backbone.revision)
    n_blocks = len(backbone.flow.blocks)  # one pass: a model that cannot run is told of before tiles are made
    if job.spec.method.kind in ("cut", "last_n") and moving >= len(backbone.blocks()):
        raise ConfigurationError(f"method.blocks is {moving}, the backbone has {n_blocks}: leave one frozen.")
    if job.spec.method.kind == "cut":
        backbone.check_cut(n_blocks - moving)
    job.beat("making tiles", 0.03)
    pack = batches.find_pack(
        lake_root,
        job.examples.folder,
        shown.recipe_of(seen.input, backbone.preprocess),
        lambda n, of: job.beat("making tiles", 0.03 + 0.12 * n / max(of, 1)),
    )
    found = open_pack(pack)
    shown.refuse_unit(found, backbone.preprocess, seen.id)
    return backbone, found


def _tiles(job: Job, pack: Pack) -> batches.Tiles:
    said = job.spec.compute.memory_mb
    memory = None if said is None else said << 20
    return batches.Tiles(pack.path, len(job.examples), memory=memory, device=job.device)


def _frozen(job: Job, backbone: Backbone, tiles: batches.Tiles) -> cache.Cached:
    method = job.spec.method
    return cache.frozen(
        backbone,
        tiles,
        job.device,
        job.precision,
        moving_blocks=method.blocks if method.kind == "cut" else 0,
        views=method.views if job.spec.data.augment != "none" else 1,
        seed=job.spec.seed,
        progress=lambda n, of: job.beat("frozen features", 0.15 + 0.2 * n / of),
    )


def _export_probe(job: Job, backbone: Backbone, head: probe.Head, module: LinearHead | None) -> None:
    from training.export import arrays_of, export_head
    from training.heads import to_arrays

    arrays = arrays_of(head) if module is None else to_arrays(module)
    export_head(job.run, job.spec, backbone, arrays, job.names, job.task.state())
