"""Burned-in text through the road of `rwid deid`: how much is found and blanked, what is blanked for nothing, what others read.

Run: python -m benchmarks.deid.bench_burned_in [--side dev|test] [--frames 60] [--clean 60] [--engines] [--real FOLDER]
Each picture is a DICOM file of a patient, study and device of its own, so that no series helps. A text counts as found where
a box covers at least 99 % of its ink's rectangle in the released log, and its ink is one level in the released pixels.
`--engines` reads the pictures before and after with tesseract, gocr and ocrad where they are installed: before is the control.
`--real FOLDER` adds real radiographs without patient text (PNG or JPEG) to the text-free side. Writes
benchmarks/results/deid_burned_in_SIDE.json. Parameters were chosen on `dev`; `test` shares no font, name or seed with it.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import generate_uid

from benchmarks.deid.burned_in_frames import HEIGHTS, KINDS, Frame, Written, fonts, frame
from benchmarks.deid.synthetic import ct_slice, write
from curation.deid.folder import deidentify_folder
from curation.deid.policy import compile_policy, load_profile
from curation.deid.pseudonyms import Pseudonyms

RESULTS = Path(__file__).parents[1] / "results"
CLASSES = {
    "us": ("1.2.840.10008.5.1.4.1.1.6.1", "US"),
    "us_colour": ("1.2.840.10008.5.1.4.1.1.6.1", "US"),
    "cr": ("1.2.840.10008.5.1.4.1.1.1", "CR"),
    "cr_inverse": ("1.2.840.10008.5.1.4.1.1.1", "CR"),
    "mg": ("1.2.840.10008.5.1.4.1.1.1.2", "MG"),
    "xa": ("1.2.840.10008.5.1.4.1.1.12.1", "XA"),
    "sc": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
    "real": ("1.2.840.10008.5.1.4.1.1.1", "CR"),
}
BANDS = ((60, 256, "60 and more"), (30, 60, "30 to 60"), (0, 30, "below 30"))
ENGINES = {
    "tesseract": ["tesseract", "{png}", "-", "--psm", "11"],
    "gocr": ["gocr", "-i", "{pgm}"],
    "ocrad": ["ocrad", "{pgm}"],
}
COVERED = 0.99


def to_dicom(picture: Frame, number: int, path: Path) -> None:
    """The picture as a file of its class, of a person, study and device of its own."""
    ds = ct_slice(number, generate_uid(), generate_uid(), b"")
    ds.SOPClassUID, ds.Modality = CLASSES[picture.kind]
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    if picture.kind == "sc":
        ds.ConversionType = "WSD"
    ds.PatientID, ds.InstanceNumber, ds.ManufacturerModelName = f"B{number:06}", number, f"M{number}"
    values = picture.values
    ds.Rows, ds.Columns = values.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if values.ndim == 3 else 1), picture.photometric
    ds.BitsAllocated = 8 * values.dtype.itemsize
    ds.BitsStored = 8 if values.dtype.itemsize == 1 else 12
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    if values.ndim == 3:
        ds.PlanarConfiguration = 0
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "BurnedInAnnotation"):
        if keyword in ds:
            delattr(ds, keyword)
    ds.PixelData = values.tobytes() + b"\0" * (values.nbytes & 1)
    write(ds, path)


def pictures(side: str, n_written: int, n_clean: int, real: Path | None) -> list[Frame]:
    """Pictures with text, without text, and real ones without text."""
    made = [frame(side, kind, seed, is_written=True) for seed in range(n_written) for kind in KINDS]
    made += [frame(side, kind, 10_000 + seed, is_written=False) for seed in range(n_clean) for kind in KINDS]
    for path in (
        sorted(p for p in real.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg")) if real else ()
    ):
        made.append(Frame(np.asarray(Image.open(path).convert("L")), "MONOCHROME2", "real", ()))
    return made


def is_found(text: Written, boxes: list[dict[str, int]], released: NDArray[Any]) -> bool:
    """Whether boxes cover the ink and the released pixels hold nothing there."""
    x, y, w, h = text.box
    seen = np.zeros((h, w), bool)
    for box in boxes:
        left, top = max(box["x"] - x, 0), max(box["y"] - y, 0)
        seen[top : max(box["y"] + box["height"] - y, 0), left : max(box["x"] + box["width"] - x, 0)] = True
    inside = released[y : y + h, x : x + w].reshape(-1, *released.shape[2:])[seen.ravel()]
    return float(seen.mean()) >= COVERED and bool((inside == inside[:1]).all())


def read_by(engine: str, shown: NDArray[np.uint8], folder: Path) -> str:
    """What another engine reads in a picture of grey levels, at twice its size: small letters are hard for all of them."""
    image = Image.fromarray(shown).resize((shown.shape[1] * 2, shown.shape[0] * 2), Image.Resampling.BICUBIC)
    image.save(folder / "x.png")
    image.save(folder / "x.pgm")
    words = [w.format(png=folder / "x.png", pgm=folder / "x.pgm") for w in ENGINES[engine]]
    try:
        done = subprocess.run(words, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return ""  # an engine that is lost in a picture has read nothing in it
    return done.stdout.decode("utf-8", "replace")


def shown(values: NDArray[Any], photometric: str) -> NDArray[np.uint8]:
    """Grey levels 0..255, dark background."""
    grey = values.mean(axis=2) if values.ndim == 3 else values.astype(np.float64)
    top = 255.0 if values.dtype.itemsize == 1 else 4095.0
    grey = np.clip(grey / top * 255, 0, 255)
    return np.round(255 - grey if photometric == "MONOCHROME1" else grey).astype(np.uint8)


def is_read(text: Written, output: str) -> bool:
    """Whether four fifths of the text's letters and digits stand in a line of the output, in their order."""
    wanted = "".join(c for c in text.text.lower() if c.isalnum())
    for line in output.lower().splitlines():
        line = "".join(c for c in line if c.isalnum())
        matched = sum(
            b.size
            for b in difflib.SequenceMatcher(None, wanted, line, autojunk=False).get_matching_blocks()
            if b.size > 2
        )
        if matched >= 0.8 * len(wanted):
            return True
    return False


