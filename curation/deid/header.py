"""The header walk: original DICOM bytes in, the clean dataset before its pixels out, by exact length accounting.

What belongs here: one pass over the elements, carrying out the policy's decisions. What does not: what the decisions
are (policy), how a value is changed (actions), the pixel bytes, which this module never reads.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap
from uuid import UUID

from pydicom._uid_dict import UID_dictionary

from curation import part10
from curation.deid import actions, codes
from curation.deid.explicit import element, to_explicit
from curation.deid.identity import Identity, codecs_of, decode, drop_naming, harvest, naming_words
from curation.deid.policy import Act, Decision, Policy
from curation.deid.pseudonyms import Pseudonyms, dicom_uid
from curation.part10 import UNDEFINED, Budget, Pixels, Source, short_of
from curation.records import Refused

__all__ = ["Clean", "Identity", "Pixels", "clean_header"]

_HEAD = struct.Struct("<HH2sH").unpack_from
_U32 = struct.Struct("<L").unpack_from
_U16 = struct.Struct("<H").unpack_from
_ITEM = struct.Struct("<4sL").pack
_NUMBER = b"0123456789+-.eE\\ \0"
_TIME = b"0123456789.:-\\ \0"
_CODE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ \\\0"
_MISSING = object()
_NEVER = 1 << 40
_METHOD_TAG, _TEMPORAL_TAG, _PIXEL_GROUP = 0x00120062, 0x00280303, 0x7FE00000
_TEMPORAL = {"modified": b"MODIFIED", "full": b"UNMODIFIED", "removed": b"REMOVED"}
_REGISTERED_UIDS = frozenset(uid.encode() for uid in UID_dictionary)
_OBJECT_UIDS = frozenset({0x0020000D, 0x0020000E, 0x00080018})
_MEMO_ENTRIES = 65536


@dataclass(frozen=True, slots=True)
class Clean:
    """One object, cleaned: `header` is the dataset before its pixels, Explicit VR Little Endian, without file meta.

    `transfer_syntax` is the source's. `pixels` counts in the source buffer; where the source is deflated, in
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


@dataclass(slots=True)
class _Facts:
    """What must be known before the first element is cleaned."""

    charset: bytes = b""
    sop_class: bytes = b""
    study_date: bytes = b""
    name: bytes = b""
    patient_id: bytes = b""
    issuer: bytes = b""
    birth_date: bytes = b""
    sex: bytes = b""
    age: bytes = b""


_FACT_TAGS = {
    0x00080005: "charset",
    0x00080016: "sop_class",
    0x00080020: "study_date",
    0x00080021: "study_date",
    0x00080022: "study_date",
    0x00080023: "study_date",
    0x00100010: "name",
    0x00100020: "patient_id",
    0x00100021: "issuer",
    0x00100030: "birth_date",
    0x00100040: "sex",
    0x00101010: "age",
}


def clean_header(data: Source, policy: Policy, pseudonyms: Pseudonyms, site: str) -> Clean:
    """The object without the person, or Refused. `data` is the whole file; its pixel bytes are not touched.

    Raises Refused: not_dicom, truncated, malformed, too_large, unsupported_syntax, unsupported_class, encrypted,
    no_patient, pixel_mismatch, identity_suspected.
    """
    dataset = part10.open_dataset(data)
    buffer, start, end, found = _plain(dataset)
    facts = _look_ahead(buffer, start, end)
    _check_class(facts, policy)
    walk = _Walk(buffer, policy, pseudonyms, site, facts)
    header = walk.run(start, end)
    if found is None and walk.pixels is not None:
        found = walk.pixels
        part10.check_tail(dataset.data, _pixel_end(dataset, found), dataset.end, walk.budget)
    pixels = _locate(dataset, found, walk.values) if found else None
    needs = policy.classes[facts.sop_class.decode()].needs_pixels
    if pixels is None and needs:
        raise Refused("truncated")
    words = naming_words(walk.seen)
    low = header.lower()
    if any(word in low for word in words):
        header = drop_naming(header, words, policy)
    return _clean(header, dataset, facts, walk, pixels)


