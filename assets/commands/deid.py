"""`rwid deid`: a folder de-identified into a folder, without a lake; or a profile explained."""

from pathlib import Path
from typing import Annotated

import typer

from assets.console import Session, table
from curation.records import ConfigurationError


def deid(
    context: typer.Context,
    src: Annotated[Path | None, typer.Argument(help="Folder of DICOM files.")] = None,
    dst: Annotated[Path | None, typer.Argument(help="Folder for the released files, outside of SRC.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="basic, research, or the path of a profile file.")
    ] = None,
    site: Annotated[str, typer.Option(help="Who delivered: part of every pseudonym of a patient.")] = "dev",
    explain: Annotated[
        str | None, typer.Option(metavar="PROFILE", help="Say what a profile does, and end.")
    ] = None,
) -> None:
    """De-identify a folder to a folder, or explain a profile.

    Released files mirror SRC's tree under pseudonymous names; DST/deid_log.parquet says what was done to each.

    Example: rwid deid ./raw ./clean --profile research --site st-mary

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
    from curation.settings import load_key, open_home

    settings = session.settings()
    open_home(settings)
    policy = compile_policy(load_profile(profile or settings.profile))
    with session.bar() as bar:
        facts = deidentify_folder(
            src,
            dst,
            policy,
            Pseudonyms(load_key(settings)),
            site,
            workers=settings.n_workers,
            progress=lambda what, done, total: bar.items(what, done, total),
            deadline_s=settings.file_deadline_s,
            memory_mib=settings.worker_memory_mib,
        )
    withheld = dict(facts["withheld"])  # type: ignore[call-overload]
    rows = [("read", facts["read"]), ("released", facts["released"])]
    rows += [(f"withheld: {reason}", n) for reason, n in withheld.items()]
    session.done(facts, table(f"Profile {policy.version}", ("what", "files"), rows))
