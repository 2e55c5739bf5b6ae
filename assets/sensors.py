"""What starts work by itself: a complete folder in the inbox becomes a delivery. Wiring only."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.jobs import curate_delivery
from assets.partitions import deliveries
from assets.resources import RwidHome
from curation.records import ConfigurationError

COMPLETE = ".complete"
"""A site may put this empty file into a delivery's folder, last, to say that nothing more will come."""

QUIET_S = 30.0
"""Without the marker, a folder is complete when nothing in it has changed for so long."""


def complete_folders(inbox: Path, now: float, quiet_s: float = QUIET_S) -> Iterator[Path]:
    """Folders `<site>/<delivery>/` of the inbox into which nothing more will come."""
    for folder in sorted(path for path in inbox.glob("*/*") if path.is_dir()):
        if (folder / COMPLETE).exists() or _is_quiet(folder, now, quiet_s):
            yield folder


def _is_quiet(folder: Path, now: float, quiet_s: float) -> bool:
    times = [path.lstat().st_mtime for path in folder.rglob("*")]
    return bool(times) and now - max(*times, folder.stat().st_mtime) >= quiet_s


@dg.sensor(
    name="new_delivery",
    job=curate_delivery,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers every complete folder under restricted/inbox/<site>/<delivery>/ and curates it.",
)
def new_delivery(context: dg.SensorEvaluationContext, rwid: RwidHome) -> dg.SensorResult | dg.SkipReason:
    """One run for every complete folder that is no partition yet."""
    from curation.delivery import register

    settings = rwid.settings()
    found, refused = [], 0
    for folder in complete_folders(settings.places.inbox, time.time()):
        if context.instance.has_dynamic_partition(str(deliveries.name), folder.name):
            continue
        try:
            register(settings, folder, folder.parent.name, folder.name)
        except (
            ConfigurationError
        ):  # an unknown site or a name that will not do: other folders must not wait for it
            refused += 1
            continue
        found.append(folder.name)
    if refused:
        context.log.warning(
            f"{refused} inbox folders have a name or a site that will not do; rwid sites lists sites."
        )
    if not found:
        return dg.SkipReason("Nothing new is complete in the inbox.")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=name, partition_key=name) for name in found],
        dynamic_partitions_requests=[deliveries.build_add_request(found)],
    )
