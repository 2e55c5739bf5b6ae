"""A model that follows the site is told apart from one that follows the finding, and the report says why."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from curation.cohort import build_cohort
from curation.cohort_spec import CohortSpec
from tests.curation.cohort_lake import tiny_lake
from tests.training.planted import lay_down, tree
from training.audits import pairs
from training.audits.blanking import blank
from training.audits.columns import RECORDED, read_columns
from training.audits.reliance import Judged, association, reliance, sides, turned_weights
from training.audits.verdict import LEVELS, Blanked, judge, read_rule
from training.delong import auc_covariance
from training.examples import read_examples
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)
Floats = NDArray[np.float64]


def cohort(
    concordance: float, leaning: float, seed: int = 0, n: int = 900
) -> tuple[NDArray[np.str_], Judged]:
    """Sites a and b; b holds `concordance` of the positives and as much less of the negatives. Scores show the finding, and
    `leaning` of the site."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=n).astype(float)
    at_b = rng.random(n) < np.where(truth == 1, concordance, 1 - concordance)
    score = 1.2 * truth + leaning * at_b + rng.normal(size=n)
    split = np.array(["train", "train", "train", "tune", "test"])[rng.integers(5, size=n)]
    return np.where(at_b, "b", "a"), Judged(truth, score, split, np.arange(n))


def level(concordance: float, leaning: float, seed: int = 0) -> str:
    site, judged = cohort(concordance, leaning, seed)
    found = reliance("site", site, judged, None, 0)
    assert not isinstance(found, str)
    return judge("nodule", [found], [], read_rule()).level


def test_leaning_on_a_site_that_goes_with_the_label_is_a_shortcut() -> None:
    assert [level(0.9, 2.0, s) for s in range(5)] == ["shortcut"] * 5


@pytest.mark.parametrize(("concordance", "leaning"), [(0.5, 2.0), (0.9, 0.0), (0.7, 0.0)])
def test_a_site_that_is_encoded_but_not_tied_or_tied_but_not_followed_is_none(
    concordance: float, leaning: float
) -> None:
    assert [level(concordance, leaning, s) for s in range(5)].count("ok") >= 4


def test_turned_weights_turn_the_association_of_the_train_split_round() -> None:
    site, judged = cohort(0.9, 1.0)
    side = sides(site, judged)
    assert side is not None
    rows = np.flatnonzero(judged.split == "test")
    weights = turned_weights(side, judged, rows)
    assert weights is not None
    y, s = judged.truth[rows], side[rows]
    share = [np.average(s[y == k], weights=weights[y == k]) for k in (0, 1)]
    train = judged.split == "train"
    assert share == pytest.approx([side[train & (judged.truth == k)].mean() for k in (1, 0)])


def test_the_turned_auroc_is_that_of_a_test_split_with_the_opposite_association() -> None:
    site, judged = cohort(0.8, 1.5, n=20_000)
    found = reliance("site", site, judged, None, 0)
    _, opposite = cohort(0.2, 1.5, seed=1, n=20_000)
    assert not isinstance(found, str)
    assert found.turned is not None
    assert found.turned.value == pytest.approx(roc_auc_score(opposite.truth, opposite.score), abs=0.02)
    assert found.drop is not None
    assert found.drop.low < found.plain.value - found.turned.value < found.drop.high


def test_a_share_of_pairs_is_scikit_learns_auroc_and_its_error_is_delongs() -> None:
    rng = np.random.default_rng(0)
    y, patient = rng.integers(2, size=300).astype(float), rng.integers(100, size=300)
    score = np.round(y + rng.normal(size=300), 1)
    weights = rng.random(300)
    weighted = pairs.pair_share(y, score, weights, np.zeros(300, np.int64))
    assert weighted is not None
    assert weighted.value == pytest.approx(roc_auc_score(y, score, sample_weight=weights), abs=1e-12)
    plain = pairs.pair_share(y, score, np.ones(300), np.zeros(300, np.int64))
    assert plain is not None
    _, covariance = auc_covariance(y, score[None], patient)
    assert pairs.error(plain.influence, patient) == pytest.approx(float(np.sqrt(covariance[0, 0])), rel=0.03)


