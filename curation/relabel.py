"""Corrections of labels: what a clinician says of one study and label, kept for ever, used by the next cohort.

What belongs here: the closed lists, reading corrections, recording them in one commit. What does not: what a cohort
makes of them (attrition). No free text comes in anywhere, and no error repeats what was typed: a cell of a
foreign table may hold a name.
"""

from __future__ import annotations

import csv
import functools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any
from uuid import UUID

from curation.catalog import attach_file
from curation.cohort_folder import find_cohort, read_facts
from curation.lake import Connection, Lake, Snapshot
from curation.records import ConfigurationError, Relabel, to_table

COLUMNS = ("study_id", "label", "value", "role", "reason")
OPTIONAL = ("run_id",)


@dataclass(frozen=True, slots=True)
class Correction:
    """What one reader says of one label of one study. value: 1 present, 0 absent, -1 uncertain."""

    study_id: UUID
    label: str
    value: float
    role: str
    reason: str
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded: the snapshot that shows it, and how many labels now say something else than before."""

    snapshot: Snapshot
    n: int
    n_changed: int


@functools.cache
def vocabulary() -> Mapping[str, Mapping[str, Any]]:
    """values, roles and reasons (relabels.toml)."""
    text = (resources.files("curation") / "relabels.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def make_correction(facts: Mapping[str, Any], where: str) -> Correction:
    """One correction from words. `where` names its place in errors, such as `line 3`.

    Raises ConfigurationError naming the place and the column, never the content.
    """
    unknown = len(set(facts) - {*COLUMNS, *OPTIONAL})
    missing = [c for c in COLUMNS if not str(facts.get(c) or "").strip()]
    if unknown or missing:
        told = f"{missing[0]} is missing" if missing else f"there are {unknown} columns too many"
        raise ConfigurationError(
            f"{where}: {told}. The columns are {', '.join(COLUMNS)} and, if known, run_id; nothing else is kept."
        )
    known = vocabulary()
    word = {c: str(facts[c]).strip() for c in COLUMNS}
    for column, names in (("value", known["values"]), ("role", known["roles"]), ("reason", known["reasons"])):
        if word[column] not in names:
            raise ConfigurationError(f"{where}: {column} must be one of {', '.join(names)}.")
    try:
        study = UUID(word["study_id"])
    except ValueError:
        raise ConfigurationError(f"{where}: study_id is no id of a study.") from None
    run = str(facts.get("run_id") or "").strip() or None
    if run is not None and not (len(run) == 16 and set(run) <= set("0123456789abcdef")):
        raise ConfigurationError(f"{where}: run_id is no id of a run.")
    return Correction(
        study, word["label"], float(known["values"][word["value"]]), word["role"], word["reason"], run
    )


def read_corrections(path: Path) -> list[Correction]:
    """The corrections of a CSV file with a header. Raises ConfigurationError naming the line and the column."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, restkey="more"))
    if not rows:
        raise ConfigurationError(f"The file holds no correction. Its columns are {', '.join(COLUMNS)}.")
    return [make_correction(row, f"line {n}") for n, row in enumerate(rows, start=2)]


def record(lake: Lake, cohort: str, corrections: Sequence[Correction], at_utc: datetime) -> Recorded:
    """Adds corrections of a cohort's labels to `relabels` in one commit; the cohort built next uses them.

    `cohort` by name (its newest) or id; `at_utc` with its time zone. The same corrections with the same time twice are there once.
    Raises ConfigurationError where a label is none of the cohort's or not yes or no, where a study is not in the lake, or where
    two corrections contradict each other.
    """
    facts = read_facts(find_cohort(lake, cohort))
    with lake.connect() as con:
        people = _check(con, facts, corrections)
        given = _given(con, facts["cohort_id"], corrections)
    version = metadata.version("rwid")
    rows = [
        Relabel(
            study_id=c.study_id,
            patient_id=people[c.study_id][0],
            site=people[c.study_id][1],
            label=c.label,
            value=c.value,
            given=given.get((c.study_id, c.label)),
            role=c.role,
            reason=c.reason,
            cohort_id=facts["cohort_id"],
            run_id=c.run_id,
            at_utc=at_utc,
            code_version=version,
        )
        for c in corrections
    ]
    snapshot = lake.add("relabels", to_table(Relabel, rows))
    attach_file(lake, snapshot.number)
    return Recorded(snapshot, len(rows), sum(row.value != row.given for row in rows))


def _check(
    con: Connection, facts: Mapping[str, Any], corrections: Sequence[Correction]
) -> dict[UUID, tuple[UUID, str]]:
    """Study to its patient and site. Raises ConfigurationError as `record` says."""
    if not corrections:
        raise ConfigurationError("There is no correction to record.")
    labels = set(facts["spec"]["labels"])
    _refuse_unknown(labels, facts["name"], corrections)
    said: dict[tuple[UUID, str], float] = {}
    for c in corrections:
        if said.setdefault((c.study_id, c.label), c.value) != c.value:
            raise ConfigurationError(
                f"Two corrections of {c.label} contradict each other for one study. Keep one of them."
            )
    wide = con.execute(
        """SELECT DISTINCT l.name FROM (SELECT unnest(labels) AS l FROM members WHERE cohort_id = ?)
           WHERE l.value NOT IN (-1, 0, 1)""",
        [facts["cohort_id"]],
    ).fetchall()
    if numbers := sorted({name for (name,) in wide} & {c.label for c in corrections}):
        raise ConfigurationError(
            f"{numbers[0]} is a number, not yes or no: mend its source, it cannot be relabelled."
        )
    rows = con.execute(
        "SELECT study_id, patient_id, site FROM studies WHERE list_contains(?, study_id)",
        [[c.study_id for c in corrections]],
    ).fetchall()
    found = {row[0]: (row[1], str(row[2])) for row in rows}
    if n := len({c.study_id for c in corrections} - set(found)):
        raise ConfigurationError(
            f"{n} of the studies are not in the lake. Take the ids from the pages or from rwid queue."
        )
    return found


def _refuse_unknown(labels: Iterable[str], cohort: str, corrections: Sequence[Correction]) -> None:
    # the name itself is not repeated: in a foreign table it may be anything
    if n := sum(c.label not in set(labels) for c in corrections):
        raise ConfigurationError(
            f"{n} corrections are of a label that cohort {cohort} does not have; it has {', '.join(sorted(labels))}."
        )


def _given(
    con: Connection, cohort_id: str, corrections: Sequence[Correction]
) -> dict[tuple[UUID, str], float]:
    """(study, label) -> what the cohort's members say; not there where unknown or no member."""
    rows = con.execute(
        """SELECT study_id, l.name, l.value FROM (
             SELECT DISTINCT study_id, unnest(labels) AS l FROM members WHERE cohort_id = ? AND list_contains(?, study_id))
           WHERE l.value IS NOT NULL""",
        [cohort_id, [c.study_id for c in corrections]],
    ).fetchall()
    return {(study, str(name)): float(value) for study, name, value in rows}
