"""Frozen cohorts: what they hold, how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from curation.catalog import attach_file
from curation.cohort_diff import diff_cohorts
from curation.cohort_folder import cohort_folders, find_cohort, read_facts
from curation.records import ConfigurationError
from ui.catalog.filters import FACETS
from ui.catalog.opened import Opened


class Cohorts(Opened):
    """Queries of the pages of cohorts."""

    def cohorts(self) -> pd.DataFrame:
        """Every frozen cohort: newest snapshot first; of one snapshot, the one built last first."""
        # read anew each time: cohorts appear without a new snapshot
        built = {
            folder.name: (folder / "cohort.json").stat().st_mtime_ns for folder in cohort_folders(self.lake)
        }
        if not built:
            return pd.DataFrame(
                columns=["cohort_id", "name", "purpose", "snapshot", "studies", "patients", "sites"]
            )
        files = [str(self.cohort_folder(i) / "cohort.parquet") for i in built]
        found = self.table("SELECT * FROM read_parquet(?)", [files])
        found["built"] = found["cohort_id"].map(built)
        return found.sort_values(["snapshot", "built"], ascending=False, ignore_index=True).drop(
            columns="built"
        )

    def cohort(self, name_or_id: str) -> dict[str, Any] | None:
        """One cohort (cohort.json) by id, or the newest by name; None where there is none."""
        try:
            return read_facts(find_cohort(self.lake, name_or_id))
        except ConfigurationError:
            return None

    def composition(self, cohort_id: str, facet: str) -> pd.DataFrame:
        """Studies of a cohort per value of a facet and split."""
        return self.table(
            f"""SELECT coalesce({FACETS[facet]}, 'unknown') AS value, split, count(*) AS studies,
                       count(DISTINCT patient_id) AS patients
                FROM (SELECT DISTINCT study_id, split FROM read_parquet(?)) JOIN studies USING (study_id)
                GROUP BY ALL ORDER BY studies DESC, 1""",
            [self.members_file(cohort_id)],
        )

    def splits(self, cohort_id: str) -> pd.DataFrame:
        """Studies and patients of a cohort per site and split."""
        return self.table(
            """SELECT site, split, count(DISTINCT study_id) AS studies, count(DISTINCT patient_id) AS patients
               FROM read_parquet(?) GROUP BY ALL ORDER BY site, split""",
            [self.members_file(cohort_id)],
        )

    def prevalence(self, cohort_id: str, column: str = "labels") -> pd.DataFrame:
        """Per label (or covariate), site and split: studies, known, positive. -1 is uncertain and counts as unknown."""
        if column not in ("labels", "covariates"):
            raise ValueError(f"{column!r} is neither labels nor covariates.")
        return self.table(
            f"""SELECT l.name AS label, site, split, count(*) AS studies, count(*) FILTER (l.value >= 0) AS known,
                       count(*) FILTER (l.value > 0.5) AS positive
                FROM (SELECT DISTINCT study_id, site, split, unnest({column}) AS l FROM read_parquet(?))
                GROUP BY ALL ORDER BY label, site, split""",
            [self.members_file(cohort_id)],
        )

    def numbers(self, cohort_id: str, column: str = "labels") -> pd.DataFrame:
        """Per label (or covariate) that is a number and not yes or no, site and split: studies, known, and quartiles."""
        if column not in ("labels", "covariates"):
            raise ValueError(f"{column!r} is neither labels nor covariates.")
        return self.table(
            f"""WITH given AS (SELECT DISTINCT study_id, site, split, unnest({column}) AS l FROM read_parquet(?)),
                     named AS (SELECT l.name AS label, l.value AS value, study_id, site, split FROM given)
                SELECT label, site, split, count(*) AS studies, count(value) AS known, quantile_cont(value, 0.25) AS low,
                       median(value) AS median, quantile_cont(value, 0.75) AS high
                FROM named WHERE label IN (SELECT label FROM named WHERE value NOT IN (-1, 0, 1))
                GROUP BY ALL ORDER BY label, site, split""",
            [self.members_file(cohort_id)],
        )

    def label_names(self, cohort_id: str, column: str = "labels") -> list[str]:
        """The names of a cohort's labels or covariates."""
        found = self.prevalence(cohort_id, column)
        return sorted({str(name) for name in found["label"]}) if len(found) else []

    def attrition(self, cohort_id: str) -> pd.DataFrame:
        """What each rule left: rule, studies, patients, sites, in the order of the spec."""
        file = self.cohort_folder(cohort_id) / "attrition.parquet"
        return (
            self.table("SELECT * FROM read_parquet(?)", [[str(file)]]) if file.is_file() else pd.DataFrame()
        )

    def sample_series(self, cohort_id: str, n: int = 12) -> list[dict[str, Any]]:
        """A few series of a cohort to look at, always the same ones; sites take turns."""
        return self.rows(
            """SELECT m.study_id::VARCHAR AS study_id, m.series_id::VARCHAR AS series_id, m.site, m.split, s.modality, s.sex,
                      s.age_years FROM (
                 SELECT *, row_number() OVER (PARTITION BY site ORDER BY md5(series_id::VARCHAR)) AS turn FROM read_parquet(?)) m
               JOIN studies s USING (study_id) ORDER BY turn, m.site LIMIT ?""",
            [self.members_file(cohort_id), n],
        )

    def difference(self, before: str, after: str, limit: int = 500) -> tuple[dict[str, int], pd.DataFrame]:
        """What changed from one cohort to another: counts of studies by kind of change, and the changes with their reasons."""
        found = diff_cohorts(self.lake, before, after)
        return found.counts, found.changes.slice(0, limit).to_pandas()

    def card(self, cohort_id: str) -> str | None:
        """The cohort's card in Markdown."""
        return self.text(self.cohort_folder(cohort_id) / "card.md")

    def attach_statement(self, cohort: Mapping[str, Any]) -> str:
        """SQL that opens the cohort's members in any DuckDB."""
        file = attach_file(self.lake, self.number)
        return (
            f"ATTACH '{file}' AS rwid (READ_ONLY);\n\n"
            "SELECT s.*, m.split, m.labels\nFROM rwid.members AS m\nJOIN rwid.studies AS s USING (study_id)\n"
            f"WHERE m.cohort_id = '{cohort['cohort_id']}';"
        )
