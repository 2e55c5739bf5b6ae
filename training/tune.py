"""One run, read from top to bottom: cohort, pack, frozen features, untuned arm, the loop, predictions, evidence.

What belongs here: the order of things, the loop, and how a run ends. What does not: how each thing is done. A run that
was killed anywhere and started again ends with the same bytes on the same machine: order and augmentation follow from
the step, the state is replaced in one step, caches are whole or absent.
"""

from __future__ import annotations

import copy
import dataclasses
import fcntl
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.cohort_folder import find_cohort
from curation.lake import Lake, LakeError
from curation.pack import PackError
from curation.records import ConfigurationError, Prediction, Run, to_table
from training import batches, cache, checkpoint, metrics, precheck, probe
from training.evaluate import Scores, evaluate
from training.examples import Examples, read_examples
from training.report import write_report
from training.runs import RunFolder
from training.spec import TuneSpec, run_id
from training.task import Task, find_task

if TYPE_CHECKING:
    import torch

    from training.backbone import Backbone
    from training.method import Learner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHECKPOINT_EVERY_S = 30.0
WARM_UP = 0.05
LOG_EVERY = 10
CLIP_NORM = 1.0


class Stopped(Exception):  # noqa: N818 - somebody asked for it
    """The run was asked to stop; its state is kept and the same command goes on from there."""


class Diverged(Exception):  # noqa: N818 - the field's word
    """The loss is no number any more; the last good state is kept."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One fit: who teaches, who watches, and who is judged under which split's name."""

    name: str
    train: Ints
    tune: Ints
    judged: Ints
    split: NDArray[np.str_]


@dataclass
class Job:
    """What every part of a run needs to know."""

    spec: TuneSpec
    run: RunFolder
    examples: Examples
    task: Task
    names: tuple[str, ...]
    truth: Floats
    targets: Floats
    weights: Floats
    device: torch.device
    precision: str
    report: Callable[[dict[str, Any]], None]
    should_stop: Callable[[], bool]
    checkpoint_every_s: float
    furthest: float = 0.0

    def beat(
        self, stage: str, progress: float, step: int = 0, eta_s: float | None = None, **values: float
    ) -> None:
        """Heartbeat, progress to the caller, and the place where a request to stop is heard outside the loop."""
        self.furthest = progress = max(
            self.furthest, progress
        )  # folds and stages overlap; a bar never goes back
        self.run.beat("running", progress=progress, step=step, eta_s=eta_s, message=stage)
        self.report(
            {
                "kind": "progress",
                "run_id": self.run.run_id,
                "stage": stage,
                "progress": progress,
                "step": step,
                **values,
            }
        )
        if self.should_stop() and stage != "tuning":
            raise Stopped


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
    examples = read_examples(folder, spec.task.labels, spec.task.covariates)
    run = RunFolder(lake_root, run_id(spec, examples.cohort_id))
    with _alone(run):
        if (run.read_json("status.json") or {}).get("status") == "done":
            return run.path
        run.write_json("spec.json", spec.model_dump(mode="json"))
        with _recorded(run, spec, examples.cohort_id, report) as began:
            found = precheck.check(lake_root, examples, spec)
            run.write_json("precheck.json", found)
            precheck.refuse_problems(found)
            job = _job(spec, run, examples, report, should_stop, checkpoint_every_s)
            backbone, tiles = _load(job, lake_root, backbone_cache)
            cached = _frozen(job, backbone, tiles)
            scores = _fit_all(job, backbone, tiles, cached)
            job.beat("evaluating", 0.92)
            run.write_parquet("predictions.parquet", _predictions(job, scores))
            evidence = evaluate(
                lake_root, examples, job.names, job.truth, scores, spec, run.run_id, cached.features
            )
            run.write_parquet("history.parquet", run.history())
            write_report(run, spec, examples, found, evidence, began.seconds())
        run.beat("done", progress=1.0, step=0, message="done")
    report({"kind": "done", "run_id": run.run_id, "progress": 1.0, "verdict": evidence.verdict})
    return run.path


