"""Where a study came from, what was done to it, and which cohorts hold it."""

from __future__ import annotations

from uuid import UUID

import pandas as pd

from curation.cohort_folder import cohort_folders
from ui.catalog.opened import Opened


class Lineage(Opened):
    """Queries of the lineage page."""

    def provenance(self, study_id: str) -> pd.DataFrame:
        """One row an object or report of a study: source digest, delivery, policy, key, how many actions were taken."""
        return self.table(
            """SELECT lower(hex(l.source_digest)) AS source_digest, l.kind,
                      coalesce(l.instance_id, l.report_id)::VARCHAR AS released_as, i.series_id::VARCHAR AS series_id,
                      l.delivery, l.site, l.policy_version, l.key_id, l.code_version, len(l.actions) AS n_actions,
                      len(l.regions) AS n_regions, l.withheld
               FROM deid_log l LEFT JOIN instances i ON i.instance_id = l.instance_id AND i.study_id = $1
               WHERE l.study_id = $1 OR i.study_id IS NOT NULL
               ORDER BY l.kind, i.series_id, i.instance_number, l.source_digest""",
            [UUID(study_id)],
        )

    def actions(self, source_digest: str) -> pd.DataFrame:
        """What was done to one source: tag (or text category) and action."""
        return self.table(
            """SELECT a.tag AS tag, a.action AS action FROM (
                 SELECT unnest(actions) AS a FROM deid_log WHERE source_digest = unhex(?)) ORDER BY 1, 2""",
            [source_digest],
        )

    def actions_of_study(self, study_id: str) -> pd.DataFrame:
        """One row an attribute (or text category) and action: on how many of a study's objects or reports it was taken."""
        return self.table(
            """SELECT kind, a.tag AS tag, a.action AS action, count(DISTINCT source_digest) AS n FROM (
                 SELECT kind, source_digest, unnest(actions) AS a FROM deid_log WHERE study_id = ?)
               GROUP BY ALL ORDER BY ALL""",
            [UUID(study_id)],
        )

    def regions_of_study(self, study_id: str) -> pd.DataFrame:
        """One row a reason for blanking pixels: on how many of a study's objects, and in how many boxes."""
        return self.table(
            """SELECT r.source AS source, count(DISTINCT source_digest) AS n_objects, count(*) AS n_regions FROM (
                 SELECT source_digest, unnest(regions) AS r FROM deid_log WHERE study_id = ?)
               GROUP BY ALL ORDER BY ALL""",
            [UUID(study_id)],
        )

    def faces_of_study(self, study_id: str) -> int:
        """On how many images of a study there may be a face that was not removed."""
        (row,) = self.rows(
            "SELECT count(*) AS n FROM instances WHERE study_id = ? AND may_show_face", [UUID(study_id)]
        )
        return int(row["n"])

    def cohorts_of_study(self, study_id: str) -> list[str]:
        """Ids of the frozen cohorts that hold a study."""
        files = [str(folder / "members.parquet") for folder in cohort_folders(self.lake)]
        if not files:
            return []
        found = self.rows(
            "SELECT DISTINCT cohort_id FROM read_parquet(?) WHERE study_id = ? ORDER BY 1",
            [files, UUID(study_id)],
        )
        return [row["cohort_id"] for row in found]

    def sources_of_cohort(self, cohort_id: str) -> pd.DataFrame:
        """Where a cohort's objects came from: objects per delivery, policy version and key."""
        members = self.members_file(cohort_id)
        return (
            self.table(
                """SELECT delivery, site, policy_version, key_id, count(*) AS objects, count(DISTINCT study_id) AS studies
               FROM instances WHERE series_id IN (SELECT series_id FROM read_parquet(?)) GROUP BY ALL ORDER BY ALL""",
                [members],
            )
            if members
            else pd.DataFrame()
        )
