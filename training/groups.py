"""Which group each study belongs to: covariates that are yes or no, and columns of `studies`.

What belongs here: reading strata from cohort and snapshot. What does not: which cells they make and which are hidden (cells).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.cohort_folder import read_facts
from curation.lake import Lake
from curation.records import ConfigurationError, schema_of
from curation.records import Study as StudyRow
from training.audit import Item
from training.cells import UNKNOWN
from training.examples import Examples
from training.spec import TuneSpec

Strings = NDArray[np.str_]

_AGE_BANDS = ((0, 18, "0-17"), (18, 40, "18-39"), (40, 65, "40-64"), (65, 999, "65+"))


def read_strata(lake_root: Path, examples: Examples, spec: TuneSpec) -> tuple[dict[str, Strings], list[Item]]:
    """Stratum name -> [N] value of each member, and what could not be had."""
    strata: dict[str, Strings] = {}
    items: list[Item] = []
    for name, values in examples.covariates.items():
        known = values[np.isfinite(values)]
        if set(known.tolist()) <= {0.0, 1.0}:
            strata[name] = np.where(values == 1, "yes", np.where(values == 0, "no", UNKNOWN))
        else:
            items.append(Item("subgroups", name, "not_applicable", None, "the covariate is not yes or no"))
    wanted = [s for s in spec.report.subgroups if s != "site"]
    if not wanted:
        return strata, items
    facts = _study_facts(lake_root, examples)
    for name in wanted:
        column = "age_years" if name == "age_band" else name
        if facts is None:
            items.append(
                Item("subgroups", name, "missing", None, "the cohort's snapshot is not in this lake")
            )
        elif column not in facts:
            raise ConfigurationError(
                f"report.subgroups: {name!r} is no column of studies; there are age_band, {', '.join(sorted(facts))}."
            )
        else:
            values_of = facts[column]
            found = [values_of.get(s) for s in examples.study_id]
            strata[name] = np.array(
                [age_band(v) if name == "age_band" else UNKNOWN if v is None else str(v) for v in found]
            )
    return strata, items


def property_of(examples: Examples, name: str) -> Strings:
    """[N] site of each example, or yes, no and UNKNOWN of a covariate; `none` means the site."""
    if name in ("none", "site"):
        return examples.site
    values = examples.covariates[name]
    return np.where(values == 1, "yes", np.where(values == 0, "no", UNKNOWN))


def _study_facts(lake_root: Path, examples: Examples) -> dict[str, dict[Any, Any]] | None:
    """Plain columns of `studies` at the cohort's snapshot: column -> study -> value; None where the lake has none."""
    number = int(read_facts(examples.folder)["snapshot"])
    if not (lake_root / "snapshots" / f"{number:08d}.json").is_file():
        return None
    plain = [f.name for f in schema_of(StudyRow) if str(f.type) in ("string", "double", "int32", "bool")]
    connection = Lake(lake_root).connect(number)
    try:
        # ids as ids: as text they would match no member, and every value would be unknown
        connection.execute("SET arrow_lossless_conversion = true")
        table: Any = connection.sql(f"SELECT study_id, {', '.join(plain)} FROM studies").to_arrow_table()
    finally:
        connection.close()
    wanted = set(examples.study_id)
    studies = table["study_id"].to_pylist()
    return {
        name: {s: v for s, v in zip(studies, table[name].to_pylist(), strict=True) if s in wanted}
        for name in plain
    }


def age_band(age_years: float | None) -> str:
    """The band of an age; UNKNOWN where there is none."""
    if age_years is None:
        return UNKNOWN
    return next(name for low, high, name in _AGE_BANDS if low <= age_years < high)
