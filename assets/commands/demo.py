"""`rwid demo`: the whole road on generated data, headless, through the same jobs as everything else."""

import os
import shutil
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.commands.cohort import freeze
from assets.commands.cohort import shown as shown_cohort
from assets.commands.ingest import take_in
from assets.commands.runs import shown_metrics
from assets.commands.tune import tune_and_follow
from assets.console import Bar, Session, size, table

if TYPE_CHECKING:
    import dagster as dg

    from curation.settings import Places, Settings

SITES = 4
SEED = 7
PYDICOM = "pydicom"
SYNTHETIC = (
    "Everything here is synthetic: persons, pictures, reports and outcomes are generated, except the DICOM test files "
    "that ship inside the pydicom package. The numbers show that the road works, nothing about medicine."
)


def demo(
    context: typer.Context,
    patients: Annotated[int, typer.Option(help="Synthetic patients, over all sites.", min=SITES)] = 480,
    profile: Annotated[
        str, typer.Option(help="Size of the synthetic images: tiny, demo or default.")
    ] = "demo",
) -> None:
    """The whole road on generated hospitals: lake, cohort, tuned model, numbers. A second run takes up what is there.

    Example: rwid demo

    Example: rwid demo --home /data/rwid-demo --json
    """
    from assets.instance import opened
    from curation.settings import open_home

    session: Session = context.obj
    settings = session.settings()
    places = open_home(settings)
    next_command = _next(session, places)
    began = time.monotonic()
    session.say(SYNTHETIC)
    with opened(places) as instance, session.bar() as bar:
        deliveries = dict(_deliveries(session, places, patients, profile, bar))
        taken = [_take_once(session, instance, settings, site, src, bar) for site, src in deliveries.items()]
        session.say("Cohort and its tokens …")
        cohort = freeze(instance, settings, "demo", bar, tokens=_tokens(settings))
        session.say("Tuning, untuned beside tuned …")
        run = tune_and_follow(instance, settings, "demo", str(cohort["cohort_id"]), [], bar)
    seconds = round(time.monotonic() - began, 1)
    built = _built(settings)
    facts = {
        "home": str(places.home), "deliveries": taken, "cohort": cohort, "run": run, "tables": built,
        "seconds": seconds, "next": next_command,
    }  # fmt: skip
    session.done(facts, *_shown(facts))


def _deliveries(
    session: Session, places: "Places", patients: int, profile: str, bar: Bar
) -> Iterator[tuple[str, Path]]:
    """Site and folder of everything the demo takes in."""
    folder = places.restricted / "demo"
    if not folder.exists():
        from curation.synth import generate

        session.say(f"Making {SITES} synthetic hospitals with {patients} patients …")
        aside = folder.with_name(f".demo-{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        generate(
            aside, sites=SITES, patients=patients, seed=SEED, profile=profile,
            progress=lambda done, total: bar.items("patients", done, total),
        )  # fmt: skip
        aside.rename(folder)  # whole or not at all: a second run takes it up
    for site in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield site.name, site
    with resources.as_file(resources.files("pydicom") / "data") as files:
        yield PYDICOM, files


def _take_once(
    session: Session, instance: "dg.DagsterInstance", settings: "Settings", site: str, src: Path, bar: Bar
) -> dict[str, Any]:
    """One delivery into the lake; one that is there already is left alone."""
    from curation.lake import Lake

    name = f"demo-{site}"
    lake = Lake(settings.places.lake)
    head = lake.head()
    if head is not None and name in head.deliveries:
        session.say(f"{site}: in the lake already")
        parts = lake.part_list(head.deliveries[name])
        rows = {table_: sum(part.rows for part in parts[table_]) for table_ in ("instances", "reports")}
        return {"delivery": name, **rows, "snapshot": head.number, "is_new": False}
    session.say(f"{site} …")
    return take_in(instance, settings, src, site, name, bar) | {"is_new": True}


def _tokens(settings: "Settings") -> dict[str, Any]:
    """The token recipe that the demo's TuneSpec will ask for."""
    from training.spec import load_spec

    seen = load_spec("demo", folders=[settings.places.recipes]).model.input
    return {"input": seen.model_dump(exclude_defaults=True)}


def _built(settings: "Settings") -> list[dict[str, Any]]:
    from curation.lake import Lake

    lake = Lake(settings.places.lake)
    parts = lake.parts(lake.snapshot())
    return [
        {"table": name, "rows": sum(p.rows for p in found), "bytes": sum(p.bytes for p in found)}
        for name, found in parts.items()
    ]


def _next(session: Session, places: "Places") -> str:
    """The one command that opens the pages of this home, from where the demo was started."""
    if session.home is not None:
        return f"rwid up --home {session.home}"
    is_default = places.home == Path("rwid-home").resolve()
    return "make up" if is_default and Path("Makefile").is_file() else "rwid up"


def _shown(facts: dict[str, Any]) -> Iterator[Any]:
    rows = [
        (
            *(one.get(name) for name in ("delivery", "arrivals", "instances", "reports", "clinical")),
            _refused(one),
        )
        for one in facts["deliveries"]
    ]
    yield table(
        "What came in (synthetic, and pydicom's test files)",
        ("delivery", "arrivals", "instances", "reports", "clinical", "refused"),
        rows,
    )
    yield table(
        "What was built",
        ("table", "rows", "size"),
        [(t["table"], t["rows"], size(t["bytes"])) for t in facts["tables"]],
    )
    yield from shown_cohort(facts["cohort"])
    yield from shown_metrics(facts["run"])
    yield f"{facts['seconds']:.0f} s. {SYNTHETIC}"
    yield f"Look at it: {facts['next']}"


def _refused(one: dict[str, Any]) -> str:
    if "refusals" not in one:
        return "in the lake already"
    return ", ".join(f"{reason} {n}" for reason, n in one["refusals"].items()) or "none"
