"""`rwid deid`: a folder de-identified into a folder, without a lake; or a profile explained.

What belongs here: options, and telling what became of the files. What does not: any of the work (curation.deid.folder).
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.console import Bar, Session, table
from curation.records import REASONS, ConfigurationError
from curation.settings import Settings

if TYPE_CHECKING:
    from curation.site import Site

REMEDIES: Mapping[str, str] = {
    "not_dicom": "Reports and tables: bring them with `rwid ingest`, which links them to their studies.",
    "truncated": "Fetch the file again; the copy is cut off.",
    "malformed": "Export the object again, or mend it with the vendor; nothing partial is released.",
    "encrypted": "Decrypt it before, with the site's own tools.",
    "too_large": "Split the object, or give more memory to a worker (rwid.toml: worker_memory_mib).",
    "unsupported_syntax": "Transcode it to a syntax the docs list, such as JPEG-LS or HTJ2K lossless.",
    "unsupported_class": "See the table of classes in docs/conformance.md; it has no safe way out yet.",
    "directory": "Nothing: a medium's directory names people and holds no object.",
    "document": "Bring it with `rwid ingest`: the text of a document takes the road of reports.",
    "pixel_mismatch": "Header and pixels contradict each other: export the object again.",
    "decoder_failed": "The codestream is damaged: fetch the file again.",
    "timeout": "Run again on a quieter machine, or raise file_deadline_s in rwid.toml.",
    "memory": "Raise worker_memory_mib in rwid.toml, or use fewer --workers.",
    "duplicate": "Nothing: the same object was released from another file.",
    "uid_conflict": "Two files claim one SOP Instance UID; look which one is right, and remove the other.",
    "no_patient": "Give the object a PatientID, or deliver it with the study it belongs to.",
    "identity_suspected": "Say where the device writes names (sites/NAME.toml: burned_in), or leave it out.",
    "internal_fault": "Please report it: rwid itself broke on this input.",
}
"""What to do about each reason; those not here cannot come from a folder."""

SKIPPED: Mapping[str, str] = {
    "link": "symbolic links, not followed",
    "special": "pipes, sockets and devices",
    "unreadable": "files that may not be read, or went away",
    "folder": "folders that may not be opened",
}


def deid(
    context: typer.Context,
    src: Annotated[Path | None, typer.Argument(help="Folder, zip or tar of DICOM files.")] = None,
    dst: Annotated[Path | None, typer.Argument(help="Folder for the released files, outside of SRC.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="basic, research, or the path of a profile file.")
    ] = None,
    site: Annotated[
        str,
        typer.Option(help="Who delivered: part of every pseudonym of a patient, and whose pixel rules hold."),
    ] = "dev",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; else as set, else one for each core.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="PROFILE", help="Say what a profile does, and end.")
    ] = None,
) -> None:
    """De-identify a folder or an archive to a folder, or explain a profile.

    Released files mirror SRC's tree under pseudonymous names. DST/deid_log.parquet has a row for each file: what was done to
    each attribute, which regions of the pixels were blanked, or why it was withheld. What is not understood is withheld.

    Run the same command again to go on after an interruption: what was released under the same policy, key and content is
    left as it is, and the log comes out the same.

    The key that makes the pseudonyms lies in HOME/restricted/key and is made on first use: keep it safe and apart, for the
    same key gives the same pseudonyms to the next delivery. RWID_KEY_FILE or RWID_KEY_COMMAND name another place.

    Example: rwid deid ./raw ./clean --profile research --site st-mary

    Example: rwid deid ./raw ./clean --workers 4 --json > summary.json

    Example: rwid deid ./disc.zip ./clean

    Example: rwid deid --explain basic
    """
    from curation.deid.policy import compile_policy, load_profile

    session: Session = context.obj
    if explain is not None:
        sentences = compile_policy(load_profile(explain)).explain()
        session.done({"profile": explain, "sentences": sentences}, "\n".join(sentences))
        return
    if src is None or dst is None:
        raise ConfigurationError(
            "Name two folders: rwid deid SRC DST; or a profile: rwid deid --explain research."
        )

    from curation.deid.folder import deidentify_folder
    from curation.deid.pseudonyms import Pseudonyms
    from curation.settings import open_home
    from curation.sources.archive import sweep_orphans

    settings = session.settings()
    known = _site(settings, site)
    policy = compile_policy(load_profile(profile or (known and known.profile) or settings.profile))
    open_home(settings)
    key = _key(session, settings)
    spool = settings.places.restricted / "spool" / f"deid-{os.getpid()}"
    sweep_orphans(spool.parent)
    with session.bar() as bar:
        facts = deidentify_folder(
            src,
            dst,
            policy,
            Pseudonyms(key),
            site,
            site_rules=known,
            workers=workers or settings.n_workers,
            progress=_timed(bar),
            deadline_s=settings.file_deadline_s,
            memory_mib=settings.worker_memory_mib,
            spool=spool,
        )
    _warn(session, facts, dst)
    session.done({"policy": policy.version, **facts}, *_shown(policy.version, facts))


def _site(settings: Settings, name: str) -> "Site | None":
    """The site of that name, None where the home knows none: it is only part of the pseudonyms then."""
    from curation.site import load_sites

    return load_sites(settings.places).get(name)


def _key(session: Session, settings: Settings) -> bytes:
    from curation.settings import load_key

    path = settings.places.restricted / "key"
    is_new = not settings.key_command and settings.key_file is None and not path.exists()
    key = load_key(settings)
    if is_new:
        session.say(
            f"Made a new key: {path}. Back it up apart from the data: without it later files of the same patients get other "
            "pseudonyms, and with it whoever has the original identifiers can link them."
        )
    return key


def _timed(bar: Bar) -> Callable[[str, int, int], None]:
    """Progress with a rate and the time left, of each kind of work by itself."""
    began: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        elapsed = now - began.setdefault(what, now)
        rate = (done - 1) / elapsed if elapsed > 1 else 0.0
        note = f"{rate:,.0f}/s, {_duration((total - done) / rate)} left" if rate and done < total else ""
        bar.items(what, done, total, note)

    return tell


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    )


def _warn(session: Session, facts: Mapping[str, Any], dst: Path) -> None:
    for place, n in facts["faults"].items():
        session.say(
            f"Fault in rwid: {place}, {n} times. Please report this line; it holds nothing of the data."
        )
    if facts["strays"]:
        why = " made under another policy, key or site" if facts["is_foreign"] else ""
        session.say(
            f"Warning: {facts['strays']} files in {dst} are not of this run{why}; they are not in its log. "
            "Move them away, or give every policy and key a folder of its own."
        )


def _shown(version: str, facts: Mapping[str, Any]) -> list[Any]:
    kept = f", {facts['kept']} of them by an earlier run" if facts["kept"] else ""
    rows: list[tuple[Any, ...]] = [
        ("read", facts["read"], ""),
        ("released", facts["released"], f"Into DST{kept}; what was done to each stands in deid_log.parquet."),
    ]
    rows += [("not read", n, f"{SKIPPED[what]}.") for what, n in facts["skipped"].items()]
    shown = [table(f"Policy {version}", ("what", "files", ""), rows)]
    if facts["withheld"]:
        why = [(r, n, REASONS[r], _remedy(r, facts)) for r, n in facts["withheld"].items()]
        shown.append(table("Withheld", ("reason", "files", "what it means", "what to do"), why))
    return shown


def _remedy(reason: str, facts: Mapping[str, Any]) -> str:
    remedy = REMEDIES.get(reason, "")
    if reason == "not_dicom":
        reports = facts["reports"]
        return f"{reports:,} look like reports or tables. {remedy}" if reports else "Nothing: not imaging."
    return remedy
