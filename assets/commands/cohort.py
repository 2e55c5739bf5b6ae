"""`rwid cohort`: build, list, show, diff and export cohorts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.console import Bar, Session, table

if TYPE_CHECKING:
    import dagster as dg

    from curation.settings import Settings

app = typer.Typer(
    help="Cohorts: SQL predicates in, members with splits and attrition out.\n\n"
    "Example: rwid cohort build chest-xray-nodule",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("build")
def build(
    context: typer.Context,
    spec: Annotated[str, typer.Argument(help="Path of a YAML file, or the name of a spec.")],
    snapshot: Annotated[int | None, typer.Option(help="Number of a snapshot; the newest by default.")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Make the model-ready tokens as well.")] = False,
    seen: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="KEY=VALUE",
            help="Tokens of that kind: a key of a TuneSpec's model.input, such as kind=volume or size=448. May be repeated.",
        ),
    ] = None,
) -> None:
    """Freeze a cohort: members, patient-level splits, attrition and a card, under an id that is their hash.

    Example: rwid cohort build my-cohort.yaml

    Example: rwid cohort build lung-ct --input kind=volume --input depth=32
    """
    from assets.instance import opened
    from curation.settings import open_home
    from training.spec import parse_input

    session: Session = context.obj
    settings = session.settings()
    asked = {"input": parse_input(seen or []).model_dump(exclude_defaults=True)} if tokens or seen else None
    with opened(open_home(settings)) as instance, session.bar() as bar:
        facts = freeze(instance, settings, spec, bar, snapshot=snapshot, tokens=asked)
    session.done(facts, *shown(facts))


def freeze(
    instance: "dg.DagsterInstance",
    settings: "Settings",
    spec: str,
    bar: Bar,
    *,
    snapshot: int | None = None,
    tokens: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Builds a cohort through Dagster, with its tokens where a recipe for them is given; its summary."""
    from assets.launch import launch
    from curation.cohort import load_spec, summary

    wanted = load_spec(spec, settings.places)
    is_file = Path(spec).is_file()
    config: dict[str, Any] = {
        "cohort": {"spec": str(Path(spec).resolve()) if is_file else spec, "snapshot": snapshot}
    }
    if tokens is not None:
        config["cohort_tokens"] = tokens
    ran = launch(
        instance,
        "build_cohort",
        "cohorts",
        wanted.cohort,
        bar=bar,
        config=config,
        assets=["cohort"] if tokens is None else None,
    )
    return summary(settings.places.lake / "cohorts" / str(ran.materialized["cohort"]["cohort_id"]))


def shown(facts: dict[str, Any]) -> list[Any]:
    """A cohort's attrition and splits as tables."""
    title = f"Cohort {facts['cohort_id']}: {facts['studies']:,} studies, {facts['patients']:,} patients, {facts['sites']} sites"
    columns = ("rule", "studies", "patients", "sites")
    steps = [[step[name] for name in columns] for step in facts["attrition"]]
    return [table(title, columns, steps), table("", ("split", "studies"), list(facts["splits"].items()))]


@app.command("list")
def list_(context: typer.Context) -> None:
    """All frozen cohorts.

    Example: rwid cohort list --json
    """
    import dataclasses

    from curation.cohort import list_cohorts
    from curation.lake import Lake

    session: Session = context.obj
    found = [dataclasses.asdict(one) for one in list_cohorts(Lake(session.settings().places.lake))]
    columns = ("name", "cohort_id", "snapshot", "studies", "patients", "sites")
    rows = [[one[name] for name in columns] for one in found]
    none_yet = "No cohort yet. Freeze one: rwid cohort build SPEC (docs/cohorts.md has one to begin with)."
    session.done({"cohorts": found}, table("", columns, rows) if rows else none_yet)


@app.command("show")
def show(
    context: typer.Context, cohort: Annotated[str, typer.Argument(help="Id, or a name for its newest.")]
) -> None:
    """One cohort: attrition, splits and its card.

    Example: rwid cohort show demo
    """
    from rich.markdown import Markdown

    from curation.cohort import find_cohort, read_facts
    from curation.lake import Lake

    session: Session = context.obj
    folder = find_cohort(Lake(session.settings().places.lake), cohort)
    session.done(read_facts(folder), Markdown((folder / "card.md").read_text(encoding="utf-8")))


@app.command("diff")
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(help="Id or name.")],
    after: Annotated[str, typer.Argument(help="Id or name.")],
) -> None:
    """What changed from one cohort to another, study by study, and why.

    Example: rwid cohort diff 3f2a9c0d1e4b5a67 demo
    """
    from curation.cohort import diff_cohorts
    from curation.lake import Lake

    session: Session = context.obj
    found = diff_cohorts(Lake(session.settings().places.lake), before, after)
    changes = found.changes.to_pylist()
    names = found.changes.column_names
    session.done(
        {"a": found.a, "b": found.b, "counts": found.counts, "changes": changes},
        table(f"{found.a} to {found.b}", ("studies", "how many"), list(found.counts.items())),
        table("", names, [[row[name] for name in names] for row in changes[:50]]),
    )


@app.command("export")
def export(
    context: typer.Context,
    cohort: Annotated[str, typer.Argument(help="Id, or a name for its newest.")],
    folder: Annotated[Path, typer.Argument(help="New folder to write.")],
    format: Annotated[str, typer.Option(help="parquet, croissant, hf or dicom.")] = "parquet",  # noqa: A002 - the contract's word
    frames: Annotated[
        bool, typer.Option("--frames", help="parquet: with the pixels, as the lake keeps them.")
    ] = False,
    size: Annotated[int, typer.Option(help="hf: height and width of an image, px.")] = 224,
    tiles: Annotated[int, typer.Option(help="hf: images a series.")] = 1,
) -> None:
    """Write a cohort to a folder that stands alone: its rows as Parquet with croissant.json, or images for Hugging Face,
    or its objects as DICOM files.

    Example: rwid cohort export demo ./demo-cohort --format dicom
    """
    from curation.cohort import export_cohort
    from curation.lake import Lake
    from curation.pack import PackRecipe

    session: Session = context.obj
    shown = PackRecipe(size=size, tiles_per_series=tiles, text=False)
    lake = Lake(session.settings().places.lake)
    with session.bar() as bar:
        place = export_cohort(
            lake,
            cohort,
            folder,
            format,
            frames=frames,
            tiles=shown,
            progress=lambda done, total: bar.items("export", done, total),
        )
    objects = sum(1 for _ in place.rglob("*.dcm"))
    paths = [path for path in place.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    files = sorted(str(path.relative_to(place)) for path in paths)
    told = f"{place}: {', '.join(files)}" + (f", {objects:,} DICOM files" if objects else "")
    session.done({"folder": str(place), "files": files, "dicom_files": objects}, told)