def test_matched_pairs_are_compared_within_their_stratum_alone() -> None:
    y, score = np.array([1.0, 0, 1, 0]), np.array([1.0, 0.5, 0.2, 0.9])
    share = pairs.pair_share(y, score, np.ones(4), np.array([0, 0, 1, 1]))
    assert share is not None
    assert share.value == 0.5
    assert pairs.pair_share(y, score, np.ones(4), np.array([0, 1, 1, 0])) is not None
    assert pairs.pair_share(y, score, np.ones(4), np.array([0, 1, 0, 1])) is None, (
        "no positive beside a negative"
    )


def test_association_is_corrected_for_chance() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=200).astype(float)
    many = rng.integers(20, size=200).astype(str)
    assert (association(many, truth) or 0) < 0.15
    assert association(truth.astype(str), truth) == pytest.approx(1, abs=0.01)
    assert association(np.full(200, "one"), truth) is None


def test_blanking_hides_borders_or_corners_and_nothing_else() -> None:
    tile = np.random.default_rng(0).integers(0, 255, (1, 1, 20, 20)).astype(np.uint8)
    borders, corners = blank(tile, "borders"), blank(tile, "corners")
    assert (borders[..., 2:-2, 2:-2] == tile[..., 2:-2, 2:-2]).all()
    assert len(np.unique(borders[..., :2, :])) == 1
    assert (corners[..., 4:-4, :] == tile[..., 4:-4, :]).all()
    assert len(np.unique(corners[..., :4, :4])) == 1


def test_a_marker_that_no_column_records_is_suspicious_once_blanking_it_costs() -> None:
    rule = read_rule()
    lost = Blanked("corners", lost=0.2, low=0.1, changed=0.3)
    assert judge("nodule", [], [lost], rule).level == "suspicious"
    assert judge("nodule", [], [Blanked("corners", 0.01, -0.02, 0.0)], rule).level == "ok"
    assert LEVELS.index("suspicious") < LEVELS.index("shortcut")


def test_what_is_recorded_beside_the_image_is_read_at_the_cohorts_snapshot(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path)
    facts = {"cohort": "films", "include": [{"name": "film", "where": "modality = 'DX'"}],
             "labels": {"nodule": "asserted('nodule')"}, "min_cell": 5}  # fmt: skip
    examples = read_examples(build_cohort(lake, CohortSpec.model_validate(facts)), ["nodule"])
    columns = read_columns(tmp_path, examples)
    assert columns is not None
    assert set(columns) == set(RECORDED)
    assert set(columns["manufacturer"]) == {"Klar"}
    assert set(columns["sex"]) == {"F", "M"}
    assert {"0-17", "18-39", "40-64", "65+"} >= set(columns["age_band"])
    assert set(columns["aspect"]) == {"lowest quarter"}, "equal numbers are never parted"


def test_every_line_of_the_audit_is_in_the_report_computed_or_with_its_reason(tmp_path: Path) -> None:
    lay_down(tmp_path, n=240)
    run = tune(tmp_path, parse_spec(tree("cut")), report=lambda facts: None)
    items = {
        i["item"]: i
        for i in json.loads((run / "report.json").read_text())["items"]
        if i["section"] == "shortcut"
    }
    for name in ("site alone", "tuned, matched pairs", "corners blanked", "borders blanked", "verdict"):
        assert items[f"opacity: {name}"]["status"] == "computed", name
    assert items["site read from tuned features"]["status"] in ("computed", "not_applicable")
    assert items["goes with view"]["status"] == "missing", "a cohort laid down by hand has no snapshot"
    assert items["opacity: verdict"]["text"].split(":")[0] in LEVELS
    assert all(i["text"] for i in items.values())


def test_the_plain_answers_of_the_released_model_are_those_of_the_run(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from training.audits.blanking import look
    from training.batches import Tiles
    from training.export import load_tuned

    folder = lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(tree("probe")), report=lambda facts: None)
    examples = read_examples(folder, ["opacity"])
    found = look(
        load_tuned(run), Tiles(folder / "packs" / "byhand", len(examples)), examples, np.array([0.5]), 7
    )
    told = {UUID(bytes=p["study_id"]) if isinstance(p["study_id"], bytes) else p["study_id"]: p["score"]
            for p in pq.read_table(run / "predictions.parquet").to_pylist() if p["arm"] == "tuned"}  # fmt: skip
    assert np.allclose(found.whole[:, 0], [told[examples.study_id[i]] for i in found.index], atol=1e-5)
    assert not (examples.split[found.index] == "train").any()
