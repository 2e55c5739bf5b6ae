"""How fast the loader gives tiles, beside Hugging Face streaming; what it costs a step; how much memory it takes.

Run: python -m benchmarks.tuning.bench_loader PART (rates, step, memory, tune) [--images 2048] [--large 8192] [--rounds 5] [--steps 24]
Writes its part of benchmarks/results/loader.json. The pixels are **synthetic** (noise) in the layout of a pack: 518 x 518, uint8.

rates: one core, warm page cache, batches of 32, every epoch in shuffled order. `disk` and `memory` are training.batches.Tiles,
with the tuner's own order. Hugging Face `datasets`, streaming, shuffled in a buffer of 256: of a column that it knows as image
(PNG) or as array, which is how its users keep images, and of the pack's own column as bytes that it leaves alone. All ways run in each round; ratios are within the round, medians over rounds.
Seconds are those of the processor, all threads of the process together, for the machine is shared; by the clock stands beside them.

step: the tuner's own step (training.method.Learner, loss, backward, AdamW) fed by the loader from disk, and fed one constant
tensor; alternating steps, medians, seconds of the processor.

memory: an own process reads two epochs of a pack of --large images from disk; its peak of resident memory, less what it had
before the first tile. Another holds the pack in memory, to show that the measure sees it.

tune: a whole run (synthetic cohort of --large tiles of 560 px, small random ViT, full) in a process that may have 2 GiB of memory
of its own (RLIMIT_DATA), and in one that may have all; peaks of both, and whether they released the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.fixed_rows import FixedRows
from curation.pack import PACK_VERSION
from tests.training.planted import lay_down, tree

RESULT = Path(__file__).parents[1] / "results" / "loader.json"
SIZE, BATCH, SEED = 518, 32, 7
ROW_GROUP_TILES = 64
HF_IMAGES, HF_FILE = 512, 320


def write_pack(folder: Path, n: int, size: int = SIZE) -> Path:
    """A pack of n synthetic tiles, a member each; noise that repeats, for making it is not what is timed."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(SEED).integers(0, 256, (ROW_GROUP_TILES, size * size), dtype=np.uint8)
    schema = pa.schema(
        [("member_index", pa.int32()), ("tile_index", pa.int32()), ("tile", pa.binary(size * size))]
    )
    how = {"compression": "none", "use_dictionary": False, "write_statistics": ["member_index", "tile_index"]}
    with pq.ParquetWriter(folder / "tiles.parquet", schema, **how) as writer:
        for start in range(0, n, ROW_GROUP_TILES):
            count = min(ROW_GROUP_TILES, n - start)
            noise += 1
            tiles = pa.FixedSizeBinaryArray.from_buffers(schema.types[2], count, [None, pa.py_buffer(noise)])
            numbers = pa.array(range(start, start + count), pa.int32())
            writer.write_table(pa.table([numbers, pa.nulls(count, pa.int32()), tiles], schema=schema))
    recipe = {"size": size, "tiles_per_series": 1, "text": False, "tokenizer": None}
    facts = {
        "pack_version": PACK_VERSION,
        "recipe": recipe,
        "n_members": n,
        "files": {"tiles.parquet": "synthetic"},
    }
    (folder / "pack.json").write_text(json.dumps(facts))
    return folder


def epochs(folder: Path, n: int, memory: int) -> Iterator[Any]:
    """Batches of the tuner's order, epoch after epoch."""
    from training.batches import Steps, Tiles

    tiles = Tiles(folder, n, memory=memory)
    steps = Steps(np.arange(n), SEED, BATCH, tiles.layout, expect=tiles.expect)
    step = 0
    while True:
        yield tiles.take(steps.at(step)[2])
        step += 1


def hf_bytes(folder: Path) -> Iterator[Any]:
    """Hugging Face streaming of the pack's own column, bytes that nobody decodes; the way that suits it best."""
    for row in _hf(folder / "tiles.parquet", ["tile"]):
        yield np.frombuffer(row["tile"], np.uint8).reshape(1, SIZE, SIZE).copy()


def hf_bytes_in_batches(folder: Path) -> Iterator[Any]:
    """The same, in batches."""
    for rows in _hf(folder / "tiles.parquet", ["tile"]).iter(batch_size=BATCH):
        yield np.stack([np.frombuffer(tile, np.uint8).reshape(SIZE, SIZE) for tile in rows["tile"]])


def hf_feature(file: Path) -> Iterator[Any]:
    """Hugging Face streaming of a column that it knows as image or array."""
    for row in _hf(file, None).with_format("numpy"):
        yield np.asarray(row["image"], np.uint8)[None]


def _hf(file: Path, columns: list[str] | None) -> Any:
    from datasets import load_dataset

    stream = load_dataset("parquet", data_files=str(file), split="train", streaming=True, columns=columns)
    return stream.shuffle(seed=SEED, buffer_size=256).repeat(None)


