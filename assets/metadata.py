"""What a materialization shows: counts, bytes, schema and a small preview in which nobody can be recognised.

What does not belong here: what is counted (curation does) and where it is shown (Dagster, ui).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dagster as dg
import pyarrow as pa

from curation import records

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from curation.delivery import Curated
    from curation.lake import Lake, Snapshot

PREVIEW_ROWS = 5
PREVIEW_COLUMNS = 8
UNTOLD = frozenset({"text", "evidence", "series_description", "protocol_name", "token", "header", "payload"})
"""Columns that no preview shows: words somebody wrote, bytes, and what could be matched elsewhere."""


def schema_of(table: str) -> dg.TableSchema:
    """The columns of one table of records.TABLES, with type and sentence, as Dagster shows them."""
    fields = records.schema_of(records.TABLES[table])
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=f.name,
                type="uuid" if f.type == pa.uuid() else str(f.type),
                description=(f.metadata or {}).get(b"sentence", b"").decode(),
                constraints=dg.TableColumnConstraints(nullable=f.nullable),
            )
            for f in fields
        ]
    )


def preview_columns(table: str) -> list[str]:
    """The first plain columns of a table: no text, no bytes, no lists."""
    plain = (
        pa.types.is_string,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_date,
    )
    names = [
        f.name
        for f in records.schema_of(records.TABLES[table])
        if f.name not in UNTOLD and (f.type == pa.uuid() or any(is_kind(f.type) for is_kind in plain))
    ]
    return names[:PREVIEW_COLUMNS]


def preview(found: Sequence[Mapping[str, Any]], rows: int = PREVIEW_ROWS) -> dg.TableMetadataValue | None:
    """A few rows with shortened ids, or nothing where there are none."""
    if not found:
        return None
    told = [{name: _told(value) for name, value in row.items()} for row in found[:rows]]
    columns = [dg.TableColumn(name=name, type="string") for name in told[0]]
    return dg.MetadataValue.table(
        records=[dg.TableRecord(row) for row in told], schema=dg.TableSchema(columns=columns)
    )


def _told(value: Any) -> str | int | float | bool | None:
    if isinstance(value, UUID):
        return str(value)[:8]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return "…"


def _first_rows(con: "DuckDBPyConnection", table: str) -> list[dict[str, Any]]:
    names = preview_columns(table)
    columns = ", ".join(f'"{name}"' for name in names)
    rows = con.view(table).project(columns).limit(PREVIEW_ROWS).fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def _table_facts(table: str, rows: int, n_bytes: int, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    facts = {
        "dagster/row_count": rows,
        "dagster/column_schema": schema_of(table),
        "bytes": n_bytes,
        "preview": preview(shown),
    }
    return {name: value for name, value in facts.items() if value is not None}


def staged_facts(lake: "Lake", became: "Curated") -> dict[str, dict[str, Any]]:
    """Metadata of every table of one staged delivery."""
    parts = lake.part_list(became.part_list)
    facts = {}
    with lake.connect_staged(became.delivery, became.part_list) as con:
        for table in records.DELIVERED:
            rows, n_bytes = sum(p.rows for p in parts[table]), sum(p.bytes for p in parts[table])
            facts[table] = _table_facts(table, rows, n_bytes, _first_rows(con, table))
    return facts


def published_facts(lake: "Lake", snapshot: "Snapshot") -> dict[str, dict[str, Any]]:
    """Metadata of every catalogue table at one snapshot."""
    facts = {}
    with lake.connect(snapshot.number) as con:
        for table in records.CATALOGUED:
            parts = snapshot.tables.get(table, ())
            rows, n_bytes = sum(p.rows for p in parts), sum(p.bytes for p in parts)
            facts[table] = _table_facts(table, rows, n_bytes, _first_rows(con, table)) | {
                "snapshot": snapshot.number,
                "deliveries": len(snapshot.deliveries),
            }
    return facts


def cohort_facts(folder: Path) -> dict[str, Any]:
    """Metadata of one frozen cohort, read from its folder alone."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    row = pq.read_table(folder / "cohort.parquet").to_pylist()[0]
    splits = pq.read_table(folder / "members.parquet", columns=["split"])["split"]
    attrition = pq.read_table(folder / "attrition.parquet").to_pylist()
    facts = {
        "dagster/row_count": len(splits),
        "dagster/column_schema": schema_of("members"),
        **{name: row[name] for name in ("cohort_id", "snapshot", "studies", "patients", "sites")},
        "splits": {str(found["values"]): found["counts"] for found in pc.value_counts(splits).to_pylist()},
        "bytes": _size(folder, "*.parquet"),
        "attrition": preview(attrition, rows=len(attrition)),
        "card": dg.MetadataValue.md((folder / "card.md").read_text(encoding="utf-8")),
    }
    return {name: value for name, value in facts.items() if value is not None}


def pack_facts(folder: Path) -> dict[str, Any]:
    """Metadata of one token pack."""
    facts = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
    return {
        "dagster/row_count": facts["n_members"],
        "cohort_id": facts["cohort_id"],
        "pack_id": folder.name,
        "left_out": sum(facts["left_out"].values()),
        "bytes": _size(folder, "*.parquet"),
    }


def run_facts(lake: "Lake", run_id: str) -> dict[str, Any]:
    """Metadata of one tuned model: what it is, on what, how long, how large."""
    from training.runs import RunFolder, read_run

    run = read_run(lake.root, run_id)
    names = ("run_id", "name", "cohort_id", "status", "model", "method", "task", "device", "seed")
    facts = {name: run[name] for name in names if run.get(name) is not None}
    folder = RunFolder(lake.root, run_id).path
    return facts | {
        "compute_seconds": round(float(run.get("seconds") or 0), 1),
        "bytes": _size(folder, "*.*"),
    }


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a finished run's report concludes."""

    of: Mapping[str, Mapping[str, Any]]
    """Name of the check -> passed, text."""
    facts: Mapping[str, Any]


def read_verdicts(lake: "Lake", run_id: str) -> Verdicts:
    """The report of a finished run. Raises ConfigurationError where there is none yet."""
    import pyarrow.parquet as pq

    from training.runs import RunFolder, read_run

    report = read_run(lake.root, run_id)["report"]
    if report is None:
        raise records.ConfigurationError(
            f"Run {run_id!r} has no report yet. Launch the job tune; it goes on."
        )
    folder = RunFolder(lake.root, run_id).path
    metrics = pq.read_table(folder / "metrics.parquet").to_pylist()
    whole = [m for m in metrics if m["subgroup"] == "all" and m["name"] == "auroc" and m["value"] is not None]
    shown = [
        {name: m[name] for name in ("split", "site", "label", "arm", "value", "low", "high", "n")}
        for m in whole
    ]
    facts = {
        "dagster/row_count": len(metrics),
        "dagster/column_schema": schema_of("metrics"),
        "verdict": report["verdict"],
        "auroc": preview(shown, rows=100),
        "bytes": _size(folder, "*.parquet"),
        "seconds": report["seconds"],
        "card": dg.MetadataValue.md((folder / "model_card.md").read_text(encoding="utf-8")),
        **{f"{split}_gain": judged["gain"]["value"] for split, judged in report["headline"].items()},
    }
    return Verdicts(
        of=report["verdicts"], facts={name: value for name, value in facts.items() if value is not None}
    )
