"""`rwid tune`: launch a run and follow it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.commands.runs import shown_metrics
from assets.console import Bar, Session

if TYPE_CHECKING:
    import dagster as dg

    from curation.settings import Settings


def tune(
    context: typer.Context,
    spec: Annotated[str, typer.Argument(help="Path of a YAML file, or the name of a recipe.")],
    cohort: Annotated[str | None, typer.Option(help="Name or id of a cohort; else the spec's own.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key; repeatable.")
    ] = None,
) -> None:
    """Tune a foundation model on a cohort, and set it beside the untuned one. A stopped run goes on.

    Example: rwid tune nodule-cut --cohort chest-ct-nodule --set method.blocks=3
    """
    from assets.instance import opened
    from curation.settings import open_home

    session: Session = context.obj
    settings = session.settings()
    with opened(open_home(settings)) as instance, session.bar() as bar:
        facts = tune_and_follow(instance, settings, spec, cohort, set_ or [], bar)
    session.done(facts, *shown_metrics(facts))


def tune_and_follow(
    instance: "dg.DagsterInstance",
    settings: "Settings",
    spec: str,
    cohort: str | None,
    overrides: Sequence[str],
    bar: Bar,
) -> dict[str, Any]:
    """Runs one TuneSpec through Dagster; run_id, status, verdict and metrics."""
    from assets.launch import launch
    from training.runs import RunFolder
    from training.spec import run_id

    wanted, cohort_id = resolve(settings, spec, cohort, overrides)
    lake_root: Path = settings.places.lake
    key = run_id(wanted, cohort_id)
    # by id, not by name: a resumed run must not slip onto a newer cohort of the same name
    pinned = wanted.model_copy(update={"cohort": cohort_id})
    RunFolder(lake_root, key).write_json("spec.json", pinned.model_dump(mode="json"))
    launch(instance, "tune", "runs", key, bar=bar)
    return read(lake_root, key)


def resolve(settings: "Settings", spec: str, cohort: str | None, overrides: Sequence[str]) -> tuple[Any, str]:
    """The TuneSpec asked for and the id of its cohort."""
    from curation.cohort import find_cohort
    from curation.lake import Lake
    from training.spec import load_spec

    chosen = [f"cohort={cohort}"] if cohort else []
    wanted = load_spec(spec, [*overrides, *chosen], [settings.places.recipes])
    return wanted, find_cohort(Lake(settings.places.lake), wanted.cohort).name


def read(lake_root: Path, run_id: str) -> dict[str, Any]:
    """What a finished run says: run_id, status, verdict and its metrics, per site always."""
    import pyarrow.parquet as pq

    from training.runs import read_run

    run = read_run(lake_root, run_id)
    path = lake_root / "runs" / run_id / "metrics.parquet"
    rows = pq.read_table(path).to_pylist() if path.is_file() else []
    whole = [
        {k: v for k, v in row.items() if k not in ("run_id", "subgroup")}
        for row in rows
        if row["subgroup"] == "all"
    ]
    report = run["report"] or {}
    facts = {"run_id": run_id, "status": run["status"], "verdict": report.get("verdict")}
    return {**facts, "metric": report.get("metric", "auroc"), "metrics": whole}