def _clean(
    header: bytes, dataset: part10.Dataset, facts: _Facts, walk: _Walk, pixels: Pixels | None
) -> Clean:
    text = {tag: raw.strip(b" \0").decode("latin-1") for tag, raw in walk.uids.items()}
    if len(text) < 3 or not all(text.values()):
        raise Refused("malformed")
    names, other = harvest(walk.seen, walk.codecs)
    accession = walk.accession.strip(b" \0").decode("latin-1")
    identity = Identity(
        site=walk.site,
        patient_id=_text(facts.patient_id),
        issuer=_text(facts.issuer),
        names=names,
        birth_date=_text(facts.birth_date),
        sex=_text(facts.sex),
        accession=accession,
        study_uid=text[0x0020000D],
        other=other,
        patient_name=decode(facts.name.strip(b" \0"), walk.codecs) or "",
    )
    uid = walk.pseudonyms.uid
    return Clean(
        header=header,
        sop_class=facts.sop_class.decode(),
        transfer_syntax=dataset.transfer_syntax,
        instance_id=uid(text[0x00080018]),
        series_id=uid(text[0x0020000E]),
        study_id=uid(text[0x0020000D]),
        patient_id=walk.patient_id,
        accession_id=walk.pseudonyms.accession(walk.site, accession) if accession else None,
        actions=tuple(dict.fromkeys(walk.log)),
        pixels=pixels,
        identity=identity,
        n_frames=_number(walk.values, "NumberOfFrames", 1),
    )


def _text(raw: bytes) -> str:
    return raw.strip(b" \0").decode("latin-1")


_Found = tuple[int, bytes, int, int]


def _plain(dataset: part10.Dataset) -> tuple[bytes | mmap, int, int, _Found | None]:
    """A buffer of Explicit VR LE whose slices are bytes, and the pixel data where they are already known."""
    data = dataset.data
    if dataset.transfer_syntax in (part10.IMPLICIT_LITTLE, part10.EXPLICIT_BIG):
        is_big = dataset.transfer_syntax == part10.EXPLICIT_BIG
        header, found = to_explicit(dataset, is_big_endian=is_big)
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


def _pixel_end(dataset: part10.Dataset, found: _Found) -> int:
    """Where the pixel data element ends in the source."""
    _, _, start, length = found
    if length != UNDEFINED:
        if length > dataset.end - start:
            raise short_of(dataset.data, dataset.end)
        return start + length
    return part10.skip_items(dataset.data, start, dataset.end, Budget(), depth=1)


def _look_ahead(data: bytes | mmap, pos: int, end: int) -> _Facts:
    """Patient, class, character set and dates, from the elements up to (0010,1010)."""
    facts, budget = _Facts(), Budget()
    while pos < end:
        tag, _, start, length = part10.explicit_header(data, pos, end)
        if tag >> 16 == 0x0004:  # a DICOMDIR: names and file names, and no object
            raise Refused("unsupported_class")
        if tag > 0x00101010:
            break
        name = _FACT_TAGS.get(tag)
        if length == UNDEFINED:
            _, pos = part10.skip_element(data, pos, end, budget)
            continue
        if length > end - start:
            raise short_of(data, end)
        pos = start + length
        if name is not None and not getattr(facts, name).strip(b" \0"):
            setattr(facts, name, data[start:pos])
    return facts


def _check_class(facts: _Facts, policy: Policy) -> None:
    facts.sop_class = facts.sop_class.strip(b" \0")
    if not facts.sop_class:
        raise Refused("malformed")
    known = policy.classes.get(facts.sop_class.decode("latin-1"))
    if known is None or not known.is_released:
        raise Refused("unsupported_class")
    if not facts.patient_id.strip(b" \0"):
        raise Refused("no_patient")


def _locate(dataset: part10.Dataset, found: _Found, values: dict[str, bytes]) -> Pixels:
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


