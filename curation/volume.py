"""A series as one volume on a grid of the patient's axes, in physical units.

What belongs here: which axis of the stack is which of the patient, and resampling onto a grid of given shape and spacing.
What does not: reading frames (samples/volume), what values mean (modality, suv).

The grid's axes are those of the patient (PS3.3 C.7.6.2.1.1): slices from feet to head, rows from front to back, columns
from the patient's right to the left. An oblique stack keeps its own directions and takes the nearest axes' order and sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from curation.modality import Plane, Unreadable, slice_order

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

_PATIENT = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Head, back and left in DICOM's x, y, z."""

MAX_SHEAR_PX = 1.0
"""Slices may drift sideways by that much over the whole stack; more is a tilted gantry or a mixed stack."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis of the stack is sampled: n_out places of `step` source samples each, the first begins at `start`."""

    n_in: int
    n_out: int
    start: float
    step: float

    def centre(self, place: float) -> float:
        """Where the middle of a place lies, in source samples."""
        return self.start + (place + 0.5) * self.step - 0.5


@dataclass(frozen=True, slots=True)
class Grid:
    """A planned volume: in which order its frames lie, how each axis of the stack is sampled, and what it becomes.

    `source_axis[i]` is the axis of the stack (slice, row, column) that becomes axis i of the volume, turned around where
    `is_flipped[i]`. Spacing, origin (middle of voxel 0, 0, 0) and directions are of the finished volume.
    """

    order: tuple[int, ...]
    axes: tuple[Axis, Axis, Axis]
    source_axis: tuple[int, int, int]
    is_flipped: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    directions: tuple[float, ...]

    def slice_of(self, values: NDArray[np.float32]) -> Floats32:
        """One frame [rows, columns], sampled in its plane; NaN outside the field of view."""
        rows = sample(values.astype(np.float64), self.axes[1])
        return sample(rows.T, self.axes[2]).T.astype(np.float32)

    def stack(self, slices: Sequence[Floats32]) -> Floats:
        """The volume of all sampled slices in the grid's order, [slices, rows, columns]; NaN outside."""
        flat = np.stack(slices).astype(np.float64)
        along: Floats = sample(flat.reshape(len(slices), -1), self.axes[0]).reshape(
            self.axes[0].n_out, *flat.shape[1:]
        )
        turned = along.transpose(self.source_axis)
        whole: Floats = turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.is_flipped)]
        return whole


def plan_grid(
    planes: Sequence[Plane],
    size_px: tuple[int, int],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] | None,
) -> Grid:
    """The grid of one series with frames of `size_px` (rows, columns).

    With a spacing the volume is centred on the stack, cut off or padded to the shape; without one the whole stack is
    stretched onto it. Raises Unreadable as `slice_order` does, and for no_geometry, single_slice and sheared.
    """
    spacing = _in_plane(planes)
    if len(planes) < 2:
        raise Unreadable("One slice is no volume.", "single_slice")
    order, between = slice_order(planes)
    if between is None:
        raise Unreadable("Positions are missing.", "no_geometry")
    source_mm = (between, *spacing)
    first = planes[order[0]]
    directions = _directions(first)
    _refuse_shear([planes[i] for i in order], directions[0], max(spacing))
    source_axis = _nearest(directions)
    is_flipped = tuple(bool(directions[a] @ _PATIENT[i] < 0) for i, a in enumerate(source_axis))
    axes: list[Axis] = [Axis(1, 1, 0.0, 1.0)] * 3
    for i, a in enumerate(source_axis):
        axes[a] = _axis((len(planes), *size_px)[a], source_mm[a], shape[i], spacing_mm and spacing_mm[i])
    final = tuple(axes[a].step * source_mm[a] for a in source_axis)
    turned = np.stack(
        [directions[a] * (-1 if f else 1) for a, f in zip(source_axis, is_flipped, strict=True)]
    )
    corner = [0.0, 0.0, 0.0]
    for i, a in enumerate(source_axis):
        corner[a] = axes[a].centre(axes[a].n_out - 1 if is_flipped[i] else 0)
    origin = np.asarray(first.image_position, np.float64) + (np.array(corner) * source_mm) @ directions
    return Grid(
        order=order,
        axes=(axes[0], axes[1], axes[2]),
        source_axis=source_axis,
        is_flipped=(is_flipped[0], is_flipped[1], is_flipped[2]),
        spacing_mm=(final[0], final[1], final[2]),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        directions=tuple(float(v) for v in turned.ravel()),
    )


