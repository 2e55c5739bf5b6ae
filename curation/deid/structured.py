"""Structured reports: the content tree cleaned item by item, as Table E.3.4-1 of PS3.15 says, and still a valid tree.

What belongs here: what becomes of a content item by its concept and value type, references between items, and what the
tree says about people. What does not: the report's other attributes (walk), free text (text), bytes (tree).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from pydicom.datadict import tag_for_keyword

from curation.deid import codes
from curation.deid.actions import (
    OLDEST_YEARS,
    dummy,
    is_safe_word,
    shift_date,
    shift_datetime,
    vocabulary,
)
from curation.deid.charset import decode
from curation.deid.identity import Identity
from curation.deid.lexicon import ANY, LANGUAGES, Kind, Lexicon, lexicon
from curation.deid.policy import Policy, read_rows
from curation.deid.pseudonyms import Pseudonyms, dicom_uid
from curation.deid.spelling import fold
from curation.deid.text import clean_text
from curation.deid.tree import Item, Value, read_items
from curation.deid.values import CODE, NUMBER, TIME, is_registered
from curation.part10 import Budget
from curation.records import Refused

CONTENT = 0x0040A730
_CONCEPT, _VALUE_TYPE, _RELATION, _BY_REFERENCE = 0x0040A043, 0x0040A040, 0x0040A010, 0x0040DB73
TEMPLATE, _MEASURED = 0x0040A504, 0x0040A300
OBSERVERS = 0x0040A073
_VERIFIER, _VERIFIER_PLACE, _VERIFIED_AT, _VERIFIER_CODE = 0x0040A075, 0x0040A027, 0x0040A030, 0x0040A088
_MAPPING_RESOURCE = 0x00080105
_NUMERIC = (0x0040A30A, 0x0040A161, 0x0040A162, 0x0040A163)
_UNITS = 0x004008EA
VALUE_OF = {
    "TEXT": (0x0040A160, b"UT"),
    "PNAME": (0x0040A123, b"PN"),
    "DATE": (0x0040A121, b"DA"),
    "TIME": (0x0040A122, b"TM"),
    "DATETIME": (0x0040A120, b"DT"),
    "UIDREF": (0x0040A124, b"UI"),
}
"""Value types that hold one plain value: its tag and VR."""
PRIVATE_SCHEME = b"99RWID"
_MIN_WORDS = 6


@dataclass(frozen=True, slots=True)
class Around:
    """What the object around the tree says, and by what rules it is cleaned. RESTRICTED."""

    policy: Policy
    pseudonyms: Pseudonyms
    identity: Identity
    patient_id: UUID
    days: int
    codecs: tuple[str, ...] | None
    words: frozenset[bytes]
    """Lower-case words that name the person."""


def clean_content(items: Sequence[Item], around: Around) -> tuple[list[Item], list[tuple[str, str]]]:
    """The items of the root's Content Sequence without the person, and the actions for the log."""
    cleaner = Cleaner(around)
    kept = cleaner.children(items, ("1",))
    paths = dict(_paths(kept, ("1",)))
    return [_plain(item) for item in _resolved(kept, paths)], list(dict.fromkeys(cleaner.log))


def clean_items(items: Sequence[Item], around: Around) -> tuple[list[Item], list[tuple[str, str]]]:
    """Content items outside of a tree (PS3.3 10.2: Acquisition Context, Specimen Preparation), likewise."""
    cleaner = Cleaner(around)
    kept = cleaner.children(items, ())
    return [_plain(node.item) for node in kept], list(dict.fromkeys(cleaner.log))


def clean_observers(items: Sequence[Item], around: Around) -> list[Item]:
    """Those who verified the report, as dummies (action D): a verified report must name somebody (PS3.3 C.17.2)."""
    dates = {"modified": "C", "full": "K"}.get(around.policy.profile.dates, "X")
    out: list[Item] = []
    for item in items:
        raw = item.get(_VERIFIED_AT, (b"DT", b""))[1]
        moved = Cleaner(around).date(b"DT", raw, dates) if isinstance(raw, bytes) else b""
        out.append(
            {
                _VERIFIER_PLACE: (b"LO", dummy(b"LO")),
                _VERIFIED_AT: (b"DT", moved or dummy(b"DT")),
                _VERIFIER: (b"PN", dummy(b"PN")),
                _VERIFIER_CODE: (b"SQ", []),
            }
        )
    return out


