"""A hopeless or dishonest run is refused before any compute, in a sentence."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training import precheck
from training.runs import list_runs
from training.spec import parse_spec
from training.tune import tune


def rewrite(folder: Path, column: str, values: list[object]) -> None:
    path = folder / "members.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(
            place, table.schema.field(column), pa.array(values, table.schema.field(column).type)
        ),
        path,
    )


def test_patients_in_two_splits_are_refused_and_no_number_is_made(tmp_path: Path) -> None:
    lay_down(tmp_path, leak=True)
    with pytest.raises(ConfigurationError, match="patients have studies in two splits"):
        tune(tmp_path, parse_spec(tree("probe")), report=lambda facts: None)
    (facts,) = list_runs(tmp_path)
    assert facts["status"] == "failed"
    assert "two splits" in facts["message"]
    assert not (facts["path"] / "metrics.parquet").exists()


def test_a_train_split_of_one_class_is_refused(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    rewrite(folder, "labels", [[{"name": "opacity", "value": 1.0}]] * 96)
    found = precheck.estimate(tmp_path, parse_spec(tree("probe")))
    assert any("are positive for 'opacity': nothing to learn" in p for p in found["problems"])


def test_an_empty_train_split_is_refused(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    rewrite(folder, "split", ["test"] * 96)
    with pytest.raises(ConfigurationError, match="train split is empty"):
        tune(tmp_path, parse_spec(tree("probe")), report=lambda facts: None)


def test_a_label_that_is_the_site_brings_a_warning(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    sites = pq.read_table(folder / "members.parquet")["site"].to_pylist()
    rewrite(folder, "labels", [[{"name": "opacity", "value": float(s == "northside")}] for s in sites])
    found = precheck.estimate(tmp_path, parse_spec(tree("probe")))
    assert found["label_site_association"]["opacity"] == pytest.approx(1)
    assert any("may learn the site" in w for w in found["warnings"])


def test_the_estimate_counts_says_prevalence_by_split_and_site_and_knows_the_run(tmp_path: Path) -> None:
    lay_down(tmp_path)
    spec = parse_spec(tree("probe"))
    found = precheck.estimate(tmp_path, spec)
    assert found["n"] == found["patients"] == 96
    assert sum(found["splits"].values()) == 96
    assert found["splits"]["holdout"] == 32
    assert not found["problems"]
    assert found["minutes"] > 0
    assert not found["exists"]
    whole = [r for r in found["prevalence"] if r["site"] == "all"]
    assert {r["split"] for r in whole} == {"train", "tune", "test", "holdout"}
    assert all(0 < r["prevalence"] < 1 for r in whole)
    tune(tmp_path, spec, report=lambda facts: None)
    assert precheck.estimate(tmp_path, spec)["exists"]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"cohort": "nobody"}, "there are: planted"),
        ({"task": {"kind": "multilabel", "labels": ["tumour"]}}, "has no label tumour; it has: opacity"),
        (
            {"task": {"kind": "multilabel", "labels": ["opacity"], "covariates": ["age"]}},
            "has no covariate age",
        ),
        ({"model": {"id": "builtin:nothing"}}, "neither built in"),
    ],
)
def test_what_is_not_there_is_named_beside_what_is(
    tmp_path: Path, over: dict[str, object], words: str
) -> None:
    lay_down(tmp_path)
    with pytest.raises(ConfigurationError, match=words):
        precheck.estimate(tmp_path, parse_spec(tree("probe", **over)))


def test_unknown_and_uncertain_labels_are_left_out_of_every_count(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    rows = pq.read_table(folder / "members.parquet")["labels"].to_pylist()
    for i in range(0, 96, 4):
        rows[i][0]["value"] = None if i % 8 else -1.0
    rewrite(folder, "labels", rows)
    run = tune(tmp_path, parse_spec(tree("probe")), report=lambda facts: None)
    table = pq.read_table(run / "predictions.parquet")
    assert pc.sum(pc.is_null(table["target"])).as_py() == 2 * 24, (
        "both arms, 24 studies: predicted, never judged"
    )
    metrics = pq.read_table(run / "metrics.parquet").to_pylist()
    (row,) = [r for r in metrics if (r["split"], r["site"], r["subgroup"], r["name"], r["arm"]) == ("holdout", "all", "all", "auroc", "tuned")]  # fmt: skip
    assert row["n"] == 24
