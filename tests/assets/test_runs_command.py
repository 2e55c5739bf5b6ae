"""What `rwid runs show` says of a run's numbers."""

import pytest

from assets.commands.runs import SAME, shown_metrics


def facts(gain: float) -> dict[str, object]:
    row = {"split": "test", "site": "all", "label": "nodule", "name": "auroc", "n": 63}
    arms = {"untuned": 0.9, "tuned": 0.9 + gain, "gain": gain}
    rows = [row | {"arm": arm, "value": value, "low": None, "high": None} for arm, value in arms.items()]
    return {"run_id": "x", "status": "done", "metric": "auroc", "metrics": rows, "verdict": "so and so"}


@pytest.mark.parametrize(("gain", "is_told"), [(0.0, True), (0.01, False)])
def test_a_run_that_kept_its_start_says_so(gain: float, is_told: bool) -> None:
    assert (SAME in shown_metrics(facts(gain))) is is_told


def test_a_gain_without_an_interval_has_its_sign() -> None:
    shown, *_ = shown_metrics(facts(0.01))
    assert list(shown.columns[5].cells) == ["+0.010"]
