"""The outer surface around the face in a stack of head CT or MR slices: where it lies, as voxels to replace.

What belongs here: geometry and grey values of one stack. What does not: which series show a head, what is written under
the mask (faces). The way is that of Quickshear (Schimke and Hale, "Quickshear defacing for neuroimages", HealthSec
2011), a plane that shears the face from the brain, with two differences: the brain is estimated here, roughly, instead of
being given, and only what lies near the skin is taken, so that sinuses, skull base and teeth deeper than that stay for
the radiologist. It reduces recognition; it does not rule it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # loads its ndimage when that is first named: most workers never see a head
from numpy.typing import NDArray

GRID_MM = 2.0
DEPTH_MM = 26.0
"""How far below the skin the face is taken away; noses, lips and eyelids lie within."""
RELIEF_MM = 8.0
"""By how much the depth wanders over the face: what is left keeps no parallel copy of its surface."""
MARGIN_MM = 6.0
"""Tissue nearer than this to the estimated brain is never touched."""
_CT_BODY_HU, _CT_BONE_HU, _CT_BRAIN_HU = -300.0, 250.0, (-5.0, 90.0)
_BRAIN_ML = (250.0, 3000.0)
_HEAD_WIDTH_MM = (110.0, 230.0)
_TILTS_DEGREES = tuple(range(15, 61, 5))

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


class NoHead(ValueError):  # noqa: N818 - what the stack is not
    """The stack shows no head that can be told from its surroundings; nothing is known of a face."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the pixels of one frame lie in the patient's space (LPS, mm; PS3.3 C.7.6.2.1.1).

    `origin` is the first pixel's centre; `row_step` and `column_step` lead to the next row and to the next column.
    """

    origin: NDArray[np.float64]
    row_step: NDArray[np.float64]
    column_step: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal."""
        normal: NDArray[np.float64] = np.cross(self.column_step, self.row_step)
        return normal / np.linalg.norm(normal)

    def points(self, rows: int, columns: int) -> NDArray[np.float64]:
        """Patient coordinates of the pixels, [rows, columns, 3]."""
        down = np.arange(rows)[:, None, None] * self.row_step
        right = np.arange(columns)[None, :, None] * self.column_step
        return np.asarray(self.origin + down + right)


@dataclass(frozen=True, slots=True)
class Stack:
    """Parallel slices of equal size, ordered along their normal; `values` is [slices, rows, columns], HU where `is_ct`."""

    values: Volume
    planes: Sequence[Plane]
    is_ct: bool


@dataclass(frozen=True, slots=True)
class _Grid:
    """Even grid in patient space: axis 0 from feet to head, axis 1 from front to back, axis 2 from right to left."""

    low: NDArray[np.float64]
    """x, y, z of the first voxel."""
    shape: tuple[int, int, int]

    def points(self) -> NDArray[np.float64]:
        z, y, x = (self.low[2 - a] + GRID_MM * np.arange(n) for a, n in enumerate(self.shape))
        out = np.empty((*self.shape, 3))
        out[..., 0], out[..., 1], out[..., 2] = x[None, None, :], y[None, :, None], z[:, None, None]
        return out


@dataclass(frozen=True, slots=True)
class Face:
    """What is taken away, in the patient's space: it holds for every frame of the same frame of reference."""

    grid: _Grid
    voxels: Mask

    def mask(self, plane: Plane, rows: int, columns: int) -> Mask:
        """The pixels of one frame to replace, bool [rows, columns]."""
        at = np.rint((plane.points(rows, columns) - self.grid.low) / GRID_MM).astype(np.int32)
        inside = np.all((at >= 0) & (at < np.array(self.grid.shape[::-1])), axis=-1)
        at[~inside] = 0
        return np.asarray(self.voxels[at[..., 2], at[..., 1], at[..., 0]] & inside)


