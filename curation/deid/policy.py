"""Policy: a profile and the tables of PS3.15 Annex E, compiled into one decision an attribute, and told in sentences.

What belongs here: compiling, for datasets and for items, and for one SOP class where the Types of its IOD decide. What does
not: the precedence of rules (decision), reading them (profile), carrying decisions out (walk, values, text).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from pydicom._dicom_dict import DicomDictionary

from curation.deid.decision import Act, Decision, decide
from curation.deid.explicit import WIDTH
from curation.deid.markers import method
from curation.deid.private import Block, safe_elements
from curation.deid.profile import Profile, load_profile, read_rows, version_of
from curation.deid.tables import DESCRIPTORS
from curation.part10 import LONG_VRS

__all__ = ["Act", "Decision", "Policy", "Profile", "SopClass", "compile_policy", "load_profile", "read_rows"]

WalkRules = Mapping[bytes, tuple[bool, dict[int, Any]]]
"""By VR: whether its length has four bytes, and by tag a Decision, a grammar (Act), or the most bytes that are copied."""


@dataclass(frozen=True, slots=True)
class SopClass:
    """Whether objects of one SOP class are released, and what they must hold."""

    name: str
    is_released: bool
    needs_pixels: bool
    why: str
    road: str = ""
    """frames, attributes, content, graphics, waveform; report where its text becomes a report; "" where nothing is done."""


@dataclass(frozen=True, slots=True)
class ClassRules:
    """The rules for the objects of some SOP classes: of a dataset's top level and of its items; shapes of items met."""

    number: int
    top: WalkRules
    nested: WalkRules
    shapes: dict[tuple[int, int], list[Any]] = field(default_factory=dict)
    rigid: set[int] = field(default_factory=set)
    """Sequences in whose items a value did not keep its length."""


@dataclass(frozen=True)
class Policy:
    """A compiled profile. `version` names profile, edition and the content of every rule that took part."""

    version: str
    profile: Profile
    decisions: tuple[Decision, ...]
    by_vr: Mapping[bytes, Mapping[int, Decision]]
    classes: Mapping[str, SopClass]
    method: bytes
    private: Mapping[Block, Mapping[int, tuple[Decision, int]]]
    """Private elements that stay: how each is cleaned, and the most bytes it may have."""
    rules: dict[Any, ClassRules] = field(default_factory=dict, compare=False, repr=False)
    memo: dict[tuple[Any, ...], bytes] = field(default_factory=dict, compare=False, repr=False)
    persons: dict[tuple[Any, ...], object] = field(default_factory=dict, compare=False, repr=False)

    def explain(self) -> list[str]:
        """What happens, in sentences: the profile, then each attribute the rules name, then everything else."""
        from curation.deid.explain import sentences

        return sentences(self)

    def private_vrs(self) -> dict[Block, dict[int, bytes]]:
        """VRs of the private elements that stay, for datasets that do not write VRs."""
        return {
            block: {number: rule.vrs[0] for number, (rule, _) in elements.items()}
            for block, elements in self.private.items()
        }

    def rules_of(self, sop_class: bytes) -> ClassRules:
        """The rules for objects of one SOP class; compiled when its first object is met, shared where they are the same."""
        found = self.rules.get(sop_class)
        if found is None:
            by_place = _typed_decisions(self, sop_class.decode("latin-1"))
            found = self.rules.get(by_place)
            if found is None:
                plain = _walk_rules(self.by_vr)
                top, nested = (_with(plain, dict(place)) for place in by_place)
                found = self.rules[by_place] = ClassRules(len(self.rules), top, nested)
            self.rules[sop_class] = found
        return found


def compile_policy(profile: Profile) -> Policy:
    """One decision for each registered attribute, by VR and tag; every other element has none and is removed."""
    table, beyond, defaults = _tables(profile.edition)
    harvest = {row["keyword"]: row["field"] for row in read_rows("identity.csv")}
    decisions = []
    by_vr: dict[bytes, dict[int, Decision]] = {vr.encode(): {} for vr in defaults}
    for tag in sorted(DicomDictionary):
        vr_text, _, _, _, keyword = DicomDictionary[tag]
        vrs = tuple(v.encode() for v in vr_text.split(" or ") if v in defaults)
        # groups of commands, file meta, directories and delimiters have no place in a dataset
        if not vrs or not keyword or tag >> 16 < 0x0008 or tag >> 16 == 0xFFFE:
            continue
        act, code, basis = decide(
            tag, keyword, vrs[-1].decode(), table.get(tag), beyond.get(keyword), defaults, profile
        )
        field_name = "name" if vrs == (b"PN",) else harvest.get(keyword, "")
        if code == "K":  # what an option keeps is not looked for elsewhere, or it would go as well
            field_name = ""
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
    private = _private(profile, defaults)
    return Policy(version, profile, tuple(decisions), by_vr, classes, method(profile, version), private)


