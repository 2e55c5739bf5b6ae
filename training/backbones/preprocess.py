"""How stored pixels become what a backbone saw in its own training: tiles for most, volumes in HU for 3-D encoders.

What does not belong here: reading pixels (curation), augmenting them (batches). Loads without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from curation.records import ConfigurationError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Of tiles; part of every cache's key."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """uint8 or float tiles in 0..255 [N, H, W], or with channels [N, 3, H, W] -> normalised
        [N, 3, size, size], float32.
        """
        import torch
        from torch.nn import functional

        images = (tiles if tiles.ndim == 4 else tiles.unsqueeze(1)).to(torch.float32) / 255.0
        if images.shape[-1] != self.size:
            images = functional.interpolate(
                images, size=(self.size, self.size), mode="bilinear", antialias=True
            )
        return (images - _beside(images, self.mean)) / _beside(
            images, self.std
        )  # [N, 1, H, W] -> [N, 3, H, W]

    @property
    def limits(self) -> tuple[float, float]:
        """Black and white."""
        return (0.0, 255.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image as the model takes it, [3, size, size]."""
        return (len(self.mean), self.size, self.size)


def _beside(images: torch.Tensor, values: tuple[float, ...]) -> torch.Tensor:
    """A number a channel, [1, C, 1, 1], where the images are; a GPU is not waited for."""
    import torch

    row = torch.tensor(values).view(1, -1, 1, 1)
    return row.pin_memory().to(images.device, non_blocking=True) if images.is_cuda else row


@dataclass(frozen=True, slots=True)
class VolumePreprocess:
    """Of volumes; part of every cache's key. `unit` is what low_hu and high_hu are in: HU, SUV or share (0..1)."""

    size: int
    depth: int
    low_hu: float
    high_hu: float
    unit: str = "HU"

    def __call__(self, volumes: torch.Tensor) -> torch.Tensor:
        """Float HU [N, 1, D, H, W] -> 0..1 between low_hu and high_hu, [N, 1, depth, size, size], means over area."""
        import torch
        from torch.nn import functional

        if volumes.ndim != 5 or volumes.shape[1] != 1:
            raise ConfigurationError(
                f"This backbone takes volumes [batch, 1, depth, height, width] in HU, not {tuple(volumes.shape)}. "
                "Give another backbone as model.id."
            )
        wanted = (self.depth, self.size, self.size)
        images = volumes.to(torch.float32)
        if tuple(images.shape[2:]) != wanted:
            images = functional.interpolate(images, size=wanted, mode="area")
        return ((images - self.low_hu) / (self.high_hu - self.low_hu)).clamp(0, 1)

    @property
    def limits(self) -> tuple[float, float]:
        """What becomes 0 and 1."""
        return (self.low_hu, self.high_hu)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one volume as the model takes it, [1, depth, size, size]."""
        return (1, self.depth, self.size, self.size)
