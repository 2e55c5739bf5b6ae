"""The same question on what the lake knows now: a run's spec on the next version of its cohort.

What belongs here: which cohort and which run that would be. What does not: building and tuning them (Dagster does).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from curation.cohort_folder import read_spec
from curation.cohort_spec import canonical, cohort_id
from curation.lake import Lake
from curation.records import ConfigurationError
from training.runs import read_run
from training.spec import TuneSpec, parse_spec, run_id


@dataclass(frozen=True, slots=True)
class Retrain:
    """What retraining comes to. The cohort's text is its spec, as YAML reads it."""

    cohort: str
    cohort_id: str
    cohort_text: str
    is_frozen: bool
    """Whether that version of the cohort is there already."""
    spec: TuneSpec
    """The run's spec, on that version."""
    run_id: str
    is_same: bool
    """Whether nothing has come into the lake since: the run would be the one that is there."""


def plan_retrain(lake_root: Path, former: str) -> Retrain:
    """The run's spec and its cohort's spec, both on the newest snapshot.

    Raises ConfigurationError where there is no such run, or its cohort is gone.
    """
    run = read_run(lake_root, former)
    lake = Lake(lake_root)
    old = str(run.get("cohort_id") or run["spec"]["cohort"])
    folder = lake_root / "cohorts" / old
    if not (folder / "cohort.json").is_file():
        raise ConfigurationError(
            f"Cohort {old} of run {former} is not in this lake; build it, then tune on it."
        )
    wanted = read_spec(folder)
    new = cohort_id(wanted, lake.snapshot().sha256)
    spec = parse_spec({**run["spec"], "cohort": new}, source=f"Run {former}")
    return Retrain(
        cohort=wanted.cohort,
        cohort_id=new,
        cohort_text=canonical(wanted),
        is_frozen=(lake_root / "cohorts" / new / "cohort.json").is_file(),
        spec=spec,
        run_id=run_id(spec, new),
        is_same=new == old,
    )
