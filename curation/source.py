"""A source: how things arrive. What an arriving item is stands here; the ways to arrive are `sources/*.py`.

Reading, cleaning and counting items is the work of steps.py and delivery.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Item:
    """One input: a DICOM file, a report, one row of a table of reports, a message, or something that can only be refused.

    RESTRICTED: path, text, fields and message are raw.
    """

    path: str
    """Where it lies inside the delivery, archive members as `archive.zip!member`, table rows as `table.csv#3`."""
    kind: str
    """dicom, report, clinical, archive or unknown."""
    file: Path | None = None
    """The file to open, for DICOM and for what is refused."""
    text: str | None = None
    """The report's text, for reports and table rows."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """A table row's columns, keys in small letters."""
    message: str | None = None
    """The HL7 v2 message or the FHIR resources it came in, which name the patient, relatives and staff."""
    refused: str | None = None
    """Refusal reason, where the source itself could not read it."""
    bytes: int = 0
    """Size of the file, or of the row."""


class Source(Protocol):
    """A way to arrive: walks what a site handed over, in an order that never changes."""

    def __call__(self, root: Path, spool: Path) -> Iterator[Item]:
        """Items under `root`; archive members are laid out under `spool`, numbered, never by their own names."""
        ...
