"""One delivery as rows, staged but not published. Wiring only: the walk is curation.delivery's work."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.guarded import guarded
from assets.metadata import schema_of, staged_facts
from assets.partitions import deliveries
from assets.resources import Progress, RwidHome
from curation.records import DELIVERED

if TYPE_CHECKING:
    from curation.delivery import Curated

GROUPS = {"findings": "catalogued"}
"""Tables that a delivery brings but that people look for in another group."""


def _spec(table: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        table,
        deps=["arrivals"],
        group_name=GROUPS.get(table, "curated"),
        kinds={"parquet"},
        description=DELIVERED[table].__doc__,
        metadata={"dagster/column_schema": schema_of(table)},
    )


@dg.multi_asset(
    name="curated",
    specs=[_spec(table) for table in DELIVERED],
    partitions_def=deliveries,
)
def curated(
    context: dg.AssetExecutionContext, rwid: RwidHome, progress: dg.ResourceParam[Progress]
) -> Iterator[dg.MaterializeResult]:
    """Walks the delivery, stages its parts, and tells the counts; nothing is visible before `catalogued`."""
    from curation.delivery import curate

    became = guarded(curate, rwid.settings(), context.partition_key, progress.items)
    for table, facts in guarded(staged_facts, rwid.lake(), became).items():
        yield dg.MaterializeResult(
            asset_key=table, metadata=facts | _account(became), data_version=dg.DataVersion(became.part_list)
        )


def _account(became: "Curated") -> dict[str, Any]:
    return {
        "part_list": became.part_list,
        "site": became.site,
        "arrivals": became.arrivals,
        "clinical": became.clinical,
        "released_instances": became.instances,
        "released_reports": became.reports,
        "refused": dict(became.refusals),
        "left_over": became.residuals,
        "seconds": round(became.seconds, 2),
        "second_look_seconds": round(became.verify_seconds, 2),
        "second_look_seconds_per_1000_instances": round(
            1000 * became.verify_seconds / max(1, became.instances), 1
        ),
    }
