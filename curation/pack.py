"""Cohort -> model-ready token pack: what a model sees of its series, and report token ids, in the order of its members.

What belongs here: the folder of a pack, made whole or not at all. What does not: its rows (pack_build, samples/), its
text (pack_text), reading it (pack_file), tensors (training/batches).

A pack is a function of recipe, cohort and PACK_VERSION: the same bytes on every machine. It is built aside in chunks
that outlive a kill, and appears whole, by one rename. A series that cannot be read is left out and said to be.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation import vocabulary
from curation.lake import Lake, Snapshot
from curation.pack_build import Builder, Progress
from curation.pack_file import (
    LeftOut,
    Pack,
    Tiles,
    open_pack,
    reasons_in_words,
    write_left_out,
    write_rows,
    write_synced,
)
from curation.pack_frames import FrameKey
from curation.pack_recipe import PACK_VERSION, PackError, PackRecipe, pack_id_of
from curation.pack_text import write_text
from curation.tile import Row

__all__ = [
    "PACK_VERSION", "Pack", "PackError", "PackRecipe", "Tiles", "build_pack", "open_pack", "pack_id_of", "read_tiles",
]  # fmt: skip

MAX_NAMED = 20


def build_pack(
    lake: Lake, cohort_id: str, recipe: PackRecipe, *, progress: Progress | None = None, workers: int = 0
) -> Path:
    """The pack of a cohort, `lake/cohorts/<cohort_id>/packs/<pack_id>/`, built where it is not there yet.

    `workers` threads decode (0: one a core); `progress` gets (members done, members). Members whose frames are missing or
    do not decode are left out and listed in left_out.parquet. Raises PackError where that is everybody, naming the
    series; ConfigurationError for a tokenizer that cannot be read.
    """
    cohort = lake.root / "cohorts" / cohort_id
    tokenizer = (
        vocabulary.read_tokenizer(Path(recipe.tokenizer)) if recipe.text and recipe.tokenizer else None
    )
    pack_id = pack_id_of(cohort_id, recipe, tokenizer)
    place = cohort / "packs" / pack_id
    if (place / "pack.json").exists():
        return place
    snapshot = lake.snapshot(_snapshot_number(cohort))
    members = pq.read_table(cohort / "members.parquet").to_pylist()
    building = place.with_name(f".building-{pack_id}")
    building.mkdir(parents=True, exist_ok=True)
    with _locked(building):
        if (place / "pack.json").exists():  # another process was first
            return place
        whole = building / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        builder = Builder(lake, snapshot, recipe, members, workers or len(os.sched_getaffinity(0)))
        chunks, left_out = builder.write_chunks(building, progress)
        _refuse_empty(members, left_out)
        whole.mkdir()
        write_rows(whole / "tiles.parquet", (pq.read_table(chunk) for chunk in chunks), recipe)
        write_left_out(whole / "left_out.parquet", left_out)
        facts = _facts(pack_id, cohort_id, recipe, snapshot, len(members), left_out)
        if recipe.text:
            facts["tokenizer_sha256"] = write_text(lake, snapshot, members, tokenizer, whole)
        _write_facts(whole, facts)
        _sync(whole)
        os.replace(whole, place)
        _sync(place.parent)
        shutil.rmtree(building, ignore_errors=True)
    return place


def read_tiles(
    lake: Lake, snapshot: Snapshot, members: Sequence[Row], recipe: PackRecipe, workers: int = 1
) -> tuple[dict[UUID, NDArray[Any]], dict[UUID, list[FrameKey]], dict[str, str]]:
    """Rows as a pack of that recipe would hold them, without building one: for series that are in no cohort.

    Gives [T, *recipe.shape] by series, the (instance, frame) that each row shows (all of them, row by row), and why the
    other series have none. `members` need `series_id`, `study_id` and `patient_id`.
    """
    made = Builder(lake, snapshot, recipe, members, workers).read(0, len(members))
    arrays, shown = {}, {}
    for number, rows in made.rows.items():
        series = members[number]["series_id"]
        arrays[series] = np.stack([row.pixels for row in rows])
        shown[series] = [(s.instance["instance_id"], s.frame_index) for row in rows for s in row.frames]
    return arrays, shown, {str(one.series_id): one.reason for one in made.left_out}


def _refuse_empty(members: Sequence[Row], left_out: Sequence[LeftOut]) -> None:
    if len(left_out) < len(members) or not members:
        return
    named = [f"{one.series_id} ({one.reason})" for one in left_out]
    why = reasons_in_words(Counter(one.reason for one in left_out))
    raise PackError(
        f"None of the cohort's {len(members)} series can be read: {why}. {', '.join(named[:MAX_NAMED])}"
        f"{', …' if len(named) > MAX_NAMED else ''}. Choose others by the cohort's series rule (keep: is_whole), or bring "
        "them in again."
    )


def _facts(
    pack_id: str,
    cohort_id: str,
    recipe: PackRecipe,
    snapshot: Snapshot,
    n_members: int,
    left_out: Sequence[LeftOut],
) -> dict[str, Any]:
    # where the user's tokenizer lay on this machine is nobody's business: its hash is in the facts
    return {
        "pack_id": pack_id,
        "pack_version": PACK_VERSION,
        "cohort_id": cohort_id,
        "recipe": asdict(replace(recipe, tokenizer=None)),
        "is_tokenizer_given": recipe.tokenizer is not None,
        "snapshot": snapshot.number,
        "snapshot_sha256": snapshot.sha256,
        "n_members": n_members,
        "n_tiles": (n_members - len(left_out)) * recipe.tiles_per_series,
        "left_out": dict(sorted(Counter(one.reason for one in left_out).items())),
    }


def _write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    hashes = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    # written last: if it is there, the pack is whole
    write_synced(
        folder / "pack.json", json.dumps({**facts, "files": hashes}, indent=1, sort_keys=True) + "\n"
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(building: Path) -> Iterator[None]:
    """One process builds a pack; another waits for it."""
    with (building / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _snapshot_number(cohort: Path) -> int:
    try:
        facts = json.loads((cohort / "cohort.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackError(
            f"There is no cohort {cohort.name}. Build it first: rwid cohort build SPEC."
        ) from None
    return int(facts["snapshot"])