def _fit_all(job: Job, backbone: Backbone, tiles: batches.Tiles, cached: cache.Cached) -> Scores:
    """Both arms of every fold, judged."""
    found = []
    folds = plan_folds(job.examples, job.spec.split.policy)
    for number, fold in enumerate(folds):
        done = 0.35 + 0.55 * number / len(folds)
        job.beat(f"fitting {fold.name}", done)
        head = _fit_probe(job, fold, cached)
        if job.spec.method.kind == "probe":
            baseline = probe.fit_prototypes(cached.features[fold.train], job.targets[fold.train])
            untuned, tuned = baseline.logits(cached.features), head.logits(cached.features)
            if number == 0:
                _export_probe(job, backbone, head)
        else:
            untuned = head.logits(cached.features)
            tuned = _fit_learner(job, fold, backbone, tiles, cached, head, len(folds), done)
        found.append(_judge(job, fold, untuned, tuned))
    return Scores.concatenate(found)


def _fit_learner(
    job: Job,
    fold: Fold,
    backbone: Backbone,
    tiles: batches.Tiles,
    cached: cache.Cached,
    head: probe.Head,
    n_folds: int,
    done: float,
) -> Floats:
    """Logits [N, C] of the best state; rows that nobody asks for are NaN."""
    from training.export import export_learner
    from training.method import Learner

    own = dataclasses.replace(backbone, model=copy.deepcopy(backbone.model))
    learner = Learner(job.spec, own, tiles, cached, head, job.device)
    state = learn(job, fold, learner, n_folds, done)
    load_moving(learner, state.best)
    if fold.name == "cohort":
        export_learner(job.run, job.spec, backbone, learner, job.names)
        job.run.write_json("loop.json", checkpoint.counters(state))
    logits = np.full((len(job.examples), len(job.names)), np.nan)
    asked = np.union1d(fold.judged, fold.tune)
    logits[asked] = predict(job, learner, asked, done)
    return logits


def learn(job: Job, fold: Fold, learner: Learner, n_folds: int, done: float) -> checkpoint.State:
    """The loop. The state it ends with holds the best weights on the tune split."""
    import torch

    spec, path = job.spec, job.run.checkpoints / f"{fold.name}.pt"
    steps_an_epoch = math.ceil(len(fold.train) / spec.method.batch_size)
    total = min(spec.budget.max_steps, spec.budget.max_epochs * steps_an_epoch)
    targets = torch.from_numpy(job.targets).to(job.device, torch.float32)
    weights = torch.from_numpy(job.weights).to(job.device, torch.float32)
    optimizer = torch.optim.AdamW(learner.groups(), lr=0.0, betas=(0.9, 0.98))
    state = checkpoint.load(path)
    if state is None:
        state = checkpoint.State()
        _watch(job, fold, learner, state, epoch=0)  # the start itself is a candidate: tuning must beat it
    else:
        load_moving(learner, state.moving)
        optimizer.load_state_dict(state.optimizer)
    last_tick = last_saved = time.monotonic()

    while not state.is_finished:
        epoch, offset = divmod(state.step, steps_an_epoch)
        order = batches.epoch_order(fold.train, spec.seed, epoch)
        chosen = order[offset * spec.method.batch_size : (offset + 1) * spec.method.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * schedule(state.step, total)

        with cache.autocast(job.device, job.precision):
            logits = learner(chosen, epoch + 1)  # [B, C]
        loss = job.task.loss(logits.float(), targets[chosen], weights[chosen])
        if not bool(torch.isfinite(loss)):
            raise Diverged(_diverged(state, spec))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(learner.moving().values()), CLIP_NORM)
        optimizer.step()

        state.step += 1
        now = time.monotonic()
        state.seconds += now - last_tick
        speed, last_tick = len(chosen) / max(now - last_tick, 1e-9), now
        if state.step % LOG_EVERY == 0 or state.step == 1:
            cost = loss.item()
            job.run.log(state.step, epoch, _named(fold, {"train/loss": cost}), speed)
            share = state.step / total
            eta = (total - state.step) * state.seconds / state.step
            job.beat("tuning", done + 0.55 / n_folds * share, state.step, eta, loss=cost)
        if offset + 1 == steps_an_epoch or state.step == total:
            _watch(job, fold, learner, state, epoch + 1)
            state.stopped_by = _why_stop(state, spec, total, n_folds)
            state.is_finished = bool(state.stopped_by)
        if state.is_finished or job.should_stop() or now - last_saved >= job.checkpoint_every_s:
            state.moving, state.optimizer = _copy_moving(learner), optimizer.state_dict()
            checkpoint.save(path, state)
            last_saved = time.monotonic()
            if job.should_stop() and not state.is_finished:
                raise Stopped
    return state


