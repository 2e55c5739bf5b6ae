"""Generated pictures with and without burned-in text: stored values, where the text stands, and what it says.

Two sides that share no font family, no name and no seed: `dev`, on which rules/detect.toml was chosen, and `test`, which was
only measured. What the answer key knows of a text: its ink's box, the grey-level difference to what is around it (of 255,
scaled to the stored range) and its height in pixels.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

KINDS = ("us", "us_colour", "cr", "cr_inverse", "mg", "xa", "sc")
DELTAS = (200, 100, 60, 30, 15)
HEIGHTS = (12, 18, 28)
FAMILIES = {
    "dev": ("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "DejaVu Sans Condensed", "Noto Sans Mono", "URW Gothic",
            "Nimbus Mono PS", "C059"),
    "test": ("Liberation Sans", "Liberation Mono", "Liberation Serif", "Liberation Sans Narrow", "Nimbus Sans",
             "Nimbus Roman", "Nimbus Sans Narrow", "URW Bookman", "P052"),
}  # fmt: skip
_NAMES = {
    "dev": (("Anders", "Brit", "Carla", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jakub", "Katya", "Luis"),
            ("Abernathy", "Brandvold", "Castellano", "Dubois", "Eriksen", "Fairweather", "Grzybowski", "Hashimoto")),
    "test": (("Marisol", "Nikhil", "Oona", "Pavel", "Quentin", "Rosa", "Soren", "Tomasz", "Ursula", "Viktor", "Wanda"),
             ("Ivanova", "Jimenez", "Kowalczyk", "Lindqvist", "Mbeki", "Nakagawa", "Okonkwo", "Petrosyan", "Quispe")),
}  # fmt: skip
_HOSPITALS = {
    "dev": ("Northgate General", "St. Bride Hospital", "Klinikum Auenland", "City Imaging Center"),
    "test": ("Harbour View Hospital", "Mercy Regional", "Clinique du Lac", "Universitaetsklinik Ostheim"),
}


@dataclass(frozen=True)
class Written:
    """One burned-in text: left, top, width, height of its ink.

    `difference` is measured: the tenth percentile, over the ink, of the grey levels between the letters and what is around
    them. Devices write in one level over a background that varies, so that it may be less than what was asked for.
    """

    text: str
    kind: str
    box: tuple[int, int, int, int]
    difference: float
    height: int


@dataclass(frozen=True)
class Frame:
    """Stored values [rows, columns] or [rows, columns, 3], and what a header would say of them."""

    values: NDArray[Any]
    photometric: str
    kind: str
    written: tuple[Written, ...]


@cache
def fonts(side: str) -> tuple[str, ...]:
    """Font files of the side's families that this machine has."""
    listed = subprocess.run(
        ["fc-list", "-f", "%{file}|%{family[0]}|%{style[0]}\n"], capture_output=True, text=True, check=True
    )
    found = []
    for line in sorted(listed.stdout.splitlines()):
        file, family, style = line.split("|")
        is_plain = not any(word in style for word in ("Oblique", "Italic", "ExtraLight"))
        if family in FAMILIES[side] and Path(file).suffix in (".ttf", ".otf") and is_plain:
            found.append(file)
    if not found:
        raise SystemExit(
            f"None of the fonts of side {side} is here: apt install fonts-dejavu fonts-liberation fonts-urw-base35"
        )
    return tuple(found)


def frame(side: str, kind: str, seed: int, *, is_written: bool) -> Frame:
    """One picture, the same for the same arguments."""
    rng = np.random.default_rng([{"dev": 1, "test": 2}[side], KINDS.index(kind), seed, is_written])
    grey, top = _BACKGROUND[kind](rng)
    written: list[Written] = []
    if is_written:
        for _ in range(int(rng.integers(3, 7))):
            _write(grey, side, rng, written)
    grey = np.clip(grey, 0, 255)
    values = np.round(grey / 255 * top).astype(np.uint8 if top < 256 else np.uint16)
    if kind == "cr_inverse":
        return Frame((top - values).astype(values.dtype), "MONOCHROME1", kind, tuple(written))
    if kind in ("us_colour", "sc"):
        return Frame(_coloured(values, rng, kind), "RGB", kind, tuple(written))
    return Frame(values, "MONOCHROME2", kind, tuple(written))


