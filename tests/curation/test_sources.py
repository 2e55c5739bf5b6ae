"""Everything under a folder is an item with a kind or a reason: nothing is dropped, nothing breaks the walk."""

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from curation.source import Item
from curation.sources import SOURCES
from curation.sources.archive import sweep_orphans

DICOM = b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0\0\0\0\0" + b"\0" * 64


def walk(root: Path, spool: Path) -> dict[str, Item]:
    spool.mkdir(exist_ok=True)
    items = list(SOURCES["folder"](root, spool))
    assert len({i.path for i in items}) == len(items)
    return {i.path: i for i in items}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    return folder


def test_dicom_is_known_by_its_bytes_not_by_its_name(root: Path, tmp_path: Path) -> None:
    (root / "IM0001").write_bytes(DICOM)
    (root / "movie.dcm").write_bytes(b"not dicom at all" * 20)
    items = walk(root, tmp_path / "spool")
    assert items["IM0001"].kind == "dicom"
    assert items["movie.dcm"].refused == "not_dicom"


def test_members_of_archives_are_items_and_their_names_never_become_file_names(
    root: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("../../DOE^JANE.dcm", DICOM)
        archive.writestr("notes/report.txt", "Accession: 7\nNormal.")
    with tarfile.open(root / "b.tar.gz", "w:gz") as archive_tar:
        info = tarfile.TarInfo("x")
        info.size = len(DICOM)
        archive_tar.addfile(info, io.BytesIO(DICOM))
    items = walk(root, tmp_path / "spool")
    assert {p: i.kind for p, i in items.items()} == {
        "a.zip!../../DOE^JANE.dcm": "dicom",
        "a.zip!notes/report.txt": "report",
        "b.tar.gz!x": "dicom",
    }
    laid = [
        p.relative_to(tmp_path / "spool").as_posix() for p in (tmp_path / "spool").rglob("*") if p.is_file()
    ]
    assert all(part.isdecimal() for name in laid for part in name.split("/"))
    assert not list(tmp_path.glob("DOE*"))


def test_an_archive_in_an_archive_is_opened_and_a_nest_of_them_is_not(root: Path, tmp_path: Path) -> None:
    data = DICOM
    for depth in range(5):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("inner" if depth else "IM1", data)
        data = buffer.getvalue()
        (root / f"{depth}.zip").write_bytes(data)
    items = walk(root, tmp_path / "spool")
    assert items["2.zip!inner!inner!IM1"].kind == "dicom"
    assert items["4.zip!inner!inner!inner"].refused == "too_large"


def test_a_bomb_is_refused_before_it_fills_the_disk(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(80 << 20))
    items = walk(root, tmp_path / "spool")
    assert items["bomb.zip"].refused == "too_large"


@pytest.mark.parametrize("cut", [4, 30, 100, -10])
def test_a_cut_archive_is_one_refusal(root: Path, tmp_path: Path, cut: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("IM1", DICOM)
    (root / "a.zip").write_bytes(buffer.getvalue()[:cut])
    (root / "b.zip").write_bytes(buffer.getvalue())
    items = walk(root, tmp_path / "spool")
    assert items["a.zip"].refused in ("truncated", "malformed", "not_dicom")
    assert items["b.zip!IM1"].kind == "dicom"


def test_rows_of_tables_are_items_by_what_they_hold(root: Path, tmp_path: Path) -> None:
    (root / "r.csv").write_text("Accession,Report,label_nodule\n1,Clear lungs.,0\n2,,1\n,Lost.,\n")
    (root / "r.jsonl").write_text('{"study_instance_uid": "1.2", "text": "Normal."}\nnot json\n')
    items = walk(root, tmp_path / "spool")
    assert [items[f"r.csv#{n}"].kind for n in (1, 2, 3)] == ["report", "clinical", "report"]
    assert items["r.csv#3"].refused == "unlinked_report"
    assert items["r.jsonl#1"].text == "Normal."
    assert items["r.jsonl#2"].refused == "unreadable_report"


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "accession,report\n1,2,3,4\n"])
def test_a_table_that_cannot_be_read_is_refused(root: Path, tmp_path: Path, text: str) -> None:
    (root / "r.csv").write_text(text)
    items = walk(root, tmp_path / "spool")
    assert {i.refused for i in items.values()} == {"unreadable_report"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("cp1252"), "Grüße"),
        ("Grüße".encode("utf-16"), "Grüße"),
        (b"\xef\xbb\xbfok", "ok"),
    ],
)
def test_report_text_is_decoded_as_it_was_written(
    root: Path, tmp_path: Path, data: bytes, expected: str
) -> None:
    (root / "r.txt").write_bytes(data)
    assert walk(root, tmp_path / "spool")["r.txt"].text == expected


@pytest.mark.parametrize("data", [b"", b"  \n", bytes(range(256))])
def test_what_is_no_text_is_an_unreadable_report(root: Path, tmp_path: Path, data: bytes) -> None:
    (root / "r.txt").write_bytes(data)
    assert walk(root, tmp_path / "spool")["r.txt"].refused == "unreadable_report"


def test_a_link_that_leaves_the_folder_is_refused_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.dcm").write_bytes(DICOM)
    (root / "link.dcm").symlink_to(tmp_path / "outside.dcm")
    assert walk(root, tmp_path / "spool")["link.dcm"].refused == "not_dicom"


def test_the_marker_of_a_complete_delivery_is_no_arrival(root: Path, tmp_path: Path) -> None:
    (root / ".complete").touch()
    (root / ".DS_Store").write_bytes(b"x" * 200)
    assert set(walk(root, tmp_path / "spool")) == {".DS_Store"}


def test_what_a_killed_process_laid_out_is_swept_up_and_nobody_elses(tmp_path: Path) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    orphan, mine, other = (tmp_path / f"d-{end}" for end in (done.pid, os.getpid(), "notes"))
    for room in (orphan, mine, other):
        (room / "000000").mkdir(parents=True)
    sweep_orphans(tmp_path)
    assert [room.exists() for room in (orphan, mine, other)] == [False, True, True]
