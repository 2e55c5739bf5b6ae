"""Stored values of a frame as pictures in which text can be seen: 8 bits, grey or colour, light letters light.

What belongs here: which grey level or colour a stored value is shown as, for the one purpose of finding text. What does not:
finding it (`detect`), and display for people (`modality`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space

from curation.deid.detect import Picture
from curation.records import Refused

_PALETTE = [
    f"{c}PaletteColorLookupTable{part}" for c in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")
]


def pictures(values: NDArray[Any], header: Dataset, is_native: bool) -> list[Picture]:
    """One or two pictures of a frame [rows, columns] or [rows, columns, samples].

    More than 8 bits give the whole range, in which letters at the largest stored value stand out, and the range of nearly all
    pixels, in which faint letters do; one where the two are alike. `is_native`: colour differences are still
    in the stored values (decoders of compressed frames give RGB).
    """
    if not values.size:
        raise Refused("malformed")
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR" and all(keyword in header for keyword in _PALETTE):
        try:
            values = apply_color_lut(values, header)
        except (AttributeError, IndexError, TypeError, ValueError):
            raise Refused("malformed") from None
        values = (values >> 8).astype(np.uint8) if values.dtype.itemsize > 1 else values.astype(np.uint8)
    if values.ndim == 3 and values.shape[2] >= 3:
        colour = np.ascontiguousarray(values[..., :3])
        if colour.dtype != np.uint8:
            colour = _scaled(colour, float(colour.min()), float(colour.max()))
        if is_native and photometric.startswith("YBR_FULL"):
            colour = convert_color_space(colour, "YBR_FULL", "RGB")
        return [_grey_if_colourless(colour)]
    plane = values if values.ndim == 2 else values[..., 0]
    shown = _ranges(plane)
    return [np.asarray(255 - p, np.uint8) for p in shown] if photometric == "MONOCHROME1" else shown


def _grey_if_colourless(colour: Picture) -> Picture:
    spread = colour.max(axis=2).astype(np.int16) - colour.min(axis=2)
    return np.ascontiguousarray(colour[..., 1]) if int(spread.max(initial=0)) <= 8 else colour


def _ranges(plane: NDArray[Any]) -> list[Picture]:
    if plane.dtype == np.uint8 and int(plane.max(initial=0)) - int(plane.min(initial=255)) > 127:
        return [np.ascontiguousarray(plane)]
    if plane.dtype == np.bool_:
        return [plane.astype(np.uint8) * 255]
    if plane.dtype.kind == "f":
        # the widest range whose span is still a number of 32 bits
        plane = np.clip(np.nan_to_num(plane, nan=0.0, posinf=0.0, neginf=0.0), -1e38, 1e38)
    least, most = float(plane.min()), float(plane.max())
    # of one pixel in 16: percentiles of a mammogram would else take as long as the detector
    low, high = (float(v) for v in np.percentile(plane[::4, ::4], (0.5, 99.5)))
    whole = _scaled(plane, least, most)
    if high <= low or (high - low) > 0.7 * (most - least):
        return [whole]
    margin = 0.1 * (high - low)
    return [whole, _scaled(plane, max(least, low - margin), min(most, high + margin))]


def _scaled(plane: NDArray[Any], low: float, high: float) -> Picture:
    span = max(high - low, 1e-30)
    return np.asarray(np.clip((plane.astype(np.float32) - low) * (255 / span), 0, 255), np.uint8)
