"""One optimiser step: a batch, forward and backward in as many passes as memory allows, one update.

What belongs here: passes over parts of a batch, memory that runs out, the watch over numbers that are none. What does not:
order, judging, saving (loop). Nothing here waits for the device: what a step found out is asked for later.

A batch in parts gives the gradient of the whole batch. Where each row is judged by itself, the logits of a part are laid among
zeros of the batch's shape, so that the task's loss divides by the whole batch's weights; that holds for a loss that adds up
rows. Where a batch is judged from its mean (centred), what the head is given of all rows comes first, then the loss of the
whole batch, then its gradient back through one part after the other (gradient caching, Gao et al. 2021): a pass more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.records import ConfigurationError
from training import batches, cache
from training.average import Average
from training.centred import Centred, is_centred
from training.job import Exhausted, Job

if TYPE_CHECKING:
    import torch

    from training.learner import AnyLearner

Ints = NDArray[np.int64]

CLIP_NORM = 1.0


class Stepper:
    """Takes the steps of one fit. rows: how many series a pass holds; fewer once memory ran out, where the spec allows it."""

    def __init__(
        self, job: Job, learner: AnyLearner, optimizer: torch.optim.Optimizer, average: Average, rows: int
    ) -> None:
        import torch

        self.job, self.learner, self.optimizer, self.average = job, learner, optimizer, average
        self.moving = list(learner.moving().values())
        self.targets = torch.from_numpy(job.targets).to(job.device, torch.float32)
        self.weights = torch.from_numpy(job.weights).to(job.device, torch.float32)
        self.rows = rows or rows_a_pass(job)
        self._bad = torch.full((), -1, device=job.device)
        self._given: tuple[int, list[torch.Tensor]] = (0, [])
        """What the head was given in that step: kept for a second try, which the other processes do not make."""

    def expect(self, coming: list[Ints]) -> None:
        """Says which batches will be taken next, so that they are read ahead as passes."""
        shares = [chosen[self.job.processes.share(len(chosen))] for chosen in coming]
        self.learner.expect([part for share in shares for part in batches.batches_of(share, self.rows)])

    def take(self, chosen: Ints, epoch: int, step: int) -> torch.Tensor:
        """Update number `step` (from 1) from those members; the loss of the batch, on the device.

        Raises Exhausted where memory does not hold a pass and the spec does not allow smaller ones.
        """
        import torch

        while (loss := self._try(chosen, epoch, step)) is None:
            if job_allows_less(self.job, self.rows):
                shown = -(-len(chosen) // self.job.processes.world)
                self.rows = max(1, min(self.rows, shown) // 2)
                if self.job.device.type == "cuda":
                    torch.cuda.empty_cache()
            else:
                raise Exhausted(_no_memory(self.job, self.rows, step))
        loss = self.job.processes.add_up(loss, self.moving)
        norm = torch.nn.utils.clip_grad_norm_(self.moving, CLIP_NORM)
        is_bad = ~(torch.isfinite(loss) & torch.isfinite(norm))
        self._bad = torch.where(is_bad & (self._bad < 0), step, self._bad)
        self.optimizer.step()
        self.average.follow(step)
        return loss

    def first_bad_step(self) -> int | None:
        """The first step whose loss or gradient was no finite number; None so far. Waits for the device."""
        step = int(self._bad.item())
        return None if step < 0 else step

    def _try(self, chosen: Ints, epoch: int, step: int) -> torch.Tensor | None:
        """Gradients of the whole batch and its loss; None where memory ran out, with nothing kept."""
        self.optimizer.zero_grad(set_to_none=True)
        try:
            if is_centred(self.learner):
                return self._backward_whole(self.learner, chosen, epoch, step)
            return self._backward(chosen, epoch, step)
        except (RuntimeError, MemoryError) as error:
            if "deterministic" in str(error):
                raise ConfigurationError(
                    "compute.deterministic: this backbone learns by an operation that has no deterministic form on a GPU. Use "
                    f"another method.kind than {self.job.spec.method.kind}, or set it to false."
                ) from error
            if not is_out_of_memory(error):
                raise
        self.optimizer.zero_grad(set_to_none=True)  # behind the handler: the error held the pass's tensors
        return None

    def _backward(self, chosen: Ints, epoch: int, step: int) -> torch.Tensor:
        import torch

        loss_of, places = self.job.task.loss, batches.to_device(torch.from_numpy(chosen), self.job.device)
        targets, weights = self.targets[places], self.weights[places]  # [B, C]
        total = torch.zeros((), device=self.job.device)
        for part in batches.batches_of(self.job.processes.share(len(chosen)), self.rows):
            self._seed(step, int(part[0]))
            with cache.autocast(self.job.device, self.job.precision):
                logits = self.learner(chosen[part], epoch).float()  # [b, C]
            if len(part) < len(chosen):
                blank = logits.new_zeros(len(chosen), *logits.shape[1:])
                logits = torch.cat([blank[: part[0]], logits, blank[part[-1] + 1 :]])  # [b, C] -> [B, C]
                if part[0]:  # what zeros cost is counted once
                    total = total - loss_of(blank, targets, weights)
            loss = loss_of(logits, targets, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total

    def _backward_whole(self, learner: Centred, chosen: Ints, epoch: int, step: int) -> torch.Tensor:
        """The same for a learner that judges a batch from its mean."""
        import torch

        group, places = self.job.processes, batches.to_device(torch.from_numpy(chosen), self.job.device)
        parts = list(batches.batches_of(group.share(len(chosen)), self.rows))
        whole = self._encode(learner, chosen, parts[0], epoch, step) if len(parts) == 1 else None
        given = self._given_of(learner, chosen, parts, whole, epoch, step)
        self._seed(step, len(chosen))
        loss = self.job.task.loss(learner.judge(given), self.targets[places], self.weights[places])
        loss.backward()  # type: ignore[no-untyped-call]
        if not group.is_first:  # every process has judged all: the head's gradient and the loss count once
            self.optimizer.zero_grad(set_to_none=True)
            loss = torch.zeros_like(loss)
        for part in parts:
            again = whole or self._encode(learner, chosen, part, epoch, step)
            torch.autograd.backward(again, [g.grad[part] for g in given if g.grad is not None])
        return loss.detach()

    def _given_of(
        self,
        learner: Centred,
        chosen: Ints,
        parts: list[Ints],
        whole: tuple[torch.Tensor, ...] | None,
        epoch: int,
        step: int,
    ) -> tuple[torch.Tensor, ...]:
        """Leaves [B, ...]: what the head is given of all rows, those of other processes too. whole: of all parts, if at hand."""
        import torch

        if self._given[0] != step:
            none = np.zeros(1, dtype=np.int64)  # a process without a row still has to say how wide one is
            with torch.no_grad():
                rows = [whole or self._encode(learner, chosen, p, epoch, step) for p in parts or [none]]
            own = [torch.cat(g) if parts else g[0][:0] for g in zip(*rows, strict=True)]
            self._given = step, [self.job.processes.whole(g, len(chosen)) for g in own]
        return tuple(g.detach().requires_grad_() for g in self._given[1])

    def _encode(
        self, learner: Centred, chosen: Ints, part: Ints, epoch: int, step: int
    ) -> tuple[torch.Tensor, ...]:
        """What the head is given of the rows `part` of a batch."""
        self._seed(step, int(part[0]))
        with cache.autocast(self.job.device, self.job.precision):
            return learner.encode(chosen[part], epoch)

    def _seed(self, step: int, row: int) -> None:
        """Where dropouts start to draw."""
        import torch

        if self.learner.draws:
            torch.manual_seed(batches.step_seed(self.job.spec.seed, step, row))


def rows_a_pass(job: Job) -> int:
    """Series in one pass of one process, as the spec says."""
    return -(-job.spec.method.batch_size // (job.spec.compute.accumulate * job.processes.world))


def job_allows_less(job: Job, rows: int) -> bool:
    """Whether a pass may be made smaller than `rows`."""
    return job.spec.compute.batch == "adapt" and rows > 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch (on either device) or numpy found no memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _no_memory(job: Job, rows: int, step: int) -> str:
    if job.spec.compute.batch == "adapt":
        remedy = "one series is too much: make model.input.size or model.input.tiles smaller"
    else:
        remedy = "set compute.batch to adapt or compute.accumulate higher; both keep the batch as it is for learning"
    return f"Memory ran out at step {step} with {rows} series a pass; {remedy}."
