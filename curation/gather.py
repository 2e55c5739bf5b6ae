"""What the items of one delivery became, gathered in the order in which they arrived.

What belongs here: duplicates and conflicts, refusal rows, and handing rows to the lake's writers. What does not: the work
on one item (steps) and which study a report belongs to (link).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import pyarrow as pa

from curation.engine import Outcome
from curation.lake import Lake, Part
from curation.records import DELIVERED, DeidLog, Refusal, to_table
from curation.restricted import KnownStudy, merge
from curation.source import Item
from curation.steps import (
    Context,
    Deferred,
    Stamp,
    TakenDocument,
    TakenInstance,
    TakenReport,
    Withheld,
    digest_of_file,
    person_tokens,
)

_BATCH_ROWS = 20_000

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.bytes_]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """The delivery's items and what became of each, position by position, and the parts written."""

    stamp: Stamp
    items: Sequence[Item]
    digests: Sequence[bytes]
    became: Sequence[str]
    """instance, report, clinical or refused."""
    reasons: Sequence[str | None]
    known_studies: Sequence[KnownStudy]
    parts: Mapping[str, Sequence[Part]]


class _Others:
    """Instances that other deliveries brought: sorted ids beside their sources' digests, 48 bytes an instance."""

    def __init__(self, lake: Lake, delivery: str) -> None:
        self.ids: Bytes = np.empty(0, "S16")
        self.digests: Bytes = np.empty(0, "S32")
        self.reports: set[bytes] = set()
        if lake.head() is None:
            return
        with lake.connect() as con:
            con.execute("SET arrow_lossless_conversion = true")
            query = "SELECT instance_id, source_digest FROM instances WHERE delivery <> ? ORDER BY 1"
            rows: pa.Table = con.sql(query, params=[delivery]).to_arrow_table()
            query = "SELECT source_digest FROM reports WHERE delivery <> ?"
            self.reports = {digest for (digest,) in con.execute(query, [delivery]).fetchall()}
        ids = rows["instance_id"].combine_chunks()
        self.ids = np.array([i.bytes for i in ids.to_pylist()], "S16")
        self.digests = np.array(rows["source_digest"].to_pylist(), "S32")
        order = np.argsort(self.ids)
        self.ids, self.digests = self.ids[order], self.digests[order]

    def digest(self, instance_id: UUID) -> bytes | None:
        """The source digest of that instance, as numpy gives it (without trailing zero bytes); None where unknown."""
        key = np.bytes_(instance_id.bytes)
        at = int(np.searchsorted(self.ids, key))
        return bytes(self.digests[at]) if at < len(self.ids) and self.ids[at] == key else None


class _Writers:
    """One writer a table; rows are handed over in batches, so that memory stays bounded."""

    def __init__(self, lake: Lake) -> None:
        self._stack = ExitStack()
        self._writers = {name: self._stack.enter_context(lake.part_writer(name)) for name in DELIVERED}
        self._rows: dict[str, list[Any]] = {name: [] for name in DELIVERED}

    def add(self, table: str, rows: Sequence[Any]) -> None:
        self._rows[table] += rows
        # frames are heavy: what one object brought goes on at once
        if table == "frames" or len(self._rows[table]) >= _BATCH_ROWS:
            self._hand_over(table)

    def _hand_over(self, table: str) -> None:
        rows: pa.Table = to_table(DELIVERED[table], self._rows[table])
        self._writers[table].write(rows)
        self._rows[table] = []

    def finish(self) -> dict[str, list[Part]]:
        for table in DELIVERED:
            self._hand_over(table)
        self._stack.close()
        return {name: writer.parts for name, writer in self._writers.items()}


