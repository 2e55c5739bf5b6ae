"""One delivery: register what a site handed over, and curate it into staged parts of the lake.

What belongs here: the order of items, duplicates and conflicts, reports finding their study, the accounting. What does
not: the work on one item (steps) and publishing (catalog.publish): a staged delivery is invisible until it has been
checked and published.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curation.deid.verify_lake import Verified, verify_delivery, write_verified
from curation.engine import Crew, Outcome, map_items
from curation.gather import Gathered, Gatherer
from curation.lake import Lake, Part
from curation.link import link_reports
from curation.records import Arrival, ConfigurationError
from curation.restricted import (
    Delivery,
    keep_to_one_key,
    read_delivery,
    write_arrivals,
    write_delivery,
    write_known_studies,
    write_residuals,
)
from curation.settings import Settings, load_key, open_home
from curation.site import NAME, Site, find_site
from curation.source import Item
from curation.sources import SOURCES
from curation.sources.archive import sweep, sweep_orphans
from curation.steps import (
    Planned,
    Stamp,
    look_at_series,
    make_context,
    take_instance,
    take_planned,
    take_report,
)

SERIES_DEADLINE_FILES, MEMBER_S = 10, 3.0
"""A series that is looked at whole has the deadline of that many files, and so many seconds more a file of the longest one."""

Progress = Callable[[str, int, int], None]
"""Called with the step's name, items done and items in all."""


@dataclass(frozen=True, slots=True)
class Curated:
    """What became of a delivery: everything that arrived is an instance, a report, clinical, or refused."""

    delivery: str
    site: str
    part_list: str
    parts: Mapping[str, Sequence[Part]]
    arrivals: int
    instances: int
    reports: int
    clinical: int
    refusals: Mapping[str, int]
    arrival_counts: Mapping[str, int]
    """Arrivals by kind."""
    bytes: int
    seconds: float
    residuals: int
    """What the second look found that ought not to be there; more than none is never published."""
    verify_seconds: float
    """Of `seconds`, those of the second look."""


def code_version() -> str:
    """The version of rwid that stands in every row."""
    return importlib.metadata.version("rwid")


def register(settings: Settings, src: Path, site: str, name: str | None = None) -> Delivery:
    """Remembers a delivery: a folder, file or archive that stays where it is. The same again replaces it.

    Raises ConfigurationError where the source, the site or the name will not do.
    """
    places = open_home(settings)
    src = src.resolve()
    if not src.exists():
        raise ConfigurationError(
            f"Nothing lies at {src}. Give the folder, file or archive that the site delivered."
        )
    if src.is_relative_to(places.lake) or places.home.is_relative_to(src):
        raise ConfigurationError(
            f"{src} holds this home's own data. Give the folder that the site delivered."
        )
    find_site(places, site)
    # the default name is a hash: a folder is often called after a patient
    name = name or f"{site}-{hashlib.sha256(os.fsencode(src)).hexdigest()[:8]}"
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            "A delivery's name has small letters, digits, '.', '_' and '-' only, 64 at most."
        )
    path = places.deliveries / f"{name}.json"
    if path.exists() and (known := read_delivery(places, name)).site != site:
        raise ConfigurationError(
            f"Delivery '{name}' came from site '{known.site}'. Give another --delivery name."
        )
    delivery = Delivery(name, site, src, datetime.now(UTC).isoformat(timespec="seconds"))
    write_delivery(places, delivery)
    return delivery


def curate(settings: Settings, name: str, progress: Progress | None = None) -> Curated:
    """Walks every item of a registered delivery and stages the rows; publishes nothing.

    The same delivery gives the same parts, whatever the number of workers. Raises ConfigurationError where site, profile
    or key are wrong, before anything is read.
    """
    started = time.monotonic()
    places = open_home(settings)
    delivery = read_delivery(places, name)
    site = find_site(places, delivery.site)
    stamp = Stamp(delivery.site, delivery.delivery, code_version())
    profile = site.profile or settings.profile
    setup = (load_key(settings), profile, stamp, settings.max_file_mib << 20, site)
    context = make_context(*setup)
    keep_to_one_key(places, context.pseudonyms.key_id)
    spool = places.restricted / "spool" / f"{name}-{os.getpid()}"
    sweep_orphans(spool.parent)
    with Crew(settings.n_workers) as crew:
        desk = _Desk(settings, setup, crew, progress or (lambda what, done, total: None))
        try:
            items = _arrived(delivery, spool, progress)
            gatherer = Gatherer(Lake(places.lake), context, items)
            _walk_instances(gatherer, desk)
            _walk_reports(gatherer, desk)
            gathered = gatherer.finish()
        finally:
            sweep(spool)
        _remember(settings, gathered)
        lake = Lake(places.lake)
        verified = verify_delivery(settings, name, delivery.site, gathered.parts, progress, crew=crew)
    write_residuals(places, name, verified.residuals)
    part_list = lake.stage(name, {**gathered.parts, **write_verified(lake, verified)})
    return _counted(delivery, part_list, gathered, verified, time.monotonic() - started)


