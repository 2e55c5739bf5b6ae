"""A hospital's own region lists as `[[burned_in]]` tables: CTP pixel anonymizer scripts and recipes of pydicom/deid.

What belongs here: reading the two languages, and saying what of a file cannot be expressed. What does not: what a rule means
(`regions`), where it is written (`site`). A section is taken over whole or listed as left out, never in part: a condition
less would blank pictures of other devices, a condition more would miss some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from curation.deid.regions import DESCRIPTIVE, MATCHABLE, RegionRule
from curation.records import ConfigurationError

MOST_BRANCHES = 32
"""Alternatives of one signature: each becomes a rule of its own."""

Test = tuple[str, ...]
"""One condition as regions.RegionRule.where has it."""

Branches = list[list[Test]]
"""Alternatives, each a list of conditions that all must hold."""


class _InexpressibleError(Exception):
    """Why a section cannot be taken over."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The rules of one file, and what of it was left out or wants a reader's eye, each with its line."""

    rules: tuple[RegionRule, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def import_regions(text: str) -> Imported:
    """The rules of a CTP script or a deid recipe. Raises ConfigurationError where it is neither."""
    sections = list(_deid(text) if re.search(r"^\s*FORMAT\s+dicom", text, re.MULTILINE) else _ctp(text))
    if not sections:
        raise ConfigurationError(
            "Neither a CTP pixel anonymizer script, '{ signature } (left,top,width,height)', "
            "nor a deid recipe, which begins with 'FORMAT dicom'."
        )
    rules, left_out, remarks = [], [], []
    for section in sections:
        try:
            made = section.rules()
        except _InexpressibleError as why:
            left_out.append(f"line {section.line}: {section.name or 'a section'}: {why}")
            continue
        asked = sorted({c[0] for rule in made for c in rule.where if c[0] in DESCRIPTIVE})
        if asked:
            remarks.append(
                f"line {section.line}: {section.name or 'a section'}: asks for {', '.join(asked)}, "
                "which de-identification cleans before: words outside its vocabulary will not match"
            )
        rules += made
    return Imported(tuple(rules), tuple(left_out), tuple(remarks))


@dataclass(frozen=True, slots=True)
class _Section:
    line: int
    name: str
    branches: Branches | str
    blank: tuple[tuple[int, int, int, int], ...] = ()
    keep: tuple[tuple[int, int, int, int], ...] = ()
    otherwise: str = "look"

    def rules(self) -> list[RegionRule]:
        """One rule for each alternative."""
        if isinstance(self.branches, str):
            raise _InexpressibleError(self.branches)
        made = []
        for tests in self.branches:
            facts = {"name": self.name, "where": tests, "blank": self.blank, "keep": self.keep}
            try:
                made.append(RegionRule.model_validate({**facts, "otherwise": self.otherwise}))
            except ValidationError as error:
                first = error.errors()[0]
                raise _InexpressibleError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return made


def _all(parts: Sequence[Branches]) -> Branches:
    """Every alternative of each part together with every alternative of the others."""
    joined: Branches = [[]]
    for part in parts:
        joined = [a + b for a in joined for b in part]
        if len(joined) > MOST_BRANCHES:
            raise _InexpressibleError(f"more than {MOST_BRANCHES} alternatives; split it")
    return joined


def _not(branches: Branches) -> Branches:
    """None of the alternatives: of each, one condition does not hold."""
    return _all([[[_opposite(test)] for test in tests] for tests in branches])


def _opposite(test: Test) -> Test:
    keyword, name, *value = test
    return (keyword, name.removeprefix("not ") if name.startswith("not ") else f"not {name}", *value)


def _test(attribute: str, test: str, value: str = "") -> Test:
    keyword = attribute
    if match := re.fullmatch(r"\[?\(?([0-9a-fA-F]{4}),\s*([0-9a-fA-F]{4})\)?\]?", attribute):
        keyword = keyword_for_tag(int(match[1] + match[2], 16)) or attribute
    if tag_for_keyword(keyword) is None:
        raise _InexpressibleError(f"{attribute} is no attribute of the dictionary")
    if keyword not in MATCHABLE and keyword not in DESCRIPTIVE:
        raise _InexpressibleError(f"asks for {keyword}, which is cleaned away before pixels are looked at")
    return (keyword, test) if test.endswith("exists") else (keyword, test, value)


# CTP: { signature } (region) (region) ...; what stands outside the brackets is comment

_CTP_SECTION = re.compile(r"\{([^{}]*)\}((?:\s*\([^(){}]*\))*)")
_CTP_TOKEN = re.compile(
    r"""\s*(?:
        (?P<attribute>\[[^\]]*\]|\([0-9a-fA-F]{4},[0-9a-fA-F]{4}\)|[A-Za-z][A-Za-z0-9]*)\s*\.\s*
            (?P<method>\w+)\s*\(\s*(?:"(?P<value>[^"]*)")?\s*\)
      | (?P<constant>true\.|false\.)
      | (?P<sign>[!*+()])
    )""",
    re.VERBOSE,
)
_CTP_METHODS = {
    "equals": "equals", "equalsIgnoreCase": "equals", "contains": "contains", "containsIgnoreCase": "contains",
    "startsWith": "starts with", "startsWithIgnoreCase": "starts with", "matches": "matches", "exists": "exists",
}  # fmt: skip


def _ctp(text: str) -> Iterator[_Section]:
    for match in _CTP_SECTION.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        comment = [part.strip() for part in re.split(r"[{}()\n]", text[: match.start()])]
        named = [part for part in comment if re.match(r"\w", part) and not re.fullmatch(r"[\d, ]+", part)]
        name = named[-1][:80] if named else ""
        try:
            boxes = [_box(region) for region in re.findall(r"\(([^()]*)\)", match[2])]
            yield _Section(line, name, _Ctp(match[1]).branches(), tuple(boxes))
        except _InexpressibleError as why:
            yield _Section(line, name, str(why))


def _box(region: str) -> tuple[int, int, int, int]:
    numbers = [part.strip() for part in region.split(",")]
    if len(numbers) != 4 or not all(part.isdigit() for part in numbers):
        raise _InexpressibleError(f"({region.strip()[:40]}) is not four numbers")
    left, top, width, height = (int(part) for part in numbers)
    if not (width and height):
        raise _InexpressibleError(f"({region.strip()[:40]}) is empty")
    return left, top, width, height


class _Ctp:
    """One signature: `+` is or, `*` is and and binds closer, `!` is not."""

    def __init__(self, script: str) -> None:
        self._tokens: list[re.Match[str]] = []
        at = 0
        while script[at:].strip():
            token = _CTP_TOKEN.match(script, at)
            if token is None:
                raise _InexpressibleError(f"cannot be read from '{script[at:].strip()[:30]}' on")
            self._tokens.append(token)
            at = token.end()

    def branches(self) -> Branches:
        """The whole signature; whatever is left unread makes it inexpressible."""
        read = self._either()
        if self._tokens:
            raise _InexpressibleError("its parentheses do not match")
        return read

    def _is_next(self, sign: str) -> bool:
        if self._tokens and self._tokens[0]["sign"] == sign:
            self._tokens.pop(0)
            return True
        return False

    def _either(self) -> Branches:
        found = self._both()
        while self._is_next("+"):
            found = found + self._both()
        if len(found) > MOST_BRANCHES:
            raise _InexpressibleError(f"more than {MOST_BRANCHES} alternatives; split it")
        return found

    def _both(self) -> Branches:
        parts = [self._one()]
        while self._is_next("*"):
            parts.append(self._one())
        return _all(parts)

    def _one(self) -> Branches:
        if self._is_next("!"):
            return _not(self._one())
        if self._is_next("("):
            inside = self._either()
            if not self._is_next(")"):
                raise _InexpressibleError("its parentheses do not match")
            return inside
        if not self._tokens or self._tokens[0]["sign"]:
            raise _InexpressibleError("a condition is missing")
        token = self._tokens.pop(0)
        if token["constant"]:
            return [[]] if token["constant"] == "true." else []
        method, value = token["method"], token["value"] or ""
        if method.startswith("endsWith"):
            return [[_test(token["attribute"].strip("[]"), "matches", f".*{re.escape(value)}")]]
        if method not in _CTP_METHODS:
            raise _InexpressibleError(f"{method} has no counterpart")
        return [[_test(token["attribute"].strip("[]"), _CTP_METHODS[method], value)]]


# deid: %filter sections, in them LABEL blocks of criteria lines and coordinates

_CRITERIA = {
    "contains": "contains", "equals": "equals", "present": "exists", "missing": "not exists", "empty": "not exists",
    "notcontains": "not contains", "notequals": "not equals",
}  # fmt: skip
_COORDINATES = ("coordinates", "ctpcoordinates", "keepcoordinates", "ctpkeepcoordinates")


def _deid(text: str) -> Iterator[_Section]:
    block: list[str] = []
    kind, begin, name = "", 0, ""
    for number, raw in enumerate([*text.splitlines(), "%end"], 1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        word = line.split()[0]
        if word == "LABEL" or line.startswith("%"):
            if begin:
                yield _label(kind, begin, name, block)
            block, begin, name = [], (number if word == "LABEL" else 0), line[5:].strip()[:80]
            kind = [*line.split(), ""][1] if word == "%filter" else "" if line.startswith("%") else kind
        elif begin:
            block.append(line)


def _label(kind: str, line: int, name: str, block: Sequence[str]) -> _Section:
    if kind == "whitelist":
        why = 'a whitelist: objects that are not looked at. Where you know the device: otherwise = "trust"'
        return _Section(line, name, why)
    if kind not in ("graylist", "blacklist"):
        return _Section(line, name, f"%filter {kind or 'missing'} is neither graylist nor blacklist")
    try:
        branches: Branches = [[]]
        blank: list[tuple[int, int, int, int]] = []
        keep: list[tuple[int, int, int, int]] = []
        for text in block:
            word = text.split()[0]
            if word in _COORDINATES:
                boxes = keep if "keep" in word else blank
                boxes += _rectangles(text.split(None, 1)[1], is_ctp=word.startswith("ctp"))
            elif text.startswith("||"):
                branches = branches + _criteria(text[2:])
            else:
                branches = _all([branches, _criteria(text.removeprefix("+"))])
        if branches == [[]]:
            raise _InexpressibleError("no criteria: it would be for every picture")
        otherwise = "withhold" if kind == "blacklist" else "look"
        return _Section(line, name, branches, tuple(blank), tuple(keep), otherwise)
    except _InexpressibleError as why:
        return _Section(line, name, str(why))


def _criteria(line: str) -> Branches:
    """One line: criteria with `||` between them are alternatives, with `+` they hold together."""
    either: Branches = []
    for alternative in line.split("||"):
        both = []
        for criterion in re.split(r"\s\+\s", f" {alternative.strip()} "):
            word, _, rest = criterion.strip().partition(" ")
            attribute, _, value = rest.strip().partition(" ")
            if word not in _CRITERIA:
                raise _InexpressibleError(f"criterion {word!r} has no counterpart")
            test, value = _CRITERIA[word], value.strip()
            if test.endswith("contains") and re.search(r"[|.*+?\[\]()^$\\]", value):
                test, value = test.replace("contains", "matches"), f".*(?:{value}).*"
            both.append([[_test(attribute, test, value)]])
        either += _all(both)
    return either


def _rectangles(text: str, *, is_ctp: bool) -> list[tuple[int, int, int, int]]:
    text = text.strip()
    if text == "all":
        return [(0, 0, 65535, 65535)]
    if text.startswith("from:"):
        if text == "from:SequenceOfUltrasoundRegions":
            raise _InexpressibleError("ultrasound regions are kept without a rule")
        raise _InexpressibleError(f"coordinates {text[:40]!r} are not numbers")
    left, top, right, bottom = _box(text) if is_ctp else _corners(text)
    return [(left, top, right, bottom)]


def _corners(text: str) -> tuple[int, int, int, int]:
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 4 or not all(part.isdigit() for part in numbers):
        raise _InexpressibleError(f"coordinates {text[:40]!r} are not four numbers")
    left, top, right, bottom = (int(part) for part in numbers)
    if right <= left or bottom <= top:
        raise _InexpressibleError(f"coordinates {text[:40]!r} are empty")
    return left, top, right - left, bottom - top
