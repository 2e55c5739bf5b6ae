"""What the SQL page is made of: example questions, the sandboxed answer, the data dictionary, downloads."""

from __future__ import annotations

import io
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from curation.query import run_sql
from curation.records import TABLES, schema_of

MAX_ROWS = 10_000
TIMEOUT_S = 30.0


def examples() -> dict[str, str]:
    """Title to query, from examples.toml beside this file."""
    with Path(__file__).with_name("examples.toml").open("rb") as file:
        return {title: str(entry["sql"]).strip() for title, entry in tomllib.load(file).items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows, and whether there were more than may be shown."""

    frame: pd.DataFrame
    is_cut: bool


def ask(lake_root: Path, query: str, number: int | None) -> Answer:
    """The answer, at most MAX_ROWS rows, ids and binary as text. Raises QueryError where the query is refused or fails."""
    answer = run_sql(lake_root, query, number=number, max_rows=MAX_ROWS, timeout_s=TIMEOUT_S)
    return Answer(_readable(answer).to_pandas(), b"rwid.is_cut" in (answer.schema.metadata or {}))


def tables() -> list[str]:
    """The tables a question may name."""
    return list(TABLES)


def grain(table: str) -> str:
    """What one row of a table is."""
    return (TABLES[table].__doc__ or "").strip()


def columns(table: str) -> pd.DataFrame:
    """The data dictionary of one table."""
    rows = []
    for field in schema_of(TABLES[table]):
        facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        rows.append(
            {
                "column": field.name,
                "meaning": facts["sentence"],
                "unit": facts.get("unit", ""),
                "DICOM": facts.get("dicom", ""),
            }
        )
    return pd.DataFrame(rows)


def as_csv(answer: pd.DataFrame) -> bytes:
    """The answer as CSV, lists as text."""
    return answer.to_csv(index=False).encode()


def as_parquet(answer: pd.DataFrame) -> bytes:
    """The answer as Parquet."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(answer, preserve_index=False), out, compression="zstd")
    return out.getvalue()


def _readable(answer: pa.Table) -> pa.Table:
    """Binary as hex: what a browser can show."""
    for at, field in enumerate(answer.schema):
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            values = [None if v is None else v.hex() for v in answer[at].to_pylist()]
            answer = answer.set_column(at, field.name, pa.array(values, pa.string()))
    return answer
