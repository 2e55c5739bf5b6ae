"""Which objects may show a face, and what becomes of one: the plan for the pixels of a head series.

What belongs here: telling head series by their headers (rules/faces.toml), putting a series' frames together to a stack,
the mask of each object. What does not: where in a stack the face lies (head), writing pixels (redact, frames).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.filereader import read_dataset

from curation.deid.actions import RULES
from curation.deid.head import GRID_MM, Face, NoHead, Plane, Stack, find_face
from curation.deid.plan import Member, Plan
from curation.modality import body_part_of

OPTION = "clean_recognizable_visual_features"
_AIR_HU = -1000.0
_SAME_PLACE_MM = 0.1


@dataclass(frozen=True, slots=True)
class _Rules:
    modalities: frozenset[str]
    anatomy: frozenset[str]
    flat: frozenset[str]
    unnamed_field_mm: tuple[float, float]
    thinnest_stack_mm: float


@dataclass(frozen=True, slots=True)
class _Slice:
    """One frame with its place."""

    member: int
    frame: int
    plane: Plane
    rows: int
    columns: int


@cache
def _rules() -> _Rules:
    book = tomllib.loads((RULES / "faces.toml").read_text(encoding="utf-8"))
    low, high = book["unnamed_field_mm"]
    return _Rules(
        frozenset(book["modalities"]),
        frozenset(book["anatomy"]),
        frozenset(book["flat"]),
        (low, high),
        book["thinnest_stack_mm"],
    )


def may_show_face(header: Dataset) -> bool:
    """Whether an object with this header may belong to a head's surface: by modality, anatomy, and field of view.

    Slices that name no body part count where their field of view is a head's.
    """
    rules = _rules()
    types = {str(t).upper() for t in _values(header.get("ImageType"))}
    if str(header.get("Modality", "")) not in rules.modalities or types & rules.flat:
        return False
    words = ("ProtocolName", "SeriesDescription", "StudyDescription")
    part = body_part_of(
        str(header.get("BodyPartExamined", "")), *(str(header.get(word, "")) for word in words)
    )
    if part is not None:
        return part in rules.anatomy
    widths = [
        slice_.columns * float(np.linalg.norm(slice_.plane.column_step)) for slice_ in _slices(0, header)
    ]
    low, high = rules.unnamed_field_mm
    return not widths or any(low <= width <= high for width in widths)


def plan_faces(members: Sequence[Member]) -> Mapping[UUID, Plan | str]:
    """A plan for each object of one series by its instance_id: the face's outer surface masked, or why it is withheld.

    Nothing is masked in a stack thinner than `thinnest_stack_mm`, and nothing claimed of it. Withheld
    (`identity_suspected`) are frames without a place in space, such as drawn surfaces, and stacks in which no head is
    found. Does not depend on the order of `members`.
    """
    members = sorted(members, key=lambda m: m.clean.instance_id)
    headers = [header_of(m) for m in members]
    slices = [slice_ for n, header in enumerate(headers) for slice_ in _slices(n, header)]
    placed = {slice_.member for slice_ in slices}
    plans: dict[UUID, Plan | str] = {
        m.clean.instance_id: "identity_suspected" for n, m in enumerate(members) if n not in placed
    }
    chosen = _stack_of(slices)
    along = [float(s.plane.origin @ chosen[0].plane.normal) for s in chosen] if chosen else [0.0]
    if max(along) - min(along) < _rules().thinnest_stack_mm:
        return plans | {members[n].clean.instance_id: Plan() for n in placed}
    try:
        face = _find(members, headers, chosen)
    except NoHead:
        return plans | {members[n].clean.instance_id: "identity_suspected" for n in placed}
    for n in placed:
        own = [slice_ for slice_ in slices if slice_.member == n]
        plans[members[n].clean.instance_id] = _plan(face, own, headers[n])
    return plans


def header_of(member: Member) -> Dataset:
    """The clean header as a data set."""
    return read_dataset(BytesIO(member.clean.header), is_implicit_VR=False, is_little_endian=True)


def _plan(face: Face, slices: Iterable[_Slice], header: Dataset) -> Plan:
    masks = np.stack([face.mask(s.plane, s.rows, s.columns) for s in slices])
    mask = np.packbits(masks).tobytes() if masks.any() else None
    return Plan(mask=mask, fill=_fill(header), is_defaced=True)


def _fill(header: Dataset) -> int:
    """The stored value of air."""
    bits, is_signed = int(header.BitsStored), bool(header.PixelRepresentation)
    if header.get("Modality") != "CT":
        return 0
    slope, intercept = _rescale(header)
    value = round((_AIR_HU - intercept) / slope)
    low = -(1 << (bits - 1)) if is_signed else 0
    return max(low, min(value, (1 << (bits - is_signed)) - 1))


def _rescale(header: Dataset) -> tuple[float, float]:
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    frames = header.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    for place in (header, shared[0], frames[0]):
        item = (place.get("PixelValueTransformationSequence") or [place])[0]
        if item.get("RescaleSlope"):
            return float(item.RescaleSlope), float(item.get("RescaleIntercept") or 0)
    return 1.0, 0.0


def _stack_of(slices: Sequence[_Slice]) -> list[_Slice]:
    """One frame at each place of the orientation most frames have, in order along its normal."""
    by_orientation: dict[tuple[float, ...], list[_Slice]] = {}
    for slice_ in slices:
        key = (*np.round(slice_.plane.normal, 2), slice_.rows, slice_.columns)
        by_orientation.setdefault(key, []).append(slice_)
    if not by_orientation:
        return []
    group = max(by_orientation.values(), key=len)
    normal = group[0].plane.normal
    chosen: list[_Slice] = []
    for slice_ in sorted(group, key=lambda s: (float(s.plane.origin @ normal), s.member, s.frame)):
        at = float(slice_.plane.origin @ normal)
        if not chosen or at - float(chosen[-1].plane.origin @ normal) > _SAME_PLACE_MM:
            chosen.append(slice_)
    return chosen


def _find(members: Sequence[Member], headers: Sequence[Dataset], chosen: Sequence[_Slice]) -> Face:
    """The face in the chosen slices. Its wandering depth is seeded by the pixels themselves, which nobody outside has."""
    is_ct = headers[chosen[0].member].get("Modality") == "CT"
    row_mm, column_mm = (
        float(np.linalg.norm(step)) for step in (chosen[0].plane.row_step, chosen[0].plane.column_step)
    )
    by = max(1, int(GRID_MM / max(row_mm, column_mm)))
    digest = hashlib.sha256()
    values = []
    for slice_ in chosen:
        frame = members[slice_.member].frame(slice_.frame)
        if frame.ndim != 2:
            raise NoHead("colour")
        digest.update(np.ascontiguousarray(frame).tobytes())
        slope, intercept = _rescale(headers[slice_.member]) if is_ct else (1.0, 0.0)
        values.append(_shrink(frame, by) * np.float32(slope) + np.float32(intercept))
    planes = [_coarse(slice_.plane, by) for slice_ in chosen]
    stack = Stack(np.stack(values).astype(np.float32), planes, is_ct)
    return find_face(stack, int.from_bytes(digest.digest()[:8], "big"))


def _shrink(frame: NDArray[Any], by: int) -> NDArray[np.float32]:
    """Means over blocks of `by` pixels."""
    rows, columns = (n // by * by for n in frame.shape)
    blocks = frame[:rows, :columns].astype(np.float32).reshape(rows // by, by, columns // by, by)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _coarse(plane: Plane, by: int) -> Plane:
    middle = plane.origin + (by - 1) / 2 * (plane.row_step + plane.column_step)
    return Plane(middle, plane.row_step * by, plane.column_step * by)


def _slices(member: int, header: Dataset) -> Iterator[_Slice]:
    """The frames of one object that say where they lie; none where one of them does not."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = header.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if len(groups) != int(header.get("NumberOfFrames") or 1) or not rows or not columns:
        return
    planes = [_plane(header, shared, own) for own in groups]
    if all(planes):
        for n, plane in enumerate(planes):
            assert plane is not None
            yield _Slice(member, n, plane, rows, columns)


def _plane(header: Dataset, shared: Dataset, own: Dataset) -> Plane | None:
    """Plane of one frame: from its own functional groups, else the shared ones, else the header (PS3.3 C.7.6.16.2)."""
    position = _numbers(header, shared, own, "PlanePositionSequence", "ImagePositionPatient", 3)
    cosines = _numbers(header, shared, own, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = _numbers(header, shared, own, "PixelMeasuresSequence", "PixelSpacing", 2)
    if position is None or cosines is None or spacing is None or min(spacing) <= 0:
        return None
    if abs(np.linalg.norm(cosines[:3]) - 1) > 0.05 or abs(np.linalg.norm(cosines[3:]) - 1) > 0.05:
        return None
    return Plane(position, cosines[3:] * spacing[0], cosines[:3] * spacing[1])


def _numbers(
    header: Dataset, shared: Dataset, own: Dataset, group: str, keyword: str, n: int
) -> NDArray[np.float64] | None:
    for place in (*(own.get(group) or []), *(shared.get(group) or []), header):
        values = _values(place.get(keyword))
        if len(values) == n:
            return np.array([float(v) for v in values])
    return None


def _values(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
