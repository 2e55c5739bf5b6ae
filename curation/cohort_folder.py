"""The folder of a frozen cohort: written aside and renamed, found by id or name, summed up.

What belongs here: lake/cohorts/<cohort_id>/ as files. What does not: who is in it (attrition), what the card says (card).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.cohort_spec import CohortSpec
from curation.lake import Lake
from curation.part import make_folder, sync_folder
from curation.records import Cohort, ConfigurationError

_ID = re.compile(r"[0-9a-f]{16}")
_DEBRIS_AGE_S = 2 * 86_400.0


@contextlib.contextmanager
def folder_aside(place: Path) -> Iterator[Path]:
    """A fresh folder beside `place` that becomes `place` at the end, in one rename; nothing is left of it on an error.

    Where another process was first with the same place, its folder stands.
    """
    building = make_folder(place.parent / ".building")
    _sweep(building)
    folder = building / f"{place.name}-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
        for path in folder.rglob("*"):
            if path.is_dir():
                sync_folder(path)
            else:
                _sync_file(path)
        sync_folder(folder)
        with contextlib.suppress(OSError):
            folder.rename(place)
        if not place.is_dir():
            raise OSError(f"{place.name} could not be put in its place; is the lake writable?")
        sync_folder(place.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(building: Path) -> None:
    """Removes what killed processes left, by age alone."""
    for folder in building.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > _DEBRIS_AGE_S:
                shutil.rmtree(folder, ignore_errors=True)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_table(path: Path, table: pa.Table) -> None:
    """Parquet of a table: the same rows give the same bytes."""
    pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=122_880)


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """JSON with a line break at the end."""
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """What cohort.json says."""
    facts: dict[str, Any] = json.loads((folder / "cohort.json").read_text(encoding="utf-8"))
    return facts


def read_spec(folder: Path) -> CohortSpec:
    """The spec that a cohort was built from."""
    return CohortSpec.model_validate(read_facts(folder)["spec"])


def summary(folder: Path) -> dict[str, Any]:
    """What `rwid cohort build --json` says: cohort_id, studies, patients, sites, attrition, splits (in studies)."""
    facts = read_facts(folder)
    steps = [{k: step[k] for k in ("rule", "studies", "patients", "sites")} for step in facts["attrition"]]
    return {
        **{k: facts[k] for k in ("cohort_id", "studies", "patients", "sites")},
        "attrition": steps,
        "splits": facts["splits"],
    }


def cohort_folders(lake: Lake) -> list[Path]:
    """Folders of all cohorts, by id."""
    folders = (lake.root / "cohorts").glob("*")
    return sorted(f for f in folders if _ID.fullmatch(f.name) and (f / "cohort.json").is_file())


def find_cohort(lake: Lake, name_or_id: str) -> Path:
    """The folder of a cohort by id, else of the newest snapshot of a name (of one snapshot, the one built last).

    Raises ConfigurationError naming the cohorts there are.
    """
    folders = cohort_folders(lake)
    for folder in folders:
        if folder.name == name_or_id:
            return folder
    named = [(read_facts(f), f) for f in folders]
    mine = [
        (facts["snapshot"], (f / "cohort.json").stat().st_mtime_ns, f)
        for facts, f in named
        if facts["name"] == name_or_id
    ]
    if not mine:
        there = ", ".join(sorted({f"{facts['name']} ({f.name})" for facts, f in named})) or "none yet"
        raise ConfigurationError(
            f"No cohort {name_or_id!r} in this lake; there are: {there}. Build it: rwid cohort build SPEC."
        )
    return max(mine)[2]


def list_cohorts(lake: Lake) -> list[Cohort]:
    """All cohorts, by name, then by snapshot."""
    rows = [Cohort(**pq.read_table(f / "cohort.parquet").to_pylist()[0]) for f in cohort_folders(lake)]
    return sorted(rows, key=lambda c: (c.name, c.snapshot, c.cohort_id))
