"""The answer key: what must have become of each element, as Parquet, one row a check.

What belongs here: the rows, their actions, how a tag path is written. What does not: judging (score) and how the corpus is
made (generate). Actions and paths follow the semantics of the MIDI-B challenge's key; `date_interval` and `reference_kept`
are stricter and our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

ACTIONS = {
    "tag_retained": "the element is there",
    "text_notnull": "the element is there and not empty",
    "text_retained": "its text is there, or else all of its words are",
    "text_removed": "no word of the text is in it; gone is as good",
    "date_shifted": "the day is not in it; gone is as good",
    "date_interval": "moved by as many days as this patient's other dates; gone is a failure (ours)",
    "uid_changed": "the UID is not in it; gone is as good",
    "uid_consistent": "the one new UID that this UID has everywhere; gone is as good",
    "reference_kept": "a UID that the object cannot do without is there (ours)",
    "patid_consistent": "the one new patient ID that this patient ID has everywhere",
    "pixels_hidden": "what was written in the box cannot be read any more",
    "pixels_retained": "every pixel outside planted boxes is what it was",
}

Step = tuple[BaseTag, int]
"""A sequence and the number of an item in it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation of one element of one instance. `is_direct`: it concerns a direct identifier."""

    file: str
    instance: str
    path: str
    action: str
    text: str
    place: str
    is_direct: bool


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted identity: where it is, what would betray it."""

    file: str
    path: str
    place: str
    kind: str
    text: str
    pieces: list[str]


@dataclass(frozen=True, slots=True)
class File:
    """One file of the corpus. `is_valid`: conforms, so withholding it costs; `may_withhold`: our rules never release its class."""

    file: str
    site: str
    patient: str
    kind: str
    syntax: str
    sop_class: str
    is_valid: bool
    may_withhold: bool


def tag_text(ds: Dataset, tag: BaseTag) -> str:
    """(gggg,eeee), or (gggg,"CREATOR",ee) of a private element."""
    if tag.is_private and not tag.is_private_creator:
        creator = ds.get(Tag(tag.group, tag.element >> 8))
        name = "" if creator is None else str(creator.value)
        return f'({tag.group:04x},"{name}",{tag.element & 0xFF:02x})'
    return f"({tag.group:04x},{tag.element:04x})"


def path_of(top: Dataset, steps: Sequence[Step], tag: BaseTag) -> str:
    """The tag path `<tag>[<0000>]<tag>`: items by position."""
    out, ds = "", top
    for sequence, index in steps:
        out += f"<{tag_text(ds, sequence)}>[<{index:04d}>]"
        ds = ds[sequence].value[index]
    return f"{out}<{tag_text(ds, tag)}>"


def write_rows(path: Path, kind: type, rows: Sequence[object]) -> None:
    columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(kind)}
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_rows(path: Path, kind: type) -> list:
    return [kind(**row) for row in pq.read_table(path).to_pylist()]
