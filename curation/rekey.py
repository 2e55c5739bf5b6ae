"""A lake under a new key: every delivery curated again from its source, compared, and put in the old lake's place.

What belongs here: `rotate`, its resumption after a kill, and its record. What does not: how a delivery is curated (delivery)
or looked at (deid.verify_lake).

Why not rewrite ids in place: a released header holds ids, UIDs, moved dates and stand-in names, and report texts hold moved
dates; only the originals say what each was. So the sources must still be there. What is built is checked and counted
against the old lake before anything moves; then four folders change places by renaming, and a killed run goes on from where
it was. Pixels are the same in both lakes: who has both can match pictures. Ids, UIDs, dates, digests and tokens cannot be
matched without both keys.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curation import catalog, records
from curation.check import load_checks, run_check
from curation.cohort import build_cohort, read_spec
from curation.cohort_folder import cohort_folders, read_facts
from curation.deid.pseudonyms import Pseudonyms
from curation.delivery import curate
from curation.lake import Lake
from curation.records import ConfigurationError
from curation.restricted import read_delivery, write_atomically
from curation.settings import KEY_BYTES, Places, Settings, load_key, open_home
from curation.site import load_sites

Progress = Callable[[str, int, int], None]

COUNTED = ("instances", "frames", "reports", "findings", "outcomes", "refusals", "relabels")
"""Tables whose rows must be as many under either key. Relabels name studies by their old ids and stay behind: where there are
any, a rotation says so and asks for --accept-differences."""

_MOVED = ("lake", "restricted/arrivals", "restricted/identities", "restricted/residuals")


@dataclass(frozen=True, slots=True)
class Rotated:
    """What one rotation did."""

    old_key_id: str
    new_key_id: str
    deliveries: Sequence[str]
    counts: Mapping[str, int]
    cohorts: Mapping[str, str]
    """Name to new id, empty where its spec gives none any more; splits are drawn anew, for the bucket is keyed too."""
    runs_left: int
    """Runs of the old lake: they stay behind, for their models know persons who may now be in the test split."""
    kept: Path | None
    """Where the old lake and the old key lie, where they were to be kept."""


@dataclass(frozen=True, slots=True)
class _Rooms:
    """Where a rotation keeps its things."""

    places: Places

    @property
    def root(self) -> Path:
        return self.places.restricted / "rekey"

    @property
    def new(self) -> Path:
        """A home of its own, under the new key."""
        return self.root / "home"

    @property
    def old(self) -> Path:
        return self.root / "old"

    @property
    def journal(self) -> Path:
        return self.root / "journal.json"

    @property
    def audit(self) -> Path:
        return self.places.restricted / "key_rotations.jsonl"


def rotate(
    settings: Settings,
    *,
    keep_history: bool = False,
    accept_differences: bool = False,
    progress: Progress | None = None,
) -> Rotated:
    """Re-keys the lake of a home; the same call goes on where a killed one ended.

    Raises ConfigurationError, before anything is changed, where the key does not lie in a file, a source is gone, a check
    fails or a count differs.
    """
    rooms = _Rooms(open_home(settings))
    key_path = _key_path(settings)
    state = _state(rooms)
    if state.get("state") != "swapping":
        _refuse_missing_sources(settings, rooms)
        state = _begin(rooms, settings, state)
        shadow = _shadow(settings, rooms)
        _build(settings, shadow, progress)
        counts = _compare(settings, shadow, accept_differences)
        cohorts, runs_left = _rebuild_cohorts(settings, shadow)
        state |= {
            "state": "swapping", "counts": counts, "cohorts": cohorts, "runs_left": runs_left, "keep_history": keep_history,
        }  # fmt: skip
        _write_state(rooms, state)
    _swap(rooms, key_path, state)
    return _finish(rooms, state)


def rotations(places: Places) -> list[dict[str, Any]]:
    """The record of all rotations of a home, oldest first."""
    path = _Rooms(places).audit
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def is_begun(places: Places) -> bool:
    """Whether a rotation was begun and not finished."""
    return bool(_state(_Rooms(places)))


def is_swapping(places: Places) -> bool:
    """Whether a rotation was cut off while folders changed places."""
    return _state(_Rooms(places)).get("state") == "swapping"


def _key_path(settings: Settings) -> Path:
    if settings.key_command:
        raise ConfigurationError(
            "The key comes from RWID_KEY_COMMAND, and rwid cannot change it there. Write the key to a file, set RWID_KEY_FILE "
            "for the rotation, and put the new key where the command finds it afterwards."
        )
    return settings.key_file or settings.places.restricted / "key"


def _state(rooms: _Rooms) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rooms.journal.read_text()) if rooms.journal.is_file() else {}
    return found


def _write_state(rooms: _Rooms, state: Mapping[str, Any]) -> None:
    write_atomically(rooms.journal, json.dumps(state, indent=1).encode())


def _published(lake: Lake) -> list[str]:
    """Deliveries of the head in the order in which they first became visible: who came first decides about duplicates."""
    order: dict[str, None] = {}
    for number in lake.numbers():
        order |= dict.fromkeys(sorted(lake.snapshot(number).deliveries))
    head = lake.snapshot().deliveries
    return [name for name in order if name in head]


def _refuse_missing_sources(settings: Settings, rooms: _Rooms) -> None:
    gone = [
        n for n in _published(Lake(rooms.places.lake)) if not read_delivery(rooms.places, n).source.exists()
    ]
    if gone:
        raise ConfigurationError(
            f"Not rotated: the sources of {', '.join(gone)} are gone from where they were registered, and only they say what "
            "each pseudonym stands for. Bring them back, or register them where they lie now: rwid ingest SRC --site SITE "
            "--delivery NAME."
        )


def _begin(rooms: _Rooms, settings: Settings, state: dict[str, Any]) -> dict[str, Any]:
    """The journal and the new key; those of a killed run where there are some."""
    old = Pseudonyms(load_key(settings)).key_id
    if state.get("old_key_id") not in (None, old):
        raise ConfigurationError(
            "A rotation was begun under another key. Give the former key back, and run again."
        )
    rooms.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = rooms.root / "key"
    if not key.is_file():
        write_atomically(key, (secrets.token_hex(KEY_BYTES) + "\n").encode())
    new = Pseudonyms(bytes.fromhex(key.read_text().strip())).key_id
    begun = state or {
        "state": "building", "old_key_id": old, "new_key_id": new, "by": getpass.getuser(), "begun_at_utc": _now(),
    }  # fmt: skip
    _write_state(rooms, begun)
    return begun


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _shadow(settings: Settings, rooms: _Rooms) -> Settings:
    """Settings of the home that is built: the same but for place and key."""
    shadow = settings.model_copy(update={"home": rooms.new, "key_file": rooms.root / "key"})
    places = open_home(shadow)
    shutil.copytree(settings.places.sites, places.sites, dirs_exist_ok=True)
    shutil.copytree(settings.places.deliveries, places.deliveries, dirs_exist_ok=True)
    return shadow


def _build(settings: Settings, shadow: Settings, progress: Progress | None) -> None:
    """Every delivery curated, checked and published under the new key; those a killed run has published are left."""
    lake = Lake(shadow.places.lake)
    names = _published(Lake(settings.places.lake))
    bucket = Pseudonyms(load_key(shadow)).split_bucket
    head = lake.head()
    done = set(head.deliveries) if head else set()
    for n, name in enumerate(names):
        if progress:
            progress("deliveries", n, len(names))
        if name in done:
            continue
        staged = curate(shadow, name, progress)
        with lake.connect_staged(name, staged.part_list) as con:
            checks = [c for c in load_checks("delivery") if c.severity == "error"]
            failed = [c.name for c in checks if not run_check(con, c).passed]
        if failed:
            raise ConfigurationError(
                f"Not rotated: under the new key delivery '{name}' fails {', '.join(failed)}. The lake is as it was."
            )
        catalog.publish(lake, {name: staged.part_list}, load_sites(shadow.places), bucket)
    if progress:
        progress("deliveries", len(names), len(names))


def _counts(lake: Lake) -> dict[str, int]:
    with lake.connect() as con:
        tables = (*COUNTED, *records.CATALOGUED)
        return {t: int(con.execute(f"SELECT count(*) FROM {t}").fetchall()[0][0]) for t in tables}


def _compare(settings: Settings, shadow: Settings, accept: bool) -> dict[str, int]:
    old, new = _counts(Lake(settings.places.lake)), _counts(Lake(shadow.places.lake))
    odd = [f"{table} {old[table]} before, {new[table]} after" for table in old if old[table] != new[table]]
    if odd and not accept:
        raise ConfigurationError(
            f"Not rotated: {'; '.join(odd)}. Sources, rules or code have changed since these deliveries came in. The lake is as "
            "it was; ingest them again first, or accept the difference: rwid key rotate --accept-differences."
        )
    return new


def _rebuild_cohorts(settings: Settings, shadow: Settings) -> tuple[dict[str, str], int]:
    """The newest cohort of every name, built from its spec; and how many runs stay behind."""
    old, new = Lake(settings.places.lake), Lake(shadow.places.lake)
    newest = sorted(
        cohort_folders(old), key=lambda f: (read_facts(f)["snapshot"], (f / "cohort.json").stat().st_mtime_ns)
    )
    made = {}
    for name, folder in {read_facts(f)["name"]: f for f in newest}.items():
        try:
            made[str(name)] = build_cohort(new, read_spec(folder)).name
        except (
            ConfigurationError
        ):  # its spec does not fit this release, or nobody is left: said, and no reason to stop
            made[str(name)] = ""
    return made, len(list((old.root / "runs").glob("*/run.parquet")))


def _swap(rooms: _Rooms, key_path: Path, state: Mapping[str, Any]) -> None:
    """New folders in the places of the old ones, the key last of all; every step may be done twice."""
    rooms.old.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in _MOVED:
        live, new, old = rooms.places.home / name, rooms.new / name, rooms.old / Path(name).name
        if not new.exists():
            continue
        if live.exists() and not old.exists():
            live.rename(old)
        elif live.exists():  # what another process made in the empty place since a kill
            shutil.rmtree(live)
        new.rename(live)
    new_key = rooms.root / "key"
    if new_key.is_file():
        if not (rooms.old / "key").exists():
            write_atomically(rooms.old / "key", key_path.read_bytes())
        write_atomically(key_path, new_key.read_bytes())
        write_atomically(rooms.places.restricted / "key_id", str(state["new_key_id"]).encode())
        new_key.unlink()


def _finish(rooms: _Rooms, state: Mapping[str, Any]) -> Rotated:
    """The record, then the old lake and key erased, or kept under restricted/."""
    lake = Lake(rooms.places.lake)
    kept = None
    if state["keep_history"]:
        kept = rooms.places.restricted / "former" / str(state["old_key_id"])
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not kept.exists():
            rooms.old.rename(kept)
    rotated = Rotated(
        old_key_id=str(state["old_key_id"]),
        new_key_id=str(state["new_key_id"]),
        deliveries=sorted(lake.snapshot().deliveries),
        counts=state["counts"],
        cohorts=state["cohorts"],
        runs_left=state["runs_left"],
        kept=kept,
    )
    _record(rooms, state, rotated)
    # the journal goes last: a run that is killed here goes on here, and does not begin another rotation
    for path in rooms.root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != rooms.journal:
            path.unlink()
    rooms.journal.unlink()
    rooms.root.rmdir()
    return rotated


def _record(rooms: _Rooms, state: Mapping[str, Any], rotated: Rotated) -> None:
    """One line in restricted/key_rotations.jsonl: who, when, which keys, how much; no value and no id."""
    line = {
        "begun_at_utc": state["begun_at_utc"],
        "done_at_utc": _now(),
        "by": state["by"],
        "old_key_id": rotated.old_key_id,
        "new_key_id": rotated.new_key_id,
        "deliveries": list(rotated.deliveries),
        "counts": dict(rotated.counts),
        "cohorts": len(rotated.cohorts),
        "runs_left": rotated.runs_left,
        "history_kept": rotated.kept is not None,
        "code_version": importlib.metadata.version("rwid"),
    }
    known = rotations(rooms.places)
    if not any(one["new_key_id"] == rotated.new_key_id for one in known):
        text = "".join(json.dumps(one) + "\n" for one in [*known, line])
        write_atomically(rooms.audit, text.encode())