class _Walk:
    """One pass over one dataset."""

    def __init__(
        self, data: bytes | mmap, policy: Policy, pseudonyms: Pseudonyms, site: str, facts: _Facts
    ) -> None:
        self.data = data
        self.policy = policy
        self.pseudonyms = pseudonyms
        self.site = site
        self.facts = facts
        self.codecs = codecs_of(facts.charset)
        self.patient_id = pseudonyms.patient(site, _text(facts.patient_id), _text(facts.issuer))
        self.days = pseudonyms.offset_days(self.patient_id) if policy.profile.dates == "modified" else 0
        self.budget = Budget()
        self.log: list[tuple[str, str]] = []
        self.seen: list[tuple[str, bytes]] = []
        self.values: dict[str, bytes] = {}
        self.uids: dict[int, bytes] = {}
        self.accession = b""
        self.pixels: _Found | None = None
        self.memo = policy.memo
        if len(self.memo) > _MEMO_ENTRIES:
            self.memo.clear()

    def run(self, start: int, end: int) -> bytes:
        """The clean dataset up to the pixel data."""
        try:
            out, _ = self.elements(start, end, 0, is_open=False)
        except struct.error:
            # unpacking met the end of the buffer
            raise short_of(self.data, end) from None
        if out is None:
            raise Refused("malformed")
        return out

    def elements(self, pos: int, end: int, depth: int, *, is_open: bool) -> tuple[bytes | None, int]:
        """Elements up to end, the item delimiter (is_open) or the pixel data; None for an item that may not stay.

        One long loop on purpose: it runs once an element, and kept elements are copied in runs, not one by one.
        """
        data, by_vr, budget = self.data, self.policy.walk, self.budget
        out: list[bytes] = []
        run, last, n = pos, -1, 0
        mark = _NEVER if depth else _METHOD_TAG
        coded: dict[int, bytes] | None = None
        is_dead = False
        while pos < end:
            group, number, vr, length = _HEAD(data, pos)
            tag = group << 16 | number
            n += 1
            entry = by_vr.get(vr)
            if entry is None:
                if is_open and tag == part10.ITEM_END and _U32(data, pos + 4)[0] == 0 and end - pos >= 8:
                    break
                raise Refused("malformed")
            is_long, rules = entry
            start = pos + 8
            if is_long:
                length = _U32(data, start)[0]
                start += 4
            if tag <= last:
                raise Refused("malformed")
            last = tag
            if tag >= mark:
                if run < pos:
                    out.append(data[run:pos])
                    run = pos
                if depth:
                    is_dead |= self.flush_code(out, coded)
                    coded, mark = None, _NEVER
                else:
                    mark = self.pass_mark(out, tag, mark)
                    if mark == _PIXEL_GROUP and tag in part10.PIXEL_KEYWORDS:
                        self.pixels = (tag, vr, start, length)
                        break
            if length & 1:
                # odd, or undefined: the slow road
                if run < pos:
                    out.append(data[run:pos])
                chunk, pos = self.odd(tag, vr, start, length, end, depth, rules)
                run = pos
                if chunk:
                    out.append(chunk)
                continue
            stop = start + length
            if stop > end:
                raise short_of(data, end)
            rule = rules.get(tag, _MISSING)
            if rule is None:
                pos = stop
                continue
            if rule is Act.NUMBER:
                if not data[start:stop].strip(_NUMBER):
                    pos = stop
                    continue
            elif rule is Act.CODE and length <= 16 and not data[start:stop].strip(_CODE):
                pos = stop
                continue
            if run < pos:
                out.append(data[run:pos])
            pos = run = stop
            if type(rule) is Decision and rule.act is Act.CODED:
                if depth:
                    coded = coded or {}
                    coded[tag] = data[start:stop]
                    mark = codes.LAST + 1
                continue
            chunk = self.value(rule, tag, vr, start, stop, depth)
            if chunk:
                out.append(chunk)
        else:
            if is_open:
                raise short_of(data, end)
        budget.left -= n
        if budget.left < 0:
            raise Refused("too_large")
        if run < pos:
            out.append(data[run:pos])
        if coded is not None:
            is_dead |= self.flush_code(out, coded)
        while not depth and mark < _PIXEL_GROUP:
            mark = self.pass_mark(out, _PIXEL_GROUP, mark)
        return (None if is_dead else b"".join(out)), pos

    def pass_mark(self, out: list[bytes], tag: int, mark: int) -> int:
        """Write rwid's own elements where their place in the order has come; gives the next mark."""
        if mark == _METHOD_TAG:
            out.append(self.policy.method)
            mark = _TEMPORAL_TAG
        if mark == _TEMPORAL_TAG and tag >= mark:
            out.append(element(_TEMPORAL_TAG, b"CS", _TEMPORAL[self.policy.profile.dates]))
            mark = _PIXEL_GROUP
        return mark

    def flush_code(self, out: list[bytes], coded: dict[int, bytes] | None) -> bool:
        """Write a coded entry; True where the item must go."""
        if not coded:
            return False
        key = ("code", *sorted(coded.items()))
        if key not in self.memo:
            self.memo[key] = codes.clean_code(coded) or b""
        chunk = self.memo[key]
        out.append(chunk)
        self.log.append(("(0008,0104)", "C" if chunk else "X"))
        return not chunk

    def odd(
        self, tag: int, vr: bytes, start: int, length: int, end: int, depth: int, rules: Mapping[int, object]
    ) -> tuple[bytes, int]:
        """An element of undefined or odd length: what is written for it, and where it ends."""
        rule = rules.get(tag, _MISSING)
        if length != UNDEFINED:
            stop = start + length
            if stop > end:
                raise short_of(self.data, end)
            if vr == b"SQ":
                raise Refused("malformed")
            if type(rule) is Decision and rule.act is not Act.CODED:
                return self.value(rule, tag, vr, start, stop, depth), stop
            if rule is Act.NUMBER and not self.data[start:stop].strip(_NUMBER):
                return element(tag, vr, self.data[start:stop]), stop
            if rule is Act.CODE:
                return self.code(tag, vr, self.data[start:stop]), stop
            self.note(tag)
            return b"", stop
        if vr == b"SQ" and isinstance(rule, Decision):
            content, pos = self.items(start, end, depth + 1, is_open=True)
            return self.sequence(rule, tag, content), pos
        if vr not in (b"SQ", b"UN", b"OB", b"OW"):  # OB, OW: an encapsulated icon
            raise Refused("malformed")
        self.note(tag)
        return b"", part10.skip_items(
            self.data, start, end, self.budget, depth=depth + 1, is_implicit=vr == b"UN"
        )

    def note(self, tag: int) -> None:
        """Log an element as removed."""
        self.log.append((f"({tag >> 16:04x},{tag & 0xFFFF:04x})", "X"))

    def items(self, pos: int, end: int, depth: int, *, is_open: bool) -> tuple[bytes, int]:
        """The items of a sequence with defined lengths, and where the sequence ends."""
        if depth > part10.MAX_DEPTH:
            raise Refused("malformed")
        data, out = self.data, []
        while is_open or pos < end:
            tag, length, pos = part10.item_header(data, pos, end, self.budget)
            if tag == part10.SEQUENCE_END and is_open:
                break
            if tag != part10.ITEM:
                raise Refused("malformed")
            if length == UNDEFINED:
                content, pos = self.elements(pos, end, depth, is_open=True)
                pos += 8
            else:
                if length > end - pos:
                    raise short_of(data, end)
                content, pos = self.elements(pos, pos + length, depth, is_open=False)
            if content is not None:
                out.append(_ITEM(b"\xfe\xff\x00\xe0", len(content)))
                out.append(content)
        return b"".join(out), pos

    def sequence(self, rule: Decision, tag: int, content: bytes) -> bytes:
        """A sequence written, emptied or removed; its items have been walked either way, for what they name."""
        if rule.act is Act.SEQUENCE or rule.act is Act.UID:
            return element(tag, b"SQ", content)
        self.log.append(rule.log)
        return element(tag, b"SQ", b"") if rule.act is Act.EMPTY else b""

    def value(self, rule: object, tag: int, vr: bytes, start: int, stop: int, depth: int) -> bytes:
        """One element of defined length carried out; b"" where it is removed."""
        if not isinstance(rule, Decision):
            if rule is Act.CODE:
                return self.code(tag, vr, self.data[start:stop])
            self.note(tag)
            return b""
        if vr == b"SQ":
            content, _ = self.items(start, stop, depth + 1, is_open=False)
            return self.sequence(rule, tag, content)
        if rule.act is Act.DROP and not rule.harvest:
            self.log.append(rule.log)
            return b""
        raw = self.data[start:stop]
        if rule.harvest and raw:
            self.seen.append((rule.harvest, raw))
            if tag == 0x00080050 and not depth:
                self.accession = raw
        if rule.fact and not depth:
            self.values[rule.keyword] = raw
        return _CARRY_OUT[rule.act](self, rule, tag, vr, raw, depth)

    def keep(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        return b"" if len(raw) & 1 else element(tag, vr, raw)

    def number(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        if raw.strip(_NUMBER):
            self.note(tag)
            return b""
        return element(tag, vr, raw)

    def time(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        if raw.strip(_TIME):
            self.note(tag)
            return element(tag, vr, b"")
        return element(tag, vr, raw)

    def fact_code(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        return self.code(tag, vr, raw)

    def code(self, tag: int, vr: bytes, raw: bytes) -> bytes:
        """A coded string; one that breaks its grammar is reduced to safe words in upper case."""
        if not raw.strip(_CODE) and all(len(v.strip(b" \0")) <= 16 for v in raw.split(b"\\")):
            return element(tag, vr, raw)
        self.log.append((f"({tag >> 16:04x},{tag & 0xFFFF:04x})", "C"))
        if not raw.isascii():
            return b""
        words = [actions.clean_words(v).upper()[:16] for v in raw.decode("ascii").split("\\")]
        value = "\\".join(words).encode()
        return b"" if value.strip(_CODE) or not value.strip(b"\\ ") else element(tag, vr, value)

    def plain(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        text = raw.rstrip(b" \0")
        if text.isascii() and text.decode("ascii").isprintable():
            return element(tag, vr, text)
        self.note(tag)
        return b""

    def drop(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        return b""

    def empty(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        return element(tag, vr, b"")

    def dummy(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        return element(tag, vr, actions.dummy(vr))

    def uid(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        if not depth and tag in _OBJECT_UIDS:
            self.uids[tag] = raw
        plain = raw.rstrip(b" \0")
        if not plain:
            return element(tag, vr, b"")
        if plain in _REGISTERED_UIDS and tag not in _OBJECT_UIDS:
            return element(tag, vr, plain)
        self.log.append(rule.log)
        parts = [
            p if p in _REGISTERED_UIDS and tag not in _OBJECT_UIDS
            else dicom_uid(self.pseudonyms.uid(p.strip(b" \0").decode("latin-1"))).encode() if p else b""
            for p in plain.split(b"\\")
        ]  # fmt: skip
        return element(tag, vr, b"\\".join(parts))

    def date(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        key = (raw, self.days, vr)
        moved = self.memo.get(key)
        if moved is None:
            shift = actions.shift_date if vr == b"DA" else actions.shift_datetime
            moved = self.memo[key] = shift(raw, self.days)
        return element(tag, vr, moved)

    def age(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append((rule.log[0], "C"))
        return element(tag, vr, actions.cap_age(raw))

    def words(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        key = (raw, vr, self.codecs)
        cleaned = self.memo.get(key)
        if cleaned is None:
            cleaned = self.memo[key] = self.safe_words(raw, vr)
        return element(tag, vr, cleaned)

    def safe_words(self, raw: bytes, vr: bytes) -> bytes:
        """The safe words of a text value in its own character set; b"" where the bytes contradict that set."""
        text = decode(raw.strip(b" \0"), self.codecs)
        if text is None or self.codecs is None:
            return b""
        values = [text] if vr in (b"ST", b"LT", b"UT") else text.split("\\")
        cleaned = "\\".join(actions.clean_words(v) for v in values)
        if not cleaned.strip("\\"):
            return b""
        try:
            return cleaned.encode(self.codecs[0])
        except UnicodeEncodeError:
            return cleaned.encode("ascii", "ignore")

    def patient_name(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        return element(tag, vr, b"" if depth else self.patient_id.hex[:8].encode())

    def patient(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        return element(tag, vr, b"" if depth else str(self.patient_id).encode())

    def birth_date(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        self.log.append(rule.log)
        moved = b"" if depth else actions.birth_date(raw, self.days, self.facts.study_date, self.facts.age)
        return element(tag, vr, moved)

    def charset(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        # an item may name another set; then its text is read by the dataset's own, and dropped where that fails
        return element(tag, vr, raw) if self.codecs is not None and codecs_of(raw) is not None else b""

    def burned_in(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        plain = raw.strip(b" \0")
        if plain.upper() == b"YES":
            raise Refused("identity_suspected")
        return element(tag, vr, b"NO") if plain == b"NO" else b""

    def nothing(self, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
        return b""


_CARRY_OUT = {
    Act.KEEP: _Walk.keep,
    Act.NUMBER: _Walk.number,
    Act.CODE: _Walk.fact_code,
    Act.PLAIN: _Walk.plain,
    Act.DROP: _Walk.drop,
    Act.EMPTY: _Walk.empty,
    Act.DUMMY: _Walk.dummy,
    Act.UID: _Walk.uid,
    Act.DATE: _Walk.date,
    Act.TIME: _Walk.time,
    Act.AGE: _Walk.age,
    Act.WORDS: _Walk.words,
    Act.SEQUENCE: _Walk.nothing,
    Act.PATIENT_NAME: _Walk.patient_name,
    Act.PATIENT_ID: _Walk.patient,
    Act.BIRTH_DATE: _Walk.birth_date,
    Act.CHARSET: _Walk.charset,
    Act.CODED: _Walk.nothing,
    Act.BURNED_IN: _Walk.burned_in,
    Act.MARKER: _Walk.nothing,
}