def find_face(stack: Stack, relief: int) -> Face:
    """Where the face lies. `relief` seeds the wandering depth: it must be secret, or the skin could be worked out again.

    Raises NoHead where no brain and no head's outline are found: then it is not known where a face would be.
    """
    grid = _grid(stack)
    values, known = _sample(stack, grid)
    body = _body(values, known, is_ct=stack.is_ct)
    brain = _brain(values, body, is_ct=stack.is_ct)
    return Face(grid, _face(body, known, brain, relief))


def _grid(stack: Stack) -> _Grid:
    _, rows, columns = stack.values.shape
    corners = [
        p.origin + r * p.row_step + c * p.column_step
        for p in stack.planes
        for r in (0, rows - 1)
        for c in (0, columns - 1)
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    nx, ny, nz = (int(n) for n in np.ceil((high - low) / GRID_MM) + 1)
    return _Grid(low, (nz, ny, nx))


def _sample(stack: Stack, grid: _Grid) -> tuple[Volume, Mask]:
    """The stack's values on the grid, and where it has any. Slices may lie unevenly or sheared."""
    points, first = grid.points(), stack.planes[0]
    origins = np.array([p.origin for p in stack.planes])
    along = origins @ first.normal
    k = np.interp(points @ first.normal, along, np.arange(len(along)), left=-1.0, right=-1.0)
    n_slices, rows, columns = stack.values.shape
    i, j = (
        (points @ step - np.interp(k, np.arange(n_slices), origins @ step)) / float(step @ step)
        for step in (first.row_step, first.column_step)
    )
    known = (k >= 0) & (i > -0.5) & (j > -0.5) & (i < rows - 0.5) & (j < columns - 0.5)
    values = scipy.ndimage.map_coordinates(_smooth(stack), [k, i, j], order=1, mode="nearest")
    return np.where(known, values, float(stack.values.min())).astype(np.float32), known


def _smooth(stack: Stack) -> Volume:
    """The values averaged in the plane over a grid cell, so that sampling is not at the mercy of noise."""
    steps = (stack.planes[0].row_step, stack.planes[0].column_step)
    sizes = [1, *(max(round(GRID_MM / float(np.linalg.norm(step))), 1) for step in steps)]
    return np.asarray(scipy.ndimage.uniform_filter(stack.values, sizes), np.float32)


def _body(values: Volume, known: Mask, *, is_ct: bool) -> Mask:
    """The head and neck, without air around them and without what the head lies on, cavities filled slice by slice."""
    threshold = _CT_BODY_HU if is_ct else _mr_threshold(values[known])
    body = scipy.ndimage.binary_opening(values > threshold, iterations=1)
    body = _largest(body)
    body = scipy.ndimage.binary_closing(np.pad(body, 4, mode="edge"), iterations=3)[4:-4, 4:-4, 4:-4]
    filled = np.stack([scipy.ndimage.binary_fill_holes(level) for level in body])
    width_mm = _widest(filled) * GRID_MM
    if not _HEAD_WIDTH_MM[0] <= width_mm <= _HEAD_WIDTH_MM[1]:
        raise NoHead("no outline of a head")
    return np.asarray(filled)


def _mr_threshold(values: Volume) -> float:
    """Between the air's noise and tissue: Otsu's threshold of the square roots, halved."""
    roots = np.sqrt(np.clip(values - values.min(), 0, None))
    top = float(np.percentile(roots, 99.5))
    if top <= 0:
        raise NoHead("an empty stack")
    counts, edges = np.histogram(roots, bins=128, range=(0.0, top))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = below * above * (total / below - (total[-1] - total) / above) ** 2
    otsu = float(middle[int(np.nanargmax(spread))])
    return float(values.min()) + 0.5 * otsu**2


def _brain(values: Volume, body: Mask, *, is_ct: bool) -> Mask:
    """A rough brain: soft tissue that bone encloses (CT), or the largest even piece well under the skin (MR)."""
    if is_ct:
        bone = scipy.ndimage.binary_closing(values > _CT_BONE_HU, iterations=2) & body
        inside = np.stack([scipy.ndimage.binary_fill_holes(level) for level in bone]) & ~bone
        soft = inside & (values > _CT_BRAIN_HU[0]) & (values < _CT_BRAIN_HU[1])
    else:
        deep = scipy.ndimage.distance_transform_edt(body, sampling=GRID_MM) > 10.0
        if not deep.any():
            raise NoHead("nothing lies deep enough")
        middle = float(np.median(values[deep]))
        soft = deep & (values > 0.6 * middle) & (values < 1.6 * middle)
    core = _largest(scipy.ndimage.binary_erosion(soft, iterations=3))
    brain = scipy.ndimage.binary_dilation(core, iterations=4) & body
    brain = scipy.ndimage.binary_closing(brain, iterations=3) & body
    volume_ml = brain.sum() * GRID_MM**3 / 1000
    if not _BRAIN_ML[0] <= volume_ml <= _BRAIN_ML[1]:
        raise NoHead("no brain")
    return np.asarray(brain)


def _face(body: Mask, known: Mask, brain: Mask, relief: int) -> Mask:
    """What lies beyond the shearing plane, near the skin, and not next to the brain."""
    beyond = _beyond(body, brain)
    outside = ~body & known
    under_skin = scipy.ndimage.distance_transform_edt(~outside, sampling=GRID_MM)
    depth = DEPTH_MM + RELIEF_MM * _wander(body.shape, relief)
    apart = scipy.ndimage.distance_transform_edt(~brain, sampling=GRID_MM)
    return np.asarray(beyond & (under_skin < depth) & (apart > MARGIN_MM))


def _beyond(body: Mask, brain: Mask) -> Mask:
    """The side of the face: in front of and below the plane that touches the brain and leaves the most head beyond it."""
    z, y = np.nonzero(brain.any(axis=2))
    middle = float(y.mean())
    z, y = z[y < middle], y[y < middle]  # brain stem and cerebellum lie behind, and would hold the plane back
    head_z, head_y = np.nonzero(body.any(axis=2))
    weight = body.sum(axis=2)[head_z, head_y]
    best: tuple[float, float, float] | None = None
    most = -1
    for tilt in np.deg2rad(_TILTS_DEGREES):
        down, front = np.cos(tilt), np.sin(tilt)  # the plane's normal leads downwards and to the front
        reach = float((-down * z - front * y).max())
        beyond = int(weight[-down * head_z - front * head_y > reach].sum())
        if beyond > most:
            most, best = beyond, (down, front, reach)
    if best is None:
        raise NoHead("no plane")
    down, front, reach = best
    nz, ny, _ = body.shape
    plane = -down * np.arange(nz)[:, None] - front * np.arange(ny)[None, :] > reach + 1
    # the back of the neck lies below the plane as well, and shows nobody
    plane &= np.arange(ny)[None, :] < middle
    return np.broadcast_to(plane[:, :, None], body.shape)


def _wander(shape: tuple[int, ...], seed: int) -> Volume:
    """A smooth field between -1 and 1, other for each seed, with hills about 3 cm apart."""
    noise = np.random.default_rng(seed).standard_normal([n // 8 + 2 for n in shape])
    field = scipy.ndimage.zoom(scipy.ndimage.gaussian_filter(noise, 0.7), 8, order=1)
    field = field[tuple(slice(0, n) for n in shape)]
    return np.asarray(np.clip(field / (2 * field.std()), -1, 1), np.float32)


def _largest(mask: NDArray[Any]) -> Mask:
    labels, n = scipy.ndimage.label(mask)
    if not n:
        raise NoHead("nothing there")
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def _widest(body: Mask) -> int:
    """Voxels from right to left, at the level where the head is widest but for the highest tenth of levels."""
    widths: Sequence[int] = [int(np.ptp(np.nonzero(level)[1])) + 1 for level in body if level.any()]
    return int(np.percentile(widths, 60)) if widths else 0
