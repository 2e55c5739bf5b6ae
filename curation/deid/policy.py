"""Policy: a profile and the tables of PS3.15 Annex E, compiled into one decision an attribute, and told in sentences.

What belongs here: the precedence of options, decisions, explain(). What does not: reading rules/ and profiles (profile),
carrying decisions out (walk, values, text).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydicom._dicom_dict import DicomDictionary

from curation.deid.markers import method
from curation.deid.profile import Profile, load_profile, read_rows, version_of
from curation.part10 import LONG_VRS

__all__ = ["Act", "Decision", "Policy", "Profile", "SopClass", "compile_policy", "load_profile", "read_rows"]


class Act(Enum):
    """What the header walk does with one attribute."""

    KEEP = "kept"
    NUMBER = "kept where it is a number"
    CODE = "kept where it is a coded string"
    PLAIN = "kept where it is plain printable text and does not name the person"
    DROP = "removed"
    EMPTY = "emptied"
    DUMMY = "replaced by a dummy"
    UID = "replaced by a keyed UID (registered UIDs are kept)"
    DATE = "moved by the patient's own offset"
    TIME = "kept where it is a time of day"
    AGE = "kept, ages over 89 become 90"
    WORDS = "reduced to words of the safe vocabulary"
    SEQUENCE = "kept, its items cleaned by the same rules"
    PATIENT_NAME = "replaced by the first letters of the patient's pseudonym"
    PATIENT_ID = "replaced by the patient's pseudonym (emptied inside sequences)"
    BIRTH_DATE = "moved by the patient's own offset, and never earlier than 90 years before the study"
    CHARSET = "kept where it is a registered character set"
    CODED = "kept for known coding schemes, with the scheme's own meaning; other codes are removed"
    BURNED_IN = "kept; YES withholds the object unless a pass over its pixels is made"
    MARKER = "written anew"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one registered attribute, and by what right."""

    tag: int
    keyword: str
    vrs: tuple[bytes, ...]
    act: Act
    code: str
    basis: str
    fact: bool = False
    harvest: str = ""
    log: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class SopClass:
    """Whether objects of one SOP class are released, and what they must hold."""

    name: str
    is_released: bool
    needs_pixels: bool
    why: str
    road: str = ""
    """frames, attributes, content, graphics, waveform; report where its text becomes a report; "" where nothing is done."""


@dataclass(frozen=True)
class Policy:
    """A compiled profile. `version` names profile, edition and the content of every rule that took part."""

    version: str
    profile: Profile
    decisions: tuple[Decision, ...]
    by_vr: Mapping[bytes, Mapping[int, Decision]]
    walk: Mapping[bytes, tuple[bool, dict[int, Decision | Act | int]]]
    classes: Mapping[str, SopClass]
    method: bytes
    memo: dict[tuple[Any, ...], bytes] = field(default_factory=dict, compare=False, repr=False)
    persons: dict[tuple[Any, ...], object] = field(default_factory=dict, compare=False, repr=False)

    def explain(self) -> list[str]:
        """What happens, in sentences: the profile, then each attribute the rules name, then everything else."""
        from curation.deid.explain import sentences

        return sentences(self)


