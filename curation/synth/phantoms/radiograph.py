"""Chest radiographs: a thorax seen through. Output is optical density of tissue, bright = dense, 0 to 1."""

from __future__ import annotations

import numpy as np

from curation.synth.phantoms.canvas import Grid, Image, chord, network, soft, texture, window_of
from curation.synth.phantoms.thorax import Thorax

FIELD_MM = 370.0


def _diaphragm(t: Thorax, grid: Grid) -> Image:
    """Height in mm of the diaphragm above each column, [1, columns]."""
    flat = 1 - 0.7 * t.emphysema
    dome = 32 * flat * (1 - ((np.abs(grid.x) - t.lung_x * 0.85) / t.lung_rx) ** 2)
    return np.asarray(t.diaphragm_z + np.clip(dome, -30, None) + np.where(grid.x < 0, 8, 0), np.float32)


def _air(t: Thorax, grid: Grid, z: Image) -> Image:
    """Way through the lungs in mm."""
    air = np.zeros((grid.rows, grid.columns), np.float32)
    for side in (-1, 1):
        air = np.maximum(air, chord(grid, side * t.lung_x, -t.lung_cz, t.lung_rx, t.lung_rz, t.lung_ry))
    air *= soft(_diaphragm(t, grid) - z, 5)
    air *= soft(34 - np.abs(grid.x), 12)
    heart = chord(grid, t.heart[0], -t.heart[2], t.heart[3], t.heart[5], t.heart[4])
    return np.clip(air - 0.9 * heart, 0, None)


def _bones(t: Thorax, grid: Grid, z: Image) -> Image:
    x = np.abs(grid.x)
    inside = soft(x - t.width * 0.88, 6) * soft(np.abs(z - 5) - 135, 20)
    back = np.cos((z + np.float32(0.28) * x + t.rib_phase) * np.float32(2 * np.pi / 28))
    front = np.cos((z - np.float32(0.75) * x + t.rib_phase * 1.7) * np.float32(2 * np.pi / 34))
    ribs = 0.16 * soft(np.float32(0.45) - back, 0.35) + 0.09 * soft(np.float32(0.6) - front, 0.35) * (x > 45)
    clavicle = 0.3 * soft(np.abs(z - 118 - 0.12 * x) - 5, 3) * (x > 18)
    vertebrae = 0.55 * soft(x - 17, 4) * (1 + 0.12 * np.cos(z * np.float32(2 * np.pi / 26)))
    return np.asarray(ribs * inside + clavicle * soft(x - 140, 10) + vertebrae, np.float32)


def _draw_spots(density: Image, t: Thorax, grid: Grid) -> None:
    """Vessels, foci, holes and nodules add or take density along their chords, in place."""
    for spots, gain in ((t.vessels[::2], 0.02), (t.foci, 0.024), (t.holes[::4], -0.012), (t.nodules, 0.024)):
        for x, _, z, radius, strength in spots:
            part = window_of(grid, float(x), float(-z), float(radius))
            square = (grid.x[:, part[1]] - x) ** 2 + (grid.y[part[0]] + z) ** 2
            way = 2 * np.sqrt(np.clip(radius**2 - square, 0, None))
            density[part] += np.float32(gain * strength) * way


def film(t: Thorax, rng: np.random.Generator, grid: Grid, noise: float, contrast: float) -> Image:
    """A frontal film, float32 [rows, columns], 0 (air) to about 1 (bone)."""
    z = -grid.y
    body = 2 * np.float32(t.depth) * np.sqrt(np.clip(1 - (grid.x / (t.width * 1.04)) ** 2, 0, None))
    body = body * soft(np.abs(z) - 230, 40)
    air = _air(t, grid, z)
    density = 0.0065 * (body - 1.02 * air) + _bones(t, grid, z)
    lungs = np.clip(air / 60, 0, 1)
    if t.fibrosis:
        net = network(texture(rng, (grid.rows, grid.columns), max(1.0, 3.5 / grid.spacing_mm)))
        low = np.clip(0.75 - z / 160, 0.2, 1.2)
        density += lungs * net * low * np.float32(0.30 * t.fibrosis)
    _draw_spots(density, t, grid)
    if t.effusion:
        far = np.abs(grid.x * t.effusion_side - t.lung_x) / t.lung_rx
        level = (
            t.diaphragm_z + 18 + 55 * t.effusion + 25 * (far - 0.6) * (grid.x * t.effusion_side > t.lung_x)
        )
        density += soft(z - level, 14) * (grid.x * t.effusion_side > 20) * lungs * np.float32(0.6)
    grain = texture(rng, (grid.rows, grid.columns), 0.7) * np.float32(0.02 * noise)
    value = 1 - np.exp(-np.clip(density, 0, None) * np.float32(1.15 * contrast))
    return np.asarray(np.clip(value + grain, 0, 1), np.float32)
