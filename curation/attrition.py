"""A cohort spec over one snapshot: the mask of every study, attrition, what-if, and the members.

What belongs here: running a checked spec. What does not: what expressions may say (predicate), files (cohort, card).

One scan over `studies`, joined once with what findings and outcomes say of a study, projects every rule to one bit. Bit i is
1 where a study passes rule i: an include rule that is true, an exclude rule that is not true (NULL neither includes nor
excludes). "Passes the first k rules" is mask & (2^k - 1); "would be in without rule i" is mask | 2^i.

What counts for a study and a finding, where sources differ: reader before label before report; within one source present
before uncertain before absent. As a number: 3 * source + assertion, the smallest stands. Where the spec honours relabels, what
stands of them (STANDING_SQL) comes before every source, and a label takes its value whatever its expression says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import duckdb
import pyarrow as pa

from curation.cohort_spec import CohortSpec
from curation.finding import lexicon
from curation.predicate import Expression, Scope, check_expression, check_order, check_type, near, scope_of
from curation.records import ConfigurationError, Member, schema_of
from curation.view import quote_name, quote_text

SPLITS = ("train", "tune", "test")
HOLDOUT = "holdout"

RANK_SQL = """CASE source WHEN 'reader' THEN 0 WHEN 'label' THEN 3 ELSE 6 END
    + CASE assertion WHEN 'present' THEN 0 WHEN 'uncertain' THEN 1 ELSE 2 END"""
"""Rank of one `findings` row; modulo 3 it is the assertion."""

STANDING_SQL = """SELECT study_id, label, value FROM relabels
    QUALIFY row_number() OVER (PARTITION BY study_id, label ORDER BY at_utc DESC, value) = 1"""
"""The correction that stands of each study and label: the latest."""

_RELABEL_RANK_SQL = "CASE value WHEN 1 THEN 0 WHEN -1 THEN 1 ELSE 2 END"

_BOOLEAN = ("BOOLEAN",)
_NUMBER = (
    "BOOLEAN", "DOUBLE", "INTEGER", "BIGINT", "FLOAT", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT", "HUGEINT", "DECIMAL",
)  # fmt: skip
_BUCKETS = 1000


@dataclass(frozen=True, slots=True)
class Step:
    """One row of attrition: what is left after a rule. kind: start, include, exclude, index, series, person or sample."""

    position: int
    rule: str
    kind: str
    studies: int
    patients: int
    sites: int


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    kind: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Plan:
    """A spec whose every expression is checked against one connection."""

    spec: CohortSpec
    rules: Sequence[_Rule]
    values: Sequence[tuple[str, Expression]]
    """Column name (`label:x`, `covariate:x`) and expression."""
    keep: Expression
    order: str
    relation: str
    """FROM clause: studies with the helper columns."""


def plan_cohort(con: duckdb.DuckDBPyConnection, spec: CohortSpec) -> Plan:
    """Checks every expression of a spec. Raises ConfigurationError naming the key and the remedy."""
    studies, series = scope_of(con, "studies"), scope_of(con, "series", helpers=False)
    keys = [(f"include.{n} ({r.name})", "include", r) for n, r in enumerate(spec.include)]
    keys += [(f"exclude.{n} ({r.name})", "exclude", r) for n, r in enumerate(spec.exclude)]
    rules = [
        (key, r.where, _Rule(r.name, kind, check_expression(studies, r.where, key))) for key, kind, r in keys
    ]
    named = [("label", n, t) for n, t in spec.labels.items()] + [
        ("covariate", n, t) for n, t in spec.covariates.items()
    ]
    values = [
        (f"{kind}s.{n}", t, f"{kind}:{n}", check_expression(studies, t, f"{kind}s.{n}"))
        for kind, n, t in named
    ]
    # a lake without corrections pays nothing for them
    corrected = _column(con, "SELECT DISTINCT label FROM relabels") if spec.relabels else set()
    relation = _relation(
        [r.expression for _, _, r in rules] + [e for *_, e in values], corrected, spec.labels
    )
    for key, text, rule in rules:
        check_type(studies, relation, rule.expression, key, text, _BOOLEAN)
    for key, text, _, expression in values:
        check_type(studies, relation, expression, key, text, _NUMBER)
    keep = check_expression(series, spec.series.keep, "series.keep")
    check_type(series, "FROM series", keep, "series.keep", spec.series.keep, _BOOLEAN)
    order = check_order(series, spec.series.order, "series.order")
    _check_names(con, spec, studies, [r.expression for _, _, r in rules] + [e for *_, e in values])
    columns = [(column, _relabelled(column, e, corrected)) for *_, column, e in values]
    return Plan(spec, [r for *_, r in rules], columns, keep, order, relation)


def _relabelled(column: str, expression: Expression, corrected: Collection[str]) -> Expression:
    """A label as its readers corrected it; a covariate, and a label that nobody corrected, as it is."""
    kind, name = column.split(":", 1)
    if kind != "label" or name not in corrected:
        return expression
    sql = f"coalesce({quote_name('relabel:' + name)}, CAST({expression.sql} AS DOUBLE))"
    return Expression(sql, expression.findings, expression.events)


def _check_names(
    con: duckdb.DuckDBPyConnection, spec: CohortSpec, studies: Scope, used: Sequence[Expression]
) -> None:
    """Findings, events, strata and held-out sites that exist nowhere are slips of the pen."""
    for column in spec.sample.stratify if spec.sample else ():
        if column.lower() not in studies.columns:
            raise ConfigurationError(
                f"sample.stratify: there is no column {column!r}. {near(column, studies.columns)}"
            )
    known = set(lexicon()) | _column(con, "SELECT DISTINCT finding FROM findings")
    for finding in sorted(set().union(*(e.findings for e in used)) - known):
        raise ConfigurationError(
            f"Finding {finding!r} is neither in the lexicon nor in the lake. {near(finding, known)}"
        )
    events = set().union(*(e.events for e in used))
    there = _column(con, "SELECT DISTINCT event FROM outcomes") if events else set()
    for event in sorted(events - there):
        raise ConfigurationError(f"No outcome of the lake is called {event!r}. {near(event, there)}")
    sites = _column(con, "SELECT DISTINCT site FROM patients")
    for site in (s for s in spec.split.holdout_sites if s not in sites):
        hint = near(site, sites)
        # a site that may yet deliver is no fault; a misspelled one would let its patients into training
        if hint.startswith("Did you mean"):
            raise ConfigurationError(f"split.holdout_sites: no site of the lake is called {site!r}. {hint}")


def _column(con: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {str(row[0]) for row in con.execute(query).fetchall()}


def _relation(used: Sequence[Expression], corrected: Collection[str], labels: Collection[str]) -> str:
    """FROM clause: studies, joined once with the findings, the corrections and the outcomes that the spec names.

    `corrected` are the names of which corrections count, as labels and as findings.
    """
    findings = sorted(set().union(*(e.findings for e in used)))
    events = sorted(set().union(*(e.events for e in used)))
    sql = "FROM studies"
    if findings:
        columns = ", ".join(
            f"min(rank) FILTER (finding = {quote_text(f)})::UTINYINT AS {quote_name('said:' + f)}"
            for f in findings
        )
        said = f"SELECT study_id, finding, 3 + {RANK_SQL} AS rank FROM findings"
        if set(findings) & set(corrected):
            said += f" UNION ALL SELECT study_id, label, {_RELABEL_RANK_SQL} FROM ({STANDING_SQL})"
        named = ", ".join(map(quote_text, findings))
        sql += f" LEFT JOIN (SELECT study_id, {columns} FROM ({said}) WHERE finding IN ({named}) GROUP BY study_id) USING (study_id)"
    if names := sorted(set(labels) & set(corrected)):
        columns = ", ".join(
            f"any_value(value) FILTER (label = {quote_text(n)}) AS {quote_name('relabel:' + n)}"
            for n in names
        )
        named = ", ".join(map(quote_text, names))
        sql += f" LEFT JOIN (SELECT study_id, {columns} FROM ({STANDING_SQL}) WHERE label IN ({named}) GROUP BY study_id) USING (study_id)"
    if events:
        sql += _outcomes(events)
    return sql


def _outcomes(events: Sequence[str]) -> str:
    named = ", ".join(map(quote_text, events))
    of_study, of_patient = [], []
    for event in events:
        is_event = f"event = {quote_text(event)}"
        of_study.append(f"bool_or(observed) FILTER ({is_event}) AS {quote_name('event:' + event)}")
        # the event's day where one was observed, else the end of observation
        of_study.append(
            f"coalesce(min(days_to_event) FILTER ({is_event} AND observed), max(days_to_event) FILTER ({is_event}))"
            f" AS {quote_name('days:' + event)}"
        )
        of_patient.append(f"bool_or(observed) FILTER ({is_event}) AS {quote_name('patient_event:' + event)}")
    return (
        f" LEFT JOIN (SELECT study_id, {', '.join(of_study)} FROM outcomes"
        f" WHERE event IN ({named}) AND study_id IS NOT NULL GROUP BY study_id) USING (study_id)"
        f" LEFT JOIN (SELECT patient_id, {', '.join(of_patient)} FROM outcomes"
        f" WHERE event IN ({named}) AND study_id IS NULL GROUP BY patient_id) USING (patient_id)"
    )


def _mask(plan: Plan) -> str:
    bits = []
    for n, rule in enumerate(plan.rules):
        passed, failed = (f"{2**n}", "0") if rule.kind == "include" else ("0", f"{2**n}")
        bits.append(f"CASE WHEN {rule.expression.sql} THEN {passed}::UBIGINT ELSE {failed}::UBIGINT END")
    return " + ".join(bits) or "0::UBIGINT"


class Selection:
    """A plan carried out on one connection, in temporary tables.

    Tables: `scanned` (mask and values of every study that passes the first rule or fails one rule only), `passed` (studies that
    pass all rules and their index, series, person and sample steps), `picked` (their series).
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
        self.con = con
        self.plan = plan
        self.full = 2 ** len(plan.rules) - 1
        self.steps: list[Step] = []
        con.execute("SET arrow_lossless_conversion = true")
        try:
            self._scan()
            self._count_rules()
            self._choose()
        except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException):
            # DuckDB's text quotes the value that failed
            raise ConfigurationError(
                f"Cohort {plan.spec.cohort}: a cast or a calculation of the spec fails on some row. Write TRY_CAST instead of CAST."
            ) from None

    def _scan(self) -> None:
        values = "".join(f", CAST({e.sql} AS DOUBLE) AS {quote_name(c)}" for c, e in self.plan.values)
        strata = self.plan.spec.sample.stratify if self.plan.spec.sample else ()
        stratum = ", '|', ".join(f"coalesce(CAST({quote_name(s)} AS VARCHAR), '')" for s in strata)
        near_miss = f"bit_count({self.full}::UBIGINT - mask) <= 1" + (
            " OR mask & 1 = 1" if self.plan.rules else ""
        )
        self.con.execute(
            f"""CREATE OR REPLACE TEMP TABLE scanned AS FROM (
                SELECT study_id, patient_id, site, study_date, split_bucket, {_mask(self.plan)} AS mask,
                       concat('', {stratum or "''"}) AS stratum {values} {self.plan.relation})
            WHERE {near_miss}"""
        )

    def _count_rules(self) -> None:
        """The start and one step a rule, from the number of leading rules that each study passes."""
        n_rules = len(self.plan.rules)
        total = self.con.execute(
            "SELECT (SELECT count(*) FROM studies), count(*), count(DISTINCT site) FROM patients WHERE n_studies > 0"
        ).fetchall()[0]
        self.steps.append(Step(0, "all studies", "start", *map(int, total)))
        # trailing ones of the mask = leading rules passed
        leading = (
            " + ".join(
                f"CASE WHEN mask & {2**k - 1} = {2**k - 1} THEN 1 ELSE 0 END" for k in range(1, n_rules + 1)
            )
            or "0"
        )
        counts = {}
        for unit in ("study_id", "patient_id", "site"):
            rows = self.con.execute(
                f"SELECT k, count(*) FROM (SELECT {unit}, max({leading}) AS k FROM scanned GROUP BY {unit}) GROUP BY k"
            ).fetchall()
            counts[unit] = {k: sum(n for reached, n in rows if reached >= k) for k in range(1, n_rules + 1)}
        for k, rule in enumerate(self.plan.rules, start=1):
            self.steps.append(
                Step(k, rule.name, rule.kind, *(counts[u][k] for u in ("study_id", "patient_id", "site")))
            )

    def what_if(self) -> list[tuple[str, int]]:
        """For each rule, how many studies would pass if that rule alone were dropped."""
        rows = self.con.execute("SELECT mask, count(*) FROM scanned GROUP BY mask").fetchall()
        return [
            (rule.name, sum(n for mask, n in rows if mask | 2**i == self.full))
            for i, rule in enumerate(self.plan.rules)
        ]

    def _choose(self) -> None:
        """The steps behind the rules, each narrowing `passed`."""
        spec = self.plan.spec
        self.con.execute(
            f"""CREATE OR REPLACE TEMP TABLE passed AS
            SELECT s.* REPLACE (coalesce(p.split_bucket, s.split_bucket) AS split_bucket), coalesce(p.person_id, s.patient_id) AS person_id
            FROM scanned AS s LEFT JOIN patients AS p USING (patient_id) WHERE mask = {self.full}"""
        )
        if spec.index != "study":
            way = "" if spec.index == "first_per_patient" else "DESC"
            self._narrow(
                f"{spec.index.split('_')[0]} study of each patient", "index",
                f"QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY study_date {way} NULLS LAST, study_id) = 1",
            )  # fmt: skip
        self._pick_series()
        self._narrow("series to show", "series", "WHERE study_id IN (SELECT study_id FROM picked)")
        self._hold_out_persons()
        if spec.sample:
            self._sample()

    def _narrow(self, name: str, kind: str, condition: str) -> None:
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE passed AS SELECT * FROM passed {condition}")
        row = self.con.execute(
            "SELECT count(*), count(DISTINCT patient_id), count(DISTINCT site) FROM passed"
        ).fetchall()[0]
        self.steps.append(Step(len(self.steps), name, kind, *map(int, row)))

    def _pick_series(self) -> None:
        self.con.execute(
            f"""CREATE OR REPLACE TEMP TABLE picked AS
            SELECT study_id, series_id, row_number() OVER (PARTITION BY study_id ORDER BY {self.plan.order}, series_id) AS place
            FROM (SELECT * FROM series WHERE study_id IN (SELECT study_id FROM passed) AND {self.plan.keep.sql})
            QUALIFY place <= {self.plan.spec.series.per_study}"""
        )

    def _hold_out_persons(self) -> None:
        """A person seen both at a held-out site and elsewhere, as linkage says, leaves the other sites' studies."""
        sites = self.plan.spec.split.holdout_sites
        held = f"site IN ({', '.join(map(quote_text, sites))})" if sites else "false"
        both = f"person_id IN (SELECT person_id FROM passed WHERE {held}) AND NOT ({held})"
        row = self.con.execute(f"SELECT count(*) FROM passed WHERE {both}").fetchall()[0]
        if row[0]:
            self._narrow("not the same person at a held-out site", "person", f"WHERE NOT ({both})")

    def _sample(self) -> None:
        """Units ordered by their place in their stratum: any number taken from the top is proportional over the strata."""
        sample = self.plan.spec.sample
        assert sample is not None
        unit = "patient_id" if sample.per == "patient" else "study_id"
        # ids are keyed hashes already; md5 only makes the order unlike that of the split buckets
        self.con.execute(
            f"""CREATE OR REPLACE TEMP TABLE sampled AS
            WITH units AS (SELECT {unit} AS unit, min(stratum) AS stratum, md5('sample:' || {unit}::VARCHAR) AS draw
                           FROM passed GROUP BY {unit}),
            placed AS (SELECT unit, draw, (row_number() OVER (PARTITION BY stratum ORDER BY draw, unit) - 0.5)
                              / count(*) OVER (PARTITION BY stratum) AS place FROM units)
            SELECT unit FROM placed ORDER BY place, draw, unit LIMIT {sample.max}"""
        )
        noun = "patients" if sample.per == "patient" else "studies"
        self._narrow(
            f"sample of at most {sample.max} {noun}", "sample", f"WHERE {unit} IN (SELECT unit FROM sampled)"
        )

    def members(self, cohort_id: str) -> pa.Table:
        """Rows of `members`, sorted by study, then by the order of the series rule."""
        table = self.con.sql(
            f"""SELECT {quote_text(cohort_id)} AS cohort_id, study_id, series_id, patient_id, site, {self._split()} AS split,
                {self._values("label")} AS labels, {self._values("covariate")} AS covariates
            FROM passed JOIN picked USING (study_id) ORDER BY study_id, place"""
        ).to_arrow_table()
        return pa.Table.from_arrays([c.combine_chunks() for c in table.columns], table.column_names).cast(
            schema_of(Member)
        )

    def relabelled(self) -> dict[str, int]:
        """Label to the number of members of which a reader's correction gives its value; only labels that have any."""
        spec = self.plan.spec
        if not spec.relabels or not spec.labels:
            return {}
        named = ", ".join(map(quote_text, spec.labels))
        rows = self.con.execute(
            f"""SELECT label, count(*) FROM ({STANDING_SQL}) WHERE label IN ({named})
                AND study_id IN (SELECT study_id FROM passed) GROUP BY label ORDER BY label"""
        ).fetchall()
        return {str(label): int(n) for label, n in rows}

    def _split(self) -> str:
        split = self.plan.spec.split
        train, tune = round(_BUCKETS * split.train), round(_BUCKETS * (split.train + split.tune))
        sites = ", ".join(map(quote_text, split.holdout_sites))
        held = f"WHEN site IN ({sites}) THEN '{HOLDOUT}'" if sites else ""
        return f"CASE {held} WHEN split_bucket < {train} THEN 'train' WHEN split_bucket < {tune} THEN 'tune' ELSE 'test' END"

    def _values(self, kind: str) -> str:
        names = [c.split(":", 1)[1] for c, _ in self.plan.values if c.startswith(kind + ":")]
        items = ", ".join(f"{{'name': {quote_text(n)}, 'value': {quote_name(f'{kind}:{n}')}}}" for n in names)
        return f"[{items}]::STRUCT(name VARCHAR, value DOUBLE)[]"

    def fates(self, study_ids: Sequence[UUID]) -> dict[UUID, str]:
        """For each study, why it is not among the members, in words; a member is left out."""
        ids = pa.table({"study_id": pa.array([str(i) for i in study_ids], pa.string())})
        self.con.register("asked_ids", ids)
        rows = self.con.execute(
            f"""SELECT a.id, m.mask, p.study_id IS NOT NULL, k.study_id IS NOT NULL
            FROM (SELECT study_id::UUID AS id FROM asked_ids) AS a
            LEFT JOIN (SELECT study_id, {_mask(self.plan)} AS mask {self.plan.relation}
                       WHERE study_id IN (SELECT study_id::UUID FROM asked_ids)) AS m ON m.study_id = a.id
            LEFT JOIN passed AS p ON p.study_id = a.id LEFT JOIN picked AS k ON k.study_id = a.id"""
        ).fetchall()
        self.con.unregister("asked_ids")
        fates = {row[0]: self._fate(row[1], bool(row[3])) for row in rows if not row[2]}
        return {study: fates[study] for study in study_ids if study in fates}

    def _fate(self, mask: int | None, has_series: bool) -> str:
        if mask is None:
            return "not in the snapshot"
        for n, rule in enumerate(self.plan.rules):
            if not mask >> n & 1:
                return f"{'fails' if rule.kind == 'include' else 'excluded by'} {rule.name!r}"
        if has_series:
            return "a held-out person or not sampled" if self.plan.spec.sample else "a held-out person"
        return "not the indexed study, or no series to show"
