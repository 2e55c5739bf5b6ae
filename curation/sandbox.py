"""The child process in which a foreign query runs: restricted by the kernel first, then by DuckDB, then by
its syntax.

What belongs here: the restrictions, and running one query under them. What does not: which files it may see
and how its answer is told (query). Imports stay few: a query waits for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION, _PATH_BENEATH, _READ_FILE = 1, 1, 1 << 2
_FS_RIGHTS = {1: 13, 2: 14}  # number of file rights by ABI; 15 from ABI 3 on
_TCP_RIGHTS = 0b11
# DuckDB 2.0 aborts where these exist and cannot be read: the memory and processors of its control group
_LIMIT_FILES = ("/proc/self/cgroup", "/sys/fs/cgroup")
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "CTE_NODE", "RECURSIVE_CTE_NODE"}
_SOURCES = {
    "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT", "SHOW_REF",
}  # fmt: skip
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest"}
# they tell of this machine or of other sessions, or change something
_REFUSED_FUNCTIONS = {
    "getenv", "current_setting", "getvariable", "nextval", "currval", "write_log", "set_config",
    "getfield_path", "query", "query_table", "glob", "current_query", "current_connection_id", "version",
}  # fmt: skip


class Denied(Exception):  # noqa: N818 - the field's word: nothing broke
    """The query asks for what the sandbox does not give; the text says what, never a value."""


def main() -> None:
    """Reads a plan from standard input; answers one line of JSON and, if all went well, an Arrow stream."""
    plan = json.load(sys.stdin)
    answer = _claim_stdout()
    statm = _open_statm()
    restrict_process(plan["root"], plan["timeout_s"])
    try:
        found = _run(plan, statm)
    except (Denied, duckdb.Error, MemoryError) as error:
        _say(answer, {"error": type(error).__name__, "text": str(error)})
        return
    _say(answer, {"is_cut": found.is_cut})
    with pa.ipc.new_stream(answer, found.schema) as stream:
        for batch in found.batches:
            stream.write_batch(batch)
    answer.flush()


def _claim_stdout() -> BinaryIO:
    """Standard output for the answer alone: DuckDB writes a progress bar to where it thinks that it is."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return answer


def _say(answer: BinaryIO, facts: Mapping[str, Any]) -> None:
    answer.write(json.dumps(facts).encode() + b"\n")
    answer.flush()


