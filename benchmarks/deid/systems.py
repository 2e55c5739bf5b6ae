"""What is measured on the corpus: rwid under its profiles, the controls that must fail, and peers run by their own interpreter.

What belongs here: from a corpus to released files, each known by the file it came from. What does not: judging (score, leak_search).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pydicom

from benchmarks.deid.corpus.answer_key import File
from curation.deid.folder import deidentify_folder
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms

Box = tuple[int, int, int, int]


@dataclass(slots=True)
class Release:
    """Released files by the name of their source; reasons of the others; boxes said to be blanked; seconds of the run."""

    paths: dict[str, Path]
    withheld: dict[str, str] = field(default_factory=dict)
    regions: dict[str, list[Box]] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""
    besides: bytes = b""
    """What was written beside the files: names, logs."""


def rwid(profile: str) -> Callable[[Path, list[File], Path], Release]:
    """`rwid deid` of each site's folder under the profile, one process."""

    def run(corpus: Path, files: list[File], out: Path) -> Release:
        policy, pseudonyms = (
            compile_policy(load_profile(profile)),
            Pseudonyms(b"a key of the benchmark, 32 bytes"),
        )
        release = Release({})
        for site in sorted({file.site for file in files}):
            src, dst = corpus / "files" / site, out / site
            begin = time.perf_counter()
            deidentify_folder(src, dst, policy, pseudonyms, site)
            release.seconds += time.perf_counter() - begin
            sources = {pseudonyms.digest(path.read_bytes()): f"{site}/{path.name}" for path in src.iterdir()}
            rows = pq.read_table(dst / "deid_log.parquet").to_pylist()
            names = [str(path.relative_to(dst)) for path in sorted(dst.rglob("*"))]
            release.besides += "\n".join([*names, *map(repr, rows)]).encode()
            for row in rows:
                name = sources[row["source_digest"]]
                if row["withheld"]:
                    release.withheld[name] = row["withheld"]
                    continue
                (release.paths[name],) = dst.rglob(f"*{row['instance_id']}*.dcm")
                boxes = [(b["y"], b["x"], b["height"], b["width"]) for b in row["regions"] or ()]
                if boxes:
                    release.regions[name] = boxes
        return release

    return run


def copy_only(corpus: Path, files: list[File], out: Path) -> Release:
    """Control: nothing is done."""
    return Release({file.file: _copy(corpus, file, out) for file in files})


def _copy(corpus: Path, file: File, out: Path) -> Path:
    target = out / file.file
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(corpus / "files" / file.file, target))


def delete_everything(corpus: Path, files: list[File], out: Path) -> Release:
    """Control: an object with nothing but its class and new UIDs."""
    release = Release({})
    for number, file in enumerate(files):
        ds = pydicom.Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = file.sop_class, f"2.25.{10**20 + number}"
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        target = out / file.file
        target.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(target, ds, enforce_file_format=True)
        release.paths[file.file] = target
    return release


def peer(python: Path, driver: Path, name: str) -> Callable[[Path, list[File], Path], Release]:
    """A peer at its defaults, file by file in one process of its own interpreter; the driver says the seconds of each."""

    def run(corpus: Path, files: list[File], out: Path) -> Release:
        out.mkdir(parents=True, exist_ok=True)
        jobs = [[str(corpus / "files" / file.file), str(out / file.file)] for file in files]
        for _, target in jobs:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [str(python), str(driver), name], input=json.dumps(jobs), capture_output=True, text=True, check=False, timeout=1200
        )  # fmt: skip
        if done.returncode:
            return Release(
                {}, note=f"the driver ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
            )
        answer = json.loads(done.stdout.splitlines()[-1])
        release = Release({}, seconds=answer["seconds"], note=answer["version"])
        for file, problem in zip(files, answer["problems"], strict=True):
            if problem or not (out / file.file).is_file():
                release.withheld[file.file] = problem or "no output"
            else:
                release.paths[file.file] = out / file.file
        return release

    return run


CONTROLS: Mapping[str, Callable[[Path, list[File], Path], Release]] = {
    "control: copy only": copy_only,
    "control: delete everything": delete_everything,
    "control: Basic alone": rwid("basic"),
}
