"""A made-up head: skull, brain, eyes, nose and chin of ellipsoids, in HU or as T1 weights, and where the brain is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.deid.head import Plane, Stack
from curation.deid.header import Clean
from curation.deid.pixels import Member
from tests.curation.deid.objects import clean, ct, to_bytes

SIZE_MM = (240, 260, 200)
"""Feet to head, front to back, right to left."""

_HU = {"air": -1000, "soft": 40, "fat": -80, "bone": 900, "brain": 32}
_T1 = {"air": 0, "soft": 450, "fat": 900, "bone": 60, "brain": 600}


def head(step_mm: float, *, is_ct: bool, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values [slices, rows, columns] on a grid of `step_mm`, axial, and the brain."""
    z, y, x = (
        (np.arange(round(n / step_mm)) * step_mm - n / 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, n in enumerate(SIZE_MM)
    )

    def inside(cz: float, cy: float, cx: float, rz: float, ry: float, rx: float) -> NDArray[np.bool_]:
        return ((z - cz) / rz) ** 2 + ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1

    tone = _HU if is_ct else _T1
    scalp, skull, brain = (inside(20, 10, 0, 88 - d, 98 - d, 76 - d) for d in (0, 6, 13))
    face = inside(-45, -40, 0, 60, 52, 58)
    nose = inside(-40, -92, 0, 20, 18, 12)
    chin = inside(-92, -62, 0, 16, 26, 28)
    neck = (y - 15) ** 2 + x**2 < 50**2
    neck = neck & (z < -40)
    values = np.full(scalp.shape, tone["air"], np.float32)
    for where in (neck, face, nose, chin, scalp):
        values[where] = tone["soft"]
    values[scalp & ~skull] = tone["fat"]
    values[skull] = tone["bone"]
    values[brain] = tone["brain"]
    for side in (-30, 30):
        values[inside(-12, -84, side, 11, 11, 11)] = tone["soft"] * 0.5
    noise = np.random.default_rng(seed).normal(0, 12, values.shape)
    return (values + noise).astype(np.float32), brain & np.ones(values.shape, bool)


def stack(step_mm: float, *, is_ct: bool) -> tuple[Stack, NDArray[np.bool_]]:
    """The head as a stack, and its brain."""
    values, brain = head(step_mm, is_ct=is_ct)
    planes = [
        Plane(np.array([0, 0, n * step_mm]), np.array([0, step_mm, 0.0]), np.array([step_mm, 0.0, 0.0]))
        for n in range(len(values))
    ]
    return Stack(values, planes, is_ct), brain


def series(step_mm: float, **changes: Any) -> tuple[list[Member], NDArray[np.bool_], NDArray[np.int16]]:
    """The head as CT objects, cleaned, with their pixels; and its brain and stored values."""
    values, brain = head(step_mm, is_ct=True)
    stored = np.round(values + 1024).astype(np.int16)
    members = []
    for n, frame in enumerate(stored):
        dataset = ct(
            SOPInstanceUID=f"1.2.826.0.1.3680043.8.498.9.{n + 1}",
            BodyPartExamined="HEAD",
            ImagePositionPatient=[0, 0, n * step_mm],
            PixelSpacing=[step_mm, step_mm],
            Rows=frame.shape[0],
            Columns=frame.shape[1],
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=1,
            PixelData=frame.astype("<i2").tobytes(),
        )
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        cleaned: Clean = clean(to_bytes(dataset))
        members.append(Member(cleaned, lambda _, frame=frame: frame))
    return members, brain, stored
