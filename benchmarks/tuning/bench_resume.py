"""kill -9 at random moments, also while a checkpoint is written: does the resumed run end with the same bytes?

Run: python -m benchmarks.tuning.bench_resume [--kills 100] [--peers 10]
Writes benchmarks/results/resume.json. Runs of a tiny **random** backbone on a **synthetic** cohort, with augmentation, dropout, a
moving average, and LoRA, cut or full tuning; a checkpoint after every step, so that kills fall into writing. Each run is a
process of its own (forked from one that has tuned before, so that modules are imported once), killed four times by SIGKILL and
then left to end; adapter, head and predictions (written last of the three) are compared byte by byte with those of a run that
nobody killed, and so is the loop's last state (weights, their average, the optimiser's moments): what is released may be a start
that nothing beat; the evaluation that would follow is not waited for. In the same process the Trainer of transformers is treated
likewise: a small network with random augmentation and dropout, a checkpoint every three steps of five an epoch, killed a moment
after one was written, `resume_from_checkpoint`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from tests.training.loop_state import digest
from tests.training.planted import SIZE, lay_down, tree
from training.spec import parse_spec
from training.tune import tune

RESULT = Path(__file__).parents[1] / "results" / "resume.json"
RELEASED = ("adapter.safetensors", "head.safetensors", "predictions.parquet")
BUDGET = {"max_minutes": 60, "max_epochs": 4, "patience": 4}
DROPPED = {"dropout": 0.2, "ema": 0.9, "batch_size": 8}
METHODS: tuple[dict[str, Any], ...] = (
    {"kind": "lora", "rank": 4, **DROPPED},
    {"kind": "lora", "rank": 2, **DROPPED, "ema": None},
    {"kind": "lora", "rank": 4, **DROPPED, "batch_size": 6},
    {"kind": "full", **DROPPED},
    {"kind": "cut", "blocks": 1, "views": 3, **DROPPED},
)
KILLS_A_RUN = 4
PEER_STEPS = (3, 6, 9, 12, 18)
"""Steps behind which the peer is killed: those of its checkpoints that lie within an epoch."""


@dataclass
class Tally:
    """Kills and what became of the runs that met them."""

    kills: int = 0
    kills_while_writing: int = 0
    runs: int = 0
    identical: int = 0
    differed: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--peers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dice, began = random.Random(asked.seed), time.monotonic()
    ours, peers = Tally(), Tally()

    def write() -> None:
        facts = summed_up(asked, ours, peers, time.monotonic() - began)
        RESULT.write_text(json.dumps(facts, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as scratch:
        trainer_killed(peers, Path(scratch), asked.peers, dice, write)
        ours_killed(ours, Path(scratch), asked.kills, dice, write)


def summed_up(asked: argparse.Namespace, ours: Tally, peers: Tally, seconds: float) -> dict[str, Any]:
    """The file's content, so far."""
    return {
        "about": "kill -9 and resume; tiny random backbone, synthetic cohort, CPU, 1 thread; "
        f"python -m benchmarks.tuning.bench_resume --kills {asked.kills} --peers {asked.peers} --seed {asked.seed}",
        "compared": [*RELEASED, "the loop's last state"],
        "rwid": vars(ours),
        "transformers.Trainer": vars(peers),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "load": [round(x, 2) for x in os.getloadavg()],
        "minutes": round(seconds / 60, 1),
    }


def ours_killed(
    tally: Tally, scratch: Path, n_kills: int, dice: random.Random, write: Callable[[], None]
) -> None:
    """rwid's loop: every second kill as soon as a checkpoint's file aside is seen, the others at any time of the run."""
    straight: dict[int, tuple[dict[str, str], float]] = {}
    lay_down(scratch / "warm", signal=10)
    for method in METHODS:
        run_ours(scratch / "warm", tree(method=method, budget=BUDGET, report={"bootstrap": 0}))
    while tally.kills < n_kills:
        which = tally.runs % len(METHODS)
        spec = tree(method=METHODS[which], budget=BUDGET, seed=20 + which, report={"bootstrap": 0})
        lake = scratch / f"run-{tally.runs}"
        lay_down(lake, signal=10)
        if which not in straight:
            whole = scratch / f"whole-{which}"
            shutil.copytree(lake, whole)
            start = time.monotonic()
            alone(partial(run_ours, whole, spec), partial(once_released, whole))
            straight[which] = digests(whole), time.monotonic() - start
        expected, seconds = straight[which]
        met = 0
        for _ in range(min(KILLS_A_RUN, n_kills - tally.kills)):
            if (tally.kills + met) % 2:
                kill = partial(after_seconds, dice.uniform(0, seconds))
            else:
                kill = partial(while_writing, lake, 1 + dice.randrange(12))
            if alone(partial(run_ours, lake, spec), kill) == -signal.SIGKILL:  # else it was faster
                met += 1
                tally.kills_while_writing += any(lake.glob("runs/*/checkpoints/.cohort.pt-*"))
        if met:
            alone(partial(run_ours, lake, spec), partial(once_released, lake))
            tally.kills, tally.runs = tally.kills + met, tally.runs + 1
            if digests(lake) == expected:
                tally.identical += 1
            else:
                tally.differed.append(f"{METHODS[which]['kind']} {tally.runs}")
            write()
            print(f"{tally.kills} kills, {tally.identical} of {tally.runs} runs identical", flush=True)
        shutil.rmtree(lake)


