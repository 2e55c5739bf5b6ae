"""A cohort as a Hugging Face dataset: the same rows, splits, order and resume as training.dataset gives.

    splits = open_hf("rwid-home", "demo", labels=["nodule"])
    splits["train"][0]["pixels"], splits["train"][0]["nodule"]

What belongs here: that door; it needs the package `datasets` (pip install 'rwid[hf]'). What does not: what a dataset is
(dataset), a folder for somebody without a lake (curation.hf_folder).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.records import ConfigurationError
from training.dataset import CohortDataset, open_dataset
from training.examples import SPLITS

if TYPE_CHECKING:
    import datasets


def to_hf(dataset: CohortDataset) -> datasets.Dataset:
    """The dataset's rows in its order: ids, site, split, a column a label (NaN unknown), and `pixels` uint8 [T, H, W].

    Pixels are read when rows are, from wherever the dataset has them; nothing is copied into a cache. Row n is the dataset's
    n-th, so `EpochOrder(dataset, seed)` is a sampler for both. Raises ConfigurationError where `datasets` is not installed.
    """
    package = _package()
    said, rows = dataset.examples, dataset.indices
    labels = {name: said.labels[rows, n].astype(np.float32) for n, name in enumerate(said.label_names)}
    columns: dict[str, Any] = {
        "member": rows,
        "study_id": [str(said.study_id[i]) for i in rows],
        "series_id": [str(said.series_id[i]) for i in rows],
        "patient_id": [str(said.patient_id[i]) for i in rows],
        "site": said.site[rows].tolist(),
        "split": said.split[rows].tolist(),
    }
    if taken := sorted(labels.keys() & {*columns, "pixels"}):
        raise ConfigurationError(
            f"A label is called {', '.join(taken)}, as a column is. Name it otherwise in the cohort."
        )
    found: datasets.Dataset = package.Dataset.from_dict(columns | labels)
    return found.with_transform(_shown_by(dataset))


def open_hf(
    home: str | Path, cohort: str, *, labels: Sequence[str], size: int = 224, tiles: int = 1
) -> datasets.DatasetDict:
    """Every split of a cohort that has members, as `to_hf` gives it; arguments and errors are those of `open_dataset`."""
    package = _package()
    everybody = open_dataset(home, cohort, labels=labels, split="all", size=size, tiles=tiles)
    said = everybody.examples
    rows = {split: np.flatnonzero(said.split == split) for split in SPLITS}
    parts = {split: CohortDataset(said, everybody.tiles, r) for split, r in rows.items() if len(r)}
    found: datasets.DatasetDict = package.DatasetDict({split: to_hf(part) for split, part in parts.items()})
    return found


def _shown_by(dataset: CohortDataset) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def shown(rows: dict[str, Any]) -> dict[str, Any]:
        if "member" not in rows:  # columns were selected, and pixels are not among them
            return rows
        return rows | {"pixels": list(dataset.tiles.take(np.asarray(rows["member"], np.int64)))}

    return shown


def _package() -> Any:
    try:
        import datasets
    except ModuleNotFoundError:
        raise ConfigurationError("The package datasets is not installed. pip install 'rwid[hf]'") from None
    return datasets
