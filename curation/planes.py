"""Where every frame of a series lies: one Plane a frame, also of enhanced objects that hold many.

What belongs here: reading the functional groups. What does not: what a stack is (modality, volume).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any
from uuid import UUID

from pydicom import Dataset
from pydicom.filereader import read_dataset

from curation.modality import Plane, Unreadable
from curation.tile import Row, plane_of

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}
"""Functional group macros (PS3.3 C.7.6.16.2) and what of them a plane needs."""


def read_header(header: bytes) -> Dataset:
    """A clean header as a dataset."""
    return read_dataset(BytesIO(header), is_implicit_VR=False, is_little_endian=True)


def planes_of(
    instances: Sequence[Row], headers: Mapping[UUID, bytes]
) -> tuple[list[tuple[Row, int]], list[Plane]]:
    """All frames of a series as (instance, frame from 0), in the device's order, and the plane of each.

    `headers` holds the clean header of every instance of several frames. Raises Unreadable where one does not say of each
    frame where it lies as its class must.
    """
    frames: list[tuple[Row, int]] = []
    planes: list[Plane] = []
    for row in sorted(instances, key=lambda r: (r["instance_number"] or 0, r["instance_id"].bytes)):
        own = plane_of(row)
        found = (
            [own] if row["n_frames"] == 1 else _of_frames(own, row["n_frames"], headers[row["instance_id"]])
        )
        for index, plane in zip(range(row["n_frames"]), found, strict=True):
            frames.append((row, index))
            planes.append(replace(plane, instance_number=len(planes)))  # the device's order, over all objects
    return frames, planes


def _of_frames(own: Plane, n: int, header: bytes) -> list[Plane]:
    dataset = read_header(header)
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups:  # a cine: its frames lie where the object says, all of them in one place, or nowhere
        return [replace(own, image_position=None)] * n
    if len(groups) != n:
        raise Unreadable("Not every frame has its functional groups.", "no_geometry")
    shared = _facts((dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    return [_plane(own, shared | _facts(item)) for item in groups]


def _facts(item: Dataset) -> dict[str, Any]:
    return dict(_said(item))


def _said(item: Dataset) -> Iterator[tuple[str, Any]]:
    for macro, keywords in _GROUPS.items():
        for inside in (item.get(macro) or [])[:1]:
            for keyword in keywords:
                if inside.get(keyword) is not None:
                    yield keyword, inside.get(keyword)


def _plane(own: Plane, said: Mapping[str, Any]) -> Plane:
    def number(keyword: str, default: float | None) -> float | None:
        return float(said[keyword]) if keyword in said else default

    def numbers(keyword: str) -> list[float] | None:
        return [float(v) for v in said[keyword]] if keyword in said else None

    spacing = numbers("PixelSpacing") or (own.pixel_spacing_row_mm, own.pixel_spacing_column_mm)
    return replace(
        own,
        image_position=numbers("ImagePositionPatient"),
        image_orientation=numbers("ImageOrientationPatient") or own.image_orientation,
        pixel_spacing_row_mm=spacing[0],
        pixel_spacing_column_mm=spacing[1],
        slice_thickness_mm=number("SliceThickness", own.slice_thickness_mm),
        spacing_between_slices_mm=number("SpacingBetweenSlices", own.spacing_between_slices_mm),
        rescale_slope=number("RescaleSlope", own.rescale_slope),
        rescale_intercept=number("RescaleIntercept", own.rescale_intercept),
    )
