"""The loop, read from top to bottom: batch, forward, loss, backward, log, judge, save.

What belongs here: one fit of what moves, and predicting with it. What does not: what moves (method), what a run is made
of (tune). Order and augmentation follow from the step, so the state holds no random numbers.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training import batches, cache, checkpoint
from training.job import Diverged, Fold, Job, Stopped, named
from training.spec import TuneSpec

if TYPE_CHECKING:
    import torch

    from training.heads import HeadLearner
    from training.method import Learner

    AnyLearner = Learner | HeadLearner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WARM_UP = 0.05
LOG_EVERY = 10
CLIP_NORM = 1.0


def learn(job: Job, fold: Fold, learner: AnyLearner, n_folds: int, done: float) -> checkpoint.State:
    """The loop. The state it ends with holds the best weights on the tune split."""
    import torch

    spec, path = job.spec, job.run.checkpoints / f"{fold.name}.pt"
    layout = learner.tiles.layout
    steps = batches.Steps(fold.train, spec.seed, spec.method.batch_size, layout, expect=learner.expect)
    total = min(spec.budget.max_steps, spec.budget.max_epochs * steps.an_epoch)
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
        epoch, offset, chosen = steps.at(state.step)
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
            job.run.log(state.step, epoch, named(fold, {"train/loss": cost}), speed)
            share = state.step / total
            eta = (total - state.step) * state.seconds / state.step
            job.beat("tuning", done + 0.55 / n_folds * share, state.step, eta, loss=cost)
        if offset + 1 == steps.an_epoch or state.step == total:
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


def _watch(job: Job, fold: Fold, learner: AnyLearner, state: checkpoint.State, epoch: int) -> None:
    """Judges the weights on the tune split and keeps them where they are the best so far; without one, the last."""
    if not len(fold.tune):
        state.best, state.best_step = _copy_moving(learner), state.step
        return
    logits, truth = predict(job, learner, fold.tune, None), job.watched[fold.tune]
    if not np.isfinite(logits).all():
        raise Diverged(_diverged(state, job.spec))
    score, values = job.task.watch(logits, truth)
    job.run.log(state.step, epoch, named(fold, values))
    job.report({"kind": "epoch", "run_id": job.run.run_id, "fold": fold.name, "epoch": epoch, **values})
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


def predict(job: Job, learner: AnyLearner, indices: Ints, done: float | None) -> Floats:
    """Logits [len(indices), C], without augmentation. `done`: the progress to beat the heart with."""
    import torch

    found, shown = [], list(batches.batches_of(indices, 4 * job.spec.method.batch_size))
    learner.expect(shown)
    for chosen in shown:
        with torch.inference_mode(), cache.autocast(job.device, job.precision):
            found.append(learner(chosen, None).float().cpu().numpy())
        if done is not None:
            job.beat("predicting", done)
    return np.concatenate(found).astype(np.float64)


def load_moving(learner: AnyLearner, tensors: dict[str, torch.Tensor]) -> None:
    """Fills what learns; raises KeyError where a tensor is missing."""
    import torch

    with torch.no_grad():
        for name, parameter in learner.moving().items():
            parameter.copy_(tensors[name])


def _copy_moving(learner: AnyLearner) -> dict[str, torch.Tensor]:
    return {name: p.detach().cpu().clone() for name, p in learner.moving().items()}


def _diverged(state: checkpoint.State, spec: TuneSpec) -> str:
    return (
        f"The loss is not a number any more at step {state.step}; the best state so far is of step {state.best_step}. "
        f"Lower method.lr (a third of what it was), or set compute.precision to fp32 (now {spec.compute.precision})."
    )
