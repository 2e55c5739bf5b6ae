"""Operating points, net benefit and workload: what a score does once somebody acts on it; numpy and scipy, no torch.

What belongs here: choosing thresholds on one set of studies, counting on another. What does not: which studies those are
(decisions), metrics of the whole curve (metrics). Sources: Wilson 1927 (interval of a share), Youden 1950, Vickers and
Elkin 2006 (net benefit).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import norm

from training import metrics

Floats = NDArray[np.float64]

POINTS = ("Youden", "sensitivity 0.90", "sensitivity 0.95", "specificity 0.95")
_Z = float(norm.ppf(0.975))


@dataclass(frozen=True, slots=True)
class Share:
    """k of n with Wilson's 95 % interval; value None where n is 0."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.value is None:
            return "none to count"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(k: float, n: float) -> Share:
    """Share of k of n independent studies."""
    if n <= 0:
        return Share(None, None, None, 0)
    share, z2 = k / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z / (1 + z2 / n) * float(np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)))
    return Share(share, max(0.0, middle - reach), min(1.0, middle + reach), int(n))


def choose_points(targets: Floats, scores: Floats) -> dict[str, float] | None:
    """Threshold of each of POINTS (called positive at or above it) on known targets [N]; None with one class.

    For a sensitivity the highest threshold that reaches it, for a specificity the lowest.
    """
    youden = metrics.operating_point(targets, scores)
    known = np.isfinite(targets)
    if youden is None:
        return None
    positive, negative = (
        np.sort(scores[known][targets[known] == 1]),
        np.sort(scores[known][targets[known] == 0]),
    )

    def sensitive(aim: float) -> float:
        return float(positive[int(np.floor((1 - aim) * len(positive) + 1e-9))])

    must_lie_below = int(np.ceil(0.95 * len(negative) - 1e-9))
    specific = float(np.nextafter(negative[must_lie_below - 1], np.inf))
    return dict(zip(POINTS, (youden, sensitive(0.90), sensitive(0.95), specific), strict=True))


def counts_at(targets: Floats, scores: Floats, thresholds: Floats) -> Mapping[str, Share]:
    """Sensitivity, specificity, PPV and NPV of known targets [N] at thresholds [N]."""
    called, is_positive = scores >= thresholds, targets == 1
    true_positive, true_negative = float((called & is_positive).sum()), float((~called & ~is_positive).sum())
    return {
        "sensitivity": wilson(true_positive, float(is_positive.sum())),
        "specificity": wilson(true_negative, float((~is_positive).sum())),
        "PPV": wilson(true_positive, float(called.sum())),
        "NPV": wilson(true_negative, float((~called).sum())),
    }


def net_benefit(targets: Floats, probability: Floats, at: Floats) -> Callable[[Floats], Floats]:
    """Net benefit a study of treating everybody with a chance at or above each threshold of `at` [T], which rise: a function of
    weights [R, N] that gives [R, T]. Targets [N] are 0 or 1.
    """
    n, called_at = len(at), np.searchsorted(at, probability, side="right")  # at the first so many thresholds
    rows = np.where(targets == 1, called_at, n + 1 + called_at)
    sums = sparse.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(2 * n + 2, len(rows)))
    odds = (at / (1 - at))[:, None]

    def under(weights: Floats) -> Floats:
        counts = (sums @ weights.T).reshape(2, n + 1, -1)  # [class, thresholds called at, R]
        true, false = counts[:, :0:-1].cumsum(1)[:, ::-1]  # [T, R]
        return np.asarray(((true - odds * false) / counts.sum((0, 1))).T)

    return under


def treat_all(targets: Floats, at: Floats) -> Floats:
    """[T] net benefit of treating everybody."""
    share = float((targets == 1).mean())
    return np.asarray(share - (1 - share) * at / (1 - at))


def workload(targets: Floats, scores: Floats, found: Floats) -> Floats:
    """[F] share of studies to be read, highest score first, until a share `found` of the positives is found.

    Equal scores are read in no order: the positives among them come evenly.
    """
    values, member = np.unique(-scores, return_inverse=True)
    read = np.r_[0.0, np.cumsum(np.bincount(member, minlength=len(values))) / len(scores)]
    hit = np.r_[0.0, np.cumsum(np.bincount(member, targets, len(values))) / targets.sum()]
    reached = np.maximum(
        np.searchsorted(hit, found - 1e-12), 1
    )  # the first group of equal scores that reaches it
    step = hit[reached] - hit[reached - 1]  # 0 where nothing is to be found and nothing is read
    share = np.divide(found - hit[reached - 1], step, out=np.zeros(len(found)), where=step > 0)
    return np.asarray(read[reached - 1] + share * (read[reached] - read[reached - 1]))
