"""The loop, read from top to bottom: batch, step, log, judge, save.

What belongs here: one fit of what moves, and predicting with it. What does not: what moves (method), one step of the
optimiser (step), what a run is made of (tune). Order, augmentation and dropout follow from the step, so the state holds no
random numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training import batches, cache, checkpoint
from training.average import Average
from training.centred import centre_of, is_centred, settled
from training.job import Diverged, Exhausted, Fold, Job, Stopped, named
from training.spec import TuneSpec
from training.step import Stepper, is_out_of_memory, rows_a_pass

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from training.learner import AnyLearner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WARM_UP = 0.05
LOG_EVERY = 10
"""Steps between two looks at what the device has computed."""


def learn(job: Job, fold: Fold, learner: AnyLearner, n_folds: int, done: float) -> checkpoint.State:
    """The loop. The state it ends with holds the best weights on the tune split.

    Raises Diverged, Exhausted or Stopped; the last state in which all was well is on disk.
    """
    import torch

    spec, path = job.spec, job.run.checkpoints / f"{fold.name}.pt"
    optimizer = torch.optim.AdamW(
        learner.groups(), lr=0.0, betas=(0.9, 0.98), fused=job.device.type == "cuda" or None
    )
    state = checkpoint.load(path) or checkpoint.State()
    if state.rows:
        job.note(f"memory ran out: {state.rows} series a pass")
    if state.step:
        load_moving(learner, state.moving)
        optimizer.load_state_dict(state.optimizer)
    average = Average(learner.moving(), spec.method.ema, state.average)
    stepper = Stepper(job, learner, optimizer, average, state.rows)
    steps = batches.Steps(
        fold.train, spec.seed, spec.method.batch_size, learner.tiles.layout, expect=stepper.expect
    )
    total = min(spec.budget.max_steps, spec.budget.max_epochs * steps.an_epoch)
    if state.best_step < 0:  # the start itself is a candidate: tuning must beat it
        _watch(job, fold, learner, average, state, epoch=0)
    last_tick = last_saved = last_told = time.monotonic()
    shown = 0

    while not state.is_finished:
        epoch, offset, chosen = steps.at(state.step)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * schedule(state.step, total)

        loss = stepper.take(chosen, epoch + 1, state.step + 1)

        state.step, shown = state.step + 1, shown + len(chosen)
        is_last = offset + 1 == steps.an_epoch or state.step == total
        is_tight = stepper.rows < (state.rows or rows_a_pass(job))
        now = time.monotonic()
        state.seconds, last_tick = state.seconds + now - last_tick, now
        is_asked = job.is_asked_to_stop(is_last or state.step % LOG_EVERY == 0)
        is_due = is_last or is_tight or is_asked or now - last_saved >= job.checkpoint_every_s
        if state.step % LOG_EVERY == 0 or state.step == 1 or is_due:
            _refuse_divergence(stepper, state, spec)  # before anything is judged or kept
        if state.step % LOG_EVERY == 0 or state.step == 1:
            cost = loss.item()
            job.run.log(
                state.step, epoch, named(fold, {"train/loss": cost}), shown / max(now - last_told, 1e-9)
            )
            share = state.step / total
            eta = (total - state.step) * state.seconds / state.step
            job.beat("tuning", done + 0.55 / n_folds * share, state.step, eta, loss=cost)
            last_told, shown = now, 0
        if is_tight:
            state.rows = stepper.rows
            job.run.log(state.step, epoch, named(fold, {"train/series_a_pass": float(state.rows)}))
            job.note(f"memory ran out: {state.rows} series a pass")
        if is_last:
            _watch(job, fold, learner, average, state, epoch + 1)
            state.stopped_by = job.processes.say(_why_stop(state, spec, total, n_folds))
            state.is_finished = bool(state.stopped_by)
        if is_due:
            state.moving, state.optimizer = _copied(learner.moving()), optimizer.state_dict()
            state.average = _copied(average.tensors)
            if job.processes.is_first:
                checkpoint.save(path, state)
            last_saved = time.monotonic()
            if is_asked and not state.is_finished:
                raise Stopped
    return state


def _watch(
    job: Job, fold: Fold, learner: AnyLearner, average: Average, state: checkpoint.State, epoch: int
) -> None:
    """Judges the weights on the tune split and keeps them where they are the best so far; without one, the last."""
    # where nothing has moved yet the centre is that of the head
    centre = settled(learner, lambda: _centre(job, fold, learner)) if state.step else nullcontext()
    with average.shown(), centre:
        if not len(fold.tune):
            state.best, state.best_step = _copied(learner.moving()), state.step
            return
        logits, truth = predict(job, learner, fold.tune, None), job.watched[fold.tune]
        if not np.isfinite(logits).all():
            raise Diverged(_diverged(state.step, state, job.spec))
        score, values = job.task.watch(logits, truth)
        if state.best_score is None or score > state.best_score:
            state.best_score, state.best_step = score, state.step
            state.best = _copied(learner.moving())
    if state.step:
        state.epochs_since_best += 1
        if state.learned_score is None or score > state.learned_score:
            state.learned_score, state.epochs_since_best = score, 0
    job.run.log(state.step, epoch, named(fold, values))
    job.report({"kind": "epoch", "run_id": job.run.run_id, "fold": fold.name, "epoch": epoch, **values})


def recentre(job: Job, fold: Fold, learner: AnyLearner) -> None:
    """Of a learner that starts from other weights than its head was solved on: the head's centre follows, what it says stays."""
    if is_centred(learner):
        learner.recentre(_centre(job, fold, learner))


