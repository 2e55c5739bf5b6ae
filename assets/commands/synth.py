"""`rwid synth`: the generator of hospitals."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from assets.console import Session, table

COLUMNS = ("files", "bytes", "instances", "reports")


def synth(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="New folder: one sub-folder a site, answer_key.parquet beside them.")
    ],
    sites: Annotated[int, typer.Option(help="How many hospitals.", min=1)] = 4,
    patients: Annotated[int, typer.Option(help="How many patients, over all sites.", min=1)] = 40,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    profile: Annotated[str, typer.Option(help="Size of images: tiny, demo or default.")] = "default",
) -> None:
    """Make deliveries that look like what hospitals hand over. All of it is synthetic; the answer key says what is planted.

    Example: rwid synth ./deliveries --sites 4 --patients 40 --seed 7 --profile demo
    """
    from curation.synth import generate

    session: Session = context.obj
    with session.bar() as bar:
        summary = generate(
            folder, sites=sites, patients=patients, seed=seed, profile=profile,
            progress=lambda done, total: bar.items("patients", done, total),
        )  # fmt: skip
    facts = asdict(summary)
    rows = [(site, *(counts.get(name) for name in COLUMNS)) for site, counts in summary.expected.items()]
    told = f"{summary.patients} synthetic patients, {summary.studies} studies, {summary.planted} planted identifiers"
    session.done(facts, table(f"{folder}: {told}", ("site", *COLUMNS), rows))
