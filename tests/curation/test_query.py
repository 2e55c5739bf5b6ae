"""Foreign SQL: everything a reader needs, and no way out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import records
from curation.lake import Lake
from curation.query import QueryError, run_sql
from curation.sandbox import Denied, check_query
from tests.curation.lake_rows import row
from tests.curation.test_lake import patients, stage

SECRET = "the-secret-of-another-file"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two snapshots with a cohort, and a restricted folder beside it."""
    home = tmp_path_factory.mktemp("home")
    lake = Lake(home / "lake")
    lake.commit(stage(lake, "a", 2), patients)
    lake.commit(stage(lake, "b", 3), patients)
    (home / "restricted").mkdir()
    (home / "restricted" / "key").write_text(SECRET)
    (home / "lake" / "cohorts" / "c").mkdir(parents=True)
    cohort = records.to_table(records.Cohort, [row(records.Cohort, cohort_id="c", name="nodule", studies=3)])
    pq.write_table(cohort, home / "lake" / "cohorts" / "c" / "cohort.parquet")
    (home / "lake" / "runs" / "r").mkdir(parents=True)
    (home / "lake" / "runs" / "r" / "spec.json").write_text(SECRET)
    return home


def ask(home: Path, query: str, **limits: object) -> list[dict[str, object]]:
    return run_sql(home / "lake", query, **{"timeout_s": 30, **limits}).to_pylist()  # type: ignore[arg-type]


READS = {
    "SELECT count(*) AS n FROM refusals": [{"n": 5}],
    "FROM cohorts SELECT name, studies": [{"name": "nodule", "studies": 3}],
    "SELECT sum(n_studies) AS n, 1.5 AS x, true AS b FROM rwid.patients": [{"n": 5, "x": 1.5, "b": True}],
    "WITH p AS (FROM patients) SELECT count(*) AS n FROM p JOIN refusals AS r ON r.delivery = p.delivery": [{"n": 5}],
    "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 4) SELECT max(x) AS m FROM t": [{"m": 4}],
    "SELECT reason FROM refusals UNION SELECT 'x' ORDER BY 1": [{"reason": "truncated"}, {"reason": "x"}],
    "SELECT count(*) AS n FROM members": [{"n": 0}],
    "VALUES (1)": [{"col0": 1}],
    "SELECT list_transform([1, 2], lambda x: x + 1) AS l": [{"l": [2, 3]}],
    "SELECT sum(i) AS s FROM range(10) AS t(i)": [{"s": 45}],
    "SELECT dicom_uid('00000000-0000-0000-0000-000000000007') AS uid": [{"uid": "2.25.7"}],
    "FROM (PIVOT refusals ON delivery IN ('a', 'b') USING count(*) GROUP BY site)": [{"site": "st-elsewhere", "a": 2, "b": 3}],
    "SELECT n_studies, row_number() OVER (ORDER BY n_studies) AS k FROM patients QUALIFY k = 1": [{"n_studies": 2, "k": 1}],
}  # fmt: skip


def test_what_only_reads_is_answered(home: Path) -> None:
    for query, expected in READS.items():
        assert ask(home, query) == expected, query


def test_describe_summarize_and_show_tables_work(home: Path) -> None:
    assert [r["column_name"] for r in ask(home, "DESCRIBE patients")][:2] == ["patient_id", "site"]
    assert {r["column_name"] for r in ask(home, "SUMMARIZE refusals")} >= {"reason", "delivery"}
    assert {r["name"] for r in ask(home, "SHOW TABLES")} == set(records.TABLES)


def test_an_older_snapshot_answers_as_it_did(home: Path) -> None:
    assert ask(home, "SELECT count(*) AS n FROM refusals", number=1) == [{"n": 2}]
    with pytest.raises(QueryError, match="no snapshot 9"):
        ask(home, "SELECT 1", number=9)


def test_an_empty_lake_answers_with_no_rows(tmp_path: Path) -> None:
    answer = run_sql(tmp_path / "lake", "SELECT study_id, study_date FROM studies")
    assert answer.num_rows == 0
    assert answer.schema.field("study_date").type == pa.date32()


