"""Throughput on a GPU: ViT-B/14 at 518 px in bf16: embedding, LoRA and full fine-tuning, in per cent of the GPU's peak.

Run: python -m benchmarks.tuning.bench_gpu [--batch 128] [--steps 60]       (--smoke: the same road on a CPU, tiny, writes nothing)
Writes benchmarks/results/gpu.json; where there is no CUDA it says so and writes nothing. Weights are **random** and images
**synthetic**: speed does not depend on either. Learning is measured through `tune` itself, as images a second of its own
curves behind the first twenty steps, so that loading, augmentation, logging and checkpoints are in it; `synthetic` is the same
step on one batch that never leaves the GPU. The peer is the Trainer of transformers on the same model, head, tiles and batch,
with bf16, fused AdamW, sdpa and eight loader workers. FLOPs of a forward pass are counted by torch; LoRA counts twice, full
three times as much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import Dinov2Config, Dinov2Model

from tests.training.planted import lay_down, tree
from training import cache
from training.backbone import Backbone, load_backbone
from training.spec import parse_spec
from training.tune import tune

RESULT = Path(__file__).parents[1] / "results" / "gpu.json"
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "B200": 2250}
"""Dense bf16, from the makers' data sheets (SXM)."""
PASSES = {"embed": 1, "lora": 2, "full": 3}
WARM_UP = 20
BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 518,
    "patch_size": 14,
}
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--n", type=int, default=2048)
    parser.add_argument("--smoke", action="store_true")
    asked = parser.parse_args()
    if not torch.cuda.is_available() and not asked.smoke:
        print("No CUDA here: nothing is measured and nothing is written.")
        return
    if asked.smoke:
        asked.batch, asked.steps, asked.n = 4, 2 * WARM_UP, 48
    sizes = TINY if asked.smoke else BASE
    device = torch.device("cpu" if asked.smoke else "cuda")
    with tempfile.TemporaryDirectory() as scratch:
        folder, lake = Path(scratch) / "model", Path(scratch) / "lake"
        torch.manual_seed(0)
        Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)
        lay_down(lake, n=asked.n, size=sizes["image_size"], signal=8)
        backbone = load_backbone(str(folder), sizes["image_size"])
        speeds: dict[str, float] = {"embed": embedding(backbone, asked.batch, device, asked.steps)}
        for kind in ("lora", "full"):
            speeds[kind] = tuning(lake, folder, kind, asked, device)
        speeds["full synthetic"] = stepping(backbone, asked, device)
        speeds["full transformers.Trainer"] = trainer(lake, folder, asked)
        facts = summed_up(speeds, flops(backbone), device, asked)
    print(json.dumps(facts, indent=1))
    if not asked.smoke:
        RESULT.write_text(json.dumps(facts, indent=1) + "\n")


def flops(backbone: Backbone) -> float:
    """Floating point operations of one image's forward pass."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        backbone.embed(backbone.blank(next(backbone.model.parameters()).device))
    return float(counter.get_total_flops())


def waited(device: torch.device) -> float:
    """Now, once the device has done all."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def embedding(backbone: Backbone, batch: int, device: torch.device, steps: int) -> float:
    """Images a second of the frozen pass, uint8 on the host to features, compiled blocks."""
    backbone.model.to(device)
    if device.type == "cuda":
        for block in backbone.blocks():
            block.compile()
    size = backbone.preprocess.size
    tiles = torch.randint(0, 255, (batch, size, size), dtype=torch.uint8)
    tiles = tiles.pin_memory() if device.type == "cuda" else tiles
    began = 0.0
    for step in range(steps):
        if step == WARM_UP:
            began = waited(device)
        with torch.inference_mode(), cache.autocast(device, "bf16"):
            cls, tokens = backbone.embed(backbone.preprocess(tiles.to(device, non_blocking=True)))
            cache.pool(cls, tokens, 1)
    return batch * (steps - WARM_UP) / (waited(device) - began)


def tuning(lake: Path, folder: Path, kind: str, asked: argparse.Namespace, device: torch.device) -> float:
    """Images a second of a run, as its own curves have them."""
    spec = tree(
        model={
            "id": str(folder),
            "input": {"size": json.loads((folder / "config.json").read_text())["image_size"]},
        },
        method={"kind": kind, "batch_size": asked.batch},
        budget={"max_minutes": 60, "max_steps": asked.steps, "max_epochs": 1000, "patience": 1000},
        compute={"device": device.type, "precision": "bf16"},
        report={"bootstrap": 0},
    )
    run = tune(lake, parse_spec(spec), report=lambda facts: None)
    rows = pq.read_table(run / "history.parquet").to_pylist()
    each = [r["examples_per_s"] for r in rows if r["name"] == "train/loss" and r["step"] > WARM_UP]
    return statistics.median(each)


