"""Runs side by side whose answers are measurements, or times to an event: paired differences, by what each kind is judged by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from curation.records import ConfigurationError, Member, Prediction, Run, to_table
from training.compare import compare
from training.ladder import rungs
from training.runs import RunFolder
from training.shared_studies import MACRO, common_studies, judged_labels, kind_of, metrics_of

RUNS = ("aaaaaaaaaaaaaaa1", "aaaaaaaaaaaaaaa2")
N = 120
HORIZONS = ("died by day 100", "died by day 400")


def finish(root: Path, run_id: str, rows: list[Prediction], task: dict[str, object], metric: str) -> None:
    folder = RunFolder(root, run_id)
    folder.write_parquet("predictions.parquet", to_table(Prediction, rows))
    folder.write_json(
        "spec.json", {"name": run_id, "task": task, "method": {"kind": "cut", "warm_start": "probe"}}
    )
    folder.write_json("report.json", {"metric": metric, "seconds": 60})
    began = datetime(2026, 1, 1, tzinfo=UTC)
    kind = str(task["kind"])
    folder.write_run(Run(run_id, run_id, "c" * 16, "done", "tiny", "cut", kind, began, 60.0, "cpu", 7))


def predicted(run_id: str, n: int, arm: str, label: str, target: float | None, score: float) -> Prediction:
    """Study n of patient n // 2, at one of two sites."""
    ids = [UUID(int=k) for k in (n, n, n // 2)]
    return Prediction(run_id, *ids, f"site-{n // 2 % 2}", "test", arm, label, target, score)


def measured(root: Path, run_id: str, noise: float, labels: tuple[str, ...] = ("age",)) -> None:
    draw, rows = np.random.default_rng(3), []
    for label in labels:
        truth = draw.normal(60, 12, N)
        for n, (arm, spread) in ((n, a) for n in range(N) for a in (("untuned", 15.0), ("tuned", noise))):
            rows.append(
                predicted(run_id, n, arm, label, truth[n], truth[n] + spread * draw.standard_normal())
            )
    finish(root, run_id, rows, {"kind": "regression", "labels": list(labels)}, "mae")


def timed(root: Path, run_id: str, noise: float, *, cohort: str = "c" * 16, later: int = 0) -> None:
    """A survival run and its cohort: the event comes the sooner the higher a hidden risk; of the first study no days are known,
    of the next `later` others than elsewhere."""
    draw = np.random.default_rng(5)
    risk = draw.standard_normal(N)
    days, lost = np.ceil(draw.exponential(300 * np.exp(-risk))), np.ceil(draw.exponential(600, N))
    event, days = days <= lost, np.minimum(days, lost)
    days[1 : 1 + later] += 1
    rows, members = [], []
    for n in range(N):
        ids = [UUID(int=k) for k in (n, n, n // 2)]
        labels = [
            {"name": "days", "value": None if n == 0 else float(days[n])},
            {"name": "died", "value": float(event[n])},
        ]
        members.append(Member(cohort, *ids, f"site-{n // 2 % 2}", "test", labels, []))
        for arm, spread in (("untuned", 4.0), ("tuned", noise)):
            says = risk[n] + spread * draw.standard_normal()
            for label, shift in zip(HORIZONS, (-1, 0), strict=True):
                had = float(event[n] and days[n] <= int(label.split()[-1]))
                rows.append(predicted(run_id, n, arm, label, had, float(1 / (1 + np.exp(-says - shift)))))
    folder = root / "cohorts" / cohort
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(to_table(Member, members), folder / "members.parquet")
    finish(root, run_id, rows, {"kind": "survival", "labels": ["days", "died"]}, "auroc")


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_runs_that_measure_are_told_apart_by_a_paired_interval(tmp_path: Path, metric: str) -> None:
    measured(tmp_path, RUNS[0], noise=4)
    measured(tmp_path, RUNS[1], noise=8)
    common = common_studies(tmp_path, RUNS, "test", "age")
    assert common.is_same and metric in common.metrics
    lines, gaps = compare(common, metric, n_replicates=200)
    plain = {"mae": mean_absolute_error, "r2": r2_score}[metric]
    own = {line.run_id: line for line in lines if (line.arm, line.site) == ("tuned", "all")}
    for run in RUNS:
        assert own[run].value == pytest.approx(plain(common.truth[:, 0], common.scores[run, "tuned"][:, 0]))
    (gap,) = [g for g in gaps if g.site == "all"]
    assert gap.value == pytest.approx(own[RUNS[0]].value - own[RUNS[1]].value)
    assert gap.p < 0.05
    assert gap.high < 0 if metric == "mae" else gap.low > 0, (
        "an error that is smaller, a share that is larger"
    )
    assert {g.site for g in gaps} == {"all", "site-0", "site-1"}


def test_errors_in_units_have_no_mean_over_labels_and_shares_have(tmp_path: Path) -> None:
    for run in RUNS:
        measured(tmp_path, run, noise=6, labels=("age", "dose"))
    common = common_studies(tmp_path, RUNS, "test", MACRO)
    assert common.metrics == metrics_of(common.kind, MACRO) == ("r2", "pearson", "spearman")
    (line,) = [
        x
        for x in compare(common, n_replicates=0)[0]
        if (x.run_id, x.arm, x.site) == (RUNS[0], "tuned", "all")
    ]
    each = [r2_score(common.truth[:, c], common.scores[RUNS[0], "tuned"][:, c]) for c in range(2)]
    assert line.value == pytest.approx(np.mean(each))
    with pytest.raises(ConfigurationError, match="not by 'mae'"):
        compare(common, "mae")


def test_runs_that_foretell_an_event_are_told_apart_by_their_concordance(tmp_path: Path) -> None:
    timed(tmp_path, RUNS[0], noise=0.3)
    timed(tmp_path, RUNS[1], noise=2.5)
    assert judged_labels(tmp_path, RUNS) == [MACRO, *HORIZONS, "died"]
    common = common_studies(tmp_path, RUNS, "test", "died")
    assert common.metrics == ("c_index",)
    lines, gaps = compare(common, n_replicates=200)
    own = {line.run_id: line for line in lines if (line.arm, line.site) == ("tuned", "all")}
    for run in RUNS:
        assert own[run].value == pytest.approx(
            concordance(common.days, common.truth[:, 0], common.scores[run, "tuned"][:, 0])
        )
    assert own[RUNS[0]].n == N - 1, "of one study the days are not known"
    (gap,) = [g for g in gaps if g.site == "all"]
    assert gap.value == pytest.approx(own[RUNS[0]].value - own[RUNS[1]].value)
    assert gap.low > 0 and gap.p < 0.05


def concordance(days: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Pair by pair, as Harrell says it."""
    good = pairs = 0.0
    for i in np.flatnonzero(event == 1):
        for j in np.flatnonzero(np.isfinite(event)):
            if days[j] > days[i] or (days[j] == days[i] and event[j] == 0):
                pairs, good = pairs + 1, good + (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
    return good / pairs


def test_days_that_differ_between_two_versions_of_a_cohort_are_left_out_and_counted(tmp_path: Path) -> None:
    timed(tmp_path, RUNS[0], noise=1)
    timed(tmp_path, RUNS[1], noise=1, cohort="d" * 16, later=7)
    row = pq.read_table(tmp_path / "runs" / RUNS[1] / "run.parquet").to_pylist()[0]
    RunFolder(tmp_path, RUNS[1]).write_run(Run(**{**row, "cohort_id": "d" * 16}))
    common = common_studies(tmp_path, RUNS, "test", "died")
    assert common.n_disputed == 7
    assert {x.n for x in compare(common, n_replicates=0)[0] if x.site == "all"} == {N - 1 - 7}


def test_a_horizon_of_a_survival_run_is_a_question_as_any_other(tmp_path: Path) -> None:
    for run in RUNS:
        timed(tmp_path, run, noise=1)
    common = common_studies(tmp_path, RUNS, "test", HORIZONS[0])
    assert common.metrics[0] == "auroc"
    assert all(g.value == 0 for g in compare(common, n_replicates=20)[1])


def test_what_is_missing_or_of_two_kinds_says_so(tmp_path: Path) -> None:
    for run in RUNS:
        timed(tmp_path, run, noise=1)
    (tmp_path / "cohorts" / ("c" * 16) / "members.parquet").unlink()
    with pytest.raises(ConfigurationError, match="is not in this lake"):
        common_studies(tmp_path, RUNS, "test", "died")
    measured(tmp_path, RUNS[0], noise=1, labels=("x",))
    rows = [predicted(RUNS[1], n, arm, "x", 1.0, 0.5) for n in range(N) for arm in ("untuned", "tuned")]
    finish(tmp_path, RUNS[1], rows, {"kind": "multilabel", "labels": ["x"]}, "auroc")
    with pytest.raises(ConfigurationError, match="choose runs of one task"):
        kind_of(tmp_path, RUNS, "x")


def test_a_rung_of_a_ladder_of_measurements_adds_under_the_same_draws(tmp_path: Path) -> None:
    measured(tmp_path, RUNS[0], noise=8)
    measured(tmp_path, RUNS[1], noise=4)
    first, second = rungs(tmp_path, RUNS)
    assert first.added is None
    assert second.added == pytest.approx(second.value - first.value)
    assert second.added_high < 0, "an error that falls"
