"""Bytes and milliseconds a frame of the lake's HTJ2K payload against PNG16, JPEG-LS and JPEG 2000, on real frames.

Run: python -m benchmarks.pixels.bench_codecs [--data DIR] [--frames 8] [--rounds 5]
Frames come from the DICOM files under DIR and from those that pydicom ships, never more than --frames a bucket; lossy
sources are left out. Every codec runs on every frame of a round, in shuffled order; reported are medians over rounds
of the round's total, and ratios within the round, since a busy machine changes speed by the minute. `payload` is
curation.frames as the lake uses it: encoding with range, checksum and decoding again, decoding with the checksum.
Writes benchmarks/results/pixels_codecs.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom

from curation import frames

RESULT = Path(__file__).parents[1] / "results" / "pixels_codecs.json"
TILE_REDUCE = 2
LOSSY = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.81",
)

Image = np.ndarray[Any, Any]
Codec = tuple[Callable[[Image], bytes], dict[str, Callable[[bytes], Image]]]


def _quarter_of(decode: Callable[[bytes], Image]) -> Callable[[bytes], Image]:
    """The whole frame decoded, then block means: what a codec without resolutions has to do."""
    return lambda stream: frames._block_means(decode(stream), TILE_REDUCE)


CODECS: dict[str, Codec] = {
    "payload": (
        lambda v: frames.encode(v).payload,
        {
            "decode": lambda s: frames.decode("htj2k", s),
            "quarter": lambda s: frames.decode("htj2k", s, reduce=TILE_REDUCE),
        },
    ),
    "htj2k": (
        lambda v: bytes(imagecodecs.htj2k_encode(v)),
        {
            "decode": imagecodecs.htj2k_decode,
            "quarter": lambda s: imagecodecs.htj2k_decode(s, skipres=TILE_REDUCE),
        },
    ),
    "png": (
        lambda v: bytes(imagecodecs.png_encode(v, level=6)),
        {"decode": imagecodecs.png_decode, "quarter": _quarter_of(imagecodecs.png_decode)},
    ),
    "jpeg_ls": (
        lambda v: bytes(imagecodecs.jpegls_encode(v)),
        {"decode": imagecodecs.jpegls_decode, "quarter": _quarter_of(imagecodecs.jpegls_decode)},
    ),
    "jpeg_2000": (
        lambda v: bytes(
            imagecodecs.jpeg2k_encode(v, level=0, codecformat="J2K", reversible=True, numthreads=1)
        ),
        {
            "decode": lambda s: imagecodecs.jpeg2k_decode(s, numthreads=1),
            "quarter": _quarter_of(lambda s: imagecodecs.jpeg2k_decode(s, numthreads=1)),
        },
    ),
}


def find_frames(folders: list[Path], per_bucket: int) -> dict[str, list[Image]]:
    """Grey frames by bucket: modality, bits and megapixels."""
    found: dict[str, list[Image]] = defaultdict(list)
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(path)
                if (
                    dataset.file_meta.TransferSyntaxUID in LOSSY
                    or dataset.get("LossyImageCompression") == "01"
                ):
                    continue
                values = dataset.pixel_array
        except Exception:  # a test file that pydicom cannot read is no material
            continue
        frame = (
            values[len(values) // 2]
            if values.ndim == 3 and int(dataset.get("NumberOfFrames", 1)) > 1
            else values
        )
        if (
            frame.ndim != 2
            or frame.size < 128 * 128
            or frame.dtype.itemsize > 2
            or frame.max() == frame.min()
        ):
            continue
        size = "0-1 MP" if frame.size <= 1 << 20 else "1-8 MP"
        bucket = found[f"{dataset.get('Modality', 'OT')} {8 * frame.dtype.itemsize} bit {size}"]
        if len(bucket) < per_bucket and not any(np.array_equal(frame, other) for other in bucket):
            bucket.append(np.ascontiguousarray(_unsigned(frame)))
    return dict(found)


def _unsigned(frame: Image) -> Image:
    """PNG and JPEG-LS know no sign: every codec gets the same unsigned values, moved to 0 where some are negative."""
    wide = frame.astype(np.int32)
    shifted = wide - min(int(wide.min()), 0)
    return shifted.astype(np.uint8 if frame.dtype.itemsize == 1 else np.uint16)


def time_round(images: list[Image], rng: random.Random) -> dict[str, dict[str, float]]:
    """Seconds of every codec and way over all images of a bucket, in shuffled order."""
    seconds: dict[str, dict[str, float]] = {name: defaultdict(float) for name in CODECS}
    tasks = [(name, image) for name in CODECS for image in images]
    rng.shuffle(tasks)
    for name, image in tasks:
        encode, ways = CODECS[name]
        started = time.perf_counter()
        stream = encode(image)
        seconds[name]["encode"] += time.perf_counter() - started
        for way, decode in ways.items():
            started = time.perf_counter()
            values = decode(stream)
            seconds[name][way] += time.perf_counter() - started
            if way == "decode" and not np.array_equal(values, image):
                raise SystemExit(f"{name} did not give back what was encoded.")
    return seconds


def measure(images: list[Image], rounds: int) -> dict[str, Any]:
    """Compression, milliseconds a frame, and how many times slower than the lake's payload."""
    rng = random.Random(1)
    timed = [time_round(images, rng) for _ in range(rounds)]
    raw = sum(i.nbytes for i in images)
    result: dict[str, Any] = {}
    for name, (encode, ways) in CODECS.items():
        facts = {"times_smaller_than_raw": round(raw / sum(len(encode(i)) for i in images), 3)}
        for way in ("encode", *ways):
            facts[f"{way}_ms"] = round(1000 * statistics.median(t[name][way] for t in timed) / len(images), 3)
            ratios = [t[name][way] / t["payload"][way] for t in timed]
            facts[f"{way}_times_payload"] = round(statistics.median(ratios), 2)
        result[name] = facts
    return {
        "frames": len(images),
        "megapixels": round(sum(i.size for i in images) / 1e6, 2),
        "codecs": result,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of more DICOM files")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    folders = [Path(pydicom.__file__).parent / "data" / "test_files", *([given.data] if given.data else [])]
    buckets = find_frames(folders, given.frames)
    facts = {
        "what": "lossless codecs on grey frames, one thread; quarter: a frame of a quarter of the size each way",
        "command": f"python -m benchmarks.pixels.bench_codecs --data DIR --frames {given.frames} --rounds {given.rounds}",
        "python": platform.python_version(),
        "imagecodecs": imagecodecs.__version__,
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "buckets": {name: measure(images, given.rounds) for name, images in sorted(buckets.items())},
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(facts, indent=1) + "\n")
    for name, bucket in facts["buckets"].items():
        print(name, f"({bucket['frames']} frames)")
        for codec, row in bucket["codecs"].items():
            print(f"  {codec:10}", "  ".join(f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
