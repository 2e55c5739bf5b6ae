"""Whether the pictures of a run can show what is asked: one window for all of them, and features that differ.

What belongs here: warnings that need tiles or frozen features. What does not: what the cohort alone tells (precheck), how a
window is chosen (curation.tile). Loads without torch.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.modality import fixed_windows
from curation.pack import Pack

SPREAD_WARNING = 0.02
"""Features that differ between series by less than this share of their size are said to be flat.

ViT-S/14 on a picture that fills its window lies near 0.14, in windows four to ten times too wide from 0.06 to 0.09; the
random tiny ViT at 0.6 and 0.005 to 0.03; 0 is a picture all black or all white.
"""


def mixed_windows(pack: Pack) -> list[str]:
    """A sentence where rows are shown in several of the windows with fixed values: black and white then tell the body part,
    or how a site names it."""
    facts = pack.tiles.facts
    limits = zip(facts["window_low"].to_pylist(), facts["window_high"].to_pylist(), strict=True)
    named = fixed_windows()
    counts = Counter(named[pair] for pair in limits if pair in named)
    if len(counts) < 2:
        return []
    shown = ", ".join(f"{name} {n}" for name, n in counts.most_common())
    return [
        f"Images are shown in several windows, by their body part ({shown}): a model may read from black and white how a site "
        "names it. Set model.input.window to show all in one, or narrow the cohort."
    ]


def flat_features(features: NDArray[Any]) -> list[str]:
    """A sentence where the frozen features [N, F] of the train split hardly differ between series."""
    share = spread(features)
    if share >= SPREAD_WARNING:
        return []
    return [
        f"Frozen features hardly differ between series (by {share:.2g} of their size): in the window chosen the images look alike "
        "to this backbone. Look at the tiles; set model.input.window ([black, white], or a name) or levels, or another backbone, "
        "or a lower method.lr."
    ]


def spread(features: NDArray[Any]) -> float:
    """Root mean square of the deviations of features [N, F] between series, as a share of that of the features."""
    wide = np.asarray(features, dtype=np.float64)
    size = float((wide**2).mean()) if wide.size else 0.0
    return float(np.sqrt(wide.var(0).mean() / size)) if size > 0 else 0.0
