"""The lake: immutable parts, atomic commits, time travel."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import records
from curation.lake import Lake, LakeError
from curation.part import PartError
from tests.curation.lake_rows import an_id, instance

SITE = "st-elsewhere"


def frames(delivery: str, n: int, payload_bytes: int = 100, series: int = 3) -> pa.Table:
    rows = [
        records.Frame(
            instance_id=an_id(f"{delivery}/{k}"),
            frame_index=0,
            series_id=an_id(f"{delivery}/series {k % series}"),
            codec="zstd",
            payload=random.Random(k).randbytes(payload_bytes),
            pixel_sha256=bytes(32),
            site=SITE,
            delivery=delivery,
            code_version="0",
        )
        for k in range(n)
    ]
    return records.to_table(records.Frame, rows)


def refusals(delivery: str, n: int) -> pa.Table:
    rows = [
        records.Refusal(an_id(f"{delivery}/{k}").bytes, "dicom", "read", "truncated", SITE, delivery, "0")
        for k in range(n)
    ]
    return records.to_table(records.Refusal, rows)


def patients(con: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """A fold that is enough to tell states apart: one patient row for each delivery."""
    found = con.execute("SELECT delivery, count(*)::INT FROM refusals GROUP BY ALL ORDER BY ALL").fetchall()
    rows = [
        records.Patient(an_id(name), SITE, None, None, n, None, None, None, 7, name, "0") for name, n in found
    ]
    return {
        "patients": records.to_table(records.Patient, rows),
        "studies": records.to_table(records.Study, []),
        "series": records.to_table(records.Series, []),
    }


def stage(lake: Lake, delivery: str, n: int = 2) -> dict[str, str]:
    return {
        delivery: lake.stage(delivery, {"refusals": [lake.write_part("refusals", refusals(delivery, n))]})
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_the_same_rows_in_any_order_give_the_same_file(lake: Lake) -> None:
    rows = refusals("a", 500)
    shuffled = rows.take(random.Random(1).sample(range(500), 500))
    first, second = lake.write_part("refusals", rows), lake.write_part("refusals", shuffled)
    assert first == second
    path = lake.root / first.path
    assert first.path == f"data/refusals/{first.sha256}.parquet"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == first.sha256
    assert (path.stat().st_size, pq.read_metadata(path).num_rows) == (first.bytes, 500)
    assert not list((lake.root / "aside").iterdir())


def test_a_part_says_its_smallest_and_largest_keys(lake: Lake) -> None:
    part = lake.write_part("frames", frames("a", 30))
    ids = sorted(str(an_id(f"a/series {k}")) for k in range(3))
    assert (part.min["series_id"], part.max["series_id"]) == (ids[0], ids[-1])
    assert (part.min["frame_index"], part.max["frame_index"]) == (0, 0)


def test_frames_lie_sorted_by_series_in_small_row_groups_with_plain_payloads(lake: Lake) -> None:
    with lake.part_writer("frames") as writer:
        for k in range(4):
            writer.write(frames(f"d{k}", 40, payload_bytes=100_000))
    (part,) = writer.parts
    file = pq.ParquetFile(lake.root / part.path)
    ids = [i.bytes for i in file.read(["series_id"])["series_id"].to_pylist()]
    assert ids == sorted(ids)
    assert file.num_row_groups > 3
    for n in range(file.num_row_groups):
        group = file.metadata.row_group(n)
        assert group.total_byte_size < 8 * 2**20
        by_name = {group.column(c).path_in_schema: group.column(c) for c in range(group.num_columns)}
        assert by_name["payload"].compression == "UNCOMPRESSED"
        assert not by_name["payload"].is_stats_set
        assert by_name["series_id"].compression == "ZSTD"
        assert by_name["series_id"].is_stats_set


def test_a_part_writer_bounds_its_memory_by_starting_new_parts(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.part.PART_BYTES", 1_000_000)
    with lake.part_writer("frames") as writer:
        writer.write(frames("a", 50, payload_bytes=50_000))
        for k in range(10):
            writer.write(frames(f"b{k}", 2, payload_bytes=50_000))
    assert len(writer.parts) >= 3
    assert sum(p.rows for p in writer.parts) == 70


def test_a_writer_that_fails_leaves_no_part(lake: Lake) -> None:
    writer = lake.part_writer("frames")

    def fail() -> None:
        with writer:
            writer.write(frames("a", 5))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert writer.parts == []
    assert not list(lake.root.rglob("*.parquet"))


def test_rows_that_do_not_fit_their_table_are_refused_without_quoting_them(lake: Lake) -> None:
    with pytest.raises(PartError, match="missing or unknown: reason"):
        lake.write_part("refusals", refusals("a", 1).drop_columns("reason"))
    rows = refusals("a", 1)
    missing = rows.set_column(rows.column_names.index("reason"), "reason", pa.array([None], pa.string()))
    with pytest.raises(PartError, match="do not fit"):
        lake.write_part("refusals", missing)
    wrong = rows.set_column(rows.column_names.index("reason"), "reason", pa.array([[1]]))
    with pytest.raises(PartError, match="do not fit"):
        lake.write_part("refusals", wrong)


def test_every_table_can_be_written_and_read_with_exactly_its_columns(lake: Lake) -> None:
    for table in [*records.DELIVERED, *records.CATALOGUED]:
        lake.write_part(table, records.to_table(records.TABLES[table], []))
    with lake.connect() as con:
        for table, row_class in records.TABLES.items():
            con.execute("SET arrow_lossless_conversion = true")
            got = con.sql(f"FROM {table}").to_arrow_table()
            assert got.column_names == records.schema_of(row_class).names
            assert got.num_rows == 0


def test_views_give_uuid_date_and_list_columns_their_types(lake: Lake) -> None:
    lake.commit(stage(lake, "a"), patients)
    for con in (lake.connect(), Lake(lake.root / "none").connect()):
        types = dict(con.execute("SELECT column_name, column_type FROM (DESCRIBE patients)").fetchall())
        assert types["patient_id"] == types["person_id"] == "UUID"
        assert (types["first_study_date"], types["n_studies"]) == ("DATE", "INTEGER")
        types = dict(con.execute("SELECT column_name, column_type FROM (DESCRIBE members)").fetchall())
        assert types["labels"] == 'STRUCT("name" VARCHAR, "value" DOUBLE)[]'
        con.close()


def test_the_dicom_uid_macro_gives_all_128_bits_as_one_integer(lake: Lake) -> None:
    for text in (
        "00000000-0000-0000-0000-000000000001",
        "ffffffff-ffff-4fff-bfff-ffffffffffff",
        str(uuid.uuid4()),
    ):
        with lake.connect() as con:
            got = con.execute("SELECT dicom_uid(?::UUID), dicom_uid(?)", [text, text]).fetchone()
        assert got == (f"2.25.{uuid.UUID(text).int}",) * 2


def test_nothing_staged_is_visible_before_the_commit(lake: Lake) -> None:
    lake.commit(stage(lake, "a"), patients)
    staged = stage(lake, "b", 5)
    with lake.connect() as con:
        assert con.execute("SELECT count(*) FROM refusals").fetchone() == (2,)
    with lake.connect_staged("b", staged["b"]) as con:
        assert con.execute("SELECT count(*), count(DISTINCT delivery) FROM refusals").fetchone() == (5, 1)
        assert con.execute("SELECT count(*) FROM studies").fetchone() == (0,)


def test_every_snapshot_stays_readable_by_its_number(lake: Lake) -> None:
    first = lake.commit(stage(lake, "a", 2), patients)
    second = lake.commit(stage(lake, "b", 3), patients)
    third = lake.commit(stage(lake, "a", 10), patients)  # a delivery curated again replaces itself
    assert [s.number for s in (first, second, third)] == [1, 2, 3] == lake.numbers()
    assert [s.parent for s in (first, second, third)] == [None, 1, 2]
    for number, expected in ((1, 2), (2, 5), (3, 13), (None, 13)):
        with lake.connect(number) as con:
            assert con.execute("SELECT count(*) FROM refusals").fetchone() == (expected,)
            assert con.execute("SELECT sum(n_studies) FROM patients").fetchone() == (expected,)
    assert lake.head() == lake.snapshot() == lake.snapshot(3) == third
    assert {p.name for p in lake.files("refusals", third)} != {p.name for p in lake.files("refusals", second)}


def test_the_same_commit_twice_adds_nothing(lake: Lake) -> None:
    first = lake.commit(stage(lake, "a"), patients)
    files = sorted(lake.root.rglob("*"))
    assert lake.commit(stage(lake, "a"), patients) == first
    assert sorted(lake.root.rglob("*")) == files


def test_a_missing_or_damaged_snapshot_names_the_remedy(lake: Lake) -> None:
    with pytest.raises(LakeError, match="rwid ingest"):
        lake.snapshot()
    lake.commit(stage(lake, "a"), patients)
    with pytest.raises(LakeError, match="no snapshot 7; the lake has 1 to 1"):
        lake.connect(7)
    path = lake.root / "snapshots" / "00000001.json"
    path.write_text(path.read_text().replace('"number":1', '"number":2'))
    with pytest.raises(LakeError, match="damaged"):
        lake.connect()


def test_an_object_that_another_delivery_brought_meanwhile_stops_the_commit(lake: Lake) -> None:
    def staged(delivery: str, instances: list[str]) -> dict[str, str]:
        rows = [instance(delivery=delivery, instance_id=an_id(name)) for name in instances]
        part = lake.write_part("instances", records.to_table(records.Instance, rows))
        return {delivery: lake.stage(delivery, {"instances": [part]})}

    lake.commit(staged("a", ["1", "2"]), patients)
    with pytest.raises(LakeError, match="Curate the delivery again"):
        lake.commit(staged("b", ["2", "3"]), patients)
    assert lake.numbers() == [1]
    lake.commit(staged("b", ["3"]), patients)
    lake.commit(staged("a", ["1"]), patients)  # itself is no conflict


COMMITTER = """
import sys
from tests.curation.test_lake import Lake, Path, patients, stage
lake = Lake(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    lake.commit(stage(lake, f"{sys.argv[2]}-{n}", 1), patients)
    print(n, flush=True)
"""


def start_committer(root: Path, name: str, n: int) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", COMMITTER, str(root), name, str(n)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_concurrent_commits_of_four_processes_are_all_kept(lake: Lake) -> None:
    processes = [start_committer(lake.root, f"p{k}", 20) for k in range(4)]
    assert [p.wait(timeout=120) for p in processes] == [0] * 4
    head = lake.snapshot()
    assert sorted(head.deliveries) == sorted(f"p{k}-{n}" for k in range(4) for n in range(20))
    assert head.number == 80
    with lake.connect() as con:
        assert con.execute("SELECT count(*), count(DISTINCT delivery) FROM patients").fetchone() == (80, 80)
    sizes = [len(lake.snapshot(n).deliveries) for n in lake.numbers()]
    assert sizes == list(range(1, 81))


def test_commits_without_turns_are_all_kept_too(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is a courtesy: with every process ignoring it, the link alone loses nothing."""
    monkeypatch.setattr("curation.lake.TURN_DEADLINE_S", 0.0)
    staged = [stage(lake, f"t{k}") for k in range(12)]
    with ThreadPoolExecutor(4) as pool:
        numbers = [s.number for s in pool.map(lambda one: lake.commit(one, patients), staged)]
    assert sorted(numbers) == list(range(1, 13))
    assert sorted(lake.snapshot().deliveries) == sorted(f"t{k}" for k in range(12))


def test_kill_9_while_committing_leaves_the_old_or_the_new_snapshot(lake: Lake) -> None:
    for k in range(4):
        process = start_committer(lake.root, f"k{k}", 1000)
        assert process.stdout
        acknowledged = [process.stdout.readline() for _ in range(5)]
        time.sleep(random.Random(k).uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        for number in lake.numbers():
            lake.snapshot(number)
        known = lake.snapshot().deliveries
        assert all(f"k{k}-{int(n)}" in known for n in acknowledged)
        with lake.connect() as con:
            (n_rows,) = con.execute("SELECT count(*) FROM refusals").fetchone() or (None,)
        assert n_rows == len(known)


@pytest.mark.parametrize("point", ["os.link", "os.replace", "os.fsync"])
def test_a_death_at_any_step_of_a_commit_loses_nothing(
    lake: Lake, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(stage(lake, "a"), patients)
    real = getattr(os, point.split(".")[1])
    for after in range(30):
        calls = 0

        def dies(*args, at=after):
            nonlocal calls
            calls += 1
            if calls > at:
                raise KeyboardInterrupt
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, point.split(".")[1], dies)
            try:
                lake.commit(stage(lake, "b"), patients)
                break
            except KeyboardInterrupt:
                pass
        assert sorted(lake.snapshot().deliveries) in (["a"], ["a", "b"])
    else:
        pytest.fail("the commit never got through")
    assert sorted(lake.snapshot().deliveries) == ["a", "b"]


def test_bytes_are_synced_before_they_get_their_name_and_the_folder_after(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(stage(lake, "a"), patients)
    trace: list[str] = []
    real_fsync, real_link, real_replace = os.fsync, os.link, os.replace

    def fsync(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        trace.append(f"sync {Path(path).relative_to(lake.root).parts[0]}")
        real_fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", lambda *a: (trace.append("link"), real_link(*a)))
    monkeypatch.setattr(os, "replace", lambda *a: (trace.append("replace"), real_replace(*a)))
    lake.commit(stage(lake, "b"), patients)
    assert trace[-3:] == ["sync aside", "link", "sync snapshots"]
    assert trace[:-3] == ["sync aside", "replace", "sync data"] * 3  # refusals, part list, patients


def test_debris_goes_by_age_alone(lake: Lake) -> None:
    lake.commit(stage(lake, "a"), patients)
    old, young = lake.root / "aside" / "1-old", lake.root / "aside" / "2-young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7 * 86_400,) * 2)
    lake.commit(stage(lake, "b"), patients)
    assert not old.exists()
    assert young.exists()


def test_files_of_another_release_read_with_the_missing_columns_as_null(lake: Lake, tmp_path: Path) -> None:
    part = lake.write_part("refusals", refusals("a", 3))
    older = pq.read_table(lake.root / part.path).drop_columns("code_version")
    pq.write_table(older, lake.root / part.path)
    staged = lake.stage("a", {"refusals": [dataclasses.replace(part, schema_version=0)]})
    with lake.connect_staged("a", staged) as con:
        got = con.execute("SELECT count(*), count(code_version) FROM refusals").fetchone()
    assert got == (3, 0)


def test_snapshot_time_is_utc(lake: Lake) -> None:
    snapshot = lake.commit(stage(lake, "a"), patients)
    assert datetime.datetime.fromisoformat(snapshot.created_at_utc).utcoffset() == datetime.timedelta(0)
