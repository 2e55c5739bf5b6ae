"""What is recorded of each study beside its image: the properties by which a model could tell the label without the finding.

What belongs here: reading them at the cohort's snapshot, and making words of numbers. What does not: what they have to do
with labels (reliance). No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import read_facts
from curation.lake import Lake
from training.cells import UNKNOWN
from training.examples import Examples
from training.groups import age_band

Strings = NDArray[np.str_]
Floats = NDArray[np.float64]

_WORDS = (
    "manufacturer",
    "model",
    "station_software",
    "view",
    "sex",
    "photometric",
    "transfer_syntax",
    "bits_stored",
)
_NUMBERS = {"image_size": "rows_px * columns_px", "aspect": "rows_px / columns_px"}
_BANDS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")

RECORDED = (*_WORDS, "age_band", "study_year", *_NUMBERS)
"""Columns besides site."""


def read_columns(lake_root: Path, examples: Examples) -> Mapping[str, Strings] | None:
    """Column -> [N] value of each example's series; `unknown` where it is not recorded, `several` where images of one series
    differ. None where the cohort's snapshot is not in this lake.
    """
    number = int(read_facts(examples.folder)["snapshot"])
    lake = Lake(lake_root)
    if number not in lake.numbers():
        return None
    words = [f"CASE WHEN min({c}) = max({c}) THEN CAST(min({c}) AS VARCHAR) WHEN min({c}) <> max({c}) THEN 'several' END"
             for c in _WORDS]  # fmt: skip
    numbers = [f"CAST(median({sql}) AS DOUBLE)" for sql in _NUMBERS.values()]
    connection = lake.connect(number)
    try:
        rows: list[Any] = connection.execute(
            f"SELECT series_id, min(age_years), year(min(study_date)), {', '.join(words + numbers)} FROM instances "
            "GROUP BY series_id"
        ).fetchall()
    finally:
        connection.close()
    facts = {row[0]: row[1:] for row in rows}
    nothing = (None,) * (2 + len(words) + len(numbers))
    table = [facts.get(series, nothing) for series in examples.series_id]
    found = {
        "age_band": _strings([age_band(row[0]) for row in table]),
        "study_year": _strings([row[1] for row in table]),
    }
    for place, name in enumerate(_WORDS, 2):
        found[name] = _strings([row[place] for row in table])
    for place, name in enumerate(_NUMBERS, 2 + len(_WORDS)):
        found[name] = _quarters([row[place] for row in table], examples.split == "train")
    return found


def _strings(values: Sequence[object]) -> Strings:
    return np.array([UNKNOWN if v is None else str(v) for v in values], dtype=np.str_)


def _quarters(values: Sequence[float | None], train: NDArray[np.bool_]) -> Strings:
    """Which quarter of the train split each number lies in; equal numbers are never parted."""
    numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    known = numbers[train & np.isfinite(numbers)]
    if not len(known):
        return np.full(len(numbers), UNKNOWN)
    band = np.searchsorted(np.quantile(known, [0.25, 0.5, 0.75]), numbers, side="left")
    return np.where(np.isfinite(numbers), np.array(_BANDS)[np.minimum(band, 3)], UNKNOWN)
