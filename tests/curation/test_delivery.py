"""A delivery: everything that arrives is accounted for; twice, or killed and run again, is the same as once."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from curation import catalog
from curation.deid.pseudonyms import Pseudonyms
from curation.delivery import Curated, curate, register
from curation.lake import Lake, Snapshot
from curation.records import ConfigurationError
from curation.settings import Settings, load_key, load_settings
from curation.site import load_sites

CR = "1.2.840.10008.5.1.4.1.1.1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home").model_copy(update={"workers": 1})


@pytest.fixture
def src(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    return folder


def radiograph(
    path: Path, patient: str = "P1", accession: str = "A1", study: str = "1.2.3", sop: str = ""
) -> Dataset:
    """A small valid CR object; its UIDs follow from its arguments."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CR
    ds.SOPInstanceUID = sop or generate_uid(entropy_srcs=[path.name, patient, study])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
    ds.PatientID, ds.PatientName = patient, f"ZEBEDYNE^{patient}"
    ds.PatientBirthDate, ds.PatientSex = "19610203", "F"
    ds.StudyDate, ds.AccessionNumber = "20240305", accession
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "CR", "CHEST", "PA"
    ds.Manufacturer = "ACME"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = 16, 24, 1
    ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    ds.PixelData = rng.integers(0, 4096, (16, 24), dtype=np.uint16).tobytes()
    ds.save_as(path, enforce_file_format=True)
    return ds


def publish(settings: Settings, curated: Curated) -> Snapshot:
    bucket = Pseudonyms(load_key(settings)).split_bucket
    sites = load_sites(settings.places)
    return catalog.publish(Lake(settings.places.lake), {curated.delivery: curated.part_list}, sites, bucket)


def ingest(settings: Settings, src: Path, name: str = "d1", site: str = "dev") -> Curated:
    register(settings, src, site, name)
    curated = curate(settings, name)
    publish(settings, curated)
    assert curated.arrivals == (
        curated.instances + curated.reports + curated.clinical + sum(curated.refusals.values())
    )
    return curated


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with Lake(settings.places.lake).connect() as con:
        return con.execute(query).fetchall()


def test_a_file_becomes_a_row_with_its_facts(settings: Settings, src: Path) -> None:
    radiograph(src / "IM1")
    ingest(settings, src)
    found = rows(
        settings,
        "SELECT modality, body_part, view, sex, age_years::INT, rows_px, n_frames, site FROM instances",
    )
    assert found == [("CR", "CHEST", "PA", "F", 63, 16, 1, "dev")]
    assert rows(settings, "SELECT n_studies, sex FROM patients") == [(1, "F")]
    assert rows(settings, "SELECT count(*) FROM person_tokens WHERE token IS NOT NULL") == [(3,)]


def test_the_same_file_twice_is_one_row_and_one_duplicate(settings: Settings, src: Path) -> None:
    radiograph(src / "IM1")
    (src / "copy").write_bytes((src / "IM1").read_bytes())
    curated = ingest(settings, src)
    assert (curated.instances, curated.refusals) == (1, {"duplicate": 1})


def test_the_same_file_in_a_later_delivery_is_a_duplicate_there(
    settings: Settings, src: Path, tmp_path: Path
) -> None:
    radiograph(src / "IM1")
    ingest(settings, src)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "x").write_bytes((src / "IM1").read_bytes())
    radiograph(tmp_path / "later" / "y", patient="P2", accession="A2", study="1.2.4")
    curated = ingest(settings, tmp_path / "later", "d2")
    assert (curated.instances, curated.refusals) == (1, {"duplicate": 1})
    assert rows(settings, "SELECT count(*) FROM instances") == [(2,)]


def test_the_same_uid_with_other_bytes_is_a_conflict(settings: Settings, src: Path) -> None:
    radiograph(src / "a", sop="1.2.3.9")
    radiograph(src / "b", sop="1.2.3.9")
    curated = ingest(settings, src)
    assert (curated.instances, curated.refusals) == (1, {"uid_conflict": 1})


def test_a_delivery_again_is_a_replacement(settings: Settings, src: Path) -> None:
    radiograph(src / "a")
    radiograph(src / "b", patient="P2", accession="A2", study="1.2.4")
    ingest(settings, src)
    (src / "b").unlink()
    radiograph(src / "c", patient="P3", accession="A3", study="1.2.5")
    ingest(settings, src)
    assert rows(settings, "SELECT count(*) FROM instances") == [(2,)]
    assert rows(settings, "SELECT count(*) FROM patients") == [(2,)]


def test_running_twice_changes_nothing(settings: Settings, src: Path) -> None:
    radiograph(src / "a")
    (src / "r.txt").write_text("Accession: A1\nFINDINGS: No nodule.")
    first = ingest(settings, src)
    head = Lake(settings.places.lake).head()
    second = ingest(settings, src)
    assert second.part_list == first.part_list
    assert Lake(settings.places.lake).head() == head


