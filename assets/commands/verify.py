"""`rwid verify`: the second look, at a lake's deliveries or at a folder of released files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.console import Session, table
from curation.records import ConfigurationError

if TYPE_CHECKING:
    from curation.records import Residual, Verification
    from curation.settings import Settings

_SHOWN = 20
"""Kinds of findings told on a terminal; verify.parquet and --json have them all."""


def verify(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(help="Folder of released files; without it, the lake's newest snapshot.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="The folder they came from: then names, numbers and dates are known.")
    ] = None,
    delivery: Annotated[
        str | None, typer.Option(help="One delivery of the lake; also one that was not published.")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Objects of each modality whose pixels are read for text."),
    ] = None,
) -> int:
    """Look a second time, with other code, for what ought not to be there.

    Every released object and report is read again, by pydicom, and searched for what is known of the person in every way it
    may be written; hashes, dates, UIDs, elements and markers are checked, and text is looked for in a sample of the pixels.
    No value is ever told: a finding is a place, a rule and a kind. Ends with 1 where anything was found.

    Example: rwid verify

    Example: rwid verify ./clean --source ./raw --sample all
    """
    session: Session = context.obj
    if path is None and source is not None:
        raise ConfigurationError("--source goes with a folder: rwid verify PATH --source SRC.")
    if path is not None:
        return _folder(session, path, source, _sample(sample))
    return _lake(session, delivery, _sample(sample))


def _sample(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "all":
        return -1
    if not text.isdigit():
        raise ConfigurationError("--sample is a number, or all.")
    return int(text)


def _folder(session: Session, path: Path, source: Path | None, sample: int | None) -> int:
    from curation.deid.pseudonyms import Pseudonyms
    from curation.deid.verify_folder import NAME, verify_folder
    from curation.settings import find_key

    settings = session.settings()
    key = find_key(settings)
    with session.bar() as bar:
        checked = verify_folder(
            path,
            source=source,
            pseudonyms=Pseudonyms(key) if key else None,
            workers=settings.n_workers,
            sample=settings.verify_sample if sample is None else sample,
            deadline_s=settings.file_deadline_s,
            memory_mib=settings.worker_memory_mib,
            progress=bar.items,
        )
    facts = {"files": checked.n_files, "originals": checked.n_originals, "unchecked": list(checked.unchecked)}
    for sentence in checked.unchecked:
        session.say(sentence)
    if not checked.n_files:
        raise ConfigurationError(f"{path} holds no file. Name the folder that rwid deid wrote.")
    return _tell(session, facts | {"rows": NAME}, checked.residuals, checked.verifications)


def _lake(session: Session, delivery: str | None, sample: int | None) -> int:
    from curation.deid.verify_lake import verify_delivery
    from curation.lake import Lake
    from curation.restricted import read_delivery, read_residuals

    settings = session.settings()
    lake = Lake(settings.places.lake)
    head = lake.head()
    published = dict(head.deliveries) if head else {}
    if delivery is not None and delivery not in published:
        site = read_delivery(settings.places, delivery).site
        return _unpublished(session, settings, delivery, site, read_residuals(settings.places, delivery))
    names = [delivery] if delivery else sorted(published)
    snapshot = lake.snapshot().number
    residuals: list[Residual] = []
    accounts: list[Verification] = []
    seconds, n_instances, n_reports = 0.0, 0, 0
    with session.bar() as bar:
        for name in names:
            parts = lake.part_list(published[name])
            site = read_delivery(settings.places, name).site
            found = verify_delivery(settings, name, site, parts, bar.items, sample)
            residuals += found.residuals
            accounts += found.verifications
            seconds += found.seconds
            n_instances += found.n_instances
            n_reports += found.n_reports
    facts = {
        "snapshot": snapshot,
        "deliveries": names,
        "instances": n_instances,
        "reports": n_reports,
        "seconds": round(seconds, 1),
        "seconds_per_1000_instances": round(1000 * seconds / n_instances, 1) if n_instances else None,
    }
    return _tell(session, facts, residuals, accounts)


def _unpublished(
    session: Session, settings: "Settings", delivery: str, site: str, found: "Sequence[Residual] | None"
) -> int:
    if found is None:
        raise ConfigurationError(
            f"Delivery '{delivery}' of '{site}' was never curated. Bring it in: rwid ingest SRC --site SITE."
        )
    session.say(f"Delivery '{delivery}' is not published; this is what its last second look found.")
    return _tell(session, {"delivery": delivery, "published": False}, found, ())


def _tell(
    session: Session,
    facts: dict[str, Any],
    residuals: "Sequence[Residual]",
    accounts: "Sequence[Verification]",
) -> int:
    rules: dict[str, list[int]] = {}
    for account in accounts:
        row = rules.setdefault(account.rule, [0, 0, 0])
        for i, n in enumerate((account.n_looked_at, account.n_found, account.n_unknown)):
            row[i] += n
    kinds: dict[tuple[str, str, str, str], list[int]] = {}
    for one in residuals:
        count = kinds.setdefault((one.rule, one.place, one.kind, one.form), [0, 0])
        count[0] += 1
        count[1] += one.is_blocking
    n_blocking = sum(one.is_blocking for one in residuals)
    facts = facts | {
        "found": n_blocking,
        "suspected": len(residuals) - n_blocking,
        "rules": {
            rule: dict(zip(("looked_at", "found", "unknown"), row, strict=True))
            for rule, row in rules.items()
        },
        "residuals": [asdict(one) for one in residuals] if session.is_json else [],
    }
    shown = [
        table("Second look", ("rule", "looked at", "found", "unknown"), [(r, *n) for r, n in rules.items()])
    ]
    top = sorted(kinds.items(), key=lambda item: -item[1][0])[:_SHOWN]
    if top:
        columns = ("rule", "place", "what", "how written", "times", "blocking")
        shown.append(table("What ought not to be there", columns, [(*kind, *n) for kind, n in top]))
    session.done(facts, *shown)
    return 1 if n_blocking else 0