def harvest_observers(items: Sequence[Item]) -> Iterator[tuple[str, bytes]]:
    """Who verified the report and where they work, as harvest gives it."""
    for item in items:
        for tag, kind in ((_VERIFIER, "name"), (_VERIFIER_PLACE, "place")):
            raw = item.get(tag, (b"", b""))[1]
            if isinstance(raw, bytes) and raw.strip(b" \0"):
                yield kind, raw.strip(b" \0")


def clean_template(items: Sequence[Item], around: Around) -> list[Item]:
    """The root's template, where it is one of the standard's own."""
    return Cleaner(around).sequence(TEMPLATE, list(items), "K")


def _plain(item: Item) -> Item:
    return dict(sorted(item.items()))


def harvest(items: Sequence[Item], policy: Policy) -> Iterator[tuple[str, bytes]]:
    """What the tree says about people and places, as (kind, raw value), to be looked for everywhere else."""
    skipped = "place" if "retain_institution_identity" in policy.profile.options else ""
    book = {(r["scheme"], r["code"], r["value_type"]): r["harvest"] for r in read_rows("content_beyond.csv")}
    for item in items:
        value_type = _text(item, _VALUE_TYPE)
        tag, _ = VALUE_OF.get(value_type, (0, b""))
        raw = item.get(tag, (b"", b""))[1]
        kind = book.get((*_key(item), value_type), "") or ("name" if value_type == "PNAME" else "")
        if kind and kind != skipped and isinstance(raw, bytes) and raw.strip(b" \0"):
            yield kind, raw.strip(b" \0")
        children = item.get(CONTENT, (b"", []))[1]
        if isinstance(children, list):
            yield from harvest(children, policy)


@dataclass(slots=True)
class _Node:
    """One kept item, where it stood (as Referenced Content Item Identifier counts, PS3.3 C.17.3.2.5), and its children."""

    item: Item
    path: tuple[str, ...]
    children: list[_Node]


