"""Data checks: one SQL file a check, which returns the rows that offend.

What belongs here: reading the files and running one over a connection of the lake. What does not: the checks
themselves (`checks/*.sql`), and what becomes of a delivery that fails (assets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.lake import Connection
from curation.records import REASONS, ConfigurationError
from curation.view import quote_text

_FOLDER = Path(__file__).with_name("checks")
_SEVERITIES = ("error", "warning")
_SCOPES = ("delivery", "catalogue", "cohort", "arrivals")
_SAMPLE_ROWS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One data check.

    severity: error stops a delivery, warning is shown. scope: what the connection must hold: `delivery` the
    bulk tables (staged or published), `catalogue` a published snapshot, `cohort` members too, `arrivals` the
    table of `register_arrivals`.
    """

    name: str
    title: str
    severity: str
    scope: str
    sql: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found; sample_rows are the first few offending rows, de-identified like everything in the lake."""

    name: str
    passed: bool
    n_offending: int
    sample_rows: tuple[Mapping[str, Any], ...]


def load_checks(scope: str = "delivery") -> list[Check]:
    """The checks of one scope, by name. Raises ConfigurationError where a file has no title, severity or scope."""
    checks = [_read(path) for path in sorted(_FOLDER.glob("*.sql"))]
    return [check for check in checks if check.scope == scope]


def _read(path: Path) -> Check:
    text = path.read_text(encoding="utf-8")
    facts = dict(
        line.removeprefix("-- ").split(": ", 1)
        for line in text.splitlines()
        if line.startswith(("-- title: ", "-- severity: ", "-- scope: "))
    )
    if set(facts) != {"title", "severity", "scope"}:
        raise ConfigurationError(
            f"{path.name}: begin it with the comments -- title:, -- severity: and -- scope:."
        )
    if facts["severity"] not in _SEVERITIES or facts["scope"] not in _SCOPES:
        raise ConfigurationError(
            f"{path.name}: severity is one of {', '.join(_SEVERITIES)}, scope one of {', '.join(_SCOPES)}."
        )
    return Check(path.stem, facts["title"], facts["severity"], facts["scope"], text)


def run_check(con: Connection, check: Check) -> CheckResult:
    """Runs one check over the views of a connection of the lake (connect or connect_staged)."""
    reasons = ", ".join(map(quote_text, REASONS))
    con.execute(f"CREATE OR REPLACE TEMP MACRO known_reasons() AS [{reasons}]")
    # counted and sampled in one pass; the sample is stable, so that a report of it is too
    query = (
        f"WITH offending AS MATERIALIZED ({check.sql}\n), total AS (SELECT count(*) AS n_offending FROM offending) "
        f"FROM (FROM offending ORDER BY ALL LIMIT {_SAMPLE_ROWS}), total"
    )
    found = con.execute(query)
    names = [column[0] for column in found.description or ()][:-1]
    rows = found.fetchall()
    sample = tuple(dict(zip(names, row, strict=False)) for row in rows)
    n = rows[0][-1] if rows else 0
    return CheckResult(check.name, n == 0, n, sample)


def register_arrivals(con: Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Brings (delivery, kind) to count in, for the checks of scope `arrivals`; see checks/arrivals_add_up.sql."""
    rows = [{"delivery": delivery, "kind": kind, "n": n} for (delivery, kind), n in counts.items()]
    schema = pa.schema({"delivery": pa.string(), "kind": pa.string(), "n": pa.int64()})
    con.register("arrival_counts", pa.Table.from_pylist(rows, schema=schema))
