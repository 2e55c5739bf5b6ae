"""Subgroups come from the snapshot that the cohort was frozen on: no study's sex, age or maker is lost on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation.cohort import CohortSpec, build_cohort
from tests.curation.cohort_lake import tiny_lake
from training.cells import UNKNOWN
from training.examples import read_examples
from training.groups import read_strata
from training.spec import parse_spec

COHORT = {"cohort": "films", "include": [{"name": "film", "where": "modality = 'DX'"}],
          "labels": {"nodule": "asserted('nodule')"}, "covariates": {"woman": "sex = 'F'"}}  # fmt: skip
TUNE = {"name": "films", "cohort": "films", "model": {"id": "builtin:tiny-vit", "input": {"size": 28}},
        "task": {"kind": "multilabel", "labels": ["nodule"], "covariates": ["woman"]}, "method": {"kind": "probe"},
        "report": {"subgroups": ["site", "sex", "age_band", "manufacturer"]}}  # fmt: skip


def test_every_study_has_its_sex_age_band_and_maker(tmp_path: Path) -> None:
    folder = build_cohort(tiny_lake(tmp_path), CohortSpec.model_validate(COHORT))
    examples = read_examples(folder, ["nodule"], ["woman"])
    strata, items = read_strata(tmp_path, examples, parse_spec(TUNE))
    assert not items
    assert np.array_equal(strata["sex"] == "F", strata["woman"] == "yes")
    assert {"F", "M"} == set(strata["sex"].tolist())
    assert set(strata["manufacturer"].tolist()) == {"Klar"}
    assert {"0-17", "18-39", "40-64", "65+"} == set(strata["age_band"].tolist()) and UNKNOWN not in strata[
        "age_band"
    ]
