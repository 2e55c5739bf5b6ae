"""Simulated judged studies for tests of the evaluation: no cohort on disk, no model."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import numpy as np
from scipy.special import expit

from training.audit import Scores
from training.examples import Examples
from training.spec import TuneSpec, parse_spec

LABELS = ("nodule", "effusion")


def judged(
    folder: Path, n: int = 1200, *, gap: float = 0.0, seed: int = 0
) -> tuple[Examples, np.ndarray, Scores]:
    """n studies of n / 2 patients at three sites; half teach, a fifth watches, the rest is judged.

    gap: how much of its signal the untuned arm loses where `emphysema` is there; tuned loses nothing. `age` tells a little.
    """
    random = np.random.default_rng(seed)
    ids = tuple(UUID(int=i) for i in range(n))
    patient = np.arange(n) // 2
    site = np.array(["east", "north", "south"])[patient % 3]
    split = np.array(["train", "train", "train", "train", "train", "tune", "tune", "test", "test", "test"])[
        patient % 10
    ]
    emphysema = random.integers(0, 2, n).astype(float)
    truth = (random.random((n, 2)) < 0.4).astype(float)
    signal = 2 * truth - 1
    tuned = expit(1.5 * signal + random.normal(size=truth.shape))
    untuned = expit((1.0 - gap * emphysema[:, None]) * 1.5 * signal + random.normal(size=truth.shape))
    covariates = {"emphysema": emphysema, "age": 60 + 5 * truth[:, 0] + 10 * random.normal(size=n)}
    examples = Examples("simulated", folder, ids, ids, ids, patient, site, split, LABELS, truth, covariates)
    facts = {"cohort_id": "simulated", "name": "simulated", "snapshot": 1, "min_cell": 5}
    (folder / "cohort.json").write_text(json.dumps(facts))
    half = np.full(truth.shape, 0.5)
    return (
        examples,
        truth,
        Scores(np.arange(n), split, {"untuned": untuned, "tuned": tuned}, {"untuned": half, "tuned": half}),
    )


def spec(**over: object) -> TuneSpec:
    """A spec for them."""
    tree: dict[str, object] = {
        "name": "simulated",
        "cohort": "simulated",
        "model": {"id": "builtin:tiny-vit"},
        "task": {"kind": "multilabel", "labels": list(LABELS), "covariates": ["emphysema", "age"]},
        "method": {"kind": "probe"},
        "report": {"subgroups": ["site"], "bootstrap": 200, "min_cell": 11},
    }
    return parse_spec({**tree, **over})
