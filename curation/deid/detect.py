"""Text in a picture of grey levels: where it stands and what it reads, by the detector and recogniser in rapidocr's wheel.

What belongs here: one picture in, boxes of text out. What does not: how stored values become a picture (`picture`), which
pictures are looked at and what is made of several of them (`pixels`). Only the weights of the package rapidocr are used:
onnxruntime runs them from the installed files, so nothing here can reach a network, and one thread gives the same boxes in
every worker.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from curation.deid.actions import RULES
from curation.deid.regions import Box
from curation.records import ConfigurationError

Picture = NDArray[np.uint8]
"""Grey levels [rows, columns], or RGB [rows, columns, 3]."""


class View(BaseModel):
    """One way of showing a picture to the detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = 1.0
    contrast: float = 0.0
    """Clip limit of an adaptive histogram equalization; 0: none."""
    is_negative: bool = False


class Finder(BaseModel):
    """How carefully is looked; `rules/detect.toml` says what each number is and why it is what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_threshold: float
    box_threshold: float
    sure: float
    unclip: float
    views: tuple[View, ...]
    tile: int
    overlap: int
    least_height: int
    most_height: float
    characters: int
    reading: float
    reading_upright: float
    trace: float
    pad: float


@dataclass(frozen=True, slots=True)
class Text:
    """Text found in a picture: the detector's certainty, what the recogniser reads there and how sure it is.

    RESTRICTED: `reading` may be a name.
    """

    box: Box
    certainty: float
    reading: str
    legibility: float
    is_plain: bool = True
    """False: a trace that counts only where other pictures show it at the same place."""


@cache
def finders() -> dict[str, Finder]:
    """The first look and the second, which looks with other parameters at what the first has left."""
    book = tomllib.loads((RULES / "detect.toml").read_text(encoding="utf-8"))
    return {name: Finder(**rules) for name, rules in book["finder"].items()}


SMALL = 640
"""Pixels of the longer side below which nothing is made smaller."""


def find_text(picture: Picture, finder: Finder) -> list[Text]:
    """Where text stands in a picture, from top to bottom, plain or faint; boxes on one line are one."""
    left, top, content = _content(picture)
    # what is taller is anatomy, and would swallow the letters beside it
    most = max(finder.most_height * content.shape[0], 48)
    found: list[Text] = []
    for view in finder.views if content.size else ():
        shown = _shown(content, view)
        boxes = [box for box in _detect(shown, view.scale, finder) if box[3] - box[1] <= most]
        found += _legible(shown, _merge(boxes), finder)
    return [
        replace(text, box=Box(text.box.x + left, text.box.y + top, text.box.width, text.box.height))
        for text in _united(found)
    ]


def _content(picture: Picture) -> tuple[int, int, Picture]:
    """The picture without margins of one grey level, and where it begins: half of an ultrasound is black."""
    grey = picture if picture.ndim == 2 else picture.max(axis=2)
    rows = np.flatnonzero(np.ptp(grey, axis=1) > 3)
    columns = np.flatnonzero(np.ptp(grey, axis=0) > 3)
    if not rows.size or not columns.size:
        return 0, 0, picture[:0]
    top, left = max(0, int(rows[0]) - 16), max(0, int(columns[0]) - 16)
    return left, top, np.ascontiguousarray(picture[top : int(rows[-1]) + 17, left : int(columns[-1]) + 17])


def _shown(picture: Picture, view: View) -> Picture:
    """The picture as a view wants it; raised contrast is grey."""
    import cv2

    if view.contrast:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
        picture = np.asarray(
            cv2.createCLAHE(clipLimit=view.contrast, tileGridSize=(8, 8)).apply(grey), np.uint8
        )
    return np.asarray(255 - picture, np.uint8) if view.is_negative else picture


@cache
def _session(model: str) -> Any:
    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "Text in pixels is found by the package rapidocr: pip install rapidocr==3.10.0"
        )
    import onnxruntime

    path = Path(spec.submodule_search_locations[0]) / "models" / model
    if not path.is_file():
        raise ConfigurationError(f"The installed rapidocr has no {model}: pip install rapidocr==3.10.0")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers are the parallelism
    options.enable_cpu_mem_arena = False  # pictures differ in size: an arena would keep the largest
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _run(model: str, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = _session(model)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0], np.float32)


def _batch(picture: Picture) -> NDArray[np.float32]:
    """[1, 3, rows, columns] of -1 to 1, in the order blue, green, red of the makers' training."""
    scaled = picture.astype(np.float32) / 127.5 - 1
    planes = scaled[..., ::-1].transpose(2, 0, 1) if scaled.ndim == 3 else np.repeat(scaled[None], 3, axis=0)
    return np.ascontiguousarray(planes[None])


