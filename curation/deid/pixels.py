"""Pixels that may show who the person is: which boxes of which objects are blanked, or that an object is withheld.

What belongs here: the decision, from three signals: what is known of devices (`regions`: the standard's ultrasound regions,
rules of the site, shipped ones), text that is found (`detect`), and what the pictures of a series say together (`consensus`).
What does not: whose pixels are looked at (`gate`), blanking (`cut`, `redact`).
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.filereader import read_dataset

from curation.deid import consensus, faces
from curation.deid.actions import RULES
from curation.deid.detect import Finder, Picture, Text, find_text, finders
from curation.deid.gate import OPTION, gate
from curation.deid.header import Clean
from curation.deid.picture import pictures
from curation.deid.plan import Look, Member, Plan, Region
from curation.deid.policy import Policy
from curation.deid.regions import Box, RegionRule, load_regions, outside
from curation.part10 import NATIVE
from curation.records import Refused
from curation.site import Site

__all__ = [
    "Box", "Look", "Member", "PixelRules", "Plan", "Region", "load_pixel_rules", "plan_series", "triage",
]  # fmt: skip

SOURCE = "outside the ultrasound regions"


@dataclass(frozen=True, slots=True)
class PixelRules:
    """What is known of where devices write: by the site, and shipped. Can be sent to a worker."""

    site: tuple[RegionRule, ...] = ()
    shipped: tuple[RegionRule, ...] = ()


def load_pixel_rules(site: Site | None) -> PixelRules:
    """The shipped rules and the site's own."""
    return PixelRules(site.burned_in if site else (), load_regions())


@dataclass(frozen=True, slots=True)
class _Known:
    """What the header alone tells: boxes, whether the rest is looked at, and what it says of itself."""

    regions: tuple[Region, ...]
    is_looked_at: bool
    is_stated: bool


def triage(clean: Clean, policy: Policy, rules: PixelRules) -> Plan | Look:
    """What the header alone decides of an object's pixels, or that they must be looked at.

    Raises Refused("identity_suspected") where names may stand in the picture and nothing says where.
    """
    known = _known(clean, policy, rules)
    if known.is_looked_at:
        return Look("burned_in")
    if _is_face_wanted(clean, policy):
        return Look("face")
    return _plan_of(known, policy)


def _is_face_wanted(clean: Clean, policy: Policy) -> bool:
    if clean.pixels is None or faces.OPTION not in policy.profile.options:
        return False
    return faces.may_show_face(_header(clean))


def _plan_of(known: _Known, policy: Policy) -> Plan:
    """The plan of an object that is not looked at: it is claimed clean only where something was blanked."""
    return Plan(known.regions, is_cleaned=bool(known.regions) and OPTION in policy.profile.options)


def _known(clean: Clean, policy: Policy, rules: PixelRules) -> _Known:
    if clean.pixels is None:
        return _Known((), is_looked_at=False, is_stated=False)
    row, stated = gate(clean)
    if row.decision == "withhold":
        raise Refused("identity_suspected")
    if row.decision == "release" and not rules.site:
        return _Known((), is_looked_at=False, is_stated=False)
    header = _header(clean)
    found: list[Region] = []
    is_trusted = is_suspect = False
    for who, rule in [*(("site", r) for r in rules.site), *(("device", r) for r in rules.shipped)]:
        if not rule.matches(header):
            continue
        if rule.otherwise == "withhold":
            raise Refused("identity_suspected")
        source = f"{who}: {rule.name}" if rule.name else who
        found += [Region(box, source) for box in rule.boxes(int(header.Columns), int(header.Rows))]
        is_trusted = is_trusted or rule.otherwise == "trust"
        is_suspect = is_suspect or rule.otherwise == "look"
    kept = _ultrasound_regions(header) if "regions" in (row.decision, row.without) else []
    if OPTION in policy.profile.options:
        found += _banner(kept, header)
        is_looked_at = (row.decision != "release" or is_suspect) and not is_trusted
        return _Known(tuple(found), is_looked_at, stated == "YES")
    if row.without == "release" or stated == "NO" or is_trusted:
        return _Known(tuple(found), is_looked_at=False, is_stated=False)
    if not kept:
        raise Refused("identity_suspected")
    return _Known((*found, *_banner(kept, header)), is_looked_at=False, is_stated=False)