def run_ours(lake: Path, spec: dict[str, object]) -> None:
    """One run, with a checkpoint after every step."""
    tune(lake, parse_spec(spec), report=lambda facts: None, checkpoint_every_s=0.0)


def trainer_killed(
    tally: Tally, scratch: Path, n_runs: int, dice: random.Random, write: Callable[[], None]
) -> None:
    """transformers.Trainer on the same architecture and images, killed once a run, resumed as its documentation says."""
    whole = scratch / "trainer"
    assert alone(partial(train_peer, whole)) == 0
    expected = (whole / "digest").read_text()
    while tally.runs < n_runs:
        folder, step = scratch / f"trainer-{tally.runs}", dice.choice(PEER_STEPS)
        killed = alone(partial(train_peer, folder), partial(once_there, folder / f"checkpoint-{step}"))
        if killed == -signal.SIGKILL:
            tally.kills, tally.runs = tally.kills + 1, tally.runs + 1
            ended = alone(partial(train_peer, folder)) == 0
            if ended and (folder / "digest").read_text() == expected:
                tally.identical += 1
            else:
                tally.differed.append(f"step {step}: {'other weights' if ended else 'did not resume'}")
        shutil.rmtree(folder)
        write()


class Peer(torch.nn.Module):
    """A small network with dropout, as the Trainer takes it."""

    def __init__(self) -> None:
        super().__init__()
        hidden = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, 32), torch.nn.GELU()
        )
        self.layers = torch.nn.Sequential(hidden, torch.nn.Dropout(0.2), torch.nn.Linear(32, 2))

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss and logits [B, 2]."""
        logits = self.layers(pixel_values)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


class Augmented(torch.utils.data.Dataset[dict[str, Any]]):
    """Forty images; each look at one draws noise."""

    images = torch.rand(40, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"pixel_values": self.images[i] + 0.1 * torch.randn(3, SIZE, SIZE), "labels": i % 2}


def train_peer(folder: Path) -> None:
    """Four epochs by the Trainer, from its last checkpoint where there is one; the digest of the weights at its end."""
    torch.manual_seed(1)
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=4, per_device_train_batch_size=8, learning_rate=1e-3, save_steps=3,
        save_total_limit=2, report_to=[], disable_tqdm=True, use_cpu=True, seed=3, dataloader_pin_memory=False,
        logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model=Peer(), args=arguments, train_dataset=Augmented())
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    hasher = hashlib.sha256()
    for name, tensor in sorted(trainer.model.state_dict().items()):
        hasher.update(name.encode() + tensor.numpy().tobytes())
    (folder / "digest").write_text(hasher.hexdigest())


def alone(work: Callable[[], None], kill: Callable[[int], None] | None = None) -> int:
    """Does the work in a process of its own; its exit code, minus the signal's number where one ended it."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if kill:
        kill(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def after_seconds(seconds: float, pid: int) -> None:
    """Kills it after so long."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)


def once_there(path: Path, pid: int) -> None:
    """Kills it a moment after a folder is there, so that what is in it is whole."""
    while not path.exists() and not has_ended(pid):
        time.sleep(0.002)
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)


def while_writing(lake: Path, after: int, pid: int) -> None:
    """Kills it as soon as a checkpoint is seen being written, after so many others."""
    seen: set[str] = set()
    while not has_ended(pid) and not any(lake.glob(f"runs/*/{RELEASED[-1]}")):
        for folder in lake.glob("runs/*/checkpoints"):
            new = {name for name in os.listdir(folder) if name.startswith(".cohort.pt-")} - seen
            if new and len(seen) >= after:
                os.kill(pid, signal.SIGKILL)
                return
            seen |= new
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)


def once_released(lake: Path, pid: int) -> None:
    """Ends it once all that is compared is there: the evaluation behind it changes none of it."""
    while not any(lake.glob(f"runs/*/{RELEASED[-1]}")) and not has_ended(pid):
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it is left to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def digests(lake: Path) -> dict[str, str]:
    """sha256 of what the one run of a lake released, and of its loop's last state."""
    (run,) = (lake / "runs").iterdir()
    released = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in RELEASED}
    return {**released, "loop": digest(run)}


if __name__ == "__main__":
    main()
