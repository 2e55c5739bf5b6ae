"""The `rwid` command: one front door. Each subcommand calls one function below it (assets.commands).

What belongs here: the list of subcommands, the options that work everywhere, exit codes. What does not: any work.
Exit codes: 0 done (refusals are data, not errors), 1 a check or a run failed, 2 wrong use or configuration.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from assets.commands import (
    cohort,
    deid,
    demo,
    doctor,
    ingest,
    key,
    next_data,
    predict,
    refusals,
    relabel,
    retrain,
    runs,
    sites,
    sql,
    synth,
    tune,
    up,
    verify,
)
from assets.console import Session
from curation.lake import LakeError
from curation.records import ConfigurationError

EPILOG = (
    "Everywhere, before or after the subcommand: --home DIR (else RWID_HOME, else ./rwid-home) and --json."
)

app = typer.Typer(
    name="rwid",
    help="Raw imaging in; de-identified, tokenized, versioned Parquet cohorts and tuned foundation models out.\n\n"
    "Begin with: rwid demo",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def begin(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Folder of the home; else RWID_HOME, else ./rwid-home.")
    ] = None,
    is_json: Annotated[
        bool, typer.Option("--json", help="Answer with one JSON object on standard output.")
    ] = False,
) -> None:
    """Opens a session for the subcommand."""
    context.obj = Session(home, is_json)


for _name, _function in {
    "demo": demo.demo,
    "up": up.up,
    "ingest": ingest.ingest,
    "refusals": refusals.refusals,
    "deid": deid.deid,
    "verify": verify.verify,
    "sql": sql.sql,
    "tune": tune.tune,
    "predict": predict.predict,
    "next-data": next_data.next_data,
    "queue": next_data.queue,
    "relabel": relabel.relabel,
    "retrain": retrain.retrain,
    "synth": synth.synth,
    "doctor": doctor.doctor,
}.items():
    app.command(_name, epilog=EPILOG)(_function)
app.add_typer(cohort.app, name="cohort")
app.add_typer(key.app, name="key")
app.add_typer(runs.app, name="runs")
app.add_typer(sites.app, name="sites")


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with --home and --json in front, wherever they stood; what follows `--` is left alone."""
    front: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += [word, *left]
            break
        if word == "--json" or word.startswith("--home="):
            front.append(word)
        elif word == "--home" and left:
            front += [word, left.pop(0)]
        else:
            rest.append(word)
    return front + rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one call of the command; its exit code."""
    words = hoist(sys.argv[1:] if arguments is None else arguments)
    answer = Session(is_json="--json" in words)
    try:
        code = app(words, standalone_mode=False)
    except TyperException as error:
        return _wrong_use(error, answer)
    except (ConfigurationError, LakeError) as error:
        return _told(error, answer, 2)
    except KeyboardInterrupt:
        answer.say("Stopped. The same command goes on from here.")
        return 130
    except Exception as error:
        # launch loads Dagster, which half the commands never need
        from assets.launch import ChecksFailedError, RunFailedError

        if isinstance(error, ChecksFailedError | RunFailedError):
            return _told(error, answer, 1)
        raise
    return code if isinstance(code, int) else 0


def _wrong_use(error: TyperException, answer: Session) -> int:
    code = int(getattr(error, "exit_code", 2))
    message = getattr(error, "format_message", lambda: str(error))()
    if message and answer.is_json:
        answer.done({"error": message})
    if hasattr(error, "show"):
        error.show()
    return 2 if code == 1 else code


def _told(error: Exception, answer: Session, code: int) -> int:
    if answer.is_json:
        names = getattr(error, "names", None)
        answer.done({"error": str(error), **({"checks": names} if names else {})})
    answer.err.print(str(error), markup=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
