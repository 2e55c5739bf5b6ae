"""Stored frames into what a browser draws: 16-bit values with their window, or a small WebP picture.

What belongs here: rescaling, default windows, MONOCHROME1, resizing. What does not: finding frames (catalog), decoding
payloads (curation.frames), HTTP (routes).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from curation.frames import decode
from curation.modality import window_for

THUMBNAIL_PX = 256
LARGEST_SHOWN_PX = 1600


@dataclass(frozen=True, slots=True)
class Slice:
    """One frame for the viewer: values [rows, columns] int16 or uint16, or [rows, columns, 3] uint8.

    value * slope + intercept is in the series' unit; center and width are in that unit; aspect is the height of a pixel
    over its width; mm the width of a pixel, 0 where unknown; regions are the blanked boxes (left, top, width, height) in
    pixels of `values`.
    """

    values: np.ndarray
    slope: float
    intercept: float
    is_inverted: bool
    center: float
    width: float
    aspect: float
    mm: float
    regions: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def kind(self) -> str:
        """int16, uint16 or rgb8: how the bytes are to be read, little endian."""
        return "rgb8" if self.values.ndim == 3 else str(self.values.dtype)


def reduce_for(rows: int | None, columns: int | None, largest: int = LARGEST_SHOWN_PX) -> int:
    """How often a frame is to be halved so that its longer side stays at or above half of `largest` px."""
    longer, times = max(rows or 0, columns or 0), 0
    while longer > largest:
        longer, times = longer / 2, times + 1
    return times


def read_slice(frame: dict[str, Any], reduce: int = 0) -> Slice:
    """A row of `Catalog.frame` as a Slice, halved `reduce` times in each direction.

    Raises whatever the decoder raises where the payload is broken.
    """
    pixels = np.squeeze(decode(frame["codec"], frame["payload"], reduce=reduce))
    slope, intercept = frame["rescale_slope"] or 1.0, frame["rescale_intercept"] or 0.0
    down = pixels.shape[1] / frame["columns_px"]
    row_mm, column_mm = frame["pixel_spacing_row_mm"] or 0.0, frame["pixel_spacing_column_mm"] or 0.0
    aspect = row_mm / column_mm if row_mm and column_mm else 1.0
    mm = column_mm / down if down else 0.0
    regions = tuple(
        (r["x"] * down, r["y"] * down, r["width"] * down, r["height"] * down)
        for r in frame.get("burned_in_regions") or []
    )
    if pixels.ndim == 3:
        return Slice(pixels.astype(np.uint8), 1.0, 0.0, False, 128.0, 256.0, aspect, mm, regions)
    values, slope, intercept = _sixteen_bit(pixels, slope, intercept)
    center, width = _window(frame, values, slope, intercept)
    is_inverted = frame["photometric"] == "MONOCHROME1"
    return Slice(values, slope, intercept, is_inverted, center, width, aspect, mm, regions)


def to_webp(shown: Slice, longest_px: int) -> bytes:
    """The slice under its default window as a WebP picture whose longer side is at most `longest_px`."""
    if shown.values.ndim == 3:
        grey = shown.values
    else:
        low = shown.center - shown.width / 2
        scaled = (shown.values.astype(np.float32) * shown.slope + shown.intercept - low) / max(
            shown.width, 1e-6
        )
        grey = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        grey = 255 - grey if shown.is_inverted else grey
    picture = Image.fromarray(grey)
    height, width = picture.height * shown.aspect, float(picture.width)
    scale = min(1.0, longest_px / max(height, width))
    picture = picture.resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR
    )
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=82, method=2)
    return out.getvalue()


def _sixteen_bit(pixels: np.ndarray, slope: float, intercept: float) -> tuple[np.ndarray, float, float]:
    """Values that fit 16 bits, with the slope and intercept that give the same result."""
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2:
        finite = np.where(np.isfinite(pixels), pixels, 0).astype(np.float64)
        low, high = float(finite.min()), float(finite.max())
        step = (high - low) / 65535 or 1.0
        return np.round((finite - low) / step).astype(np.uint16), slope * step, intercept + slope * low
    wanted = np.int16 if pixels.dtype.kind == "i" else np.uint16
    return pixels.astype(wanted, copy=False), slope, intercept


def _window(frame: dict[str, Any], values: np.ndarray, slope: float, intercept: float) -> tuple[float, float]:
    """Centre and width of the series' default window; of a few thousand pixels, which is enough for percentiles."""
    step = max(1, int((values.size / 65536) ** 0.5))
    sample = values[::step, ::step].astype(np.float64) * slope + intercept
    centers, widths = frame["window_center"], frame["window_width"]
    proposed = (float(centers[0]), float(widths[0])) if centers and widths else None
    window = window_for(frame["modality"], frame["kind"], frame["body_part"])
    low, high = window.limits(sample, proposed, frame["bits_stored"] or 16)
    return (low + high) / 2, max(high - low, 1e-3)
