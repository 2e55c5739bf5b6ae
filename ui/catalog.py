"""Every query a page needs, over one snapshot of the lake.

What belongs here: SQL and reading cohort and run folders. What does not: drawing, Dagster, and anything restricted: the
catalog is given the lake alone. Ids go in and come out as text; tables come out as pandas frames, one row a thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd

from curation.catalog import attach_file
from curation.cohort_diff import diff_cohorts
from curation.cohort_folder import cohort_folders, find_cohort, read_facts
from curation.lake import Lake, LakeError, Snapshot
from curation.records import ConfigurationError
from training import runs as run_folders

AGE_BAND = """CASE WHEN age_years IS NULL THEN NULL WHEN age_years < 18 THEN '0-17' WHEN age_years < 40 THEN '18-39'
    WHEN age_years < 65 THEN '40-64' ELSE '65+' END"""
"""Age bands as the evaluation of a run names them."""

FACETS: Mapping[str, str] = {
    "modality": "modality",
    "body_part": "body_part",
    "site": "site",
    "sex": "sex",
    "age_band": AGE_BAND,
    "manufacturer": "manufacturer",
}
"""Facet to the expression over `studies` that gives its value."""

_COHORT_ID = re.compile(r"[0-9a-f]{16}")
_STUDY_COLUMNS = f"""study_id::VARCHAR AS study_id, patient_id::VARCHAR AS patient_id, site, country, study_date, age_years,
    {AGE_BAND} AS age_band, sex, modality, modalities, body_part, manufacturer, model, n_series, n_instances, bytes, has_report,
    findings, delivery, split_bucket"""


@dataclass(frozen=True, slots=True)
class StudyFilter:
    """Which studies: per facet the values wanted (none: all), findings all asserted present, report yes or no, words."""

    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    sex: tuple[str, ...] = ()
    age_band: tuple[str, ...] = ()
    manufacturer: tuple[str, ...] = ()
    finding: tuple[str, ...] = ()
    report: str | None = None
    words: str = ""

    def where(self, *, without: str = "") -> tuple[str, list[Any]]:
        """SQL condition over `studies` and its parameters, leaving one facet out for that facet's own counts."""
        conditions, values = ["true"], []
        for name, expression in FACETS.items():
            chosen = getattr(self, name)
            if chosen and name != without:
                conditions.append(f"({expression}) IN ({', '.join('?' * len(chosen))})")
                values += chosen
        for finding in self.finding if without != "finding" else ():
            conditions.append("list_contains(findings, ?)")
            values.append(finding)
        if self.report and without != "report":
            conditions.append("has_report" if self.report == "with report" else "NOT has_report")
        if self.words.strip():
            conditions.append(
                "study_id IN (SELECT study_id FROM reports WHERE contains(lower(text), lower(?)))"
            )
            values.append(self.words.strip())
        return " AND ".join(conditions), values

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return all(not getattr(self, f.name) for f in fields(self))


