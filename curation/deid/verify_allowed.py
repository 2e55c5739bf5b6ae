"""What a released dataset may hold at all, judged by what it says of itself: the second look's own allow-list.

What belongs here: reading the claims (0012,0064), the standard's table by them, private blocks, markers. What does not:
who is named (verify_forms). The table is the standard's own (PS3.15 Table E.1-1); what is concluded from it here is
written a second time, apart from the de-identifier's policy.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom import Dataset
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.multival import MultiValue

_RULES = Path(__file__).parent / "rules"
_META = frozenset({0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013})
_DUMMY = re.compile(
    rb"[\0]*|(?:REMOVED|ANONYMOUS|ANONYMIZED|DUMMY|UNKNOWN|NONE)|0|19000101|000000|19000101000000|000Y"
)
"""Values that say nothing; rwid's own, and those of earlier de-identifiers."""
_NAME = re.compile(rb"(?:[0-9a-f]{8}|[A-Z]{3,10})?[ \0]*")
_FULL_DATES, _MODIFIED_DATES, _UIDS, _PRIVATE, _PIXELS, _FACES = (
    "113106", "113107", "113110", "113111", "113101", "113102",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claims:
    """What an object says was done to it: codes of CID 7050."""

    codes: frozenset[str]
    safe: Mapping[tuple[int, str], frozenset[int]]

    @property
    def keeps_dates(self) -> bool:
        """Full dates are retained."""
        return _FULL_DATES in self.codes

    @property
    def keeps_uids(self) -> bool:
        """Original UIDs are retained."""
        return _UIDS in self.codes


def claims_of(dataset: Dataset) -> Claims:
    """The codes in De-identification Method Code Sequence."""
    items = dataset.get("DeidentificationMethodCodeSequence") or []
    return Claims(frozenset(str(item.get("CodeValue", "")) for item in items), _safe_blocks(dataset))


def marker_faults(dataset: Dataset, claims: Claims) -> Iterator[tuple[str, str]]:
    """(place, kind) of every marker that is missing, or says more than was done (PS3.15 E.1.1)."""
    if dataset.get("PatientIdentityRemoved") != "YES":
        yield "(0012,0062)", "missing"
    if not dataset.get("DeidentificationMethod"):
        yield "(0012,0063)", "missing"
    if "113100" not in claims.codes:
        yield "(0012,0064)", "missing"
    stated = dataset.get("LongitudinalTemporalInformationModified")
    expected = (
        "UNMODIFIED" if claims.keeps_dates else "MODIFIED" if _MODIFIED_DATES in claims.codes else "REMOVED"
    )
    if stated != expected:
        yield "(0028,0303)", "missing" if not stated else "contradicts the claimed options"
    for keyword, place, code in (
        ("BurnedInAnnotation", "(0028,0301)", _PIXELS),
        ("RecognizableVisualFeatures", "(0028,0302)", _FACES),
    ):
        said = dataset.get(keyword)
        if said == "YES" or (code in claims.codes and said != "NO"):
            yield place, "contradicts the claimed options"


def element_fault(tag: int, vr: str, raw: bytes, holder: Dataset, claims: Claims) -> str:
    """Why an element may not be there, or may not hold a value; empty where all is well."""
    group, number = tag >> 16, tag & 0xFFFF
    if group & 1:
        return _private_fault(group, number, holder, claims)
    if number == 0:
        return "group length"
    if group in _never().groups or group >> 8 in (0x50, 0x60) or tag in _never().tags:
        return "never released"
    entry = DicomDictionary.get(tag)
    if entry is None:
        return "repeating group" if _repeats(tag) else "not in the dictionary"
    if vr not in entry[0].split(" or ") and not (vr in ("OB", "OW") and "O" in entry[0]):
        return "another VR than the dictionary's"
    if vr in ("UN", "UR", "AE") and raw.strip(b" \0"):
        return f"VR {vr}"
    if vr == "PN" and not _NAME.fullmatch(raw):
        return "a person's name"
    return _table_fault(tag, vr, raw, entry[4], claims) if raw.strip(b" \0") else ""


def _table_fault(tag: int, vr: str, raw: bytes, keyword: str, claims: Claims) -> str:
    row = _table().get(tag)
    if row is None or keyword in _never().beyond:
        return ""
    claimed = {row[column] for code, column in _columns().items() if code in claims.codes and row.get(column)}
    if any(set("KCDU") & set(action) for action in claimed) or "U" in row["basic"] or "K" in row["basic"]:
        return ""
    if "D" in row["basic"]:
        return (
            ""
            if vr in ("SQ", "UI") or _DUMMY.fullmatch(raw.strip(b" \0"))
            else "no dummy, as the table wants"
        )
    return "the table removes it" if "X" in row["basic"] else "the table empties it"


def _private_fault(group: int, number: int, holder: Dataset, claims: Claims) -> str:
    """Private attributes need the option, a creator, and a declaration that the block is safe (PS3.3 C.12.1.1.7)."""
    if _PRIVATE not in claims.codes:
        return "private"
    block = number if 0x10 <= number <= 0xFF else number >> 8
    creator = holder.get((group, block))
    if creator is None or not str(creator.value).strip():
        return "private without a creator"
    safe = claims.safe.get((group, str(creator.value).strip()))
    is_safe = safe is not None and (not safe or number <= 0xFF or number & 0xFF in safe)
    return "" if is_safe else "private and not declared safe"


def _safe_blocks(dataset: Dataset) -> dict[tuple[int, str], frozenset[int]]:
    """(group, creator) of declared blocks to the numbers that are safe; none named means all of them."""
    safe = {}
    for item in dataset.get("PrivateDataElementCharacteristicsSequence") or []:
        status = item.get("BlockIdentifyingInformationStatus")
        named = item.get("NonidentifyingPrivateElements")
        many = named if isinstance(named, list | tuple | MultiValue) else [] if named is None else [named]
        numbers = frozenset(int(n) & 0xFF for n in many)
        if status == "SAFE" or (status == "MIXED" and numbers):
            key = (int(item.PrivateGroupReference), str(item.PrivateCreatorReference).strip())
            safe[key] = frozenset() if status == "SAFE" else numbers
    return safe


def meta_faults(meta: Dataset, dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    """(place, rule, kind) of what a file's meta information may not hold, or must repeat (PS3.15 E.1, PS3.10 7.1)."""
    for tag in sorted(meta.keys()):
        if int(tag) not in _META:
            yield f"meta ({tag.group:04x},{tag.elem:04x})", "element", "never released"
    if meta.get("MediaStorageSOPInstanceUID") != dataset.get("SOPInstanceUID"):
        yield "meta (0002,0003)", "hash", "is not the object's own"
    if meta.get("MediaStorageSOPClassUID") != dataset.get("SOPClassUID"):
        yield "meta (0002,0002)", "hash", "is not the object's own"


@dataclass(frozen=True, slots=True)
class _Never:
    groups: frozenset[int]
    tags: frozenset[int]
    beyond: frozenset[str]


@cache
def _never() -> _Never:
    book = tomllib.loads((_RULES / "verify" / "allowed.toml").read_text(encoding="utf-8"))
    return _Never(
        frozenset(int(g, 16) for g in book["never"]["groups"]),
        frozenset(int(t, 16) for t in book["never"]["tags"]),
        frozenset(book["beyond"]),
    )


@cache
def _table() -> Mapping[int, Mapping[str, str]]:
    newest = max(p for p in _RULES.glob("ps315_2*.csv"))
    with newest.open(newline="", encoding="utf-8") as file:
        rows = {row["tag"]: row for row in csv.DictReader(file)}
    return {int(tag, 16): row for tag, row in rows.items() if re.fullmatch(r"[0-9A-F]{8}", tag)}


@cache
def _columns() -> Mapping[str, str]:
    """Code of CID 7050 to the table's column."""
    with (_RULES / "options.csv").open(newline="", encoding="utf-8") as file:
        return {row["code"]: row["option"] for row in csv.DictReader(file)}


@cache
def _repeaters() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(mask.replace("x", "[0-9A-Fa-f]")) for mask in RepeatersDictionary)


def _repeats(tag: int) -> bool:
    return any(mask.fullmatch(f"{tag:08X}") for mask in _repeaters())
