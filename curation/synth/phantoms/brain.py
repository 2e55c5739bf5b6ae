"""Axial brain MR: tissues by fraction, contrast by sequence. Output 0 to about 1.2, float32 [rows, columns]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curation.synth.phantoms.canvas import Grid, Image, ellipse, network, shifted, stamp, texture

FIELD_MM = 230.0

SIGNAL: Mapping[str, Mapping[str, float]] = {
    "t1": {"fat": 1.0, "skull": 0.05, "csf": 0.18, "grey": 0.55, "white": 0.75, "lesion": 0.40},
    "t2": {"fat": 0.75, "skull": 0.05, "csf": 1.05, "grey": 0.60, "white": 0.45, "lesion": 0.90},
    "flair": {"fat": 0.8, "skull": 0.05, "csf": 0.10, "grey": 0.60, "white": 0.48, "lesion": 0.95},
    "dwi": {"fat": 0.10, "skull": 0.03, "csf": 0.12, "grey": 0.50, "white": 0.45, "lesion": 0.95},
}
"""Relative signal of tissue a sequence."""


@dataclass(frozen=True)
class Head:
    """Sizes in mm; the lesion's place, radius 0 where there is none."""

    rx: float
    ry: float
    ventricle: float
    lesion: tuple[float, float, float, float]
    fold: Image


def make_head(rng: np.random.Generator, grid: Grid, lesion_mm: float) -> Head:
    """A head; grid fixes the texture of its cortex."""
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(15, 42)
    place = (
        radius * np.cos(angle),
        radius * np.sin(angle),
        rng.uniform(-0.15, 0.15) * lesion_mm,
        lesion_mm / 2,
    )
    fold = network(texture(rng, (grid.rows, grid.columns), 4.0 / grid.spacing_mm), 0.3)
    return Head(rng.normal(70, 3), rng.normal(88, 3), rng.normal(1.0, 0.15), place, fold)


def slice_of(head: Head, grid: Grid, z: float, sequence: str) -> Image:
    """One slice without noise, z in mm from the middle."""
    signal = SIGNAL[sequence]
    scale = float(np.sqrt(max(0.1, 1 - (z / 80) ** 2)))
    image = np.zeros((grid.rows, grid.columns), np.float32)
    brain = ellipse(grid, 0, 0, (head.rx - 9) * scale, (head.ry - 9) * scale)
    core = ellipse(grid, 0, 0, (head.rx - 20) * scale, (head.ry - 20) * scale, 10)
    for grow, tissue in ((0, "fat"), (4, "skull"), (7, "csf")):
        mask = ellipse(grid, 0, 0, (head.rx - grow) * scale, (head.ry - grow) * scale)
        image += mask * (np.float32(signal[tissue]) - image)
    cortex = signal["grey"] + (signal["white"] - signal["grey"]) * np.maximum(core, head.fold * 0.5)
    cortex = cortex + (1 - core) * head.fold * np.float32((signal["csf"] - signal["grey"]) * 0.3)
    image += brain * (cortex - image)
    for side in (-1, 1):
        ventricle = ellipse(grid, side * 9, -4, 6 * head.ventricle * scale, 24 * head.ventricle * scale)
        image += ventricle * (np.float32(signal["csf"]) - image)
    x, y, at, radius = head.lesion
    if radius > abs(z - at):
        stamp(image, grid, x, y, float(np.sqrt(radius**2 - (z - at) ** 2)), signal["lesion"], 0.9)
    return image


def stack(
    head: Head, rng: np.random.Generator, grid: Grid, heights: np.ndarray, sequence: str, noise: float
) -> Image:
    """[slices, rows, columns] with Rician noise and a slow coil shading."""
    shape = (grid.rows, grid.columns)
    tile = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.03 * noise)
    shade = 1 + 0.06 * texture(rng, shape, grid.rows / 5)
    slices = []
    for z in heights:
        clean = slice_of(head, grid, float(z), sequence) * shade
        slices.append(np.hypot(clean + shifted(tile, rng, shape), shifted(tile, rng, shape)))
    return np.asarray(np.stack(slices), np.float32)