Tables = tuple[dict[int, dict[str, str]], dict[str, dict[str, str]], dict[str, str]]


@cache
def _tables(edition: str) -> Tables:
    """The standard's rows by tag, those beyond the table by keyword, and the default by VR."""
    rows = read_rows(f"ps315_{edition}.csv")
    table = {int(row["tag"], 16): row for row in rows if len(row["tag"]) == 8 and "x" not in row["tag"]}
    beyond = {row["keyword"]: row for row in read_rows("beyond.csv")}
    return table, beyond, {row["vr"]: row["action"] for row in read_rows("vr.csv")}


def _private(profile: Profile, defaults: Mapping[str, str]) -> dict[Block, dict[int, tuple[Decision, int]]]:
    """Safe private elements are cleaned as an attribute of their VR is that no table names."""
    found: dict[Block, dict[int, tuple[Decision, int]]] = {}
    for (creator, group), elements in safe_elements(profile).items():
        for number, safe in elements.items():
            vr = safe.vr.decode()
            act, code, _ = decide(group << 16 | 0x1000 | number, "", vr, None, None, defaults, profile)
            if act is Act.CODE:  # nobody's defined terms: a coded string may be any word
                act, code = Act.WORDS, "C"
            log = (f"({group:04x},xx{number:02x})", code)
            decision = Decision(
                group << 16 | number, "", (safe.vr,), act, code, "Retain Safe Private", log=log
            )
            found.setdefault((creator, group), {})[number] = (decision, safe.most)
    return found


def _walk_rules(by_vr: Mapping[bytes, Mapping[int, Decision]]) -> dict[bytes, tuple[bool, dict[int, Any]]]:
    return {vr: (vr in LONG_VRS, {t: _short(d, vr) for t, d in rules.items()}) for vr, rules in by_vr.items()}


def _with(plain: WalkRules, changed: Mapping[int, Decision]) -> dict[bytes, tuple[bool, dict[int, Any]]]:
    """The rules with other decisions for some tags; VRs without any of them are shared."""
    out = dict(plain)
    for tag, decision in changed.items():
        for vr in decision.vrs:
            is_long, rules = out[vr]
            if rules is plain[vr][1]:
                rules = dict(rules)
            rules[tag] = _short(decision, vr)
            out[vr] = (is_long, rules)
    return out


@cache
def _types() -> dict[str, dict[int, tuple[str, str]]]:
    """By SOP class and tag: the Type in the dataset, and the strictest one in its sequences."""
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for row in read_rows("iod_types.csv"):
        for sop_class in row["sop_classes"].split():
            found.setdefault(sop_class, {})[int(row["tag"], 16)] = (row["top"], row["nested"])
    return found


Changed = tuple[tuple[int, Decision], ...]


def _typed_decisions(policy: Policy, sop_class: str) -> tuple[Changed, Changed]:
    """What differs at the top level and in items where the Types of a known IOD decide."""
    table, beyond, defaults = _tables(policy.profile.edition)
    places: tuple[list[tuple[int, Decision]], list[tuple[int, Decision]]] = ([], [])
    known = {d.tag: d for d in policy.decisions}
    for tag, types in _types().get(sop_class, {}).items():
        plain = known[tag]
        for place, iod_type in zip(places, types, strict=True):
            act, code, basis = decide(
                tag, plain.keyword, plain.vrs[-1].decode(), table.get(tag), beyond.get(plain.keyword), defaults,
                policy.profile, iod_type,
            )  # fmt: skip
            if (act, code) != (plain.act, plain.code):
                place.append((tag, replace(plain, act=act, code=code, basis=basis, log=(plain.log[0], code))))
    return tuple(places[0]), tuple(places[1])


def _short(decision: Decision, vr: bytes) -> Decision | Act | int:
    """For the walk's inner loop: the most bytes a kept value may have; NUMBER, CODE and TIME for their grammar."""
    if decision.fact or decision.harvest or decision.tag in DESCRIPTORS:
        return decision
    if decision.act is Act.KEEP:
        most = DicomDictionary[decision.tag][1].split("-")[-1].split(" ")[0]
        return WIDTH.get(vr, 1) * int(most) if most.isdigit() and vr in WIDTH else 0xFFFFFFFE
    return decision.act if decision.act in (Act.NUMBER, Act.CODE, Act.TIME) else decision


FACTS = frozenset(
    [
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PixelPresentation",
        "Modality",
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