def test_an_answer_is_cut_at_max_rows_and_says_so(home: Path) -> None:
    cut = run_sql(home / "lake", "FROM range(100000)", max_rows=5000)
    assert cut.num_rows == 5000
    assert cut.schema.metadata == {b"rwid.is_cut": b"1"}
    whole = run_sql(home / "lake", "FROM range(5000)", max_rows=5000)
    assert (whole.num_rows, whole.schema.metadata) == (5000, None)


def attacks(home: Path) -> list[str]:
    key, spec = home / "restricted" / "key", home / "lake" / "runs" / "r" / "spec.json"
    part = next((home / "lake" / "data" / "refusals").iterdir())
    out = home / "lake" / "out.parquet"
    return [
        f"COPY (SELECT 1) TO '{out}'",
        f"WITH c AS (COPY (SELECT 1) TO '{out}') SELECT 1",
        f"WITH c AS (COPY (SELECT 1) TO '{part}' (FORMAT parquet, USE_TMP_FILE false)) SELECT 1",
        "WITH d AS (DELETE FROM refusals RETURNING 1) SELECT 1",
        "WITH d AS (INSERT INTO refusals VALUES (1) RETURNING 1) FROM d",
        f"SELECT * FROM read_text('{key}')",
        f"SELECT * FROM read_csv('{key}')",
        f"SELECT * FROM READ_BLOB('{spec}')",
        f"SELECT * FROM '{key}'",
        f"SELECT * FROM '{part}'",
        f"SELECT * FROM read_parquet('{part}')",
        f"SELECT (SELECT content FROM read_text('{key}'))",
        f"FROM parquet_metadata('{part}')",
        f"FROM glob('{home}/*')",
        f"DESCRIBE '{key}'",
        f"SUMMARIZE SELECT * FROM read_text('{key}')",
        f"ATTACH '{key}' AS k",
        f"ATTACH '{home / 'x.db'}' AS x; CREATE TABLE x.t AS SELECT 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA database_list",
        "PRAGMA enable_logging",
        "CALL enable_logging(storage = 'file')",
        "CALL pragma_version()",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPORT DATABASE '/tmp'",
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW studies AS SELECT 1",
        "DROP VIEW studies",
        "USE memory",
        "BEGIN",
        "CHECKPOINT",
        "SELECT getenv('HOME')",
        "SELECT current_setting('allowed_paths')",
        "SELECT main.GetEnv('PATH')",
        "FROM duckdb_settings()",
        "FROM duckdb_databases()",
        "FROM duckdb_views()",
        "FROM information_schema.tables",
        "FROM pg_catalog.pg_settings",
        "FROM sqlite_master",
        "SHOW DATABASES",
        "SHOW ALL TABLES",
        "FROM query('SELECT 1')",
        "FROM query_table('refusals')",
        "SELECT * FROM memory.main.refusals",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW studies",
        "",
        "-- nothing",
        "SELECT ?",
        "SELECT $x",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "FROM con",
        "FROM plan",
        "IMPORT DATABASE '/tmp'",
        "VACUUM",
        "SELECT nextval('s')",
        "FROM repeat_row(1, num_rows = 5)",
        "FROM read_json_auto('https://example.org/x.json')",
        "FROM 's3://bucket/x.parquet'",
        "MERGE INTO refusals USING patients ON true WHEN MATCHED THEN DELETE",
    ]


def listing(home: Path) -> dict[str, tuple[int, int]]:
    files = (p for p in home.rglob("*") if p.is_file())
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def test_every_attack_is_refused_by_its_syntax_alone(home: Path) -> None:
    views = dict.fromkeys(records.TABLES, "")
    with duckdb.connect() as con:
        for query in READS:
            assert check_query(con, query, views) <= set(views)
        for attack in attacks(home):
            # by the tree, or by the parser itself
            with pytest.raises((Denied, duckdb.Error)):
                check_query(con, attack, views)


def test_attacks_change_nothing_and_their_refusal_tells_nothing(home: Path) -> None:
    before = listing(home)
    for attack in attacks(home)[::8]:
        with pytest.raises(QueryError) as told:
            ask(home, attack)
        assert str(told.value)
        assert SECRET not in str(told.value)
        assert str(home) not in str(told.value)
    assert listing(home) == before


def test_a_file_named_like_a_common_table_expression_stays_closed(home: Path) -> None:
    # a name defined in one place passes the tree in another: DuckDB's locks must stop it
    key = home / "restricted" / "key"
    with pytest.raises(QueryError) as told:
        ask(home, f'FROM (WITH "{key}" AS (SELECT 1) FROM "{key}") AS a, "{key}" AS b')
    assert SECRET not in str(told.value)


