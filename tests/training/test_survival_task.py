"""Outcome prediction: hazards of what was seen, horizons that never fall, and a planted outcome found and reported."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training.probe import fit_head
from training.spec import parse_spec
from training.tasks.survival import Survival, hazards_of, horizons_of
from training.tune import tune

NAN = np.nan
# died on day 10, on day 40; lost on day 20, on day 30; died on day 90; unknown; lost on day 0; before the study
VALUES = np.array(
    [[10, 1], [40, 1], [20, 0], [30, 0], [90, 1], [NAN, NAN], [0, 0], [-3, 1]], dtype=np.float64
)
TASK = Survival(("days", "died"), (30, 60))
SURVIVAL = {"kind": "survival", "labels": ["days", "died"], "covariates": ["age"]}


def test_hazards_are_of_who_entered_and_was_seen_to_the_end() -> None:
    expected = [[1, NAN], [0, 1], [NAN, NAN], [0, NAN], [0, 0], [NAN, NAN], [NAN, NAN], [NAN, NAN]]
    np.testing.assert_array_equal(hazards_of(VALUES, (30, 60)), expected)


def test_a_horizon_asks_only_those_whose_answer_is_known() -> None:
    expected = [[1, 1], [0, 1], [NAN, NAN], [0, NAN], [0, 0], [NAN, NAN], [NAN, NAN], [NAN, NAN]]
    np.testing.assert_array_equal(TASK.targets(VALUES, 2), expected)
    assert Survival(("days", "died"), (60, 30)).outputs(VALUES) == ("died by day 30", "died by day 60")


def test_horizons_nobody_chose_are_quartiles_of_the_events() -> None:
    assert horizons_of(VALUES, ()).tolist() == [25, 40, 65]


def test_chances_never_fall_and_hazards_solved_from_censored_data_are_kaplan_meiers() -> None:
    random = np.random.default_rng(0)
    assert (TASK.answers(torch.randn(50, 4)).diff(dim=1) >= 0).all()
    died, lost = random.exponential(100, 20_000), random.exponential(150, 20_000)
    values = np.column_stack([np.minimum(died, lost), died <= lost]).astype(np.float64)
    hazards = hazards_of(values, (50, 100))
    head = fit_head(np.zeros((len(values), 1), np.float32), hazards, 1.0)
    chances = TASK.answers(torch.from_numpy(head.logits(np.zeros((1, 1), np.float32))))[0]
    # losing those censored within an interval makes a little of the hazard go unseen or stand out, never the order of it
    assert chances.tolist() == pytest.approx([1 - np.exp(-0.5), 1 - np.exp(-1)], abs=0.08)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["days"]}, "survival takes two labels"),
        ({"horizons": [0, 30]}, "horizons are days above 0"),
        ({"kind": "multilabel", "horizons": [30]}, "of the task survival alone"),
    ],
)
def test_wrong_tasks_say_what_to_mend(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_spec(tree("probe", task={**SURVIVAL, **change}))


@pytest.mark.parametrize("method", ["probe", "cut"])
def test_a_planted_outcome_is_found_and_reported_with_what_the_image_adds(
    tmp_path: Path, method: str
) -> None:
    lay_down(tmp_path, n=600, signal=50, outcome=True)
    spec = parse_spec(tree(method, task={**SURVIVAL, "horizons": [60, 180, 365]}))
    run = tune(tmp_path, spec, report=lambda event: None)
    report = json.loads((run / "report.json").read_text())
    items = {i["item"]: i for i in report["items"] if i["section"] == "survival"}
    image = items["holdout: what the image adds to age"]
    assert image["status"] == "computed", image
    assert image["value"] > 0.1
    assert items["holdout: concordance (Harrell)"]["status"] == "computed"
    tuned = float(items["holdout: concordance (Uno)"]["text"].split(" -> ")[1].split(",")[0])
    assert tuned > 0.6
    rows = {
        (r["name"], r["arm"]): r
        for r in pq.read_table(run / "metrics.parquet").to_pylist()
        if (r["split"], r["label"]) == ("holdout", "died")
    }
    assert rows["c_index_over_clinical", "gain"]["value"] == pytest.approx(image["value"])
    assert rows["c_index_over_clinical", "gain"]["low"] > 0
    assert rows["c_index", "tuned"]["value"] == pytest.approx(
        items["holdout: concordance (Harrell)"]["value"] + rows["c_index", "untuned"]["value"]
    )
    low, high = (
        items[f"holdout: free of the event at day 365, {t} third of risk"]["value"]
        for t in ("lowest", "highest")
    )
    assert low > high + 0.2
    assert items["holdout: thirds of risk differ (log-rank)"]["value"] < 1e-3
    assert items["holdout: AUC at day 180"]["status"] == "computed"
    assert abs(items["holdout: calibration at day 180"]["value"]) < 0.25
    curves = [c for c in report["tables"]["kaplan_meier"] if c["split"] == "holdout"]
    assert [c["third"] for c in curves] == ["lowest", "middle", "highest"]
    assert curves[0]["free"][-1] > curves[2]["free"][-1]
    brier = items["holdout: integrated Brier score"]["text"]
    assert float(brier.split(" -> ")[1].split(",")[0]) < float(brier.rsplit(": ", 1)[1])
