"""Frozen forward passes, done once and shared between runs: pooled features, and hidden states at a cut.

Lies in `packs/<pack_id>/cache/<key>/`, where the key names pack, weights, preprocessing, precision, cut and views; an
erased pack takes its caches along. A cache is whole or absent. What does not belong here: anything that learns.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from training import batches
from training.backbone import Backbone

if TYPE_CHECKING:
    import torch

CACHE_VERSION = 2
END = "end"
"""The cut behind the last block: patch tokens."""

_BATCH = 16
_BATCH_OF_VOLUMES = 2

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Hidden:
    """Hidden states of every series as float16 of how they differ from a common centre.

    Rounding is then a share of how much series differ. As they are, series that hardly differ (a window in which all
    is white) would be rounded into each other, and a head solved on exact features would not give its answers on them.
    """

    centre: NDArray[np.float32]
    """[L tokens, D]: mean over the first batch."""
    differences: NDArray[np.float16]
    """[V views, N, T tiles, L tokens, D] on disk."""
    _centres: dict[torch.device, torch.Tensor] = field(default_factory=dict, repr=False)

    def take(self, views: Sequence[int], indices: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Those series, each in its view: float32 [B, T, L, D] on the device."""
        import torch

        rows = np.stack([self.differences[v, i] for v, i in zip(views, indices, strict=True)])
        if device not in self._centres:
            self._centres[device] = torch.from_numpy(self.centre).to(device)
        moved = batches.to_device(torch.from_numpy(rows), device)
        return moved.to(torch.float32) + self._centres[device]


@dataclass(frozen=True)
class Cached:
    """Feature rows of every member, in order, and where asked the hidden states at the cut."""

    features: NDArray[np.float32]
    """[N, 2D] class vector beside the mean of the patch tokens, mean over tiles; view 0, without augmentation."""
    hidden: Hidden | None
    """What enters the first block that moves, or the patch tokens where those were asked for; None without either."""


def frozen(
    backbone: Backbone,
    tiles: batches.Tiles,
    device: torch.device,
    precision: str,
    *,
    moving_blocks: int = 0,
    tokens: bool = False,
    views: int = 1,
    seed: int = 0,
    progress: Progress,
) -> Cached:
    """The cache of one backbone over one pack, built where it is not there. progress(done, total) counts series.

    tokens: keep the patch tokens after the last norm, a cut at the very end.
    """
    cut: int | str | None = len(backbone.blocks()) - moving_blocks if moving_blocks else None
    if tokens:
        cut = END
    facts = {
        "version": CACHE_VERSION,
        "pack": tiles.facts["files"]["tiles.parquet"],
        "revision": backbone.revision,
        "preprocess": asdict(backbone.preprocess),
        "precision": precision,
        "cut": cut,
        "views": views if cut is not None else 1,
        "seed": seed if cut is not None and views > 1 else None,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = tiles.folder / "cache" / key
    if not folder.is_dir():
        _build(folder, facts, backbone, tiles, device, precision, progress)
    hidden = None
    if cut is not None:
        hidden = Hidden(np.load(folder / "centre.npy"), np.load(folder / "hidden.npy", mmap_mode="r"))
    return Cached(np.load(folder / "features.npy"), hidden)


def pool(cls: torch.Tensor, tokens: torch.Tensor, n_tiles: int) -> torch.Tensor:
    """Class vectors [B*T, D] and patch tokens [B*T, P, D] -> [B, 2D]: side by side, then the mean over tiles."""
    import torch

    each = torch.cat([cls, tokens.mean(1)], dim=1).to(torch.float32)
    return each.view(-1, n_tiles, each.shape[1]).mean(1)


def _build(
    folder: Path,
    facts: dict[str, Any],
    backbone: Backbone,
    tiles: batches.Tiles,
    device: torch.device,
    precision: str,
    progress: Progress,
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _fill(aside, facts, backbone, tiles, device, precision, progress)
        (aside / "cache.json").write_text(json.dumps(facts, indent=1, sort_keys=True, default=str) + "\n")
        os.rename(aside, folder)
    except OSError:
        if not folder.is_dir():  # not another run that was first: a real failure
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(
    folder: Path,
    facts: dict[str, Any],
    backbone: Backbone,
    tiles: batches.Tiles,
    device: torch.device,
    precision: str,
    progress: Progress,
) -> None:
    import torch

    n, n_views, cut = len(tiles), facts["views"], facts["cut"]
    features: list[NDArray[np.float32]] = []
    centre: torch.Tensor | None = None
    size = _BATCH if tiles.recipe.kind != "volume" else _BATCH_OF_VOLUMES
    coming = list(batches.batches_of(np.arange(n), size))
    backbone.model.to(device)
    with (folder / "hidden.npy").open(
        "wb"
    ) as hidden:  # written in order: a mapped file would pile up in memory
        for view in range(n_views):
            tiles.expect(coming)
            for indices in coming:
                with torch.inference_mode(), autocast(device, precision):
                    shown: torch.Tensor = tiles.take(indices)
                    if view:
                        seed, limits = facts["seed"] or 0, backbone.preprocess.limits
                        shown = batches.augment(shown, indices, seed, view, limits)
                    images = backbone.preprocess(
                        shown.flatten(0, 1).to(device)
                    )  # [B, T, H, W] -> [B*T, 3, S, S]
                    if cut in (None, END):
                        cls, tokens = backbone.embed(images)
                        entering = tokens
                    else:
                        cls, tokens, entering = backbone.embed_and_tap(images, cut)
                    if cut is not None:
                        entering = entering.to(torch.float32)
                        if centre is None:
                            centre = entering.mean(0)
                            np.save(folder / "centre.npy", centre.cpu().numpy())
                        _append(hidden, entering - centre, (n_views, n, tiles.n_tiles, *entering.shape[1:]))
                    if view == 0:
                        features.append(pool(cls, tokens, tiles.n_tiles).cpu().numpy())
                progress(view * n + int(indices[-1]) + 1, n_views * n)
    if cut is None:
        (folder / "hidden.npy").unlink()
    np.save(folder / "features.npy", np.concatenate(features))


def _append(file: BinaryIO, block: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Adds a block to an .npy file of that shape, float16."""
    import torch

    if not file.tell():
        about = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
    file.write(block.to(torch.float16).contiguous().cpu().numpy().data)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 where the precision says so."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
