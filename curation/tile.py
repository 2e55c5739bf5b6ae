"""One tile: the slice of a series that a model sees, windowed to 8 bits and letterboxed to a square.

What belongs here: which frames of a series, how values become grey levels, resampling. Everything is a pure function
of its input and uses only sequential sums and elementwise arithmetic, so that every machine gives the same bytes. What
does not: where frames lie and how tiles are stored (pack).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from curation.bitstream import stored_photometric
from curation.modality import Plane, Unreadable, Window, to_units, unit_of, window_for, window_named

FIRST_DEPTH, LAST_DEPTH = 0.1, 0.9  # the ends of a stack show shoulders, table and air
REDUCE_MARGIN = 1.5  # a frame is decoded smaller only while it stays this much larger than the tile
LEVEL_BINS = 4096
"""Steps in which ranks of grey levels are counted."""
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in PS3.3 C.7.6.3.1.2

Row = Mapping[str, Any]

INSTANCE_COLUMNS = (
    "instance_id", "series_id", "study_id", "patient_id", "delivery", "transfer_syntax", "modality", "n_frames",
    "rows_px", "columns_px", "samples_per_pixel", "bits_stored", "photometric", "rescale_slope", "rescale_intercept",
    "window_center", "window_width", "image_position", "image_orientation", "instance_number",
    "pixel_spacing_row_mm", "pixel_spacing_column_mm", "slice_thickness_mm", "spacing_between_slices_mm",
    "frame_time_ms",
)  # fmt: skip
"""Columns of `instances` that picking frames and making tiles need."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tile comes from: one frame of one instance, and what its series is."""

    instance: Row
    frame_index: int
    kind: str | None
    body_part: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """How tiles are drawn: size px, luma or rgb, 8 or 16 bits, levels of the window or equalised.

    window: by name or (black, white) for all; None: each series' own.
    """

    size: int
    color: str = "luma"
    bits: int = 8
    levels: str = "window"
    window: str | tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """uint8 or uint16 [size, size], for rgb [3, size, size]; `scale` is tile px per source px; the padding is black."""

    pixels: NDArray[Any]
    window_low: float
    window_high: float
    scale: float
    pad_top: int
    pad_left: int
    is_inverted: bool


def pick_frames(instances: Sequence[Row], n: int) -> list[tuple[Row, int]]:
    """n frames of a series, evenly from 10 % to 90 % of its ordered frames; the middle one for n = 1.

    Ordered along the normal of the first instance where all have a position, else by instance number; a frame may
    come twice where the series has fewer than n. Empty where no instance has frames.
    """
    ordered = [(row, i) for row in _ordered(instances) for i in range(row["n_frames"])]
    if not ordered:
        return []
    return [ordered[place] for place in pick_places(len(ordered), n)]


def pick_places(n_slices: int, n: int) -> list[int]:
    """n places among so many slices, evenly from 10 % to 90 %; the middle one for n = 1."""
    depths = [0.5] if n == 1 else [FIRST_DEPTH + (LAST_DEPTH - FIRST_DEPTH) * i / (n - 1) for i in range(n)]
    return [int((n_slices - 1) * depth + 0.5) for depth in depths]


def _ordered(instances: Sequence[Row]) -> list[Row]:
    rows = sorted(instances, key=lambda r: (r["instance_number"] or 0, _id(r["instance_id"])))
    cosines = rows[0]["image_orientation"] if rows else None
    if not cosines or len(cosines) != 6 or any(len(r["image_position"] or ()) != 3 for r in rows):
        return rows
    (ax, ay, az), (bx, by, bz) = cosines[:3], cosines[3:]
    normal = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    return sorted(rows, key=lambda r: sum(p * c for p, c in zip(r["image_position"], normal, strict=True)))


def _id(value: Any) -> bytes:
    return value.bytes if isinstance(value, UUID) else bytes(value)


def reduction(rows_px: int, columns_px: int, size: int) -> int:
    """How many times a frame may be halved on decoding and still be REDUCE_MARGIN times larger than the tile."""
    longest, reduce = max(rows_px, columns_px), 0
    while longest / 2 ** (reduce + 1) >= REDUCE_MARGIN * size:
        reduce += 1
    return min(reduce, 5)


