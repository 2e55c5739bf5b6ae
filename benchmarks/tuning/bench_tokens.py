"""What a model-ready read costs and what pixels weigh: the lake's HTJ2K payload beside PNG of 16 bits and OpenJPEG.

Run: python -m benchmarks.tuning.bench_tokens [DIR ...] [--frames 6] [--rounds 5] [--part radiograph]
Writes benchmarks/results/tokens.json. Frames are real: DICOM files under DIR and those that pydicom ships, grey, 16 bits, at
least 64 px a side, no two alike; nothing is synthetic. Times are seconds of the processor, medians over rounds of the ratio
within a round; every way runs on every frame of a round in shuffled order.

radiograph (frames of 1,500 px and more of CR, DX, RG, MG): `read` is curation.frames.decode at the resolution that a tile
of 224 or 512 px asks for (curation.tile.reduction), against png_decode of the whole; `tile` is all of curation.tile.make_tiles,
against the same from the PNG. Files that came as lossy JPEG 2000 give times only, for their grain is not the detector's.

ct_slice (512 px and more): the whole slice, and what a tile of 224 px reads, against OpenJPEG's decoder on lossless JPEG 2000.

storage: every CT and MR frame of lossless origin by the number of pixels; each payload is decoded again and its hash compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import imagecodecs
import numpy as np
import pydicom

from curation import frames
from curation.tile import INSTANCE_COLUMNS, Look, Source, make_tiles, reduction

RESULT = Path(__file__).parents[1] / "results" / "tokens.json"
RADIOGRAPHS, SEED = ("CR", "DX", "RG", "MG"), 1
LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
)

Image = np.ndarray[Any, Any]
Ways = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Frame:
    """One grey frame, unsigned; PNG knows no sign, so negative ones are moved to 0 for every codec alike."""

    values: Image
    modality: str
    bits_stored: int
    is_lossy: bool


def find_frames(folders: list[Path]) -> Iterator[Frame]:
    """Every frame of every file that pydicom can decode, no two alike."""
    seen: set[bytes] = set()
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                about = pydicom.dcmread(path)
                if about.Modality not in (*RADIOGRAPHS, "CT", "MR") or about.BitsAllocated != 16:
                    continue
                values = about.pixel_array
        except Exception:  # a test file that pydicom cannot read is no material
            continue
        stack = values if values.ndim == 3 and int(about.get("NumberOfFrames") or 1) > 1 else values[None]
        is_lossy = about.file_meta.TransferSyntaxUID in LOSSY or about.get("LossyImageCompression") == "01"
        for frame in stack:
            if (
                frame.ndim != 2
                or frame.dtype.itemsize != 2
                or min(frame.shape) < 64
                or frame.min() == frame.max()
            ):
                continue
            wide = frame.astype(np.int32)
            grey = np.ascontiguousarray((wide - min(int(wide.min()), 0)).astype(np.uint16))
            digest = hashlib.sha256(grey.tobytes()).digest()
            if digest not in seen:
                seen.add(digest)
                yield Frame(
                    grey, str(about.get("Modality", "OT")), int(about.get("BitsStored", 16)), is_lossy
                )


def timed(ways: list[Ways], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds a frame of every way, and how many times the first way each takes; ways[i] are those of frame i."""
    rng = random.Random(SEED)
    names = list(ways[0])
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        total = dict.fromkeys(names, 0.0)
        tasks = [(name, one[name]) for one in ways for name in names]
        rng.shuffle(tasks)
        for name, call in tasks:
            start = time.process_time()
            call()
            total[name] += time.process_time() - start
        for name in names:
            spent[name].append(total[name])
    return {
        name: {
            "ms": round(1000 * statistics.median(s) / len(ways), 3),
            "times_first": round(
                statistics.median(a / b for a, b in zip(s, spent[names[0]], strict=True)), 2
            ),
        }
        for name, s in spent.items()
    }


def radiograph(found: list[Frame], rounds: int) -> list[dict[str, Any]]:
    """Reading for tiles of two sizes, frame by frame: what is won depends on how much larger the frame is."""
    return [_radiograph(frame, rounds) for frame in found]


def _radiograph(frame: Frame, rounds: int) -> dict[str, Any]:
    payload, png = frames.encode(frame.values).payload, bytes(imagecodecs.png_encode(frame.values, level=6))
    rows, columns = frame.values.shape
    source = _source(frame)
    facts: dict[str, Any] = {
        "px": [rows, columns],
        "modality": frame.modality,
        "bits_stored": frame.bits_stored,
        "is_of_lossy_origin": frame.is_lossy,
        "png16_times_payload": round(len(png) / len(payload), 3),
    }
    for size in (224, 512):
        by = reduction(rows, columns, size)
        read: Ways = {
            "payload": lambda r=by: frames.decode("htj2k", payload, reduce=r),
            "png16": lambda: imagecodecs.png_decode(png),
        }
        made: Ways = {
            "payload": lambda px=size: _tile(
                lambda _, reduce: frames.decode("htj2k", payload, reduce=reduce), source, px
            ),
            "png16": lambda px=size: _tile(lambda _, reduce: imagecodecs.png_decode(png), source, px),
        }
        facts[f"read_for_{size}_px"] = timed([read], rounds)
        facts[f"tile_of_{size}_px"] = timed([made], rounds)
    return facts