def _watch(job: Job, fold: Fold, learner: Learner, state: checkpoint.State, epoch: int) -> None:
    """Judges the weights on the tune split and keeps them where they are the best so far; without one, the last."""
    if not len(fold.tune):
        state.best, state.best_step = _copy_moving(learner), state.step
        return
    logits, truth = predict(job, learner, fold.tune, None), job.truth[fold.tune]
    if not np.isfinite(logits).all():
        raise Diverged(_diverged(state, job.spec))
    loss = probe.cross_entropy(logits, truth, job.task.is_exclusive())
    auprc, auroc = probe.macro(metrics.auprc, logits, truth), probe.macro(metrics.auroc, logits, truth)
    values = {"tune/loss": loss}
    if auprc is not None and auroc is not None:
        values |= {"tune/auprc": auprc, "tune/auroc": auroc}
    job.run.log(state.step, epoch, _named(fold, values))
    job.report({"kind": "epoch", "run_id": job.run.run_id, "fold": fold.name, "epoch": epoch, **values})
    score = (auprc if auprc is not None else 0.0, -loss)
    state.epochs_since_best += 1
    if state.best_score is None or score > state.best_score:
        state.best_score, state.best_step, state.epochs_since_best = score, state.step, 0
        state.best = _copy_moving(learner)


def _why_stop(state: checkpoint.State, spec: TuneSpec, total: int, n_folds: int) -> str:
    """Why the loop ends after this epoch; empty where it goes on."""
    if state.step >= total:
        return "budget of steps"
    if state.seconds >= spec.budget.max_minutes * 60 / n_folds:
        return "budget of minutes"
    if state.best_score is not None and state.epochs_since_best >= spec.budget.patience:
        return "no better tune split"
    return ""


def schedule(step: int, total: int) -> float:
    """Factor of the peak learning rate: linear warm-up, then cosine to zero."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def predict(job: Job, learner: Learner, indices: Ints, done: float | None) -> Floats:
    """Logits [len(indices), C], without augmentation. `done`: the progress to beat the heart with."""
    import torch

    found = []
    for chosen in batches.batches_of(indices, 4 * job.spec.method.batch_size):
        with torch.inference_mode(), cache.autocast(job.device, job.precision):
            found.append(learner(chosen, None).float().cpu().numpy())
        if done is not None:
            job.beat("predicting", done)
    return np.concatenate(found).astype(np.float64)


def load_moving(learner: Learner, tensors: dict[str, torch.Tensor]) -> None:
    """Fills what learns; raises KeyError where a tensor is missing."""
    import torch

    with torch.no_grad():
        for name, parameter in learner.moving().items():
            parameter.copy_(tensors[name])


def plan_folds(examples: Examples, policy: str) -> list[Fold]:
    """The cohort's own split; and for leave_one_site_out one fold a site of it, judged as `holdout`."""

    def where(split: str, other_than: str = "") -> Ints:
        return np.flatnonzero((examples.split == split) & (examples.site != other_than))

    everyone = np.arange(len(examples))
    folds = [Fold("cohort", where("train"), where("tune"), everyone, examples.split)]
    if policy == "leave_one_site_out":
        sites = sorted(set(examples.site[examples.split != "holdout"].tolist()))
        if len(sites) < 2:
            raise ConfigurationError("split.policy leave_one_site_out needs two sites; this cohort has one.")
        for site in sites:
            judged = np.flatnonzero(examples.site == site)
            name = np.full(len(judged), "holdout")
            folds.append(Fold(f"without-{site}", where("train", site), where("tune", site), judged, name))
    return folds


