"""Time-to-event metrics: equal to scikit-survival's and lifelines', whole-number weights equal to drawing, undefined is NaN."""

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test
from lifelines.utils import concordance_index
from numpy.typing import NDArray
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from training import survival

Floats = NDArray[np.float64]
N = 300
AT = np.array([60.0, 130.0, 250.0])


@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0")
@pytest.mark.parametrize("tied", [False, True])
def test_kaplan_meier_concordance_and_log_rank_equal_those_of_lifelines(tied: bool) -> None:
    days, seen, risk = studies(7, tied=tied)
    ones, group = np.ones((1, N)), np.arange(N) % 3
    times, free = survival.kaplan_meier(days, seen, ones)
    theirs = KaplanMeierFitter().fit(days, seen).survival_function_at_times(times)
    assert free[0] == pytest.approx(theirs.to_numpy(), abs=1e-9)
    if not tied:  # lifelines counts an event and a loss on one day in its own way
        assert survival.harrell(days, seen, risk, ones)[0] == pytest.approx(
            concordance_index(days, -risk, seen), abs=1e-9
        )
    shifted = np.where(group == 2, days * 0.6, days)
    assert survival.logrank(shifted, seen, group) == pytest.approx(
        multivariate_logrank_test(shifted, group, seen).p_value, abs=1e-9
    )


def studies(seed: int, *, tied: bool) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Days, whether the event was seen, risk."""
    random = np.random.default_rng(seed)
    risk = random.normal(size=N)
    until_event = random.exponential(np.exp(-risk) * 200) + 1
    until_lost = random.exponential(300, size=N) + 1
    days, seen = np.minimum(until_event, until_lost), until_event <= until_lost
    return (np.ceil(days / 20) * 20, seen, np.round(risk, 1)) if tied else (days, seen, risk)


CASES = [
    pytest.param(seed, tied, id=f"{seed}-{'tied' if tied else 'distinct'}")
    for seed in range(3)
    for tied in (False, True)
]


@pytest.mark.parametrize(("seed", "tied"), CASES)
def test_metrics_equal_those_of_scikit_survival(seed: int, tied: bool) -> None:
    days, seen, risk = studies(seed, tied=tied)
    known, ones = Surv.from_arrays(seen, days), np.ones((1, N))
    free = np.exp(-np.outer(np.exp(risk), AT) / 300)
    assert survival.harrell(days, seen, risk, ones)[0] == pytest.approx(
        concordance_index_censored(seen, days, risk)[0], abs=1e-9
    )
    assert survival.uno(days, seen, risk, ones, 500.0)[0] == pytest.approx(
        concordance_index_ipcw(known, known, risk, tau=500.0)[0], abs=1e-9
    )
    aucs = [survival.auc_at(days, seen, risk, ones, at)[0] for at in AT]
    assert aucs == pytest.approx(cumulative_dynamic_auc(known, known, risk, AT)[0], abs=1e-9)
    assert survival.brier_at(days, seen, free, ones, AT)[0] == pytest.approx(
        brier_score(known, known, free, AT)[1], abs=1e-9
    )
    assert survival.integrated_brier(days, seen, free, ones, AT)[0] == pytest.approx(
        integrated_brier_score(known, known, free, AT), abs=1e-9
    )
    assert survival.kaplan_meier(days, seen, ones)[1][0] == pytest.approx(
        kaplan_meier_estimator(seen, days)[1]
    )


def test_whole_number_weights_are_studies_drawn_more_than_once() -> None:
    days, seen, risk = studies(7, tied=True)
    draws = np.random.default_rng(0).multinomial(N, np.full(N, 1 / N), size=4)
    for row, found in zip(draws, survival.harrell(days, seen, risk, draws.astype(np.float64)), strict=True):
        drawn = np.repeat(np.arange(N), row)
        assert found == pytest.approx(concordance_index_censored(seen[drawn], days[drawn], risk[drawn])[0])


def test_blocks_do_not_change_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    days, seen, risk = studies(3, tied=False)
    ones = np.ones((1, N))
    whole = survival.uno(days, seen, risk, ones)
    monkeypatch.setattr(survival, "_BLOCK", 1000)
    assert survival.uno(days, seen, risk, ones) == pytest.approx(whole)


def test_what_is_undefined_is_nan() -> None:
    days, risk, ones = np.array([5.0, 9.0]), np.array([1.0, 0.0]), np.ones((1, 2))
    assert np.isnan(survival.harrell(days, np.array([False, False]), risk, ones)[0])
    assert np.isnan(survival.auc_at(days, np.array([True, True]), risk, ones, 1.0)[0])
