"""Studies: found, and one of them with its series, reports and findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pandas as pd

from ui.catalog.filters import AGE_BAND, FACETS, ORDERS, StudyFilter
from ui.catalog.opened import Opened

STUDY_COLUMNS = f"""study_id::VARCHAR AS study_id, patient_id::VARCHAR AS patient_id, site, country, study_date, age_years,
    {AGE_BAND} AS age_band, sex, modality, modalities, body_part, manufacturer, model, n_series, n_instances, bytes, has_report,
    findings, delivery, split_bucket"""


class Studies(Opened):
    """Queries of the pages of studies."""

    def facet(self, name: str, chosen: StudyFilter, limit: int = 12) -> pd.DataFrame:
        """Values of a facet with the studies each would give, all other filters applied."""
        where, values = chosen.where(without=name)
        if name == "finding":
            return self.table(
                f"""SELECT unnest(findings) AS value, count(*) AS studies FROM studies WHERE {where}
                    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {int(limit)}""",
                values,
            )
        return self.table(
            f"""SELECT {FACETS[name]} AS value, count(*) AS studies FROM studies WHERE {where} AND ({FACETS[name]}) IS NOT NULL
                GROUP BY 1 ORDER BY {"1" if name == "age_band" else "2 DESC, 1"} LIMIT {int(limit)}""",
            values,
        )

    def facet_values(self, name: str) -> list[str]:
        """Every value of a facet in the snapshot, most frequent first."""
        found = self.facet(name, StudyFilter(), limit=200)
        return [str(v) for v in found["value"]]

    def count_studies(self, chosen: StudyFilter) -> tuple[int, int]:
        """How many studies and patients a filter lets through."""
        where, values = chosen.where()
        found = self.rows(
            f"SELECT count(*) AS n, count(DISTINCT patient_id) AS p FROM studies WHERE {where}", values
        )[0]
        return found["n"], found["p"]

    def studies(
        self, chosen: StudyFilter, *, page: int, per_page: int, order: str = "study_date DESC"
    ) -> pd.DataFrame:
        """One page of studies (page 1 is the first), in a fixed order so that pages never overlap."""
        if order not in ORDERS.values():
            raise ValueError(
                f"{order!r} is not an order the studies page offers: {', '.join(ORDERS.values())}."
            )
        where, values = chosen.where()
        return self.table(
            f"""SELECT {STUDY_COLUMNS} FROM studies WHERE {where} ORDER BY {order} NULLS LAST, study_id
                LIMIT {int(per_page)} OFFSET {int((page - 1) * per_page)}""",
            values,
        )

    def recent_studies(self, n: int) -> pd.DataFrame:
        """A few studies, newest first by their shifted date."""
        return self.studies(StudyFilter(), page=1, per_page=n)

    def study(self, study_id: str) -> dict[str, Any] | None:
        """One study; None where it is not in the snapshot or the id is none."""
        if (found := _uuid(study_id)) is None:
            return None
        rows = self.rows(f"SELECT {STUDY_COLUMNS} FROM studies WHERE study_id = ?", [found])
        return rows[0] if rows else None

    def studies_of_patient(self, patient_id: str) -> pd.DataFrame:
        """All studies of one person at one site, oldest first."""
        return self.table(
            f"SELECT {STUDY_COLUMNS} FROM studies WHERE patient_id = ? ORDER BY study_date NULLS LAST, study_id",
            [UUID(patient_id)],
        )

    def series_of(self, study_id: str) -> list[dict[str, Any]]:
        """The series of a study that have frames first, then by kind; with frame time and photometric of one instance."""
        return self.rows(
            """SELECT s.series_id::VARCHAR AS series_id, s.modality, s.body_part, s.kind, s.view, s.laterality, s.phase,
                      s.orientation, s.is_whole, s.quality, s.n_instances, s.n_frames, s.rows_px, s.columns_px,
                      s.pixel_spacing_row_mm, s.slice_thickness_mm, s.spacing_between_slices_mm, s.kernel, s.kvp, s.contrast,
                      s.manufacturer, s.model, s.series_description, s.bytes, i.frame_time_ms, i.photometric
               FROM series s LEFT JOIN (
                 SELECT series_id, min(frame_time_ms) AS frame_time_ms, any_value(photometric) AS photometric
                 FROM instances WHERE study_id = $study GROUP BY series_id) i USING (series_id)
               WHERE s.study_id = $study ORDER BY s.n_frames = 0, s.kind, s.n_frames DESC, s.series_id""".replace(
                "$study", "?"
            ),
            [UUID(study_id)] * 2,
        )

    def first_series(self, study_ids: Sequence[str]) -> dict[str, str]:
        """Study to the series that shows it best: the one with most frames."""
        found = self.rows(
            """SELECT study_id::VARCHAR AS study_id, arg_max(series_id, n_frames)::VARCHAR AS series_id
               FROM series WHERE n_frames > 0 AND list_contains(?, study_id) GROUP BY study_id""",
            [[UUID(i) for i in study_ids]],
        )
        return {row["study_id"]: row["series_id"] for row in found}

    def report(self, study_id: str) -> list[dict[str, Any]]:
        """The reports of a study."""
        return self.rows(
            """SELECT report_id::VARCHAR AS report_id, language, text, sections, n_redactions, policy_version
               FROM reports WHERE study_id = ? ORDER BY report_id""",
            [UUID(study_id)],
        )

    def findings(self, study_id: str) -> pd.DataFrame:
        """Findings of a study with assertion, source and evidence."""
        return self.table(
            """SELECT DISTINCT finding, assertion, source, evidence FROM findings WHERE study_id = ?
               ORDER BY assertion = 'absent', assertion, finding, source""",
            [UUID(study_id)],
        )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
