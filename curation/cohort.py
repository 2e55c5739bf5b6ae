"""Freezing a cohort: spec and snapshot in, one immutable folder out, named by the hash of both.

What belongs here: build_cohort, and the names that users of cohorts import. What does not: the schema (cohort_spec), SQL
(predicate), who is in it (attrition), reading folders (cohort_folder), comparing (cohort_diff), exporting (export).

The folder: cohort.json (spec, snapshot, exact counts), cohort.parquet (one row), members.parquet, attrition.parquet, card.md
and croissant.json (small cells suppressed). No clock and no chance: the same inputs give the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.attrition import HOLDOUT, SPLITS, Selection, Step, plan_cohort
from curation.card import card
from curation.cohort_diff import CohortDiff, diff_cohorts
from curation.cohort_folder import (
    find_cohort,
    folder_aside,
    list_cohorts,
    read_facts,
    read_spec,
    summary,
    write_json,
    write_table,
)
from curation.cohort_spec import (
    COHORT_ENGINE_VERSION,
    CohortSpec,
    canonical,
    cohort_id,
    load_spec,
    parse_spec,
    shipped_specs,
)
from curation.croissant import croissant
from curation.export import FORMATS, export_cohort
from curation.lake import Connection, Lake, Snapshot
from curation.leakage import Problem, leakage
from curation.part import bare_schema, conform
from curation.records import Cohort, ConfigurationError, Member, to_table

__all__ = [
    "COHORT_ENGINE_VERSION", "FORMATS", "CohortDiff", "CohortSpec", "Problem", "build_cohort", "cohort_id", "diff_cohorts", "export_cohort",
    "find_cohort", "leakage", "list_cohorts", "load_spec", "parse_spec", "read_facts", "read_spec", "shipped_specs", "summary", "try_cohort",
]  # fmt: skip

_ATTRITION = pa.schema(
    [
        ("position", pa.int32()),
        ("rule", pa.string()),
        ("kind", pa.string()),
        ("studies", pa.int64()),
        ("patients", pa.int64()),
        ("sites", pa.int64()),
    ]
)


def build_cohort(lake: Lake, spec: CohortSpec, number: int | None = None) -> Path:
    """The folder of the cohort, built where it is not there yet: lake/cohorts/<cohort_id>/.

    Raises ConfigurationError where the spec is wrong or nobody is left, LakeError where the snapshot does not exist.
    """
    snapshot = lake.snapshot(number)
    place = lake.root / "cohorts" / cohort_id(spec, snapshot.sha256)
    if (place / "cohort.json").is_file():
        # of two specs under one name, the one built last is meant by the name
        for name in ("cohort.json", "members.parquet"):
            os.utime(place / name)
        return place
    with lake.connect(snapshot.number) as con:
        selection = Selection(con, plan_cohort(con, spec))
        members = conform("members", selection.members(place.name))
        if not members.num_rows:
            raise ConfigurationError(
                f"Cohort {spec.cohort} has no members. {_attrition_sentence(selection.steps)}"
            )
        with folder_aside(place) as folder:
            _write(folder, con, snapshot, spec, selection, members, place.name)
    return place


def try_cohort(lake: Lake, spec: CohortSpec, number: int | None = None) -> dict[str, Any]:
    """Attrition and what-if of a spec without freezing anything: attrition as in `summary`, what_if per rule in studies."""
    with lake.connect(lake.snapshot(number).number) as con:
        selection = Selection(con, plan_cohort(con, spec))
        return {
            "attrition": [dataclasses.asdict(step) for step in selection.steps],
            "what_if": [{"without": rule, "studies": n} for rule, n in selection.what_if()],
        }


def _attrition_sentence(steps: list[Step]) -> str:
    left = "; ".join(f"{s.rule}: {s.studies}" for s in steps)
    last = next((s.rule for s in steps if not s.studies), "")
    return f"Studies left after each rule: {left}. Loosen {last!r}."


def _write(
    folder: Path,
    con: Connection,
    snapshot: Snapshot,
    spec: CohortSpec,
    selection: Selection,
    members: pa.Table,
    id_: str,
) -> None:
    con.register("all_members", members)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE frozen AS"
        " SELECT DISTINCT ON (study_id) study_id, patient_id, site, split, labels, covariates FROM all_members"
    )
    facts = _facts(con, snapshot, spec, selection, members.num_rows, id_)
    row = Cohort(
        cohort_id=id_,
        name=spec.cohort,
        purpose=spec.purpose,
        snapshot=snapshot.number,
        studies=facts["studies"],
        patients=facts["patients"],
        sites=facts["sites"],
        engine_version=COHORT_ENGINE_VERSION,
    )
    write_table(folder / "members.parquet", members)
    write_table(folder / "cohort.parquet", to_table(Cohort, [row]).cast(bare_schema("cohorts")))
    write_table(folder / "attrition.parquet", pa.Table.from_pylist(facts["attrition"], schema=_ATTRITION))
    write_json(folder / "cohort.json", facts)
    (folder / "card.md").write_text(card(con, facts), encoding="utf-8")
    write_json(folder / "croissant.json", croissant(facts, folder, {"members": Member}))


def _facts(
    con: Connection, snapshot: Snapshot, spec: CohortSpec, selection: Selection, n_series: int, id_: str
) -> dict[str, Any]:
    """What cohort.json says."""
    counts = con.execute(
        "SELECT count(*), count(DISTINCT patient_id), count(DISTINCT site) FROM frozen"
    ).fetchall()[0]
    relabelled = selection.relabelled()
    of_split = dict(con.execute("SELECT split, count(*) FROM frozen GROUP BY split").fetchall())
    splits = (*SPLITS, HOLDOUT) if spec.split.holdout_sites else SPLITS
    return {
        "cohort_id": id_,
        "name": spec.cohort,
        "purpose": spec.purpose,
        "snapshot": snapshot.number,
        "snapshot_sha256": snapshot.sha256,
        "erasure_epoch": snapshot.erasure_epoch,
        "engine_version": COHORT_ENGINE_VERSION,
        "min_cell": spec.min_cell,
        "studies": counts[0],
        "patients": counts[1],
        "sites": counts[2],
        "series": n_series,
        "site_names": _sorted(con, "SELECT DISTINCT site FROM frozen"),
        "deliveries": _sorted(
            con, "SELECT DISTINCT delivery FROM studies WHERE study_id IN (SELECT study_id FROM frozen)"
        ),
        "splits": {split: int(of_split.get(split, 0)) for split in splits},
        "attrition": [dataclasses.asdict(step) for step in selection.steps],
        "what_if": [{"without": rule, "studies": n} for rule, n in selection.what_if()],
        **({"relabelled": relabelled} if relabelled else {}),
        "spec": json.loads(canonical(spec)),
    }


def _sorted(con: Connection, query: str) -> list[str]:
    return sorted(str(row[0]) for row in con.execute(query).fetchall())
