"""One snapshot of the lake, opened for reading: its connection, its questions, the folders of cohorts and runs.

What belongs here: what every other module of this package stands on. What does not: a page's queries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from curation.lake import Lake, Snapshot

HEX_ID = re.compile(r"[0-9a-f]{16}")
"""Ids of cohorts and runs."""


class Opened:
    """One snapshot of the lake, read-only. Safe to share between threads: each question gets its own cursor."""

    def __init__(self, lake: Lake, number: int | None) -> None:
        self.lake = lake
        self.number = number
        self._connection = lake.connect(number)

    def table(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> pd.DataFrame:
        """The answer to a query of this package; values by place, or by name ($name)."""
        with self._connection.cursor() as cursor:
            found = cursor.execute(query, values if isinstance(values, Mapping) else list(values)).df()
        for name in found.select_dtypes(include=["str"]).columns:
            # pandas says NaN where a text is missing, which passes for true and has no .lower()
            found[name] = found[name].astype(object).where(found[name].notna(), None)
        return found

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to a query of this package as plain rows."""
        with self._connection.cursor() as cursor:
            answer = cursor.execute(query, list(values))
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever committed."""
        return self.number is None

    @cached_property
    def snapshot(self) -> Snapshot:
        """The manifest. Raises LakeError where the lake is empty."""
        return self.lake.snapshot(self.number)

    def cohort_folder(self, cohort_id: str) -> Path:
        """A cohort's folder, there or not. Raises ValueError where the id is none."""
        if not HEX_ID.fullmatch(cohort_id):
            raise ValueError("A cohort's id has 16 hex digits.")
        return self.lake.root / "cohorts" / cohort_id

    def members_file(self, cohort_id: str) -> list[str]:
        """The file of a cohort's members, for read_parquet; empty where there is none."""
        file = self.cohort_folder(cohort_id) / "members.parquet"
        return [str(file)] if file.is_file() else []

    @staticmethod
    def text(file: Path) -> str | None:
        """The text of a file; None where there is none."""
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def run_file(self, run_id: str, name: str) -> Path:
        """A file of a run's folder, there or not. Raises ValueError where the id is none."""
        if not HEX_ID.fullmatch(run_id):
            raise ValueError("A run's id has 16 hex digits.")
        return self.lake.root / "runs" / run_id / name
