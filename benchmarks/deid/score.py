"""Judges released objects by an answer key, with the semantics of the MIDI-B challenge and stricter rules of our own.

What belongs here: one verdict a check, and their sums. What does not: the key (corpus), the search for bytes (leak_search).

Semantics, re-implemented: a removed element passes where something had to go, and fails where something had to stay. Stricter:
a file that is missing fails every check of its own, unless our rules never release its class; dates must keep their intervals;
references must not vanish; content items are found by their concept, not by their position, for removal moves positions.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.pixels import pixel_array

import curation.deid
from benchmarks.deid.corpus.answer_key import Check, File

_STEP = re.compile(r'<\((\w{4}),(?:"([^"]*)",)?(\w{2,4})\)>(?:\[<(\d{4})>\])?')
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_STOP = {"the", "of", "and", "in", "a", "with", "to", "for", "mr", "mrs", "dr"}
CONTENT_SEQUENCE = 0x0040A730
KEEPING = {"tag_retained", "text_notnull", "text_retained", "date_interval", "reference_kept", "patid_consistent", "pixels_retained"}  # fmt: skip
"""Actions that an object without any content fails; all others it passes."""

VISIBLE = 0.3
"""A released box whose values correlate more than this with the letters that were written there can be read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check came to. `found` says in a word what was there instead; it never holds a value."""

    check: Check
    passed: bool
    found: str = ""


@dataclass(slots=True)
class Pair:
    """One file before and after. `regions` are boxes that the system says it blanked: row, column, height, width."""

    file: File
    before: Dataset
    after: Dataset | None
    regions: list[tuple[int, int, int, int]] = field(default_factory=list)


def read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def find(after: Dataset, before: Dataset, path: str) -> Dataset | object | None:
    """The element of the released object at the key's path, None where it is gone."""
    new, old = after, before
    for group, creator, element, item in _STEP.findall(path):
        tag = _tag(new, int(group, 16), creator, int(element, 16))
        if tag is None or tag not in new:
            return None
        if not item:
            try:
                return new[tag]
            except (BytesLengthException, ValueError, NotImplementedError):
                return new.get_item(tag)  # its bytes contradict its VR: judged as bytes
        old_tag = _tag(old, int(group, 16), creator, int(element, 16))
        old_items, new_items = old[old_tag].value, new[tag].value
        number = _same_item(old_items, new_items, int(item)) if tag == CONTENT_SEQUENCE else int(item)
        if number is None or isinstance(new_items, (bytes, str)) or number >= len(new_items):
            return None
        old, new = old_items[int(item)], new_items[number]
    return None


def _tag(ds: Dataset, group: int, creator: str, element: int) -> int | None:
    if not creator:
        return group << 16 | element
    for block in range(0x10, 0x100):
        owner = ds.get((group, block))
        if owner is not None and str(owner.value).strip() == creator:
            return group << 16 | block << 8 | element
    return None


def _concept(item: Dataset) -> str:
    name = item.get("ConceptNameCodeSequence")
    return f"{name[0].get('CodeValue', '') if name else ''} {item.get('ValueType', '')}"


def _same_item(old: list[Dataset], new: list[Dataset], number: int) -> int | None:
    """The released content item of the same concept, counted among its like."""
    concept = _concept(old[number])
    rank = sum(_concept(item) == concept for item in old[:number])
    same = [n for n, item in enumerate(new) if _concept(item) == concept]
    return same[rank] if rank < len(same) else None


