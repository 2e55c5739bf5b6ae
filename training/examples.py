"""The examples of a run: one per cohort member, in the order of members.parquet, with labels, split and strata.

What belongs here: reading a frozen cohort into arrays. What does not: pixels (batches), judgement (precheck). No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.records import ConfigurationError

Floats = NDArray[np.float64]
Strings = NDArray[np.str_]

SPLITS = ("train", "tune", "test", "holdout")


@dataclass(frozen=True)
class Examples:
    """N members of one cohort, as columns."""

    cohort_id: str
    folder: Path
    study_id: tuple[UUID, ...]
    series_id: tuple[UUID, ...]
    patient_id: tuple[UUID, ...]
    patient: NDArray[np.int64]
    """[N] patient number 0..P-1, in order of first appearance."""
    site: Strings
    split: Strings
    label_names: tuple[str, ...]
    labels: Floats
    """[N, L] 1, 0, -1 uncertain, NaN unknown."""
    covariates: Mapping[str, Floats]
    """name -> [N], NaN unknown."""

    def __len__(self) -> int:
        return len(self.study_id)

    def without(self, left_out: Sequence[int]) -> Examples:
        """The others, in the same order; for members of which there is nothing to show."""
        keep = np.setdiff1d(np.arange(len(self)), left_out)
        return replace(
            self,
            study_id=tuple(self.study_id[i] for i in keep),
            series_id=tuple(self.series_id[i] for i in keep),
            patient_id=tuple(self.patient_id[i] for i in keep),
            patient=np.unique(self.patient[keep], return_inverse=True)[1].astype(np.int64),
            site=self.site[keep],
            split=self.split[keep],
            labels=self.labels[keep],
            covariates={name: values[keep] for name, values in self.covariates.items()},
        )

    @property
    def sites(self) -> list[str]:
        """Sites of the cohort, sorted."""
        return sorted(set(self.site.tolist()))


def read_examples(folder: Path, labels: Sequence[str], covariates: Sequence[str] = ()) -> Examples:
    """The members of a cohort folder. Raises ConfigurationError where a label or covariate is not there."""
    table = pq.read_table(folder / "members.parquet")
    if not len(table):
        raise ConfigurationError(f"Cohort {folder.name} has no members; loosen its rules and build it again.")
    patients = tuple(table["patient_id"].to_pylist())
    numbers: dict[UUID, int] = {}
    patient = np.array([numbers.setdefault(p, len(numbers)) for p in patients], dtype=np.int64)
    return Examples(
        cohort_id=folder.name,
        folder=folder,
        study_id=tuple(table["study_id"].to_pylist()),
        series_id=tuple(table["series_id"].to_pylist()),
        patient_id=patients,
        patient=patient,
        site=np.array(table["site"].to_pylist(), dtype=np.str_),
        split=np.array(table["split"].to_pylist(), dtype=np.str_),
        label_names=tuple(labels),
        labels=_columns(table["labels"].to_pylist(), labels, "label", folder.name),
        covariates=dict(
            zip(
                covariates,
                _columns(table["covariates"].to_pylist(), covariates, "covariate", folder.name).T,
                strict=True,
            )
        ),
    )


def _columns(rows: list[Any], names: Sequence[str], what: str, cohort: str) -> Floats:
    values = np.full((len(rows), len(names)), np.nan)
    seen: set[str] = set()
    places = {name: column for column, name in enumerate(names)}
    for i, row in enumerate(rows):
        for entry in row or ():
            seen.add(entry["name"])
            if entry["name"] in places and entry["value"] is not None:
                values[i, places[entry["name"]]] = entry["value"]
    if missing := [name for name in names if name not in seen]:
        there = ", ".join(sorted(seen)) or "none"
        raise ConfigurationError(
            f"Cohort {cohort} has no {what} {', '.join(missing)}; it has: {there}. Mend task.{what}s."
        )
    return values