def test_the_number_of_workers_changes_nothing(settings: Settings, src: Path) -> None:
    for n in range(6):
        radiograph(src / f"f{n}", patient=f"P{n % 2}", accession=f"A{n % 2}", study=f"1.2.{n % 2}")
    one = ingest(settings, src)
    two = curate(settings.model_copy(update={"workers": 3}), "d1")
    assert one.part_list == two.part_list


def test_reports_find_their_study_by_accession_name_or_uid(settings: Settings, src: Path) -> None:
    for n in (1, 2, 3, 4):
        radiograph(src / f"f{n}", patient=f"P{n}", accession=f"A{n}", study=f"1.2.{n}")
    (src / "one.txt").write_text("Accession Number: A1\nFINDINGS: There is a nodule.")
    (src / "A2.txt").write_text("FINDINGS: No nodule.")
    (src / "t.csv").write_text(
        "accession,report,label_nodule\nA3,FINDINGS: Normal.,0\nA99,FINDINGS: Lost.,\n"
    )
    (src / "t.jsonl").write_text(json.dumps({"study_instance_uid": "1.2.4", "text": "FINDINGS: Clear."}))
    curated = ingest(settings, src)
    assert (curated.reports, curated.refusals) == (4, {"unlinked_report": 1})
    assert rows(settings, "SELECT count(DISTINCT study_id) FROM reports") == [(4,)]
    found = rows(settings, "SELECT assertion, source FROM findings WHERE finding = 'nodule' ORDER BY ALL")
    assert found == [("absent", "label"), ("absent", "report"), ("present", "report")]


def test_a_report_finds_a_study_of_an_earlier_delivery_and_loses_its_names(
    settings: Settings, src: Path, tmp_path: Path
) -> None:
    radiograph(src / "a")
    ingest(settings, src)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "r.txt").write_text("Accession: A1\nFINDINGS: Zebedyne has no nodule.")
    assert ingest(settings, tmp_path / "later", "d2").reports == 1
    ((text,),) = rows(settings, "SELECT text FROM reports")
    assert "zebedyne" not in str(text).lower()


def test_outcomes_come_as_columns(settings: Settings, src: Path) -> None:
    radiograph(src / "a")
    (src / "t.csv").write_text("accession,outcome_death_days,outcome_death_observed\nA1,412,1\n")
    assert ingest(settings, src).clinical == 1
    assert rows(settings, "SELECT event, days_to_event, observed FROM outcomes") == [("death", 412.0, True)]


def test_bad_input_is_refused_and_its_neighbours_are_not(settings: Settings, src: Path) -> None:
    radiograph(src / "good")
    whole = (src / "good").read_bytes()
    (src / "cut").write_bytes(whole[: len(whole) // 2])
    (src / "empty").touch()
    (src / "note.docx").write_bytes(b"PK\x03\x04 not really")
    (src / "word.bin").write_bytes(b"hello" * 100)
    curated = ingest(settings, src)
    assert curated.instances == 1
    assert sum(curated.refusals.values()) == 4
    assert curated.refusals["truncated"] >= 1


def test_a_killed_run_leaves_the_old_state_and_a_second_completes_it(settings: Settings, src: Path) -> None:
    radiograph(src / "a")
    ingest(settings, src)
    before = Lake(settings.places.lake).head()
    for n in range(60):
        radiograph(src / f"f{n:02d}", patient=f"P{n}", accession=f"B{n}", study=f"1.3.{n}")
    code = f"from tests.curation.test_delivery import *; ingest(load_settings({str(settings.home)!r}), Path({str(src)!r}))"
    for delay in (0.5, 1.5, 2.5):
        child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent.parent.parent)
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        head = Lake(settings.places.lake).head()
        assert head is not None
        assert rows(settings, "SELECT count(*) FROM instances") in ([(1,)], [(61,)])
        assert head == before or rows(settings, "SELECT count(*) FROM instances") == [(61,)]
    after = ingest(settings, src)
    assert after.instances == 61
    assert rows(settings, "SELECT count(*) FROM studies") == [(61,)]


@pytest.mark.parametrize(("site", "name"), [("nowhere", "d1"), ("dev", "Bad Name"), ("dev", "../d")])
def test_wrong_use_stops_before_anything_is_read(settings: Settings, src: Path, site: str, name: str) -> None:
    with pytest.raises(ConfigurationError):
        register(settings, src, site, name)


def test_a_name_that_another_site_took_is_refused(settings: Settings, src: Path) -> None:
    register(settings, src, "dev", "d1")
    with pytest.raises(ConfigurationError, match="came from site 'dev'"):
        register(settings, src, "pydicom", "d1")


def test_the_default_name_says_nothing_of_the_folder(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "zebedyne-jane-1961"
    folder.mkdir()
    name = register(settings, folder, "dev").delivery
    assert "zebedyne" not in name
    assert register(settings, folder, "dev").delivery == name


def test_another_key_is_refused_before_anything_is_read(
    settings: Settings, src: Path, tmp_path: Path
) -> None:
    radiograph(src / "a")
    ingest(settings, src)
    (tmp_path / "other.key").write_text("cd" * 32)
    other = settings.model_copy(update={"key_file": tmp_path / "other.key"})
    with pytest.raises(ConfigurationError, match="filled under key"):
        curate(other, "d1")