_Candidate = tuple[int, int, int, int, float]
"""Left, top, right, bottom, certainty."""


def _detect(view: Picture, scale: float, finder: Finder) -> list[_Candidate]:
    """Boxes of text at one size, in the picture's own pixels; the picture is read in tiles that overlap."""
    import cv2

    rows, columns = view.shape[:2]
    if max(rows, columns) < SMALL:
        scale = max(scale, 1.0)  # letters of a small picture have no pixels to lose
    scaled = (
        view
        if scale == 1
        else cv2.resize(
            view,
            (max(1, round(columns * scale)), max(1, round(rows * scale))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
        )
    )
    found = []
    for top, left, tile in _tiles(np.asarray(scaled, np.uint8), finder):
        for x0, y0, x1, y1, certainty in _boxes(tile, finder):
            corners = ((left + x0) / scale, (top + y0) / scale, (left + x1) / scale, (top + y1) / scale)
            box = [int(corners[0]), int(corners[1]), int(-(-corners[2] // 1)), int(-(-corners[3] // 1))]
            found.append((max(0, box[0]), max(0, box[1]), min(columns, box[2]), min(rows, box[3]), certainty))
    return found


def _tiles(scaled: Picture, finder: Finder) -> Iterator[tuple[int, int, Picture]]:
    """Tiles with where they lie; those of one grey level are left out."""
    for top, bottom in _spans(scaled.shape[0], finder):
        for left, right in _spans(scaled.shape[1], finder):
            tile = scaled[top:bottom, left:right]
            if int(tile.max()) - int(tile.min()) > 3:
                yield top, left, tile


def _spans(length: int, finder: Finder) -> list[tuple[int, int]]:
    if length <= finder.tile * 1.25:
        return [(0, length)]
    n = -(-(length - finder.overlap) // (finder.tile - finder.overlap))
    edges = np.linspace(0, length - finder.tile, n).astype(int)
    return [(int(edge), int(edge) + finder.tile) for edge in edges]


def _boxes(tile: Picture, finder: Finder) -> Iterator[tuple[float, float, float, float, float]]:
    """Islands of the detector's probability map, each grown by what the map is shrunk (Liao et al. 2020, eq. 10)."""
    import cv2

    rows, columns = tile.shape[:2]
    # the network halves the picture five times; a small picture in a frame of its edge values reads as well as a large one
    height, width = -(-max(rows, 64) // 32) * 32, -(-max(columns, 64) // 32) * 32
    edges = ((0, height - rows), (0, width - columns), *((0, 0),) * (tile.ndim - 2))
    shown = _run("PP-OCRv6_det_small.onnx", _batch(np.pad(tile, edges, mode="edge")))[0, 0][:rows, :columns]
    islands = (shown > finder.pixel_threshold).astype(np.uint8)
    n, labels, stats, _ = cv2.connectedComponentsWithStats(islands, connectivity=8)
    for label in range(1, n):
        x, y, w, h = (int(v) for v in stats[label, :4])
        if min(w, h) < 3:
            continue
        part = labels[y : y + h, x : x + w] == label
        certainty = float(shown[y : y + h, x : x + w][part].mean())
        if certainty < finder.box_threshold:
            continue
        grow = w * h * finder.unclip / (2 * (w + h))
        if h + 2 * grow < finder.least_height:
            continue
        yield x - grow, y - grow, x + w + grow, y + h + grow, certainty


def _merge(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Boxes that cover the same line become one: the same text is seen in two tiles and at two sizes."""
    left = sorted(candidates)
    done: list[_Candidate] = []
    while left:
        box = left.pop(0)
        grown = True
        while grown:
            grown = False
            for other in left:
                if _is_same_line(box, other):
                    box = (*_hull(box, other), max(box[4], other[4]))
                    left.remove(other)
                    grown = True
                    break
        done.append(box)
    return done


def _hull(a: _Candidate, b: _Candidate) -> tuple[int, int, int, int]:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _is_same_line(a: _Candidate, b: _Candidate) -> bool:
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return across > 0 and down > 0.5 * min(a[3] - a[1], b[3] - b[1])


def _legible(view: Picture, candidates: Sequence[_Candidate], finder: Finder) -> Iterator[Text]:
    """Those in which the recogniser reads characters, those of which the detector is sure alone, and traces."""
    for x0, y0, x1, y1, certainty in candidates:
        reading, legibility = _read(view[y0:y1, x0:x1])
        needed = finder.reading_upright if y1 - y0 > x1 - x0 else finder.reading
        is_read = sum(c.isalnum() for c in reading) >= finder.characters and legibility >= needed
        is_plain = is_read or certainty >= finder.sure
        if is_plain or legibility >= finder.trace:
            pad = max(2, round(finder.pad * (y1 - y0)))
            left, top = max(0, x0 - pad), max(0, y0 - pad)
            right, bottom = min(view.shape[1], x1 + pad), min(view.shape[0], y1 + pad)
            yield Text(Box(left, top, right - left, bottom - top), certainty, reading, legibility, is_plain)


@cache
def _alphabet() -> list[str]:
    characters = _session("PP-OCRv6_rec_small.onnx").get_modelmeta().custom_metadata_map["character"]
    return ["", *characters.splitlines(), " "]


def _read(line: Picture) -> tuple[str, float]:
    """What the recogniser reads in one line of text, and its mean certainty."""
    import cv2

    rows, columns = line.shape[:2]
    if rows > 1.5 * columns and rows > 24:
        line = np.asarray(np.rot90(line), np.uint8)  # a line that stands upright
        rows, columns = columns, rows
    width = max(16, min(2048, -(-round(columns * 48 / max(rows, 1)) // 8) * 8))
    resized = cv2.resize(line, (width, 48), interpolation=cv2.INTER_LINEAR)
    shown = _run("PP-OCRv6_rec_small.onnx", _batch(np.asarray(resized, np.uint8)))[0]
    best = shown.argmax(1)
    kept = np.concatenate(([True], best[1:] != best[:-1])) & (best != 0)
    if not kept.any():
        return "", 0.0
    letters = _alphabet()
    return "".join(letters[i] for i in best[kept]), float(shown.max(1)[kept].mean())


def _united(found: Sequence[Text]) -> list[Text]:
    """Texts of several views: those of one line as one box, what reads best as its reading."""
    left = sorted(found, key=_order)
    done: list[Text] = []
    while left:
        text = left.pop(0)
        same = next((t for t in left if _is_one(text.box, t.box)), None)
        if same is None:
            done.append(text)
            continue
        left.remove(same)
        better = max(text, same, key=lambda t: (t.legibility, t.certainty, t.reading))
        certainty = max(text.certainty, same.certainty)
        left.append(
            Text(
                text.box.hull(same.box),
                certainty,
                better.reading,
                better.legibility,
                text.is_plain or same.is_plain,
            )
        )
    return sorted(done, key=_order)


def _order(text: Text) -> tuple[int, int, int, int, float, str]:
    box = text.box
    return box.y, box.x, box.height, box.width, text.certainty, text.reading


def _is_one(a: Box, b: Box) -> bool:
    return (
        a.covers(b)
        or b.covers(a)
        or _is_same_line(
            (a.x, a.y, a.x + a.width, a.y + a.height, 0.0), (b.x, b.y, b.x + b.width, b.y + b.height, 0.0)
        )
    )
