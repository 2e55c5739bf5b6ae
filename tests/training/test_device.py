"""Compiled and deterministic runs are the same runs; on a GPU no step waits for it, and the same run gives the same bytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.planted import lay_down, tree
from training import step
from training.backbone import load_backbone
from training.device import compile_blocks, settle
from training.lowrank import add_updates
from training.spec import Compute, parse_spec
from training.tune import tune

torch.set_num_threads(1)

SHORT = {"max_minutes": 5, "max_epochs": 2, "patience": 2}
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def quiet(facts: dict[str, object]) -> None:
    """Nobody listens."""


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    yield
    settle(Compute(device="cpu"))


def test_a_block_with_updates_is_one_graph_and_computes_the_same(tmp_path: Path) -> None:
    backbone = load_backbone("builtin:tiny-vit", 28)
    (name, *_) = backbone.flow.blocks
    add_updates(backbone.model, 2, seed=1, dropout=0.5)
    block = backbone.model.get_submodule(name).eval()
    hidden = torch.randn(2, 17, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(hidden), block(hidden))


def test_a_cpu_compiles_only_what_it_is_told_to() -> None:
    device = torch.device("cpu")
    blocks = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)]
    assert compile_blocks(Compute(), device, blocks) == 0
    assert compile_blocks(Compute(compile="on"), device, blocks) == 2
    assert compile_blocks(Compute(), torch.device("cuda"), []) == 0


def test_deterministic_kernels_are_of_one_run_and_not_of_the_next() -> None:
    settle(Compute(device="cpu", deterministic=True))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    settle(Compute(device="cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()


def test_backbones_attend_by_the_fused_kernel() -> None:
    assert load_backbone("builtin:tiny-vit", 28).model.config._attn_implementation == "sdpa"


@pytest.mark.gpu
@needs_gpu
def test_a_step_does_not_wait_for_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_down(tmp_path)
    take = step.Stepper.take

    def watched(self: step.Stepper, *asked: object) -> torch.Tensor:
        warm = asked[2] == 1  # the first step makes the optimiser's state
        torch.cuda.set_sync_debug_mode("default" if warm else "error")
        try:
            return take(self, *asked)  # type: ignore[arg-type]
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(step.Stepper, "take", watched)
    method = {"kind": "lora", "batch_size": 8, "dropout": 0.1, "ema": 0.9}
    tune(tmp_path, parse_spec(tree(method=method, budget=SHORT, compute={"compile": "off"})), report=quiet)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_deterministic_run_on_a_gpu_has_the_same_bytes_twice(tmp_path: Path, precision: str) -> None:
    released = []
    for name in ("one", "two"):
        lay_down(tmp_path / name, signal=8)
        method = {"kind": "lora", "batch_size": 8, "dropout": 0.1, "ema": 0.9}
        compute = {"device": "cuda", "deterministic": True, "precision": precision}
        run = tune(
            tmp_path / name, parse_spec(tree(method=method, budget=SHORT, compute=compute)), report=quiet
        )
        released.append((run / "adapter.safetensors").read_bytes())
    assert released[0] == released[1]
