"""Tiles: some slices of a series, each a row of its own.

What belongs here: which frames. What does not: what a tile shows (curation.tile).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from curation.frames import read_palette
from curation.modality import Unreadable
from curation.pack_recipe import PackRecipe
from curation.sample import Decode, Made, OneSeries
from curation.tile import Row, Source, make_tile, pick_frames, spacing_of

Palettes = Mapping[UUID, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class TileSample:
    """One frame a row."""

    frames: Sequence[Source]
    palettes: Palettes
    recipe: PackRecipe

    def make(self, decode: Decode) -> list[Made]:
        """A row a frame."""
        return [self._one(source, decode) for source in self.frames]

    def _one(self, source: Source, decode: Decode) -> Made:
        tile = make_tile(decode, source, self.recipe.size, self.palettes.get(source.instance["instance_id"]))
        return Made(
            pixels=tile.pixels,
            frames=(source,),
            unit="level",
            spacing_mm=spacing_of(source.instance, tile.scale),
            is_inverted=tile.is_inverted,
            window_low=tile.window_low,
            window_high=tile.window_high,
            scale=tile.scale,
            pad_top=tile.pad_top,
            pad_left=tile.pad_left,
        )


class TileKind:
    """kind: tile."""

    def headers(self, instances: Sequence[Row]) -> Sequence[Row]:
        """Those with a palette."""
        return palette_rows(instances)

    def plan(self, series: OneSeries, recipe: PackRecipe) -> TileSample:
        """Slices evenly from a tenth to nine tenths of the series."""
        picked = pick_frames(series.instances, recipe.tiles_per_series)
        if not picked:
            raise Unreadable("The series has no frames.", "no_frames")
        return TileSample([series.source(*one) for one in picked], palettes_of(series), recipe)


def palette_rows(instances: Sequence[Row]) -> Sequence[Row]:
    """Instances whose colours stand in their header."""
    return [row for row in instances if row["photometric"] == "PALETTE COLOR"]


def palettes_of(series: OneSeries) -> Palettes:
    """Palette of each such instance. Raises Unreadable where a header has none that can be used."""
    ids = [row["instance_id"] for row in palette_rows(series.instances)]
    try:
        return {i: read_palette(series.headers[i]) for i in ids}
    except (ValueError, TypeError, AttributeError, IndexError, NotImplementedError):  # as pydicom says it
        raise Unreadable("The palette cannot be read.", "decoder_failed") from None
