"""`rwid next-data` and `rwid queue`: what to collect next, and whom to label next."""

import csv
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.console import Session, table

if TYPE_CHECKING:
    from training.metrics import Estimate
    from training.next_data import NextData


def next_data(
    context: typer.Context, run_id: Annotated[str, typer.Argument(help="As rwid runs lists it.")]
) -> None:
    """Which data would help a run next: learning curve, what each site adds, where its train split is thin.

    Example: rwid next-data 3f2a9c0d1e4b5a67
    """
    from training import next_data as below
    from training.run_features import read_run_features

    session: Session = context.obj
    with session.bar() as bar:
        of = read_run_features(
            session.settings().places.lake, run_id, progress=lambda n, m: bar.items("frozen features", n, m)
        )
    found = below.next_data(of)
    session.done(_plain(found), *_shown(found))


def queue(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(help="As rwid runs lists it.")],
    n: Annotated[int, typer.Option("--n", help="How many studies.", min=1)] = 50,
    pool: Annotated[
        str | None,
        typer.Option(help="Name or id of a wider cohort to ask from; else the run's own train split."),
    ] = None,
    with_labelled: Annotated[
        bool, typer.Option("--with-labelled", help="Also studies whose label is known, for a second look.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where the ids are written as CSV.")] = None,
) -> None:
    """Studies that a reader should label next: those a run is unsure of, and unlike what it has seen.

    Example: rwid queue 3f2a9c0d1e4b5a67 --n 20 --out queue.csv
    """
    from training import active
    from training.run_features import read_run_features

    session: Session = context.obj
    with session.bar() as bar:
        of = read_run_features(
            session.settings().places.lake, run_id, progress=lambda k, m: bar.items("frozen features", k, m)
        )
        asked = active.ask(
            of, n=n, pool=pool, with_labelled=with_labelled, progress=lambda k, m: bar.items("answers", k, m)
        )
    rows = [{name: _cell(getattr(a, name)) for name in active.COLUMNS} for a in asked]
    if out is not None:
        with out.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, active.COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    title = f"{len(rows)} studies to look at" + (f", in {out}" if out else "")
    session.done(
        {"run_id": run_id, "queue": rows}, table(title, active.COLUMNS, [list(r.values()) for r in rows])
    )


def _cell(value: Any) -> str | int | float:
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, int) else str(value)


def _plain(found: "NextData") -> dict[str, Any]:
    """As JSON; the distance of every member stays out."""
    facts = asdict(found)
    del facts["coverage"]["distance"]
    return facts


def _shown(found: "NextData") -> list[Any]:
    points = [
        (p.n_patients, _said(p.auroc), "measured" if p.is_measured else "by the power law")
        for p in found.curve.points
    ]
    sites = [(s.site, s.n_patients, _said(s.alone), _said(s.added), _said(s.left_out)) for s in found.sites]
    parts = [
        (
            p.name,
            p.n_train,
            p.n_judged,
            f"{p.distance:.2f}" if p.distance is not None else "-",
            _said(p.error),
        )
        for p in (*found.coverage.quarters, *found.coverage.clusters, *found.coverage.groups)
    ]
    return [
        table("Learning curve of a probe on frozen features", ("patients", "AUROC", ""), points),
        table("What each site adds", ("site", "patients", "alone", "added", "lost without it"), sites),
        table("Where the train split is thin", ("part", "teach", "judged", "distance", "error"), parts),
        *found.sentences,
    ]


def _said(e: "Estimate") -> str:
    if e.value is None:
        return "-"
    return f"{e.value:.3f}" + (f" ({e.low:.3f} to {e.high:.3f})" if e.low is not None else "")
