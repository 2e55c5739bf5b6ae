"""Segmentations of the lake as masks beside a token pack: for every tile, which pixels each structure covers.

What belongs here: which SEG objects speak of which frames, and their masks on the grid of the tiles. What does not: the
tiles (pack), learning (training). A mask is known where an object segments the tile's own series: a frame without a
segment is then empty. Series that no object speaks of are unknown, and so are objects on another grid.

Segments are named by the meaning of their property type code, or by their label (PS3.3 C.8.20.2), in lower case with
underscores: `lung_nodule`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from curation.frames import decode
from curation.lake import Connection, Lake, Snapshot
from curation.pack_file import Pack, open_pack
from curation.pack_frames import FrameIndex, FrameKey, rows_of
from curation.records import ConfigurationError
from curation.tile import letterbox

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
MASKS_VERSION = 1
UNKNOWN = 255
"""Value of a mask where nobody said anything."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One frame of a SEG object: which structures it may be named, and the image frame that it lies on."""

    key: FrameKey
    names: frozenset[str]
    source: FrameKey


@dataclass(frozen=True, slots=True)
class Segmented:
    """One SEG object: where it lies, the series it speaks of, its planes, and the value of a full pixel."""

    delivery: str
    series_id: UUID
    speaks_of: frozenset[UUID]
    names: frozenset[str]
    planes: tuple[Plane, ...]
    full: int


def structure_name(text: str) -> str:
    """A segment's name as specs write it: lower case, words joined by underscores."""
    return "_".join(re.findall(r"[a-z0-9]+", text.lower()))


def read_segmentation(instance_id: UUID, delivery: str, series_id: UUID, header: bytes) -> Segmented:
    """What a clean SEG header says (PS3.3 C.8.20). Frames without a source image or segment are left out."""
    from pydicom.filereader import read_dataset

    said = read_dataset(io.BytesIO(header), is_implicit_VR=False, is_little_endian=True)
    names = {int(s.SegmentNumber): _names(s) for s in said.get("SegmentSequence") or ()}
    of_instance: dict[UUID, UUID] = {}
    for series in said.get("ReferencedSeriesSequence") or ():
        for item in series.get("ReferencedInstanceSequence") or ():
            of_instance[_uuid(item.ReferencedSOPInstanceUID)] = _uuid(series.SeriesInstanceUID)
    shared = next(iter(said.get("SharedFunctionalGroupsSequence") or ()), None)
    planes = []
    for index, groups in enumerate(said.get("PerFrameFunctionalGroupsSequence") or ()):
        number, source = _segment_number(groups, shared), _source(groups, shared)
        if number in names and source is not None:
            planes.append(Plane((instance_id, index), names[number], source))
    is_binary = str(said.get("SegmentationType", "BINARY")) == "BINARY"
    full = 1 if is_binary else int(said.get("MaximumFractionalValue") or 255)
    everything = frozenset(name for known in names.values() for name in known)
    return Segmented(delivery, series_id, frozenset(of_instance.values()), everything, tuple(planes), full)


def structures(lake: Lake, snapshot: Snapshot, study_ids: Sequence[UUID]) -> dict[str, int]:
    """Names of structures that SEG objects of those studies know, with how many objects each; most frequent first."""
    counts: dict[str, int] = defaultdict(int)
    with lake.connect(snapshot.number) as con:
        for found in _objects(con, study_ids):
            for name in found.names:
                counts[name] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def find_masks(lake: Lake, pack_folder: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """uint8 [M members, T tiles, C structures, size, size] of 0, 1 and UNKNOWN, mapped from disk; built where it is not
    there. Members that the pack left out are unknown.

    Raises ConfigurationError where the pack is of another kind than tiles, or no object knows one of the structures.
    """
    pack = open_pack(pack_folder)
    if pack.recipe.kind != "tile":
        raise ConfigurationError(
            f"Segmentation learns from tiles; this pack holds {pack.recipe.kind}s. Set model.input.kind to tile."
        )
    wanted = [structure_name(n) for n in names]
    key = hashlib.sha256(json.dumps([MASKS_VERSION, wanted]).encode()).hexdigest()[:16]
    folder = pack_folder / "masks" / key
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder.parent))
        try:
            _write(lake, pack, names, wanted, aside)
            os.rename(aside, folder)
        except OSError:
            if not folder.is_dir():  # not another process that was first: a real failure
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    masks: NDArray[np.uint8] = np.load(folder / "masks.npy", mmap_mode="r")
    return masks


