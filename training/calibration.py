"""Whether a probability means what it says: temperature, and Cox's calibration line; numpy and scipy, no torch.

What belongs here: fits of a few numbers on known labels, the Brier score taken apart, conformal sets. What does not: the
binned errors (metrics), who is judged (closed_form). Sources: Guo et al. 2017 (temperature), Cox 1958 (intercept and slope).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

from training import metrics

Floats = NDArray[np.float64]

_EDGE = 1e-7
_HOTTEST = 20.0


def fit_temperature(targets: Floats, probability: Floats) -> float:
    """The T by which logits are divided so that cross-entropy is least; 1: nothing to mend; above 1: overconfident.

    targets [N] in {0, 1}, probability [N]. Raises ValueError with one class.
    """
    _needs_both(targets)
    z = _logit(probability)

    def cost(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float((np.logaddexp(0, scaled) - targets * scaled).mean())

    bound = float(np.log(_HOTTEST))
    return float(np.exp(minimize_scalar(cost, bounds=(-bound, bound), method="bounded").x))


def at_temperature(probability: Floats, temperature: float | Floats) -> Floats:
    """[N] the probability after its logits were divided by the temperature, one for all or one each."""
    return np.asarray(expit(_logit(probability) / temperature))


def calibration_line(targets: Floats, probability: Floats) -> tuple[float, float]:
    """Intercept and slope of targets on the logit of probability; 0 and 1 where it means what it says.

    Raises ValueError with one class.
    """
    _needs_both(targets)
    z = _logit(probability)

    def cost(line: Floats) -> tuple[float, Floats]:
        a = line[0] + line[1] * z
        rest = expit(a) - targets
        return float((np.logaddexp(0, a) - targets * a).mean()), np.array([rest.mean(), (rest * z).mean()])

    found = minimize(cost, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=[(-50, 50), (-50, 50)])
    return float(found.x[0]), float(found.x[1])


def on_line(probability: Floats, intercept: float, slope: float) -> Floats:
    """[N] the probability that a calibration line gives."""
    return np.asarray(expit(intercept + slope * _logit(probability)))


@dataclass(frozen=True, slots=True)
class BrierParts:
    """Murphy 1973: the Brier score of binned forecasts is reliability - resolution + uncertainty."""

    reliability: float
    resolution: float
    uncertainty: float
    within: float
    """What binning leaves out: the whole Brier score less the three."""


def brier_parts(targets: Floats, probability: Floats) -> BrierParts:
    """The Brier score of targets [N] taken apart over the equal-mass bins of the reliability diagram."""
    base = float(targets.mean())
    bins = metrics.reliability(targets, probability)
    n = len(targets)
    reliability = sum(count * (score - share) ** 2 for score, share, count in bins) / n
    resolution = sum(count * (share - base) ** 2 for _, share, count in bins) / n
    uncertainty = base * (1 - base)
    whole = float(((probability - targets) ** 2).mean())
    return BrierParts(reliability, resolution, uncertainty, whole - (reliability - resolution + uncertainty))


def conformal_cut(targets: Floats, probability: Floats, is_positive: bool, coverage: float) -> float | None:
    """Largest nonconformity (one minus the probability of the class) that a set of answers still takes in, for one class.

    Split conformal prediction within a class (Vovk 2012; Angelopoulos and Bates 2023): of new studies of that class at least
    `coverage` have their class in the set, if they come as those [N] did. None where the class holds too few studies.
    """
    own = probability[targets == 1] if is_positive else 1 - probability[targets == 0]
    rank = int(np.ceil((len(own) + 1) * coverage - 1e-9))
    return float(np.sort(1 - own)[rank - 1]) if 0 < rank <= len(own) else None


def _logit(probability: Floats) -> Floats:
    return np.asarray(logit(np.clip(probability, _EDGE, 1 - _EDGE)))


def _needs_both(targets: Floats) -> None:
    if not 0 < targets.sum() < len(targets):
        raise ValueError("one class alone")
