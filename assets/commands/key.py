"""`rwid key`: which key makes the pseudonyms of a home, and a lake under a new one."""

from typing import Annotated

import typer

from assets.console import Session, table
from curation.records import ConfigurationError

app = typer.Typer(
    name="key",
    help="The secret key behind every pseudonym: show its id, or give the lake a new one.\n\nExample: rwid key show",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("show")
def show(context: typer.Context) -> None:
    """Say which key this home keeps to, where it lies, and when it was changed. The key itself is never shown.

    Example: rwid key show
    """
    from curation.deid.pseudonyms import Pseudonyms
    from curation.rekey import is_begun, is_swapping, rotations
    from curation.settings import find_key

    session: Session = context.obj
    settings = session.settings()
    key = find_key(settings)
    if key is None:
        raise ConfigurationError("This home has no key yet; the first delivery makes one.")
    home_key = settings.places.restricted / "key_id"
    where = "RWID_KEY_COMMAND" if settings.key_command else "a file"
    done = rotations(settings.places)
    facts = {
        "key_id": Pseudonyms(key).key_id,
        "home_key_id": home_key.read_text().strip() if home_key.is_file() else None,
        "kept_in": where,
        "unfinished_rotation": is_begun(settings.places),
        "interrupted_rotation": is_swapping(settings.places),
        "rotations": done,
    }
    rows = [(name.replace("_", " "), facts[name]) for name in ("key_id", "home_key_id", "kept_in")]
    shown = [table("Key", ("what", "is"), rows)]
    if done:
        columns = ("done_at_utc", "by", "old_key_id", "new_key_id", "history_kept")
        shown.append(table("Rotations", columns, [[one[c] for c in columns] for one in done]))
    if facts["unfinished_rotation"]:
        session.say("A rotation was begun and is not finished. To go on with it: rwid key rotate")
    session.done(facts, *shown)


@app.command("rotate")
def rotate(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    keep_history: Annotated[
        bool,
        typer.Option(
            help="Keep the old lake and the old key under restricted/former/ instead of erasing them."
        ),
    ] = False,
    accept_differences: Annotated[
        bool,
        typer.Option(
            help="Go on where the sources, under today's rules, give other counts than the lake has."
        ),
    ] = False,
) -> None:
    """Give the lake a new key: new ids, UIDs, dates, digests and tokens for everybody, from the sources.

    Every delivery is curated again under the new key, checked, looked at a second time and counted; only then does the new
    lake take the place of the old one. A killed run goes on with the same command. Cohorts are built anew from their specs,
    with splits drawn anew; token packs and runs are not carried over, and the old lake's history is erased unless kept.

    Example: rwid key rotate --keep-history
    """
    from curation.rekey import rotate as rotate_key

    session: Session = context.obj
    settings = session.settings()
    if not yes:
        _ask(keep_history)
    with session.bar() as bar:
        done = rotate_key(
            settings, keep_history=keep_history, accept_differences=accept_differences, progress=bar.items
        )
    facts = {
        "old_key_id": done.old_key_id,
        "new_key_id": done.new_key_id,
        "deliveries": list(done.deliveries),
        "counts": dict(done.counts),
        "cohorts": dict(done.cohorts),
        "runs_left_behind": done.runs_left,
        "history_kept": done.kept is not None,
    }
    session.say(
        "Files given away earlier, and what Dagster has shown of earlier runs, keep the former ids. "
        "The pixels are the same as before: who has both lakes can match pictures."
    )
    for name in (name for name, made in done.cohorts.items() if not made):
        session.say(f"Cohort {name} could not be built anew: rwid cohort build says why.")
    rows = [("old key", done.old_key_id), ("new key", done.new_key_id), *sorted(done.counts.items())]
    session.done(facts, table("Under a new key", ("what", "is"), rows))


def _ask(keep_history: bool) -> None:
    behind = "stay behind with the old lake" if keep_history else "are erased with the old lake"
    try:
        is_sure = typer.confirm(f"Every id in this home changes; packs and runs {behind}. Go on?", err=True)
    except typer.Abort:  # nobody is there to ask
        is_sure = False
    if not is_sure:
        raise ConfigurationError("Nothing was changed. To rotate without being asked: rwid key rotate --yes.")
