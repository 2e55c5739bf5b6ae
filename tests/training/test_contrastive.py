"""Images and reports in one space: ranks that count wordings once, a planted pairing learned, prompts that ask."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import SIZE
from tests.training.planted_reports import lay_down
from training import retrieval
from training.pairs import load_matcher
from training.spec import parse_spec
from training.tasks.contrastive import Contrastive
from training.tune import tune

torch.set_num_threads(1)
TREE = {
    "name": "pairs",
    "cohort": "films",
    "model": {"id": "builtin:tiny-vit", "input": {"size": SIZE}},
    "task": {"kind": "contrastive", "labels": ["nodule"]},
    "method": {"kind": "probe", "batch_size": 32, "head_lr": 1e-2},
    "budget": {"max_epochs": 30, "patience": 30},
    "compute": {"device": "cpu", "threads": 1},
    "report": {"bootstrap": 50, "min_cell": 5},
}


def test_a_rank_is_of_the_best_answer_of_the_same_wording_and_ties_are_a_coin() -> None:
    near = np.array([[0.9, 0.5, 0.1], [0.3, 0.2, 0.8], [0.4, 0.4, 0.4]])
    assert retrieval.ranks(near, np.array([0.0, 1, 2])).tolist() == [1, 3, 2]
    assert retrieval.ranks(near, np.array([0.0, 1, 1])).tolist() == [1, 1, 1.5], (
        "who shares a wording is no mistake"
    )
    found = retrieval.measure(np.array([1.0, 3, 12]), np.array([[1.0, 1, 1], [0, 1, 2]]))
    assert found["recall@1"].tolist() == pytest.approx([1 / 3, 0])
    assert found["recall@5"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found["median_rank"].tolist() == [3, 12]


def test_the_loss_is_least_where_partners_meet_and_wordings_are_shared() -> None:
    task, wording, ones = (
        Contrastive(("nodule",)),
        torch.tensor([[0.0], [1.0], [1.0], [torch.nan]]),
        torch.ones(4, 1),
    )
    unit = torch.eye(3)[[0, 1, 1, 2]]
    right = task.loss(torch.cat([unit, unit], 1), wording, ones)
    wrong = task.loss(torch.cat([unit, unit[[1, 0, 0, 3]]], 1), wording, ones)
    assert right < 0.7 < 5 < wrong, "two of one wording share their probability: log 2 of two thirds"


def test_a_planted_pairing_is_learned_and_prompts_ask_for_a_label(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(TREE), report=lambda facts: None)
    rows = pq.read_table(run / "metrics.parquet").to_pylist()

    def value(name: str, label: str, arm: str = "tuned") -> float:
        where = {
            "split": "holdout",
            "site": "all",
            "subgroup": "all",
            "name": name,
            "label": label,
            "arm": arm,
        }
        (row,) = [r for r in rows if all(r[k] == v for k, v in where.items())]
        return float(row["value"])

    chance = 5 / 60
    assert value("recall@5", "image to report") > 2 * chance
    assert value("recall@5", "report to image") > 2 * chance
    assert value("median_rank", "image to report") < 20
    assert value("auroc", "nodule") > 0.8, "nobody fitted this label: two prompts ask for it"
    report = json.loads((run / "report.json").read_text())
    galleries = [i["text"] for i in report["items"] if i["section"] == "retrieval"]
    assert any("gallery of 59" in text for text in galleries), (
        "all of the held-out site but one, who has no report"
    )
    matcher = load_matcher(run)
    tiles = pq.read_table(folder / "packs" / "byhand" / "tiles.parquet")["tile"].to_pylist()
    image = matcher.images(np.stack([np.frombuffer(t, np.uint8).reshape(1, SIZE, SIZE) for t in tiles]))
    text = matcher.texts(["nodule.", "no nodule."])
    near = 14.0 * (image @ text.T)
    scores = [
        r["score"] for r in pq.read_table(run / "predictions.parquet").to_pylist() if r["arm"] == "tuned"
    ]
    np.testing.assert_allclose(1 / (1 + np.exp(near[:, 1] - near[:, 0])), scores, atol=1e-4)


def test_what_moves_the_backbone_is_refused(tmp_path: Path) -> None:
    lay_down(tmp_path, n=60)
    with pytest.raises(ConfigurationError, match=r"method\.kind probe"):
        tune(tmp_path, parse_spec(TREE, ["method.kind=full"]), report=lambda facts: None)
