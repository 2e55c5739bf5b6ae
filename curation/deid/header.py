"""One DICOM object without the person: original bytes in, the clean dataset before its pixels out, or a refusal.

What belongs here: what an object must be and hold, and where its pixels lie. What does not: what the decisions are
(policy), the pass over the elements (walk), the pixel bytes, which this module never reads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import mmap
from uuid import UUID

from curation import part10
from curation.deid.aside import put_back
from curation.deid.charset import decode
from curation.deid.explicit import elements_of, to_explicit
from curation.deid.identity import Identity, drop_naming
from curation.deid.policy import Policy
from curation.deid.private import declare
from curation.deid.pseudonyms import Pseudonyms, dicom_uid
from curation.deid.structured import Around
from curation.deid.walk import Facts, Found, Named, Walk, look_ahead, text_of
from curation.part10 import UNDEFINED, Budget, Pixels, Source, short_of
from curation.records import Refused

__all__ = ["Clean", "Identity", "Pixels", "clean_header", "open_document"]

_IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "AccessionNumber")
_DOCUMENT = 0x00420011
_VISIBLE_LIGHT = b"1.2.840.10008.5.1.4.1.1.77.1."
_IMAGE_TYPE, _LABEL_IN_IMAGE = 0x00080008, 0x00480010
_U16 = struct.Struct("<H").unpack_from


@dataclass(frozen=True, slots=True)
class Clean:
    """One object, cleaned: `header` is the dataset before its pixels, Explicit VR Little Endian, without file meta.

    `sop_instance` is the SOP Instance UID as released. `transfer_syntax` is the source's. `pixels` counts in the source buffer; where the source is deflated, in
    `part10.open_dataset(source).data`. `identity` is restricted.
    """

    header: bytes
    sop_class: str
    transfer_syntax: str
    instance_id: UUID
    series_id: UUID
    study_id: UUID
    patient_id: UUID
    accession_id: UUID | None
    actions: tuple[tuple[str, str], ...]
    pixels: Pixels | None
    identity: Identity
    n_frames: int = 1
    sop_instance: str = ""


def clean_header(data: Source, policy: Policy, pseudonyms: Pseudonyms, site: str) -> Clean:
    """The object without the person, or Refused. `data` is the whole file; its pixel bytes are not touched.

    Raises Refused: not_dicom, truncated, malformed, too_large, unsupported_syntax, unsupported_class, encrypted,
    no_patient, pixel_mismatch, identity_suspected.
    """
    dataset = part10.open_dataset(data)
    buffer, start, end, found = _plain(dataset, policy)
    facts = look_ahead(buffer, start, end, policy)
    _check_class(facts, policy)
    walk = Walk(buffer, policy, pseudonyms, site, facts)
    header = walk.run(start, end)
    if found is None and walk.pixels is not None:
        found = walk.pixels
        part10.check_tail(dataset.data, _pixel_end(dataset, found), dataset.end, walk.budget)
    pixels = _locate(dataset, found, walk.values) if found else None
    needs = policy.classes[facts.sop_class.decode()].needs_pixels
    if pixels is None and needs:
        raise Refused("truncated")
    named = walk.named()
    identity = _identity(facts, walk, named)
    if walk.aside:
        around = Around(policy, pseudonyms, identity, walk.patient_id, walk.days, walk.codecs, named[2])
        header, put, log = put_back(header, walk.aside, around)
        walk.loose += put
        walk.log += log
    if walk.names_somebody(named[2]):
        header = drop_naming(header, named[2], policy)
    header = declare(header, walk.blocks())
    if facts.sop_class.startswith(_VISIBLE_LIGHT):
        _check_label(header)
    return _clean(header, dataset, facts, walk, pixels, identity)


def open_document(data: Source, policy: Policy, pseudonyms: Pseudonyms, site: str) -> tuple[Clean, bytes]:
    """Whose document an object holds, without a header to release, and the document. RESTRICTED.

    Raises Refused as clean_header does; unreadable_report where there is no document.
    """
    dataset = part10.open_dataset(data)
    buffer, start, end, _ = _plain(dataset, policy)
    facts = look_ahead(buffer, start, end, policy)
    facts.sop_class = facts.sop_class.strip(b" \0")
    if not facts.patient_id.strip(b" \0"):
        raise Refused("no_patient")
    walk = Walk(buffer, policy, pseudonyms, site, facts)
    walk.run(start, end)
    pos, budget = start, Budget()
    while pos < end:
        at = pos
        tag, pos = part10.skip_element(buffer, pos, end, budget)
        if tag == _DOCUMENT:
            _, _, first, length = part10.explicit_header(buffer, at, end)
            about = _clean(b"", dataset, facts, walk, None, _identity(facts, walk, walk.named()))
            return about, bytes(buffer[first : first + length])
    raise Refused("unreadable_report")


def _identity(facts: Facts, walk: Walk, named: Named) -> Identity:
    names, other, _ = named
    return Identity(
        site=walk.site,
        patient_id=text_of(facts.patient_id),
        issuer=text_of(facts.issuer),
        names=names,
        birth_date=text_of(facts.birth_date),
        sex=text_of(facts.sex),
        accession=text_of(walk.values.get("AccessionNumber", b"")),
        study_uid=text_of(walk.values.get("StudyInstanceUID", b"")),
        other=other,
        patient_name=decode(facts.name.strip(b" \0"), walk.codecs) or "",
    )


def _clean(
    header: bytes,
    dataset: part10.Dataset,
    facts: Facts,
    walk: Walk,
    pixels: Pixels | None,
    identity: Identity,
) -> Clean:
    study, series, instance, accession = (text_of(walk.values.get(name, b"")) for name in _IDS)
    if not (study and series and instance):
        raise Refused("malformed")
    uid = walk.pseudonyms.uid
    return Clean(
        header=header,
        sop_class=facts.sop_class.decode(),
        transfer_syntax=dataset.transfer_syntax,
        instance_id=uid(instance),
        series_id=uid(series),
        study_id=uid(study),
        patient_id=walk.patient_id,
        accession_id=walk.pseudonyms.accession(walk.site, accession) if accession else None,
        actions=tuple(dict.fromkeys(walk.log)),
        pixels=pixels,
        identity=identity,
        n_frames=_number(walk.values, "NumberOfFrames", 1),
        sop_instance=_released_uid(instance, walk),
    )


def _released_uid(original: str, walk: Walk) -> str:
    if "retain_uids" in walk.policy.profile.options:
        if len(original) > 64 or original.strip(
            "0123456789."
        ):  # the walk drops it: such a UID may say anything
            raise Refused("malformed")
        return original
    return dicom_uid(walk.pseudonyms.uid(original))


def _plain(dataset: part10.Dataset, policy: Policy) -> tuple[bytes | mmap, int, int, Found | None]:
    """A buffer of Explicit VR LE whose slices are bytes, and the pixel data where they are already known."""
    data = dataset.data
    if dataset.transfer_syntax in (part10.IMPLICIT_LITTLE, part10.EXPLICIT_BIG):
        is_big = dataset.transfer_syntax == part10.EXPLICIT_BIG
        header, found = to_explicit(dataset, is_big_endian=is_big, private=policy.private_vrs())
        return header, 0, len(header), found
    if isinstance(data, bytes | mmap):
        return data, dataset.start, dataset.end, None
    pos, budget = dataset.start, Budget()
    while pos < dataset.end:
        tag, vr, start, length = part10.explicit_header(data, pos, dataset.end)
        if tag in part10.PIXEL_KEYWORDS:
            found = (tag, vr, start, length)
            part10.check_tail(data, _pixel_end(dataset, found), dataset.end, budget)
            return bytes(data[dataset.start : pos]), 0, pos - dataset.start, found
        _, pos = part10.skip_element(data, pos, dataset.end, budget)
    return bytes(data[dataset.start : dataset.end]), 0, dataset.end - dataset.start, None


def _pixel_end(dataset: part10.Dataset, found: Found) -> int:
    """Where the pixel data element ends in the source."""
    _, _, start, length = found
    if length != UNDEFINED:
        if length > dataset.end - start:
            raise short_of(dataset.data, dataset.end)
        return start + length
    return part10.skip_items(dataset.data, start, dataset.end, Budget(), depth=1)


def _check_class(facts: Facts, policy: Policy) -> None:
    facts.sop_class = facts.sop_class.strip(b" \0")
    if not facts.sop_class:
        raise Refused("malformed")
    known = policy.classes.get(facts.sop_class.decode("latin-1"))
    if known is not None and known.road == "report":
        raise Refused("document")
    if known is None or not known.is_released:
        raise Refused("unsupported_class")
    if known.road == "content" and "clean_structured_content" not in policy.profile.options:
        raise Refused("unsupported_class")  # without its content a report is none
    if not facts.patient_id.strip(b" \0"):
        raise Refused("no_patient")


def _check_label(header: bytes) -> None:
    """A slide's label has the person's name or number on it, and an overview shows the label (PS3.3 C.8.12.4.1.1)."""
    for tag, _, _, start, stop in elements_of(header):
        value = header[start:stop].strip(b" \0")
        shown = tag == _IMAGE_TYPE and {b"LABEL", b"OVERVIEW"} & {v.strip() for v in value.split(b"\\")}
        if shown or (tag == _LABEL_IN_IMAGE and value == b"YES"):
            raise Refused("identity_suspected")


def _locate(dataset: part10.Dataset, found: Found, values: dict[str, bytes]) -> Pixels:
    """The pixel data element as Pixels; its length must fit what the header says (PS3.5 8)."""
    tag, vr, start, length = found
    is_big = dataset.transfer_syntax == part10.EXPLICIT_BIG
    keyword = part10.PIXEL_KEYWORDS[tag]
    bits = {"PixelData": 0, "FloatPixelData": 32, "DoubleFloatPixelData": 64}[keyword] or _number(
        values, "BitsAllocated"
    )
    pixels = _number(values, "Rows") * _number(values, "Columns")
    samples = _number(values, "SamplesPerPixel", 1)
    if values.get("PhotometricInterpretation", b"").strip(b" \0").endswith(b"_422") and length != UNDEFINED:
        samples = 2  # two pixels share their chroma (PS3.3 C.7.6.3.1.2)
    frames = _number(values, "NumberOfFrames", 1)
    if not (pixels and bits and samples and frames):
        raise Refused("pixel_mismatch")
    if length == UNDEFINED:
        if dataset.transfer_syntax not in part10.ENCAPSULATED or vr not in (b"OB", b"OW"):
            raise Refused("malformed")
        stop = _pixel_end(dataset, found) - 8
        if len(part10.fragments(dataset.data, start, stop - start)) - 1 < frames:
            raise Refused("pixel_mismatch")
        return Pixels(start, stop - start, vr.decode(), True, False, keyword)
    if dataset.transfer_syntax in part10.ENCAPSULATED or vr not in (b"OB", b"OW", b"OF", b"OD", b"UN"):
        raise Refused("malformed")
    expected = (pixels * samples * bits * frames + 7) // 8
    if length < expected:
        raise Refused("pixel_mismatch")
    return Pixels(start, expected, vr.decode(), False, is_big, keyword)


def _number(values: dict[str, bytes], keyword: str, default: int = 0) -> int:
    raw = values.get(keyword, b"")
    if not raw.strip(b" \0") and keyword in ("NumberOfFrames", "SamplesPerPixel"):
        return default
    if keyword == "NumberOfFrames":
        plain = raw.strip(b" \0")
        return int(plain) if plain.isdigit() and len(plain) < 10 else 0
    return int(_U16(raw)[0]) if len(raw) == 2 else 0