def test_the_kernel_alone_holds_where_the_syntax_was_passed(home: Path) -> None:
    """What DuckDB could do, had a query slipped through: nothing. Asked in the restricted process, without the tree."""
    script = f"""
        import sys
        import duckdb
        from curation.sandbox import restrict_process
        restrict_process({str(home / "lake")!r}, 10)
        con = duckdb.connect()
        part = sys.argv[1]
        for query in (
            "FROM read_text('{home}/restricted/key')",
            "COPY (SELECT 1 AS x) TO '" + part + "' (FORMAT parquet, USE_TMP_FILE false)",
            "COPY (SELECT 1 AS x) TO '{home}/lake/new.parquet'",
            "ATTACH '{home}/lake/new.db' AS n",
        ):
            try:
                con.execute(query)
                print("HOLE", query)
            except duckdb.Error:
                pass
        print(con.execute("SELECT count(*) FROM '" + part + "'").fetchone())
    """
    part = next((home / "lake" / "data" / "refusals").iterdir())
    before = listing(home)
    command = [sys.executable, "-c", textwrap.dedent(script), str(part)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    if "HOLE FROM read_text" in done.stdout:
        pytest.skip("This kernel has no Landlock: DuckDB's own locks stand alone.")
    assert done.stdout.startswith("("), done.stdout
    assert listing(home) == before


def test_the_restricted_process_reaches_no_tcp_port(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"""
            import socket
            from curation.sandbox import restrict_process
            restrict_process({str(home)!r}, 10)
            try:
                socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=5)
                print("connected")
            except PermissionError:
                print("refused")
        """
        command = [sys.executable, "-c", textwrap.dedent(script)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    if told == "connected":
        pytest.skip("This kernel's Landlock is older than ABI 4: it does not know TCP.")
    assert told == "refused"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT length(repeat('x', 2000000000))",
        "SELECT repeat(repeat('x', 1000), 3000000) FROM range(10)",
        "SELECT list(i) FROM range(2000000000) AS t(i)",
        "SELECT string_agg(repeat('x', 1000), '') FROM range(5000000)",
    ],
)
def test_a_bomb_runs_out_of_memory_and_not_the_machine(home: Path, query: str) -> None:
    with pytest.raises(QueryError, match=r"memory|too large|took longer|failed while"):
        ask(home, query, memory_mib=512, timeout_s=20)


def test_an_endless_query_is_stopped_at_its_deadline(home: Path) -> None:
    endless = "WITH RECURSIVE t AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t"
    started, before = time.monotonic(), children()
    with pytest.raises(QueryError, match="took longer than 3 s"):
        ask(home, endless, timeout_s=3)
    assert time.monotonic() - started < 30
    assert children() <= before


def children() -> set[str]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(task.read_text().split()) if task.exists() else set()


def test_an_answer_without_end_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.query.MAX_BYTES", 10_000_000)
    with pytest.raises(QueryError, match="answer is too large"):
        ask(home, "FROM range(100000000)")


def test_errors_tell_what_to_do_and_quote_no_data(home: Path) -> None:
    with pytest.raises(QueryError, match="TRY_CAST") as told:
        ask(home, "SELECT CAST(delivery || 'x-ray' AS INTEGER) FROM refusals")
    assert "x-ray" not in str(told.value)
    with pytest.raises(QueryError, match="delivry"):
        ask(home, "SELECT delivry FROM refusals")
    with pytest.raises(QueryError, match="syntax error"):
        ask(home, "SELEC 1")
    with pytest.raises(QueryError, match=r"no such table.*studies"):
        ask(home, "FROM studys")
    with pytest.raises(QueryError, match="PIVOT goes into brackets"):
        ask(home, "PIVOT refusals ON delivery USING count(*)")
    with pytest.raises(QueryError) as told:
        ask(home, "SELECT error(delivery || ' said') FROM refusals")
    assert "said" not in str(told.value)


def test_deep_nesting_ends_in_an_error_and_not_in_a_crash(home: Path) -> None:
    with pytest.raises(QueryError):
        ask(home, "SELECT " + "(" * 5000 + "1" + ")" * 5000)
