"""Where a run computes and how exactly: device, precision, threads, deterministic kernels, compiled blocks.

What belongs here: choosing and settling it once, before anything is computed. What does not: computing (step, cache).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curation.records import ConfigurationError
from training.spec import Compute

if TYPE_CHECKING:
    import torch
    from torch import nn


def settle(asked: Compute, local: int = 0) -> tuple[torch.device, str]:
    """The device of process number `local` of this machine, and its precision; sets threads and kernels for the process.

    Deterministic: the same bytes on the same GPU, at some cost. Attention then takes its deterministic kernels only (flash in
    bf16, plain arithmetic in fp32). Raises ConfigurationError where a GPU is asked for and none is there.
    """
    import torch

    if asked.threads:
        torch.set_num_threads(asked.threads)
    has_gpu = torch.cuda.is_available()
    name = asked.device if asked.device != "auto" else ("cuda" if has_gpu else "cpu")
    if name.startswith("cuda") and not has_gpu:
        raise ConfigurationError(
            "compute.device asks for a GPU, and torch sees none. Set compute.device to auto or cpu."
        )
    if asked.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    if asked.compile == "on":
        torch.use_deterministic_algorithms(asked.deterministic)  # tells the compiler too: seconds to import
    else:
        torch.set_deterministic_debug_mode("error" if asked.deterministic else "default")
    torch.backends.cuda.enable_mem_efficient_sdp(not asked.deterministic)
    torch.backends.cuda.enable_cudnn_sdp(not asked.deterministic)
    device = torch.device(f"cuda:{local}" if name == "cuda" and local else name)
    precision = asked.precision
    return device, ("bf16" if device.type == "cuda" else "fp32") if precision == "auto" else precision


def compile_blocks(asked: Compute, device: torch.device, blocks: Iterable[nn.Module]) -> int:
    """Compiles blocks in place, each as a region of its own, so that blocks of one kind are compiled once; how many."""
    wanted = asked.compile == "on" or (
        asked.compile == "auto" and device.type == "cuda" and not asked.deterministic
    )
    found = list(blocks) if wanted else []
    for block in found:
        block.compile()
    return len(found)
