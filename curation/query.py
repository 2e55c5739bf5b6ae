"""Foreign SQL over one snapshot: untrusted text in, an Arrow table out, and nothing else touched.

What belongs here: what the child process may see, how long it may take, and how its errors are told. What
does not: the restrictions themselves (sandbox).

Four walls, each of which would do alone for most attacks: the kernel (Landlock: read-only, under the lake
only, no TCP; no file may be written; address space and processor time are limited), DuckDB (exact files, no
external access, settings locked), the syntax tree (reading only, our tables only), and a deadline after
which the process is killed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation import view
from curation.lake import Lake, LakeError

MAX_BYTES = 512 * 2**20

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from curation.sandbox import main; main()"
_READABLE = ("ParserException", "SyntaxException", "BinderException", "CatalogException", "Denied")
_REWORDED = {
    "ConversionException": "A value cannot be converted to the type asked for. TRY_CAST gives NULL instead.",
    "OutOfRangeException": "A number is too large for its type.",
    "OutOfMemoryException": "The query needs more memory than it may have. Filter or aggregate earlier.",
    "MemoryError": "The query needs more memory than it may have. Filter or aggregate earlier.",
    "PermissionException": "The query reaches for something outside the lake's tables.",
    "NotImplementedException": "DuckDB does not know how to do this.",
}


class QueryError(Exception):
    """The query was refused or failed; the text holds no data of the lake."""


def run_sql(
    lake_root: Path,
    query: str,
    *,
    number: int | None = None,
    max_rows: int | None = None,
    timeout_s: float = 60.0,
    memory_mib: int = 2048,
) -> pa.Table:
    """The answer to one SELECT over the views of a snapshot (the newest by default).

    At most max_rows rows; where there were more, the schema's metadata has `rwid.is_cut`. UUIDs come as
    text. Raises QueryError where the query is refused, fails, takes longer than timeout_s or more memory
    than memory_mib, and where the snapshot does not exist.
    """
    plan = {
        **_visible(lake_root, number),
        "query": query,
        "max_rows": max_rows,
        "max_bytes": MAX_BYTES,
        "timeout_s": timeout_s,
        "memory_mib": memory_mib,
    }
    # an empty environment: no key, no token, no proxy is within reach
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "4"},
        cwd="/",
    )
    try:
        told, _ = process.communicate(json.dumps(plan).encode(), timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise QueryError(f"The query took longer than {timeout_s:g} s and was stopped.") from None
    finally:
        process.kill()
        process.communicate()
    if not told and process.returncode > 0:
        raise RuntimeError(
            f"The query's process broke before it asked anything (exit code {process.returncode})."
        )
    return _read(told, plan["root"])


def _visible(lake_root: Path, number: int | None) -> dict[str, Any]:
    """The views over one snapshot and the exact files behind each."""
    lake = Lake(lake_root)
    try:
        parts = lake.parts(lake.snapshot(number)) if number is not None or lake.numbers() else {}
    except LakeError as error:
        raise QueryError(str(error)) from None
    lake.root.mkdir(parents=True, exist_ok=True)
    files = lake.view_files(parts)
    bodies = lake.view_bodies(files)
    return {
        "root": str(lake.root),
        "macros": list(view.macro_statements()),
        "views": {table: next(view.view_statements({table: body})) for table, body in bodies.items()},
        "files": files,
    }


def _read(told: bytes, root: str) -> pa.Table:
    line, _, stream = told.partition(b"\n")
    if not line:
        # ended by a signal: a failed allocation below DuckDB, or out of processor time
        raise QueryError(_REWORDED["MemoryError"])
    facts = json.loads(line)
    if "error" in facts:
        raise QueryError(_reword(facts["error"], facts["text"], root))
    table = _plain_numbers(pa.ipc.open_stream(stream).read_all())
    return table.replace_schema_metadata({"rwid.is_cut": "1"}) if facts["is_cut"] else table


def _plain_numbers(table: pa.Table) -> pa.Table:
    """DECIMAL and HUGEINT (which every sum gives) as int64 where they fit, else as double."""
    for at, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(at, field.name, _plain_number(table.column(at), field.type.scale))
    return table


def _plain_number(column: pa.ChunkedArray, scale: int) -> pa.ChunkedArray:
    if not scale:
        with contextlib.suppress(pa.ArrowInvalid):
            return column.cast(pa.int64())
    return column.cast(pa.float64())


def _reword(kind: str, text: str, root: str) -> str:
    if kind in _READABLE and root not in text:
        # these speak of the query's own words; what follows is the query itself with a mark below
        return text.split("\n\nLINE ")[0][:1000]
    return _REWORDED.get(kind, f"The query failed while it ran ({kind.removesuffix('Exception')}).")