def stepping(backbone: Backbone, asked: argparse.Namespace, device: torch.device) -> float:
    """Images a second of forward, backward and update on one batch that lies on the device."""
    model = backbone.model.to(device).requires_grad_(True)
    head = torch.nn.Linear(2 * model.config.hidden_size, 1).to(device)
    moving = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(moving, lr=1e-5, fused=device.type == "cuda" or None)
    images = torch.randn(asked.batch, *backbone.preprocess.shape, device=device)
    began = 0.0
    for step in range(asked.steps):
        if step == WARM_UP:
            began = waited(device)
        with cache.autocast(device, "bf16"):
            cls, tokens = backbone.embed(images)
        loss = head(cache.pool(cls, tokens, 1)).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, 1.0)
        optimizer.step()
    return asked.batch * (asked.steps - WARM_UP) / (waited(device) - began)


class PeerModel(torch.nn.Module):
    """The same backbone and head, as the Trainer takes them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = Dinov2Model.from_pretrained(folder, attn_implementation="sdpa")
        self.head = torch.nn.Linear(2 * self.encoder.config.hidden_size, 1)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss and logits [B, 1]."""
        hidden = self.encoder(pixel_values=pixel_values).last_hidden_state
        logits = self.head(torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], dim=1).float())
        return {
            "loss": torch.nn.functional.binary_cross_entropy_with_logits(logits, labels),
            "logits": logits,
        }


class PeerTiles(torch.utils.data.Dataset[dict[str, Any]]):
    """The pack's tiles, normalised as the backbone wants them."""

    def __init__(self, lake: Path) -> None:
        (path,) = lake.glob("cohorts/*/packs/*/tiles.parquet")
        column = pq.read_table(path)["tile"].combine_chunks()
        side = int(column.type.byte_width**0.5)
        self.tiles = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, side, side)

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, i: int) -> dict[str, Any]:
        image = (torch.from_numpy(self.tiles[i].copy()).float() / 255 - 0.45) / 0.225
        return {"pixel_values": image.expand(3, -1, -1), "labels": torch.tensor([float(i % 2)])}


def trainer(lake: Path, folder: Path, asked: argparse.Namespace) -> float:
    """Images a second of transformers.Trainer, behind its first steps."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    ticks: list[float] = []

    class Ticks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step in (WARM_UP, asked.steps):
                ticks.append(waited(torch.device("cpu" if asked.smoke else "cuda")))

    arguments = TrainingArguments(
        output_dir=str(folder.parent / "trainer"), max_steps=asked.steps, per_device_train_batch_size=asked.batch,
        bf16=True, use_cpu=asked.smoke, optim="adamw_torch_fused", learning_rate=1e-5, save_strategy="no",
        logging_steps=10, report_to=[], disable_tqdm=True, dataloader_num_workers=0 if asked.smoke else 8,
        dataloader_pin_memory=not asked.smoke, dataloader_drop_last=True,
    )  # fmt: skip
    Trainer(PeerModel(folder), arguments, train_dataset=PeerTiles(lake), callbacks=[Ticks()]).train()
    return asked.batch * (asked.steps - WARM_UP) / (ticks[1] - ticks[0])


def summed_up(
    speeds: dict[str, float], forward: float, device: torch.device, asked: argparse.Namespace
) -> dict[str, Any]:
    """Images a second, shares of the peak, ratios."""
    name = torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu"
    peak = next((peak * 1e12 for key, peak in PEAK_TFLOPS.items() if key in name), None)
    return {
        "about": "random weights, synthetic images; python -m benchmarks.tuning.bench_gpu "
        f"--batch {asked.batch} --steps {asked.steps} --n {asked.n}",
        "device": name,
        "gflop_forward": round(forward / 1e9, 1),
        "images_s": {key: round(value, 1) for key, value in speeds.items()},
        "share_of_peak": {
            key: peak and round(speeds[key] * forward * passes / peak, 3) for key, passes in PASSES.items()
        },
        "full_against_trainer": round(speeds["full"] / speeds["full transformers.Trainer"], 2),
        "real_against_synthetic": round(speeds["full"] / speeds["full synthetic"], 3),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


if __name__ == "__main__":
    main()