def restrict_process(root: str, timeout_s: float) -> None:
    """No core dump, no written file, no TCP, no file readable but those under `root`; ends with its parent.

    Landlock holds for this thread and those it starts: it must come before DuckDB starts its own. Where the
    kernel has none (before Linux 5.13, macOS), the limits and DuckDB's own locks remain.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    seconds = int(timeout_s * (os.cpu_count() or 1)) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _restrict_files(libc, root)


def _restrict_files(libc: ctypes.CDLL, root: str) -> None:
    abi = libc.syscall(_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if abi < 1:
        return
    rights = (1 << _FS_RIGHTS.get(abi, 15)) - 1
    ruleset = struct.pack("QQ", rights, _TCP_RIGHTS) if abi >= 4 else struct.pack("Q", rights)
    rules = libc.syscall(_CREATE_RULESET, ruleset, len(ruleset), 0)
    is_done = rules >= 0 and all(_permit(libc, rules, path) for path in (root, *_LIMIT_FILES))
    if not is_done or libc.syscall(_RESTRICT_SELF, rules, 0):
        raise OSError(ctypes.get_errno(), "Landlock is there but refuses its rules.")
    os.close(rules)


def _permit(libc: ctypes.CDLL, rules: int, path: str) -> bool:
    try:
        fd = os.open(path, os.O_PATH)
    except FileNotFoundError:
        return path in _LIMIT_FILES
    failed: int = libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", _READ_FILE, fd), 0)
    os.close(fd)
    return not failed


def _run(plan: Mapping[str, Any], statm: int | None) -> _Answer:
    with duckdb.connect() as con:
        con.execute("SET python_enable_replacements = false")
        tables = check_query(con, plan["query"], plan["views"])
        con.execute("ATTACH ':memory:' AS rwid")
        con.execute("USE rwid")
        for statement in (*plan["macros"], *(plan["views"][table] for table in sorted(tables))):
            con.execute(statement)
        files = [file for table in sorted(tables) for file in plan["files"][table]]
        _lock(con, files, plan["memory_mib"])
        if statm is not None:
            pages = int(os.pread(statm, 200, 0).split()[0])
            limit = pages * resource.getpagesize() + plan["memory_mib"] * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return _take(con, plan)


def _lock(con: duckdb.DuckDBPyConnection, files: Sequence[str], memory_mib: int) -> None:
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET allowed_paths = ?", [list(files)])
    con.execute(f"SET memory_limit = '{int(memory_mib * 0.75)}MiB'")
    for setting in (
        "temp_directory = ''",
        "max_temp_directory_size = '0KiB'",
        f"threads = {min(4, os.cpu_count() or 1)}",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "errors_as_json = false",
        "enable_progress_bar = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"SET {setting}")


@dataclass(frozen=True, slots=True)
class _Answer:
    schema: pa.Schema
    batches: Sequence[pa.RecordBatch]
    is_cut: bool
    """Whether there were more rows than max_rows."""


def _take(con: duckdb.DuckDBPyConnection, plan: Mapping[str, Any]) -> _Answer:
    reader: pa.RecordBatchReader = con.sql(plan["query"]).to_arrow_reader(4096)
    batches: list[pa.RecordBatch] = []
    n_rows = n_bytes = 0
    for batch in reader:
        if plan["max_rows"] is not None and n_rows + batch.num_rows > plan["max_rows"]:
            return _Answer(reader.schema, [*batches, batch.slice(0, plan["max_rows"] - n_rows)], True)
        n_rows += batch.num_rows
        n_bytes += batch.nbytes
        if n_bytes > plan["max_bytes"]:
            raise Denied("The answer is too large. Ask for fewer columns, aggregate, or add a LIMIT.")
        batches.append(batch)
    return _Answer(reader.schema, batches, False)


def check_query(con: duckdb.DuckDBPyConnection, query: str, views: Mapping[str, str]) -> set[str]:
    """The views that the query names. Raises Denied where its syntax tree holds what only reading does not need."""
    row = con.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    assert row is not None
    tree: dict[str, Any] = json.loads(row[0])
    if tree["error"]:
        _explain(con, query, tree)
    if len(tree["statements"]) != 1:
        raise Denied("Ask one question: exactly one SELECT statement.")
    parts = list(_walk(tree["statements"]))
    defined = {name.lower() for part in parts for name in _names_defined(part)}
    return {table for part in parts for table in _check_part(part, set(views), defined)}


def _explain(con: duckdb.DuckDBPyConnection, query: str, tree: Mapping[str, Any]) -> None:
    if tree.get("error_type") in ("parser", "syntax"):
        con.extract_statements(query)  # raises the parser's own message, with the place
    raise Denied(
        "Only reading is allowed: SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE and SHOW TABLES. "
        "A PIVOT goes into brackets with its values: FROM (PIVOT t ON c IN ('a', 'b') USING count(*))."
    )


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree. Without recursion: a deep query must not end in a broken stack."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _names_defined(part: Mapping[str, Any]) -> Iterator[str]:
    for entry in (part.get("cte_map") or {}).get("map", []):
        yield entry["key"]
    if part.get("cte_name"):
        yield part["cte_name"]


def _check_part(part: Mapping[str, Any], views: set[str], defined: set[str]) -> Iterator[str]:
    kind, is_expression = part.get("type"), "class" in part
    if part.get("function_name"):
        _check_function(part["function_name"].lower())
    if not isinstance(kind, str) or is_expression:
        if kind == "VALUE_PARAMETER":
            raise Denied("Write values into the query: it has no parameters.")
        return
    if kind.endswith("_NODE") and kind not in _NODES:
        raise Denied("Only reading is allowed: this query changes or writes something.")
    if "sample" in part and "alias" in part and kind not in _SOURCES:
        raise Denied("The query reads from something that is no table of the lake.")
    if kind == "TABLE_FUNCTION" and part["function"].get("function_name", "").lower() not in _TABLE_FUNCTIONS:
        raise Denied(f"Table functions are limited to {', '.join(sorted(_TABLE_FUNCTIONS))}.")
    if kind == "SHOW_REF" and not part.get("query"):
        if part["table_name"].strip('"') != "tables":
            raise Denied("SHOW is limited to SHOW TABLES; DESCRIBE and SUMMARIZE take a table or a query.")
        yield from views
    if kind == "BASE_TABLE":
        yield from _check_table([name.lower() for name in part["qualified_name"]["path"]], views, defined)


def _check_function(name: str) -> None:
    if name in _REFUSED_FUNCTIONS or name.startswith(("pg_", "duckdb_", "pragma_", "read_", "parquet_")):
        raise Denied(f"The function {name} is not available here.")


def _check_table(path: list[str], views: set[str], defined: set[str]) -> Iterator[str]:
    name = path[-1]
    is_ours = path[:-1] in ([], ["main"], ["rwid"], ["rwid", "main"])
    if is_ours and name in views:
        yield name
    elif len(path) > 1 or name not in defined:
        raise Denied(f"There is no such table. The lake has: {', '.join(sorted(views))}.")


def _open_statm() -> int | None:
    """This process' size, to be read when /proc is out of reach; None where there is none (macOS)."""
    with contextlib.suppress(FileNotFoundError):
        return os.open("/proc/self/statm", os.O_RDONLY)
    return None
