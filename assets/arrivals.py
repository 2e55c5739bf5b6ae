"""What arrived. Wiring only: registering and reading are the work of curation.delivery and curation.restricted."""

import dagster as dg

from assets.guarded import guarded
from assets.partitions import deliveries
from assets.resources import RwidHome


@dg.asset(
    group_name="arrived",
    partitions_def=deliveries,
    kinds={"dicom"},
    description="One delivery as a site handed it over. Raw: it stays under restricted/, and only its name is told here.",
)
def arrivals(context: dg.AssetExecutionContext, rwid: RwidHome) -> dg.MaterializeResult:
    """What is registered under the partition's name; what lies in it is counted when it is walked."""
    from curation.restricted import read_delivery

    delivery = guarded(read_delivery, rwid.settings().places, context.partition_key)
    return dg.MaterializeResult(
        metadata={"site": delivery.site, "registered_at_utc": delivery.registered_at_utc},
    )
