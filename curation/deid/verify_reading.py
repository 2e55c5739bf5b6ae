"""Text in the pixels of a released frame: read with other parameters than the first pass, and held against what is known.

What belongs here: frame to picture, what a reading means. What does not: finding and reading text (detect).
"""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from curation.deid.verify import Found, Person
from curation.deid.verify_dates import days_in
from curation.deid.verify_forms import parts_of
from curation.records import ConfigurationError

_LOOKALIKES = str.maketrans("01358$", "oiessb")
_LIKENESS = 0.82
"""Of a name that a recogniser read and one that is known: one wrong letter of six."""
_LETTERS = 4
"""Fewer letters and digits name nobody: markers of a side, units."""


def text_faults(values: NDArray[np.generic], person: Person | None, place: str) -> list[Found] | None:
    """Readable text in one frame; it blocks where it names the person or gives an original date.

    None where no detector is installed: then nothing can be told.
    """
    from curation.deid.detect import find_text, finders

    try:
        texts = find_text(to_picture(values), finders()["second"])
    except (ConfigurationError, ImportError):
        return None
    found = []
    for text in texts:
        if names(text.reading, person):
            found.append(Found(place, "pixel_text", "identifier", "readable"))
        elif sum(c.isalnum() for c in text.reading) >= _LETTERS:
            found.append(Found(place, "pixel_text", "text", "readable", is_blocking=False))
    return list(dict.fromkeys(found))


def names(reading: str, person: Person | None) -> bool:
    """Whether what was read in a picture says who the person is; letters that look alike are one."""
    if person is None:
        return False
    known = person.identifiers
    if any(True for _ in known.in_text(reading)) or any(person.is_original(d) for d in days_in(reading)):
        return True
    read = {token.translate(_LOOKALIKES) for token in parts_of(reading)}
    words = {w.translate(_LOOKALIKES) for w in known.words if len(w) >= 5}
    return any(SequenceMatcher(None, w, t).ratio() >= _LIKENESS for w in words for t in read if len(t) >= 4)


def to_picture(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey levels [rows, columns] of stored values; burned-in letters are the brightest or the darkest of them."""
    grey = np.asarray(values, np.float64)
    grey = grey.max(axis=-1) if grey.ndim == 3 else grey
    low, high = np.percentile(grey, (0.5, 99.8))
    if high <= low:
        low, high = float(grey.min()), float(grey.max())
    scaled = (grey - low) / max(high - low, 1e-9) * 255
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)
