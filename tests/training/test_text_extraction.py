"""Report to findings as a run: three readers of the same reports, negation told by a bag with pairs, and a release that reads."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted_reports import lay_down
from training.reading import load_reader
from training.spec import parse_spec
from training.tasks.text_extraction import TextExtraction
from training.text import Bag
from training.tune import tune

torch.set_num_threads(1)

TREE = {
    "name": "reader",
    "cohort": "films",
    "model": {"id": "builtin:token-bag"},
    "task": {"kind": "text_extraction", "labels": ["nodule"]},
    "method": {"kind": "full", "batch_size": 16},
    "budget": {"max_epochs": 8, "patience": 8},
    "compute": {"device": "cpu", "threads": 1},
    "report": {"bootstrap": 50, "min_cell": 5},
}


@pytest.mark.parametrize("method", ["probe", "full"])
def test_three_readers_are_judged_on_the_same_reports(tmp_path: Path, method: str) -> None:
    lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(TREE, [f"method.kind={method}"]), report=lambda facts: None)
    report = json.loads((run / "report.json").read_text())
    items = {i["item"]: i for i in report["items"] if i["section"] == "text_extraction"}
    mark = {"probe": 0.8, "full": 0.95}  # a bag that knows no language, and one that learned
    assert items["holdout: nodule, text encoder"]["value"] > mark[method]
    assert items["holdout: nodule, lexicon"]["value"] > 0.95
    assert {
        "holdout: nodule, TF-IDF",
        "holdout: nodule, gain over TF-IDF",
        "holdout: nodule, gain over lexicon",
    } <= set(items)
    assert (report["metric"], report["baseline"]["name"]) == ("f1", "tfidf")
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    assert sum(r["target"] is None for r in rows) == 2, "nobody is judged on a report that is not there"
    named = {(r["name"], r["arm"]) for r in pq.read_table(run / "metrics.parquet").to_pylist()}
    assert {("precision", "tuned"), ("recall", "gain"), ("f1", "untuned")} <= named


def test_a_released_reader_reads_as_it_was_judged(tmp_path: Path) -> None:
    lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(TREE), report=lambda facts: None)
    reader = load_reader(run)
    there, not_there = reader.predict(
        ["There is a nodule and there is no mass.", "There is no nodule and there is a mass."]
    )[:, 0]
    assert there > 0.8 > 0.2 > not_there
    (run / "encoder.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"no encoder\.safetensors"):
        load_reader(run)


def test_pairs_tell_order_and_padding_is_nothing() -> None:
    bag = Bag(_tokenizer(), seed=1)
    ids = bag.ids(["no mass a nodule", "a mass no nodule", "no mass a nodule with much more behind it", ""])
    assert not ids[3].any()
    module = bag.module()
    with torch.no_grad():
        one, other = module(torch.from_numpy(ids[:2]))
        alone = module(torch.from_numpy(ids[:1, : int((ids[0] > 0).sum())]))[0]
    assert not torch.allclose(one, other, atol=1e-2)
    torch.testing.assert_close(one, alone)


def _tokenizer() -> str:
    from curation.vocabulary import train_tokenizer

    return train_tokenizer(["no mass a nodule", "a mass no nodule"])


def test_the_threshold_is_the_best_f1_of_the_tune_split() -> None:
    truth, answers = np.array([[0.0, 0, 1, 1, np.nan]]).T, np.array([[0.1, 0.6, 0.5, 0.9, 1.0]]).T
    task = TextExtraction(("nodule",))
    (point,) = task.operating_points(truth, answers)
    assert point == 0.5
    found = task.measure(truth[:, 0], answers[:, 0], np.full(5, point))(np.ones((1, 5)))
    assert (found["precision"][0], found["recall"][0]) == (pytest.approx(2 / 3), 1.0)
    assert found["f1"][0] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.kind=lora", "probe or full"),
        ("model.id=builtin:tiny-vit", "reads images"),
        ("model.id=/nowhere", "no tokenizer.json"),
    ],
)
def test_what_cannot_read_is_refused(tmp_path: Path, override: str, message: str) -> None:
    lay_down(tmp_path, n=60)
    with pytest.raises(ConfigurationError, match=message):
        tune(tmp_path, parse_spec(TREE, [override]), report=lambda facts: None)
