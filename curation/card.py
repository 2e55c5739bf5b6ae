"""card.md: who is in a cohort, what is known of them, and what it is not good for.

What belongs here: counts for people outside, small cells suppressed. What does not: exact counts (cohort.json).

A count from 1 to min_cell - 1 is written as "<min_cell". Where one cell of a row alone is hidden and its total is shown, the
next smallest is hidden too: else the difference would tell it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from curation.attrition import HOLDOUT, SPLITS
from curation.view import quote_text

_FACETS = {
    "sex": "coalesce(sex, 'unknown')",
    "age band": "CASE WHEN age_years IS NULL THEN 'unknown' WHEN age_years >= 90 THEN '90+' ELSE printf('%02d-%02d', floor(age_years / 10)::INT * 10, floor(age_years / 10)::INT * 10 + 9) END",
    "continent": "coalesce(continent, 'unknown')",
    "manufacturer": "coalesce(manufacturer, 'unknown')",
    "modality": "modality",
}
_MAY_BE_MISSING = ("study_date", "age_years", "sex", "body_part", "manufacturer", "model", "country")


def hide_small(counts: Sequence[int], min_cell: int) -> list[str]:
    """Counts as text, small ones hidden, and never one alone among several."""
    hidden = {n for n, count in enumerate(counts) if 0 < count < min_cell}
    if len(hidden) == 1 and len(counts) > 1:
        others = [n for n, count in enumerate(counts) if count > 0 and n not in hidden]
        if others:
            hidden.add(min(others, key=lambda n: counts[n]))
    return [
        (f"<{min_cell}" if count < min_cell else "hidden") if n in hidden else f"{count:,}"
        for n, count in enumerate(counts)
    ]


def card(con: duckdb.DuckDBPyConnection, facts: Mapping[str, Any]) -> str:
    """The card of a cohort. `facts` is cohort.json; the connection has the members of the cohort as view `frozen`.

    `frozen` has one row a study: study_id, patient_id, site, split, labels, covariates.
    """
    n = int(facts["min_cell"])
    splits = [s for s in (*SPLITS, HOLDOUT) if s in facts["splits"]]
    parts = [
        f"# Cohort {facts['name']}",
        facts["spec"]["purpose"] or "No purpose is stated.",
        f"Id `{facts['cohort_id']}`, snapshot {facts['snapshot']} of the lake, cohort engine {facts['engine_version']}.",
        f"Counts below {n} are not shown.",
        "## Attrition\n\n" + _attrition(facts["attrition"], n),
        "## Splits\n\nIn studies. A patient is in one split; a person's bucket never moves when the lake grows.\n\n"
        + _by_split(con, "site", splits, n),
        *(f"### By {name}\n\n{_by_split(con, sql, splits, n)}" for name, sql in _FACETS.items()),
        *(_values(con, kind, splits, n) for kind in ("labels", "covariates") if facts["spec"][kind]),
        "## Missing\n\n" + _missing(con, n),
        "## Sources\n\n" + _sources(con, facts, n),
        "## Limits\n\n" + _limits(facts),
        "## The spec\n\n" + _rules(facts["spec"]),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(
        lines + ["| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in rows]
    )


def _attrition(steps: Sequence[Mapping[str, Any]], n: int) -> str:
    rows: list[tuple[object, ...]] = []
    before: dict[str, int] = {}
    for step in steps:
        counts = {unit: int(step[unit]) for unit in ("studies", "patients")}
        shown = []
        for unit, count in counts.items():
            # a small loss shown by two large counts tells a small cell as well
            lost = before.get(unit, count) - count
            shown.append(
                f"<{n}" if 0 < count < n else f"fewer than {n} less" if 0 < lost < n else f"{count:,}"
            )
        rows.append((step["rule"], step["kind"], *shown, step["sites"]))
        before = counts if all("less" not in s for s in shown) else before
    return table(("rule", "kind", "studies", "patients", "sites"), rows)


def _by_split(con: duckdb.DuckDBPyConnection, value: str, splits: Sequence[str], n: int) -> str:
    columns = ", ".join(f"count(*) FILTER (split = {quote_text(s)})" for s in splits)
    rows = con.execute(
        f"SELECT {value} AS value, {columns} FROM frozen JOIN studies USING (study_id, patient_id, site) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    head = ("", *splits, "all")
    return table(head, [(row[0], *hide_small([*map(int, row[1:])], n), _total(row[1:], n)) for row in rows])


def _total(counts: Sequence[int], n: int) -> str:
    return f"<{n}" if 0 < sum(counts) < n else f"{sum(counts):,}"


def _values(con: duckdb.DuckDBPyConnection, kind: str, splits: Sequence[str], n: int) -> str:
    order = ", ".join(map(quote_text, splits))
    rows = con.execute(
        f"""SELECT v.name, split, coalesce(site, 'all sites'), count(*) FILTER (v.value > 0), count(*) FILTER (v.value = 0),
                   count(*) FILTER (v.value IS NULL OR v.value < 0)
        FROM (SELECT split, site, unnest({kind}) AS v FROM frozen)
        GROUP BY GROUPING SETS ((v.name, split), (v.name, split, site))
        ORDER BY v.name, list_position([{order}], split), site NULLS FIRST"""
    ).fetchall()
    shown = []
    for name, split, site, positive, negative, unknown in rows:
        cells = hide_small([positive, negative, unknown], n)
        known = positive + negative
        share = f"{positive / known:.1%}" if known and positive >= n and negative >= n else ""
        shown.append((name, split, site, *cells, share))
    title = kind.capitalize()
    return f"## {title}\n\n" + table(
        ("name", "split", "site", "positive", "negative", "unknown", "positive of known"), shown
    )


def _missing(con: duckdb.DuckDBPyConnection, n: int) -> str:
    counts = ", ".join(f"count(*) FILTER ({c} IS NULL)" for c in _MAY_BE_MISSING)
    row = con.execute(
        f"SELECT count(*), {counts}, count(*) FILTER (NOT has_report) FROM frozen JOIN studies USING (study_id, patient_id, site)"
    ).fetchall()[0]
    names = (*_MAY_BE_MISSING, "report")
    return table(
        ("column", "studies without"), [(c, *hide_small([v], n)) for c, v in zip(names, row[1:], strict=True)]
    )


def _sources(con: duckdb.DuckDBPyConnection, facts: Mapping[str, Any], n: int) -> str:
    policies = con.execute(
        """SELECT DISTINCT policy_version FROM instances WHERE study_id IN (SELECT study_id FROM frozen)
        UNION SELECT DISTINCT policy_version FROM reports WHERE study_id IN (SELECT study_id FROM frozen) ORDER BY 1"""
    ).fetchall()
    said = con.execute(
        """SELECT source, assertion, count(DISTINCT study_id) FROM findings WHERE study_id IN (SELECT study_id FROM frozen)
        GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    lines = [
        f"- Sites: {', '.join(facts['site_names'])}.",
        f"- Deliveries: {', '.join(facts['deliveries'])}.",
        f"- De-identification: {', '.join(p for (p,) in policies) or 'none recorded'}.",
        f"- Snapshot {facts['snapshot']}, sha256 `{facts['snapshot_sha256']}`, erasure epoch {facts['erasure_epoch']}.",
    ]
    found = table(("source", "assertion", "studies"), [(s, a, *hide_small([c], n)) for s, a, c in said])
    return "\n".join(lines) + ("\n\nWhat findings rest on:\n\n" + found if said else "")


