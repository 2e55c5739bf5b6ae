"""Runs side by side: what they share, paired intervals, and what is said where they were not judged alike."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from curation.records import ConfigurationError, Prediction, to_table
from training.compare import compare
from training.runs import RunFolder
from training.shared_studies import MACRO, common_studies, judged_labels

RUNS = ("aaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaa2")


def lay(
    root: Path,
    run_id: str,
    *,
    noise: float,
    skip: int = 0,
    flip: int = 0,
    labels: tuple[str, ...] = ("nodule",),
) -> None:
    """A run's predictions: 120 studies of 60 patients at two sites; the first `skip` are left out, of the next `flip` the truth differs."""
    draw = np.random.default_rng(3)
    rows = []
    for label in labels:
        truth = draw.integers(0, 2, 120).astype(float)
        for n in range(skip, 120):
            known = 1 - truth[n] if skip <= n < skip + flip else truth[n]
            for arm, spread in (("untuned", 3.0), ("tuned", noise)):
                score = 1 / (1 + np.exp(-(2 * truth[n] - 1 + spread * draw.standard_normal())))
                ids = [UUID(int=k) for k in (n, n, n // 2)]
                rows.append(
                    Prediction(run_id, *ids, f"site-{n // 2 % 2}", "test", arm, label, known, float(score))
                )
    finish(root, run_id, rows, {"kind": "multilabel", "labels": list(labels)})


def finish(root: Path, run_id: str, rows: list[Prediction], task: dict[str, object]) -> None:
    """Predictions, spec and the row of `runs`."""
    folder = RunFolder(root, run_id)
    folder.write_parquet("predictions.parquet", to_table(Prediction, rows))
    folder.write_json("spec.json", {"name": run_id, "task": task})


def test_runs_on_the_same_studies_are_told_apart_by_a_paired_interval(tmp_path: Path) -> None:
    lay(tmp_path, RUNS[0], noise=0.5)
    lay(tmp_path, RUNS[1], noise=2.5)
    common = common_studies(tmp_path, RUNS, "test", "nodule")
    assert common.is_same and len(common.patient) == 120
    lines, gaps = compare(common, n_replicates=300)
    by_key = {(line.run_id, line.arm, line.site): line for line in lines}
    for run in RUNS:
        own = by_key[run, "tuned", "all"]
        assert own.value == pytest.approx(
            roc_auc_score(common.truth[:, 0], common.scores[run, "tuned"][:, 0]), abs=1e-9
        )
        gain = by_key[run, "gain", "all"]
        assert gain.value == pytest.approx(own.value - by_key[run, "untuned", "all"].value)
        assert (own.n, own.n_patients) == (120, 60)
    assert {line.site for line in lines} == {"all", "site-0", "site-1"}
    gap = next(g for g in gaps if g.site == "all")
    assert gap.value == pytest.approx(
        by_key[RUNS[0], "tuned", "all"].value - by_key[RUNS[1], "tuned", "all"].value
    )
    assert gap.low > 0 and gap.p < 0.05


def test_a_run_against_its_own_copy_differs_by_nothing_in_every_draw(tmp_path: Path) -> None:
    for run in RUNS:
        lay(tmp_path, run, noise=1.0)
    _, gaps = compare(common_studies(tmp_path, RUNS, "test", "nodule"), n_replicates=50)
    assert all((g.value, g.low, g.high) == (0, 0, 0) for g in gaps)


def test_studies_that_one_run_lacks_and_truths_that_differ_are_left_out_and_counted(tmp_path: Path) -> None:
    lay(tmp_path, RUNS[0], noise=1.0)
    lay(tmp_path, RUNS[1], noise=1.0, skip=10, flip=6)
    common = common_studies(tmp_path, RUNS, "test", "nodule")
    assert not common.is_same
    assert (len(common.patient), common.n_missing, common.n_disputed) == (110, 10, 6)
    lines, _ = compare(common, n_replicates=20)
    assert {line.n for line in lines if line.site == "all"} == {104}


def test_several_labels_have_their_mean(tmp_path: Path) -> None:
    for run in RUNS:
        lay(tmp_path, run, noise=1.0, labels=("effusion", "nodule"))
    assert judged_labels(tmp_path, RUNS) == [MACRO, "effusion", "nodule"]
    values = {}
    for label in (MACRO, "effusion", "nodule"):
        lines, _ = compare(common_studies(tmp_path, RUNS, "test", label), n_replicates=20)
        values[label] = next(line.value for line in lines if (line.arm, line.site) == ("tuned", "all"))
    assert values[MACRO] == pytest.approx((values["effusion"] + values["nodule"]) / 2)


def test_what_cannot_be_compared_says_so(tmp_path: Path) -> None:
    lay(tmp_path, RUNS[0], noise=1.0)
    with pytest.raises(ConfigurationError, match="has no predictions"):
        common_studies(tmp_path, RUNS, "test", "nodule")
    lay(tmp_path, RUNS[1], noise=1.0)
    with pytest.raises(ConfigurationError, match="share no study"):
        common_studies(tmp_path, RUNS, "holdout", "nodule")
    with pytest.raises(ConfigurationError, match="not by 'accuracy'"):
        compare(common_studies(tmp_path, RUNS, "test", "nodule"), "accuracy")
