"""What `predict` cannot do is told in a sentence: what is asked wrongly, folders without images, series that do not fit."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.cohort import build_cohort
from curation.cohort_spec import CohortSpec
from curation.records import ConfigurationError
from curation.settings import load_settings, open_home
from tests.curation import segmented
from tests.training.planted import tree
from tests.ui import tiny
from training.predict import predict
from training.spec import parse_spec


@pytest.mark.parametrize(
    ("src", "told"), [("nowhere", "Nothing lies at"), ("here", "There is no run 0123456789abcdef")]
)
def test_a_folder_or_run_that_is_not_there_is_named(tmp_path: Path, src: str, told: str) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(ConfigurationError, match=told):
        predict(load_settings(tmp_path / "home"), "0123456789abcdef", tmp_path / src, tmp_path / "out")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home of the tiny hand-made lake, and a probe on its radiographs."""
    from training.tune import tune

    home = tmp_path_factory.mktemp("finished")
    lake = tiny.build(home, n_patients=24)
    cohort = {
        **tiny.LEARNABLE, "cohort": "radiographs", "include": [{"name": "CR", "where": "modality = 'CR'"}],
    }  # fmt: skip
    folder = build_cohort(lake, CohortSpec.model_validate(cohort))
    task = {"kind": "multilabel", "labels": ["woman"]}
    spec = parse_spec(tree("probe", cohort=folder.name, task=task))
    return home, tune(lake.root, spec, report=lambda facts: None).name


def ask(finished: tuple[Path, str], src: Path, out: Path) -> str:
    home, run = finished
    settings = load_settings(home).model_copy(update={"workers": 1})
    open_home(settings)
    with pytest.raises(ConfigurationError) as told:
        predict(settings, run, src, out)
    return str(told.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "told"),
    [((), "nothing in it could be one"), (("a.txt", "b.dcm"), "no file in it is one (2 looked at)")],
)
def test_a_folder_without_dicom_is_told_what_was_looked_for(
    finished: tuple[Path, str], tmp_path: Path, files: tuple[str, ...], told: str
) -> None:
    (tmp_path / "src").mkdir()
    for name in files:
        (tmp_path / "src" / name).write_text("no image " * 40 + name)
    said = ask(finished, tmp_path / "src", tmp_path / "out")
    assert told in said and "Looked for are DICOM files" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_where_every_series_is_refused_the_reasons_are_told_and_counted(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    for patient in (1, 2):
        ct = segmented.ct(patient, 0, np.zeros((64, 64)), f"1.2.3.{patient}", f"1.2.4.{patient}")
        (tmp_path / "src").mkdir(exist_ok=True)
        ct.save_as(tmp_path / "src" / f"{patient}.dcm", enforce_file_format=True)
    (tmp_path / "src" / "cut.dcm").write_bytes((tmp_path / "src" / "1.dcm").read_bytes()[:-500])
    said = ask(finished, tmp_path / "src", tmp_path / "out")
    assert "not_tuned_on 2 (A modality" in said and "truncated 1 (The file ends" in said
    assert "tuned on CR" in said
    written = {r["reason"]: r["n"] for r in pq.read_table(tmp_path / "out" / "refused.parquet").to_pylist()}
    assert written == {"not_tuned_on": 2, "truncated": 1}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_images_in_an_archive_are_told_to_be_unpacked(
    finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ct = segmented.ct(1, 0, np.zeros((64, 64)), "1.2.3", "1.2.4")
    ct.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    (tmp_path / "src").mkdir()
    with zipfile.ZipFile(tmp_path / "src" / "all.zip", "w") as archive:
        archive.write(tmp_path / "one.dcm", "one.dcm")
    monkeypatch.setattr("training.predict._tuned_on", lambda lake, cohort: {("CT", "axial")})
    said = ask(finished, tmp_path / "src", tmp_path / "out")
    assert "in_archive 1 (A series in an archive: unpack it" in said
