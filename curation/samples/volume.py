"""Volumes: all slices of a series as one stack on a grid of the patient's axes, int16 in physical units.

What belongs here: which frames, and what the values mean. What does not: geometry (curation.volume), the PET factor (suv).
CT is in HU, PET in SUV by body weight; what has no unit lies between its window's percentiles, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation import suv
from curation.modality import AIR_HU, Plane, Unreadable, to_units, unit_of, window_for
from curation.pack_recipe import PackRecipe
from curation.planes import planes_of, read_header
from curation.sample import Decode, Made, OneSeries
from curation.tile import Row, Source
from curation.volume import Floats, Grid, plan_grid

HU, SHARE = "HU", "share"
SCALES = {HU: 1.0, suv.UNIT: 0.01, SHARE: 1e-4}
"""Unit -> how much of it one stored step is."""

LARGEST = 32767


@dataclass(frozen=True, slots=True)
class VolumeSample:
    """One row; `frames` and `planes` lie in the grid's order. `factor`: rescaled values to the unit."""

    frames: Sequence[Source]
    planes: Sequence[Plane]
    grid: Grid
    unit: str
    factor: float

    def make(self, decode: Decode) -> list[Made]:
        """The row. One slice is decoded at a time."""
        size_px = self.grid.axes[1].n_in, self.grid.axes[2].n_in
        slices = []
        for source, plane in zip(self.frames, self.planes, strict=True):
            values = decode(source, 0)
            if values.shape != size_px:
                raise Unreadable("A slice has another size than its header says.", "mixed_size")
            slices.append(self.grid.slice_of(to_units(values, plane)))
        volume = self.grid.stack(slices) * self.factor
        low, high, is_inverted = None, None, False
        if self.unit == SHARE:
            low, high = self._window(volume)
            volume = (np.clip(volume, low, high) - low) / (high - low)
            is_inverted = self.planes[0].photometric == "MONOCHROME1"
            volume = 1 - volume if is_inverted else volume
        return [
            Made(
                pixels=_stored(volume, self.unit),
                frames=tuple(self.frames),
                unit=self.unit,
                spacing_mm=self.grid.spacing_mm,
                is_inverted=is_inverted,
                window_low=low,
                window_high=high,
                value_scale=SCALES[self.unit],
                origin_mm=self.grid.origin_mm,
                directions=self.grid.directions,
            )
        ]

    def _window(self, volume: Floats) -> tuple[float, float]:
        """Percentiles of what lies inside the field of view; those of the series' window where it has some."""
        source = self.frames[0]
        window = window_for(source.instance["modality"], source.kind, source.body_part)
        percentiles = (window.low, window.high) if window.source == "percentile" else (0.5, 99.5)
        low, high = (float(p) for p in np.percentile(volume[~np.isnan(volume)], percentiles))
        return (low, high) if high > low else (low, low + 1.0)


class VolumeKind:
    """kind: volume."""

    def headers(self, instances: Sequence[Row]) -> Sequence[Row]:
        """Those with several frames, and of PET all."""
        return [row for row in instances if row["n_frames"] > 1 or row["modality"] == "PT"]

    def plan(self, series: OneSeries, recipe: PackRecipe) -> VolumeSample:
        """All slices. Raises Unreadable where they are no even stack, or their values have no unit they ought to have."""
        instances = [row for row in series.instances if row["n_frames"] > 0]
        frames, planes = planes_of(instances, series.headers)
        if not frames:
            raise Unreadable("The series has no frames.", "no_frames")
        if any(
            (row["samples_per_pixel"] or 1) > 1 or row["photometric"] == "PALETTE COLOR" for row in instances
        ):
            raise Unreadable("Colour has no volume.", "colour")
        sizes = {(row["rows_px"], row["columns_px"]) for row in instances}
        if len(sizes) > 1:
            raise Unreadable("The slices differ in size.", "mixed_size")
        unit, factor = _unit(series, instances, planes)
        depth, height, width = recipe.shape
        grid = plan_grid(planes, sizes.pop(), (depth, height, width), recipe.spacing_mm)
        sources = [series.source(*frames[i]) for i in grid.order]
        return VolumeSample(sources, [planes[i] for i in grid.order], grid, unit, factor)


def _unit(series: OneSeries, instances: Sequence[Row], planes: Sequence[Plane]) -> tuple[str, float]:
    modality = instances[0]["modality"]
    if unit_of(modality) == HU:
        if any(plane.rescale_slope is None for plane in planes):
            raise Unreadable("Without a rescale the values are no HU.", "no_rescale")
        return HU, 1.0
    if modality == "PT":
        return suv.UNIT, suv.suv_factor([read_header(series.headers[r["instance_id"]]) for r in instances])
    return SHARE, 1.0


def _stored(volume: Floats, unit: str) -> NDArray[np.int16]:
    """int16 in steps of the unit; outside the field of view lies air, or nothing."""
    filled = np.where(np.isnan(volume), AIR_HU if unit == HU else 0.0, volume)
    return np.clip(np.floor(filled / SCALES[unit] + 0.5), -LARGEST - 1, LARGEST).astype("<i2")