def _arrived(delivery: Delivery, spool: Path, progress: Progress | None) -> list[Item]:
    if not delivery.source.exists():
        raise ConfigurationError(
            f"Delivery '{delivery.delivery}' has gone from where it was registered. Bring it back, or register it anew."
        )
    spool.mkdir(parents=True, mode=0o700, exist_ok=True)
    items = []
    for item in SOURCES["folder"](delivery.source, spool):
        items.append(item)
        if progress and len(items) % 100 == 0:
            progress("arrive", len(items), 0)
    return items


Setup = tuple[bytes, str, Stamp, int, Site]
"""What make_context needs, in its order: all that is sent to a worker."""


@dataclass(frozen=True, slots=True)
class _Desk:
    """Who does the work of one delivery: all its passes have the same workers, each of which starts once."""

    settings: Settings
    setup: Setup
    crew: Crew
    progress: Progress

    def map(
        self, step: Callable[[Any, Any], Any], items: Iterable[Any], deadline_s: float | None = None
    ) -> Iterator[Outcome]:
        return map_items(
            step,
            items,
            workers=self.settings.n_workers,
            deadline_s=deadline_s or self.settings.file_deadline_s,
            memory_mib=self.settings.worker_memory_mib,
            initializer=make_context,
            initargs=self.setup,
            crew=self.crew,
        )


def _walk_instances(gatherer: Gatherer, desk: _Desk) -> None:
    items = gatherer.dicom_items()
    outcomes = desk.map(take_instance, (item.file for _, item in items))
    for done, ((position, _), outcome) in enumerate(zip(items, outcomes, strict=True), start=1):
        gatherer.add_instance(position, outcome)
        desk.progress("images", done, len(items))
    planned = list(_look_at_series(gatherer, desk))
    outcomes = desk.map(take_planned, (item for _, item in planned))
    for done, ((position, _), outcome) in enumerate(zip(planned, outcomes, strict=True), start=1):
        gatherer.add_planned(position, outcome)
        desk.progress("looked-at images", done, len(planned))


def _look_at_series(gatherer: Gatherer, desk: _Desk) -> Iterator[tuple[int, Planned]]:
    """Position and plan of every deferred file, in order of arrival; a series that cannot be looked at is refused whole."""
    groups = gatherer.deferred_series()
    files = [[gatherer.file(position) for position in group] for group in groups]
    # one worker sees a series whole, so it has the time of several files
    longest = max(map(len, groups), default=0)
    deadline_s = desk.settings.file_deadline_s * SERIES_DEADLINE_FILES + MEMBER_S * longest
    found: list[tuple[int, Planned]] = []
    outcomes = desk.map(look_at_series, files, deadline_s)
    for done, (group, paths, outcome) in enumerate(zip(groups, files, outcomes, strict=True), start=1):
        plans = outcome.value or [outcome.refused or "internal_fault"] * len(group)
        for position, path, plan in zip(group, paths, plans, strict=True):
            if isinstance(plan, str):
                gatherer.refuse(position, "pixels", plan)
            else:
                found.append((position, Planned(path, plan)))
        desk.progress("series", done, len(groups))
    yield from sorted(found, key=lambda pair: pair[0])


def _walk_reports(gatherer: Gatherer, desk: _Desk) -> None:
    linked = link_reports(gatherer, desk.settings.places)
    outcomes = desk.map(take_report, (report for _, report in linked))
    for done, ((position, _), outcome) in enumerate(zip(linked, outcomes, strict=True), start=1):
        gatherer.add_report(position, outcome)
        desk.progress("reports", done, len(linked))


def _remember(settings: Settings, gathered: Gathered) -> None:
    now = datetime.now(UTC)
    stamp = gathered.stamp
    arrivals = (
        Arrival(item.path, item.kind, digest, item.bytes, stamp.site, stamp.delivery, now)
        for item, digest in zip(gathered.items, gathered.digests, strict=True)
    )
    write_arrivals(settings.places, stamp.delivery, arrivals)
    write_known_studies(settings.places, stamp.delivery, gathered.known_studies)


def _counted(
    delivery: Delivery, part_list: str, gathered: Gathered, verified: Verified, seconds: float
) -> Curated:
    became = Counter(gathered.became)
    reasons = Counter(reason for reason in gathered.reasons if reason)
    return Curated(
        delivery=delivery.delivery,
        site=delivery.site,
        part_list=part_list,
        parts=gathered.parts,
        arrivals=len(gathered.items),
        instances=became["instance"],
        reports=became["report"],
        clinical=became["clinical"],
        refusals=dict(sorted(reasons.items())),
        arrival_counts=dict(sorted(Counter(item.kind for item in gathered.items).items())),
        bytes=sum(item.bytes for item in gathered.items),
        seconds=seconds,
        residuals=verified.n_blocking,
        verify_seconds=verified.seconds,
    )


def deliveries(settings: Settings) -> Iterator[Delivery]:
    """Every registered delivery, by name."""
    for path in sorted(settings.places.deliveries.glob("*.json")):
        yield read_delivery(settings.places, path.stem)
