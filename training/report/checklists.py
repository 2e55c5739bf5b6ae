"""CLAIM 2024 and TRIPOD+AI, filled where the report's lines can; what only the author can say is left to the author.

What belongs here: reading and checking the checklists' data files, and holding them against the catalogue's summary. What
does not: what the lines say (evaluate), the catalogue (catalogue). The files paraphrase; the sources are named in them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.report.catalogue import catalogue

FILES = ("claim_2024.toml", "tripod_ai.toml")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Part):
    """One item of a checklist."""

    number: str = Field(pattern=r"^\d+[a-g]?$")
    asks: str = Field(min_length=1)
    entries: tuple[str, ...] = ()
    """Entries of the catalogue that answer it; none: the author alone can."""
    partly: bool = False
    """The entries answer a part; the author completes it."""

    @model_validator(mode="after")
    def _entries_are_catalogued(self) -> Item:
        known = {e.key for e in catalogue().entry}
        if unknown := [k for k in self.entries if k not in known]:
            raise ValueError(f"item {self.number}: the catalogue has no {', '.join(unknown)}")
        return self


class Chapter(_Part):
    """Items under one heading of the checklist."""

    title: str
    item: tuple[Item, ...]


class Checklist(_Part):
    """One file."""

    name: str
    source: str
    n_items: int
    chapter: tuple[Chapter, ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Checklist:
        numbers = [i.number for c in self.chapter for i in c.item]
        if len(numbers) != self.n_items or len(set(numbers)) != self.n_items:
            raise ValueError(
                f"{self.name}: {len(set(numbers))} different items where {self.n_items} are said"
            )
        return self


@cache
def checklists() -> tuple[Checklist, ...]:
    """Both checklists; a wrong file raises pydantic's ValidationError."""
    folder = resources.files("training.report")
    texts = [(folder / name).read_text(encoding="utf-8") for name in FILES]
    return tuple(Checklist.model_validate(tomllib.loads(text)) for text in texts)


def fill(summary: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row an item: checklist, number, chapter, asks, status (filled, partly, author) and where the answer stands."""
    entry = {row["key"]: row for row in summary}
    rows = []
    for checklist in checklists():
        for chapter in checklist.chapter:
            for item in chapter.item:
                there = [entry[k]["title"] for k in item.entries if entry[k]["status"] == "computed"]
                why = [
                    f"{entry[k]['title']}: {entry[k]['why']}"
                    for k in item.entries
                    if entry[k]["status"] != "computed"
                ]
                status = "author" if not there else "partly" if item.partly or why else "filled"
                said = "See: " + ", ".join(there) if there else ""
                if why:
                    said += ("; " if said else "") + "not there: " + "; ".join(why)
                rows.append({"checklist": checklist.name, "source": checklist.source, "number": item.number,
                             "chapter": chapter.title, "asks": item.asks, "status": status, "where": said})  # fmt: skip
    return rows
