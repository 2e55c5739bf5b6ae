"""Decisions: what the rules say of one attribute, and by which right.

What belongs here: the acts, the precedence of own rules, profile, options, table and VR. What does not: compiling them for
the walk (policy), carrying them out (values).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from curation.deid.profile import Profile, read_rows


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
    TABLE = "kept where it is as long as its descriptor says and the object has a use for it"
    SEQUENCE = "kept, its items cleaned by the same rules"
    PATIENT_NAME = "replaced by the first letters of the patient's pseudonym"
    PATIENT_ID = "replaced by the patient's pseudonym (emptied inside sequences)"
    BIRTH_DATE = "moved by the patient's own offset, and never earlier than 90 years before the study"
    CHARSET = "kept where it is a registered character set"
    CODED = "kept for known coding schemes, with the scheme's own meaning; other codes are removed"
    BURNED_IN = "kept; YES withholds the object unless a pass over its pixels is made"
    ICC = "rebuilt from its tables of numbers, without its words"
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


_SPECIAL = {
    "SpecificCharacterSet": (Act.CHARSET, "K"),
    "PatientName": (Act.PATIENT_NAME, "D"),
    "PatientID": (Act.PATIENT_ID, "D"),
    "PatientIdentityRemoved": (Act.MARKER, "D"),
    "DeidentificationMethod": (Act.MARKER, "D"),
    "DeidentificationMethodCodeSequence": (Act.MARKER, "D"),
    "LongitudinalTemporalInformationModified": (Act.MARKER, "D"),
    "BurnedInAnnotation": (Act.BURNED_IN, "K"),
    "ICCProfile": (Act.ICC, "C"),
    "CodeValue": (Act.CODED, "C"),
    "CodingSchemeDesignator": (Act.CODED, "C"),
    "CodingSchemeVersion": (Act.CODED, "C"),
    "CodeMeaning": (Act.CODED, "C"),
    "LongCodeValue": (Act.CODED, "C"),
    "URNCodeValue": (Act.CODED, "X"),
}


def decide(
    tag: int,
    keyword: str,
    vr: str,
    row: dict[str, str] | None,
    beyond: dict[str, str] | None,
    defaults: Mapping[str, str],
    profile: Profile,
    iod_type: str = "",
) -> tuple[Act, str, str]:
    """Act, code and basis of one attribute: own rules, then the profile, the table with its options, beyond, the VR.

    iod_type is the attribute's Type in the object's IOD (1, 1C, 2, 2C, 3), "" where it is not known.
    """
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
        code, basis = resolve(vr, row, profile, iod_type)
        return _act(keyword, vr, code, profile), code, basis
    if beyond is not None:
        act = _BEYOND[beyond["action"]]
        return act, "C" if act is Act.WORDS else "K", beyond["reason"]
    return _default(vr, defaults[vr], profile)


def resolve(vr: str, row: dict[str, str], profile: Profile, iod_type: str = "") -> tuple[str, str]:
    """The single code of a table row under the profile's options, first in the order of options.csv, else Basic.

    A compound code ends as the Type in the IOD demands where the profile lets it, and else as the profile says.
    """
    for option in read_rows("options.csv"):
        name = option["option"]
        if name in profile.options and row.get(name):
            return row[name], option["meaning"].removesuffix(" Option")
    code = row["basic"]
    if code in profile.by_type and iod_type:
        chosen = _by_type(code, iod_type)
        # a dummy item would be an invention: a sequence that must not be empty ends as the profile says
        if chosen and not (vr == "SQ" and chosen == "D"):
            return chosen, f"Basic Profile {code}, Type {iod_type}"
    book = profile.compound_sequence if vr == "SQ" else profile.compound
    return book.get(code, code), "Basic Profile" + (f" {code}" if code in book else "")


def _by_type(code: str, iod_type: str) -> str:
    """The first action of a compound code that leaves an object valid (PS3.15 E.1.1): removing needs Type 3."""
    allowed = code.split("/")
    enough = {"3": ("X", "Z", "D"), "2": ("Z", "D", "U*"), "1": ("D", "U*")}[iod_type[0]]
    return next((action.rstrip("*") for action in enough if action in allowed), "")


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
_BEYOND = {"K": Act.KEEP, "PLAIN": Act.PLAIN, "TABLE": Act.TABLE, "C": Act.WORDS}
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