def _fit_probe(job: Job, fold: Fold, cached: cache.Cached) -> probe.Head:
    is_tuned_arm = job.spec.method.kind == "probe"

    def log(step: int, values: dict[str, float]) -> None:
        if is_tuned_arm:
            job.run.log(step, 0, _named(fold, values))
            job.report(
                {"kind": "epoch", "run_id": job.run.run_id, "fold": fold.name, "epoch": step, **values}
            )

    return probe.fit_probe(
        cached.features,
        job.targets,
        job.weights,
        job.truth,
        fold.train,
        fold.tune,
        job.examples.patient,
        is_exclusive=job.task.is_exclusive(),
        log=log,
    )


def _judge(job: Job, fold: Fold, untuned: Floats, tuned: Floats) -> Scores:
    """Probabilities of the judged, with the operating point that the fold's own tune split gives each output."""
    arms, thresholds = {}, {}
    for arm, logits in (("untuned", untuned), ("tuned", tuned)):
        share = _probabilities(job, logits)
        truth = job.truth[fold.tune]
        points = [metrics.operating_point(truth[:, c], share[fold.tune, c]) for c in range(len(job.names))]
        row = np.array([np.nan if p is None else p for p in points])
        arms[arm], thresholds[arm] = share[fold.judged], np.tile(row, (len(fold.judged), 1))
    return Scores(fold.judged, fold.split, arms, thresholds)


def _probabilities(job: Job, logits: Floats) -> Floats:
    import torch

    return np.asarray(job.task.probabilities(torch.from_numpy(logits)).numpy(), dtype=np.float64)


def _predictions(job: Job, scores: Scores) -> Any:
    rows = []
    e = job.examples
    for arm, share in scores.probability.items():
        for row, i in enumerate(scores.index):
            for c, label in enumerate(job.names):
                truth = job.truth[i, c]
                rows.append(
                    Prediction(
                        run_id=job.run.run_id,
                        study_id=e.study_id[i],
                        series_id=e.series_id[i],
                        patient_id=e.patient_id[i],
                        site=str(e.site[i]),
                        split=str(scores.split[row]),
                        arm=arm,
                        label=label,
                        target=None if np.isnan(truth) else float(truth),
                        score=float(share[row, c]),
                    )
                )
    return to_table(Prediction, rows)


def _job(
    spec: TuneSpec,
    run: RunFolder,
    examples: Examples,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    checkpoint_every_s: float,
) -> Job:
    import torch

    if spec.compute.threads:
        torch.set_num_threads(spec.compute.threads)
    has_gpu = torch.cuda.is_available()
    name = spec.compute.device if spec.compute.device != "auto" else ("cuda" if has_gpu else "cpu")
    if name.startswith("cuda") and not has_gpu:
        raise ConfigurationError(
            "compute.device asks for a GPU, and torch sees none. Set compute.device to auto or cpu."
        )
    device = torch.device(name)
    precision = spec.compute.precision
    task = find_task(spec.task.kind)
    names = task.outputs(spec.task.labels, examples.labels)
    targets = task.training_targets(examples.labels, len(names), spec.task.uncertain)
    weights = np.zeros_like(targets)
    train = examples.split == "train"
    weights[train] = batches.loss_weights(targets[train], examples.site[train], spec.data.weights)
    return Job(
        spec=spec,
        run=run,
        examples=examples,
        task=task,
        names=names,
        truth=task.targets(examples.labels, len(names)),
        targets=targets,
        weights=weights,
        device=device,
        precision=("bf16" if device.type == "cuda" else "fp32") if precision == "auto" else precision,
        report=report,
        should_stop=should_stop,
        checkpoint_every_s=checkpoint_every_s,
    )


