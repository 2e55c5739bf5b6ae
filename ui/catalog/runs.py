"""Tuning runs: their folders, curves, metrics and mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import pandas as pd

from curation.records import ConfigurationError
from training import compare, shared_studies
from training import runs as run_folders
from ui.catalog.opened import HEX_ID, Opened


class Runs(Opened):
    """Queries of the pages of runs."""

    def runs(self, cohort_id: str | None = None) -> list[dict[str, Any]]:
        """Every tuning run (of one cohort), newest first."""
        found = run_folders.list_runs(self.lake.root)
        return [r for r in found if cohort_id is None or r.get("cohort_id") == cohort_id]

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run; None where there is none."""
        if not HEX_ID.fullmatch(run_id):
            return None
        try:
            return run_folders.read_run(self.lake.root, run_id)
        except ConfigurationError:
            return None

    def curves(self, run_id: str) -> pd.DataFrame:
        """A run's training curves: step, epoch, name, value."""
        return run_folders.RunFolder(self.lake.root, run_id).history().to_pandas()

    def metrics(self, run_ids: Sequence[str]) -> pd.DataFrame:
        """The metrics of runs, with each run's name."""
        files = [f for i in run_ids if (f := self.run_file(i, "metrics.parquet")).is_file()]
        return (
            self.table("SELECT * FROM read_parquet(?)", [[str(f) for f in files]])
            if files
            else pd.DataFrame()
        )

    def comparable(self, run_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """The labels and the splits that every one of these runs judged. Raises ConfigurationError where one has no predictions."""
        root = self.lake.root
        return shared_studies.judged_labels(root, run_ids), shared_studies.judged_splits(root, run_ids)

    def compared_by(self, run_ids: Sequence[str], label: str) -> tuple[str, ...]:
        """The metrics by which these runs can be compared on a label, the usual one first."""
        return shared_studies.metrics_of(shared_studies.kind_of(self.lake.root, run_ids, label), label)

    def comparison(
        self, run_ids: tuple[str, ...], split: str, label: str, metric: str
    ) -> tuple[shared_studies.Common, pd.DataFrame, pd.DataFrame]:
        """Finished runs side by side: what they share, a row an arm and site, a row a pair and site.

        Raises ConfigurationError where they share nothing.
        """
        key = (run_ids, split, label, metric)
        if key not in self._compared:
            common = shared_studies.common_studies(self.lake.root, run_ids, split, label)
            lines, differences = compare.compare(common, metric)
            frames = (pd.DataFrame([asdict(row) for row in rows]) for rows in (lines, differences))
            self._compared[key] = (common, *frames)
        return self._compared[key]

    @cached_property
    def _compared(self) -> dict[tuple[Any, ...], tuple[shared_studies.Common, pd.DataFrame, pd.DataFrame]]:
        # a finished run never changes, and the draws take a second
        return {}

    def log_tail(self, run_id: str, n_lines: int = 60) -> str:
        """The last lines a run wrote."""
        text = self.text(self.run_file(run_id, "log.txt")) or ""
        return "\n".join(text.splitlines()[-n_lines:])

    def report_page(self, run_id: str) -> bytes | None:
        """A run's report as HTML."""
        file = self.run_file(run_id, "report.html")
        return file.read_bytes() if file.is_file() else None

    def model_card(self, run_id: str) -> str | None:
        """A run's model card in Markdown."""
        return self.text(self.run_file(run_id, "model_card.md"))