def _axis(n_in: int, source_mm: float, n_out: int, wanted_mm: float | None) -> Axis:
    step = n_in / n_out if wanted_mm is None else wanted_mm / source_mm
    return Axis(n_in, n_out, (n_in - n_out * step) / 2, step)


def _in_plane(planes: Sequence[Plane]) -> tuple[float, float]:
    """mm between rows and between columns."""
    first = planes[0]
    stated = [(p.pixel_spacing_row_mm or 0.0, p.pixel_spacing_column_mm or 0.0) for p in planes]
    if min(min(s) for s in stated) <= 0 or any(
        len(p.image_position or ()) != 3 or len(p.image_orientation or ()) != 6 for p in planes
    ):
        raise Unreadable("Position, orientation or spacing of a slice is missing.", "no_geometry")
    if np.ptp(np.array(stated), axis=0).max() > 0.01 * min(stated[0]):
        raise Unreadable("The slices differ in pixel spacing.", "mixed_size")
    return float(first.pixel_spacing_row_mm or 0), float(first.pixel_spacing_column_mm or 0)


def _directions(plane: Plane) -> Floats:
    """Unit vectors of the stack's axes, [slice, row, column] x [x, y, z]: rows go along the second cosines."""
    cosines = np.asarray(plane.image_orientation, dtype=np.float64).reshape(2, 3)
    length = np.linalg.norm(cosines, axis=1)
    if np.abs(length - 1).max() > 1e-2 or abs(cosines[0] @ cosines[1]) > 1e-2:
        raise Unreadable("The direction cosines are none.", "no_geometry")
    along_row, along_column = cosines / length[:, None]
    return np.stack([np.cross(along_row, along_column), along_column, along_row])


def _refuse_shear(planes: Sequence[Plane], normal: Floats, pixel_mm: float) -> None:
    moved = np.array([p.image_position for p in planes], dtype=np.float64)
    moved = moved - moved[0]
    sideways = moved - np.outer(moved @ normal, normal)
    if np.linalg.norm(sideways, axis=1).max() > MAX_SHEAR_PX * pixel_mm:
        raise Unreadable("The slices are moved against each other.", "sheared")


def _nearest(directions: Floats) -> tuple[int, int, int]:
    """Which axis of the stack goes most along head, back and left."""
    share = np.abs(directions @ _PATIENT.T)  # [stack axis, patient axis]
    best = max(permutations(range(3)), key=lambda p: sum(share[a, i] for i, a in enumerate(p)))
    return best[0], best[1], best[2]


def sample(values: Floats, axis: Axis) -> Floats:
    """Axis 0 of a 2-d array at the axis' places: means over each place where it shrinks, else linear interpolation.

    NaN where less than half of a place lies inside. Sums run along the axis alone: every machine gives the same bytes.
    """
    n, places = axis.n_in, np.arange(axis.n_out)
    result: Floats
    if axis.step > 1:
        edges = np.clip(axis.start + np.arange(axis.n_out + 1) * axis.step, 0, n)
        sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
        whole = np.minimum(edges.astype(np.int64), n - 1)
        part = (edges - whole)[:, None]
        at_edges = sums[whole] * (1 - part) + sums[whole + 1] * part
        covered = np.diff(edges)
        is_inside = covered >= 0.5 * axis.step
        result = np.diff(at_edges, axis=0) / np.where(is_inside, covered, 1.0)[:, None]
    else:
        centres = axis.start + (places + 0.5) * axis.step - 0.5
        is_inside = (centres > -0.5 - 1e-9) & (centres < n - 0.5 + 1e-9)
        at = np.clip(centres, 0, n - 1)
        whole = np.minimum(at.astype(np.int64), max(n - 2, 0))
        part = (at - whole)[:, None]
        result = values[whole] * (1 - part) + values[np.minimum(whole + 1, n - 1)] * part
    result[~is_inside] = np.nan
    return result