def _header(clean: Clean) -> Dataset:
    return read_dataset(BytesIO(clean.header), is_implicit_VR=False, is_little_endian=True)


def _banner(kept: Sequence[Box], header: Dataset) -> list[Region]:
    """Everything outside an ultrasound's regions, where devices put their banners."""
    boxes = outside(kept, int(header.Columns), int(header.Rows)) if kept else ()
    return [Region(box, SOURCE) for box in boxes]


def _ultrasound_regions(header: Dataset) -> list[Box]:
    """The regions of PS3.3 C.8.5.5 inside the picture; the location's maximum belongs to the region."""
    boxes = []
    for item in header.get("SequenceOfUltrasoundRegions") or []:
        try:
            left, top = int(item.RegionLocationMinX0), int(item.RegionLocationMinY0)
            right, bottom = int(item.RegionLocationMaxX1) + 1, int(item.RegionLocationMaxY1) + 1
        except (AttributeError, TypeError, ValueError):
            raise Refused("identity_suspected") from None
        right, bottom = min(right, int(header.Columns)), min(bottom, int(header.Rows))
        if 0 <= left < right and 0 <= top < bottom:
            boxes.append(Box(left, top, right - left, bottom - top))
    return boxes


def plan_series(members: Sequence[Member], policy: Policy, rules: PixelRules) -> Mapping[UUID, Plan | str]:
    """A plan for each object of one series by its instance_id, or the reason why it is withheld.

    Every member is looked at by itself; then those of one device and size speak for each other. Does not depend on the
    order of `members`.
    """
    plans: dict[UUID, Plan | str] = {}
    seen: dict[UUID, _Seen] = {}
    for member in sorted(members, key=lambda m: m.clean.instance_id):
        key = member.clean.instance_id
        try:
            known = _known(member.clean, policy, rules)
            if known.is_looked_at:
                seen[key] = _look(member, known)
            else:
                plans[key] = _plan_of(known, policy)
        except Refused as refusal:
            plans[key] = refusal.reason
    alike: dict[tuple[Any, ...], list[UUID]] = defaultdict(list)
    for key, one in seen.items():
        alike[one.kind].append(key)
    by_id = {member.clean.instance_id: member for member in members}
    for keys in alike.values():
        shared = consensus.lasting([seen[key].texts for key in keys])
        for key in keys:
            try:
                plans[key] = _decide(by_id[key], seen[key], shared)
            except Refused as refusal:
                plans[key] = refusal.reason
    plans.update(_with_faces(members, plans, policy))
    return plans


