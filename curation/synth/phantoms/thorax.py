"""One person's chest as numbers: organs, ribs, vessels, disease. CT slices and radiographs are drawn from the same.

Patient system: x to the left, y to the back, z to the head, in mm; the origin lies mid-chest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.synth.people import Disease

Column = NDArray[np.floating[Any]]
Spots = NDArray[np.float32]
"""[n, 5]: x, y, z, radius in mm, and strength or density."""


@dataclass(frozen=True)
class Thorax:
    """Sizes and places in mm; strengths without unit."""

    width: float
    depth: float
    lung_x: float
    lung_rx: float
    lung_ry: float
    lung_rz: float
    lung_cz: float
    diaphragm_z: float
    heart: tuple[float, float, float, float, float, float]
    rib_phase: float
    rib_slope: float
    lung_hu: float
    vessels: Spots
    nodules: Spots
    holes: Spots
    foci: Spots
    effusion: float
    effusion_side: int
    fibrosis: float
    emphysema: float


def _in_lung(rng: np.random.Generator, t: dict[str, float], reach: float, z: Column) -> tuple[Column, Column]:
    """Random points (x, y) of either lung at heights z, away from the mediastinum; reach below 1 keeps off the wall."""
    scale = np.sqrt(np.clip(1 - ((z - t["lung_cz"]) / t["lung_rz"]) ** 2, 0.05, None))
    angle, radius = rng.uniform(0, 2 * np.pi, z.shape), reach * np.sqrt(rng.uniform(0, 1, z.shape))
    x = t["lung_x"] + t["lung_rx"] * scale * radius * np.cos(angle)
    side = rng.choice([-1.0, 1.0], z.shape)
    return side * np.clip(np.abs(x), 48.0, None), t["lung_ry"] * scale * radius * np.sin(angle)


def _vessels(rng: np.random.Generator, t: dict[str, float]) -> Spots:
    """Trees from the hila to the pleura, as beads whose radius tapers."""
    z_end = rng.uniform(-80, 80, 52)
    x_end, y_end = _in_lung(rng, t, 0.95, z_end)
    ends = np.stack([x_end, y_end, z_end], 1)[:, None, :]
    starts = np.stack([np.sign(x_end) * 38.0, np.full(52, 5.0), np.zeros(52)], 1)[:, None, :]
    way = np.linspace(0.1, 1, 26)[None, :, None]
    bend = np.array([0.0, 0.0, 8.0]) * np.sin(way * 3) * rng.normal(size=(52, 1, 1))
    path = starts + (ends - starts) * way + bend  # [branches, beads, 3]
    radius = 3.2 * (1 - 0.8 * way) * rng.uniform(0.6, 1.0, (52, 1, 1))
    beads = np.concatenate([path, radius, np.ones_like(radius)], 2)
    return np.asarray(beads.reshape(-1, 5), np.float32)


def _nodules(rng: np.random.Generator, t: dict[str, float], disease: Disease, growth: float) -> Spots:
    """The first nodule is cut by the slices in the middle of the stack; others may lie further off."""
    if disease.nodule_mm <= 0:
        return np.zeros((0, 5), np.float32)
    share = np.array([1.0, rng.uniform(0.5, 0.9)])[: 1 + int(rng.random() < 0.3)]
    diameter = np.minimum(34.0, disease.nodule_mm * growth * share)
    z = np.array([rng.uniform(-0.2, 0.2) * diameter[0], rng.uniform(-25, 25)])[: len(share)]
    x, y = _in_lung(rng, t, 0.75, z)
    return np.stack([x, y, z, diameter / 2, np.full_like(x, disease.nodule_contrast)], 1).astype(np.float32)


def _scatter(rng: np.random.Generator, t: dict[str, float], n: int, radius: tuple[float, float]) -> Spots:
    z = rng.uniform(-90, 90, n)
    x, y = _in_lung(rng, t, 0.98, z)
    return np.stack([x, y, z, rng.uniform(*radius, n), rng.uniform(0.5, 1.0, n)], 1).astype(np.float32)


def make_thorax(rng: np.random.Generator, disease: Disease, sex: str, growth: float = 1.0) -> Thorax:
    """A chest. The same stream gives the same anatomy and the same places of disease."""
    size = (0.94 if sex == "F" else 1.0) * rng.normal(1.0, 0.04)
    air = 1 + 0.12 * disease.emphysema - 0.1 * disease.fibrosis
    t = {
        "width": 158 * size,
        "depth": 112 * size * rng.normal(1.0, 0.05),
        "lung_x": 72 * size,
        "lung_rx": 58 * size * rng.normal(1.0, 0.03),
        "lung_ry": 84 * size * rng.normal(1.0, 0.03),
        "lung_rz": 132 * size * air,
        "lung_cz": 5 * rng.normal(),
        "diaphragm_z": -92 * size * air + 6 * rng.normal(),
        "rib_phase": rng.uniform(0, 28),
        "rib_slope": 0.30 * rng.normal(1.0, 0.1),
        "lung_hu": -845 + 20 * rng.normal() - 60 * disease.emphysema + 40 * disease.fibrosis,
    }
    heart = (22 * size, -28.0, -48.0, 58 * size * rng.normal(1, 0.08), 44 * size, 52.0)
    return Thorax(
        **t,
        heart=heart,
        vessels=_vessels(rng, t),
        nodules=_nodules(rng, t, disease, growth),
        holes=_scatter(rng, t, int(420 * disease.emphysema), (3.0, 9.0)),
        foci=_scatter(rng, t, int(110 * disease.fibrosis + 80 * disease.emphysema), (2.0, 7.0)),
        effusion=disease.effusion,
        effusion_side=int(rng.choice([-1, 1])),
        fibrosis=disease.fibrosis,
        emphysema=disease.emphysema,
    )
