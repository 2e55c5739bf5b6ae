"""`rwid refusals`: what was not taken, why, and which files they were."""

from dataclasses import asdict
from typing import Annotated

import typer

from assets.console import Session, table


def refusals(
    context: typer.Context,
    delivery: Annotated[str | None, typer.Option(help="One delivery; all by default.")] = None,
    reason: Annotated[str | None, typer.Option(help="With --files: one reason, such as truncated.")] = None,
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="List the files themselves. RESTRICTED: paths as they arrived may name people."
        ),
    ] = False,
) -> None:
    """What was refused and why: counts by reason, or the files behind them.

    Nothing that arrives is dropped in silence; this is the list to follow up. Mend the files (or the site's settings)
    and ingest the delivery again under its name.

    Example: rwid refusals

    Example: rwid refusals --delivery st-mary-2026-11 --reason truncated --files
    """
    from curation.refusals import count_refusals, refused_files

    session: Session = context.obj
    places = session.settings().places
    if files:
        found = [asdict(one) for one in refused_files(places, delivery, reason)]
        session.say("RESTRICTED: paths as they arrived may name people.")
        rows = [[one[name] for name in ("delivery", "reason", "step", "path")] for one in found]
        session.done({"files": found}, table("", ("delivery", "reason", "step", "path"), rows))
        return
    counts = [asdict(one) for one in count_refusals(places, delivery) if reason in (None, one.reason)]
    columns = ("delivery", "reason", "n", "meaning")
    session.done({"refusals": counts}, table("", columns, [[c[name] for name in columns] for c in counts]))
