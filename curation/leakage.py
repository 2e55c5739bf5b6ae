"""Leakage: what would let a model be judged on what it has learned.

What belongs here: checks over one frozen cohort; each blocks. What does not: checks over the lake (check).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curation.attrition import HOLDOUT
from curation.cohort_folder import read_facts
from curation.lake import Connection, Lake
from curation.view import quote_text

MIN_TEXT = 400
"""Characters from which an equal report text is taken for the same report; shorter ones are phrases that many write."""
MAX_SHARING = 2
"""Patients who may share a text that counts: what more of them share is a template."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One leak: name, what it means, how many offend, and a few of them (ids only)."""

    name: str
    title: str
    n: int
    examples: tuple[str, ...]


_CHECKS: Mapping[str, tuple[str, str]] = {
    "patient_in_two_splits": (
        "A patient stands in more than one split.",
        "SELECT patient_id FROM frozen GROUP BY patient_id HAVING count(DISTINCT split) > 1",
    ),
    "person_in_two_splits": (
        "A linked person stands in more than one split under different patient ids.",
        """SELECT person_id FROM frozen JOIN patients USING (patient_id) WHERE person_id IS NOT NULL
        GROUP BY person_id HAVING count(DISTINCT split) > 1""",
    ),
    "holdout_not_respected": (
        "A study of a held-out site is not in the split holdout, or one of another site is.",
        f"SELECT study_id FROM frozen WHERE (list_contains({{holdout}}, site)) <> (split = '{HOLDOUT}')",
    ),
    "same_pixels_in_two_splits": (
        "The same pixels stand in more than one split.",
        """SELECT hex(pixel_sha256) FROM instances JOIN frozen_series USING (series_id) WHERE pixel_sha256 IS NOT NULL
        GROUP BY pixel_sha256 HAVING count(DISTINCT split) > 1""",
    ),
    "same_report_in_two_splits": (
        f"Two patients in different splits have the same report text of {MIN_TEXT} characters or more.",
        f"""SELECT md5(regexp_replace(lower(text), '\\s+', ' ', 'g')) AS body
        FROM reports JOIN (SELECT study_id, split FROM frozen) USING (study_id)
        WHERE length(text) >= {MIN_TEXT}
        GROUP BY body HAVING count(DISTINCT split) > 1 AND count(DISTINCT patient_id) BETWEEN 2 AND {MAX_SHARING}""",
    ),
}


def leakage(lake: Lake, cohort_dir: Path) -> list[Problem]:
    """Every leak of a cohort, worst first; an empty list where there is none. Judged on the cohort's own snapshot."""
    facts = read_facts(cohort_dir)
    with lake.connect(int(facts["snapshot"])) as con:
        members = quote_text(str(cohort_dir / "members.parquet"))
        con.execute(f"CREATE TEMP TABLE frozen_series AS SELECT * FROM read_parquet({members})")
        con.execute(
            "CREATE TEMP TABLE frozen AS SELECT DISTINCT study_id, patient_id, site, split FROM frozen_series"
        )
        sites = ", ".join(map(quote_text, facts["spec"]["split"]["holdout_sites"]))
        found = [
            _check(con, name, title, sql.replace("{holdout}", f"[{sites}]::VARCHAR[]"))
            for name, (title, sql) in _CHECKS.items()
        ]
    return [problem for problem in found if problem.n]


def _check(con: Connection, name: str, title: str, sql: str) -> Problem:
    rows = con.execute(f"SELECT CAST(columns(*) AS VARCHAR) FROM ({sql}) ORDER BY 1").fetchall()
    return Problem(name, title, len(rows), tuple(str(row[0]) for row in rows[:5]))