def wilson(k: int, n: int) -> list[float]:
    """95 % interval of a share, in per cent."""
    if not n:
        return [0.0, 100.0]
    z, p = 1.96, k / n
    middle, reach = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [
        round(100 * (middle - reach) / (1 + z * z / n), 2),
        round(100 * (middle + reach) / (1 + z * z / n), 2),
    ]


def share(k: int, n: int) -> dict[str, Any]:
    return {
        "n": n,
        "of_them": k,
        "percent": round(100 * k / n, 2) if n else None,
        "interval_95": wilson(k, n),
    }


def released_of(dst: Path) -> Iterator[tuple[int, NDArray[Any], list[dict[str, int]]]]:
    """Picture number, released pixels, boxes."""
    log = {
        str(row["instance_id"]): row
        for row in pq.read_table(dst / "deid_log.parquet").to_pylist()
        if not row["withheld"]
    }
    for path in dst.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        rows = log[path.stem]["regions"] or []
        yield int(ds.InstanceNumber), ds.pixel_array, rows


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    made = pictures(arguments.side, arguments.frames, arguments.clean, arguments.real)
    src, dst = folder / "src", folder / "dst"
    src.mkdir()
    for number, picture in enumerate(made):
        to_dicom(picture, number, src / f"{number:06}.dcm")
    policy, pseudonyms = (
        compile_policy(load_profile("research")),
        Pseudonyms(b"a key for this benchmark alone" + b"." * 8),
    )
    began = time.perf_counter()
    done = deidentify_folder(src, dst, policy, pseudonyms, "bench", workers=arguments.workers)
    seconds = time.perf_counter() - began
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    touched: dict[str, list[float]] = defaultdict(list)
    engines = [e for e in ENGINES if arguments.engines and shutil.which(e)]
    read: dict[str, list[tuple[bool, bool]]] = {e: [] for e in engines}
    came = set()
    for number, values, boxes in released_of(dst):
        picture = made[number]
        came.add(number)
        if not picture.written:
            blank = np.zeros(values.shape[:2], bool)
            for b in boxes:
                blank[b["y"] : b["y"] + b["height"], b["x"] : b["x"] + b["width"]] = True
            touched[picture.kind].append(float(blank.mean()))
        for text in picture.written:
            band = next(name for low, high, name in BANDS if low <= text.difference < high)
            ok = is_found(text, boxes, values)
            for group in (
                band,
                f"{band}, {picture.kind}",
                f"{band}, {text.height} px",
                f"{band}, {text.kind}",
            ):
                found["found"][group].append(ok)
        for engine in engines if picture.written else ():
            before = read_by(engine, shown(picture.values, picture.photometric), folder)
            after = read_by(engine, shown(values, picture.photometric), folder)
            read[engine] += [(is_read(t, before), is_read(t, after)) for t in picture.written]
    withheld = [n for n in range(len(made)) if n not in came]
    every = [v for values in touched.values() for v in values]
    return {
        "pictures": {"written": sum(bool(p.written) for p in made), "clean": sum(not p.written for p in made)},
        "withheld": {"written": sum(bool(made[n].written) for n in withheld), "clean": sum(not made[n].written for n in withheld),
                     "reasons": done["withheld"]},
        "texts_found": {k: share(sum(v), len(v)) for k, v in sorted(found["found"].items())},
        "text_free_touched": {
            "all": share(sum(v > 0 for v in every), len(every)),
            **{k: share(sum(v > 0 for v in vs), len(vs)) for k, vs in sorted(touched.items())},
            "mean_percent_of_pixels": round(100 * float(np.mean(every)), 4) if every else None,
        },
        "read_by_others": {
            e: {"before": share(sum(a for a, _ in v), len(v)), "after": share(sum(b for _, b in v), len(v))} for e, v in read.items()
        },
        "seconds_a_picture": round(seconds / len(made), 3),
        "workers": arguments.workers,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=("dev", "test"), default="dev")
    parser.add_argument("--frames", type=int, default=60, help="pictures with text of each kind")
    parser.add_argument("--clean", type=int, default=60, help="pictures without text of each kind")
    parser.add_argument("--real", type=Path, help="folder of real pictures without text of a patient")
    parser.add_argument("--engines", action="store_true", help="read before and after with other engines")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-result", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    told = f"--frames {arguments.frames} --clean {arguments.clean}" + " --engines" * arguments.engines
    book = {
        "what": "synthetic pictures with and without burned-in text through rwid deid, profile research; "
        "differences are grey levels of 255, the tenth percentile over the ink",
        "command": f"python -m benchmarks.deid.bench_burned_in --side {arguments.side} {told}"
        + (" --real FOLDER" if arguments.real else ""),
        "side": arguments.side,
        "fonts": len(fonts(arguments.side)),
        "heights_px": HEIGHTS,
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 1),
        **figures,
    }
    text = json.dumps(book, indent=1)
    if not arguments.no_result:
        (RESULTS / f"deid_burned_in_{arguments.side}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
