"""Finding the right report for an image, and the right image for a report: ranks, and metrics of them under the bootstrap.

What belongs here: the arithmetic. What does not: where similarities come from (pairs). The gallery stays as it is while patients
are drawn: a replicate weighs the questions, not the answers. No torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DEPTHS = (1, 5, 10)


def ranks(near: Floats, wording: Floats) -> Floats:
    """[N] place of the best right answer of each question, from 1; near [N, N] similarity of question and answer.

    An answer is right where its wording is that of the question's own. Ties count half: a rank is what a coin would give.
    """
    right = wording[:, None] == wording[None, :]
    best = np.where(right, near, -np.inf).max(1)
    above = (~right & (near > best[:, None])).sum(1)
    level = (~right & (near == best[:, None])).sum(1)
    return np.asarray(1 + above + level / 2)


def measure(found: Floats, weights: Floats) -> dict[str, Floats]:
    """recall@1, @5, @10, mrr and median_rank of ranks [N], each [R] under weights [R, N]."""
    total = np.maximum(weights.sum(1), 1e-12)
    values = {f"recall@{depth}": (weights @ (found <= depth)) / total for depth in DEPTHS}
    values["mrr"] = (weights @ (1 / found)) / total
    order = np.argsort(found, kind="stable")
    running = np.cumsum(weights[:, order], axis=1)
    place = (running >= running[:, -1:] / 2).argmax(1)
    values["median_rank"] = found[order][place]
    return values
