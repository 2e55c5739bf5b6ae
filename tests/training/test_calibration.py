"""Temperature and calibration line find what was done to probabilities, and say when they cannot."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from training.calibration import at_temperature, calibration_line, fit_temperature

Floats = NDArray[np.float64]


def honest(n: int = 40_000) -> tuple[Floats, Floats]:
    """Targets and the logits they were drawn by."""
    random = np.random.default_rng(0)
    z = random.normal(size=n) * 1.5
    return (random.random(n) < expit(z)).astype(np.float64), z


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_and_undone(temperature: float) -> None:
    targets, z = honest()
    told = expit(z * temperature)
    found = fit_temperature(targets, told)
    assert found == pytest.approx(temperature, rel=0.05)
    assert at_temperature(told, found) == pytest.approx(expit(z), abs=0.03)


def test_the_line_is_that_of_logistic_regression() -> None:
    targets, z = honest(5_000)
    told = expit(0.4 * z - 1)
    model = LogisticRegression(C=np.inf).fit((0.4 * z - 1)[:, None], targets)
    assert calibration_line(targets, told) == pytest.approx(
        (model.intercept_[0], model.coef_[0, 0]), rel=1e-3
    )


def test_certain_and_wrong_stays_finite() -> None:
    targets, told = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0])
    assert np.isfinite(fit_temperature(targets, told))
    assert np.isfinite(calibration_line(targets, told)).all()


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="one class"):
        fit_temperature(np.ones(3), np.full(3, 0.5))
