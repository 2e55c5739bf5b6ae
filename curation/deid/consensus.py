"""What several pictures of one kind say together of where text stands: a loop's frames, a series' objects.

What belongs here: which places are blanked in all of them. What does not: finding text in one picture (`detect`), which
pictures there are (`pixels`). Devices write at the same place in every frame, speckle never stands still: a weak trace
counts where it is seen again, and a loop's median picture shows what stands still and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.deid.detect import Text
from curation.deid.regions import Box

MEDIAN_FRAMES = 9
"""Frames whose median is taken: an odd number, since the median of an even one invents grey levels."""

LOOKED_AT = 4
"""Frames of a loop that are looked at one by one: text may come and go."""

_SAME = 0.4
"""Intersection over union from which two boxes are one place: ends of a line vary with the digits in it."""


def sample(n_frames: int, most: int) -> list[int]:
    """Frames from first to last, evenly."""
    if n_frames <= most:
        return list(range(n_frames))
    return sorted({round(i * (n_frames - 1) / (most - 1)) for i in range(most)})


def median(frames: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What stands still in a loop: the median of each stored value over the frames."""
    return np.asarray(np.median(np.stack(frames), axis=0), frames[0].dtype)


def lasting(pictures: Sequence[Sequence[Text]]) -> list[Box]:
    """Places where text is seen in at least two of the pictures, once plainly, or in three of them faintly."""
    places: list[tuple[Box, set[int], bool]] = []
    for number, texts in enumerate(pictures):
        for text in texts:
            for at, (box, seen, is_plain) in enumerate(places):
                if _is_same(box, text.box):
                    places[at] = (box.hull(text.box), seen | {number}, is_plain or text.is_plain)
                    break
            else:
                places.append((text.box, {number}, text.is_plain))
    return [box for box, seen, is_plain in places if len(seen) >= (2 if is_plain else 3)]


def _is_same(a: Box, b: Box) -> bool:
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if across <= 0 or down <= 0:
        return False
    return across * down >= _SAME * (a.width * a.height + b.width * b.height - across * down)
