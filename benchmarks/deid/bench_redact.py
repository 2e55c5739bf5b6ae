"""Blanking inside the transfer syntax: pixels outside the boxes that changed, milliseconds a frame, damaged frames.

Run: python -m benchmarks.deid.bench_redact [--frames 4] [--damaged 2000]
Writes benchmarks/results/deid_redact.json. Synthetic frames of 1024 x 768 with speckle; every released frame is decoded by a
library that had no part in writing it where there is one (pylibjpeg, pyjpegls, libjpeg by Th. Richter), and compared with what
the same library makes of the original. Damaged frames go through supervised workers, as in `rwid deid`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from curation import bitstream
from curation.bitstream import Layout
from curation.deid import dct
from curation.deid.codestream import scrub
from curation.deid.cut import Cut
from curation.deid.pixels import Box
from curation.deid.redact import Redactor
from curation.engine import map_items

RESULT = Path(__file__).parents[1] / "results" / "deid_redact.json"
ROWS, COLUMNS = 768, 1024
BOXES = (Box(0, 0, COLUMNS, 40), Box(700, 600, 301, 33), Box(13, 701, 200, 21))
UID = "1.2.840.10008.1.2"
TYPES = {"u1": (np.uint8, 8), "u2": (np.uint16, 12), "i2": (np.int16, 16)}


def picture(seed: int, kind: str, samples: int) -> np.ndarray:
    """Anatomy-like waves with speckle, no value 0."""
    dtype, bits = TYPES[kind]
    top = 1 << min(bits, 12)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    waves = [np.sin(x / (31 + 7 * c) + seed) + np.cos(y / (23 + c)) for c in range(samples)]
    speckle = rng.gamma(2.0, top / 80, (ROWS, COLUMNS, samples))
    values = np.clip((np.stack(waves, -1) + 2) / 4 * top * 0.7 + speckle + 2, 1, top - 1)
    shaped = values.astype(dtype)
    return shaped[..., 0] if samples == 1 else shaped


def jpeg(subsampling: str | None, **how: Any) -> Callable[[np.ndarray], bytes]:
    extra = {"subsampling": subsampling} if subsampling else {}
    return lambda v: bytes(imagecodecs.jpeg8_encode(v, level=90, **extra, **how))


def pillow(**how: Any) -> Callable[[np.ndarray], bytes]:
    def encode(values: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(values).save(file, "JPEG", quality=90, **how)
        return file.getvalue()

    return encode


def lossless_jpeg(values: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(values, lossless=True, predictor=1, bitspersample=12))


def j2k(**how: Any) -> Callable[[np.ndarray], bytes]:
    return lambda v: bytes(imagecodecs.jpeg2k_encode(v, codecformat="j2k", **how))


# name: syntax, kind of value, samples, photometric interpretation, encoder
CASES: dict[str, tuple[str, str, int, str, Callable[[np.ndarray], bytes]]] = {
    "JPEG baseline grey": (f"{UID}.4.50", "u1", 1, "MONOCHROME2", jpeg(None)),
    "JPEG baseline 4:4:4": (f"{UID}.4.50", "u1", 3, "YBR_FULL", jpeg("444")),
    "JPEG baseline 4:2:2": (f"{UID}.4.50", "u1", 3, "YBR_FULL_422", jpeg("422")),
    "JPEG baseline 4:2:0": (f"{UID}.4.50", "u1", 3, "YBR_FULL_422", jpeg("420")),
    "JPEG restarts": (f"{UID}.4.50", "u1", 3, "YBR_FULL_422", pillow(restart_marker_blocks=7)),
    "JPEG progressive": (f"{UID}.4.51", "u1", 3, "YBR_FULL_422", pillow(progressive=True)),
    "JPEG lossless SV1": (f"{UID}.4.70", "u2", 1, "MONOCHROME2", lossless_jpeg),
    "JPEG-LS": (f"{UID}.4.80", "u2", 1, "MONOCHROME2", lambda v: bytes(imagecodecs.jpegls_encode(v))),
    "JPEG 2000": (f"{UID}.4.90", "u2", 1, "MONOCHROME2", j2k(reversible=True, level=0, bitspersample=12)),
    "JPEG 2000 RCT": (f"{UID}.4.90", "u1", 3, "YBR_RCT", j2k(reversible=True, level=0, mct=True)),
    "JPEG 2000 signed": (f"{UID}.4.90", "i2", 1, "MONOCHROME2", j2k(reversible=True, level=0)),
    "JPEG 2000 lossy": (f"{UID}.4.91", "u1", 3, "YBR_ICT", j2k(level=40, reversible=False, mct=True)),
    "HTJ2K": (f"{UID}.4.201", "u2", 1, "MONOCHROME2", lambda v: bytes(imagecodecs.htj2k_encode(v))),
    "RLE": (f"{UID}.5", "u1", 3, "RGB", lambda v: bytes(imagecodecs.dicomrle_encode(v))),
}


def layout_of(kind: str, samples: int, photometric: str) -> Layout:
    dtype, bits = TYPES[kind]
    return Layout(
        rows=ROWS,
        columns=COLUMNS,
        samples=samples,
        bits_allocated=8 * np.dtype(dtype).itemsize,
        bits_stored=bits,
        is_signed=kind.startswith("i"),
        is_planar=False,
        photometric=photometric,
        n_frames=1,
    )


def cut_for(layout: Layout, syntax: str) -> Cut:
    is_ybr = layout.photometric.startswith("YBR_FULL")
    return Cut(BOXES, None, 0, (1, ROWS, COLUMNS), is_ybr)


def encoded(values: np.ndarray, case: str) -> bytes:
    syntax, _, samples, _, encoder = CASES[case]
    if syntax == f"{UID}.5":
        from curation.deid.redact import encode

        return encode(values, syntax, layout_of("u1", samples, "RGB"))
    return encoder(values)


def independent(stream: bytes, syntax: str, layout: Layout) -> np.ndarray:
    """Decoded by a library that did not write it."""
    number = syntax.removeprefix(f"{UID}.")
    if number.startswith(("4.5", "4.7")):
        import libjpeg

        return np.asarray(libjpeg.decode(stream))
    if number.startswith("4.8"):
        import jpeg_ls

        return np.asarray(jpeg_ls.decode(np.frombuffer(stream, np.uint8)))
    if number == "5":
        from rle.utils import decode_frame

        raw = decode_frame(stream, ROWS * COLUMNS, layout.bits_allocated, "<")
        return np.asarray(raw).reshape(layout.samples, ROWS, COLUMNS).transpose(1, 2, 0)
    import openjpeg

    return np.asarray(openjpeg.decode(stream))


def touched(stream: bytes, syntax: str) -> np.ndarray:
    """Which pixels may change: the boxes, or the blocks of a DCT JPEG."""
    boxes = list(BOXES)
    if syntax.endswith((".50", ".51")):
        boxes = dct.touched(dct.read_frame(scrub(stream, syntax)), BOXES)
    mask = np.zeros((ROWS, COLUMNS), bool)
    for box in boxes:
        mask[box.y : box.y + box.height, box.x : box.x + box.width] = True
    return mask


def measure(case: str, n_frames: int) -> dict[str, Any]:
    syntax, kind, samples, photometric, _ = CASES[case]
    layout = layout_of(kind, samples, photometric)
    changed = left = seen = 0
    times, sizes, beyond = [], [], 0.0
    for seed in range(n_frames):
        stream = encoded(picture(seed, kind, samples), case)
        redactor = Redactor(cut_for(layout, syntax), layout, syntax, stream)
        begin = time.perf_counter()
        blanked = redactor.frame(stream, 0)
        times.append(1000 * (time.perf_counter() - begin))
        mask, core = touched(stream, syntax), touched(b"", "")
        before = independent(scrub(stream, syntax, n_pixels=ROWS * COLUMNS), syntax, layout)
        after = independent(blanked, redactor.transfer_syntax, layout)
        outside = (before != after)[~mask]
        changed += int(outside.reshape(outside.shape[0], -1).any(axis=1).sum())
        seen += int((~mask).sum())
        inside = after[core].reshape(-1, samples)
        left += int((inside[:, 0] != 0).sum())
        sizes.append(len(blanked) / len(stream))
        beyond = float((mask & ~core).mean())
    return {
        "goes_as": redactor.transfer_syntax,
        "pixels_outside": seen,
        "pixels_outside_changed": changed,
        "pixels_inside_not_black": left,
        "share_of_frame_blanked_beyond_the_boxes": round(beyond, 4),
        "ms_a_frame": round(statistics.median(times), 1),
        "size_against_original": round(statistics.median(sizes), 2),
    }


def try_damaged(_: object, item: tuple[str, bytes]) -> str:
    """What becomes of one damaged frame; in a worker."""
    case, stream = item
    syntax, kind, samples, photometric, _ = CASES[case]
    layout = layout_of(kind, samples, photometric)
    redactor = Redactor(cut_for(layout, syntax), layout, syntax, stream)
    blanked = redactor.frame(stream, 0)
    values = bitstream.decode_bitstream(blanked, redactor.transfer_syntax, layout)
    lit = values[touched(b"", "")].reshape(-1, samples)
    return "released, boxes black" if int(lit.max()) < 110 else "released, boxes NOT black"


def damage(n: int) -> dict[str, int]:
    """Bit flips, cuts and doubled stretches in frames of every case."""
    rng = np.random.default_rng(7)
    cases = sorted(CASES)
    whole = {case: encoded(picture(1, CASES[case][1], CASES[case][2]), case) for case in cases}
    items = []
    for i in range(n):
        case = cases[i % len(cases)]
        stream = bytearray(whole[case])
        for _ in range(int(rng.integers(1, 6))):
            stream[int(rng.integers(0, len(stream)) ** rng.uniform(0.5, 1))] ^= 1 << int(rng.integers(0, 8))
        if i % 5 == 0:
            stream = stream[: int(rng.integers(2, len(stream)))]
        items.append((case, bytes(stream)))
    begin = time.perf_counter()
    from benchmarks.deid.bench_redact import try_damaged as step  # a worker cannot import __main__

    outcomes = map_items(step, items, workers=1, deadline_s=60, memory_mib=2048)
    found = Counter(outcome.value or outcome.refused for outcome in outcomes)
    return {**dict(sorted(found.items())), "seconds": round(time.perf_counter() - begin)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--damaged", type=int, default=2000)
    arguments = parser.parse_args()
    book = {
        "what": "synthetic frames of 1024 x 768 with three boxes blanked in their own transfer syntax; outside = all pixels "
        "but the boxes, for DCT JPEG but the blocks they touch",
        "note": "JPEG 2000 lossy: the two decoders round the original's floats differently in single pixels; what was decoded "
        "here is kept bit for bit",
        "command": f"python -m benchmarks.deid.bench_redact --frames {arguments.frames} --damaged {arguments.damaged}",
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        "frames_each": arguments.frames,
        "cases": {case: measure(case, arguments.frames) for case in CASES},
        "damaged_frames": damage(arguments.damaged),
    }
    RESULT.write_text(json.dumps(book, indent=1) + "\n")
    print(json.dumps(book, indent=1))


if __name__ == "__main__":
    main()
