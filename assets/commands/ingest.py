"""`rwid ingest`: one delivery into the lake, through the same job that Dagster's sensor launches."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.console import Bar, Session, table

if TYPE_CHECKING:
    import dagster as dg

    from curation.settings import Settings


def ingest(
    context: typer.Context,
    src: Annotated[Path, typer.Argument(help="Folder, zip, tar or file that the site delivered.")],
    site: Annotated[str, typer.Option(help="Who delivered; rwid sites lists the known ones.")],
    delivery: Annotated[
        str | None, typer.Option(help="A name for it; the same name again replaces it.")
    ] = None,
) -> None:
    """Register a delivery and take it into the lake.

    Everything that arrives becomes data, or a refusal with a reason. Checks run before anything becomes visible.

    Example: rwid ingest /data/export-2026-11 --site st-mary --delivery november
    """
    from assets.instance import opened
    from curation.settings import open_home

    session: Session = context.obj
    settings = session.settings()
    with opened(open_home(settings)) as instance, session.bar() as bar:
        facts = take_in(instance, settings, src, site, delivery, bar)
    catalog = settings.places.lake / "catalog" / f"{facts['snapshot']:08d}.duckdb"
    session.done(facts, shown(facts))
    if facts["refusals"]:
        session.say(f"What was refused: rwid refusals --delivery {facts['delivery']}")
    session.say(f"SQL: rwid sql \"FROM studies\"; any DuckDB: ATTACH '{catalog}' AS rwid (READ_ONLY)")


def take_in(
    instance: "dg.DagsterInstance", settings: "Settings", src: Path, site: str, name: str | None, bar: Bar
) -> dict[str, Any]:
    """Registers and curates one delivery; what the contract says of it."""
    from assets.launch import launch
    from curation.delivery import register

    delivery = register(settings, src, site, name)
    ran = launch(instance, "curate_delivery", "deliveries", delivery.delivery, bar=bar)
    staged, published = ran.materialized["instances"], ran.materialized["studies"]
    return {
        "delivery": delivery.delivery,
        "arrivals": staged["arrivals"],
        "instances": staged["released_instances"],
        "reports": staged["released_reports"],
        "clinical": staged["clinical"],
        "refusals": staged["refused"],
        "snapshot": published["snapshot"],
        "warnings": list(ran.warnings),
    }


def shown(facts: dict[str, Any]) -> Any:
    """One delivery's account as a table."""
    refused = [(f"refused: {reason}", n) for reason, n in facts["refusals"].items()]
    rows = [(name, facts[name]) for name in ("arrivals", "instances", "reports", "clinical")] + refused
    return table(f"{facts['delivery']}: snapshot {facts['snapshot']}", ("what", "how many"), rows)
