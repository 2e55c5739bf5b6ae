"""The lake: immutable parts, one small manifest a snapshot, atomic commits, time travel.

What belongs here: everything that knows snapshots and commits. What does not: how a part is written (part),
what the views say (view), how studies are folded (catalog).

A commit writes the manifest aside, fsyncs it and links it to the next free number; the link fails where
another process was first, and then the commit is made anew on top of that. Readers take one manifest and
read the files it names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from curation import records, view
from curation.part import (
    Part,
    PartWriter,
    aside,
    make_folder,
    sync_folder,
    write_empty,
    write_part,
    write_parts,
)

Connection = duckdb.DuckDBPyConnection
Fold = Callable[[Connection], Mapping[str, pa.Table]]

__all__ = ["Connection", "Fold", "Lake", "LakeError", "Part", "Snapshot"]

TURN_DEADLINE_S = 600.0
DEBRIS_AGE_S = 2 * 86_400.0
_MANIFEST = re.compile(r"(\d{8})\.json")


class LakeError(Exception):
    """The lake cannot do what was asked; the text names the remedy and holds no data."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the whole lake.

    deliveries: delivery to the sha256 of its part list. tables: parts of the catalogue tables; the bulk
    tables' parts stand in the part lists. sha256: over the manifest without this field.
    """

    number: int
    parent: int | None
    created_at_utc: str
    schema_version: int
    code_version: str
    erasure_epoch: int
    deliveries: Mapping[str, str]
    tables: Mapping[str, Sequence[Part]]
    sha256: str = ""


class Lake:
    """The lake under one folder. Holds no state: any number of processes may work on it at once."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    # parts

    def write_part(self, table: str, rows: pa.Table) -> Part:
        """One sorted, content-addressed part; published by nobody until a commit names it."""
        return write_part(self.root, table, rows)

    def part_writer(self, table: str) -> PartWriter:
        """Context manager: `write` batches, then read `parts`. For tables too large for memory."""
        return PartWriter(self.root, table)

    def stage(self, delivery: str, parts: Mapping[str, Sequence[Part]]) -> str:
        """Writes the part list of a delivery; gives its sha256. Nothing becomes visible."""
        unknown = set(parts) - set(records.DELIVERED)
        if unknown:
            raise LakeError(f"Delivery {delivery}: no bulk table is called {', '.join(sorted(unknown))}.")
        tables = {
            name: [_part_fact(p) for p in sorted(parts.get(name, ()), key=lambda p: p.path)]
            for name in records.DELIVERED
        }
        body = _canonical({"delivery": delivery, "tables": tables})
        digest = hashlib.sha256(body).hexdigest()
        folder = make_folder(self.root / "data" / "deliveries")
        with aside(self.root) as path:
            _write_synced(path, body)
            os.replace(path, folder / f"{digest}.json")
        sync_folder(folder)
        return digest

    def part_list(self, part_list: str) -> dict[str, list[Part]]:
        """Bulk table to parts, as staged. Raises LakeError where the list is missing or damaged."""
        path = self.root / "data" / "deliveries" / f"{part_list}.json"
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            raise LakeError(f"Part list {part_list} is not in the lake. Curate the delivery again.") from None
        if hashlib.sha256(body).hexdigest() != part_list:
            raise LakeError(f"Part list {part_list} is damaged. Restore it from a backup, or curate again.")
        tables = json.loads(body)["tables"]
        return {name: [Part(**fact) for fact in facts] for name, facts in tables.items()}

    # snapshots

    def numbers(self) -> list[int]:
        """All snapshot numbers, ascending."""
        folder = self.root / "snapshots"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(int(m[1]) for name in names if (m := _MANIFEST.fullmatch(name)))

    def head(self) -> Snapshot | None:
        """The newest snapshot; None where nothing was ever committed."""
        numbers = self.numbers()
        return self._read(numbers[-1]) if numbers else None

    def snapshot(self, number: int | None = None) -> Snapshot:
        """A snapshot by number, the newest by default. Raises LakeError naming the remedy."""
        numbers = self.numbers()
        if not numbers:
            raise LakeError("The lake is empty. Bring a delivery in first: rwid ingest SRC --site SITE.")
        if number is not None and number not in numbers:
            raise LakeError(
                f"There is no snapshot {number}; the lake has {numbers[0]} to {numbers[-1]}. "
                "Leave the number out for the newest."
            )
        return self._read(numbers[-1] if number is None else number)

    def _path(self, number: int) -> Path:
        return self.root / "snapshots" / f"{number:08d}.json"

    def _read(self, number: int) -> Snapshot:
        facts = json.loads(self._path(number).read_bytes())
        said = facts.pop("sha256", None)
        if hashlib.sha256(_canonical(facts)).hexdigest() != said:
            raise LakeError(
                f"Snapshot {number} is damaged. Restore snapshots/{number:08d}.json from a backup."
            )
        tables = {name: tuple(Part(**p) for p in parts) for name, parts in facts.pop("tables").items()}
        return Snapshot(**facts, tables=tables, sha256=said)

    def parts(self, snapshot: Snapshot) -> dict[str, list[Part]]:
        """Every bulk, catalogue and decided table with its parts, in the order of deliveries."""
        found: dict[str, list[Part]] = {name: [] for name in records.DELIVERED}
        for delivery in sorted(snapshot.deliveries):
            for name, parts in self.part_list(snapshot.deliveries[delivery]).items():
                found[name] += parts
        return {
            **found,
            **{name: list(snapshot.tables.get(name, ())) for name in (*records.CATALOGUED, *records.DECIDED)},
        }

    def files(self, table: str, snapshot: Snapshot) -> list[Path]:
        """The Parquet files of one table at one snapshot; of a folder table, those there now."""
        if table in records.FOLDERS:
            return sorted(self.root.glob(records.FOLDERS[table][1]))
        return [self.root / part.path for part in self.parts(snapshot)[table]]

    # reading

    def connect(self, number: int | None = None) -> Connection:
        """In-memory DuckDB with every table of records.TABLES as a view over ONE snapshot, and the macros.

        A lake without any snapshot gives typed, empty views. UUIDs reach Arrow as text unless the caller says
        `SET arrow_lossless_conversion = true`. Raises LakeError where the number does not exist.
        """
        if number is None and not self.numbers():
            return self._connect({})
        return self._connect(self.parts(self.snapshot(number)))

    def connect_staged(self, delivery: str, part_list: str) -> Connection:
        """The same views over one staged delivery alone, for checks before it is published."""
        return self._connect(self.part_list(part_list))

    def view_bodies(self, files: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """The SELECT behind every view, over the files that view_files names."""
        return {table: view.view_body(table, files[table]) for table in records.TABLES}

    def view_files(self, parts: Mapping[str, Sequence[Part]]) -> dict[str, list[str]]:
        """Table to absolute paths of the Parquet files to read, folder tables as they are now.

        Files of another release may lack a column: then an empty file with all columns comes first, and what
        is missing reads as NULL.
        """
        files = {}
        for table in records.TABLES:
            if table in records.FOLDERS:
                found = [str(p) for p in sorted(self.root.glob(records.FOLDERS[table][1]))]
                is_mixed = bool(found)
            else:
                found = [str(self.root / part.path) for part in parts.get(table, ())]
                is_mixed = any(p.schema_version != records.SCHEMA_VERSION for p in parts.get(table, ()))
            files[table] = [str(self._placeholder(table)), *found] if is_mixed else found
        return files

    def live_bodies(self, snapshot: Snapshot) -> dict[str, str]:
        """As view_bodies, but folder tables follow what cohorts and runs write later."""
        files = self.view_files(self.parts(snapshot))
        for table, (_, pattern) in records.FOLDERS.items():
            # DuckDB refuses a pattern that matches nothing: this one also matches the placeholder in catalog/
            name = Path(pattern).name
            files[table] = [str(self._placeholder(table)), str(self.root / "[cr]*" / "*" / name)]
        return self.view_bodies(files)

    def _placeholder(self, table: str) -> Path:
        """An empty Parquet file with all columns of the table; made where missing."""
        folder = self.root / "catalog" / f"{view.PLACEHOLDERS}-{records.SCHEMA_VERSION}"
        name = Path(records.FOLDERS[table][1]).name if table in records.FOLDERS else f"{table}.parquet"
        path = folder / name
        if not path.exists():
            make_folder(folder)
            write_empty(self.root, table, path)
        return path

    def _connect(self, parts: Mapping[str, Sequence[Part]]) -> Connection:
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        bodies = self.view_bodies(self.view_files(parts))
        con.execute("BEGIN")
        for statement in (*view.macro_statements(), *view.view_statements(bodies)):
            con.execute(statement)
        con.execute("COMMIT")
        return con

    # writing

    def commit(self, deliveries: Mapping[str, str], fold: Fold) -> Snapshot:
        """Adds or replaces deliveries (name to part list) and folds the catalogue tables, in one atomic step.

        `fold` gets a connection over the new state's bulk tables and gives the catalogue tables; it runs
        again on top of every snapshot that other processes commit meanwhile. The same deliveries with the
        same part lists as the head: the head is given back and nothing is written.

        Raises LakeError where an object of a new delivery is already in another delivery of the head.
        """
        self.sweep(DEBRIS_AGE_S)
        with self._turn():
            while True:
                head = self.head()
                before = dict(head.deliveries) if head else {}
                after = {**before, **deliveries}
                if head and after == before and head.schema_version == records.SCHEMA_VERSION:
                    return head
                snapshot = self._folded(head, after, deliveries, fold)
                if self._create(snapshot):
                    return snapshot
                time.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter, not a secret

    def add(self, table: str, rows: pa.Table) -> Snapshot:
        """Adds rows to a table of decisions in one atomic step; nothing else changes, and no fold is paid for.

        The same rows twice are there once. Raises LakeError where the lake is empty or the table is none of records.DECIDED.
        """
        if table not in records.DECIDED:
            raise LakeError(f"{table} is no table of decisions; there is {', '.join(records.DECIDED)}.")
        part = self.write_part(table, rows)
        with self._turn():
            while True:
                head = self.snapshot()
                there = head.tables.get(table, ())
                if part.path in {p.path for p in there}:
                    return head
                draft = dataclasses.replace(
                    head,
                    number=head.number + 1,
                    parent=head.number,
                    created_at_utc=datetime.now(UTC).isoformat(timespec="seconds"),
                    code_version=importlib.metadata.version("rwid"),
                    tables={**head.tables, table: (*there, part)},
                )
                snapshot = _sealed(draft)
                if self._create(snapshot):
                    return snapshot
                time.sleep(random.uniform(0, 0.05))  # noqa: S311 - jitter, not a secret

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Committers on one host take turns, for a lost race costs a whole fold.

        A courtesy: what makes a commit right is the link alone. So nobody waits for ever, and where the file
        system has no locks (or locks each host for itself) nothing breaks.
        """
        make_folder(self.root)
        until = time.monotonic() + TURN_DEADLINE_S
        with (self.root / "commit.lock").open("a") as file:
            while time.monotonic() < until:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - jitter, not a secret
                except OSError:  # no locks here
                    break
            yield

    def _folded(
        self, head: Snapshot | None, after: Mapping[str, str], deliveries: Mapping[str, str], fold: Fold
    ) -> Snapshot:
        draft = Snapshot(
            number=head.number + 1 if head else 1,
            parent=head.number if head else None,
            created_at_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            schema_version=records.SCHEMA_VERSION,
            code_version=importlib.metadata.version("rwid"),
            erasure_epoch=head.erasure_epoch if head else 0,
            deliveries=dict(sorted(after.items())),
            tables={},
        )
        with self._connect(self.parts(draft)) as con:
            _refuse_conflicts(con, deliveries)
            folded = fold(con)
        tables = {name: tuple(write_parts(self.root, name, folded[name])) for name in records.CATALOGUED}
        decided = {name: head.tables[name] for name in records.DECIDED if head and name in head.tables}
        return _sealed(dataclasses.replace(draft, tables={**tables, **decided}))

    def _create(self, snapshot: Snapshot) -> bool:
        """Publishes a manifest; False where another process has taken the number."""
        folder = make_folder(self.root / "snapshots")
        with aside(self.root) as path:
            _write_synced(path, _canonical({**_facts(snapshot), "sha256": snapshot.sha256}))
            try:
                os.link(path, self._path(snapshot.number))
            except FileExistsError:
                return False
        sync_folder(folder)
        return True

    def sweep(self, older_than_s: float) -> int:
        """Removes what killed processes left in `aside/`, by age alone; gives how many files."""
        folder = self.root / "aside"
        n = 0
        for path in folder.iterdir() if folder.is_dir() else ():
            try:
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    n += 1
            except FileNotFoundError:  # another process swept it, or its writer finished
                continue
        return n


def _refuse_conflicts(con: Connection, deliveries: Mapping[str, str]) -> None:
    # the delivery was curated against an older head: another one may have brought the same object since
    twice = con.execute(
        """
        SELECT count(*) FROM instances AS new
        WHERE new.delivery IN (SELECT unnest(?))
          AND EXISTS (FROM instances AS old
                      WHERE old.instance_id = new.instance_id AND old.delivery <> new.delivery)
        """,
        [list(deliveries)],
    ).fetchone()
    if twice and twice[0]:
        raise LakeError(
            f"{twice[0]} objects of {', '.join(sorted(deliveries))} came into the lake with another delivery "
            "meanwhile. Curate the delivery again: they will be refused as duplicates."
        )


def _sealed(draft: Snapshot) -> Snapshot:
    return dataclasses.replace(draft, sha256=hashlib.sha256(_canonical(_facts(draft))).hexdigest())


def _part_fact(part: Part) -> dict[str, Any]:
    return dataclasses.asdict(part)


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    facts = {f.name: getattr(snapshot, f.name) for f in dataclasses.fields(snapshot) if f.name != "sha256"}
    facts["tables"] = {name: [_part_fact(p) for p in parts] for name, parts in snapshot.tables.items()}
    return facts


def _canonical(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _write_synced(path: Path, body: bytes) -> None:
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
