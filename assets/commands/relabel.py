"""`rwid relabel`: what readers correct goes into the lake, and the next cohort uses it."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from assets.console import Session, table


def relabel(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV with study_id, label, value, role, reason and, if known, run_id."),
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(help="Name or id of the cohort whose labels are corrected; FILE needs it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Without a FILE: where all corrections of the lake are written as CSV."),
    ] = None,
) -> None:
    """Record corrections of labels from a CSV; without one, show those there are. Words come from closed lists, never free text.

    Example: rwid relabel corrections.csv --cohort demo

    Example: rwid relabel --out corrections.csv
    """
    session: Session = context.obj
    if file is None:
        _show(session, out)
        return
    from assets.instance import opened
    from assets.launch import launch
    from curation.relabel import read_corrections, vocabulary
    from curation.settings import open_home

    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    if cohort is None:
        raise typer.BadParameter("say whose labels are corrected: --cohort NAME (rwid cohort list)")
    words = {float(value): word for word, value in vocabulary()["values"].items()}
    rows = [
        {
            "study_id": str(c.study_id),
            "label": c.label,
            "value": words[c.value],
            "role": c.role,
            "reason": c.reason,
        }
        | ({"run_id": c.run_id} if c.run_id else {})
        for c in read_corrections(file)
    ]
    config = batch(cohort, rows)
    with opened(open_home(session.settings())) as instance, session.bar() as bar:
        ran = launch(instance, "relabel", "relabels", key_of(config), bar=bar, config={"relabels": config})
    facts = {
        "relabels": int(ran.materialized["relabels"]["dagster/row_count"]),
        "changed": int(ran.materialized["relabels"]["changed"]),
        "snapshot": int(ran.materialized["relabels"]["snapshot"]),
    }
    session.done(
        facts,
        f"{facts['relabels']} corrections recorded, {facts['changed']} of them change a label. Snapshot {facts['snapshot']}.",
        f"The next version of the cohort uses them: rwid cohort build {cohort}, or rwid retrain RUN.",
    )


def batch(cohort: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The config of the asset `relabels`."""
    return {"cohort": cohort, "at_utc": datetime.now(UTC).isoformat(), "corrections": [dict(r) for r in rows]}


def key_of(config: Mapping[str, Any]) -> str:
    """The partition of a batch: the first 16 hex digits of its hash."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def _show(session: Session, out: Path | None) -> None:
    from curation.lake import Lake
    from curation.relabel import COLUMNS, vocabulary

    words = {float(value): word for word, value in vocabulary()["values"].items()}
    names = (*COLUMNS, "run_id", "cohort_id", "at_utc")
    with Lake(session.settings().places.lake).connect() as con:
        query = f"SELECT {', '.join(names)} FROM relabels ORDER BY at_utc, study_id, label"
        rows = [dict(zip(names, row, strict=True)) for row in con.execute(query).fetchall()]
    told = [
        {k: words[v] if k == "value" else None if v is None else str(v) for k, v in row.items()}
        for row in rows
    ]
    if out is not None:
        with out.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, names[:6], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(told)
    session.done({"relabels": told}, table("", names, [list(row.values()) for row in told]))
