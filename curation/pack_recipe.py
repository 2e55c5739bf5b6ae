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
from curation.records import ConfigurationError

PACK_VERSION = 2
"""Changes only when the same recipe and cohort would give other bytes."""

LEFT_OUT: Mapping[str, str] = {
    "no_frames": "the series has no image",
    "frame_missing": "a frame is not in the lake",
    "decoder_failed": "a frame does not decode",
}
"""Why a series has no row in a pack; the list is closed."""


class PackError(Exception):
    """A pack that cannot be built or read, with the remedy; names pseudonymous ids only."""


@dataclass(frozen=True)
class PackRecipe:
    """What a pack holds: tiles of size x size px, so many a series, report tokens, and by which tokenizer.json."""

    size: int = 224
    tiles_per_series: int = 1
    text: bool = True
    tokenizer: str | None = None
    kind: str = "tile"

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096 or not 1 <= self.tiles_per_series <= 1024:
            raise ConfigurationError("A pack has tiles of 16 to 4096 px, 1 to 1024 a series.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.size, self.size)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one row's values, little endian."""
        return np.dtype("<u1")

    @property
    def row_bytes(self) -> int:
        """Of one row's values."""
        return math.prod(self.shape) * self.dtype.itemsize


def pack_id_of(cohort_id: str, recipe: PackRecipe, tokenizer_json: str | None = None) -> str:
    """First 16 hex digits of the hash over canonical recipe, cohort, PACK_VERSION and the tokenizer given."""
    key = asdict(replace(recipe, tokenizer=vocabulary.hash_of(tokenizer_json) if tokenizer_json else None))
    body = json.dumps({"recipe": key, "cohort_id": cohort_id, "pack_version": PACK_VERSION}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]
