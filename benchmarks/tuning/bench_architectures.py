"""Vision architectures of transformers through the real tuner, with no code of their own: probe, cut, LoRA, full.

Run: python -m benchmarks.tuning.bench_architectures [--only swin,vit]
Writes benchmarks/results/architectures.json, with every failure and its reason. The models are tiny and **random**, the
cohort is **synthetic** (a patch a little brighter where the label is 1): what is measured is whether each method runs and
whether its loss falls, not how good an architecture is. `cut` counts as stated where the tuner refuses it in a sentence
because the model has stages. The architectures stand in architectures.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import transformers
import yaml
from torch import nn
from transformers import AutoConfig, AutoModel

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training.spec import parse_spec
from training.tune import tune

TABLE = Path(__file__).with_name("architectures.yaml")
RESULT = Path(__file__).parents[1] / "results" / "architectures.json"
SIZE, SEED, SIGNAL = 64, 11, 6.0
METHODS: dict[str, dict[str, Any]] = {
    "probe": {},
    "cut": {"blocks": 1, "lr": 1e-3},
    "lora": {"rank": 4, "lr": 3e-3},
    "full": {"lr": 3e-4},
}


def save_model(name: str, arguments: dict[str, Any], folder: Path) -> int:
    """A tiny random model of that architecture as config and safetensors; how many parameters it has."""
    arguments = dict(arguments)
    config = AutoConfig.for_model(arguments.pop("model_type", name), **arguments)
    torch.manual_seed(SEED)
    model = AutoModel.from_config(config)
    _wake(model)
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def _wake(model: nn.Module) -> None:
    """Random weights of tiny models let almost nothing through: variance kept by every layer, and running statistics of
    batch norms as training would have left them.
    """
    noise = torch.randn(8, 3, SIZE, SIZE)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.normal_(0, module.weight[0].numel() ** -0.5)
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.momentum = None  # a plain mean over what is shown
        if any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) for module in model.modules()):
            for _ in range(4):
                model.train()(pixel_values=noise)
    model.eval()


def run_method(lake: Path, model: Path, kind: str) -> dict[str, Any]:
    """What became of one method: `loss falls`, `loss does not fall`, `stated refusal` or `failed`, with the figures."""
    began = time.perf_counter()
    method = {"kind": kind, "batch_size": 128, **METHODS[kind]}
    spec = parse_spec(
        tree(
            model={"id": str(model), "input": {"size": SIZE}},
            method=method,
            data={"augment": "none"},
            budget={"max_minutes": 5, "max_epochs": 20, "patience": 20},
            report={"subgroups": ["site"], "bootstrap": 0, "min_cell": 5},
        )
    )
    try:
        run = tune(lake, spec, report=lambda facts: None)
    except ConfigurationError as error:
        is_stated = kind == "cut" and "stages" in str(error)
        return {"outcome": "stated refusal" if is_stated else "failed", "why": _without(str(error), model)}
    except Exception as error:
        return {"outcome": "failed", "why": f"{type(error).__name__}: {_without(str(error), model)}"}
    return {**_figures(run, kind), "seconds": round(time.perf_counter() - began, 1)}


def _figures(run: Path, kind: str) -> dict[str, Any]:
    history = pq.read_table(run / "history.parquet").to_pylist()
    # a step is the whole training split: its losses compare exactly
    name = "tune/loss" if kind == "probe" else "train/loss"
    losses = [row["value"] for row in history if row["name"] == name]
    metrics = pq.read_table(run / "metrics.parquet").to_pylist()
    where = {"split": "holdout", "site": "all", "subgroup": "all", "name": "auroc"}
    auroc = {m["arm"]: m["value"] for m in metrics if all(m[k] == v for k, v in where.items())}
    first, last = losses[0], min(losses) if kind == "probe" else losses[-1]
    return {
        "outcome": "loss falls" if last < first else "loss does not fall",
        "first_loss": round(first, 4),
        "last_loss": round(last, 4),
        "auroc_untuned": _rounded(auroc.get("untuned")),
        "auroc_tuned": _rounded(auroc.get("tuned")),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _without(text: str, model: Path) -> str:
    return text.replace(str(model), model.name).splitlines()[0][:300] if text else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    only = {name for name in parser.parse_args().only.split(",") if name}
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, arguments in yaml.safe_load(TABLE.read_text())["architectures"].items():
            if only and name not in only:
                continue
            folder = Path(scratch) / name
            lake = folder / "lake"
            lay_down(lake, n=240, signal=SIGNAL, size=SIZE)
            try:
                rows[name] = {"parameters": save_model(name, arguments, folder / "model")}
            except Exception as error:
                rows[name] = {"not built": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
                print(name, rows[name])
                continue
            rows[name] |= {kind: run_method(lake, folder / "model", kind) for kind in METHODS}
            print(name, {k: v.get("why", v["outcome"]) for k, v in rows[name].items() if k in METHODS})
    passed = [name for name, row in rows.items() if _passes(row)]
    facts = {
        "about": "tiny random models, synthetic cohort; python -m benchmarks.tuning.bench_architectures",
        "seed": SEED,
        "load": [round(x, 2) for x in os.getloadavg()],
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "architectures": len(rows),
        "all_four": len(passed),
        "all_four_with_cut_run": sum(rows[name]["cut"]["outcome"] == "loss falls" for name in passed),
        "rows": rows,
    }
    print({k: v for k, v in facts.items() if k != "rows"})
    if not only:
        RESULT.write_text(json.dumps(facts, indent=1) + "\n")


def _passes(row: dict[str, Any]) -> bool:
    good = ("loss falls", "stated refusal")
    return all(kind in row and row[kind]["outcome"] in good for kind in METHODS)


if __name__ == "__main__":
    main()