def _with_faces(
    members: Sequence[Member], plans: Mapping[UUID, Plan | str], policy: Policy
) -> Mapping[UUID, Plan | str]:
    """Plans of those members that may show a face, with its mask beside what is blanked already."""
    heads = [m for m in members if isinstance(plans[m.clean.instance_id], Plan)]
    heads = [m for m in heads if _is_face_wanted(m.clean, policy)]
    masked: dict[UUID, Plan | str] = dict(faces.plan_faces(heads)) if heads else {}
    for key, plan in masked.items():
        before = plans[key]
        if isinstance(plan, Plan) and isinstance(before, Plan):
            masked[key] = replace(plan, regions=before.regions, is_cleaned=before.is_cleaned)
    return masked


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a first look at one object found. RESTRICTED: texts have been read."""

    known: _Known
    texts: tuple[Text, ...]
    lasting: tuple[Box, ...]
    kind: tuple[Any, ...]


@cache
def _limits() -> dict[str, float]:
    book = tomllib.loads((RULES / "detect.toml").read_text(encoding="utf-8"))
    return dict(book["document"])


def _look(member: Member, known: _Known) -> _Seen:
    """The first look: each sampled frame, and for a loop what stands still in it."""
    header = _header(member.clean)
    finder = finders()["first"]
    views = [_find(view, finder) for view in _views(member, header, [r.box for r in known.regions])]
    kind = (
        str(header.get("Manufacturer", "")),
        str(header.get("ManufacturerModelName", "")),
        int(header.Rows),
        int(header.Columns),
        str(header.get("PhotometricInterpretation", "")),
    )
    texts = tuple(text for view in views for text in view)
    return _Seen(known, texts, tuple(consensus.lasting(views)) if len(views) > 1 else (), kind)


def _find(shown: Sequence[Picture], finder: Finder) -> list[Text]:
    return [text for picture in shown for text in find_text(picture, finder)]


def _views(member: Member, header: Dataset, blanked: Sequence[Box]) -> list[list[Picture]]:
    """Pictures of the frames that are looked at, the boxes blank; of a loop also of its median."""
    n_frames = member.clean.n_frames
    frames = [_blank(member.frame(i), blanked) for i in consensus.sample(n_frames, consensus.LOOKED_AT)]
    if n_frames > 2:
        still = [member.frame(i) for i in consensus.sample(n_frames, consensus.MEDIAN_FRAMES)]
        frames.append(_blank(consensus.median(still[: len(still) - (len(still) + 1) % 2]), blanked))
    is_native = member.clean.transfer_syntax in NATIVE
    return [pictures(values, header, is_native) for values in frames]


def _blank(values: NDArray[Any], boxes: Sequence[Box]) -> NDArray[Any]:
    """Boxes at the grey level around them: an edge of black would itself be looked at."""
    if not boxes:
        return values
    values = np.array(values)
    for box in boxes:
        part = values[box.y : box.y + box.height, box.x : box.x + box.width]
        part[...] = part.min() if values.ndim == 2 else part.reshape(-1, part.shape[-1]).min(axis=0)
    return values


def _decide(member: Member, seen: _Seen, shared: Sequence[Box]) -> Plan:
    """The plan of one object: everything plain, what lasts, what others of its kind show; then the second look."""
    header = _header(member.clean)
    columns, rows = int(header.Columns), int(header.Rows)
    found = [Region(text.box, "detected") for text in seen.texts if text.is_plain]
    found += [Region(box, "consensus") for box in (*seen.lasting, *shared)]
    if seen.known.is_stated and not found and not seen.known.regions:
        raise Refused("identity_suspected")  # the object says that there is text, and nothing tells where
    regions = [*seen.known.regions, *_distinct(found)]
    if found or seen.known.is_stated:
        regions += _second_look(member, header, [region.box for region in regions])
    texts = [region.box for region in regions[len(seen.known.regions) :]]
    limits = _limits()
    if len(texts) > limits["lines"] or _share(texts, columns, rows) > limits["share"]:
        raise Refused("identity_suspected")
    return Plan(tuple(regions), is_cleaned=True)


def _second_look(member: Member, header: Dataset, blanked: Sequence[Box]) -> list[Region]:
    """What can still be read once the boxes are blank, looked at with other parameters.

    Raises Refused("identity_suspected") where something can be read even after that is blanked too.
    """
    finder, more = finders()["second"], list[Region]()
    for _ in range(2):
        views = _views(member, header, [*blanked, *(region.box for region in more)])
        left = [text.box for view in views for text in _find(view, finder) if text.is_plain]
        if not left:
            return more
        more += _distinct([Region(box, "second look") for box in left])
    raise Refused("identity_suspected")


def _distinct(regions: Sequence[Region]) -> list[Region]:
    """Without those that lie in another one."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda r: (-r.box.width * r.box.height, r.box.y, r.box.x, r.source)):
        if not any(other.box.covers(region.box) for other in kept):
            kept.append(region)
    return sorted(kept, key=lambda r: (r.box.y, r.box.x, r.box.height, r.box.width))


def _share(boxes: Sequence[Box], columns: int, rows: int) -> float:
    """How much of a picture the boxes cover."""
    covered = np.zeros((rows, columns), bool)
    for box in boxes:
        covered[box.y : box.y + box.height, box.x : box.x + box.width] = True
    return float(covered.mean())