def _tile(decode: Callable[[Source, int], Image], source: Source, size: int) -> Any:
    return make_tiles(decode, [source], Look(size), {})


def _source(frame: Frame) -> Source:
    rows, columns = frame.values.shape
    row: dict[str, Any] = dict.fromkeys(INSTANCE_COLUMNS) | {
        "rows_px": rows, "columns_px": columns, "modality": frame.modality, "photometric": "MONOCHROME2",
        "transfer_syntax": "1.2.840.10008.1.2.1", "bits_stored": frame.bits_stored, "samples_per_pixel": 1,
        "instance_id": UUID(int=0),
    }  # fmt: skip
    return Source(row, 0, None, None)


def ct_slice(found: list[Frame], rounds: int) -> dict[str, Any]:
    """A whole slice and a reduced read against OpenJPEG."""
    ways: list[Ways] = []
    for frame in found:
        payload = frames.encode(frame.values).payload
        stream = bytes(imagecodecs.jpeg2k_encode(frame.values, level=0, codecformat="J2K", reversible=True))
        by = reduction(*frame.values.shape, 224)
        ways.append(
            {
                "payload": lambda p=payload: frames.decode("htj2k", p),
                "payload_for_224_px": lambda p=payload, r=by: frames.decode("htj2k", p, reduce=r),
                "openjpeg": lambda s=stream: imagecodecs.jpeg2k_decode(s, numthreads=1),
            }
        )
    return {"frames": len(found), "whole_slice": timed(ways, rounds)}


def storage(found: list[Frame]) -> dict[str, Any]:
    """Bytes by modality and size, and whether every hash is equal."""
    buckets: dict[str, list[Frame]] = defaultdict(list)
    for frame in found:
        side = max(frame.values.shape)
        size = "up to 128 px" if side <= 128 else "up to 256 px" if side <= 256 else "larger"
        buckets[f"{frame.modality} {size}"].append(frame)
    result: dict[str, Any] = {name: _weigh(inside) for name, inside in sorted(buckets.items())}
    for modality in ("CT", "MR"):
        result[f"{modality} all"] = _weigh([f for f in found if f.modality == modality])
    return result


def _weigh(inside: list[Frame]) -> dict[str, Any]:
    raw = payload = png = jpeg_ls = equal = 0
    for frame in inside:
        encoded = frames.encode(frame.values)
        again = frames.decode(encoded.codec, encoded.payload)
        equal += hashlib.sha256(again.tobytes()).digest() == hashlib.sha256(frame.values.tobytes()).digest()
        raw += frame.values.nbytes
        payload += len(encoded.payload)
        png += len(imagecodecs.png_encode(frame.values, level=6))
        jpeg_ls += len(imagecodecs.jpegls_encode(frame.values))
    if not inside:
        return {"frames": 0}
    return {
        "frames": len(inside),
        "hashes_equal": equal,
        "raw_times_payload": round(raw / payload, 3),
        "png16_times_payload": round(png / payload, 3),
        "raw_times_jpeg_ls": round(raw / jpeg_ls, 3),
    }


def main() -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="*", help="folders of more DICOM files")
    parser.add_argument("--frames", type=int, default=6, help="of each kind, for the times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=("radiograph", "ct_slice", "storage"), help="this one alone")
    given = parser.parse_args()
    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    found = list(find_frames([shipped, *given.data]))
    xrays = [f for f in found if f.modality in RADIOGRAPHS and max(f.values.shape) >= 1500]
    slices = [f for f in found if f.modality == "CT" and min(f.values.shape) >= 512 and not f.is_lossy]
    none = "no such file was given"
    parts: dict[str, Callable[[], Any]] = {
        "radiograph": lambda: radiograph(xrays[: given.frames], given.rounds) if xrays else none,
        "ct_slice": lambda: ct_slice(slices[: given.frames], given.rounds) if slices else none,
        "storage": lambda: storage([f for f in found if f.modality in ("CT", "MR") and not f.is_lossy]),
    }
    facts = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in [given.part] if given.part else parts:
        facts[name] = {
            "command": f"python -m benchmarks.tuning.bench_tokens DIR ... --frames {given.frames} --rounds {given.rounds}",
            "seed": SEED,
            "python": platform.python_version(),
            "imagecodecs": imagecodecs.__version__,
            "cores": os.cpu_count(),
            "load_1min": round(os.getloadavg()[0], 1),
            "found": parts[name](),
        }
    RESULT.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