def _limits(facts: Mapping[str, Any]) -> str:
    lines = [
        "- Findings from reports come from phrases with negation and uncertainty rules, not from a reader; check a sample before use.",
        "- Where sources differ, a reader outranks a label and a label a report.",
        "- Dates are shifted by one secret offset a patient; ages of 90 and over are written as 90.",
        "- A person seen at two sites under two numbers counts as two patients until linkage has run.",
    ]
    missing = [s for s in facts["spec"]["split"]["holdout_sites"] if s not in facts["site_names"]]
    if missing:
        lines.append(f"- No study of a site to be held out is in the cohort: {', '.join(missing)}.")
    empty = [split for split, count in facts["splits"].items() if not count]
    if empty:
        lines.append(f"- No study is in: {', '.join(empty)}.")
    return "\n".join(lines)


def _rules(spec: Mapping[str, Any]) -> str:
    rows = [("include", r["name"], r["where"]) for r in spec["include"]]
    rows += [("exclude", r["name"], r["where"]) for r in spec["exclude"]]
    rows += [("label", name, sql) for name, sql in spec["labels"].items()]
    rows += [("covariate", name, sql) for name, sql in spec["covariates"].items()]
    series = spec["series"]
    rows.append(("series", f"{series['per_study']} a study", f"{series['keep']} ORDER BY {series['order']}"))
    return table(("kind", "name", "SQL"), [(kind, name, f"`{sql}`") for kind, name, sql in rows])
