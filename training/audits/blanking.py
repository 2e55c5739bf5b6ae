"""What the released model says when borders or corners of its tiles are blanked: where collimation, markers and text stand.

What belongs here: asking it again, and the AUROC lost. What does not: the word on it (verdict). The one audit that needs the
model; torch is loaded by whoever calls `look`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.audits import pairs
from training.audits.verdict import Blanked
from training.examples import Examples

if TYPE_CHECKING:
    from training.batches import Tiles
    from training.export import Tuned

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pixels = NDArray[Any]

MAX_STUDIES = 192
"""Studies of tune and test that are shown again; each costs three passes."""

BORDER, CORNER = 1 / 10, 1 / 5
"""Share of a tile's side that is blanked."""

_BATCH = 16


@dataclass(frozen=True)
class Looked:
    """n members that the released model was asked about again."""

    index: Ints
    """[n] member."""
    features: NDArray[np.float32]
    """[n, F] of the tuned backbone."""
    whole: Floats
    """[n, C] answers to the tiles as they are."""
    blanked: Mapping[str, Floats]
    """borders, corners -> [n, C]."""
    threshold: Floats
    """[C] operating points; NaN where there is none."""


def blank(tiles: Pixels, part: str) -> Pixels:
    """Tiles, or slices of volumes, [..., H, W] with borders or corners at each one's own median: neither bright nor dark."""
    found = tiles.copy()
    height, width = tiles.shape[-2:]
    share = BORDER if part == "borders" else CORNER
    h, w = max(1, round(share * height)), max(1, round(share * width))
    top, left = np.arange(height) < h, np.arange(width) < w
    bottom, right = top[::-1], left[::-1]
    vertical, horizontal = (top | bottom)[:, None], (left | right)[None, :]
    mask = (vertical | horizontal) if part == "borders" else (vertical & horizontal)
    grey = np.median(tiles, axis=(-2, -1)).astype(tiles.dtype)
    found[..., mask] = grey[..., None]
    return found


def look(tuned: Tuned, tiles: Tiles, examples: Examples, threshold: Floats, seed: int) -> Looked:
    """Asks the released model about up to MAX_STUDIES members of test and tune, test first."""
    order = np.random.Generator(np.random.Philox(key=[seed, 43])).permutation(len(examples))
    index = np.concatenate([order[examples.split[order] == split] for split in ("test", "tune")])[
        :MAX_STUDIES
    ]
    index = np.sort(index)
    features, whole = [], []
    blanked: dict[str, list[Floats]] = {"borders": [], "corners": []}
    for start in range(0, len(index), _BATCH):
        shown = tiles.rows(index[start : start + _BATCH])
        seen, answers = tuned.see(shown)
        features.append(seen)
        whole.append(answers)
        for part, found in blanked.items():
            found.append(tuned.predict(blank(shown, part)))
    return Looked(
        index,
        np.concatenate(features),
        np.concatenate(whole),
        {part: np.concatenate(found) for part, found in blanked.items()},
        threshold,
    )


def lost_by_blanking(looked: Looked, c: int, truth: Floats, patient: Ints) -> list[Blanked]:
    """AUROC lost of output c by each part, on the studies of known truth [N]; nothing where they hold one class."""
    known = np.isfinite(truth[looked.index])
    y, people = truth[looked.index][known], patient[looked.index][known]
    ones, everyone = np.ones(len(y)), np.zeros(len(y), np.int64)
    whole = pairs.pair_share(y, looked.whole[known, c], ones, everyone)
    found = []
    for part, answers in looked.blanked.items():
        share = pairs.pair_share(y, answers[known, c], ones, everyone)
        if whole is None or share is None:
            continue
        lost = whole.value - share.value
        reach = pairs.REACH * pairs.error(whole.influence - share.influence, people)
        point = looked.threshold[c]
        changed = float(((answers[known, c] >= point) != (looked.whole[known, c] >= point)).mean())
        found.append(Blanked(part, lost, lost - reach, float("nan") if np.isnan(point) else changed))
    return found