def compile_policy(profile: Profile) -> Policy:
    """One decision for each registered attribute, by VR and tag; every other element has none and is removed."""
    table = {row["tag"]: row for row in read_rows(f"ps315_{profile.edition}.csv")}
    beyond = {row["keyword"]: row for row in read_rows("beyond.csv")}
    defaults = {row["vr"]: row["action"] for row in read_rows("vr.csv")}
    harvest = {row["keyword"]: row["field"] for row in read_rows("identity.csv")}
    decisions = []
    by_vr: dict[bytes, dict[int, Decision]] = {vr.encode(): {} for vr in defaults}
    for tag in sorted(DicomDictionary):
        vr_text, _, _, _, keyword = DicomDictionary[tag]
        vrs = tuple(v.encode() for v in vr_text.split(" or ") if v in defaults)
        # groups of commands, file meta, directories and delimiters have no place in a dataset
        if not vrs or not keyword or tag >> 16 < 0x0008 or tag >> 16 == 0xFFFE:
            continue
        row = table.get(f"{tag:08X}")
        act, code, basis = _decide(
            tag, keyword, vrs[-1].decode(), row, beyond.get(keyword), defaults, profile
        )
        field_name = "name" if vrs == (b"PN",) else harvest.get(keyword, "")
        log = (f"({tag >> 16:04x},{tag & 0xFFFF:04x})", code)
        decision = Decision(tag, keyword, vrs, act, code, basis, keyword in FACTS, field_name, log)
        decisions.append(decision)
        for vr in vrs:
            by_vr[vr][tag] = decision
    classes = {
        row["sop_class"]: SopClass(
            row["name"], row["status"] == "released", row["needs"] == "pixels", row["why"], row["road"]
        )
        for row in read_rows("classes.csv")
    }
    version = version_of(profile)
    walk = {vr: (vr in LONG_VRS, {t: _short(d, vr) for t, d in rules.items()}) for vr, rules in by_vr.items()}
    return Policy(version, profile, tuple(decisions), by_vr, walk, classes, method(profile, version))


def _short(decision: Decision, vr: bytes) -> Decision | Act | int:
    """For the walk's inner loop: the most bytes a kept value may have; NUMBER, CODE and TIME for their grammar."""
    if decision.fact or decision.harvest:
        return decision
    if decision.act is Act.KEEP:
        most = DicomDictionary[decision.tag][1].split("-")[-1].split(" ")[0]
        return _WIDTH.get(vr, 1) * int(most) if most.isdigit() and vr in _WIDTH else 0xFFFFFFFE
    return decision.act if decision.act in (Act.NUMBER, Act.CODE, Act.TIME) else decision


_WIDTH = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"FD": 8, b"SV": 8, b"UV": 8, b"AT": 4}
"""Bytes of one number: a value that is longer than its multiplicity allows is something else."""


FACTS = frozenset(
    [
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "PixelRepresentation",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "AccessionNumber",
    ]
)
"""Attributes whose original values are needed: for the length of the pixel data, and for the object's own ids."""

_SPECIAL = {
    "SpecificCharacterSet": (Act.CHARSET, "K"),
    "PatientName": (Act.PATIENT_NAME, "D"),
    "PatientID": (Act.PATIENT_ID, "D"),
    "PatientIdentityRemoved": (Act.MARKER, "D"),
    "DeidentificationMethod": (Act.MARKER, "D"),
    "DeidentificationMethodCodeSequence": (Act.MARKER, "D"),
    "LongitudinalTemporalInformationModified": (Act.MARKER, "D"),
    "BurnedInAnnotation": (Act.BURNED_IN, "K"),
    "CodeValue": (Act.CODED, "C"),
    "CodingSchemeDesignator": (Act.CODED, "C"),
    "CodingSchemeVersion": (Act.CODED, "C"),
    "CodeMeaning": (Act.CODED, "C"),
    "LongCodeValue": (Act.CODED, "C"),
    "URNCodeValue": (Act.CODED, "X"),
}


def _decide(
    tag: int,
    keyword: str,
    vr: str,
    row: dict[str, str] | None,
    beyond: dict[str, str] | None,
    defaults: Mapping[str, str],
    profile: Profile,
) -> tuple[Act, str, str]:
    """Act, code and basis of one attribute: own rules, then the profile, the table with its options, beyond, the VR."""
    if keyword in _SPECIAL:
        act, code = _SPECIAL[keyword]
        return act, code, "rwid"
    if tag & 0xFFFF == 0 or tag >> 16 in range(0x5000, 0x5100) or tag >> 16 in range(0x6000, 0x6100):
        return Act.DROP, "X", "group lengths, curves and overlays"
    if 0x00080105 <= tag <= 0x00080118:
        return Act.DROP, "X", "names a vocabulary and who keeps it"
    if keyword in profile.attributes:
        code = profile.attributes[keyword]
        return _act(keyword, vr, code, profile), code, f"profile {profile.name}"
    if beyond is not None and beyond["action"] == "X":
        return Act.DROP, "X", beyond["reason"]
    if row is not None:
        code, basis = _resolve(vr, row, profile)
        return _act(keyword, vr, code, profile), code, basis
    if beyond is not None:
        return (Act.KEEP if beyond["action"] == "K" else Act.PLAIN), "K", beyond["reason"]
    return _default(vr, defaults[vr], profile)


