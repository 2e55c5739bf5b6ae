"""Axial CT of a thorax in Hounsfield units, float32 [rows, columns], and reformats of a stack."""

from __future__ import annotations

import numpy as np

from curation.synth.phantoms.canvas import Grid, Image, ellipse, network, shifted, soft, stamp, texture
from curation.synth.phantoms.thorax import Spots, Thorax

FIELD_MM = 350.0
AIR, FAT, SOFT, BLOOD, BONE, WATER = -1000.0, -95.0, 45.0, 50.0, 420.0, 8.0


def _blend(image: Image, mask: Image, value: float) -> None:
    image += mask * (np.float32(value) - image)


def _lungs(t: Thorax, grid: Grid, z: float) -> Image:
    """How much of each pixel is lung, 0 to 1."""
    scale = float(np.sqrt(max(0.0, 1 - ((z - t.lung_cz) / t.lung_rz) ** 2)))
    mask = np.zeros((grid.rows, grid.columns), np.float32)
    for side in (-1, 1):
        mask = np.maximum(mask, ellipse(grid, side * t.lung_x, 0, t.lung_rx * scale, t.lung_ry * scale))
    mask *= 1 - ellipse(grid, 0, 10, 36, 62)
    if z < t.diaphragm_z + 45:  # the domes of the diaphragm rise into the lung
        for side in (-1, 1):
            height = np.clip((t.diaphragm_z + 45 - z) / 70, 0, 1)
            mask *= 1 - ellipse(grid, side * t.lung_x * 0.9, -8, t.lung_rx * height, t.lung_ry * height)
    return np.asarray(mask, np.float32)


def _bones(t: Thorax, grid: Grid, z: float) -> Image:
    rho = np.sqrt((grid.x / (t.width * 0.90)) ** 2 + (grid.y / (t.depth * 0.86)) ** 2)
    shell = soft(np.abs(rho - 1) * np.float32(t.depth) - 4.5, 3.0)
    backward = np.arctan2(-grid.y, np.abs(grid.x)) * np.float32(t.width * 0.5)  # ribs descend to the front
    wave = np.cos((z - t.rib_slope * backward * 2 + t.rib_phase) * np.float32(2 * np.pi / 28))
    ribs = shell * soft(np.float32(0.35) - wave, 0.3)
    spine = ellipse(grid, 0, t.depth * 0.56, 18, 16)
    canal = ellipse(grid, 0, t.depth * 0.56 + 24, 8, 7)
    return np.asarray(np.clip(np.maximum(ribs, spine) - canal, 0, 1))


def _near(spots: Spots, z: float, reach: float = 0.0) -> Spots:
    """Spots that a slice at z cuts, their radius replaced by the cut's radius."""
    gap = spots[:, 2] - np.float32(z)
    cut = spots[:, 3] ** 2 - np.clip(np.abs(gap) - reach, 0, None) ** 2
    kept = spots[cut > 0].copy()
    kept[:, 3] = np.sqrt(cut[cut > 0])
    return np.asarray(kept)


def _draw_nodules(image: Image, t: Thorax, grid: Grid, z: float, reach: float) -> None:
    for x, y, _, radius, contrast in _near(t.nodules, z, reach):
        value = t.lung_hu + contrast * (30 - t.lung_hu)
        stamp(image, grid, x, y, radius, value, 0.95)
        for n in range(6):  # spicules
            angle = n * 1.05 + float(x)
            stamp(
                image,
                grid,
                x + 1.15 * radius * np.cos(angle),
                y + 1.15 * radius * np.sin(angle),
                radius * 0.25,
                value,
                0.5,
            )


def _draw_disease(
    image: Image, t: Thorax, grid: Grid, z: float, lungs: Image, net: Image, reach: float
) -> None:
    if t.fibrosis:
        rim = np.clip(np.abs(grid.x) / (t.lung_x + t.lung_rx * 0.9) + (grid.y > 30) * 0.25, 0, 1) ** 3
        image += lungs * rim * net * np.float32(520 * t.fibrosis)
    for x, y, _, radius, strength in _near(t.holes, z, reach / 2):
        stamp(image, grid, x, y, radius + 1.2, t.lung_hu + 300, 0.5 * strength)  # a thin wall
        stamp(image, grid, x, y, radius, -985, strength)
    for x, y, _, radius, strength in _near(t.foci, z, reach):
        stamp(image, grid, x, y, radius, -150, 0.9 * strength)


def axial(t: Thorax, grid: Grid, z: float, net: Image, thickness_mm: float) -> Image:
    """One slice without noise, at height z in mm. `net` is a tile of network texture, grid-shaped."""
    image = np.full((grid.rows, grid.columns), AIR, np.float32)
    body = ellipse(grid, 0, 0, t.width, t.depth)
    _blend(image, body, FAT)
    _blend(image, ellipse(grid, 0, 0, t.width * 0.95, t.depth * 0.92), SOFT)
    lungs = _lungs(t, grid, z)
    heart = (1 - ((z - t.heart[2]) / t.heart[5]) ** 2) ** 0.5 if abs(z - t.heart[2]) < t.heart[5] else 0.0
    if heart:
        lungs *= 1 - ellipse(grid, t.heart[0], t.heart[1], t.heart[3] * heart, t.heart[4] * heart)
    inner = np.full_like(image, t.lung_hu)
    for x, y, _, radius, _strength in _near(t.vessels, z, thickness_mm / 2):
        stamp(inner, grid, x, y, radius, BLOOD)
    _draw_nodules(inner, t, grid, z, thickness_mm / 4)
    _draw_disease(inner, t, grid, z, lungs, net, thickness_mm / 2)  # holes bite into nodules
    if t.effusion:
        level = t.lung_ry * (0.95 - 0.45 * t.effusion) + 6 - z / 12
        water = soft(np.float32(level) - grid.y, 4.0) * (grid.x * t.effusion_side > 0)
        _blend(inner, water.astype(np.float32), WATER)
    image += lungs * (inner - image)
    _blend(image, _bones(t, grid, z) * (1 - lungs), BONE)
    _blend(image, ellipse(grid, 20, t.depth * 0.30, 12, 12), BLOOD)
    return image


def stack(
    t: Thorax, rng: np.random.Generator, grid: Grid, heights: np.ndarray, noise: float, thickness_mm: float
) -> Image:
    """[slices, rows, columns] in Hounsfield units with noise, slice k at heights[k]."""
    shape = (grid.rows, grid.columns)
    tile = texture(rng, (grid.rows, grid.columns), 0.6) * np.float32(26 * noise)
    net = network(texture(rng, shape, max(1.0, 4.0 / grid.spacing_mm)))
    slices = [axial(t, grid, float(z), net, thickness_mm) + shifted(tile, rng, shape) for z in heights]
    return np.clip(np.stack(slices), -1024, 3071)


def coronal(volume: Image, spacing_mm: float, gap_mm: float, n: int) -> list[tuple[float, Image]]:
    """Coronal cuts of a stack: (y in mm, image [height, columns] with square pixels, head up)."""
    rows = volume.shape[1]
    height = max(2, round(volume.shape[0] * gap_mm / spacing_mm))
    at = np.linspace(volume.shape[0] - 1, 0, height)
    low, part = np.floor(at).astype(int), (at % 1).astype(np.float32)[:, None]
    high = np.minimum(low + 1, volume.shape[0] - 1)
    cuts = []
    for row in np.linspace(rows * 0.4, rows * 0.6, n).astype(int):
        plane = volume[:, row, :]
        cuts.append(((row - (rows - 1) / 2) * spacing_mm, plane[low] * (1 - part) + plane[high] * part))
    return cuts