def make_tiles(
    decode: Callable[[Source, int], NDArray[Any]],
    sources: Sequence[Source],
    look: Look,
    palettes: Mapping[UUID, NDArray[np.uint8]],
) -> list[Tile]:
    """The tiles of frames that are shown alike: the middle one says the window.

    `decode` gives a frame's stored values, halved so many times; `palettes` are uint8 [entries, 3] by instance, for
    PALETTE COLOR. MONOCHROME1 is inverted, so that bone is bright in every tile. Raises Unreadable where the window that
    the look asks for is none of the modality's, or in HU that the values are not.
    """
    middle = len(sources) // 2
    seen: dict[tuple[UUID, int], list[NDArray[Any]]] = {}

    def channels(source: Source) -> list[NDArray[Any]]:
        key = (source.instance["instance_id"], source.frame_index)
        if key not in seen:
            seen[key] = _channels(decode, source, look, palettes.get(key[0]))
        return seen[key]

    low, high = _limits(channels(sources[middle]), sources[middle], look.window)
    return [_draw(channels(source), source, look, low, high) for source in sources]


def _draw(channels: Sequence[NDArray[Any]], source: Source, look: Look, low: float, high: float) -> Tile:
    row = source.instance
    is_inverted = row["photometric"] == "MONOCHROME1"
    drawn = []
    for values in channels:
        levels = (np.clip(values.astype(np.float64), low, high) - low) * (255.0 / (high - low))
        if look.levels == "equalised":
            levels = equalised(levels)
        drawn.append(letterbox(255.0 - levels if is_inverted else levels, look.size, look.bits))
    pixels, pad_top, pad_left = drawn[0]
    if look.color == "rgb":
        pixels = np.stack([drawn[i % len(drawn)][0] for i in range(3)])  # grey three times
    scale = look.size / max(row["rows_px"], row["columns_px"])
    return Tile(pixels, low, high, scale, pad_top, pad_left, is_inverted)


