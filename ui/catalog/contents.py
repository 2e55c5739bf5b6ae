"""What the lake holds: totals, deliveries, refusals, history."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pandas as pd

from ui.catalog.filters import FACETS
from ui.catalog.opened import Opened


class Contents(Opened):
    """Queries of the overview."""

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
