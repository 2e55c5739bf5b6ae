"""Simulated CT of the tuning benchmarks: the same seed, the same picture; cohorts that the tuner reads; outcomes as said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.tuning import bench_comorbidity as bench
from benchmarks.tuning import bench_outcome
from benchmarks.tuning.simulated import make_disease
from curation.synth.chance import stream
from training.batches import Tiles
from training.examples import read_examples
from training.spec import parse_spec
from training.tune import tune


def test_the_same_seed_draws_the_same_people_and_another_seed_others() -> None:
    one, again = bench.people(5, "east", 0, 2, "train"), bench.people(5, "east", 0, 2, "train")
    other = bench.people(6, "east", 0, 2, "train")
    assert all(np.array_equal(a.tile, b.tile) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0].tile, other[0].tile)


def test_both_cohorts_judge_the_same_studies_and_learn_from_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, n in (("N_TRAIN", 8), ("N_TUNE", 4), ("N_TEST", 4), ("N_UNSEEN", 3)):
        monkeypatch.setattr(bench, name, n)
    found = {}
    for name, folder in bench.cohorts(tmp_path, 3).items():
        e = read_examples(folder, ["nodule"], ["emphysema", "fibrosis", "either"])
        judged = {s for s, split in zip(e.study_id, e.split, strict=True) if split in ("test", "holdout")}
        found[name] = (int((e.split == "train").sum()), judged)
        assert Tiles(folder / "packs" / "simulated", len(e)).recipe.size == bench.SIZE
        assert bench.UNSEEN not in set(e.site[e.split != "holdout"])
    assert found["one"][0] == found["varied"][0] == 8
    assert found["one"][1] == found["varied"][1]


def test_the_tuner_takes_a_simulated_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, n in (("N_TRAIN", 24), ("N_TUNE", 12), ("N_TEST", 12), ("N_UNSEEN", 12), ("SIZE", 28)):
        monkeypatch.setattr(bench, name, n)
    cohort = bench.cohorts(tmp_path, 3)["varied"].name
    asked = bench.spec(cohort, 3, {"kind": "cut", "blocks": 1, "batch_size": 8}).model_dump(mode="json")
    tiny = {"id": "builtin:tiny-vit", "input": {"size": 28}}
    budget = {"max_minutes": 5, "max_epochs": 1}
    run = tune(tmp_path, parse_spec({**asked, "model": tiny, "budget": budget}), report=lambda facts: None)
    assert (run / "report.html").is_file()


def test_the_control_hazard_does_not_see_the_picture() -> None:
    sick = make_disease(stream(0, "x"), {"nodule": 1.0, "emphysema": 1.0, "fibrosis": 1.0}, (9.0, 24.0))
    well = make_disease(stream(0, "x"), {"nodule": 0.0, "emphysema": 0.0, "fibrosis": 0.0}, (9.0, 24.0))
    hazard = bench_outcome.log_hazard
    assert hazard(70, 1, sick, "none") == hazard(70, 1, well, "none")
    assert hazard(70, 1, sick, "image") > hazard(70, 1, well, "image") + 1