def equalised(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grey levels 0..255 by their rank within the frame: as many pixels at each, whatever exposure, gamma or maker made of them.

    Ranks are counted in LEVEL_BINS steps; a level gets the middle of its rank. A frame of one level stays as it is.
    """
    bins = np.minimum((levels * (LEVEL_BINS / 255.0)).astype(np.int64), LEVEL_BINS - 1)
    counts = np.bincount(bins.ravel(), minlength=LEVEL_BINS)
    if (counts > 0).sum() < 2:
        return levels
    ends = np.cumsum(counts)
    middle = (ends - counts / 2.0) * (255.0 / ends[-1])
    return np.asarray(middle[bins])


def _channels(
    decode: Callable[[Source, int], NDArray[Any]],
    source: Source,
    look: Look,
    palette: NDArray[np.uint8] | None,
) -> list[NDArray[Any]]:
    """One array of grey values in units, or of luminance; three for rgb of a colour image."""
    row = source.instance
    reduce = 0 if palette is not None else reduction(row["rows_px"], row["columns_px"], look.size)
    values = decode(source, reduce)
    if palette is not None:
        values = palette[np.clip(values, 0, len(palette) - 1)]
    if values.ndim == 2:
        return [to_units(values, plane_of(row))]
    if stored_photometric(row["transfer_syntax"], row["photometric"] or "").startswith("YBR"):
        if look.color == "luma":
            return [values[..., 0]]
        return _rgb_of(values, row["bits_stored"] or 8)
    red, green, blue = (values[..., i].astype(np.float64) for i in range(3))
    if look.color == "rgb":
        return [red, green, blue]
    return [red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]]


def _rgb_of(values: NDArray[Any], bits: int) -> list[NDArray[Any]]:
    """YBR_FULL as red, green and blue (PS3.3 C.7.6.3.1.2, solved for them)."""
    y, cb, cr = (values[..., i].astype(np.float64) for i in range(3))
    cb, cr = cb - 2 ** (bits - 1), cr - 2 ** (bits - 1)
    red_part, _, blue_part = _LUMA
    red, blue = y + 2 * (1 - red_part) * cr, y + 2 * (1 - blue_part) * cb
    return [red, (y - red_part * red - blue_part * blue) / _LUMA[1], blue]


def spacing_of(row: Row, scale: float) -> tuple[None, float | None, float | None]:
    """mm between slices (none: one slice), rows and columns of a tile with so many px a source px."""
    rows, columns = row["pixel_spacing_row_mm"], row["pixel_spacing_column_mm"]
    return None, rows and rows / scale, columns and columns / scale


def plane_of(row: Row) -> Plane:
    """Place and units of one row of `instances`."""
    return Plane(**{name: row[name] for name in Plane.__dataclass_fields__ if name in row})


def _limits(
    channels: Sequence[NDArray[Any]], source: Source, asked: str | tuple[float, float] | None
) -> tuple[float, float]:
    row = source.instance
    bits = row["bits_stored"] or 8
    if asked is not None:
        return _asked(asked, row).limits(channels[0], header_window(row), bits)
    window = window_for(row["modality"], source.kind, source.body_part)
    if (row["samples_per_pixel"] or 1) > 1 or row["photometric"] == "PALETTE COLOR":
        window = Window("screen", "full_range", 0.0, 0.0)
        bits = 8 if row["photometric"] == "PALETTE COLOR" else bits
    elif window.source == "fixed" and row["rescale_slope"] is None:
        window = Window("values", "percentile", 0.5, 99.5)  # without a rescale the values are no HU
    return window.limits(channels[0], header_window(row), bits)


def _asked(asked: str | tuple[float, float], row: Row) -> Window:
    """The window that the recipe asks for. What cannot be shown in it has no row: nothing is shown otherwise in silence."""
    window = (
        window_named(asked, row["modality"]) if isinstance(asked, str) else Window("asked", "fixed", *asked)
    )
    if window is None:
        raise Unreadable(f"{row['modality']} has no window {asked!r}.", "no_window")
    if window.source == "fixed" and unit_of(row["modality"]) == "HU" and row["rescale_slope"] is None:
        raise Unreadable("Without a rescale the values are no HU.", "no_rescale")
    return window


def header_window(row: Row) -> tuple[float, float] | None:
    """The first window that the device proposes, (centre, width); None where it proposes none."""
    centers, widths = row["window_center"], row["window_width"]
    return (float(centers[0]), float(widths[0])) if centers and widths else None


def letterbox(levels: NDArray[np.float64], size: int, bits: int = 8) -> tuple[NDArray[Any], int, int]:
    """Grey levels 0..255 resampled into the middle of a black square, with the padding above and to the left.

    uint8, or uint16 in which 65535 is 255.
    """
    rows, columns = levels.shape
    longest = max(rows, columns)
    height, width = (max(1, int(n * size / longest + 0.5)) for n in (rows, columns))
    resized = resample(resample(levels, height, axis=0), width, axis=1)
    finest = 1.0 if bits == 8 else 257.0
    tile = np.zeros((size, size), dtype=np.uint8 if bits == 8 else np.uint16)
    top, left = (size - height) // 2, (size - width) // 2
    tile[top : top + height, left : left + width] = np.floor(np.clip(resized, 0.0, 255.0) * finest + 0.5)
    return tile, top, left


def resample(values: NDArray[np.float64], n_out: int, axis: int) -> NDArray[np.float64]:
    """One axis of a 2-d array at n_out samples: area means where it shrinks, linear interpolation where it grows."""
    n_in = values.shape[axis]
    if n_out == n_in:
        return values
    moved = np.moveaxis(values, axis, 0)
    if n_out > n_in:
        at = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
        whole = np.minimum(at.astype(np.int64), max(n_in - 2, 0))
        part = (at - whole)[:, None]
        result = moved[whole] * (1 - part) + moved[np.minimum(whole + 1, n_in - 1)] * part
    else:
        sums = np.concatenate([np.zeros((1, moved.shape[1])), np.cumsum(moved, axis=0)])
        edges = np.arange(n_out + 1) * n_in / n_out
        whole = np.minimum(edges.astype(np.int64), n_in - 1)
        part = (edges - whole)[:, None]
        at_edges = sums[whole] * (1 - part) + sums[whole + 1] * part
        result = np.diff(at_edges, axis=0) * (n_out / n_in)
    return np.moveaxis(result, 0, axis)
