"""The delivery made visible: one commit that also folds studies, series and patients. Wiring only."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from assets.checks import audit_staged, find_staged, require_checks
from assets.guarded import guarded
from assets.metadata import published_facts, schema_of
from assets.partitions import deliveries
from assets.resources import RwidHome
from curation.records import CATALOGUED, DELIVERED

if TYPE_CHECKING:
    from curation.lake import Snapshot


def _spec(table: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        table,
        deps=list(DELIVERED),
        group_name="catalogued",
        kinds={"parquet", "duckdb"},
        description=CATALOGUED[table].__doc__,
        metadata={"dagster/column_schema": schema_of(table)},
    )


@dg.multi_asset(
    name="catalogued",
    specs=[_spec(table) for table in CATALOGUED],
    partitions_def=deliveries,
    pool="lake",
)
def catalogued(context: dg.AssetExecutionContext, rwid: RwidHome) -> Iterator[dg.MaterializeResult]:
    """Publishes the staged delivery: the snapshot after it shows the delivery whole, the one before not at all."""
    started = time.monotonic()
    staged = find_staged(context)
    if not staged.is_of_this_run:  # published by hand, without the checks that stand between in the job
        require_checks(guarded(audit_staged, rwid.lake(), staged))
    snapshot = guarded(_publish, rwid, context.partition_key, staged.part_list)
    for table, facts in guarded(published_facts, rwid.lake(), snapshot).items():
        yield dg.MaterializeResult(
            asset_key=table,
            metadata=facts | {"seconds": round(time.monotonic() - started, 2)},
            data_version=dg.DataVersion(snapshot.sha256),
        )


def _publish(rwid: RwidHome, delivery: str, part_list: str) -> "Snapshot":
    from curation.catalog import publish
    from curation.deid.pseudonyms import Pseudonyms
    from curation.settings import load_key
    from curation.site import load_sites

    settings = rwid.settings()
    bucket = Pseudonyms(load_key(settings)).split_bucket
    return publish(rwid.lake(), {delivery: part_list}, load_sites(settings.places), bucket)