def text_of(element: object) -> str:
    """The value as text; bytes one sign a byte; what pydicom cannot convert likewise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = element.value  # type: ignore[attr-defined]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, MultiValue)):
        return "\\".join(map(str, value))
    return "" if value is None else str(value)


def words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text) if word.lower() not in _STOP]


class Scorer:
    """Verdicts over a corpus. Consistency is judged against what the whole release says, so pairs are all seen first."""

    def __init__(self, pairs: Mapping[str, Pair], checks: list[Check]) -> None:
        self._pairs = pairs
        self._checks = checks
        self._values: dict[int, str | None] = {}
        self._uids: dict[str, Counter[str]] = defaultdict(Counter)
        self._patients: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._offsets: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        for number, check in enumerate(checks):
            self._learn(number, check)
        self._uid = {old: new.most_common(1)[0][0] for old, new in self._uids.items()}
        self._patient = {old: new.most_common(1)[0][0] for old, new in self._patients.items()}
        self._uid_owners = Counter(self._uid.values())
        self._patient_owners = Counter((site, new) for (site, _), new in self._patient.items())
        self._offset = {who: days.most_common(1)[0][0] for who, days in self._offsets.items()}

    def _learn(self, number: int, check: Check) -> None:
        pair = self._pairs[check.file]
        if pair.after is None:
            return
        if check.action.startswith("pixels"):
            return
        element = find(pair.after, pair.before, check.path)
        value = None if element is None else text_of(element)
        self._values[number] = value
        who = (pair.file.site, pair.file.patient)
        if not value:
            return
        if check.action == "uid_consistent":
            self._uids[check.text][value] += 1
        elif check.action == "patid_consistent":
            self._patients[who][value] += 1
        elif check.action == "date_interval" and (days := _days(check.text, value)) is not None:
            self._offsets[who][days] += 1

    def verdicts(self) -> Iterator[Verdict]:
        """One verdict a check; checks of a file that is rightly withheld are left out."""
        for number, check in enumerate(self._checks):
            pair = self._pairs[check.file]
            if pair.after is None:
                if not pair.file.may_withhold:
                    yield Verdict(check, False, "withheld")
                continue
            if check.action.startswith("pixels"):
                found = _pixels(check, pair)
            else:
                found = self._judge(check, self._values[number], (pair.file.site, pair.file.patient))
            yield Verdict(check, not found, found)

    def _judge(self, check: Check, value: str | None, who: tuple[str, str]) -> str:
        """Empty where the check is passed, else what is wrong."""
        match check.action:
            case "tag_retained":
                return "gone" if value is None else ""
            case "text_notnull" | "reference_kept":
                return "" if value and value.strip(" \0") else "gone"
            case "text_retained":
                return _retained(check.text, value)
            case "text_removed":
                return "left" if value is not None and _is_left(check.text, value) else ""
            case "date_shifted" | "uid_changed":
                return "left" if value is not None and check.text in value else ""
            case "date_interval":
                if not value:
                    return "gone"
                return "" if _days(check.text, value) == self._offset.get(who) else "other interval"
            case "uid_consistent":
                if not value:
                    return ""
                new = self._uid[check.text]
                return "" if value == new != check.text and self._uid_owners[new] == 1 else "inconsistent"
            case "patid_consistent":
                if not value:
                    return "gone"
                new = self._patient[who]
                is_own = value == new != check.text and self._patient_owners[who[0], new] == 1
                return "" if is_own else "inconsistent"
        raise ValueError(f"{check.action!r} is no action of the key.")


def _is_left(text: str, value: str) -> bool:
    """Whether a word that had to go is still there, also within another word; short ones count only where there is no
    longer one, and then as words of their own: two digits stand in any pseudonym by chance. UTF-16 is read without its
    zero bytes, which would make words of single letters.
    """
    text, value = text.replace("\0", ""), value.replace("\0", "")
    wanted = words(text)
    telling = [word for word in wanted if len(word) >= 4]
    if telling:
        return any(word in value.lower() for word in telling)
    return not set(wanted).isdisjoint(words(value))


def _retained(text: str, value: str | None) -> str:
    if value is None:
        return "gone"
    if text.strip().lower() in value.lower():
        return ""
    wanted = words(text)
    return "" if wanted and all(word in value.lower() for word in wanted) else "changed"


def _days(old: str, new: str) -> int | None:
    try:
        return (datetime.strptime(new[:8], "%Y%m%d") - datetime.strptime(old[:8], "%Y%m%d")).days
    except ValueError:
        return None


def _frames(ds: Dataset) -> NDArray[np.generic]:
    """Stored values, [frames, rows, columns(, 3)], as the codestream has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = pixel_array(ds, raw=True)
    return values if int(ds.get("NumberOfFrames", 1) or 1) > 1 else values[np.newaxis]


def _pixels(check: Check, pair: Pair) -> str:
    assert pair.after is not None
    numbers = [int(word) for word in check.text.split()]
    boxes = [tuple(numbers[n : n + 4]) for n in range(0, len(numbers), 4)]
    try:
        before, after = _frames(pair.before), _frames(pair.after)
    except (ValueError, RuntimeError, AttributeError, NotImplementedError, KeyError):
        return "undecodable"
    if before.shape != after.shape:
        return "other shape"
    if check.action == "pixels_hidden":
        return "readable" if any(_is_readable(before, after, box) for box in boxes) else ""
    outside = np.ones(before.shape[1:3], bool)
    for row, column, height, width in [*boxes, *pair.regions]:
        outside[row : row + height, column : column + width] = False
    if pair.regions and (not boxes or outside.mean() < 0.5):
        return "needless box"
    return "" if np.array_equal(before[:, outside], after[:, outside]) else "changed"


