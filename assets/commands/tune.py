"""`rwid tune`: launch a run and follow it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.commands.runs import shown_metrics
from assets.console import Bar, Session, table

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
    ladder: Annotated[
        str | None,
        typer.Option(
            metavar="KIND,KIND", help="One run a method, each from the one before, then all side by side."
        ),
    ] = None,
) -> None:
    """Tune a foundation model on a cohort, and set it beside the untuned one. A stopped run goes on.

    Example: rwid tune nodule-cut --cohort chest-ct-nodule --set method.blocks=3

    Example: rwid tune demo --ladder probe,cut,lora,full --set budget.max_minutes=2
    """
    from assets.instance import opened
    from curation.settings import open_home

    session: Session = context.obj
    settings = session.settings()
    with opened(open_home(settings)) as instance, session.bar() as bar:
        if ladder:
            facts = _climb(instance, settings, spec, cohort, set_ or [], ladder, bar)
            session.done(facts, _shown_ladder(facts))
            return
        facts = tune_and_follow(instance, settings, spec, cohort, set_ or [], bar)
    session.done(facts, *shown_metrics(facts))


def _climb(
    instance: "dg.DagsterInstance",
    settings: "Settings",
    spec: str,
    cohort: str | None,
    overrides: Sequence[str],
    ladder: str,
    bar: Bar,
) -> dict[str, Any]:
    """Every rung as a run of its own, the lower one first; their runs and how they compare."""
    from dataclasses import asdict

    from training.ladder import overrides_of, parse_ladder, rungs

    kinds = parse_ladder(ladder)
    wanted = [resolve(settings, spec, cohort, [*overrides, f"method.kind={kind}"])[0] for kind in kinds]
    before: tuple[str, str] | None = None
    run_ids = []
    for number, (kind, one) in enumerate(zip(kinds, wanted, strict=True), start=1):
        bar.tell(f"{kind} ({number} of {len(kinds)})")
        own = overrides_of(kind, before, one.split.policy)
        run = tune_and_follow(instance, settings, spec, cohort, [*overrides, *own], bar)
        before = (kind, run["run_id"])
        run_ids.append(run["run_id"])
    return {"ladder": [asdict(rung) for rung in rungs(settings.places.lake, run_ids)]}


def _shown_ladder(facts: dict[str, Any]) -> Any:
    """The rungs as a table: each one's headline metric, and what it adds to the rung before."""
    found = facts["ladder"]
    rows = [
        (
            one["kind"], one["run_id"], one["starts_from"], _told(one, "value", "low", "high", ".3f"),
            _told(one, "added", "added_low", "added_high", "+.3f"), one["n"], one["minutes"],
        )
        for one in found
    ]  # fmt: skip
    columns = (
        "method",
        "run",
        "starts from",
        found[0]["metric"],
        "adds to the one before",
        "studies",
        "minutes",
    )
    return table(f"Ladder on {found[0]['split']}, 95 % intervals, the same draws", columns, rows)


def _told(one: dict[str, Any], value: str, low: str, high: str, form: str) -> str | None:
    if one[value] is None:
        return None
    interval = "" if one[low] is None else f" ({one[low]:{form}} to {one[high]:{form}})"
    return f"{one[value]:{form}}{interval}"


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
    from training.precheck import estimate, refuse_problems
    from training.runs import RunFolder
    from training.spec import run_id

    wanted, cohort_id = resolve(settings, spec, cohort, overrides)
    lake_root: Path = settings.places.lake
    key = run_id(wanted, cohort_id)
    # by id, not by name: a resumed run must not slip onto a newer cohort of the same name
    pinned = wanted.model_copy(update={"cohort": cohort_id})
    refuse_problems(estimate(lake_root, pinned))  # at once, not when it is its turn
    RunFolder(lake_root, key).write_json("spec.json", pinned.model_dump(mode="json"))
    launch(instance, "tune", "runs", key, bar=bar, pool="gpu")
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