def _resolve(vr: str, row: dict[str, str], profile: Profile) -> tuple[str, str]:
    """The single code of a table row under the profile's options, first in the order of options.csv, else Basic."""
    for option in read_rows("options.csv"):
        name = option["option"]
        if name in profile.options and row.get(name):
            return row[name], option["meaning"].removesuffix(" Option")
    code = row["basic"]
    book = profile.compound_sequence if vr == "SQ" else profile.compound
    return book.get(code, code), "Basic Profile" + (f" {code}" if code in book else "")


def _act(keyword: str, vr: str, code: str, profile: Profile) -> Act:
    """How a code is carried out on a VR."""
    if code == "X":
        return Act.DROP
    if code == "Z":
        return Act.EMPTY
    if code == "D":
        return Act.UID if vr == "UI" else Act.DROP if vr == "SQ" else Act.DUMMY
    if vr == "SQ":
        return Act.SEQUENCE
    if code == "U" or (vr == "UI" and code == "C"):
        return Act.UID
    if keyword == "PatientBirthDate":
        return Act.BIRTH_DATE if profile.dates == "modified" else Act.EMPTY
    return _CLEAN.get(vr, Act.DROP) if code == "C" else _KEPT.get(vr, Act.KEEP)


_CLEAN = {
    "DA": Act.DATE, "DT": Act.DATE, "TM": Act.TIME, "AS": Act.AGE, "CS": Act.CODE, "DS": Act.NUMBER, "IS": Act.NUMBER,
    **dict.fromkeys(("LO", "LT", "SH", "ST", "UC", "UT"), Act.WORDS),
    **dict.fromkeys(("US", "SS", "UL", "SL", "FL", "FD", "AT", "SV", "UV"), Act.KEEP),
}  # fmt: skip
_KEPT = {
    "AS": Act.AGE, "CS": Act.CODE, "DS": Act.NUMBER, "IS": Act.NUMBER, "TM": Act.TIME, "UI": Act.PLAIN,
    "DA": Act.NUMBER, "DT": Act.NUMBER,
    **dict.fromkeys(("LO", "SH", "UC", "AE"), Act.PLAIN),
    **dict.fromkeys(("LT", "ST", "UT"), Act.WORDS),
    **dict.fromkeys(("OB", "OW", "OF", "OD", "OL", "OV", "UN", "UR", "PN"), Act.DROP),
}  # fmt: skip
_DEFAULTS = {"X": Act.DROP, "K": Act.KEEP, "CODE": Act.CODE, "NUMBER": Act.NUMBER, "SEQUENCE": Act.SEQUENCE}
_DEFAULTS |= {"U": Act.UID, "C": Act.WORDS}


def _default(vr: str, action: str, profile: Profile) -> tuple[Act, str, str]:
    """Beyond the table: what the VR alone allows (rules/vr.csv)."""
    basis = f"not in the table: VR {vr}"
    if action in ("DATE", "TIME"):
        if profile.dates == "removed":
            return Act.DROP, "X", basis
        moved = Act.TIME if action == "TIME" else Act.DATE if profile.dates == "modified" else Act.NUMBER
        return moved, "C" if moved is Act.DATE else "K", basis
    if action == "AGE":
        keeps = "retain_patient_characteristics" in profile.options
        return (Act.AGE, "C", basis) if keeps else (Act.DROP, "X", basis)
    if action == "U" and "retain_uids" in profile.options:
        return Act.PLAIN, "K", basis
    act = _DEFAULTS[action]
    return act, action if action in ("X", "U", "C") else "K", basis
