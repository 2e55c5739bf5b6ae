"""Milliseconds to de-identify one enhanced MR of 600 frames with nested functional groups, against copying its bytes.

Run: python -m benchmarks.deid.bench_nested [--frames 600] [--rounds 15] [--peer PYTHON_WITH_DICOGNITO]
Ways alternate in shuffled order; nothing is remembered when an object is cleaned, neither elements nor forms of items
(`rwid`), or what the object before it in its series left (`rwid_next`). Reported are medians over rounds. Writes
benchmarks/results/deid_nested.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from benchmarks.deid.bench_header import Peer, copy_bytes
from benchmarks.deid.synthetic import code, ct_slice, write
from curation.deid.header import clean_header
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.release import file_meta
from curation.part10 import EXPLICIT_LITTLE

RESULT = Path(__file__).parents[1] / "results" / "deid_nested.json"
SIDE = 64
SERIES, STUDY = generate_uid(), generate_uid()


def one(**values: object) -> Sequence:
    """A sequence of one item with these attributes."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def frame_groups(n: int, first: int) -> Dataset:
    """The functional groups of frame n of an object whose positions begin at `first`, as scanners write them: 36 elements, four levels deep."""
    item = Dataset()
    item.FrameContentSequence = one(
        FrameAcquisitionDateTime=f"2019030510{n // 60 % 60:02d}{n % 60:02d}.250000",
        FrameReferenceDateTime=f"2019030510{n // 60 % 60:02d}{n % 60:02d}.500000",
        FrameAcquisitionDuration=12.5 + n,
        FrameAcquisitionNumber=n % 65535,
        DimensionIndexValues=[1, n + 1, 1],
        StackID="1",
        InStackPositionNumber=first + n + 1,
        TemporalPositionIndex=1,
    )
    item.PlanePositionSequence = one(ImagePositionPatient=[-120.5, -110.25, 1.25 * (first + n)])
    item.PlaneOrientationSequence = one(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    item.PixelMeasuresSequence = one(PixelSpacing=[0.9, 0.9], SliceThickness="1.25")
    item.MREchoSequence = one(EffectiveEchoTime=2.5 + n % 3)
    item.MRDiffusionSequence = one(
        DiffusionBValue=float(n % 4 * 500),
        DiffusionDirectionality="DIRECTIONAL",
        DiffusionGradientDirectionSequence=one(DiffusionGradientOrientation=[0.1 * (n % 7), 0.2, 0.3]),
    )
    item.FrameVOILUTSequence = one(WindowCenter=300 + n % 11, WindowWidth=600)
    source = one(
        ReferencedSOPClassUID=EnhancedMRImageStorage,
        ReferencedSOPInstanceUID=f"1.2.826.0.1.3680043.8.498.55{first + n}",
        ReferencedFrameNumber=n + 1,
        PurposeOfReferenceCodeSequence=Sequence([code("121322", "DCM", "Source of the mask")]),
    )
    item.DerivationImageSequence = one(
        DerivationDescription="mask", DerivationCodeSequence=Sequence([code("113091", "DCM", "Mean")]),
        SourceImageSequence=source,
    )  # fmt: skip
    return item


def write_enhanced(path: Path, frames: int, first: int = 0) -> None:
    """An enhanced MR object of 64 x 64 frames; `first` tells objects of one series apart."""
    ds = ct_slice(1, SERIES, STUDY, bytes(SIDE * SIDE * 2 * frames))
    ds.SOPClassUID, ds.Modality, ds.NumberOfFrames = EnhancedMRImageStorage, "MR", frames
    ds.Rows = ds.Columns = SIDE
    ds.PerFrameFunctionalGroupsSequence = Sequence([frame_groups(n, first) for n in range(frames)])
    ds.SharedFunctionalGroupsSequence = one(
        MRTimingAndRelatedParametersSequence=one(RepetitionTime="3000", FlipAngle="90")
    )
    write(ds, path)


def release(src: Path, dst: Path, policy: Policy, pseudonyms: Pseudonyms) -> None:
    """Read, clean, write: the whole road of one object whose pixels stay."""
    data = src.read_bytes()
    found = clean_header(data, policy, pseudonyms, "bench")
    pixels = found.pixels
    out = os.open(dst, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with memoryview(data) as view:
        element = view[pixels.offset - 12 : pixels.offset + pixels.length]
        os.writev(out, [file_meta(found, EXPLICIT_LITTLE), found.header, element])
        element.release()
    os.close(out)


def ways(policy: Policy, before: Path) -> dict[str, tuple[Callable[[], None], Callable[[Path, Path], None]]]:
    """What is done before the clock starts, and what is timed."""
    pseudonyms = Pseudonyms(b"b" * 32)

    def forget() -> None:
        for memory in (policy.memo, policy.persons, policy.rules):
            memory.clear()
        policy.rules_of(EnhancedMRImageStorage.encode())

    def remember() -> None:
        forget()
        clean_header(before.read_bytes(), policy, pseudonyms, "bench")

    def clean(src: Path, dst: Path) -> None:
        release(src, dst, policy, Pseudonyms(b"b" * 32))

    return {
        "read_write": (forget, copy_bytes),
        "rwid": (forget, clean),
        "rwid_next": (remember, clean),
    }


def measure(
    src: Path,
    dst: Path,
    known: dict[str, tuple[Callable[[], None], Callable[[Path, Path], None]]],
    rounds: int,
    peer: Peer | None,
) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU milliseconds of each way in each round; the first round is not counted."""
    names = [*known, *(["dicognito"] if peer else [])]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for n in range(rounds + 1):
        random.Random(n).shuffle(names)
        for way in names:
            if peer and way == "dicognito":
                if n > 3:  # it takes seconds: three rounds say enough
                    continue
                wall, cpu = peer.seconds(src, dst)
            else:
                prepare, run = known[way]
                prepare()
                begin, begin_cpu = time.perf_counter(), time.process_time()
                run(src, dst)
                wall, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
            if n:
                times[way].append((1000 * wall, 1000 * cpu))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peer", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        src, dst = Path(name) / "src.dcm", Path(name) / "dst.dcm"
        before = Path(name) / "before.dcm"
        write_enhanced(src, arguments.frames)
        write_enhanced(before, arguments.frames, first=arguments.frames)
        size = src.stat().st_size
        peer = Peer(arguments.peer) if arguments.peer else None
        times = measure(
            src, dst, ways(compile_policy(load_profile("research")), before), arguments.rounds, peer
        )
        if peer:
            peer.close()
    base = [statistics.median(t[clock] for t in times["read_write"]) for clock in (0, 1)]
    rows = {}
    for way, values in times.items():
        wall, cpu = (statistics.median(v[clock] for v in values) for clock in (0, 1))
        rows[way] = {
            "wall_ms": round(wall, 2), "cpu_ms": round(cpu, 2),
            "wall_times_read_write": round(wall / base[0], 2), "cpu_times_read_write": round(cpu / base[1], 2),
        }  # fmt: skip
    book = {
        "what": f"enhanced MR, {arguments.frames} frames with functional groups of 39 elements each, {size / 1e6:.1f} MB, "
        "one process, file in the page cache; medians over rounds, ratios of medians",
        "command": f"python -m benchmarks.deid.bench_nested --frames {arguments.frames} --rounds {arguments.rounds}"
        + (" --peer PYTHON_WITH_DICOGNITO" if arguments.peer else ""),
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "ways": rows,
    }  # fmt: skip
    RESULT.write_text(json.dumps(book, indent=1) + "\n")
    print(json.dumps(book, indent=1))


if __name__ == "__main__":
    main()