def _centre(job: Job, fold: Fold, learner: AnyLearner) -> Floats:
    """[F] mean of the train split's features under the learner's weights as they are."""

    def features_of(indices: Ints) -> Floats:
        assert is_centred(learner)
        return _each(job, learner, lambda part: learner.encode(part, None)[0], indices, None)

    return centre_of(fold.train, job.spec.seed, features_of)


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
    """Logits [len(indices), C], without augmentation. `done`: the progress to beat the heart with.

    Where memory runs out it goes on with smaller batches. Raises Exhausted where one series is too much.
    """
    logits = _each(job, learner, lambda part: learner(part, None), indices, done)
    return logits if len(logits) else np.empty((0, len(job.names)))


def _each(
    job: Job, learner: AnyLearner, ask: Callable[[Ints], torch.Tensor], indices: Ints, done: float | None
) -> Floats:
    """What is asked of those members, [len(indices), ...], batch by batch."""
    import torch

    found: list[Floats] = []
    start, size = 0, 4 * rows_a_pass(job)
    indices = indices[job.processes.share(len(indices))]
    learner.expect(list(batches.batches_of(indices, size)))
    while start < len(indices):
        try:
            with torch.inference_mode(), cache.autocast(job.device, job.precision):
                found.append(ask(indices[start : start + size]).double().cpu().numpy())
            start += size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise Exhausted(
                    "Memory does not hold one series: make model.input.size or tiles smaller."
                ) from None
            size //= 2
        if done is not None:
            job.beat("predicting", done)
    return job.processes.gathered(np.concatenate(found) if found else np.empty(0))


def load_moving(learner: AnyLearner, tensors: dict[str, torch.Tensor]) -> None:
    """Fills what learns; raises KeyError where a tensor is missing."""
    import torch

    with torch.no_grad():
        for name, parameter in learner.moving().items():
            parameter.copy_(tensors[name])


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def _refuse_divergence(stepper: Stepper, state: checkpoint.State, spec: TuneSpec) -> None:
    if (step := stepper.first_bad_step()) is not None:
        raise Diverged(_diverged(step, state, spec))


def _diverged(step: int, state: checkpoint.State, spec: TuneSpec) -> str:
    return (
        f"The loss is not a number any more at step {step}; the best state so far is of step {state.best_step}. "
        f"Lower method.lr (a third of what it was), or set compute.precision to fp32 (now {spec.compute.precision})."
    )
