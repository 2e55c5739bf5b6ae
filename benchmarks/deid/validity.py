"""Are released objects still valid for their class? `python -m benchmarks.deid.validity` writes results/deid_validity.json.

Two judges: the module tables of PS3.3 (an object of every released class with every attribute of its IOD filled: is an
attribute of Type 1 or 2 lost, is anything planted left?), and dicom3tools' dciodvfy, where it is installed, on real public
objects: which errors does the released object have that its original had not? Everything planted is synthetic.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from io import BytesIO
from pathlib import Path

import pydicom
from highdicom._standard_utils import get_sop_class_iod_map

from curation.deid.folder import deidentify_folder
from curation.deid.policy import Act, read_rows
from curation.deid.pseudonyms import dicom_uid
from curation.records import Refused
from tests.curation.deid.iods import broken, filled
from tests.curation.deid.objects import SITE, clean, policy, pseudonyms, read, to_bytes

RESULTS = Path(__file__).parents[1] / "results" / "deid_validity.json"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "dicom"
PUBLIC = (
    "ImagingDataCommons+highdicom",
    "QIICR+dcmqi",
    "dicompyler+dicompyler-core",
    "cornerstonejs+cornerstoneWADOImageLoader",
)
"""Public repositories whose test data hold many kinds of object: reports, segmentations, slides, RT, enhanced images."""


def by_tables(name: str = "research") -> dict[str, object]:
    """Every released class, filled: what is lost, and what of the planted values is left where no rule keeps it."""
    plain = {d.keyword for d in policy(name).decisions if d.act is Act.PLAIN}
    lost: dict[str, set[str]] = defaultdict(set)
    left: dict[str, set[str]] = defaultdict(set)
    refused: Counter[str] = Counter()
    n_planted = n_classes = 0
    for row in read_rows("classes.csv"):
        if row["status"] != "released" or row["sop_class"] not in get_sop_class_iod_map():
            continue
        ds, planted = filled(row["sop_class"])
        if row["needs"] == "pixels":
            ds.PixelData = bytes(16)
            ds["PixelData"].VR = "OW"
        try:
            found = clean(to_bytes(ds), name)
        except Refused as refusal:
            refused[refusal.reason] += 1
            continue
        n_classes, n_planted = n_classes + 1, n_planted + len(planted)
        before = set(broken(ds, row["sop_class"]))
        for path, how in set(broken(read(found), row["sop_class"])) - before:
            lost[f"{'.'.join(path)}: {how}"].add(row["name"])
        told = found.header.lower()
        for path, value in planted.items():
            if path[-1] not in plain and value.lower().encode() in told:
                left[".".join(path)].add(row["name"])
    return {
        "profile": name,
        "classes": n_classes,
        "refused": dict(refused),
        "values_planted": n_planted,
        "values_left": {path: sorted(names) for path, names in sorted(left.items())},
        "attributes_lost": {path: len(names) for path, names in sorted(lost.items())},
    }


def by_dciodvfy() -> dict[str, object]:
    """Real public objects: errors of the released one that the original had not, by SOP class."""
    if not shutil.which("dciodvfy") or not SHARED.exists():
        return {"skipped": "dciodvfy (Debian: dicom3tools) or the shared data are not there"}
    new: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    withheld: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as aside:
        src, dst = Path(aside, "in"), Path(aside, "out")
        src.mkdir()
        originals: dict[str, Path] = {}
        for n, path in enumerate(_public_files()):
            ds = _readable(path)
            if ds is None:
                continue
            target = src / f"{n:04d}.dcm"
            target.write_bytes(_with_patient(path, ds))
            originals[dicom_uid(pseudonyms().uid(ds.SOPInstanceUID))] = target
        counts = deidentify_folder(src, dst, policy(), pseudonyms(), SITE, workers=2)
        withheld.update(counts["withheld"])  # type: ignore[arg-type]
        for path in sorted(dst.rglob("*.dcm")):
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            original = originals.get(ds.SOPInstanceUID)
            if original is None:
                continue
            classes[ds.SOPClassUID.name] += 1
            for error in _errors(path) - _errors(original):
                new[f"{ds.SOPClassUID.name}: {error}"] += 1
    return {
        "released": dict(sorted(classes.items())),
        "withheld": dict(withheld),
        "new_errors": dict(new.most_common()),
    }


def _public_files() -> list[Path]:
    return sorted(p for name in PUBLIC for p in (SHARED / name).rglob("*") if p.is_file())


def _readable(path: Path) -> pydicom.Dataset | None:
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError):
        return None
    return ds if "SOPClassUID" in ds and "SOPInstanceUID" in ds else None


def _with_patient(path: Path, ds: pydicom.Dataset) -> bytes:
    """The file's bytes; a patient id where it was taken out before publication."""
    if ds.get("PatientID"):
        return path.read_bytes()
    whole = pydicom.dcmread(path)
    whole.PatientID = "ANON1"
    out = BytesIO()
    whole.save_as(out)
    return out.getvalue()


def _errors(path: Path) -> set[str]:
    done = subprocess.run(
        ["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (done.stderr + done.stdout).splitlines()
    return {line.partition(" - ")[2] for line in lines if line.startswith("Error")}


def main() -> None:
    """Measure and write, part by part."""
    warnings.simplefilter("ignore")
    result: dict[str, object] = {"command": "python -m benchmarks.deid.validity", "policy": policy().version}
    for name, measure in (("dciodvfy", by_dciodvfy), ("tables", by_tables)):
        started = time.monotonic()
        result[name] = measure()
        result[f"{name}_seconds"] = round(time.monotonic() - started)
        result["machine"] = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result, indent=1)[:6000] + "\n")


if __name__ == "__main__":
    main()
