"""One value carried out: what the policy decided, done to one element of defined length.

What belongs here: a function an Act, from an element's bytes to the element written (b"" where it is removed). What
does not: lengths, nesting and order (walk), the changes themselves (actions).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pydicom._uid_dict import UID_dictionary

from curation.deid import actions
from curation.deid.charset import codecs_of, decode
from curation.deid.encoded import holds_encoded_text
from curation.deid.explicit import element
from curation.deid.icc import neutral_profile
from curation.deid.memory import Context
from curation.deid.policy import Act, Decision
from curation.deid.profile import read_rows
from curation.deid.pseudonyms import dicom_uid
from curation.deid.tables import DESCRIPTOR_OF, is_table
from curation.records import Refused

NUMBER = b"0123456789+-.eE\\ \0"
CODE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ \\\0"
OBJECT_UIDS = frozenset({0x0020000D, 0x0020000E, 0x00080018})
TIME = b"0123456789.:-\\ \0"
_REGISTERED_UIDS = frozenset(uid.encode() for uid in UID_dictionary) | frozenset(
    row["sop_class"].encode() for row in read_rows("classes.csv")
)
"""The dictionary at hand, and the SOP classes of newer editions that rules/classes.csv knows."""


def is_registered(uid: bytes) -> bool:
    """Whether the standard itself gives this UID a meaning."""
    return uid in _REGISTERED_UIDS


def keep(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """As it is."""
    return b"" if len(raw) & 1 else element(tag, vr, raw)


def number(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """As it is where it is numbers (IS, DS, and DA and DT under full dates)."""
    if raw.strip(NUMBER):
        walk.note(tag)
        return b""
    return element(tag, vr, raw)


def time_of_day(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """As it is where it is a time of day."""
    return time(walk, tag, vr, raw)


def time(walk: Context, tag: int, vr: bytes, raw: bytes) -> bytes:
    """A time of day; anything else is emptied."""
    if raw.strip(TIME):
        walk.note(tag)
        return element(tag, vr, b"")
    return element(tag, vr, raw)


def fact_code(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """A coded string."""
    return code(walk, tag, vr, raw)


def code(walk: Context, tag: int, vr: bytes, raw: bytes) -> bytes:
    """A coded string; one that breaks its grammar is reduced to safe words in upper case."""
    is_code = not raw.strip(CODE) and all(len(v.strip(b" \0")) <= 16 for v in raw.split(b"\\"))
    if is_code and not holds_encoded_text(raw):
        return element(tag, vr, raw)
    walk.log.append((f"({tag >> 16:04x},{tag & 0xFFFF:04x})", "C"))
    if not raw.isascii():
        return b""
    words = [actions.clean_words(v).upper()[:16] for v in raw.decode("ascii").split("\\")]
    value = "\\".join(words).encode()
    return b"" if value.strip(CODE) or not value.strip(b"\\ ") else element(tag, vr, value)


def plain(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """As it is where it is printable ASCII."""
    text = raw.rstrip(b" \0")
    if vr != b"UI" and (_PERSON_FORM.search(text) or holds_encoded_text(text)):
        return words(walk, rule, tag, vr, raw, depth)
    if vr == b"UI" and text.strip(b"0123456789.\\"):
        walk.note(tag)
        return b""
    if text.isascii() and text.decode("ascii").isprintable():
        return element(tag, vr, text)
    walk.note(tag)
    return b""


_PERSON_FORM = re.compile(
    rb"(?i)\^|@|\b(?:dr|prof|professor|doctor|mr|mrs|ms|miss|herr|frau|md|phd|patient|pat)\b|[a-z]{2,}, ?[a-z]{2,}|&#?\w+;|%[0-9a-f]{2}"
)
"""A title, Family, Given, an address, or characters written as numbers: no maker or model is called like this."""


def table(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """A table as its descriptor says; at the top level a palette only where pixels or a presentation may use it."""
    descriptor = walk.values.pop(f"{DESCRIPTOR_OF[tag]:08x}", b"")
    has_use = depth or _PALETTE_USERS.intersection(
        walk.values.get(name, b"").strip(b" \0")
        for name in ("PhotometricInterpretation", "PixelPresentation", "Modality")
    )
    if not (has_use and is_table(tag, raw, descriptor)):
        return walk.removed(tag)
    walk.seen.append(("table", b""))
    return element(tag, vr, raw)


_PALETTE_USERS = frozenset((b"PALETTE COLOR", b"COLOR", b"MIXED", b"TRUE_COLOR", b"PR", b"SEG", b"PMAP"))


def drop(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Removed."""
    walk.log.append(rule.log)
    return b""


