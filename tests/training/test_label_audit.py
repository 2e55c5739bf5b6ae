"""Wrong labels are found among right ones, and a report that says the opposite is told."""

import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.cohort import build_cohort
from curation.cohort_spec import CohortSpec
from curation.records import LabelIssue, schema_of
from tests.curation.cohort_lake import an_id, deliver, said, tiny_lake
from tests.training.planted import lay_down, tree
from training.audits.crossfit import folds_of, out_of_fold
from training.audits.label_audit import label_audit, said_by_reports, suspects
from training.examples import Examples, read_examples
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)


def planted(n: int = 400, flips: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [n, 12] of two overlapping classes, labels of which `flips` are wrong, and which."""
    rng = np.random.default_rng(3)
    y = rng.integers(2, size=n).astype(float)
    features = (rng.normal(size=(n, 12)) + 1.6 * y[:, None] * (np.arange(12) < 4)).astype(np.float32)
    wrong = np.zeros(n, bool)
    wrong[rng.permutation(n)[:flips]] = True
    return features, np.where(wrong, 1 - y, y), wrong


def examples_of(labels: np.ndarray) -> Examples:
    n = len(labels)
    ids = tuple(UUID(int=i + 1) for i in range(n))
    return Examples(
        "c",
        Path(),
        ids,
        ids,
        ids,
        np.arange(n),
        np.full(n, "a"),
        np.full(n, "train"),
        ("nodule",),
        labels[:, None],
        {},
    )


def test_most_flipped_labels_are_found_and_few_right_ones_are_accused() -> None:
    features, labels, wrong = planted()
    odd = suspects(labels, out_of_fold(features, labels[:, None], np.arange(len(labels)), 1)[:, 0])
    assert (odd & wrong).sum() / wrong.sum() > 0.7
    assert (odd & wrong).sum() / odd.sum() > 0.6


def test_right_labels_that_are_easy_are_not_accused() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200).astype(float)
    features = (rng.normal(size=(200, 4)) + 9 * y[:, None]).astype(np.float32)
    assert not suspects(y, out_of_fold(features, y[:, None], np.arange(200), 1)[:, 0]).any()


def test_a_patient_never_judges_itself() -> None:
    patient = np.repeat(np.arange(50), 3)
    fold = folds_of(patient, 1)
    assert all(len(set(fold[patient == p].tolist())) == 1 for p in range(50))
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(50, 40)), 3, axis=0).astype(np.float32)
    y = np.repeat(rng.integers(2, size=50), 3).astype(float)
    share = out_of_fold(features, y[:, None], patient, 1)[:, 0]
    assert abs(np.corrcoef(share, y)[0, 1]) < 0.5, "noise that only the patient's own other images would tell"


def test_probabilities_are_calibrated_on_the_whole_and_unknown_stays_unknown() -> None:
    features, labels, _ = planted()
    labels[:7] = np.nan
    share = out_of_fold(features, labels[:, None], np.arange(len(labels)), 1)[:, 0]
    assert np.isnan(share[:7]).all()
    assert np.nanmean(share) == pytest.approx(np.nanmean(labels), abs=0.02)


def test_too_few_patients_of_a_class_give_no_probability_and_say_so() -> None:
    labels = np.zeros(60)
    labels[:4] = 1
    features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    issues, items = label_audit(examples_of(labels), ["nodule"], labels[:, None], features, {}, "r", 1)
    assert not issues
    assert [i.status for i in items] == ["not_applicable", "not_applicable"]


def test_a_report_that_says_the_opposite_is_an_issue_with_its_sentence_and_ranks_before_an_odd_image() -> (
    None
):
    features, labels, wrong = planted()
    examples = examples_of(labels)
    i, j = np.flatnonzero(wrong)[0], np.flatnonzero(~wrong)[0]
    said = {
        (examples.study_id[i], "nodule"): ("absent" if labels[i] else "present", "As the report has it."),
        (examples.study_id[j], "nodule"): ("present" if labels[j] else "absent", "Agrees."),
    }
    issues, items = label_audit(examples, ["nodule"], labels[:, None], features, said, "r", 1)
    first = issues[0]
    assert (first.study_id, first.is_report_conflict, first.is_odd_image, first.rank) == (
        examples.study_id[i],
        True,
        True,
        1,
    )
    assert first.evidence == "As the report has it."
    assert [x.rank for x in issues] == list(range(1, len(issues) + 1))
    assert not any(x.is_report_conflict for x in issues[1:])
    assert next(x for x in items if "opposite" in x.item).value == 0.5


def test_a_run_leaves_its_suspected_labels_in_its_folder(tmp_path: Path) -> None:
    lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(tree("probe")), report=lambda facts: None)
    table = pq.read_table(run / "label_issues.parquet")
    assert table.schema.equals(schema_of(LabelIssue))
    lines = [i for i in json.loads((run / "report.json").read_text())["items"] if i["section"] == "labels"]
    assert [i["status"] for i in lines] == ["computed", "missing"], (
        "a cohort laid down by hand has no reports"
    )


def test_reports_are_asked_at_the_cohorts_snapshot_and_a_report_of_two_minds_takes_no_side(
    tmp_path: Path,
) -> None:
    lake = tiny_lake(tmp_path)
    deliver(lake, "north-2", findings=[said("0/0", "nodule", "absent", "report", "north")])
    facts = {"cohort": "films", "include": [{"name": "film", "where": "modality = 'DX'"}],
             "labels": {"nodule": "asserted('nodule')"}, "min_cell": 5}  # fmt: skip
    examples = read_examples(build_cohort(lake, CohortSpec.model_validate(facts)), ["nodule"])
    deliver(lake, "south-2", findings=[said("4/0", "nodule", "absent", "report", "south")])
    told = said_by_reports(tmp_path, examples, ["nodule"])
    assert told is not None
    assert told[an_id("4/0"), "nodule"][0] == "present", "what came after the cohort does not count"
    assert told[an_id("1/0"), "nodule"][0] == "absent"
    assert (an_id("0/0"), "nodule") not in told, "present in one sentence, absent in another"
    assert (an_id("2/0"), "nodule") not in told, "uncertain takes no side"
