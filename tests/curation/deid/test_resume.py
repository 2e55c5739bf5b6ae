"""A folder run that goes on where another ended: the same bytes as in one go, whenever the other was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.uid import UltrasoundImageStorage

from curation.deid import folder, members, release, take
from curation.deid.folder import deidentify_folder
from curation.deid.header import Clean
from curation.deid.journal import NAME
from curation.deid.pixels import Box, Look, Member, Plan, Region
from curation.deid.pseudonyms import Pseudonyms
from curation.engine import Outcome
from tests.curation.deid.objects import KEY, SITE, ct, policy, pseudonyms, to_bytes

BOX = Region(Box(0, 0, 4, 2), "consensus")


def run(src: Path, dst: Path, **how: Any) -> dict[str, Any]:
    return deidentify_folder(src, dst, policy(), pseudonyms(), SITE, **how)


def tree(root: Path) -> dict[str, bytes]:
    """Every file but the journal, which remembers in the order of the work."""
    return {
        str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != NAME
    }


def fill(src: Path, n: int, **changes: Any) -> None:
    src.mkdir(exist_ok=True)
    for i in range(n):
        ds = ct(SOPInstanceUID=f"1.2.3.{i}", InstanceNumber=i, **changes)
        (src / f"{i:03d}.dcm").write_bytes(to_bytes(ds))


def test_what_was_released_is_left_as_it_is(tmp_path: Path) -> None:
    fill(tmp_path / "src", 4)
    run(tmp_path / "src", tmp_path / "dst")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "dst").rglob("*.dcm")}
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 4
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "dst").rglob("*.dcm")} == times


def test_a_changed_source_or_a_lost_or_cut_file_is_released_again(tmp_path: Path) -> None:
    fill(tmp_path / "src", 4)
    run(tmp_path / "src", tmp_path / "dst")
    whole = tree(tmp_path / "dst")
    first, second, *_ = sorted((tmp_path / "dst").rglob("*.dcm"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-2])
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 2
    assert tree(tmp_path / "dst") == whole
    fill(tmp_path / "src", 1, SliceThickness="7.0")
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 3
    assert tree(tmp_path / "dst") != whole


def test_another_key_or_policy_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    fill(tmp_path / "src", 3)
    run(tmp_path / "src", tmp_path / "dst")
    other = Pseudonyms(KEY[::-1])
    found = deidentify_folder(tmp_path / "src", tmp_path / "dst", policy(), other, SITE)
    assert (found["kept"], found["strays"], found["is_foreign"]) == (0, 3, True)
    found = deidentify_folder(tmp_path / "src", tmp_path / "dst", policy("basic"), other, SITE)
    assert (found["kept"], found["is_foreign"]) == (0, True)


_KILLED = """
import sys
from pathlib import Path
from curation.deid.folder import deidentify_folder
from tests.curation.deid.objects import SITE, policy, pseudonyms
print("begun", flush=True)
deidentify_folder(Path(sys.argv[1]), Path(sys.argv[2]), policy(), pseudonyms(), SITE)
"""


def test_a_run_killed_at_any_moment_leaves_whole_files_and_is_completed(tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    pixels = np.arange(256 * 256, dtype=np.uint16).tobytes()
    fill(src, 150, Rows=256, Columns=256, PixelData=pixels)
    (src / "note.txt").write_text("a note")
    run(src, tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    killed = 0
    for delay in (0.01, 0.03, 0.06, 0.1):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(src), str(dst)], stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        assert child.stdout and child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
        for path, content in tree(dst).items() if dst.exists() else ():
            assert path.endswith(".part") or whole[path] == content
    assert killed
    found = run(src, dst)
    assert found["read"] == 151 and found["withheld"] == {"not_dicom": 1}
    assert tree(dst) == whole


def test_a_torn_line_of_the_journal_is_one_file_less(tmp_path: Path) -> None:
    fill(tmp_path / "src", 4)
    run(tmp_path / "src", tmp_path / "dst")
    journal = tmp_path / "dst" / NAME
    journal.write_bytes(journal.read_bytes()[:-9])
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 3
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 4


def test_the_journal_names_nobody_and_no_file(tmp_path: Path) -> None:
    src = tmp_path / "src" / "Smithson_John"
    (tmp_path / "src").mkdir()
    fill(src, 2)
    run(tmp_path / "src", tmp_path / "dst")
    told = (tmp_path / "dst" / NAME).read_text().lower()
    for word in ("smithson", "000.dcm", "48213377", "1.2.3."):
        assert word not in told


def looked_at(monkeypatch: pytest.MonkeyPatch, seen: list[int]) -> None:
    """Ultrasound is looked at; all of its series is blanked as soon as it has three objects, and withheld with five."""

    def triage(clean: Clean, *_: Any) -> Plan | Look:
        return Look("burned_in") if clean.sop_class == UltrasoundImageStorage else Plan()

    def plan(series: Sequence[Member], *_: Any) -> Mapping[UUID, Plan | str]:
        seen.append(len(series))
        for member in series:
            assert member.frame(0).shape == (4, 4)
        if len(series) >= 5:
            return {m.clean.instance_id: "identity_suspected" for m in series}
        plan = Plan((BOX,) if len(series) >= 3 else (), is_cleaned=True)
        return {m.clean.instance_id: plan for m in series}

    monkeypatch.setattr(take, "triage", triage)
    monkeypatch.setattr(members, "plan_series", plan)


def us(src: Path, names: Sequence[int], series: str = "1.9") -> None:
    src.mkdir(exist_ok=True)
    for n in names:
        ds = ct(
            SOPClassUID=UltrasoundImageStorage,
            Modality="US",
            SOPInstanceUID=f"1.8.{n}",
            SeriesInstanceUID=series,
        )
        ds.PixelData = bytes([7]) * 32
        (src / f"us{n}.dcm").write_bytes(to_bytes(ds))


def test_a_series_is_seen_whole_and_its_files_keep_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    looked_at(monkeypatch, seen)
    us(tmp_path / "src", [1, 2, 3])
    us(tmp_path / "src", [6, 7], series="1.10")
    fill(tmp_path / "src", 2)
    found = run(tmp_path / "src", tmp_path / "dst")
    assert (found["read"], found["released"], sorted(seen)) == (7, 7, [2, 3])
    rows = pq.read_table(tmp_path / "dst" / "deid_log.parquet").to_pylist()
    assert [bool(r["regions"]) for r in rows] == [False, False, True, True, True, False, False]
    assert {r["regions"][0]["source"] for r in rows if r["regions"]} == {"consensus"}
    for path in (tmp_path / "dst").rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        assert ds.get("BurnedInAnnotation") == ("NO" if ds.Modality == "US" else None)


def test_a_series_that_has_grown_is_seen_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    looked_at(monkeypatch, seen)
    us(tmp_path / "src", [1, 2])
    run(tmp_path / "src", tmp_path / "dst")
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 2 and seen == [2]
    us(tmp_path / "src", [3])
    assert run(tmp_path / "src", tmp_path / "dst")["kept"] == 0 and seen == [2, 3]
    run(tmp_path / "src", tmp_path / "fresh")
    assert tree(tmp_path / "dst") == tree(tmp_path / "fresh")


def test_a_series_that_has_shrunk_is_seen_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    looked_at(monkeypatch, seen)
    us(tmp_path / "src", [1, 2, 3])
    run(tmp_path / "src", tmp_path / "dst")
    (tmp_path / "src" / "us3.dcm").unlink()
    found = run(tmp_path / "src", tmp_path / "dst")
    assert (found["kept"], found["strays"], seen) == (0, 1, [3, 2])
    regions = pq.read_table(tmp_path / "dst" / "deid_log.parquet")["regions"].to_pylist()
    assert regions == [[], []]


def test_what_is_withheld_now_does_not_stay_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at(monkeypatch, [])
    us(tmp_path / "src", [1, 2, 3])
    run(tmp_path / "src", tmp_path / "dst")
    us(tmp_path / "src", [4, 5])
    found = run(tmp_path / "src", tmp_path / "dst")
    assert found["withheld"] == {"identity_suspected": 5}
    assert not list((tmp_path / "dst").rglob("*.dcm"))


def test_the_same_object_twice_in_a_series_is_seen_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    looked_at(monkeypatch, seen)
    us(tmp_path / "src", [1, 2])
    (tmp_path / "src" / "us9.dcm").write_bytes((tmp_path / "src" / "us1.dcm").read_bytes())
    found = run(tmp_path / "src", tmp_path / "dst")
    assert found["withheld"] == {"duplicate": 1} and found["released"] == 2 and seen == [2]


def test_entries_that_are_no_readable_files_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src = tmp_path / "src"
    fill(src, 2)
    (src / "link").symlink_to(src / "000.dcm")
    (src / "folder").symlink_to(tmp_path)
    os.mkfifo(src / "pipe")
    (src / "secret.dcm").write_bytes(b"x")
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "secret" not in str(path) and real(path, mode))
    found = run(src, tmp_path / "dst")
    assert found["skipped"] == {"link": 2, "special": 1, "unreadable": 1}
    assert (found["read"], found["released"]) == (2, 2)


def test_a_file_that_goes_away_meanwhile_is_counted_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "src", 3)
    real = take.write_object

    def vanish(*args: Any) -> int:
        (tmp_path / "src" / "002.dcm").unlink(missing_ok=True)
        return real(*args)

    monkeypatch.setattr(take, "write_object", vanish)
    found = run(tmp_path / "src", tmp_path / "dst")
    assert (found["read"], found["released"], found["skipped"]) == (2, 2, {"unreadable": 1})


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "src", 3)
    real, calls = release._write_all, []

    def full(out: int, parts: Any) -> None:
        calls.append(out)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(out, parts)

    monkeypatch.setattr(release, "_write_all", full)
    with pytest.raises(OSError, match="No space"):
        run(tmp_path / "src", tmp_path / "dst")
    assert not list((tmp_path / "dst").rglob("*.part"))
    monkeypatch.setattr(release, "_write_all", real)
    assert run(tmp_path / "src", tmp_path / "dst")["released"] == 3


def test_a_fault_of_our_own_is_placed_and_costs_its_own_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "src", 3)

    def outcomes(step: Any, items: Any, **how: Any) -> Any:
        context = how["initializer"](*how["initargs"])
        for n, item in enumerate(items):
            if n == 1:
                yield Outcome(n, None, "internal_fault", "KeyError at walk.py:7 in one")
            else:
                yield Outcome(n, step(context, item), None)

    monkeypatch.setattr(folder, "map_items", outcomes)
    found = run(tmp_path / "src", tmp_path / "dst", workers=1)
    assert found["withheld"] == {"internal_fault": 1} and found["released"] == 2
    assert found["faults"] == {"KeyError at walk.py:7 in one": 1}
