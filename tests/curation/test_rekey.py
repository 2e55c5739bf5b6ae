"""Key rotation: everything counts as before, nothing is called as before, and a kill at any moment loses nothing."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import curation.rekey
from curation import catalog
from curation.cohort import build_cohort, parse_spec
from curation.deid.pseudonyms import Pseudonyms
from curation.delivery import curate, register
from curation.lake import Lake
from curation.records import ConfigurationError
from curation.rekey import is_begun, is_swapping, rotate, rotations
from curation.restricted import keep_to_one_key
from curation.settings import Settings, load_key, load_settings
from curation.site import load_sites
from tests.curation.deid.objects import ct, to_bytes
from tests.curation.in_process import stay

SPEC = """
cohort: everybody
purpose: all studies of the delivery
include:
  - {name: all, where: "n_instances > 0"}
split: {train: 0.5, tune: 0.25, test: 0.25}
min_cell: 1
"""


@pytest.fixture(scope="module", autouse=True)
def no_workers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        stay(patch)
        yield


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one published delivery and a cohort."""
    root = tmp_path_factory.mktemp("rekey")
    _deliver(root / "src")
    settings = settings_of(root / "home")
    register(settings, root / "src", "st-elsewhere", "first")
    staged = curate(settings, "first")
    bucket = Pseudonyms(load_key(settings)).split_bucket
    lake = Lake(settings.places.lake)
    catalog.publish(lake, {"first": staged.part_list}, load_sites(settings.places), bucket)
    build_cohort(lake, parse_spec(SPEC))
    return root / "home"


def _deliver(folder: Path) -> None:
    """Three people with two studies each, 40 days apart, and a report."""
    folder.mkdir()
    for person in range(3):
        for visit in range(2):
            uid = f"1.2.826.0.1.3680043.8.498.6.{person}.{visit}"
            day = f"{date(2019, 3, 5 + person) + timedelta(days=40 * visit):%Y%m%d}"
            dataset = ct(
                PatientName=f"Quackenbush^Person{person}", PatientID=f"77120{person}4", StudyInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1", FrameOfReferenceUID=f"{uid}.9",
                StudyDate=day, SeriesDate=day, AccessionNumber=f"ACC{person}{visit}47",
            )  # fmt: skip
            (folder / f"{person}{visit}.dcm").write_bytes(to_bytes(dataset))
    (folder / "report.txt").write_text("Accession: ACC0047\nCT thorax. No nodule. Compared with nothing.\n")


def settings_of(home: Path) -> Settings:
    return load_settings(home).model_copy(update={"workers": 1, "verify_sample": 0})


@pytest.fixture
def settings(ready: Path, tmp_path: Path) -> Settings:
    return settings_of(Path(shutil.copytree(ready, tmp_path / "home")))


