"""No planted identity comes out: not in the lake, cohorts, packs, runs, logs, Dagster's storage, file names or pages.

The road runs as a user runs it: the rwid command, on synthetic deliveries whose answer key says what was planted. The
control: the same search finds the same values in a lake that was filled without de-identification.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from curation.frames import decode
from curation.lake import Lake
from curation.records import Report, to_table
from tests.identity_search import is_written_in, search

RWID = Path(sys.executable).with_name("rwid")
COHORT = """
cohort: chest
purpose: radiographs of two synthetic sites
include:
  - {name: chest radiograph, where: "modality IN ('CR', 'DX')"}
labels: {nodule: "asserted('nodule')"}
split: {train: 0.5, tune: 0.25, test: 0.25}
min_cell: 2
"""
RUN = """
name: tiny
cohort: chest
model: {id: "builtin:tiny-vit", input: {size: 28}}
task: {kind: multilabel, labels: [nodule]}
method: {kind: probe}
budget: {max_minutes: 1, max_steps: 5}
report: {subgroups: [site], bootstrap: 20}
seed: 1
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Road:
    """A home after the whole road, and what was planted on the way in."""

    home: Path
    deliveries: Path
    planted: frozenset[str]
    said: str
    tuned: dict[str, Any]


def run(home: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    env = {**os.environ, "RWID_HOME": str(home), "RWID_WORKERS": "2"}
    done = subprocess.run([RWID, "--json", *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), done.stdout + done.stderr


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    root = tmp_path_factory.mktemp("road")
    home, src = root / "home", root / "src"
    said = run(
        home, "synth", str(src), "--sites", "2", "--patients", "36", "--seed", "11", "--profile", "tiny"
    )[1]
    sites = sorted(p.name for p in src.iterdir() if p.is_dir())
    for site in sites:
        said += run(home, "ingest", str(src / site), "--site", site)[1]
    (root / "cohort.yaml").write_text(COHORT)
    (root / "run.yaml").write_text(RUN)
    said += run(home, "cohort", "build", str(root / "cohort.yaml"))[1]
    tuned, log = run(home, "tune", str(root / "run.yaml"))
    said += log
    key = pq.read_table(src / "answer_key.parquet").to_pylist()
    # a site's name is no secret: it stands in every row; text in pixels is no text to a byte search
    open_names = {name.lower() for name in sites}
    planted = {r["value"] for r in key if r["where"] != "pixels" and r["value"].lower() not in open_names}
    return Road(home, src, frozenset(planted), said, tuned)


def test_the_road_was_walked(road: Road) -> None:
    assert len(road.planted) > 300
    assert road.tuned["status"] == "done"
    assert list(road.home.glob("lake/cohorts/*/packs/*/tiles.parquet"))
    assert list(road.home.glob("lake/runs/*/predictions.parquet"))


def test_nothing_planted_is_found_outside_the_restricted_folder(road: Road) -> None:
    for room in sorted(road.home.iterdir()):
        if room.name != "restricted":
            assert search(road.planted, room) == [], f"in {room.name}"


def test_no_name_is_left_in_the_pixels(road: Road) -> None:
    key = pq.read_table(road.deliveries / "answer_key.parquet").to_pylist()
    burned = sorted({r["value"] for r in key if r["where"] == "pixels"})
    assert burned
    with Lake(road.home / "lake").connect() as con:
        query = "SELECT codec, payload FROM frames JOIN instances USING (instance_id) WHERE modality IN ('US', 'OT')"
        stored = con.execute(query).fetchall()
    assert stored
    pictures = [decode(codec, payload) for codec, payload in stored]
    assert not [text for text in burned for picture in pictures if is_written_in(picture, text)]


def test_nothing_planted_is_said_or_stands_in_a_file_name(road: Road, tmp_path: Path) -> None:
    names = [p.relative_to(road.home).as_posix() for p in road.home.rglob("*") if "restricted" not in p.parts]
    (tmp_path / "said.txt").write_text(road.said.replace(str(road.deliveries), "") + "\n".join(names))
    assert search(road.planted, tmp_path) == []


def test_nothing_planted_stands_on_a_page(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    import ui

    monkeypatch.setenv("RWID_HOME", str(road.home))
    monkeypatch.setenv("RWID_DAGSTER_URL", "http://127.0.0.1:9")
    with Lake(road.home / "lake").connect() as con:
        studies = [
            str(row[0]) for row in con.execute("SELECT study_id FROM studies WHERE has_report").fetchall()
        ]
    cohort = next(road.home.glob("lake/cohorts/*")).name
    visits = [(view, {}) for view in ("overview", "studies", "cohorts", "runs")]
    visits += [("studies", {"study": study}) for study in studies[:6]]
    visits += [
        ("lineage", {"study": studies[0]}),
        ("cohorts", {"cohort": cohort}),
        ("runs", {"run": road.tuned["run_id"]}),
    ]
    for number, (view, query) in enumerate(visits):
        page = AppTest.from_file(str(Path(ui.__file__).with_name("app.py")), default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        page.switch_page(f"views/{view}.py").run()
        assert not page.exception
        drawn = "\n".join(str(element.proto) for element in page.main)
        assert len(drawn) > 200
        (tmp_path / f"{number}.txt").write_text(drawn)
    assert search(road.planted, tmp_path) == []


def test_the_search_finds_them_where_de_identification_is_off(road: Road, tmp_path: Path) -> None:
    """The control: raw headers and raw texts, written through the same lake, are found."""
    lake = Lake(tmp_path / "lake")
    raw = [
        p.read_bytes()
        for p in sorted(road.deliveries.rglob("*"))
        if p.is_file() and p.parent != road.deliveries
    ]
    rows = [
        Report(
            uuid4(),
            uuid4(),
            uuid4(),
            "en",
            data.decode("latin-1"),
            [],
            0,
            bytes(32),
            "off",
            "0",
            "s",
            "d",
            "0",
        )
        for data in raw
    ]
    lake.stage("raw", {"reports": [lake.write_part("reports", to_table(Report, rows))]})
    found = {hit.value for hit in search(road.planted, tmp_path)}
    assert len(found) > 0.8 * len(road.planted)


def test_the_search_finds_them_on_the_restricted_side(road: Road) -> None:
    assert search(road.planted, road.home / "restricted")
