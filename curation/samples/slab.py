"""Slabs, 2.5-D: a slice between its neighbours `gap` slices below and above, as three channels in one window.

What belongs here: which frames. What does not: what a tile shows (curation.tile), where slices lie (planes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from curation.modality import Unreadable, slice_order
from curation.pack_recipe import PackRecipe
from curation.planes import planes_of
from curation.sample import Decode, Made, OneSeries
from curation.samples.tile import Palettes, look_of, palette_rows, palettes_of, tile_row
from curation.tile import Look, Row, Source, make_tiles, pick_places


@dataclass(frozen=True, slots=True)
class SlabSample:
    """Three frames a row, lower, middle and upper one along the normal."""

    slabs: Sequence[tuple[Source, ...]]
    palettes: Palettes
    look: Look
    between_mm: float | None

    @property
    def frames(self) -> Sequence[Source]:
        """Of all slabs."""
        return [source for slab in self.slabs for source in slab]

    def make(self, decode: Decode) -> list[Made]:
        """A row a slab."""
        return [self._one(slab, decode) for slab in self.slabs]

    def _one(self, slab: tuple[Source, ...], decode: Decode) -> Made:
        tiles = make_tiles(decode, slab, self.look, self.palettes)
        whole = replace(tiles[1], pixels=np.stack([tile.pixels for tile in tiles]))
        return tile_row(slab, whole, self.between_mm)


class SlabKind:
    """kind: slab."""

    def headers(self, instances: Sequence[Row]) -> Sequence[Row]:
        """Those with a palette or with several frames."""
        return [*palette_rows(instances), *(row for row in instances if row["n_frames"] > 1)]

    def plan(self, series: OneSeries, recipe: PackRecipe) -> SlabSample:
        """Slices where tiles would be taken, ordered by position; at the ends the last slice stands for its neighbour."""
        frames, planes = planes_of(series.instances, series.headers)
        if not frames:
            raise Unreadable("The series has no frames.", "no_frames")
        if len(frames) < 2:
            raise Unreadable("One slice is no slab.", "single_slice")
        order, between = slice_order(planes)
        slabs = []
        for place in pick_places(len(order), recipe.tiles_per_series):
            around = [min(max(place + k * recipe.gap, 0), len(order) - 1) for k in (-1, 0, 1)]
            slabs.append(tuple(series.source(*frames[order[i]]) for i in around))
        return SlabSample(slabs, palettes_of(series), look_of(recipe), between and between * recipe.gap)
