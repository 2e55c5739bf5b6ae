"""What the answer key names really lies where it says; reports say what the truth says."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict

import pydicom
import pytest

from curation.synth import SITES
from tests.identity_search import IdentitySearch, contents, is_written_in


def rows_by_file(generated):
    by_file = defaultdict(list)
    for row in generated.key:
        by_file[row["file"].split("!")[0]].append(row)
    return by_file


def test_every_value_of_the_answer_key_is_in_its_file(generated):
    search = IdentitySearch(row["value"] for row in generated.key)
    missing = []
    for file, rows in rows_by_file(generated).items():
        found = {value for value, _ in search.in_bytes(file.encode())}
        found |= {value for row in rows for value, _ in search.in_bytes(row["file"].encode())}
        for _, data in contents(generated.root / file):
            found |= {value for value, _ in search.in_bytes(data)}
        for row in rows:
            if row["where"] != "pixels" and len(row["value"].encode()) >= 8 and row["value"] not in found:
                missing.append((row["file"], row["where"], row["value"]))
    assert not missing


def test_only_station_names_are_too_short_for_the_search(generated):
    short = {row["where"] for row in generated.key if len(row["value"].encode()) < 8}
    assert short <= {"StationName"}


def test_identities_lie_in_all_the_places_that_are_easily_forgotten(generated):
    places = {row["where"] for row in generated.key}
    for place in (
        "PatientName", "RequestAttributesSequence[0].ReasonForRequestedProcedureCodeSequence[0].CodeMeaning",
        "private LO", "private OB", "private SQ", "ResponsiblePerson as LO", "DataSetTrailingPadding", "preamble",
        "meta PrivateInformation", "OverlayDescription", "codestream comment", "pixel surplus", "pixels", "file name",
        "report text", "column accession", "unregistered element",
    ):  # fmt: skip
        assert place in places, place


def test_no_canary_is_planted_in_two_studies(generated):
    at = defaultdict(set)
    for row in generated.key:
        if row["value"].startswith("ZQ"):
            at[row["value"]].add(row["site"])
    assert len(at) > 500
    assert all(len(sites) == 1 for sites in at.values())


def reports(generated, site):
    """accession -> row or {'report': text} as the site delivers them."""
    folder = generated.root / site / "reports"
    out = {}
    for path in sorted(folder.iterdir()):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            out.setdefault(path.stem, {})["report"] = text
        elif path.suffix == ".jsonl":
            out |= {(row := json.loads(line))["accession"]: row for line in text.splitlines()}
        else:
            for row in csv.DictReader(io.StringIO(text)):
                out.setdefault(row["accession"], {}).update(row)
    return out


@pytest.mark.parametrize("site", SITES)
def test_every_study_has_a_report_and_an_outcome(generated, site):
    found = reports(generated, site)
    for row in generated.truth:
        if row["site"] == site:
            report = found[row["accession"]]
            assert len(report["report"]) > 150
            assert float(report["outcome_death_days"]) == row["days_to_death"]
            assert report["outcome_death_observed"] == str(int(row["death_observed"]))


def test_reports_never_contradict_the_picture(generated):
    for row in generated.truth:
        for finding in ("nodule", "pleural_effusion", "emphysema", "fibrosis", "brain_lesion", "breast_mass"):
            if row[f"stated_{finding}"] in (0, 1):
                assert bool(row[f"stated_{finding}"]) == row[finding]


def test_some_reports_are_uncertain_and_some_findings_are_not_mentioned(generated):
    stated = [row["stated_nodule"] for row in generated.truth if row["nodule"] is not None]
    assert {1, 0, -1} <= set(stated)
    assert None in [row["stated_emphysema"] for row in generated.truth if row["emphysema"] is not None]


def test_label_columns_say_what_the_report_says(generated):
    rows = reports(generated, "minato-bay")
    for truth in generated.truth:
        if truth["site"] == "minato-bay":
            label = rows[truth["accession"]]["label_nodule"]
            assert label == ("" if truth["stated_nodule"] is None else str(truth["stated_nodule"]))


def test_the_german_site_writes_german(generated):
    texts = [row["report"] for row in reports(generated, "lindenhof-klinik").values()]
    assert all("BEFUND" in text for text in texts)
    assert not any("FINDINGS" in text for text in texts)


@pytest.mark.filterwarnings("ignore:The pixel data is")
def test_names_planted_in_pixels_can_be_read_there_and_nowhere_else(generated):
    burned = {
        r["file"]: r["value"] for r in generated.key if r["where"] == "pixels" and r["kind"] == "person_name"
    }
    seen = 0
    for name, data in generated.images():
        ds = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        if ds.Modality == "US" or ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7":
            array = pydicom.dcmread(io.BytesIO(data)).pixel_array
            frame = array[0] if "NumberOfFrames" in ds else array
            assert is_written_in(frame, burned[name])
            assert not is_written_in(frame, "Zzyzxquonk")
            blanked = frame.copy()
            blanked[: 9 if ds.Modality == "US" else 40] = 0
            assert not is_written_in(blanked, burned[name])
            seen += 1
        else:
            assert name not in burned
    assert seen > 10
