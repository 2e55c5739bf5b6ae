"""Whether a probability means what it says: temperature, and Cox's calibration line; numpy and scipy, no torch.

What belongs here: fits of one or two numbers on known labels. What does not: the binned errors (metrics), who is judged
(evaluate). Sources: Guo et al. 2017 (temperature), Cox 1958 (intercept and slope).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

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


def at_temperature(probability: Floats, temperature: float) -> Floats:
    """[N] the probability after its logits were divided by the temperature."""
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


def _logit(probability: Floats) -> Floats:
    return np.asarray(logit(np.clip(probability, _EDGE, 1 - _EDGE)))


def _needs_both(targets: Floats) -> None:
    if not 0 < targets.sum() < len(targets):
        raise ValueError("one class alone")
