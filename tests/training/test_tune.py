"""A planted signal is found by every method, noise is not, and a run's folder tells all."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation.records import ConfigurationError, Metric, Prediction, Run, schema_of
from tests.training.planted import SIZE, lay_down, tree
from training.job import Diverged, Stopped
from training.runs import list_runs, read_run
from training.spec import parse_spec, run_id
from training.tune import tune

torch.set_num_threads(1)


def quiet(facts: dict[str, object]) -> None:
    """Nobody listens."""


def value(run: Path, **where: str) -> float | None:
    cell = {"split": "holdout", "site": "all", "subgroup": "all", "name": "auroc", "arm": "tuned", **where}
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    (row,) = [r for r in rows if all(r[k] == v for k, v in cell.items())]
    return row["value"]


@pytest.mark.parametrize("method", ["probe", "cut", "lora", "last_n", "full"])
def test_every_method_finds_a_planted_signal(tmp_path: Path, method: str) -> None:
    lay_down(tmp_path)
    run = tune(tmp_path, parse_spec(tree(method)), report=quiet)
    assert (value(run) or 0) > 0.95
    assert (value(run, split="test") or 0) > 0.95


def test_tuning_the_backbone_lowers_the_loss_and_beats_the_frozen_probe_where_the_probe_is_weak(
    tmp_path: Path,
) -> None:
    lay_down(tmp_path, n=240, signal=10)
    budget = {"max_epochs": 12, "patience": 12}
    method = {"kind": "full", "lr": 3e-3, "batch_size": 16}
    run = tune(
        tmp_path, parse_spec(tree(method=method, budget=budget, data={"augment": "none"})), report=quiet
    )
    history = pq.read_table(run / "history.parquet").to_pylist()
    losses = [row["value"] for row in history if row["name"] == "train/loss"]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    gain, low = (
        value(run, arm="gain"),
        json.loads((run / "report.json").read_text())["headline"]["holdout"]["gain"]["low"],
    )
    assert gain is not None
    assert gain > 0.03
    assert low > 0, "the interval of the paired gain lies above zero"


@pytest.mark.parametrize("method", ["probe", "cut"])
def test_noise_gives_no_signal(tmp_path: Path, method: str) -> None:
    lay_down(tmp_path, n=240, signal=0)
    run = tune(tmp_path, parse_spec(tree(method)), report=quiet)
    assert 0.3 < (value(run) or 0) < 0.7
    assert "a gain" not in json.loads((run / "report.json").read_text())["verdict"]


def test_several_tiles_a_series_and_several_classes(tmp_path: Path) -> None:
    lay_down(tmp_path, tiles=2, n_classes=3)
    task = {"kind": "multiclass", "labels": ["grade"], "covariates": ["fibrosis"]}
    model = {"id": "builtin:tiny-vit", "input": {"size": SIZE, "tiles": 2}}
    run = tune(tmp_path, parse_spec(tree("cut", task=task, model=model)), report=quiet)
    assert (value(run, label="macro") or 0) > 0.95
    predictions = pq.read_table(run / "predictions.parquet").to_pylist()
    assert {p["label"] for p in predictions} == {"grade=0", "grade=1", "grade=2"}
    by_study: dict[object, float] = {}
    for p in predictions:
        if p["arm"] == "tuned":
            by_study[p["series_id"]] = by_study.get(p["series_id"], 0) + p["score"]
    assert all(total == pytest.approx(1, abs=1e-6) for total in by_study.values())


def test_leaving_sites_out_judges_each_site_by_a_fit_that_never_saw_it(tmp_path: Path) -> None:
    lay_down(tmp_path, holdout=False)
    run = tune(tmp_path, parse_spec(tree("cut", split={"policy": "leave_one_site_out"})), report=quiet)
    for site in ("northside", "southside", "st-elsewhere"):
        assert (value(run, site=site) or 0) > 0.9
    held = [p for p in pq.read_table(run / "predictions.parquet").to_pylist() if p["split"] == "holdout"]
    assert len(held) == 2 * 96, "both arms judge every study once more"


def test_a_run_folder_tells_all_in_the_shapes_of_the_tables(tmp_path: Path) -> None:
    lay_down(tmp_path)
    heard: list[dict[str, object]] = []
    spec = parse_spec(tree("cut"))
    run = tune(tmp_path, spec, report=heard.append)
    assert run.name == run_id(spec, next((tmp_path / "cohorts").iterdir()).name)
    for row_class, file in ((Run, "run"), (Metric, "metrics"), (Prediction, "predictions")):
        assert pq.read_schema(run / f"{file}.parquet").equals(schema_of(row_class))
    for name in ("spec.json", "env.json", "head.safetensors", "adapter.safetensors", "preprocess.json", "model_card.md",
                 "report.parquet", "history.parquet", "metrics.jsonl", "precheck.json"):  # fmt: skip
        assert (run / name).stat().st_size, name
    page = (run / "report.html").read_text()
    assert "<svg" in page
    assert "http" not in page, "the page needs nothing but itself"
    facts = read_run(tmp_path, run.name)
    assert (facts["status"], facts["progress"]) == ("done", 1.0)
    assert [r["run_id"] for r in list_runs(tmp_path)] == [run.name]
    shares = [f["progress"] for f in heard if "progress" in f]
    assert shares == sorted(shares), "progress never goes back"
    kinds = {f["kind"] for f in heard}
    assert {"progress", "epoch", "done"} <= kinds
    # every subgroup and site is a row of its own
    rows = pq.read_table(run / "metrics.parquet").to_pylist()
    assert {r["subgroup"] for r in rows} == {"all", "fibrosis=yes", "fibrosis=no"}
    assert {r["site"] for r in rows} == {"all", "northside", "southside", "st-elsewhere"}


def test_members_whose_frames_cannot_be_read_are_in_no_split_and_are_counted(tmp_path: Path) -> None:
    gone = (0, 5, 50)
    folder = lay_down(tmp_path, left_out=gone)
    run = tune(tmp_path, parse_spec(tree("cut")), report=quiet)
    members = pq.read_table(folder / "members.parquet")["series_id"].to_pylist()
    judged = set(pq.read_table(run / "predictions.parquet")["series_id"].to_pylist())
    assert judged == {s for i, s in enumerate(members) if i not in gone}
    report = json.loads((run / "report.json").read_text())
    assert report["precheck"]["left_out"] == {"decoder_failed": 3}
    assert sum(report["precheck"]["splits"].values()) == report["precheck"]["n"] == 93
    assert "3 of 96 members are in no split" in " ".join(report["precheck"]["warnings"])
    assert [i["value"] for i in report["items"] if i["item"] == "left out: decoder_failed"] == [3.0]
    assert (value(run) or 0) > 0.95, "the others' pixels go with their own labels"


def test_a_finished_run_is_given_back_untouched(tmp_path: Path) -> None:
    lay_down(tmp_path)
    spec = parse_spec(tree("probe"))
    run = tune(tmp_path, spec, report=quiet)
    before = (run / "report.json").stat().st_mtime_ns
    assert tune(tmp_path, spec, report=quiet) == run
    assert (run / "report.json").stat().st_mtime_ns == before


def test_the_frozen_pass_is_shared_between_runs_and_made_again_for_another_cut(tmp_path: Path) -> None:
    folder = lay_down(tmp_path)
    caches = folder / "packs" / "byhand" / "cache"
    tune(tmp_path, parse_spec(tree("cut")), report=quiet)
    (first,) = caches.iterdir()
    stamp = (first / "hidden.npy").stat().st_mtime_ns
    tune(tmp_path, parse_spec(tree("cut", seed=8)), report=quiet)
    assert [p.name for p in caches.iterdir()] == [first.name]
    assert (first / "hidden.npy").stat().st_mtime_ns == stamp
    tune(tmp_path, parse_spec(tree("cut", method={"kind": "cut", "blocks": 1, "views": 2})), report=quiet)
    assert len(list(caches.iterdir())) == 2


def test_cut_and_last_n_are_the_same_training_where_nothing_is_augmented(tmp_path: Path) -> None:
    lay_down(tmp_path, signal=8)
    scores = []
    for method in ("cut", "last_n"):
        run = tune(tmp_path, parse_spec(tree(method, data={"augment": "none"})), report=quiet)
        rows = pq.read_table(run / "predictions.parquet").to_pylist()
        scores.append([r["score"] for r in rows if r["arm"] == "tuned"])
    assert (
        np.abs(np.array(scores[0]) - np.array(scores[1])).max() < 5e-3
    )  # activations are kept in half precision


def test_a_request_to_stop_keeps_the_state_and_the_next_start_goes_on(tmp_path: Path) -> None:
    lay_down(tmp_path)
    spec = parse_spec(tree("cut"))
    asked: list[int] = []

    def listen(facts: dict[str, object]) -> None:
        if facts.get("stage") == "tuning" and int(str(facts["step"])) >= 10:
            asked.append(1)

    with pytest.raises(Stopped):
        tune(tmp_path, spec, report=listen, should_stop=lambda: bool(asked))
    (facts,) = list_runs(tmp_path)
    assert facts["status"] == "stopped"
    assert (facts["path"] / "checkpoints" / "cohort.pt").is_file()
    first_steps: list[int] = []

    def count(told: dict[str, object]) -> None:
        if told.get("stage") == "tuning":
            first_steps.append(int(str(told["step"])))

    tune(tmp_path, spec, report=count)
    assert first_steps[0] > 10, "it went on, it did not begin again"
    assert read_run(tmp_path, facts["run_id"])["status"] == "done"


def test_a_loss_that_is_no_number_ends_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    lay_down(tmp_path)
    method = {"kind": "full", "lr": 0.9, "head_lr": 0.9, "batch_size": 8}
    spec = parse_spec(tree(method=method))
    from training import method as rooms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "LAYER_DECAY", float("inf"))  # a learning rate that cannot but diverge
        with pytest.raises(Diverged, match=r"Lower method\.lr"):
            tune(tmp_path, spec, report=quiet)
    (facts,) = list_runs(tmp_path)
    assert facts["status"] == "failed"
    assert "not a number" in facts["message"]
    assert not (facts["path"] / "metrics.parquet").exists(), "a failure is never turned into a number"


def test_a_gpu_that_is_not_there_is_refused_before_compute(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    lay_down(tmp_path)
    with pytest.raises(ConfigurationError, match=r"compute\.device"):
        tune(tmp_path, parse_spec(tree("cut", compute={"device": "cuda"})), report=quiet)
