"""`rwid predict` on raw DICOM: the scores of the lake, a valid SR that points to the right images, no name said."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pyarrow.parquet as pq
import pytest
from pydicom import dcmread

from curation.delivery import code_version
from curation.lake import Lake
from curation.settings import load_key, load_settings
from curation.steps import Stamp, digest_of_file, make_context
from tests.identity_search import search

RWID = Path(sys.executable).with_name("rwid")
COHORT = """
cohort: chest
purpose: radiographs of one synthetic site
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
class Predicted:
    """A home with a run, what was judged, and what was said."""

    home: Path
    src: Path
    out: Path
    run_id: str
    facts: dict[str, Any]
    said: str


def call(home: Path, *arguments: str) -> tuple[int, str, str]:
    env = {**os.environ, "RWID_HOME": str(home), "RWID_WORKERS": "1"}
    done = subprocess.run([RWID, "--json", *arguments], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def run(home: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    code, out, err = call(home, *arguments)
    assert code == 0, err[-2000:]
    return json.loads(out), out + err


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    root = tmp_path_factory.mktemp("predict")
    home, deliveries, src, out = root / "home", root / "deliveries", root / "src", root / "out"
    run(
        home,
        "synth",
        str(deliveries),
        "--sites",
        "1",
        "--patients",
        "24",
        "--seed",
        "11",
        "--profile",
        "tiny",
    )
    site = next(p for p in deliveries.iterdir() if p.is_dir())
    run(home, "ingest", str(site), "--site", site.name)
    (root / "cohort.yaml").write_text(COHORT)
    (root / "run.yaml").write_text(RUN)
    run(home, "cohort", "build", str(root / "cohort.yaml"))
    tuned, _ = run(home, "tune", str(root / "run.yaml"))
    shutil.copytree(site, src)
    (src / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM and no more")
    facts, said = run(home, "predict", tuned["run_id"], str(src), "--out", str(out), "--site", site.name)
    return Predicted(home, src, out, tuned["run_id"], facts, said)


def headers(src: Path) -> dict[str, Any]:
    found = {}
    for path in src.rglob("*"):
        if path.is_file() and path.name != "broken.dcm":
            with path.open("rb") as file:
                if file.read(132)[128:] != b"DICM":
                    continue
            header = dcmread(path, stop_before_pixels=True)
            found[str(header.get("SOPInstanceUID"))] = (path, header)
    return found


def test_a_file_gets_the_score_that_its_lake_gives(predicted: Predicted) -> None:
    settings = load_settings(predicted.home)
    stamp = Stamp("any", "any", code_version())
    context = make_context(load_key(settings), settings.profile, stamp, 1 << 30)
    files = headers(predicted.src)
    with Lake(settings.places.lake).connect() as con:
        series = {
            bytes(d): s for d, s in con.execute("SELECT source_digest, series_id FROM instances").fetchall()
        }
    written = pq.read_table(
        settings.places.lake / "runs" / predicted.run_id / "predictions.parquet"
    ).to_pylist()
    expected = {(r["series_id"], r["label"]): r["score"] for r in written if r["arm"] == "tuned"}
    rows = pq.read_table(predicted.out / "predictions.parquet").to_pylist()
    compared = 0
    for row in rows:
        path, header = files[row["sop_instance_uids"][0]]
        assert row["series_instance_uid"] == header.SeriesInstanceUID
        # the home's own key splits: a tune split of one class gives no operating point
        is_known = row["threshold"] is not None
        assert row["is_positive"] == (row["score"] >= row["threshold"] if is_known else None)
        key = (series[digest_of_file(context, path)], row["label"])
        if key in expected:
            compared += 1
            assert np.isclose(row["score"], expected[key], atol=1e-6)
    assert compared > 5 and len(rows) == predicted.facts["series"]


def test_what_is_not_judged_is_counted(predicted: Predicted) -> None:
    refused = {r["reason"]: r["n"] for r in pq.read_table(predicted.out / "refused.parquet").to_pylist()}
    assert refused == predicted.facts["refused"]
    assert refused["not_tuned_on"] > 0 and sum(refused.values()) > refused["not_tuned_on"]


def test_every_report_is_an_sr_that_points_to_its_images(predicted: Predicted) -> None:
    sources = headers(predicted.src)
    rows = {
        r["series_instance_uid"]: r for r in pq.read_table(predicted.out / "predictions.parquet").to_pylist()
    }
    documents = [highdicom.sr.srread(path) for path in (predicted.out / "sr").iterdir()]
    assert len(documents) == len(rows) == predicted.facts["documents"]
    for document in documents:
        (group,) = document.content.get_image_measurement_groups()
        (certainty,) = group.get_measurements()
        (image,) = group.source_images
        uid = image.referenced_sop_instance_uid
        _, header = sources[uid]
        row = rows[header.SeriesInstanceUID]
        assert uid in row["sop_instance_uids"] and document.StudyInstanceUID == row["study_instance_uid"]
        assert certainty.value == pytest.approx(100 * row["score"], abs=1e-3) and certainty.unit.value == "%"
        assert document.PatientID == header.PatientID and group.finding_type.value == "nodule"
        found = [presence.value.value == "present" for presence in group.get_qualitative_evaluations()]
        assert found == ([] if row["is_positive"] is None else [row["is_positive"]])
        evidence = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
        assert [r.ReferencedSOPInstanceUID for r in evidence.ReferencedSOPSequence] == [uid]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of the package dicom3tools")
def test_every_report_is_valid(predicted: Predicted) -> None:
    sources = headers(predicted.src)
    for path in (predicted.out / "sr").iterdir():
        (group,) = highdicom.sr.srread(path).content.get_image_measurement_groups()
        source = sources[group.source_images[0].referenced_sop_instance_uid][0]
        # what the patient's own module lacks, the document lacks too
        assert errors_of(path) <= errors_of(source)


def errors_of(path: Path) -> set[str]:
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
    return {line for line in said.splitlines() if line.startswith("Error")}


def test_no_name_is_said(predicted: Predicted, tmp_path: Path) -> None:
    key = pq.read_table(predicted.src.parent / "deliveries" / "answer_key.parquet").to_pylist()
    (tmp_path / "said.txt").write_text(predicted.said.replace(str(predicted.src.parent), ""))
    names = {r["value"] for r in key if r["where"] != "pixels"} - {
        r["value"] for r in key if len(r["value"]) < 4
    }
    sites = {p.name for p in (predicted.src.parent / "deliveries").iterdir()}
    assert search(frozenset(n for n in names if n.lower() not in sites), tmp_path) == []


def test_the_same_again_writes_the_same(predicted: Predicted, tmp_path: Path) -> None:
    site = next(p.name for p in (predicted.src.parent / "deliveries").iterdir() if p.is_dir())
    run(
        predicted.home,
        "predict",
        predicted.run_id,
        str(predicted.src),
        "--out",
        str(tmp_path),
        "--site",
        site,
    )

    def bytes_of(folder: Path) -> dict[str, bytes]:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert bytes_of(tmp_path) == bytes_of(predicted.out)


@pytest.mark.parametrize("name", ["head.safetensors", "preprocess.json"])
def test_a_run_that_lacks_a_part_is_refused(predicted: Predicted, tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(predicted.home, home)
    (home / "lake" / "runs" / predicted.run_id / name).unlink()
    code, _, said = call(
        home, "predict", predicted.run_id, str(predicted.src), "--out", str(tmp_path / "out")
    )
    assert code != 0 and name in said and not (tmp_path / "out").exists()


def test_an_output_inside_the_source_is_refused(predicted: Predicted) -> None:
    code, _, said = call(
        predicted.home, "predict", predicted.run_id, str(predicted.src), "--out", str(predicted.src / "x")
    )
    assert code != 0 and "outside" in said
