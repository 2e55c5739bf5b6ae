"""Frames: which slices a series has, in which order, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from curation.lake import Lake
from ui.catalog.opened import Opened


class Pixels(Opened):
    """Queries of the pixel routes."""

    def __init__(self, lake: Lake, number: int | None) -> None:
        super().__init__(lake, number)
        self.slices = lru_cache(maxsize=256)(self._slices)

    def _slices(self, series_id: UUID) -> tuple[tuple[UUID, int], ...]:
        """(instance, frame) of a series in the order of viewing: along the normal, else as the device numbered them."""
        found = self.rows(
            """SELECT instance_id, n_frames, instance_number, image_position AS p, image_orientation AS o
               FROM instances WHERE series_id = ? AND n_frames > 0""",
            [series_id],
        )
        found.sort(key=_place)
        return tuple((row["instance_id"], index) for row in found for index in range(row["n_frames"]))

    def frame(self, series_id: UUID, index: int | None) -> dict[str, Any] | None:
        """One frame of a series with what is needed to show it; index None is the middle one. None where there is none."""
        places = self.slices(series_id)
        index = len(places) // 2 if index is None else index
        if not 0 <= index < len(places):
            return None
        instance_id, frame_index = places[index]
        facts = self.rows(
            """SELECT i.delivery, i.rows_px, i.columns_px, i.bits_stored, i.photometric, i.rescale_slope, i.rescale_intercept,
                      i.window_center, i.window_width, i.pixel_spacing_row_mm, i.pixel_spacing_column_mm, i.burned_in_regions,
                      s.modality, s.kind, s.body_part
               FROM instances i JOIN series s USING (series_id) WHERE i.series_id = ? AND i.instance_id = ?""",
            [series_id, instance_id],
        )[0]
        files = self._frame_files(facts["delivery"], str(series_id))
        payload = (
            self.rows(
                "SELECT codec, payload FROM read_parquet(?) WHERE series_id = ? AND instance_id = ? AND frame_index = ?",
                [files, series_id, instance_id, frame_index],
            )
            if files
            else []
        )
        return {**facts, **payload[0]} if payload else None

    def _frame_files(self, delivery: str, series_id: str) -> list[str]:
        # the part list says which files can hold the series: the other millions are not opened
        part_list = self.snapshot.deliveries.get(delivery)
        parts = self.lake.part_list(part_list)["frames"] if part_list else []
        return [
            str(self.lake.root / p.path)
            for p in parts
            if str(p.min.get("series_id", "")) <= series_id <= str(p.max.get("series_id", "g"))
        ]


def _place(row: Mapping[str, Any]) -> tuple[float, int, str]:
    """Where an instance lies in its series: along the slice normal where geometry is known."""
    position, orientation = row["p"], row["o"]
    along = 0.0
    if position and orientation and len(position) == 3 and len(orientation) == 6:
        (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
        along = position[0] * (b * f - c * e) + position[1] * (c * d - a * f) + position[2] * (a * e - b * d)
    return round(along, 4), row["instance_number"] or 0, str(row["instance_id"])
