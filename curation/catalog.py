"""Studies, series and patients, folded from the delivered rows, and the DuckDB file through which anyone may
look.

What belongs here: running the SQL of `catalogue/*.sql` within a commit, and writing
`catalog/<number>.duckdb`. What does not: committing (lake), the text of the views (view), what a series is
(modality).
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

import duckdb
import pyarrow as pa

from curation import finding, modality, records, view
from curation.lake import Connection, Lake, Snapshot
from curation.part import aside, conform, make_folder, sync_folder
from curation.site import Site

_FOLDER = Path(__file__).with_name("catalogue")

_MACROS = ("CREATE OR REPLACE TEMP MACRO same(x) AS CASE WHEN min(x) = max(x) THEN min(x) END",)


def publish(
    lake: Lake,
    deliveries: Mapping[str, str],
    sites: Mapping[str, Site],
    split_bucket: Callable[[UUID], int],
) -> Snapshot:
    """Makes staged deliveries (name to part list) visible together with the catalogue folded over all, in
    one commit.

    `split_bucket` is that of Pseudonyms. Raises LakeError where a delivery must be curated again.
    """
    snapshot = lake.commit(deliveries, lambda con: fold(con, sites, split_bucket))
    attach_file(lake, snapshot.number)
    return snapshot


def fold(
    con: Connection, sites: Mapping[str, Site], split_bucket: Callable[[UUID], int]
) -> dict[str, pa.Table]:
    """Catalogue tables over the bulk views of a connection. The same rows in any order give the same tables."""
    con.execute("SET arrow_lossless_conversion = true")
    for macro in _MACROS:
        con.execute(macro)
    _bring_facts(con, sites, split_bucket)
    folded = {}
    for table in ("series", "studies", "patients"):
        con.execute(f"CREATE OR REPLACE TEMP TABLE folded_{table} AS {_statement(table)}")
        folded[table] = conform(table, con.sql(f"FROM folded_{table}").to_arrow_table())
    return folded


def _statement(table: str) -> str:
    text = (_FOLDER / f"{table}.sql").read_text(encoding="utf-8")
    given = {
        "{kind}": modality.kind_sql(),
        "{orientation}": modality.orientation_sql(),
        "{code_version}": view.quote_text(importlib.metadata.version("rwid")),
    }
    # not str.format: the SQL has braces of its own
    for name, value in given.items():
        text = text.replace(name, value)
    return text


def _bring_facts(con: Connection, sites: Mapping[str, Site], split_bucket: Callable[[UUID], int]) -> None:
    facts = [(name, site.country, site.continent) for name, site in sorted(sites.items())]
    bits = sorted(finding.finding_bits().items())
    people = con.execute("SELECT patient_id FROM instances UNION SELECT patient_id FROM reports").fetchall()
    ids = [person for (person,) in people]
    site_facts = pa.Table.from_pylist(
        [dict(zip(("site", "country", "continent"), fact, strict=True)) for fact in facts],
        schema=pa.schema({"site": pa.string(), "country": pa.string(), "continent": pa.string()}),
    )
    finding_bits = pa.table(
        {
            "finding": pa.array([name for name, _ in bits], pa.string()),
            "bit": pa.array([bit for _, bit in bits], pa.int32()),
        }
    )
    buckets = pa.table(
        {
            "patient_id": pa.array([person.bytes for person in ids], pa.uuid()),
            "split_bucket": pa.array([split_bucket(person) for person in ids], pa.int32()),
        }
    )
    for name, table in (("site_facts", site_facts), ("finding_bits", finding_bits), ("buckets", buckets)):
        con.register(name, table)


def attach_file(lake: Lake, number: int | None = None) -> Path:
    """The read-only DuckDB file of a snapshot: `ATTACH '<file>' AS rwid (READ_ONLY)`.

    Its views name absolute paths: the file is made anew where it is missing, or where the lake has moved.
    """
    snapshot = lake.snapshot(number)
    place = lake.root / "catalog" / f"{snapshot.number:08d}.duckdb"
    if not _fits(place, lake, snapshot):
        make_folder(place.parent)
        with aside(lake.root) as path:
            _write_file(path, lake, snapshot)
            os.replace(path, place)
        sync_folder(place.parent)
    return place


def _fits(place: Path, lake: Lake, snapshot: Snapshot) -> bool:
    if not place.exists():
        return False
    try:
        with duckdb.connect(place, read_only=True) as con:
            row = con.execute("SELECT root, sha256, schema_version FROM snapshot").fetchone()
    except duckdb.Error:  # written by another version of DuckDB, or damaged: it is disposable
        return False
    return row == (str(lake.root), snapshot.sha256, records.SCHEMA_VERSION)


def _write_file(path: Path, lake: Lake, snapshot: Snapshot) -> None:
    facts = {
        "number": snapshot.number,
        "created_at_utc": snapshot.created_at_utc,
        "sha256": snapshot.sha256,
        "schema_version": records.SCHEMA_VERSION,
        "root": str(lake.root),
    }
    columns = (
        f"{view.quote_text(v) if isinstance(v, str) else v} AS {view.quote_name(k)}" for k, v in facts.items()
    )
    with duckdb.connect(path) as con:
        con.execute("BEGIN")
        for statement in (*view.macro_statements(), *view.view_statements(lake.live_bodies(snapshot))):
            con.execute(statement)
        for statement in view.comment_statements():
            con.execute(statement)
        con.execute(f"CREATE VIEW snapshot AS SELECT {', '.join(columns)}")
        con.execute("COMMIT")
        con.execute("CHECKPOINT")