def _paths(
    nodes: Sequence[_Node], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Where each kept item stood, and where it stands now."""
    for n, node in enumerate(nodes, 1):
        here = (*above, str(n))
        yield node.path, here
        yield from _paths(node.children, here)


def _resolved(nodes: Sequence[_Node], paths: Mapping[tuple[str, ...], tuple[str, ...]]) -> list[Item]:
    """The items with their children; references to items point at where those stand now."""
    out = []
    for node in nodes:
        item = dict(node.item)
        target = item.get(_BY_REFERENCE)
        if target is not None and isinstance(target[1], bytes):
            steps = _identifier(target[1])
            now = paths.get(steps) or (("1",) if steps == ("1",) else None)
            assert now is not None  # nodes with a lost target were taken out before positions were counted
            item[_BY_REFERENCE] = (b"UL", b"".join(int(step).to_bytes(4, "little") for step in now))
        if node.children:
            item[CONTENT] = (b"SQ", [_plain(child) for child in _resolved(node.children, paths)])
        out.append(item)
    return out


def _identifier(raw: bytes) -> tuple[str, ...]:
    return tuple(str(int.from_bytes(raw[i : i + 4], "little")) for i in range(0, len(raw), 4))


def _text(item: Item, tag: int) -> str:
    value = item.get(tag, (b"", b""))[1]
    return value.strip(b" \0").decode("ascii", "replace") if isinstance(value, bytes) else ""


def _key(item: Item) -> tuple[str, str]:
    """Scheme and code of the concept name; SNOMED RT codes by their SNOMED CT ones, as the table names them."""
    names = item.get(_CONCEPT, (b"", []))[1]
    if not isinstance(names, list) or not names:
        return "", ""
    scheme, code = (
        _text(names[0], codes.SCHEME),
        _text(names[0], codes.VALUE) or _text(names[0], codes.LONG_VALUE),
    )
    return (
        ("SCT", _snomed()[code])
        if scheme in ("SRT", "SNM3", "99SDM") and code in _snomed()
        else (scheme, code)
    )


@cache
def _snomed() -> Mapping[str, str]:
    from pydicom.sr._snomed_dict import mapping

    return mapping["SRT"]


@cache
def _rows() -> Mapping[tuple[str, str, str], Mapping[str, str]]:
    return {(r["scheme"], r["code"], r["value_type"]): r for r in read_rows("ps315_content_2026d.csv")}


@cache
def _beyond() -> Mapping[tuple[str, str, str], str]:
    return {(r["scheme"], r["code"], r["value_type"]): r["action"] for r in read_rows("content_beyond.csv")}


@cache
def _allowed() -> Mapping[tuple[str, int], frozenset[int]]:
    """(value type or *, sequence or 0) to the attributes a content item of that type may hold."""
    found: dict[tuple[str, int], set[int]] = {}
    for row in read_rows("content_values.csv"):
        tags = [tag_for_keyword(row[k]) if row[k] else 0 for k in ("sequence", "keyword")]
        found.setdefault((row["value_type"], tags[0] or 0), set()).add(tags[1] or 0)
    return {key: frozenset(tags) for key, tags in found.items()}


def action_of(scheme: str, code: str, value_type: str, policy: Policy) -> str:
    """The single action of Table E.3.4-1 on a content item under the profile's options; "" where no row names it.

    Options decide in the order of options.csv; where a row leaves remove or dummy open (X/D), a dummy is written: it
    tells nothing, and the template may require the item.
    """
    own = _beyond().get((scheme, code, value_type), "")
    row = _rows().get((scheme, code, value_type))
    if row is None:
        return own
    code_of_option = next(
        (
            row[option["option"]]
            for option in read_rows("options.csv")
            if option["option"] in policy.profile.options and row.get(option["option"])
        ),
        "",
    )
    if own and code_of_option:
        return own
    return code_of_option or ("D" if row["basic"] == "X/D" else row["basic"])


class Cleaner:
    """One pass over one tree."""

    def __init__(self, around: Around) -> None:
        self.around = around
        self.options = frozenset(around.policy.profile.options)
        self.log: list[tuple[str, str]] = []

    def children(self, items: Sequence[Item], above: tuple[str, ...]) -> list[_Node]:
        """The items that stay, cleaned; those go too whose reference leads to an item that went."""
        nodes = [
            node for n, item in enumerate(items, 1) if (node := self.node(item, (*above, str(n)))) is not None
        ]
        if above != ("1",):
            return nodes
        while True:
            known = {("1",), *(path for path, _ in _paths(nodes, ("1",)))}
            if not _prune(nodes, known):
                return nodes

    def node(self, item: Item, path: tuple[str, ...]) -> _Node | None:
        """One item with what stays below it; None where it goes."""
        if _BY_REFERENCE in item:
            relation = self.scalar(_RELATION, *item.get(_RELATION, (b"CS", b"")))
            target = item[_BY_REFERENCE]
            if target[0] != b"UL" or not isinstance(target[1], bytes) or len(target[1]) % 4:
                raise Refused("malformed")
            return _Node({_RELATION: (b"CS", relation), _BY_REFERENCE: target}, path, [])
        value_type = _text(item, _VALUE_TYPE)
        if (value_type, 0) not in _allowed():
            self.note(CONTENT, "X")
            return None
        scheme, code = _key(item)
        action = action_of(scheme, code, value_type, self.around.policy) or self.by_type(value_type)
        if action == "X":
            self.note(VALUE_OF.get(value_type, (CONTENT, b""))[0], "X")
            return None
        clean = self.attributes(item, value_type, action)
        if clean is None:
            self.note(CONTENT, "X")
            return None
        below = item.get(CONTENT, (b"", []))[1]
        children = self.children(below, path) if isinstance(below, list) else []
        if value_type in ("SCOORD", "TCOORD") and not any(_selects(c.item) for c in children):
            self.note(CONTENT, "X")  # coordinates of an image that is not named any more say nothing
            return None
        return _Node(clean, path, children)

    def by_type(self, value_type: str) -> str:
        """What becomes of an item that no row names."""
        if value_type in ("DATE", "TIME", "DATETIME"):
            return {"modified": "C", "full": "K", "removed": "D"}[self.around.policy.profile.dates]
        if value_type == "TEXT":
            return "C" if "clean_descriptors" in self.options else "D"
        if value_type in ("UIDREF", "IMAGE", "COMPOSITE", "WAVEFORM"):
            return "K" if "retain_uids" in self.options else "D"
        return "D" if value_type == "PNAME" else "K"

    def attributes(self, item: Item, value_type: str, action: str) -> Item | None:
        """What stays of one item's own attributes; None where one that it cannot be without is not known to be safe."""
        allowed = _allowed()[("*", 0)] | _allowed()[(value_type, 0)]
        out: Item = {}
        for tag, (vr, value) in item.items():
            if tag == CONTENT:
                continue
            if tag not in allowed:
                self.note(tag, "X")
                continue
            made = self.attribute(tag, vr, value, value_type, action)
            if made is not None:
                out[tag] = (vr, made)
        main, main_vr = VALUE_OF.get(value_type, (0, b""))
        if main and not out.get(main, (b"", b""))[1]:
            out[main] = (main_vr, self.dummy_of(main, main_vr, item))
        if value_type in _NAMED and not out.get(_CONCEPT):
            return None
        if value_type == "CODE" and not out.get(0x0040A168):
            return None
        if value_type in ("IMAGE", "COMPOSITE", "WAVEFORM") and not out.get(0x00081199):
            return None
        return out

    def attribute(self, tag: int, vr: bytes, value: Value, value_type: str, action: str) -> Value | None:
        """One attribute of a content item; None where it goes."""
        main = VALUE_OF.get(value_type, (0, b""))[0]
        if isinstance(value, list):
            return self.sequence(tag, value, action) or ([] if tag == _MEASURED else None)
        if tag == main:
            return self.main(tag, vr, value, action)
        return self.scalar(tag, vr, value) or None

    def sequence(self, tag: int, items: list[Item], action: str) -> list[Item]:
        """A sequence of a content item: a code, a measured value, references, the template."""
        allowed = (
            _allowed().get(("NUM", tag)) or _allowed().get(("CONTAINER", tag)) or _allowed().get(("*", tag))
        )
        if allowed is None:
            return [self.code(item) for item in items[:1]]
        if tag == TEMPLATE and not all(_text(item, _MAPPING_RESOURCE) == "DCMR" for item in items):
            self.note(tag, "X")  # a private template may be called anything
            return []
        out: list[Item] = []
        for item in items:
            made: Item = {}
            for inner, (vr, value) in item.items():
                if inner not in allowed:
                    self.note(inner, "X")
                elif isinstance(value, list):
                    if below := self.sequence(inner, value, action):
                        made[inner] = (vr, below)
                elif plain := self.scalar(inner, vr, value):
                    made[inner] = (
                        vr,
                        self.age(item, plain) if action == "AGE" and inner in _NUMERIC else plain,
                    )
            if tag == _MEASURED and (_UNITS not in made or _NUMERIC[0] not in made):
                continue  # a number without its unit says something else
            if made:
                out.append(_plain(made))
        return out

    def code(self, item: Item) -> Item:
        """A coded entry with its scheme's own meaning; an entry of a scheme that is not known gets a keyed code.

        So the tree keeps its shape, and one private concept is the same one in every report, without its words.
        """
        parts = {tag: value for tag, (_, value) in item.items() if isinstance(value, bytes)}
        made = codes.clean_code(parts)
        if made is not None:
            framed = b"\xfe\xff\x00\xe0" + len(made).to_bytes(4, "little") + made
            return read_items(framed, 0, len(framed), len(framed), Budget())[0][0]
        self.note(codes.MEANING, "D")
        told = "\\".join(
            parts.get(t, b"").strip(b" \0").decode("latin-1") for t in (codes.SCHEME, codes.VALUE)
        )
        keyed = self.around.pseudonyms.identifier("private code", told).hex[:16].upper()
        return {
            codes.VALUE: (b"SH", keyed.encode()),
            codes.SCHEME: (b"SH", PRIVATE_SCHEME),
            codes.MEANING: (b"LO", b"Private concept"),
        }

    def scalar(self, tag: int, vr: bytes, value: Value) -> bytes:
        """An attribute beside the main value, kept where its grammar leaves no room for words; b"" otherwise."""
        if not isinstance(value, bytes):
            return b""
        if vr == b"UI":
            return self.uid(value, is_kept="retain_uids" in self.options)
        if vr == b"CS" and not value.strip(CODE) and len(value) <= 18:
            return value
        if vr in (b"DS", b"IS") and not value.strip(NUMBER):
            return value
        if vr in (b"FL", b"FD", b"US", b"UL", b"SL", b"SS"):
            return value if len(value) % {b"FD": 8, b"US": 2, b"SS": 2}.get(vr, 4) == 0 else b""
        if vr == b"DT":
            return self.date(
                vr, value, {"modified": "C", "full": "K"}.get(self.around.policy.profile.dates, "X")
            )
        self.note(tag, "X")
        return b""

    def main(self, tag: int, vr: bytes, raw: bytes, action: str) -> bytes:
        """The value of an item: kept, cleaned, or b"" where a dummy must stand for it."""
        self.note(tag, action)
        if vr == b"UI":
            is_own = self.around.policy.profile.attributes.get("DeviceUID") == "U"
            return self.uid(raw, is_kept="retain_uids" in self.options or (action == "K" and not is_own))
        if action == "D":
            return b""
        if vr in (b"DA", b"TM", b"DT"):
            return self.date(vr, raw, action)
        if vr != b"UT" or tag != VALUE_OF["TEXT"][0]:
            return b""
        return self.retained(raw) if action == "K" else self.free_text(raw)

    def retained(self, raw: bytes) -> bytes:
        """Text that an option keeps: as it is where it is plain and names nobody."""
        plain, low = raw.strip(b" \0"), raw.lower()
        is_plain = plain.isascii() and plain.decode("ascii").isprintable()
        return plain if is_plain and not any(word in low for word in self.around.words) else b""

    def free_text(self, raw: bytes) -> bytes:
        """Text through the text engine; what is too short or too strange to be judged is reduced to safe words.

        b"" where its bytes contradict the character set, or where nothing of it is known to be safe.
        """
        around = self.around
        text = decode(raw.rstrip(b" \0"), around.codecs)
        if text is None:
            return b""
        language = ANY
        try:
            found = clean_text(text, around.identity, around.policy, around.pseudonyms, around.patient_id)
            cleaned, is_judged = found.text, True
            language = found.language if found.language in LANGUAGES else ANY
        except Refused as refusal:
            if refusal.reason == "identity_suspected":
                return b""
            cleaned, is_judged = text, False
        cleaned = known_words(cleaned, lexicon(language), is_judged=is_judged)
        return _encode(cleaned, around.codecs)

    def uid(self, raw: bytes, *, is_kept: bool) -> bytes:
        """UIDs: registered ones as they are, others keyed, or kept where an option says so; b"" where one is none."""
        out = []
        for part in raw.strip(b" \0").split(b"\\"):
            if part.strip(b"0123456789.") or len(part) > 64 or not part:
                return b""
            is_plain = is_kept or is_registered(part)
            out.append(part if is_plain else dicom_uid(self.around.pseudonyms.uid(part.decode())).encode())
        return b"\\".join(out)

    def date(self, vr: bytes, raw: bytes, action: str) -> bytes:
        """A date, time or date-time kept (K) or moved (C)."""
        if vr == b"TM":
            return b"" if raw.strip(TIME) or action not in ("K", "C") else raw
        if action == "K":
            return b"" if raw.strip(NUMBER) else raw
        if action != "C" or self.around.policy.profile.dates != "modified":
            return b""
        move = shift_date if vr == b"DA" else shift_datetime
        return move(raw, self.around.days)

    def age(self, measured: Item, raw: bytes) -> bytes:
        """A number of years, 90 at most; other units pass, since 90 years in months or days are no age of a report."""
        units = measured.get(_UNITS, (b"", []))[1]
        unit = _text(units[0], codes.VALUE) if isinstance(units, list) and units else ""
        per_year = {"a": 1.0, "mo": 12.0, "wk": 52.18, "d": 365.25}.get(unit)
        try:
            value = float(raw.strip(b" \0")) if per_year else 0.0
        except ValueError:
            return b""
        most = OLDEST_YEARS * (per_year or 1.0)
        return raw if value < most else f"{most:g}".encode()

    def dummy_of(self, tag: int, vr: bytes, item: Item) -> bytes:
        """A value that says nothing, where one must stand (PS3.15 E.1, action D); a UID stays consistent."""
        self.note(tag, "D")
        if vr == b"UI":
            raw = item.get(tag, (b"", b""))[1]
            told = raw.decode("latin-1") if isinstance(raw, bytes) else ""
            return dicom_uid(self.around.pseudonyms.uid(told)).encode()
        return dummy(vr)

    def note(self, tag: int, action: str) -> None:
        """Log what became of an attribute; what stays is not logged."""
        if action != "K":
            self.log.append((f"({tag >> 16:04x},{tag & 0xFFFF:04x})", action if len(action) == 1 else "C"))


_NAMED = frozenset({"TEXT", "NUM", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME"})
"""Value types whose concept name is required (PS3.3 Table C.17-5)."""


def _prune(nodes: list[_Node], known: set[tuple[str, ...]]) -> bool:
    """Take out items that refer to items that went; True where one was taken out."""
    before = len(nodes)
    nodes[:] = [
        node
        for node in nodes
        if _BY_REFERENCE not in node.item or _identifier(_bytes(node.item[_BY_REFERENCE][1])) in known
    ]
    below = [_prune(node.children, known) for node in nodes]
    return len(nodes) < before or any(below)


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


def _selects(item: Item) -> bool:
    return _text(item, _RELATION) == "SELECTED FROM"


_TOKEN = re.compile(r"\[[A-Z]+\]|[^\W_]+(?:[.,][0-9]+)*[^\W_]*")


def known_words(text: str, words: Lexicon, *, is_judged: bool) -> str:
    """A cleaned text without words that nobody knows; what the text engine could not judge keeps words that name nobody.

    A report has its patterns; an item of a tree may be a surname and nothing else.
    """
    is_judged = is_judged and len(re.findall(r"[^\W\d_]{2,}", text)) >= _MIN_WORDS
    safe = vocabulary()
    text = text if is_judged else safe.digits.sub(" ", text)

    def kept(match: re.Match[str]) -> str:
        word = match.group()
        if word.startswith("["):
            return word if is_judged else ""
        if is_safe_word(word, safe) or (is_judged and word[0].isdigit()):
            return word
        kind = words.kind(fold(word))
        is_plain = kind is Kind.ORDINARY or (kind is Kind.COMMON and (is_judged or word.islower()))
        return word if is_plain or (is_judged and kind in (Kind.EPONYM, Kind.AMBIGUOUS)) else ""

    plain = _TOKEN.sub(kept, text)
    plain = re.sub(r"[ \t]+([.,;:)])", r"\1", re.sub(r"[ \t]{2,}", " ", plain)).strip(" ,;:-/()'\"")
    return plain if re.search(r"[^\W_]", plain) else ""


def _encode(text: str, codecs: Sequence[str] | None) -> bytes:
    """Text in the object's own character set; characters that it lacks are left out."""
    if text.isascii():
        return text.encode("ascii")
    for codec in dict.fromkeys(codecs or ()):
        try:
            return text.encode(codec)
        except UnicodeEncodeError:
            continue
    return text.encode("ascii", "ignore")
