"""Retraining: the same spec on the next version of the cohort, named before anything is built."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from curation.cohort import CohortSpec, build_cohort, parse_spec
from curation.records import ConfigurationError
from curation.relabel import Correction, record
from tests.curation.cohort_lake import tiny_lake
from tests.curation.lake_rows import an_id
from training.retrain import plan_retrain
from training.runs import RunFolder
from training.spec import parse_spec as parse_tune_spec
from training.spec import run_id

COHORT = {
    "cohort": "films",
    "include": [{"name": "film", "where": "modality = 'DX'"}],
    "labels": {"nodule": "asserted('nodule')"},
}
TUNE = {"name": "films-probe", "cohort": "films", "model": {"id": "builtin:tiny-vit", "input": {"size": 28}},
        "task": {"kind": "multilabel", "labels": ["nodule"]}, "method": {"kind": "probe"}}  # fmt: skip


def test_a_correction_leads_to_another_cohort_and_another_run_of_the_same_spec(tmp_path: Path) -> None:
    lake = tiny_lake(tmp_path)
    folder = build_cohort(lake, CohortSpec.model_validate(COHORT))
    spec = parse_tune_spec(TUNE | {"cohort": folder.name})
    former = run_id(spec, folder.name)
    RunFolder(tmp_path, former).write_json("spec.json", spec.model_dump(mode="json"))
    same = plan_retrain(tmp_path, former)
    assert (same.is_same, same.is_frozen, same.run_id, same.cohort_id) == (True, True, former, folder.name)
    record(
        lake,
        "films",
        [Correction(an_id("0/0"), "nodule", 0, "radiologist", "image_shows_it", former)],
        datetime(2026, 1, 2, tzinfo=UTC),
    )
    plan = plan_retrain(tmp_path, former)
    assert not plan.is_same and not plan.is_frozen and plan.run_id != former
    built = build_cohort(lake, parse_spec(plan.cohort_text))
    assert built.name == plan.cohort_id == plan.spec.cohort
    assert plan_retrain(tmp_path, former).is_frozen
    assert plan.spec.model_copy(update={"cohort": folder.name}) == spec


def test_a_run_whose_cohort_is_gone_says_so(tmp_path: Path) -> None:
    tiny_lake(tmp_path)
    RunFolder(tmp_path, "ab" * 8).write_json("spec.json", TUNE | {"cohort": "cd" * 8})
    with pytest.raises(ConfigurationError, match="is not in this lake"):
        plan_retrain(tmp_path, "ab" * 8)
