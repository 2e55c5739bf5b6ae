"""Corrections of labels as one commit. Wiring only: curation.relabel checks and records them.

What does not belong here: who made them up (the command, the pages) and what a cohort makes of them.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from assets.guarded import guarded
from assets.metadata import schema_of
from assets.partitions import relabels as partitions
from assets.resources import RwidHome
from curation.records import DECIDED

if TYPE_CHECKING:
    from curation.relabel import Recorded


class RelabelConfig(dg.Config):
    """The corrections of one partition."""

    cohort: str
    """Name or id of the cohort whose labels are corrected."""
    at_utc: str
    """When, ISO 8601 with its time zone: a retry records the same rows."""
    corrections: list[dict[str, str]]
    """Columns of curation.relabel: study_id, label, value, role, reason, and run_id where one is known."""


@dg.asset(
    group_name="cohort",
    partitions_def=partitions,
    kinds={"parquet"},
    pool="lake",
    description=DECIDED["relabels"].__doc__,
    metadata={"dagster/column_schema": schema_of("relabels")},
)
def relabels(
    context: dg.AssetExecutionContext, rwid: RwidHome, config: RelabelConfig
) -> dg.MaterializeResult:
    """Records the corrections; the cohort that is built next uses them."""
    done = guarded(_record, rwid, config)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": done.n, "changed": done.n_changed, "snapshot": done.snapshot.number},
        data_version=dg.DataVersion(context.partition_key),
    )


def _record(rwid: RwidHome, config: RelabelConfig) -> "Recorded":
    from curation.relabel import make_correction, record

    rows = [make_correction(facts, f"correction {n}") for n, facts in enumerate(config.corrections, start=1)]
    return record(rwid.lake(), config.cohort, rows, datetime.fromisoformat(config.at_utc))
