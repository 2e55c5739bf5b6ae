"""`rwid sql`: read-only SQL over the lake, in the sandbox of curation.query."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assets.console import Session, fitted
from curation.records import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "parquet")
SHOWN_ROWS = 200


def sql(
    context: typer.Context,
    query: Annotated[str | None, typer.Argument(help="One SELECT.")] = None,
    snapshot: Annotated[int | None, typer.Option(help="Number of a snapshot; the newest by default.")] = None,
    format: Annotated[str, typer.Option(help="table, csv, json or parquet.")] = "table",  # noqa: A002 - the contract's word
    out: Annotated[Path | None, typer.Option(help="File to write to, instead of standard output.")] = None,
    views: Annotated[
        bool, typer.Option("--views", help="Print CREATE VIEW statements for another engine.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds after which the query is stopped.")] = 60.0,
) -> None:
    """Read-only SQL over the lake: studies, series, instances, reports, findings, cohorts, metrics and more.

    Example: rwid sql "SELECT site, modality, count(*) FROM studies GROUP BY ALL ORDER BY ALL"

    Example: rwid sql "FROM studies WHERE has_finding('nodule')" --format parquet --out nodules.parquet
    """
    session: Session = context.obj
    settings = session.settings()
    if views:
        statements = _views(settings.places.lake, snapshot)
        if session.is_json:
            session.done({"views": statements})
        else:  # as it is: a console would break long paths into lines
            sys.stdout.write("\n".join(statements) + "\n")
        return
    if not query:
        raise ConfigurationError('Give a query: rwid sql "SELECT count(*) FROM studies"; or --views.')
    if format not in FORMATS:
        raise ConfigurationError(f"--format is one of {', '.join(FORMATS)}.")
    if format == "parquet" and out is None:
        raise ConfigurationError("--format parquet writes a file: add --out FILE.")

    from curation.lake import Lake
    from curation.query import QueryError, run_sql

    Lake(settings.places.lake).snapshot(snapshot)  # an empty answer would hide that there is no lake
    try:
        found = run_sql(settings.places.lake, query, number=snapshot, timeout_s=timeout)
    except QueryError as error:
        raise ConfigurationError(str(error)) from None
    _answer(session, found, format, out)


def _views(lake_root: Path, number: int | None) -> list[str]:
    from curation import view
    from curation.lake import Lake

    lake = Lake(lake_root)
    return [
        f"{statement.rstrip().rstrip(';')};"
        for statement in view.view_statements(lake.live_bodies(lake.snapshot(number)))
    ]


def _answer(session: Session, found: "pa.Table", format: str, out: Path | None) -> None:  # noqa: A002
    if out is not None or (format != "table" and not session.is_json):
        data = _encoded(found, format)
        if out is None:
            sys.stdout.write(data.decode())
            return
        out.write_bytes(data)
        session.done({"rows": found.num_rows, "out": str(out)}, f"{found.num_rows:,} rows in {out}")
        return
    columns, rows = found.column_names, _rows(found)
    if session.is_json:
        session.done({"columns": columns, "rows": rows, "row_count": len(rows)})
        return
    session.done(None, fitted(session.out, columns, rows[:SHOWN_ROWS]))
    if len(rows) > SHOWN_ROWS:
        session.say(f"{SHOWN_ROWS} of {len(rows):,} rows are shown; --format csv or parquet gives all.")


def _rows(found: "pa.Table") -> list[list[Any]]:
    return [[_plain(value) for value in row.values()] for row in found.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _encoded(found: "pa.Table", format: str) -> bytes:  # noqa: A002
    if format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(found, sink, compression="zstd")
        return sink.getvalue().to_pybytes()
    if format == "json":
        import json

        rows = [dict(zip(found.column_names, row, strict=True)) for row in _rows(found)]
        return (json.dumps(rows, ensure_ascii=False) + "\n").encode()
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found.column_names)
    writer.writerows(_rows(found))
    return text.getvalue().encode()