def look(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with Lake(settings.places.lake).connect() as con:
        return con.execute(query).fetchall()


IDS = {
    "instances": ("instance_id", "series_id", "study_id", "patient_id", "accession_id", "frame_of_reference_id"),
    "reports": ("report_id",),
    "members": ("study_id", "series_id", "patient_id"),
    "deid_log": ("instance_id",),
}  # fmt: skip


def ids(settings: Settings) -> set[str]:
    found: set[str] = set()
    for table, columns in IDS.items():
        for column in columns:
            rows = look(settings, f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL")
            found |= {str(row[0]) for row in rows}
    return found


def digests(settings: Settings) -> set[bytes]:
    rows = look(settings, "SELECT source_digest FROM deid_log UNION SELECT source_digest FROM refusals")
    rows += look(settings, "SELECT token FROM person_tokens WHERE token IS NOT NULL")
    return {row[0] for row in rows}


def intervals(settings: Settings) -> list[list[int]]:
    """Of each patient the days between their studies and from birth year to study, whoever they are."""
    people: dict[str, list[date]] = {}
    for patient, day in look(
        settings, "SELECT patient_id, study_date FROM studies WHERE study_date IS NOT NULL"
    ):
        people.setdefault(str(patient), []).append(day)
    return sorted([(d - min(days)).days for d in sorted(days)] for days in people.values())


def test_everything_is_there_under_other_names(settings: Settings) -> None:
    before, old_digests, old_intervals = ids(settings), digests(settings), intervals(settings)
    old_id = Pseudonyms(load_key(settings)).key_id
    first_dates = look(settings, "SELECT study_date FROM studies ORDER BY ALL")
    done = rotate(settings)
    assert (done.old_key_id, done.new_key_id) == (old_id, Pseudonyms(load_key(settings)).key_id)
    assert done.new_key_id != old_id

    after = ids(settings)
    assert len(after) == len(before) > 20
    assert not after & before
    assert len(digests(settings)) == len(old_digests)
    assert not digests(settings) & old_digests
    assert intervals(settings) == old_intervals
    assert look(settings, "SELECT study_date FROM studies ORDER BY ALL") != first_dates
    assert {row[0] for row in look(settings, "SELECT DISTINCT key_id FROM instances")} == {done.new_key_id}
    assert list(done.cohorts) == ["everybody"]
    assert not is_swapping(settings.places)

    _nowhere(before, old_digests, settings.places.lake)
    _nowhere(before, old_digests, settings.places.restricted)
    assert not (settings.places.restricted / "rekey").exists()
    assert (settings.places.restricted / "key").stat().st_mode & 0o077 == 0


def _nowhere(old: set[str], old_digests: set[bytes], folder: Path) -> None:
    """Not one old id is in any byte of a folder: as text, as UID, as 16 bytes; Parquet is read by its values."""
    from tests.identity_search import contents

    hexes = {i.replace("-", "") for i in old}
    uids = {str(int(h, 16)) for h in hexes}
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        for _, data in contents(path):
            raw = bytes(data)
            text = raw.decode("latin-1")
            assert not set(re.findall(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", text)) & old, path.name
            assert not set(re.findall(r"2\.25\.(\d+)", text)) & uids, path.name
            assert not [h for h in hexes if bytes.fromhex(h) in raw], path.name
            assert not [d for d in old_digests if d in raw], path.name


def test_the_search_would_find_an_old_id(settings: Settings) -> None:
    with pytest.raises(AssertionError):
        _nowhere(ids(settings), digests(settings), settings.places.lake)


def test_who_did_it_when_stands_on_record_without_a_value(settings: Settings) -> None:
    done = rotate(settings)
    again = rotate(settings)
    record = rotations(settings.places)
    assert [(r["old_key_id"], r["new_key_id"]) for r in record] == [
        (done.old_key_id, done.new_key_id),
        (again.old_key_id, again.new_key_id),
    ]
    assert record[0]["by"]
    assert record[0]["counts"]["instances"] > 0
    assert set(record[0]) == {
        "begun_at_utc", "done_at_utc", "by", "old_key_id", "new_key_id", "deliveries", "counts", "cohorts", "runs_left",
        "history_kept", "code_version",
    }  # fmt: skip


def test_history_is_kept_where_asked_for(settings: Settings) -> None:
    before, old_key = ids(settings), load_key(settings)
    done = rotate(settings, keep_history=True)
    assert done.kept == settings.places.restricted / "former" / done.old_key_id
    assert bytes.fromhex((done.kept / "key").read_text().strip()) == old_key
    with Lake(done.kept / "lake").connect() as con:
        rows = con.execute("SELECT DISTINCT study_id FROM studies").fetchall()
    assert {str(row[0]) for row in rows} <= before


def test_a_source_that_is_gone_refuses_and_changes_nothing(settings: Settings) -> None:
    before = ids(settings)
    path = settings.places.deliveries / "first.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "source": facts["source"] + "-gone"}))
    with pytest.raises(ConfigurationError, match="first"):
        rotate(settings)
    assert ids(settings) == before
    assert not (settings.places.restricted / "rekey").exists()


def test_another_count_refuses_and_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    before, key = ids(settings), load_key(settings)
    path = settings.places.deliveries / "first.json"
    facts = json.loads(path.read_text())
    fewer = Path(shutil.copytree(facts["source"], tmp_path / "fewer"))
    next(p for p in sorted(fewer.rglob("*.dcm"))).unlink()
    path.write_text(json.dumps({**facts, "source": str(fewer)}))
    with pytest.raises(ConfigurationError, match="before"):
        rotate(settings)
    assert (ids(settings), load_key(settings)) == (before, key)
    assert rotate(settings, accept_differences=True).counts["instances"] >= 1


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture(scope="module")
def built(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose new lake is built and waits for the swap."""
    home = Path(shutil.copytree(ready, tmp_path_factory.mktemp("built") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curation.rekey, "_swap", _die)
        with pytest.raises(Killed):
            rotate(settings_of(home), keep_history=True)
    return home


def _die(*_: Any, **__: Any) -> Any:
    raise Killed


@pytest.mark.parametrize("step", range(13))
def test_a_killed_swap_goes_on(
    step: int, built: Path, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before any of its renames and atomic writes; the same call ends as if nothing had been."""
    settings, before = settings_of(Path(shutil.copytree(built, tmp_path / "home"))), ids(settings_of(ready))
    count = iter(range(100))
    monkeypatch.setattr(Path, "rename", _dying(Path.rename, count, step))
    monkeypatch.setattr(Path, "replace", _dying(Path.replace, count, step))
    with pytest.raises(Killed):
        rotate(settings)
    monkeypatch.undo()
    assert is_swapping(settings.places)
    with pytest.raises(ConfigurationError, match="rwid key rotate"):
        keep_to_one_key(settings.places, "0badcafe")
    with Lake(settings.places.lake).connect() as con:  # a reader meanwhile leaves debris
        con.execute("SELECT count(*) FROM studies").fetchall()
    done = rotate(settings)
    assert not ids(settings) & before
    assert len(rotations(settings.places)) == 1
    assert Pseudonyms(load_key(settings)).key_id == done.new_key_id
    assert done.kept is not None
    assert {p.name for p in done.kept.iterdir()} == {"lake", "arrivals", "identities", "residuals", "key"}
    assert not is_swapping(settings.places)


def _dying(honest: Callable[..., Any], count: Any, step: int) -> Callable[..., Any]:
    def dying(self: Path, target: Path) -> Any:
        if next(count) == step:
            raise Killed
        return honest(self, target)

    return dying


def test_a_rotation_killed_while_it_cleans_up_is_finished_and_not_begun_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, erased = shutil.rmtree, []

    def rmtree(path: Path, *how: Any, **more: Any) -> None:
        if Path(path).parent.name == "rekey" and is_swapping(settings.places):
            if erased:
                raise Killed
            erased.append(path)
        honest(path, *how, **more)

    with monkeypatch.context() as patch:
        patch.setattr(curation.rekey.shutil, "rmtree", rmtree)
        with pytest.raises(Killed):
            rotate(settings)
    assert is_begun(settings.places)
    key = load_key(settings)
    rotate(settings)
    assert load_key(settings) == key
    assert len(rotations(settings.places)) == 1
    assert not is_begun(settings.places) and not (settings.places.restricted / "rekey").exists()


def test_a_killed_build_goes_on_under_the_same_new_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curation.rekey, "_compare", _die)
    before = ids(settings)
    with pytest.raises(Killed):
        rotate(settings)
    assert ids(settings) == before
    planned = (settings.places.restricted / "rekey" / "key").read_text()
    monkeypatch.undo()

    def no_second_time(*_: Any) -> Any:
        raise AssertionError("the delivery was curated already")

    monkeypatch.setattr(curation.rekey, "curate", no_second_time)
    done = rotate(settings)
    assert Pseudonyms(bytes.fromhex(planned.strip())).key_id == done.new_key_id


def test_a_key_from_a_command_is_refused(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="RWID_KEY_FILE"):
        rotate(settings.model_copy(update={"key_command": "true"}))
