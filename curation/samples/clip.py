"""Clips: frames of a cine, evenly in time and in one window, each a row of its own.

What belongs here: which object and which frames. What does not: what a tile shows (curation.tile).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.modality import Unreadable
from curation.pack_recipe import PackRecipe
from curation.planes import read_header
from curation.sample import Decode, Made, OneSeries
from curation.samples.tile import Palettes, look_of, palettes_of, tile_row
from curation.tile import Look, Row, Source, make_tiles


@dataclass(frozen=True, slots=True)
class ClipSample:
    """One frame a row, in the order of time; times in ms from the first frame, None where the device states none."""

    frames: Sequence[Source]
    times_ms: Sequence[float | None]
    palettes: Palettes
    look: Look

    def make(self, decode: Decode) -> list[Made]:
        """A row a frame."""
        tiles = make_tiles(decode, self.frames, self.look, self.palettes)
        return [
            tile_row((source,), tile, time_ms=time)
            for source, tile, time in zip(self.frames, tiles, self.times_ms, strict=True)
        ]


class ClipKind:
    """kind: clip."""

    def headers(self, instances: Sequence[Row]) -> Sequence[Row]:
        """The cine's: it may hold a palette, and a time of its own for each frame."""
        cine = longest_cine(instances)
        return [cine] if cine else []

    def plan(self, series: OneSeries, recipe: PackRecipe) -> ClipSample:
        """Frames of the series' longest cine: in each of n equal spans of time the one that is shown at its middle."""
        if not series.instances:
            raise Unreadable("The series has no frames.", "no_frames")
        cine = longest_cine(series.instances)
        if cine is None:
            raise Unreadable("No object of the series has several frames.", "no_cine")
        shown = OneSeries([cine], series.kind, series.body_part, series.headers)
        edges, is_stated = frame_edges(cine, series.headers[cine["instance_id"]])
        n = recipe.tiles_per_series
        when = (np.arange(n) + 0.5) / n * edges[-1]
        picked = [int(np.searchsorted(edges, t, side="right")) - 1 for t in when]
        return ClipSample(
            [shown.source(cine, i) for i in picked],
            [float(edges[i]) if is_stated else None for i in picked],
            palettes_of(shown),
            look_of(recipe),
        )


def longest_cine(instances: Sequence[Row]) -> Row | None:
    """The object with most frames, of several frames; of equals the first one the device made."""
    cines = [row for row in instances if row["n_frames"] > 1]
    return min(
        cines,
        key=lambda r: (-r["n_frames"], r["instance_number"] or 0, r["instance_id"].bytes),
        default=None,
    )


def frame_edges(cine: Row, header: bytes) -> tuple[NDArray[np.float64], bool]:
    """When each frame begins and the last one ends, [n + 1], ms from the first, and whether the device says so.

    By FrameTimeVector, else FrameTime, else CineRate (PS3.3 C.7.6.5); where none is stated frames count as equally long.
    """
    dataset, n = read_header(header), int(cine["n_frames"])
    increments = [float(v) for v in dataset.get("FrameTimeVector") or ()]
    if len(increments) == n and n > 1 and min(increments) >= 0 and sum(increments[1:]) > 0:
        starts: NDArray[np.float64] = np.cumsum(
            [0.0, *increments[1:]], dtype=np.float64
        )  # the first increment is no time between frames
        return np.array([*starts, starts[-1] * n / (n - 1)], np.float64), True
    rate = float(dataset.get("CineRate") or 0)
    each = float(cine["frame_time_ms"] or (1000.0 / rate if rate > 0 else 0.0))
    return np.arange(n + 1, dtype=np.float64) * (each if each > 0 else 1.0), each > 0