def _load(job: Job, lake_root: Path, backbone_cache: Path | None) -> tuple[Backbone, batches.Tiles]:
    from training.backbone import load_backbone
    from training.export import write_environment

    write_environment(job.run, job.device, job.precision)
    job.beat("loading the backbone", 0.01)
    seen = job.spec.model
    backbone = load_backbone(seen.id, seen.input.size, seen.revision, backbone_cache)
    moving = job.spec.method.blocks
    if job.spec.method.kind in ("cut", "last_n") and moving >= len(backbone.blocks()):
        raise ConfigurationError(
            f"method.blocks is {moving}, the backbone has {len(backbone.blocks())}: leave one frozen."
        )
    job.beat("making tiles", 0.03)
    pack = batches.find_pack(
        lake_root,
        job.examples.folder,
        seen.input,
        lambda n, of: job.beat("making tiles", 0.03 + 0.12 * n / max(of, 1)),
    )
    return backbone, batches.Tiles(pack, len(job.examples))


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


def _export_probe(job: Job, backbone: Backbone, head: probe.Head) -> None:
    from training.export import export_head

    export_head(job.run, job.spec, backbone, head, job.names)


def _named(fold: Fold, values: dict[str, float]) -> dict[str, float]:
    """Curves of the cohort's own fold bear plain names, others the fold's name in front."""
    return values if fold.name == "cohort" else {f"{fold.name}/{k}": v for k, v in values.items()}


def _copy_moving(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().cpu().clone() for name, p in learner.moving().items()}


def _diverged(state: checkpoint.State, spec: TuneSpec) -> str:
    return (
        f"The loss is not a number any more at step {state.step}; the best state so far is of step {state.best_step}. "
        f"Lower method.lr (a third of what it was), or set compute.precision to fp32 (now {spec.compute.precision})."
    )


class _Clock:
    """Compute seconds of all attempts."""

    def __init__(self, former: float) -> None:
        self.former, self.start = former, time.monotonic()

    def seconds(self) -> float:
        return self.former + time.monotonic() - self.start


@contextmanager
def _alone(run: RunFolder) -> Iterator[None]:
    """One process a run; the lock falls with the process, however it ends."""
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"Run {run.run_id} is being computed by another process. Wait, or stop that one."
            ) from None
        yield


@contextmanager
def _recorded(
    run: RunFolder, spec: TuneSpec, cohort_id: str, report: Callable[[dict[str, Any]], None]
) -> Iterator[_Clock]:
    """Keeps run.parquet and status.json true, whatever happens inside."""
    path = run.path / "run.parquet"
    former = pq.read_table(path).to_pylist()[0] if path.is_file() else {}
    clock = _Clock(float(former.get("seconds", 0.0)))
    began = former.get("started_at_utc") or datetime.now(UTC)

    def record(status: str) -> None:
        device = (run.read_json("env.json") or {}).get("device", "cpu")
        row = Run(
            run_id=run.run_id,
            name=spec.name,
            cohort_id=cohort_id,
            status=status,
            model=spec.model.id,
            method=spec.method.kind,
            task=spec.task.kind,
            started_at_utc=began,
            seconds=clock.seconds(),
            device=device,
            seed=spec.seed,
        )
        run.write_run(row)

    record("running")
    run.beat("running", progress=0.0, step=0, message="starting")
    try:
        yield clock
    except BaseException as error:
        # whatever ended it, the folder must say so; the error itself goes on
        status = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
        is_ours = isinstance(error, ConfigurationError | Diverged | PackError | LakeError)
        message = (
            str(error)
            if is_ours
            else "stopped; start again to go on"
            if status == "stopped"
            else type(error).__name__
        )
        record(status)
        last = run.read_json("status.json") or {}
        run.beat(
            status, progress=float(last.get("progress", 0)), step=int(last.get("step", 0)), message=message
        )
        report({"kind": status, "run_id": run.run_id, "message": message})
        raise
    record("done")
