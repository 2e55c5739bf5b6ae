"""Where the time of `rwid ingest` goes: CPU milliseconds a file and step, one process, and files a second and core as a whole.

python -m benchmarks.intake.bench_ingest --files 60 --out benchmarks/results/ingest.json

The files are synthetic CT slices of 512 x 512 int16. Shares are CPU time of one process, so a loaded machine does not move
them much; the whole road is timed by wall clock with one worker, once, after a warm-up, with the start of the worker in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from curation import catalog, frames
from curation.deid.header import clean_header
from curation.deid.pixels import triage
from curation.delivery import curate, register
from curation.instance import describe
from curation.lake import Lake
from curation.records import Frame, Instance, to_table
from curation.settings import load_key, load_settings, open_home
from curation.site import load_sites
from curation.steps import Stamp, make_context


def write_slice(path: Path, number: int) -> None:
    """One CT slice: a disc of tissue with noise, so that it compresses like a CT and not like a blank."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = np.where(x**2 + y**2 < 0.7, 40 + 300 * np.sin(9 * x) * np.cos(7 * y), -1000)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.9.{number}", "1.2.9", "1.2.9.0"
    ds.PatientID, ds.PatientName, ds.PatientBirthDate = "B1", "BENCH^MARK", "19600101"
    ds.StudyDate, ds.Modality, ds.Manufacturer = "20240102", "CT", "ACME"
    ds.Rows = ds.Columns = 512
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelSpacing, ds.ImagePositionPatient = [0.7, 0.7], [0, 0, number]
    ds.ImageOrientationPatient, ds.InstanceNumber = [1, 0, 0, 0, 1, 0], number
    ds.PixelData = (body + rng.normal(0, 12, body.shape)).astype(np.int16).tobytes()
    ds.save_as(path, enforce_file_format=True)


class Clock:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] += time.process_time() - started


def steps(files: list[Path], home: Path) -> dict[str, float]:
    """CPU ms a file of every step of the walk, in this process."""
    context = make_context(bytes(32), "research", Stamp("dev", "bench", "0"), 1 << 30)
    clock, lake = Clock(), Lake(home / "lake")
    rows: list[tuple[Instance, Frame]] = []
    stamp = {"policy_version": "", "key_id": "", "site": "dev", "delivery": "bench", "code_version": "0"}
    for path in files:
        with clock.step("read"):
            data = path.read_bytes()
        with clock.step("digest"):
            digest = context.pseudonyms.digest(data)
        with clock.step("deidentify"):
            clean = clean_header(data, context.policy, context.pseudonyms, "dev")
            triage(clean, context.policy, context.rules)
        with clock.step("encode and verify (HTJ2K)"):
            payloads = list(frames.iter_payloads(data, clean))
        with clock.step("describe"):
            hashes = [p.pixel_sha256 for p in payloads]
            facts = {**stamp, "burned_in_regions": [], "source_digest": digest, "bytes": len(data)}
            row = describe(clean, hashes, **facts)
        with clock.step("rows to Parquet"):
            frame = Frame(
                row.instance_id,
                0,
                row.series_id,
                payloads[0].codec,
                payloads[0].payload,
                hashes[0],
                "dev",
                "b",
                "0",
            )
            rows.append((row, frame))
    with clock.step("rows to Parquet"):
        lake.write_part("instances", to_table(Instance, [row for row, _ in rows]))
        lake.write_part("frames", to_table(Frame, [frame for _, frame in rows]))
    return {name: 1000 * seconds / len(files) for name, seconds in clock.seconds.items()}


def whole(src: Path, home: Path) -> tuple[float, float]:
    """Wall seconds to curate the folder with one worker, and to publish it."""
    settings = load_settings(home).model_copy(update={"workers": 1})
    places = open_home(settings)
    register(settings, src, "dev", "bench")
    started = time.perf_counter()
    staged = curate(settings, "bench")
    curated = time.perf_counter() - started
    bucket = make_context(
        load_key(settings), "research", Stamp("dev", "bench", "0"), 1
    ).pseudonyms.split_bucket
    started = time.perf_counter()
    catalog.publish(Lake(places.lake), {"bench": staged.part_list}, load_sites(places), bucket)
    return curated, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ingest.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder, "src")
        src.mkdir()
        for number in range(options.files):
            write_slice(src / f"{number:04d}", number)
        files = sorted(src.iterdir())
        steps(files[:5], Path(folder, "warm"))
        ms = steps(files, Path(folder, "steps"))
        curated, published = whole(src, Path(folder, "home"))
    encode = ms["encode and verify (HTJ2K)"]
    result = {
        "what": "synthetic CT, 512 x 512 int16; CPU ms a file and step in one process; the whole with one worker, wall clock",
        "command": "python -m benchmarks.intake.bench_ingest " + " ".join(sys.argv[1:]),
        "files": options.files,
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
        "cpu_ms_per_file": {name: round(value, 3) for name, value in ms.items()},
        "share": {name: round(value / sum(ms.values()), 3) for name, value in ms.items()},
        "times_encoding": {name: round(value / encode, 3) for name, value in ms.items()},
        "files_per_second_per_core_of_the_steps": round(1000 / sum(ms.values()), 1),
        "curate_wall_s": round(curated, 2),
        "publish_wall_s": round(published, 2),
        "files_per_second_curate_one_worker": round(options.files / curated, 1),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
