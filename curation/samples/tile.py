"""Tiles: some slices of a series, each a row of its own.

What belongs here: which frames, and rows out of tiles. What does not: what a tile shows (curation.tile).
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
from curation.tile import Look, Row, Source, Tile, make_tiles, pick_frames, spacing_of

Palettes = Mapping[UUID, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class TileSample:
    """One frame a row, each in its own window."""

    frames: Sequence[Source]
    palettes: Palettes
    look: Look

    def make(self, decode: Decode) -> list[Made]:
        """A row a frame."""
        return [
            tile_row((source,), make_tiles(decode, [source], self.look, self.palettes)[0])
            for source in self.frames
        ]


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
        return TileSample([series.source(*one) for one in picked], palettes_of(series), look_of(recipe))


def tile_row(
    frames: tuple[Source, ...], tile: Tile, between_mm: float | None = None, time_ms: float | None = None
) -> Made:
    """The row of a tile; `between_mm`: from one of its frames to the next."""
    _, rows_mm, columns_mm = spacing_of(frames[len(frames) // 2].instance, tile.scale)
    return Made(
        pixels=tile.pixels,
        frames=frames,
        unit="level",
        spacing_mm=(between_mm, rows_mm, columns_mm),
        is_inverted=tile.is_inverted,
        window_low=tile.window_low,
        window_high=tile.window_high,
        value_scale=255.0 / np.iinfo(tile.pixels.dtype).max,
        scale=tile.scale,
        pad_top=tile.pad_top,
        pad_left=tile.pad_left,
        time_ms=time_ms,
    )


def look_of(recipe: PackRecipe) -> Look:
    """How a recipe's tiles are drawn."""
    return Look(recipe.size, recipe.color, recipe.bits, recipe.levels, recipe.window)


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
