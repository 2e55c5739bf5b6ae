"""`rwid sites`: who delivers."""

from pathlib import Path
from typing import Annotated

import typer

from assets.console import Session, table

app = typer.Typer(
    help="Sites: list the known ones, add one.\n\n"
    "Example: rwid sites add st-mary --country GB --continent Europe",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def list_(context: typer.Context) -> None:
    """Sites: list the known ones (rwid sites), add one (rwid sites add NAME).

    Example: rwid sites --json
    """
    if context.invoked_subcommand:
        return
    from curation.site import load_sites

    session: Session = context.obj
    found = [
        site.model_dump(exclude={"burned_in"}) | {"burned_in": len(site.burned_in)}
        for _, site in sorted(load_sites(session.settings().places).items())
    ]
    columns = ("name", "title", "country", "continent", "profile")
    session.done({"sites": found}, table("", columns, [[site[name] for name in columns] for site in found]))


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Small letters, digits and '-': becomes a folder and a column value.")
    ],
    country: Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, such as GB.")] = None,
    continent: Annotated[str | None, typer.Option(help="Such as Europe.")] = None,
    title: Annotated[str, typer.Option(help="How people call it.")] = "",
    profile: Annotated[
        str | None, typer.Option(help="De-identification profile, where not the home's.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a site that is known.")] = False,
) -> None:
    """Make a site known to this home.

    Example: rwid sites add st-mary --country GB --continent Europe --title "St Mary's"
    """
    from curation.settings import open_home
    from curation.site import Site, add_site

    session: Session = context.obj
    site = Site(name=name, title=title, country=country, continent=continent, profile=profile)
    path = add_site(open_home(session.settings()), site, replace=replace)
    session.done({**site.model_dump(exclude={"burned_in"}), "path": str(path)}, f"{name} is known: {path}")


@app.command("import-regions")
def import_regions(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A site that is known.")],
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="A CTP pixel anonymizer script or a deid recipe."),
    ],
) -> None:
    """Take over where devices write into pictures: what cannot be expressed is listed.

    Example: rwid sites import-regions st-mary DicomPixelAnonymizer.script
    """
    from curation.deid.regions_import import import_regions as read
    from curation.settings import open_home
    from curation.site import add_regions

    session: Session = context.obj
    imported = read(file.read_text(encoding="utf-8", errors="replace"))
    path = add_regions(open_home(session.settings()), name, imported.rules)
    lines = [f"{len(imported.rules)} rules taken over: {path}"]
    lines += [f"Left out, {line}" for line in imported.left_out]
    lines += [f"Remark, {line}" for line in imported.remarks]
    facts = {"rules": len(imported.rules), "left_out": imported.left_out, "remarks": imported.remarks}
    session.done({**facts, "path": str(path)}, "\n".join(lines))
