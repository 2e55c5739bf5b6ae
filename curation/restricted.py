"""The restricted side: what was delivered, what arrived, and which identities belong to which study.

Everything here is raw and stays under `restricted/` (mode 0700). Nothing of it is read by training, by the pages or by a
query; the lake knows keyed hashes only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from curation.deid.header import Identity
from curation.records import Arrival, ConfigurationError, Residual, to_table
from curation.settings import Places


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a site handed over, and where it lies."""

    delivery: str
    site: str
    source: Path
    registered_at_utc: str


@dataclass(frozen=True, slots=True)
class KnownStudy:
    """A study's keyed ids beside the identity its headers state."""

    study_id: UUID
    patient_id: UUID
    accession_id: UUID | None
    identity: Identity


_KNOWN_SCHEMA = pa.schema(
    [
        ("study_id", pa.uuid()),
        ("patient_id", pa.uuid()),
        ("accession_id", pa.uuid()),
        ("identity", pa.string()),
    ]
)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes aside with mode 0600, then renames: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_delivery(places: Places, delivery: Delivery) -> None:
    """Remembers a delivery as `deliveries/<delivery>.json`."""
    facts = {**dataclasses.asdict(delivery), "source": str(delivery.source)}
    write_atomically(places.deliveries / f"{delivery.delivery}.json", json.dumps(facts, indent=1).encode())


def read_delivery(places: Places, name: str) -> Delivery:
    """The delivery of that name. Raises ConfigurationError that says how to register one."""
    path = places.deliveries / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in places.deliveries.glob("*.json"))) or "none"
        raise ConfigurationError(
            f"Delivery '{name}' is not registered; registered are: {known}. Register it with rwid ingest SRC --site SITE."
        )
    facts = json.loads(path.read_text())
    return Delivery(facts["delivery"], facts["site"], Path(facts["source"]), facts["registered_at_utc"])


def keep_to_one_key(places: Places, key_id: str) -> None:
    """Remembers the key's id on first use; another key would give every person a second identity in silence.

    Raises ConfigurationError where this home was filled under another key.
    """
    journal = places.restricted / "rekey" / "journal.json"
    if journal.is_file() and json.loads(journal.read_text())["state"] == "swapping":
        raise ConfigurationError("A key rotation was cut off in its last step. Finish it: rwid key rotate.")
    path = places.restricted / "key_id"
    if not path.exists():
        write_atomically(path, key_id.encode())
    known = path.read_text().strip()
    if known != key_id:
        raise ConfigurationError(
            f"This home was filled under key {known}, and the key given is {key_id}: the same person would become two. "
            "Give the former key (RWID_KEY_FILE or RWID_KEY_COMMAND), or another --home."
        )


def write_arrivals(places: Places, delivery: str, arrivals: Iterable[Arrival]) -> None:
    """The `arrivals` table of one delivery; replaces what was there."""
    _write_table(places.restricted / "arrivals" / f"{delivery}.parquet", to_table(Arrival, arrivals))


def read_arrivals(places: Places, delivery: str) -> list[Arrival]:
    """What arrived with one delivery; empty where it was never walked."""
    path = places.restricted / "arrivals" / f"{delivery}.parquet"
    return [Arrival(**row) for row in pq.read_table(path).to_pylist()] if path.is_file() else []


def write_residuals(places: Places, delivery: str, residuals: Iterable[Residual]) -> None:
    """What the last second look at a delivery found; replaces what was there."""
    _write_table(places.restricted / "residuals" / f"{delivery}.parquet", to_table(Residual, residuals))


def read_residuals(places: Places, delivery: str) -> list[Residual] | None:
    """What the last second look at a delivery found; None where there was none."""
    path = places.restricted / "residuals" / f"{delivery}.parquet"
    return [Residual(**row) for row in pq.read_table(path).to_pylist()] if path.is_file() else None


def write_known_studies(places: Places, delivery: str, studies: Iterable[KnownStudy]) -> None:
    """Identities by study, so that a later report finds them; replaces what was there."""
    rows = [
        {
            "study_id": s.study_id.bytes,
            "patient_id": s.patient_id.bytes,
            "accession_id": s.accession_id.bytes if s.accession_id else None,
            "identity": json.dumps(dataclasses.asdict(s.identity)),
        }
        for s in studies
    ]
    columns = [pa.array([r[f.name] for r in rows], type=f.type) for f in _KNOWN_SCHEMA]
    table = pa.Table.from_arrays(columns, schema=_KNOWN_SCHEMA)
    _write_table(places.restricted / "identities" / f"{delivery}.parquet", table)


def _write_table(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())


def find_known_studies(places: Places, ids: Collection[UUID]) -> Iterator[KnownStudy]:
    """Studies of earlier deliveries whose study, accession or patient id is among `ids`."""
    files = sorted(str(p) for p in (places.restricted / "identities").glob("*.parquet"))
    if not files or not ids:
        return
    with duckdb.connect() as con:
        con.execute("CREATE TABLE wanted (id UUID)")
        con.executemany("INSERT INTO wanted VALUES (?)", [[str(i)] for i in ids])
        rows = con.execute(
            "SELECT study_id, patient_id, accession_id, identity FROM read_parquet(?) "
            "WHERE study_id IN (FROM wanted) OR accession_id IN (FROM wanted) "
            "OR patient_id IN (FROM wanted) ORDER BY study_id, patient_id",
            [files],
        ).fetchall()
    for study_id, patient_id, accession_id, identity in rows:
        yield KnownStudy(study_id, patient_id, accession_id, _identity(json.loads(identity)))


def _identity(facts: dict[str, Any]) -> Identity:
    originals: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
    return Identity(**originals)


def merge(first: Identity, second: Identity) -> Identity:
    """What two headers of one person say together: every name and identifier of both."""
    singles = ("accession", "study_uid", "birth_date", "patient_id")
    extra = tuple(v for k in singles if (v := getattr(second, k)) and v != getattr(first, k))
    return dataclasses.replace(
        first,
        names=tuple(dict.fromkeys(first.names + second.names)),
        other=tuple(dict.fromkeys(first.other + second.other + extra)),
        birth_date=first.birth_date or second.birth_date,
        sex=first.sex or second.sex,
        accession=first.accession or second.accession,
    )
