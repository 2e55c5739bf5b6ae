"""A released model as one ONNX graph, from tiles to answers, checked against torch before it is kept.

What belongs here: the graph and the check. What does not: which files a release holds (bundle). Needs the packages onnx and
onnxscript to write, onnxruntime to check; whoever reads the graph needs neither torch nor rwid.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from curation.records import ConfigurationError
from training.export import Tuned
from training.method import LinearHead
from training.probe import Head

TOLERANCE = 1e-3
"""Largest difference of a logit, as a share of 1 + its size, at which a graph is kept."""

CHECKED = (1, 3)
"""Sizes of the batches that are compared: the graph must not have kept the size it was traced with."""


class _Whole(nn.Module):
    """uint8 tiles [N, T, H, W] -> answers (probabilities, but for measurements) and logits, each [N, C], float32."""

    def __init__(self, tuned: Tuned) -> None:
        super().__init__()
        self.backbone, self.model = tuned.backbone, tuned.backbone.model
        self.n_tiles = tuned.spec.model.input.tiles
        self.head = LinearHead(tuned.head) if isinstance(tuned.head, Head) else tuned.head
        self.task = tuned.task

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cls, tokens = self.backbone.embed(self.backbone.preprocess(tiles.flatten(0, 1)))
        logits = cast(torch.Tensor, self.head(cls, tokens, self.n_tiles))
        return self.task.answers(logits), logits


def write_onnx(tuned: Tuned, path: Path) -> dict[str, Any]:
    """Writes the graph; gives its opset, its input and how far its logits are from torch's on random tiles.

    Raises ConfigurationError where the packages are not there, or its logits differ by more than TOLERANCE.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(f"ONNX needs {error.name}: pip install 'rwid[train]'.") from None
    whole = _Whole(tuned).eval()
    size = tuned.spec.model.input.size
    example = torch.zeros(2, whole.n_tiles, size, size, dtype=torch.uint8)
    dynamic = {"tiles": {0: torch.export.Dim("n", min=1, max=65536)}}
    with _quiet(), torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            whole, (example,), input_names=["tiles"], output_names=["answers", "logits"], dynamic_shapes=dynamic, dynamo=True
        )  # fmt: skip
        assert program is not None
        # a protobuf holds 2 GB; what is more lies in a file beside it
        program.save(path, external_data=sum(p.numel() for p in whole.parameters()) * 4 > 1 << 30)
    difference = _difference(whole, path)
    if difference > TOLERANCE:
        raise ConfigurationError(
            f"The ONNX graph differs from torch by {difference:.1e} (at most {TOLERANCE:.0e}): not kept. Export without ONNX."
        )
    return {
        "input": {"tiles": ["n", whole.n_tiles, size, size], "type": "uint8"},
        "outputs": {"answers": ["n", len(tuned.outputs)], "logits": ["n", len(tuned.outputs)]},
        "names": list(tuned.outputs),
        "opset": program.model.opset_imports[""],
        "max_logit_difference": difference,
    }


def _difference(whole: _Whole, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape[1:]
    rng = np.random.default_rng(0)
    worst = 0.0
    for n in CHECKED:
        tiles = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        with torch.inference_mode():
            _, logits = whole(torch.from_numpy(tiles))  # a probability near 0 or 1 would hide a difference
        ours = logits.numpy()
        (theirs,) = session.run(["logits"], {"tiles": tiles})
        worst = max(worst, float((np.abs(ours - theirs) / (1 + np.abs(ours))).max()))
    return worst


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter tells of every operator it looks at."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