class Catalog:
    """One snapshot of the lake, read-only. Safe to share between threads: each question gets its own cursor."""

    def __init__(self, lake: Lake, number: int | None) -> None:
        self.lake = lake
        self.number = number
        self._connection = lake.connect(number)
        self.slices = lru_cache(maxsize=256)(self._slices)

    def table(self, query: str, values: Sequence[Any] = ()) -> pd.DataFrame:
        """The answer to a query of this module."""
        with self._connection.cursor() as cursor:
            found = cursor.execute(query, list(values)).df()
        for name in found.select_dtypes(include=["str"]).columns:
            # pandas says NaN where a text is missing, which passes for true and has no .lower()
            found[name] = found[name].astype(object).where(found[name].notna(), None)
        return found

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The answer to a query of this module as plain rows."""
        with self._connection.cursor() as cursor:
            answer = cursor.execute(query, list(values))
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    # ---- the lake ------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever committed."""
        return self.number is None

    @cached_property
    def snapshot(self) -> Snapshot:
        """The manifest. Raises LakeError where the lake is empty."""
        return self.lake.snapshot(self.number)

    @cached_property
    def totals(self) -> dict[str, int]:
        """Studies, patients, sites, countries, series, instances, reports, bytes."""
        return self.rows(
            """SELECT count(*) AS studies, count(DISTINCT patient_id) AS patients, count(DISTINCT site) AS sites,
                      count(DISTINCT country) AS countries, coalesce(sum(n_series), 0)::BIGINT AS series,
                      coalesce(sum(n_instances), 0)::BIGINT AS instances, count(*) FILTER (has_report) AS reports,
                      coalesce(sum(bytes), 0)::BIGINT AS bytes
               FROM studies"""
        )[0]

    @cached_property
    def deliveries(self) -> pd.DataFrame:
        """One row a delivery: what came, what was released, what was refused. arrivals = the sum of the others."""
        return self.table(
            """WITH counted AS (
                 SELECT delivery, site, 1 AS instances, 0 AS reports, 0 AS refusals FROM instances
                 UNION ALL SELECT delivery, site, 0, 1, 0 FROM reports
                 UNION ALL SELECT delivery, site, 0, 0, 1 FROM refusals)
               SELECT delivery, any_value(site) AS site, sum(instances + reports + refusals)::BIGINT AS arrivals,
                      sum(instances)::BIGINT AS instances, sum(reports)::BIGINT AS reports, sum(refusals)::BIGINT AS refusals
               FROM counted GROUP BY delivery ORDER BY delivery DESC"""
        )

    @cached_property
    def refusals(self) -> pd.DataFrame:
        """One row a reason and site: how many inputs were refused."""
        return self.table(
            "SELECT reason, site, kind, count(*) AS inputs FROM refusals GROUP BY ALL ORDER BY inputs DESC, reason, site, kind"
        )

    def history(self, limit: int = 12) -> list[dict[str, Any]]:
        """The newest snapshots, newest first: number, when, and which deliveries each brought."""
        numbers = [n for n in self.lake.numbers() if self.number is None or n <= self.number][-(limit + 1) :]
        snapshots = [self.lake.snapshot(n) for n in numbers]
        found = []
        for at, snapshot in enumerate(snapshots):
            before = snapshots[at - 1].deliveries if at else {}
            if at == 0 and snapshot.parent is not None:
                continue  # read for comparison alone
            brought = [d for d, parts in snapshot.deliveries.items() if before.get(d) != parts]
            found.append(
                {"number": snapshot.number, "created_at_utc": snapshot.created_at_utc, "deliveries": brought}
            )
        return found[::-1][:limit]

    def studies_by(self, facet: str, *, also: str | None = None) -> pd.DataFrame:
        """Studies and patients per value of a facet (and of a second one), most first."""
        second = f", {FACETS[also]} AS {also}" if also else ""
        return self.table(
            f"""SELECT coalesce({FACETS[facet]}, 'unknown') AS {facet}{second}, count(*) AS studies,
                       count(DISTINCT patient_id) AS patients
                FROM studies GROUP BY ALL ORDER BY studies DESC, 1"""
        )

    # ---- studies -------------------------------------------------------------------------------------------------

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
            f"""SELECT {_STUDY_COLUMNS} FROM studies WHERE {where} ORDER BY {order} NULLS LAST, study_id
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
        rows = self.rows(f"SELECT {_STUDY_COLUMNS} FROM studies WHERE study_id = ?", [found])
        return rows[0] if rows else None

    def studies_of_patient(self, patient_id: str) -> pd.DataFrame:
        """All studies of one person at one site, oldest first."""
        return self.table(
            f"SELECT {_STUDY_COLUMNS} FROM studies WHERE patient_id = ? ORDER BY study_date NULLS LAST, study_id",
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

    # ---- pixels --------------------------------------------------------------------------------------------------

    def _slices(self, series_id: UUID) -> tuple[tuple[UUID, int], ...]:
        """(instance, frame) of a series in the order of viewing: along the normal, else as the device numbered them."""
        found = self.rows(
            """SELECT instance_id, n_frames, instance_number, image_position AS p, image_orientation AS o
               FROM instances WHERE series_id = ? AND n_frames > 0""",
            [series_id],
        )
        found.sort(key=_place)
        return tuple((row["instance_id"], index) for row in found for index in range(row["n_frames"]))

    def frame(self, series_id: UUID, index: int | None) -> dict[str, Any] | None:
        """One frame of a series with what is needed to show it; index None is the middle one. None where there is none."""
        places = self.slices(series_id)
        index = len(places) // 2 if index is None else index
        if not 0 <= index < len(places):
            return None
        instance_id, frame_index = places[index]
        facts = self.rows(
            """SELECT i.delivery, i.rows_px, i.columns_px, i.bits_stored, i.photometric, i.rescale_slope, i.rescale_intercept,
                      i.window_center, i.window_width, i.pixel_spacing_row_mm, i.pixel_spacing_column_mm, i.burned_in_regions,
                      s.modality, s.kind, s.body_part
               FROM instances i JOIN series s USING (series_id) WHERE i.series_id = ? AND i.instance_id = ?""",
            [series_id, instance_id],
        )[0]
        files = self._frame_files(facts["delivery"], str(series_id))
        payload = (
            self.rows(
                "SELECT codec, payload FROM read_parquet(?) WHERE series_id = ? AND instance_id = ? AND frame_index = ?",
                [files, series_id, instance_id, frame_index],
            )
            if files
            else []
        )
        return {**facts, **payload[0]} if payload else None

    def _frame_files(self, delivery: str, series_id: str) -> list[str]:
        # the part list says which files can hold the series: the other millions are not opened
        part_list = self.snapshot.deliveries.get(delivery)
        parts = self.lake.part_list(part_list)["frames"] if part_list else []
        return [
            str(self.lake.root / p.path)
            for p in parts
            if str(p.min.get("series_id", "")) <= series_id <= str(p.max.get("series_id", "g"))
        ]

    # ---- lineage -------------------------------------------------------------------------------------------------

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
        members = self._members(cohort_id)
        return (
            self.table(
                """SELECT delivery, site, policy_version, key_id, count(*) AS objects, count(DISTINCT study_id) AS studies
               FROM instances WHERE series_id IN (SELECT series_id FROM read_parquet(?)) GROUP BY ALL ORDER BY ALL""",
                [members],
            )
            if members
            else pd.DataFrame()
        )

    # ---- cohorts -------------------------------------------------------------------------------------------------

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
        files = [str(self._cohort_folder(i) / "cohort.parquet") for i in built]
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
            [self._members(cohort_id)],
        )

    def splits(self, cohort_id: str) -> pd.DataFrame:
        """Studies and patients of a cohort per site and split."""
        return self.table(
            """SELECT site, split, count(DISTINCT study_id) AS studies, count(DISTINCT patient_id) AS patients
               FROM read_parquet(?) GROUP BY ALL ORDER BY site, split""",
            [self._members(cohort_id)],
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
            [self._members(cohort_id)],
        )

    def label_names(self, cohort_id: str, column: str = "labels") -> list[str]:
        """The names of a cohort's labels or covariates."""
        found = self.prevalence(cohort_id, column)
        return sorted({str(name) for name in found["label"]}) if len(found) else []

    def attrition(self, cohort_id: str) -> pd.DataFrame:
        """What each rule left: rule, studies, patients, sites, in the order of the spec."""
        file = self._cohort_folder(cohort_id) / "attrition.parquet"
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
            [self._members(cohort_id), n],
        )

    def difference(self, before: str, after: str, limit: int = 500) -> tuple[dict[str, int], pd.DataFrame]:
        """What changed from one cohort to another: counts of studies by kind of change, and the changes with their reasons."""
        found = diff_cohorts(self.lake, before, after)
        return found.counts, found.changes.slice(0, limit).to_pandas()

    def card(self, cohort_id: str) -> str | None:
        """The cohort's card in Markdown."""
        return self._text(self._cohort_folder(cohort_id) / "card.md")

    def attach_statement(self, cohort: Mapping[str, Any]) -> str:
        """SQL that opens the cohort's members in any DuckDB."""
        file = attach_file(self.lake, self.number)
        return (
            f"ATTACH '{file}' AS rwid (READ_ONLY);\n\n"
            "SELECT s.*, m.split, m.labels\nFROM rwid.members AS m\nJOIN rwid.studies AS s USING (study_id)\n"
            f"WHERE m.cohort_id = '{cohort['cohort_id']}';"
        )

    def _cohort_folder(self, cohort_id: str) -> Path:
        if not _COHORT_ID.fullmatch(cohort_id):
            raise ValueError("A cohort's id has 16 hex digits.")
        return self.lake.root / "cohorts" / cohort_id

    def _members(self, cohort_id: str) -> list[str]:
        file = self._cohort_folder(cohort_id) / "members.parquet"
        return [str(file)] if file.is_file() else []

    @staticmethod
    def _text(file: Path) -> str | None:
        return file.read_text(encoding="utf-8") if file.is_file() else None

    # ---- runs ----------------------------------------------------------------------------------------------------

    def runs(self, cohort_id: str | None = None) -> list[dict[str, Any]]:
        """Every tuning run (of one cohort), newest first."""
        found = run_folders.list_runs(self.lake.root)
        return [r for r in found if cohort_id is None or r.get("cohort_id") == cohort_id]

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run; None where there is none."""
        if not _COHORT_ID.fullmatch(run_id):
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
        files = [f for i in run_ids if (f := self._run_file(i, "metrics.parquet")).is_file()]
        return (
            self.table("SELECT * FROM read_parquet(?)", [[str(f) for f in files]])
            if files
            else pd.DataFrame()
        )

    def mistakes(self, run_id: str, label: str, limit: int = 12) -> pd.DataFrame:
        """Held-out studies on which the tuned model is most wrong, worst first."""
        file = self._run_file(run_id, "predictions.parquet")
        if not file.is_file():
            return pd.DataFrame()
        return self.table(
            """SELECT study_id::VARCHAR AS study_id, series_id::VARCHAR AS series_id, site, split, target, score,
                      abs(target - score) AS error
               FROM read_parquet(?) WHERE arm = 'tuned' AND label = ? AND target IS NOT NULL AND split IN ('test', 'holdout')
               ORDER BY error DESC, study_id LIMIT ?""",
            [[str(file)], label, limit],
        )

    def log_tail(self, run_id: str, n_lines: int = 60) -> str:
        """The last lines a run wrote."""
        text = self._text(self._run_file(run_id, "log.txt")) or ""
        return "\n".join(text.splitlines()[-n_lines:])

    def report_page(self, run_id: str) -> bytes | None:
        """A run's report as HTML."""
        file = self._run_file(run_id, "report.html")
        return file.read_bytes() if file.is_file() else None

    def model_card(self, run_id: str) -> str | None:
        """A run's model card in Markdown."""
        return self._text(self._run_file(run_id, "model_card.md"))

    def _run_file(self, run_id: str, name: str) -> Path:
        if not _COHORT_ID.fullmatch(run_id):
            raise ValueError("A run's id has 16 hex digits.")
        return self.lake.root / "runs" / run_id / name


ORDERS: Mapping[str, str] = {
    "newest first": "study_date DESC",
    "oldest first": "study_date",
    "most images": "n_instances DESC",
    "by site": "site",
}
"""What the studies page may be ordered by."""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _place(row: Mapping[str, Any]) -> tuple[float, int, str]:
    """Where an instance lies in its series: along the slice normal where geometry is known."""
    position, orientation = row["p"], row["o"]
    along = 0.0
    if position and orientation and len(position) == 3 and len(orientation) == 6:
        (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
        along = position[0] * (b * f - c * e) + position[1] * (c * d - a * f) + position[2] * (a * e - b * d)
    return round(along, 4), row["instance_number"] or 0, str(row["instance_id"])


__all__ = ["AGE_BAND", "FACETS", "ORDERS", "Catalog", "LakeError", "StudyFilter"]