def empty(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Of zero length."""
    walk.log.append(rule.log)
    return element(tag, vr, b"")


def dummy(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """A dummy of the VR."""
    walk.log.append(rule.log)
    return element(tag, vr, actions.dummy(vr))


def uid(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Keyed UIDs for all that the standard does not register."""
    plain = raw.rstrip(b" \0")
    if not plain:
        return element(tag, vr, b"")
    if plain in _REGISTERED_UIDS and tag not in OBJECT_UIDS:
        return element(tag, vr, plain)
    walk.log.append(rule.log)
    parts = [
        p if p in _REGISTERED_UIDS and tag not in OBJECT_UIDS
        else dicom_uid(walk.pseudonyms.uid(p.strip(b" \0").decode("latin-1"))).encode() if p else b""
        for p in plain.split(b"\\")
    ]  # fmt: skip
    return element(tag, vr, b"\\".join(parts))


def date(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Moved by the patient's offset."""
    walk.log.append(rule.log)
    key = (raw, walk.days, vr, walk.facts.zone)
    moved = walk.memo.get(key)
    if moved is None:
        moved = (
            actions.shift_date(raw, walk.days)
            if vr == b"DA"
            else actions.shift_datetime(raw, walk.days, walk.facts.zone)
        )
        walk.memo[key] = moved
    return element(tag, vr, moved)


def age(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """At most 90 years."""
    walk.log.append((rule.log[0], "C"))
    return element(tag, vr, actions.cap_age(raw))


def words(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Words of the safe vocabulary."""
    walk.log.append(rule.log)
    key = (raw, vr, walk.codecs)
    cleaned = walk.memo.get(key)
    if cleaned is None:
        cleaned = walk.memo[key] = safe_words(walk, raw, vr)
    return element(tag, vr, cleaned or actions.emptied(tag, vr))


def safe_words(walk: Context, raw: bytes, vr: bytes) -> bytes:
    """The safe words of a text value in its own character set; b"" where the bytes contradict that set."""
    text = decode(raw.strip(b" \0"), walk.codecs)
    if text is None or walk.codecs is None:
        return b""
    values = [text] if vr in (b"ST", b"LT", b"UT") else text.split("\\")
    cleaned = "\\".join(actions.clean_words(v) for v in values)
    if not cleaned.strip("\\"):
        return b""
    try:
        return cleaned.encode(walk.codecs[0])
    except UnicodeEncodeError:
        return cleaned.encode("ascii", "ignore")


def patient_name(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """The first letters of the pseudonym."""
    walk.log.append(rule.log)
    return element(tag, vr, b"" if depth else walk.patient_id.hex[:8].encode())


def patient(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """The pseudonym."""
    walk.log.append(rule.log)
    return element(tag, vr, b"" if depth else str(walk.patient_id).encode())


def birth_date(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Moved, and not before 90 years before the study."""
    walk.log.append(rule.log)
    moved = b"" if depth else actions.birth_date(raw, walk.days, walk.facts.study_date, walk.facts.age)
    return element(tag, vr, moved)


def charset(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """As it is where every term is registered."""
    # an item may name another set; then its text is read by the dataset's own, and dropped where that fails
    return element(tag, vr, raw) if walk.codecs is not None and codecs_of(raw) is not None else b""


def burned_in(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """NO stays. YES withholds the object, unless the policy has its pixels cleaned: then YES stays for who does that."""
    plain = raw.strip(b" \0").upper()
    if plain == b"YES" and "clean_pixel_data" not in walk.policy.profile.options:
        raise Refused("identity_suspected")
    return element(tag, vr, plain) if plain in (b"NO", b"YES") else b""


def nothing(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """Removed; somebody else writes it, or nobody."""
    return b""


def colour_profile(walk: Context, rule: Decision, tag: int, vr: bytes, raw: bytes, depth: int) -> bytes:
    """A colour profile without words; removed where it is none."""
    walk.log.append(rule.log)
    try:
        return element(tag, vr, neutral_profile(raw))
    except Refused:
        return b""


CARRY_OUT: Mapping[Act, Callable[[Context, Decision, int, bytes, bytes, int], bytes]] = {
    Act.KEEP: keep,
    Act.ICC: colour_profile,
    Act.NUMBER: number,
    Act.CODE: fact_code,
    Act.PLAIN: plain,
    Act.TABLE: table,
    Act.DROP: drop,
    Act.EMPTY: empty,
    Act.DUMMY: dummy,
    Act.UID: uid,
    Act.DATE: date,
    Act.TIME: time_of_day,
    Act.AGE: age,
    Act.WORDS: words,
    Act.SEQUENCE: nothing,
    Act.PATIENT_NAME: patient_name,
    Act.PATIENT_ID: patient,
    Act.BIRTH_DATE: birth_date,
    Act.CHARSET: charset,
    Act.CODED: nothing,
    Act.BURNED_IN: burned_in,
    Act.MARKER: nothing,
}
