"""What of a run deserves a second look: its worst errors, labels it suspects, studies to label next; and what readers said.

What belongs here: queries over one run's folder and the lake. What does not: recording a correction (Dagster does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from training import active
from training.next_data import NextData, next_data
from training.retrain import Retrain, plan_retrain
from training.run_features import RunFeatures, read_run_features
from training.runs import RunFolder
from ui.catalog.opened import Opened

ERRORS = ("all", "false positive", "false negative")
"""Sides of the run's operating point."""

_OF_STUDY = """LEFT JOIN (SELECT series_id, n_frames, modality FROM series) s USING (series_id)"""


class SecondLook(Opened):
    """Queries of a run's page for whoever corrects labels."""

    def judged(self, run_id: str) -> tuple[list[str], list[str]]:
        """Labels and sites of a run's predictions; empty where it has none."""
        file = self.run_file(run_id, "predictions.parquet")
        if not file.is_file():
            return [], []
        found = self.rows("SELECT DISTINCT label, site FROM read_parquet(?) ORDER BY ALL", [[str(file)]])
        return sorted({r["label"] for r in found}), sorted({r["site"] for r in found})

    def mistakes(
        self, run_id: str, label: str, *, kind: str = "all", site: str | None = None, limit: int = 200
    ) -> pd.DataFrame:
        """Held-out studies on which the tuned model is most wrong, worst first; `kind` is one of ERRORS.

        A false positive has a score at or above the run's operating point (0.5 where it has none) and the label absent.
        """
        if kind not in ERRORS:
            raise ValueError(f"{kind!r} is none of {', '.join(ERRORS)}.")
        file = self.run_file(run_id, "predictions.parquet")
        if not file.is_file():
            return pd.DataFrame()
        point = (RunFolder(self.lake.root, run_id).read_json("operating_points.json") or {}).get(label)
        point = 0.5 if point is None else float(point)
        return self.table(
            f"""SELECT study_id::VARCHAR AS study_id, p.series_id::VARCHAR AS series_id, p.site, p.split, p.label, target, score,
                       abs(target - score) AS error, (score >= $point) <> (target > 0.5) AS is_wrong, n_frames, s.modality
                FROM read_parquet($file) p {_OF_STUDY}
                WHERE arm = 'tuned' AND p.label = $label AND target IS NOT NULL AND split IN ('test', 'holdout')
                  AND ($site IS NULL OR p.site = $site)
                  AND ($kind = 'all' OR ((score >= $point) <> (target > 0.5) AND (target < 0.5) = ($kind = 'false positive')))
                ORDER BY error DESC, study_id LIMIT $n""",
            {"file": [str(file)], "label": label, "site": site, "kind": kind, "point": point, "n": limit},
        )

    def suspects(self, run_id: str, label: str, *, site: str | None = None, limit: int = 200) -> pd.DataFrame:
        """Labels that a run suspects of being wrong, most suspect first; empty where it did not look."""
        file = self.run_file(run_id, "label_issues.parquet")
        if not file.is_file():
            return pd.DataFrame()
        return self.table(
            f"""SELECT study_id::VARCHAR AS study_id, i.series_id::VARCHAR AS series_id, i.site, i.split, i.label, i.rank,
                       i.given AS target, i.probability AS score, i.is_odd_image, i.is_report_conflict, n_frames, s.modality
                FROM read_parquet($file) i {_OF_STUDY}
                WHERE i.label = $label AND ($site IS NULL OR i.site = $site) ORDER BY i.rank, study_id LIMIT $n""",
            {"file": [str(file)], "label": label, "site": site, "n": limit},
        )

    def queue(
        self, run_id: str, n: int, *, pool: str | None = None, with_labelled: bool = False
    ) -> pd.DataFrame:
        """The n studies to label next (training.active). Raises ConfigurationError where there is none, with the remedy."""
        key = (run_id, n, pool, with_labelled)
        if key not in self._queues:
            asked = active.ask(self._features(run_id), n=n, pool=pool, with_labelled=with_labelled)
            rows = pd.DataFrame([{name: getattr(a, name) for name in active.COLUMNS} for a in asked])
            rows = rows.astype({"study_id": str, "series_id": str})
            frames = self.table(
                "SELECT series_id::VARCHAR AS series_id, n_frames, modality FROM series WHERE list_contains(?, series_id::VARCHAR)",
                [rows["series_id"].tolist()],
            )
            self._queues[key] = rows.merge(frames, on="series_id", how="left")
        return self._queues[key]

    def next_data(self, run_id: str) -> NextData:
        """Which data would help a run next (training.next_data). Raises ConfigurationError where it cannot be said."""
        if run_id not in self._next:
            self._next[run_id] = next_data(self._features(run_id))
        return self._next[run_id]

    def tiles_of_members(self, run_id: str, members: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
        """Tiles for the gallery: members by number, under the name of what they are an example of."""
        e = self._features(run_id).examples
        return [
            {
                "study_id": str(e.study_id[i]),
                "series_id": str(e.series_id[i]),
                "title": name,
                "note": str(e.site[i]),
            }
            for name, numbers in members.items()
            for i in numbers
        ]

    def relabels(self, run_id: str | None = None) -> pd.DataFrame:
        """Corrections of this snapshot (that a run led to), newest first."""
        return self.table(
            """SELECT study_id::VARCHAR AS study_id, label, value, given, role, reason, run_id, cohort_id, strftime(at_utc, '%Y-%m-%d %H:%M') AS at_utc
               FROM relabels
               WHERE $run IS NULL OR run_id = $run ORDER BY at_utc DESC, study_id, label""",
            {"run": run_id},
        )

    def retrain(self, run_id: str) -> Retrain:
        """A run's spec on the newest version of its cohort. Raises ConfigurationError where its cohort is gone."""
        return plan_retrain(self.lake.root, run_id)

    def _features(self, run_id: str) -> RunFeatures:
        if run_id not in self._read:
            self._read.clear()  # one run's features at a time: they may be large
            self._read[run_id] = read_run_features(self.lake.root, run_id)
        return self._read[run_id]

    # a finished run never changes, so what was worked out of it is kept as long as the snapshot is

    @cached_property
    def _read(self) -> dict[str, RunFeatures]:
        return {}

    @cached_property
    def _queues(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        return {}

    @cached_property
    def _next(self) -> dict[str, NextData]:
        return {}
