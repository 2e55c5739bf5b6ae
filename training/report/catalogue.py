"""Everything that a report must speak of, and what became of it: computed, not applicable, or missing with the remedy.

What belongs here: reading and checking catalogue.toml, and holding a run's lines against it. What does not: computing a
line (evaluate and its neighbours), showing one (page).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.records import ConfigurationError
from training.audit import Item


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Section(_Part):
    """A chapter of the report."""

    key: str = Field(pattern=r"^[a-z_]+$")
    title: str = Field(min_length=1)


class Entry(_Part):
    """One thing that must be spoken of."""

    key: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    section: str
    title: str = Field(min_length=1)
    means: str = Field(min_length=1)
    tasks: tuple[str, ...] = ()
    """Task kinds that it is for; none: every one."""
    by: Literal["data", "author"] = "data"
    items: str
    """Pattern at the beginning of the names of lines that answer it."""
    remedy: str = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> Entry:
        re.compile(self.items)
        if self.key.split(".")[0] != self.section:
            raise ValueError(f"{self.key} must begin with its section, {self.section}")
        return self

    def answers(self, item: Item) -> bool:
        """Whether a line speaks of this."""
        return item.section == self.section and re.match(self.items, item.item) is not None


class Catalogue(_Part):
    """catalogue.toml."""

    section: tuple[Section, ...]
    entry: tuple[Entry, ...]

    @model_validator(mode="after")
    def _names_are_known(self) -> Catalogue:
        sections, keys = [s.key for s in self.section], [e.key for e in self.entry]
        if len(set(sections)) < len(sections) or len(set(keys)) < len(keys):
            raise ValueError("a section or an entry stands there twice")
        if unknown := {e.section for e in self.entry} - set(sections):
            raise ValueError(f"no such section: {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one entry, or one line of its answer. `entry` is its key."""

    entry: str
    section: str
    item: str
    status: str
    value: float | None
    text: str


@cache
def catalogue() -> Catalogue:
    """The catalogue that ships; a wrong file raises pydantic's ValidationError."""
    text = (resources.files("training.report") / "catalogue.toml").read_text(encoding="utf-8")
    return Catalogue.model_validate(tomllib.loads(text))


def check_statements(statements: Mapping[str, str]) -> None:
    """Raises ConfigurationError where a statement answers nothing that only the author can say."""
    theirs = [e.key for e in catalogue().entry if e.by == "author"]
    if unknown := sorted(set(statements) - set(theirs)):
        raise ConfigurationError(
            f"report.statements: {', '.join(unknown)} is nothing that only the author can say; those are: {', '.join(theirs)}."
        )


def complete(items: Sequence[Item], task: str, statements: Mapping[str, str]) -> list[Line]:
    """Every line with the entry that it answers, in the order of the catalogue; entries without one say why.

    A line that answers no entry stays, at the end, with an empty key.
    """
    left, lines = list(items), list[Line]()
    for entry in catalogue().entry:
        own = [i for i in left if entry.answers(i)]
        left = [i for i in left if not entry.answers(i)]
        lines += [_line(entry.key, i) for i in own or [_absent(entry, task, statements)]]
    return lines + [_line("", i) for i in left]


def summary(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """A row an entry: key, section, title, means, by, status and, where there is nothing computed, why."""
    rows = []
    for entry in catalogue().entry:
        own = [line for line in lines if line.entry == entry.key]
        order = ("computed", "missing", "not_applicable")
        status = next(s for s in order if any(line.status == s for line in own))
        why = "" if status == "computed" else next(line.text for line in own if line.status == status)
        row = {k: getattr(entry, k) for k in ("key", "section", "title", "means", "by")}
        rows.append({**row, "status": status, "why": why, "lines": len(own)})
    return rows


def _absent(entry: Entry, task: str, statements: Mapping[str, str]) -> Item:
    if entry.key in statements:
        return Item(entry.section, entry.title, "computed", None, f"The author says: {statements[entry.key]}")
    if entry.tasks and task not in entry.tasks:
        return Item(entry.section, entry.title, "not_applicable", None, f"not a question for the task {task}")
    if entry.by == "author":
        return Item(entry.section, entry.title, "missing", None, f"The author must fill this. {entry.remedy}")
    return Item(entry.section, entry.title, "missing", None, entry.remedy)


def _line(key: str, item: Item) -> Line:
    return Line(key, item.section, item.item, item.status, item.value, item.text)
