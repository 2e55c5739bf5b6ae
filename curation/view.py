"""SQL text of the views: every table of records.TABLES over lists of Parquet files, plus the macros that go
with them.

What belongs here: CREATE VIEW, COMMENT ON and CREATE MACRO as text, for DuckDB. What does not: which files
(lake), and running anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from curation import records

MACROS: Mapping[str, str] = {
    "dicom_uid(id)": "'2.25.' || id::UUID::UHUGEINT::VARCHAR",
}
"""Head to body. dicom_uid: the released DICOM UID of an id, the same 128 bits as an integer (PS3.5 B.2)."""

_TYPES: Mapping[pa.DataType, str] = {
    pa.uuid(): "UUID",
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB",
    pa.date32(): "DATE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type that records use."""
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{quote_name(f.name)} {sql_type(f.type)}' for f in kind)})"
    return _TYPES[kind]


def quote_name(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string literal for SQL."""
    return "'" + text.replace("'", "''") + "'"


PLACEHOLDERS = "empty"
"""Folder of files without rows but with every column; see view_body."""


def view_body(table: str, files: Sequence[str]) -> str:
    """SELECT with exactly the table's columns and types; no file: a typed SELECT without rows.

    Where the first file is a placeholder, the others may lack columns, and all are opened when the view is
    bound; otherwise the first file speaks for all.
    """
    schema = records.schema_of(records.TABLES[table])
    if not files:
        columns = (f"CAST(NULL AS {sql_type(f.type)}) AS {quote_name(f.name)}" for f in schema)
        return f"SELECT {', '.join(columns)} WHERE false"
    columns = (f"CAST({quote_name(f.name)} AS {sql_type(f.type)}) AS {quote_name(f.name)}" for f in schema)
    is_mixed = Path(files[0]).parent.name.startswith(PLACEHOLDERS)
    option = ", union_by_name = true" if is_mixed else ""
    return f"SELECT {', '.join(columns)} FROM read_parquet([{', '.join(map(quote_text, files))}]{option})"


def macro_statements() -> Iterator[str]:
    """One CREATE MACRO a macro."""
    for head, body in MACROS.items():
        yield f"CREATE OR REPLACE MACRO {head} AS {body}"


def view_statements(bodies: Mapping[str, str]) -> Iterator[str]:
    """One CREATE VIEW a table."""
    for table, body in bodies.items():
        yield f"CREATE OR REPLACE VIEW {quote_name(table)} AS {body}"


def comment_statements() -> Iterator[str]:
    """COMMENT ON statements: the sentences of records, with unit and DICOM keyword."""
    for table, row_class in records.TABLES.items():
        yield f"COMMENT ON VIEW {quote_name(table)} IS {quote_text((row_class.__doc__ or '').strip())}"
        for field in records.schema_of(row_class):
            facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
            more = [facts[k] for k in ("unit", "dicom") if k in facts]
            sentence = facts["sentence"] + (f" [{', '.join(more)}]" if more else "")
            yield f"COMMENT ON COLUMN {quote_name(table)}.{quote_name(field.name)} IS {quote_text(sentence)}"
