"""Soft shapes on a grid in millimetres, and textures. All images are float32 [rows, columns]."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Grid:
    """A pixel grid centred on the origin: x grows to the right, y downwards, both in mm."""

    rows: int
    columns: int
    spacing_mm: float

    @cached_property
    def x(self) -> Image:
        """[1, columns] in mm."""
        return ((np.arange(self.columns, dtype=np.float32) - (self.columns - 1) / 2) * self.spacing_mm)[
            None, :
        ]

    @cached_property
    def y(self) -> Image:
        """[rows, 1] in mm."""
        return ((np.arange(self.rows, dtype=np.float32) - (self.rows - 1) / 2) * self.spacing_mm)[:, None]


def soft(distance_mm: Image, width_mm: float) -> Image:
    """1 inside (negative distance), 0 outside, a ramp `width_mm` wide between: partial volume."""
    return np.asarray(np.clip(np.float32(0.5) - distance_mm / np.float32(width_mm), 0, 1))


def ellipse(grid: Grid, cx: float, cy: float, rx: float, ry: float, width_mm: float | None = None) -> Image:
    """A filled ellipse, centre and radii in mm."""
    if rx <= 0 or ry <= 0:
        return np.zeros((grid.rows, grid.columns), np.float32)
    rho = np.sqrt(((grid.x - cx) / rx) ** 2 + ((grid.y - cy) / ry) ** 2)
    return soft((rho - 1) * np.float32(min(rx, ry)), width_mm or grid.spacing_mm)


def chord(grid: Grid, cx: float, cy: float, rx: float, ry: float, depth: float) -> Image:
    """Length in mm of a ray's way through an ellipsoid whose half depth is `depth`."""
    inside = 1 - ((grid.x - cx) / rx) ** 2 - ((grid.y - cy) / ry) ** 2
    return np.asarray(np.float32(2 * depth) * np.sqrt(np.clip(inside, 0, None)))


def window_of(grid: Grid, cx: float, cy: float, reach_mm: float) -> tuple[slice, slice]:
    """The part of the grid within `reach_mm` of a point; may be empty."""
    column = cx / grid.spacing_mm + (grid.columns - 1) / 2
    row = cy / grid.spacing_mm + (grid.rows - 1) / 2
    reach = reach_mm / grid.spacing_mm + 2
    top, bottom = max(0, int(row - reach)), min(grid.rows, int(row + reach) + 1)
    left, right = max(0, int(column - reach)), min(grid.columns, int(column + reach) + 1)
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def stamp(
    image: Image, grid: Grid, cx: float, cy: float, radius: float, value: float, strength: float = 1.0
) -> None:
    """Blend a soft disc of one value into the image, in place."""
    part = window_of(grid, cx, cy, radius)
    if part[0].start == part[0].stop or part[1].start == part[1].stop:
        return
    distance = np.sqrt((grid.x[:, part[1]] - cx) ** 2 + (grid.y[part[0]] - cy) ** 2) - radius
    mask = soft(distance, grid.spacing_mm) * np.float32(strength)
    image[part] += mask * (np.float32(value) - image[part])


def texture(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Image:
    """Smooth noise of unit variance; structures are about `scale_px` wide. Tiles without a seam."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), scale_px, mode="wrap")
    return np.asarray(noise / noise.std(), np.float32)


def network(noise: Image, thickness: float = 0.18) -> Image:
    """A net of thin lines, 0 to 1, along the zero crossings of smooth noise."""
    return np.asarray(np.exp(-((noise / np.float32(thickness)) ** 2)))


def shifted(noise: Image, rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """A random cut of a tile of noise, wrapped: cheap fresh noise for one more slice."""
    rows, columns = (int(v) for v in rng.integers(0, noise.shape))
    rolled = np.roll(noise, (rows, columns), (0, 1))[: shape[0], : shape[1]]
    return rolled if rng.random() < 0.5 else -rolled
