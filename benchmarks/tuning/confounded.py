"""Cohorts whose label goes with a simulated artefact, and frozen features of every image with and without each.

What belongs here: the images (real chest X-rays where `../shared` is there, synthetic ones else), the SIMULATED artefacts,
the features, and the draw of a cohort. What does not: what is measured on them (bench_shortcut, bench_alarm).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.examples import Examples

SIZE = 112
LABEL = "pneumonia"
SITES = ("site-a", "site-b")
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """N images: what they show, and whether they are real."""

    pixels: Pixels
    """[N, SIZE, SIZE]"""
    label: NDArray[np.int64]
    patient: NDArray[np.int64]
    stratum: NDArray[np.str_]
    """Hospital of a real image; one word for all synthetic ones."""
    is_real: bool


def read_source(data: Path) -> Source:
    """Normal and pneumonia of two hospitals (shared/data/cxr); synthetic images where the folder is not there."""
    if not (data / "metadata.csv").is_file():
        return _synthetic(600)
    rows = [
        r
        for r in csv.DictReader((data / "metadata.csv").open())
        if r["label"] in ("normal", LABEL) and r["site"] in ("guangzhou", "nih")
    ]
    numbers: dict[str, int] = {}
    pixels = [
        np.asarray(
            Image.open(data.parent / r["path"]).convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        )
        for r in rows
    ]
    return Source(
        np.stack(pixels),
        np.array([int(r["label"] == LABEL) for r in rows]),
        np.array([numbers.setdefault(r["patient_id"], len(numbers)) for r in rows]),
        np.array([r["site"] for r in rows]),
        True,
    )


def _synthetic(n: int) -> Source:
    """Smooth grey images; a faint round opacity shows the label."""
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=n)
    y, x = np.mgrid[:SIZE, :SIZE]
    pixels = []
    for positive in label:
        coarse = Image.fromarray(rng.integers(60, 180, (8, 8)).astype(np.uint8))
        image = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64)
        cy, cx = rng.uniform(35, 77, 2)
        image = (
            image
            + positive * 45 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 150)
            + rng.normal(0, 4, image.shape)
        )
        pixels.append(np.clip(image, 0, 255).astype(np.uint8))
    return Source(np.stack(pixels), label, np.arange(n), np.full(n, "synthetic"), False)


def _gamma(exponent: float) -> Callable[[Pixels], Pixels]:
    return lambda image: (255 * (image / 255.0) ** exponent).astype(np.uint8)


def _corner(side: int, grey: int) -> Callable[[Pixels], Pixels]:
    """A bright marker in the upper left corner, with a dark letter-like stroke."""

    def marked(image: Pixels) -> Pixels:
        image = image.copy()
        image[3 : 3 + side, 3 : 3 + side] = grey
        image[3 + side // 4 : 3 + side - side // 4, 3 + side // 3] = 20
        image[3 + side // 2, 3 + side // 3 : 3 + side - side // 4] = 20
        return image

    return marked


def _border(width: int, grey: int) -> Callable[[Pixels], Pixels]:
    """Collimation: the outer px are of one grey."""

    def framed(image: Pixels) -> Pixels:
        framed = np.full_like(image, grey)
        framed[width:-width, width:-width] = image[width:-width, width:-width]
        return framed

    return framed


def _blur(radius: float) -> Callable[[Pixels], Pixels]:
    return lambda image: np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _noise(deviation: float) -> Callable[[Pixels], Pixels]:
    def noisy(image: Pixels) -> Pixels:
        seed = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "big")
        noise = np.random.default_rng(seed).normal(0, deviation, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    return noisy


def _jpeg(quality: int) -> Callable[[Pixels], Pixels]:
    def pressed(image: Pixels) -> Pixels:
        held = BytesIO()
        Image.fromarray(image).save(held, "JPEG", quality=quality)
        return np.asarray(Image.open(held))

    return pressed


ARTEFACTS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "clean": lambda image: image,
    "gamma": _gamma(0.7),
    "corner": _corner(14, 235),
    "border": _border(8, 0),
    "blur": _blur(1.2),
    "gamma-weak": _gamma(0.85),
    "corner-weak": _corner(8, 200),
    "border-weak": _border(4, 0),
    "noise": _noise(10),
    "jpeg": _jpeg(15),
}
"""SIMULATED site artefacts, at 112 px. The first four after `clean` are those of bench_shortcut."""


def features_of(
    source: Source, cache: Path, variant: str, change: Callable[[Pixels], Pixels]
) -> NDArray[np.float32]:
    """[N, 2D] frozen features (builtin:vits14) of every image after `change`; kept in `cache` by content."""
    import torch

    from training.backbone import load_backbone
    from training.cache import pool

    shown = np.stack([change(image) for image in source.pixels])
    key = hashlib.sha256(shown.tobytes()).hexdigest()[:16]
    path = cache / f"{variant}-{key}.npy"
    if path.is_file():
        return np.asarray(np.load(path))
    backbone = load_backbone("builtin:vits14", SIZE)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(shown), 32):
            tiles = torch.from_numpy(shown[start : start + 32])[:, None]
            rows.append(pool(*backbone.embed(backbone.preprocess(tiles.flatten(0, 1))), 1).numpy())
    found = np.concatenate(rows)
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found


@dataclass(frozen=True)
class Draw:
    """One confounded cohort: which images have the artefact, and who learns."""

    site: NDArray[np.int64]
    """[N] 1 where the image shows the artefact."""
    split: NDArray[np.str_]


def draw_cohort(source: Source, concordance: float, seed: int) -> Draw:
    """Every split, by patient; in each, site 1 holds `concordance` of the positives and as much less of the negatives."""
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(int(source.patient.max()) + 1)
    place = order.argsort()[source.patient] / len(order)
    split = np.where(place < 0.6, "train", np.where(place < 0.75, "tune", "test"))
    site = np.zeros(len(split), np.int64)
    for name in ("train", "tune", "test"):
        for label in (0, 1):
            here = rng.permutation(np.flatnonzero((split == name) & (source.label == label)))
            share = concordance if label else 1 - concordance
            site[here[: round(share * len(here))]] = 1
    return Draw(site, split)


def as_examples(source: Source, site: NDArray[np.str_], split: NDArray[np.str_]) -> Examples:
    """The cohort as the tuner reads one; no lake behind it."""
    ids = tuple(UUID(int=i + 1) for i in range(len(site)))
    people = tuple(UUID(int=int(p) + 1) for p in source.patient)
    labels = source.label[:, None].astype(np.float64)
    return Examples("drawn", Path("."), ids, ids, people, source.patient, site, split, (LABEL,), labels, {})