class Gatherer:
    """Takes outcomes in the items' order; the same items give the same rows, whatever the number of workers."""

    def __init__(self, lake: Lake, context: Context, items: Sequence[Item]) -> None:
        self.context = context
        self.items = items
        self.digests: list[bytes | None] = [None] * len(items)
        self.became = ["refused"] * len(items)
        self.reasons: list[str | None] = [None] * len(items)
        self.studies: dict[UUID, KnownStudy] = {}
        self._heard_of: dict[UUID, KnownStudy] = {}
        self.documents: list[tuple[int, TakenDocument]] = []
        self._others = _Others(lake, context.stamp.delivery)
        self._seen: dict[UUID, bytes] = {}
        self._deferred: dict[UUID, list[int]] = {}
        self._reports = set(self._others.reports)
        self._writers = _Writers(lake)
        for position, item in enumerate(items):
            if item.refused:
                self.refuse(position, "arrive", item.refused)

    def dicom_items(self) -> list[tuple[int, Item]]:
        """Position and item of every DICOM file to walk."""
        return [(p, i) for p, i in enumerate(self.items) if i.kind == "dicom" and not i.refused]

    def report_items(self) -> list[tuple[int, Item]]:
        """Position and item of every report and table row to link."""
        return [
            (p, i) for p, i in enumerate(self.items) if i.kind in ("report", "clinical") and not i.refused
        ]

    def digest(self, position: int) -> bytes:
        """Keyed digest of an item: of its file's bytes, else of its text and columns."""
        known = self.digests[position]
        if known is None:
            item = self.items[position]
            if item.text is None and not item.fields and item.file is not None:
                known = digest_of_file(self.context, item.file)
            else:
                # the path belongs to it: a report without an order number in its text is linked by its file's name
                path = "" if item.fields else item.path
                # a text sent twice is one report, whatever message brought it; messages without a text differ by what they say
                said = [item.message] if item.text is None and item.message else []
                whole = json.dumps([path, item.text, dict(item.fields), *said])
                known = self.context.pseudonyms.digest(whole.encode())
            self.digests[position] = known
        return known

    def refuse(self, position: int, step: str, reason: str) -> None:
        """One refusal row; one log row too where de-identification withheld it."""
        item, digest = self.items[position], self.digest(position)
        self.reasons[position] = reason
        stamp = {f.name: getattr(self.context.stamp, f.name) for f in fields(Stamp)}
        self._writers.add("refusals", [Refusal(digest, item.kind, step, reason, **stamp)])
        if step == "deidentify":
            self._writers.add("deid_log", [self._withheld(digest, item.kind, reason, stamp)])

    def _withheld(self, digest: bytes, kind: str, reason: str, stamp: dict[str, str]) -> DeidLog:
        return DeidLog(
            source_digest=digest,
            kind="instance" if kind == "dicom" else "report",
            instance_id=None,
            report_id=None,
            study_id=None,
            actions=[],
            regions=[],
            withheld=reason,
            policy_version=self.context.policy.version,
            key_id=self.context.pseudonyms.key_id,
            **stamp,
        )

    def add_instance(self, position: int, outcome: Outcome) -> None:
        """Takes what one DICOM file became: rows, a reason, or that its series is looked at first."""
        taken = self._value(position, outcome)
        if isinstance(taken, Deferred):
            if reason := self._conflict(taken.instance_id, taken.source_digest):
                self.refuse(position, "commit", reason)
                return
            self._seen[taken.instance_id] = taken.source_digest
            self._deferred.setdefault(taken.series_id, []).append(position)
        elif isinstance(taken, TakenDocument):
            self.documents.append((position, taken))
        elif isinstance(taken, TakenInstance):
            if reason := self._conflict(taken.instance.instance_id, taken.source_digest):
                self.refuse(position, "commit", reason)
                return
            self._seen[taken.instance.instance_id] = taken.source_digest
            self._add_rows(position, taken)

    def add_planned(self, position: int, outcome: Outcome) -> None:
        """Takes what a deferred file became, once its series was looked at."""
        taken = self._value(position, outcome)
        if isinstance(taken, TakenInstance):
            self._add_rows(position, taken)

    def deferred_series(self) -> list[list[int]]:
        """Positions of the deferred files, a list for each series, each object once."""
        return list(self._deferred.values())

    def file(self, position: int) -> Path:
        """Where the file of an item lies."""
        file = self.items[position].file
        assert file is not None
        return file

    def _value(self, position: int, outcome: Outcome) -> TakenInstance | TakenDocument | Deferred | None:
        """What one file became, None where it was refused, and the refusal is written."""
        taken = outcome.value
        if outcome.refused or taken is None:
            self.refuse(position, "read", outcome.refused or "internal_fault")
            return None
        self.digests[position] = taken.source_digest
        if isinstance(taken, Withheld):
            self.refuse(position, taken.step, taken.reason)
            return None
        assert isinstance(taken, TakenInstance | TakenDocument | Deferred)
        return taken

    def _add_rows(self, position: int, taken: TakenInstance) -> None:
        self.became[position] = "instance"
        self._writers.add("instances", [taken.instance])
        self._writers.add("frames", taken.frames)
        self._writers.add("deid_log", [taken.log])
        self._learn(taken)

    def _conflict(self, instance_id: UUID, digest: bytes) -> str | None:
        known = self._seen.get(instance_id) or self._others.digest(instance_id)
        if known is None:
            return None
        return "duplicate" if known.rstrip(b"\0") == digest.rstrip(b"\0") else "uid_conflict"

    def _learn(self, taken: TakenInstance) -> None:
        row = taken.instance
        known = self.studies.get(row.study_id)
        identity = merge(known.identity, taken.identity) if known else taken.identity
        accession_id = (known.accession_id if known else None) or row.accession_id
        self.studies[row.study_id] = KnownStudy(row.study_id, row.patient_id, accession_id, identity)

    def hear_of(self, study: KnownStudy) -> None:
        """Remembers what messages said of a study's patient, for this delivery's second look and for later reports."""
        known = self.studies if study.study_id in self.studies else self._heard_of
        known[study.study_id] = study

    def add_report(self, position: int, outcome: Outcome) -> None:
        """Takes what one report or table row became."""
        taken = outcome.value
        if outcome.refused or taken is None:
            self.refuse(position, "read", outcome.refused or "internal_fault")
            return
        if isinstance(taken, Withheld):
            self.refuse(position, taken.step, taken.reason)
            return
        assert isinstance(taken, TakenReport)
        self.became[position] = "report" if taken.report else "clinical"
        self._writers.add("reports", [taken.report] if taken.report else [])
        self._writers.add("findings", taken.findings)
        self._writers.add("outcomes", taken.outcomes)
        self._writers.add("deid_log", [taken.log] if taken.log else [])

    def is_new_report(self, position: int) -> bool:
        """Whether this report was not seen before, in this delivery or another; refuses it as `duplicate` if it was."""
        digest = self.digest(position)
        if digest in self._reports:
            self.refuse(position, "link", "duplicate")
            return False
        self._reports.add(digest)
        return True

    def finish(self) -> Gathered:
        """Writes what is left and says what became of every item."""
        people = {study.patient_id: study.identity for study in self.studies.values()}
        for patient_id, identity in people.items():
            self._writers.add("person_tokens", person_tokens(self.context, patient_id, identity))
        return Gathered(
            stamp=self.context.stamp,
            items=self.items,
            digests=[self.digest(p) for p in range(len(self.items))],
            became=self.became,
            reasons=self.reasons,
            known_studies=[*self.studies.values(), *self._heard_of.values()],
            parts=self._writers.finish(),
        )