def _write(lake: Lake, pack: Pack, names: Sequence[str], wanted: Sequence[str], folder: Path) -> None:
    snapshot = lake.snapshot(int(pack.facts["snapshot"]))
    tiles = pack.tiles.facts.to_pylist()
    studies = sorted({t["study_id"] for t in tiles})
    with lake.connect(snapshot.number) as con:
        found = list(_objects(con, studies))
    known = {name for one in found for name in one.names}
    if missing := [n for n, w in zip(names, wanted, strict=True) if w not in known]:
        there = ", ".join(sorted(known)) or "none"
        raise ConfigurationError(
            f"No segmentation of the cohort's studies has the structure {missing[0]!r}; there are: {there}. Mend task.labels."
        )
    shape = (pack.n_members, pack.tiles_per_series, len(wanted), pack.size, pack.size)
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.uint8, shape)
    masks[:] = UNKNOWN
    places: dict[FrameKey, list[dict[str, Any]]] = defaultdict(list)
    by_series: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for tile in tiles:
        places[tile["instance_id"], tile["frame_index"]].append(tile)
        by_series[tile["series_id"]].append(tile)
    for one in found:
        for c in (c for c, name in enumerate(wanted) if name in one.names):
            for tile in (t for series in one.speaks_of for t in by_series.get(series, ())):
                mask = masks[tile["member_index"], tile["tile_index"], c]
                mask[mask == UNKNOWN] = 0  # looked at: what no segment covers is not there
    _fill(FrameIndex(lake, snapshot), found, wanted, places, masks)
    masks.flush()


def _fill(
    frames: FrameIndex,
    found: Sequence[Segmented],
    wanted: Sequence[str],
    places: Mapping[FrameKey, list[dict[str, Any]]],
    masks: NDArray[np.uint8],
) -> None:
    """Draws every plane that lies on a tile's frame; one of another size than its frame makes that mask unknown."""
    planes = {p.key: (one, p) for one in found for p in one.planes if p.source in places}
    asked = {key: (one.delivery, one.series_id) for key, (one, _) in planes.items()}
    for group in frames.read(asked):
        for frame in group:
            one, plane = planes[frame.key]
            values = decode(frame.codec, frame.payload)
            for tile in places[plane.source]:
                for c in (c for c, name in enumerate(wanted) if name in plane.names):
                    mask = masks[tile["member_index"], tile["tile_index"], c]
                    drawn = on_tile(values, one.full, tile, masks.shape[-1])
                    if drawn is None:
                        mask[:] = UNKNOWN
                    elif not (mask == UNKNOWN).all():
                        np.maximum(mask, drawn, out=mask)


def on_tile(values: NDArray[Any], full: int, tile: Mapping[str, Any], size: int) -> NDArray[np.uint8] | None:
    """A mask [rows, columns] on the grid of a tile, placed as the tile's own pixels were; None where sizes differ.

    `full` is the value of a wholly covered pixel; a pixel of the tile is covered where half of its area is.
    """
    if round(tile["scale"] * max(values.shape)) != size:
        return None
    levels, top, left = letterbox(values.astype(np.float64) * (255.0 / full), size)
    return (levels >= 128).astype(np.uint8) if (top, left) == (tile["pad_top"], tile["pad_left"]) else None


def _objects(con: Connection, study_ids: Sequence[UUID]) -> Iterator[Segmented]:
    objects = f"(SELECT * FROM instances WHERE sop_class = '{SEGMENTATION}')"
    rows = rows_of(
        con, f"SELECT instance_id, delivery, series_id, header FROM {objects}", study_ids, "study_id"
    )
    for row in sorted(rows, key=lambda r: r["instance_id"]):
        yield read_segmentation(row["instance_id"], row["delivery"], row["series_id"], row["header"])


def _names(segment: Any) -> frozenset[str]:
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    texts = [str(code.get("CodeMeaning", "")) for code in codes] + [str(segment.get("SegmentLabel", ""))]
    return frozenset(name for text in texts if (name := structure_name(text)))


def _segment_number(groups: Any, shared: Any) -> int | None:
    for where in (groups, shared):
        for item in (where.get("SegmentIdentificationSequence") or ()) if where is not None else ():
            return int(item.ReferencedSegmentNumber)
    return None


def _source(groups: Any, shared: Any) -> FrameKey | None:
    """Instance and frame (from 0) that a plane was drawn on; a source without a frame number is its first frame."""
    for where in (groups, shared):
        for derived in (where.get("DerivationImageSequence") or ()) if where is not None else ():
            for item in derived.get("SourceImageSequence") or ():
                frame = item.get("ReferencedFrameNumber") or 1
                first = frame[0] if isinstance(frame, Sequence) and not isinstance(frame, str) else frame
                return _uuid(item.ReferencedSOPInstanceUID), int(first) - 1
    return None


def _uuid(uid: Any) -> UUID:
    """The id behind a released UID, `2.25.<integer>`."""
    text = str(uid)
    return UUID(int=int(text[5:])) if re.fullmatch(r"2\.25\.\d{1,39}", text) else UUID(int=0)
