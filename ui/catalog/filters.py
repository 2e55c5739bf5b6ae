"""What studies are counted and chosen by: facets, and the filter of the studies page as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

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

ORDERS: Mapping[str, str] = {
    "newest first": "study_date DESC",
    "oldest first": "study_date",
    "most images": "n_instances DESC",
    "by site": "site",
}
"""What the studies page may be ordered by."""


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
