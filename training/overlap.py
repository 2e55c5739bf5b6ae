"""How well a mask fits another: Dice, surface distances in mm, volumes. numpy and scipy; no torch.

What belongs here: metrics of one structure in one series. What does not: predicting masks, means and intervals.
Sources: Dice 1945; surface Dice (NSD) at a tolerance after Nikolov et al. 2021; Hausdorff distance at the 95th percentile as
the larger of the two directed percentiles (Maier-Hein et al. 2024, Metrics Reloaded). Surfaces are boundary pixels; those
that lie at the edge of the image count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """One structure in one series. Distances are NaN where one of the masks is empty; Dice where both are."""

    dice: float
    nsd: float
    hd95_mm: float
    volume: float
    """Of the prediction; in the unit of a pixel's volume."""
    reference_volume: float


def dice(a: Bools, b: Bools) -> float:
    """2 |A and B| / (|A| + |B|); NaN where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else float("nan")


def surface_distances(a: Bools, b: Bools, spacing: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Distance of every boundary pixel of a to the boundary of b, and the other way, in the unit of the spacing.

    Masks of the same shape, neither empty; spacing is between pixels of each axis.
    """
    border_a, border_b = _border(a), _border(b)
    to_b = ndimage.distance_transform_edt(~border_b, sampling=spacing)
    to_a = ndimage.distance_transform_edt(~border_a, sampling=spacing)
    return np.asarray(to_b[border_a]), np.asarray(to_a[border_b])


def overlap(predicted: Bools, reference: Bools, spacing: tuple[float, ...], tolerance_mm: float) -> Overlap:
    """Every metric of two masks [rows, columns] or [slices, rows, columns] with spacing in mm.

    tolerance_mm: how far two boundaries may lie apart and still count as one (NSD).
    """
    return overlap_of_slices(predicted[None], reference[None], spacing, tolerance_mm)


def overlap_of_slices(
    predicted: Bools, reference: Bools, spacing: tuple[float, ...], tolerance_mm: float
) -> Overlap:
    """Every metric of slices [n, rows, columns] that do not touch each other: distances are within a slice, and pooled.

    A boundary in a slice whose other mask is empty has no distance: it is not near (NSD), and HD95 leaves it aside.
    """
    pixel = float(np.prod(spacing))
    volumes = float(predicted.sum()) * pixel, float(reference.sum()) * pixel
    if not predicted.any() or not reference.any():
        score = 0.0 if predicted.any() or reference.any() else float("nan")
        return Overlap(score, score, float("nan"), *volumes)
    there, back, n_boundary = [], [], 0
    for own, other in zip(predicted, reference, strict=True):
        n_boundary += int(_border(own).sum()) + int(_border(other).sum())
        if own.any() and other.any():
            distances = surface_distances(own, other, spacing)
            there.append(distances[0])
            back.append(distances[1])
    near = sum(int((d <= tolerance_mm).sum()) for d in (*there, *back))
    hd95 = (
        max(float(np.percentile(np.concatenate(side), 95)) for side in (there, back))
        if there
        else float("nan")
    )
    return Overlap(dice(predicted, reference), near / n_boundary, hd95, *volumes)


def _border(mask: Bools) -> Bools:
    inner = ndimage.binary_erosion(mask)  # outside of the image nothing is covered
    return np.asarray(mask & ~inner)
