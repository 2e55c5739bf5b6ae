"""B-mode cine of a breast: speckle, layers, a dark mass with a shadow. Output uint8 [frames, rows, columns]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from curation.synth.phantoms.canvas import Grid, ellipse, texture

DEPTH_MM = 45.0
BANNER_SHARE = 0.12
"""Share of the rows above the image, where the device writes text."""


def cine(
    rng: np.random.Generator, rows: int, columns: int, n_frames: int, mass_mm: float, noise: float
) -> NDArray[np.uint8]:
    """Frames of a slowly moving probe. The banner's rows stay black."""
    top = int(rows * BANNER_SHARE)
    grid = Grid(rows - top, columns, DEPTH_MM / (rows - top))
    depth = (grid.y + DEPTH_MM / 2) / DEPTH_MM
    echo = 0.45 + 0.12 * texture(rng, (grid.rows, grid.columns), 6) - 0.22 * depth
    for level in (0.12, 0.38, 0.8):  # skin, fascia, chest wall
        wave = level + 0.02 * np.sin(grid.x / 9 + rng.uniform(0, 6))
        echo += 0.45 * np.exp(-(((depth - wave) / 0.018) ** 2))
    if mass_mm > 0:
        cx, cy = rng.uniform(-8, 8), rng.uniform(-6, 3)
        mass = ellipse(
            grid, cx, cy, mass_mm / 2 * rng.uniform(0.9, 1.3), mass_mm / 2 * rng.uniform(0.7, 0.95), 1.5
        )
        shadow = np.clip(1 - np.abs(grid.x - cx) / (mass_mm / 2), 0, 1) * (grid.y > cy)
        echo = echo * (1 - 0.8 * mass) * (1 - 0.35 * shadow)
    waves = rng.standard_normal((2, grid.rows, grid.columns), dtype=np.float32)
    speckle = np.hypot(*ndimage.gaussian_filter(waves, (0, 0.7, 1.6), mode="wrap"))
    speckle = speckle / speckle.mean()
    frames = np.zeros((n_frames, rows, columns), np.uint8)
    for k in range(n_frames):
        moved = np.roll(echo, k % 3 - 1, axis=1)
        grain = np.roll(speckle, (k // 2, k), (0, 1)) ** np.float32(0.8 * noise)
        frames[k, top:] = np.clip(255 * np.clip(moved, 0.02, 1) * grain, 0, 255)
    return frames