def text_of(side: str, rng: np.random.Generator) -> tuple[str, str]:
    """An identifier as devices write it, and of what kind it is."""
    first, last = (str(rng.choice(words)) for words in _NAMES[side])
    year, month, day = int(rng.integers(1930, 2026)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    number = int(rng.integers(100_000, 99_999_999))
    kinds = {
        "name": (f"{last}, {first}", f"{last.upper()}^{first.upper()}", f"{first} {last}", f"{last.upper()} {first[0]}"),
        "mrn": (f"MRN: {number}", f"ID {number}", str(number), f"PID{number}"),
        "date": (f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"DOB {month:02}/{day:02}/{year}",
                 f"{day:02}/{month:02}/{year} {month:02}:{day + 20}:{day + 10}"),
        "accession": (f"ACC {number}", f"A{number}-{month}", f"Acc#: {number}"),
        "hospital": _HOSPITALS[side],
    }  # fmt: skip
    kind = str(rng.choice(sorted(kinds)))
    return str(rng.choice(kinds[kind])), kind


def _write(grey: NDArray[np.float64], side: str, rng: np.random.Generator, written: list[Written]) -> None:
    """One text at a free place of the picture, at most at its edges, with the difference that the key states."""
    text, kind = text_of(side, rng)
    height, delta = int(rng.choice(HEIGHTS)), int(rng.choice(DELTAS))
    font = ImageFont.truetype(str(rng.choice(fonts(side))), round(height * 1.35))
    left, upper, right, lower = font.getbbox(text)
    mask = Image.new("L", (int(right - left) + 2, int(lower - upper) + 2))
    ImageDraw.Draw(mask).text((1 - left, 1 - upper), text, fill=255, font=font)
    ink = np.asarray(mask, np.float64) / 255
    if rng.random() < 0.3:
        ink = (ink > 0.5).astype(np.float64)  # many devices draw without antialiasing
    h, w = ink.shape
    rows, columns = grey.shape
    if w >= columns - 8 or h >= rows - 8:
        return
    for _ in range(40):
        at_edge = rng.random() < 0.6
        x = int(rng.integers(4, columns - w - 4))
        y = int(rng.choice([rng.integers(4, 4 + rows // 8), rng.integers(rows - h - 4 - rows // 8, rows - h - 3)])) if at_edge else int(rng.integers(4, rows - h - 4))  # fmt: skip
        y = min(max(y, 4), rows - h - 4)
        if all(x + w + 12 < b[0] or b[0] + b[2] + 12 < x or y + h + 8 < b[1] or b[1] + b[3] + 8 < y for b in (t.box for t in written)):  # fmt: skip
            break
    else:
        return
    part = grey[y : y + h, x : x + w]
    around = float(np.median(part))
    up = 255 - around >= delta
    if not up and around < delta:
        delta, up = int(max(around, 255 - around)), 255 - around >= around
    level = around + delta if up else around - delta
    behind = gaussian_filter(grey[max(0, y - 20) : y + h + 20, max(0, x - 20) : x + w + 20], height / 4)
    behind = behind[min(y, 20) : min(y, 20) + h, min(x, 20) : min(x, 20) + w]
    difference = float(np.percentile(np.abs(level - behind)[ink > 0.4], 10))
    part[...] = part * (1 - ink) + level * ink
    ys, xs = np.nonzero(ink > 0.4)
    box = (x + int(xs.min()), y + int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1)
    written.append(Written(text, kind, box, difference, height))


def _us(rng: np.random.Generator) -> tuple[NDArray[np.float64], int]:
    rows, columns = (600, 800) if rng.random() < 0.6 else (768, 1024)
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    apex = (columns / 2 + rng.normal(0, 20), rows * 0.05)
    radius, angle = np.hypot(x - apex[0], y - apex[1]), np.arctan2(x - apex[0], y - apex[1])
    inside = (np.abs(angle) < rng.uniform(0.5, 0.8)) & (radius > 40) & (radius < rows * 0.88)
    speckle = gaussian_filter(
        rng.rayleigh(1.0, (rows, columns)), (rng.uniform(0.6, 1.2), rng.uniform(1.0, 2.4))
    )
    tissue = gaussian_filter(rng.normal(0, 1, (rows, columns)), 30)
    tissue = 70 + 45 * tissue / tissue.std()
    for _ in range(int(rng.integers(0, 4))):
        cx, cy, r = rng.uniform(0.3, 0.7) * columns, rng.uniform(0.3, 0.8) * rows, rng.uniform(15, 60)
        tissue[np.hypot((x - cx) / rng.uniform(0.8, 1.6), y - cy) < r] *= rng.uniform(0.1, 0.5)
    grey = np.where(inside, np.clip(tissue, 5, 180) * speckle / speckle.mean(), 0)
    grey[:, -24:-12] = (
        np.linspace(255, 0, rows)[:, None] * (np.abs(np.arange(rows) - rows / 3) < rows / 6)[:, None]
    )
    return grey, 255


def _cr(rng: np.random.Generator) -> tuple[NDArray[np.float64], int]:
    rows, columns = (1024, 1024) if rng.random() < 0.5 else (1760, 1430)
    blobs = gaussian_filter(rng.normal(0, 1, (rows // 8, columns // 8)), rng.uniform(8, 16))
    grey = np.asarray(
        Image.fromarray(blobs / blobs.std()).resize((columns, rows), Image.Resampling.BICUBIC), np.float64
    )
    y, x = np.mgrid[:rows, :columns]
    grey = (
        120 + 45 * grey + rng.uniform(-40, 40) * (y / rows - 0.5) + rng.uniform(-40, 40) * (x / columns - 0.5)
    )
    for k in range(int(rng.integers(4, 10))):  # ribs
        centre = rows * (0.2 + 0.07 * k) + 60 * np.sin(x / columns * np.pi + rng.uniform(0, 1))
        grey += 18 * np.exp(-(((y - centre) / (rows * 0.012)) ** 2))
    if rng.random() < 0.5:
        margin = int(rng.integers(20, 80))
        grey[:margin], grey[-margin:], grey[:, :margin], grey[:, -margin:] = 2, 2, 2, 2
    return np.clip(grey + rng.normal(0, rng.uniform(1, 4), grey.shape), 0, 235), 4095


def _mg(rng: np.random.Generator) -> tuple[NDArray[np.float64], int]:
    rows, columns = 1664, 1280
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    inside = np.hypot(x / (columns * rng.uniform(0.55, 0.8)), (y - rows / 2) / (rows * 0.42)) < 1
    texture = (
        gaussian_filter(rng.normal(0, 1, (rows, columns)), 3) * 60
        + gaussian_filter(rng.normal(0, 1, (rows, columns)), 20) * 700
    )
    grey = np.where(inside, np.clip(110 + texture, 20, 230), 1) + rng.normal(0, 0.8, (rows, columns))
    return grey, 4095


def _xa(rng: np.random.Generator) -> tuple[NDArray[np.float64], int]:
    size = 512 if rng.random() < 0.6 else 1024
    y, x = np.mgrid[:size, :size].astype(np.float64)
    grey = 150 + 30 * gaussian_filter(rng.normal(0, 1, (size, size)), 40) * 60
    for _ in range(int(rng.integers(2, 6))):  # vessels
        path = size * rng.uniform(0.2, 0.8) + 60 * np.sin(y / size * rng.uniform(2, 9) + rng.uniform(0, 6))
        grey -= rng.uniform(40, 90) * np.exp(-(((x - path) / rng.uniform(3, 9)) ** 2))
    grey[np.hypot(x - size / 2, y - size / 2) > size * 0.52] = 0
    return np.clip(grey + rng.normal(0, 4, grey.shape), 0, 255), 255


def _sc(rng: np.random.Generator) -> tuple[NDArray[np.float64], int]:
    """A reconstruction on a workstation's screen: a shaded body, thumbnails and lines, no letters."""
    rows, columns = 720, 960
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    grey = np.full((rows, columns), float(rng.integers(0, 60)))
    for _ in range(int(rng.integers(1, 4))):
        cx, cy, r = rng.uniform(0.2, 0.8) * columns, rng.uniform(0.2, 0.8) * rows, rng.uniform(60, 220)
        distance = np.hypot(x - cx, (y - cy) * rng.uniform(0.6, 1.2)) / r
        grey = np.where(distance < 1, 60 + 150 * np.sqrt(np.clip(1 - distance**2, 0, 1)), grey)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(30, rows - 30))
        grey[at : at + 2, 20:-20] = rng.uniform(90, 255)
    return grey, 255


_BACKGROUND = {"us": _us, "us_colour": _us, "cr": _cr, "cr_inverse": _cr, "mg": _mg, "xa": _xa, "sc": _sc}


def _coloured(values: NDArray[Any], rng: np.random.Generator, kind: str) -> NDArray[Any]:
    """Grey as colour: flow in an ultrasound, a tinted body on a screen; text keeps its difference."""
    colour = np.repeat(values[..., None], 3, axis=2)
    rows, columns = values.shape
    if kind == "us_colour":
        y0, x0 = int(rows * rng.uniform(0.3, 0.6)), int(columns * rng.uniform(0.3, 0.6))
        flow = gaussian_filter(rng.normal(0, 1, (rows // 6, columns // 6)), 6) > 0.06
        box = colour[y0 : y0 + rows // 6, x0 : x0 + columns // 6]
        box[flow, 2], box[~flow & (box[..., 0] > 120), 0] = 220, 220
    return colour