def write_features(folder: Path) -> dict[str, Path]:
    """The first tiles of a pack as Parquet files of `datasets`: Image (PNG), and Array2D."""
    from datasets import Array2D, Dataset, Features, Image

    tiles = FixedRows(folder / "tiles.parquet", "tile")
    pixels = np.empty((HF_FILE, SIZE, SIZE), np.uint8)
    tiles.read_into(0, pixels.reshape(HF_FILE, -1))
    png = [{"bytes": bytes(imagecodecs.png_encode(p, level=6)), "path": None} for p in pixels]
    kinds = {"png": (Image(), png), "array2d": (Array2D((SIZE, SIZE), "uint8"), list(pixels))}
    for name, (feature, values) in kinds.items():
        rows = Dataset.from_dict({"image": values}, features=Features({"image": feature}))
        rows.to_parquet(folder / f"{name}.parquet", batch_size=ROW_GROUP_TILES)
    return {name: folder / f"{name}.parquet" for name in kinds}


def rates(folder: Path, n: int, rounds: int) -> dict[str, Any]:
    """Images per second of every way, and how many times each the loader from disk is."""
    files = write_features(folder)
    ways = {
        "disk": (epochs(folder, n, 0), n),
        "memory": (epochs(folder, n, 1 << 40), n),
        "hf_streaming_bytes": (hf_bytes(folder), HF_IMAGES),
        "hf_streaming_bytes_in_batches": (hf_bytes_in_batches(folder), HF_IMAGES),
        "hf_streaming_png": (hf_feature(files["png"]), HF_IMAGES // 8),
        "hf_streaming_array2d": (hf_feature(files["array2d"]), HF_IMAGES // 8),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    clock: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (source, wanted) in ways.items():
            seen, start, start_clock = 0, time.process_time(), time.perf_counter()
            while seen < wanted:
                seen += len(next(source))
            if number:  # the first round warms up
                seconds[name].append((time.process_time() - start) / seen)
                clock[name].append((time.perf_counter() - start_clock) / seen)
    found: dict[str, Any] = {
        name: {
            "images_per_s": round(1 / statistics.median(seconds[name])),
            "by_the_clock": round(1 / statistics.median(clock[name])),
        }
        for name in ways
    }
    for name in ways:
        ratios = [other / own for own, other in zip(seconds["disk"], seconds[name], strict=True)]
        found[name]["disk_is_times_faster"] = round(statistics.median(ratios), 2)
    return found


def steps(folder: Path, n: int, backbone_id: str, size: int, batch: int, count: int) -> dict[str, Any]:
    """Seconds of a step fed by the loader, and of one fed a constant tensor."""
    import torch

    from training.batches import Steps, Tiles

    class Constant(Tiles):
        """The same tensor for every batch."""

        def take(self, indices: Any) -> Any:
            return constant[: len(indices)]

    constant = torch.randint(0, 256, (batch, 1, size, size), dtype=torch.uint8)
    tiles, still = Tiles(folder, n, memory=0), Constant(folder, n, memory=0)
    once, order = (
        _step(backbone_id, size),
        Steps(np.arange(n), SEED, batch, tiles.layout, expect=tiles.expect),
    )
    seconds: dict[str, list[float]] = {"loader": [], "constant": []}
    for number in range(count + 2):
        chosen = order.at(number % order.an_epoch)[2]
        for name, source in (("loader", tiles), ("constant", still)):
            start = time.process_time()
            once(source, chosen)
            if number >= 2:
                seconds[name].append(time.process_time() - start)
    middle = {name: statistics.median(s) for name, s in seconds.items()}
    return {
        "backbone": backbone_id,
        "size": size,
        "batch": batch,
        "steps": count,
        "step_ms": round(1000 * middle["loader"], 1),
        "step_on_constant_tensor_ms": round(1000 * middle["constant"], 1),
        "share_of_constant_tensor_speed": round(middle["constant"] / middle["loader"], 3),
    }


def _step(backbone_id: str, size: int) -> Callable[[Any, Any], None]:
    """One step of the tuner's `last_n`, without augmentation, on what a source of tiles gives."""
    import torch

    from training.backbone import load_backbone
    from training.cache import Cached
    from training.method import Learner, LinearHead
    from training.probe import Head
    from training.spec import parse_spec

    tree = {
        "name": "step",
        "cohort": "synthetic",
        "model": {"id": backbone_id, "input": {"size": size}},
        "task": {"kind": "multilabel", "labels": ["one"]},
        "method": {"kind": "last_n", "blocks": 1},
        "data": {"augment": "none"},
        "compute": {"device": "cpu", "precision": "fp32"},
    }
    backbone = load_backbone(backbone_id, size, None, None)
    with torch.inference_mode():
        cls, _ = backbone.embed(backbone.preprocess(torch.zeros(1, size, size, dtype=torch.uint8)))
    width = 2 * cls.shape[1]
    head = LinearHead(Head(np.zeros(width), np.ones(width), np.zeros((width, 1)), np.zeros(1)))
    features = Cached(np.zeros((0, width), np.float32), None)
    learner = Learner(parse_spec(tree), backbone, None, features, head, torch.device("cpu"))
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=1e-6)

    def once(source: Any, chosen: Any) -> None:
        learner.tiles = source
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            learner(chosen, 1), torch.ones(len(chosen), 1)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return once


def memory(folder: Path, n: int) -> dict[str, Any]:
    """Growth of resident memory in own processes, MiB."""
    found: dict[str, Any] = {"pack_mib": round(n * SIZE**2 / 2**20)}
    for name, budget in (("disk", 0), ("memory", 1 << 40)):
        command = [
            sys.executable,
            "-m",
            "benchmarks.tuning.bench_loader",
            "memory",
            "--child",
            str(folder),
            str(n),
            str(budget),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[f"growth_{name}_mib"] = json.loads(done.stdout)["growth_mib"]
    return found


def child(folder: Path, n: int, budget: int) -> None:
    """Two epochs in this process; prints by how much its peak of resident memory grew."""
    import torch  # what is measured is the loader, not the import

    torch.zeros(1)
    before = _status("VmRSS")
    source = epochs(folder, n, budget)
    for _ in range(2 * -(-n // BATCH)):
        next(source)
    print(json.dumps({"growth_mib": round((_status("VmHWM") - before) / 1024)}))


def tuning(folder: Path, n: int) -> dict[str, Any]:
    """Whole runs on a pack larger than the memory that the process may have, and on the same with memory enough."""
    from transformers import ViTConfig, ViTModel

    side, limit = 560, 2 << 30
    cohort = lay_down(folder / "lake", n=n, size=side)
    shape = {"image_size": side, "patch_size": 56, "hidden_size": 48, "intermediate_size": 96}
    ViTModel(ViTConfig(num_hidden_layers=2, num_attention_heads=4, **shape)).save_pretrained(folder / "vit")
    rows = cohort / "packs" / "byhand" / "tiles.parquet"
    found: dict[str, Any] = {"pack_mib": rows.stat().st_size >> 20, "limit_mib": limit >> 20}
    for name, allowed in (("limited", limit), ("free", resource.RLIM_INFINITY)):
        command = [
            sys.executable,
            "-m",
            "benchmarks.tuning.bench_loader",
            "tune",
            "--tune",
            str(folder),
            name,
        ]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True,
            preexec_fn=lambda most=allowed: resource.setrlimit(resource.RLIMIT_DATA, (most, most)),
        )  # fmt: skip
        found[name] = json.loads(done.stdout.splitlines()[-1])
    found["same_bytes"] = found["limited"].pop("released") == found["free"].pop("released")
    return found


def tune_child(folder: Path, name: str) -> None:
    """A whole run in this process; prints what it released and its peak of memory of its own (not the disk's cache)."""
    import threading

    from training.spec import parse_spec
    from training.tune import tune

    told = tree(method={"kind": "full", "batch_size": 4}, budget={"max_steps": 60}, name=name)
    told["model"] = {"id": str(folder / "vit"), "input": {"size": 560}}
    peaks, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            peaks.append(_status("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    run = tune(folder / "lake", parse_spec(told), report=lambda event: None)
    is_over.set()
    watcher.join()
    released = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(run.glob("*.safetensors"))}
    print(json.dumps({"peak_anonymous_mib": max(peaks) // 1024, "released": released}))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def main() -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("rates", "step", "memory", "tune"))
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--large", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--child", nargs=3)
    parser.add_argument("--tune", nargs=2)
    given = parser.parse_args()
    if given.child:
        child(Path(given.child[0]), int(given.child[1]), int(given.child[2]))
        return
    if given.tune:
        tune_child(Path(given.tune[0]), given.tune[1])
        return
    import datasets
    import torch

    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with TemporaryDirectory() as temporary:
        found = measure(given.part, Path(temporary), given)
    facts = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    facts[given.part] = {
        "command": f"python -m benchmarks.tuning.bench_loader {' '.join(sys.argv[1:])}",
        "seed": SEED,
        "python": platform.python_version(),
        "datasets": datasets.__version__,
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        **found,
    }
    RESULT.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    print(json.dumps(facts[given.part], indent=1))


def measure(part: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One part of the benchmark."""
    if part == "rates":
        return rates(write_pack(folder / "pack", given.images), given.images, given.rounds)
    if part == "memory":
        return memory(write_pack(folder / "pack", given.large), given.large)
    if part == "tune":
        return tuning(folder, given.large)
    tiny, small = write_pack(folder / "pack", 256), write_pack(folder / "small", 512, 224)
    return {
        "tiny": steps(tiny, 256, "builtin:tiny-vit", SIZE, 2, given.steps),
        "vits14": steps(small, 512, "builtin:vits14", 224, 4, given.steps),
    }


if __name__ == "__main__":
    main()