def _is_readable(before: NDArray[np.generic], after: NDArray[np.generic], box: tuple[int, ...]) -> bool:
    """Whether what is left in the box looks like the letters that were bright in it."""
    row, column, height, width = box
    old = before[:, row : row + height, column : column + width].astype(float)
    new = after[:, row : row + height, column : column + width].astype(float)
    letters = old >= 0.9 * old.max()
    for dots, rest in zip(letters, new, strict=True):
        if rest.std() > 0 and abs(np.corrcoef(dots.ravel(), rest.ravel())[0, 1]) > VISIBLE:
            return True
    return False


def summary(verdicts: list[Verdict], pairs: Mapping[str, Pair]) -> dict[str, object]:
    """Score, direct identifiers, by action, by kind of object; withheld counted three ways.

    A valid file that is withheld fails all of its checks; one that bends the standard is left out, and counted apart.
    """
    wanted = _published()
    published = [
        (word, v)
        for v in verdicts
        if v.check.place == "science" and (word := _keyword(v.check.path)) in wanted
    ]
    withheld = [p.file for p in pairs.values() if p.after is None]
    n_valid = sum(p.file.is_valid and not p.file.may_withhold for p in pairs.values())
    fair = [v for v in verdicts if v.found != "withheld" or pairs[v.check.file].file.is_valid]
    released = [v for v in verdicts if v.found != "withheld"]
    return {
        "checks": len(fair),
        "passed": sum(v.passed for v in fair),
        "score": _share(fair),
        "score_of_released": _share(released),
        "score_with_bent_withheld_as_failed": _share(verdicts),
        "direct_identifiers": _share([v for v in fair if v.check.is_direct]),
        "direct_identifiers_of_released": _share([v for v in released if v.check.is_direct]),
        "direct_checks_of_released": sum(v.check.is_direct for v in released),
        "had_to_go_of_released": _share([v for v in released if v.check.action not in KEEPING]),
        "had_to_stay_of_released": _share([v for v in released if v.check.action in KEEPING]),
        "kept_for_science_of_released": _share([v for v in released if v.check.place == "science"]),
        "intervals_of_released": _share([v for v in released if v.check.action == "date_interval"]),
        "pixels_retained_of_released": _share([v for v in released if v.check.action == "pixels_retained"]),
        "pixels_hidden_of_released": _share([v for v in released if v.check.action == "pixels_hidden"]),
        "published_list": {
            "attributes": len(wanted),
            "met": len({word for word, _ in published}),
            "not_met": sorted(wanted - {word for word, _ in published}),
            "checks_of_released": sum(v.found != "withheld" for _, v in published),
            "kept_of_released": _share([v for _, v in published if v.found != "withheld"]),
            "not_kept": sorted({word for word, v in published if not v.passed and v.found != "withheld"}),
        },
        "files": len(pairs),
        "withheld": {
            "valid": sum(f.is_valid and not f.may_withhold for f in withheld),
            "of_valid": n_valid,
            "bent": sum(not f.is_valid and not f.may_withhold for f in withheld),
            "of_bent": sum(not p.file.is_valid and not p.file.may_withhold for p in pairs.values()),
            "class_never_released": sum(f.may_withhold for f in withheld),
        },
        "by_action": _by(fair, lambda v: v.check.action),
        "by_place": _by(fair, lambda v: v.check.place),
        "by_kind": _by(fair, lambda v: pairs[v.check.file].file.kind),
        "by_syntax": _by(fair, lambda v: pairs[v.check.file].file.syntax),
    }


def _published() -> set[str]:
    """The attributes that rwid publishes as kept for science."""
    path = Path(curation.deid.__file__).parent / "rules" / "science.csv"
    with path.open(encoding="utf-8") as file:
        return {row["keyword"] for row in csv.DictReader(line for line in file if not line.startswith("#"))}


def _keyword(path: str) -> str:
    group, creator, element, _ = _STEP.findall(path)[-1]
    return "" if creator else keyword_for_tag(int(group + element, 16))


def _share(verdicts: list[Verdict]) -> float | None:
    return round(100 * sum(v.passed for v in verdicts) / len(verdicts), 3) if verdicts else None


def _by(verdicts: list[Verdict], key: object) -> dict[str, str]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for verdict in verdicts:
        groups[key(verdict)].append(verdict.passed)  # type: ignore[operator]
    return {name: f"{sum(passed)}/{len(passed)}" for name, passed in sorted(groups.items())}
