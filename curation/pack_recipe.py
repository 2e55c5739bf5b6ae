"""What a token pack holds, why a series may have no place in it, and the pack's id.

What belongs here: the recipe and its checks. What does not: building (pack), reading (pack_file), what each kind of
row shows (packs/).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from curation import vocabulary
from curation.modality import window_names
from curation.records import ConfigurationError

PACK_VERSION = 3
"""Changes only when the same recipe and cohort would give other bytes."""

KINDS = ("tile", "slab", "volume", "clip")
"""tile: some slices; slab: the same with their neighbours as channels; volume: the whole stack on a grid of the patient's
axes; clip: frames of a cine evenly in time."""

LEFT_OUT: Mapping[str, str] = {
    "no_frames": "the series has no image",
    "frame_missing": "a frame is not in the lake",
    "decoder_failed": "a frame does not decode",
    "single_slice": "one slice has no neighbours",
    "no_cine": "the series has no object of several frames",
    "no_geometry": "position, orientation or spacing of a slice is not stated",
    "mixed_size": "the slices differ in size or pixel spacing",
    "mixed_orientation": "the slices have more than one orientation",
    "duplicate_position": "two slices share one position",
    "uneven_spacing": "the slices lie unevenly, or one is missing",
    "sheared": "the slices are moved against each other, as by a tilted gantry",
    "colour": "colour has no volume",
    "no_rescale": "the values cannot be turned into HU",
    "no_suv": "dose, half-life, weight or times are missing for SUV",
    "no_window": "its modality has no window of the name asked for",
}
"""Why a series has no row in a pack; the list is closed."""


class PackError(Exception):
    """A pack that cannot be built or read, with the remedy; names pseudonymous ids only."""


@dataclass(frozen=True)
class PackRecipe:
    """What a pack holds of each series, whether report tokens, and by which tokenizer.json.

    size: height and width, px. tiles_per_series: rows a series (of a volume one). color: luma, or rgb as three channels.
    bits: 8, or 16 for the depth that detectors have. levels: window, or equalised (a level says its rank in the frame).
    window: a name of curation/modalities, or (black, white) in the values' unit, for every series; None: each series' own.
    gap: a slab's channels are so many slices apart. depth and spacing_mm (between slices, rows, columns): a volume's;
    without a spacing the whole stack is stretched to the shape.
    """

    size: int = 224
    tiles_per_series: int = 1
    text: bool = True
    tokenizer: str | None = None
    kind: str = "tile"
    color: str = "luma"
    bits: int = 8
    levels: str = "window"
    window: str | tuple[float, float] | None = None
    gap: int = 1
    depth: int = 1
    spacing_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096 or not 1 <= self.tiles_per_series <= 1024:
            raise ConfigurationError("A pack has tiles of 16 to 4096 px, 1 to 1024 a series.")
        if self.kind not in KINDS:
            raise ConfigurationError(
                f"There is no kind {self.kind!r} of sample; there are: {', '.join(KINDS)}."
            )
        if self.color not in ("luma", "rgb") or self.bits not in (8, 16):
            raise ConfigurationError("color is luma or rgb, bits are 8 or 16.")
        if self.levels not in ("window", "equalised"):
            raise ConfigurationError("levels is window or equalised.")
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", tuple(float(mm) for mm in self.spacing_mm))
        self._check_window()
        self._refuse_strangers()

    def _check_window(self) -> None:
        if isinstance(self.window, str):
            if self.window not in (names := window_names()):
                raise ConfigurationError(
                    f"There is no window {self.window!r}; there are: {', '.join(names)}, or [black, white] in values."
                )
        elif self.window is not None:
            low, high = (float(value) for value in self.window)
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigurationError("window is [black, white], two values, the lower one first.")
            object.__setattr__(self, "window", (low, high))

    def _refuse_strangers(self) -> None:
        """What another kind has is an error here, not something to be passed over."""
        is_volume, default = self.kind == "volume", PackRecipe.__dataclass_fields__
        belongs = {
            "color": self.kind in ("tile", "clip"),
            "bits": not is_volume,
            "levels": not is_volume,
            "window": not is_volume,
            "gap": self.kind == "slab",
            "depth": is_volume,
            "spacing_mm": is_volume,
            "tiles_per_series": not is_volume,
        }
        strange = [
            n for n, is_own in belongs.items() if not is_own and getattr(self, n) != default[n].default
        ]
        if strange:
            raise ConfigurationError(f"A pack of kind {self.kind} has no {', '.join(strange)}; leave it out.")
        if self.gap < 1 or (is_volume and not 2 <= self.depth <= 2048):
            raise ConfigurationError("A slab's gap is 1 or more; a volume's depth is 2 to 2048 slices.")
        if self.spacing_mm is not None and (len(self.spacing_mm) != 3 or min(self.spacing_mm) <= 0):
            raise ConfigurationError("spacing_mm are three distances above 0: between slices, rows, columns.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row: [size, size], [3, size, size] for channels, [depth, size, size] for a volume."""
        if self.kind == "volume":
            return (self.depth, self.size, self.size)
        channels = (3,) if self.kind == "slab" or self.color == "rgb" else ()
        return (*channels, self.size, self.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one row's values, little endian."""
        return np.dtype("<i2" if self.kind == "volume" else "<u1" if self.bits == 8 else "<u2")

    @property
    def row_bytes(self) -> int:
        """Of one row's values."""
        return math.prod(self.shape) * self.dtype.itemsize


def pack_id_of(cohort_id: str, recipe: PackRecipe, tokenizer_json: str | None = None) -> str:
    """First 16 hex digits of the hash over canonical recipe, cohort, PACK_VERSION and the tokenizer given."""
    key = asdict(replace(recipe, tokenizer=vocabulary.hash_of(tokenizer_json) if tokenizer_json else None))
    body = json.dumps({"recipe": key, "cohort_id": cohort_id, "pack_version": PACK_VERSION}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]
