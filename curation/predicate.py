"""SQL expressions of a cohort spec: parsed by DuckDB's own parser, checked against an allow-list, helpers resolved.

What belongs here: what an expression may say and what the helpers mean. What does not: running it (attrition).

An expression is one scalar expression over the columns of one view: no subquery, window, aggregate, star or parameter, and
only the functions of cohorts/functions.toml, which read nothing but their arguments and are the same on every run. The helpers
(`has_finding('nodule')` and so on) become columns that attrition joins: `said:<finding>`, `event:<event>`, `days:<event>`.
"""

from __future__ import annotations

import copy
import difflib
import functools
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NoReturn

import duckdb

from curation.finding import finding_name
from curation.records import ConfigurationError
from curation.view import quote_name


@functools.cache
def allowed_functions() -> Mapping[str, tuple[str, ...]]:
    """Kind to the functions and operators that an expression may call (cohorts/functions.toml)."""
    text = (resources.files("curation") / "cohorts" / "functions.toml").read_text(encoding="utf-8")
    return {kind: tuple(names) for kind, names in tomllib.loads(text).items()}


HELPERS: Mapping[str, str] = {
    "has_finding": "coalesce({said} % 3 = 0, false)",
    "lacks_finding": "coalesce({said} % 3 = 2, false)",
    "is_uncertain": "coalesce({said} % 3 = 1, false)",
    "mentions": "{said} IS NOT NULL",
    "asserted": "CASE {said} % 3 WHEN 0 THEN true WHEN 2 THEN false ELSE NULL END",
    "assertion": "CASE {said} % 3 WHEN 0 THEN 1 WHEN 1 THEN -1 WHEN 2 THEN 0 ELSE NULL END",
    "has_outcome": "coalesce({event} OR {patient_event}, {event}, {patient_event}, false)",
    "outcome_observed": "{event}",
    "outcome_days": "{days}",
}
"""Helper to its meaning. `said` is the rank of what counts for a study, see attrition: modulo 3, 0 is present, 1 uncertain,
2 absent. has_finding, lacks_finding, is_uncertain, mentions and has_outcome are never NULL; asserted is true where present,
false where absent and NULL where uncertain or not mentioned; assertion is 1, 0, -1 where uncertain, NULL where not mentioned."""

_CLASSES = frozenset(
    {
        "COLUMN_REF",
        "CONSTANT",
        "COMPARISON",
        "CONJUNCTION",
        "OPERATOR",
        "BETWEEN",
        "CASE",
        "CAST",
        "FUNCTION",
        "TYPE",
        "COLLATE",
    }
)
_FORBIDDEN: Mapping[str, str] = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "LAMBDA": "a lambda",
    "POSITIONAL_REFERENCE": "a positional reference",
    "DEFAULT": "DEFAULT",
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: SQL over the view joined with the helper columns, and what it asks of the helpers."""

    sql: str
    findings: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Asked:
    findings: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands: the view it is over, the view's columns, and whether helpers are allowed there."""

    con: duckdb.DuckDBPyConnection
    view: str
    columns: frozenset[str]
    helpers: bool = True


def scope_of(con: duckdb.DuckDBPyConnection, view: str, *, helpers: bool = True) -> Scope:
    """The scope of a view of the lake."""
    names = con.execute(f"SELECT column_name FROM (DESCRIBE {quote_name(view)})").fetchall()
    return Scope(con, view, frozenset(str(row[0]).lower() for row in names), helpers)


def check_expression(scope: Scope, text: str, key: str) -> Expression:
    """One scalar expression, checked and with its helpers resolved. `key` names it in errors.

    Raises ConfigurationError naming the key and the remedy.
    """
    statement = _parse(scope, "SELECT " + text, key, text)
    node = statement["node"]
    expressions = node["select_list"]
    _only(node, key, text, order_allowed=False)
    if len(expressions) != 1 or expressions[0].get("alias"):
        _wrong(key, text, "it must be one expression, without a name or a comma")
    asked = _Asked()
    resolved = _resolve(scope, expressions[0], key, text, asked)
    return Expression(_to_sql(scope, resolved), frozenset(asked.findings), frozenset(asked.events))


def check_order(scope: Scope, text: str, key: str) -> str:
    """An ORDER BY list, checked: each item one expression with ASC or DESC, NULLS FIRST or LAST.

    Raises ConfigurationError naming the key and the remedy.
    """
    statement = _parse(scope, f"SELECT 1 ORDER BY {text}", key, text)
    _only(statement["node"], key, text, order_allowed=True)
    (modifier,) = statement["node"]["modifiers"]
    for item in modifier["orders"]:
        if item["expression"]["class"] == "CONSTANT":
            _wrong(key, text, "order by a column, not by a position")
        item["expression"] = _resolve(scope, item["expression"], key, text, _Asked())
    sql = _deserialize(scope, statement)
    return sql[sql.index("ORDER BY ") + len("ORDER BY ") :]


def check_type(
    scope: Scope, relation: str, expression: Expression, key: str, text: str, kinds: Iterable[str]
) -> str:
    """The SQL type of an expression over a relation. Raises ConfigurationError where it does not bind or is of no such kind."""
    try:
        row = scope.con.execute(
            f"SELECT column_type FROM (DESCRIBE SELECT {expression.sql} AS value {relation})"
        ).fetchall()[0]
    except duckdb.Error as error:
        # binding sees the spec and the schema, no data: its first line is safe to show
        _wrong(key, text, str(error).splitlines()[0])
    kind = str(row[0])
    if kind.split("(")[0] not in kinds:
        _wrong(key, text, f"it gives {kind}, but must give {' or '.join(sorted(kinds)[:3])}")
    return kind


def near(name: str, known: Iterable[str]) -> str:
    """A sentence on what may have been meant."""
    ordered = sorted(known)
    close = difflib.get_close_matches(name, ordered, n=3, cutoff=0.6)
    close = close or [k for k in ordered if k.startswith(name) or name.startswith(k)][:3]
    return f"Did you mean {' or '.join(close)}?" if close else f"There is: {', '.join(ordered)}."


def _wrong(key: str, text: str, what: str) -> NoReturn:
    raise ConfigurationError(f"{key}: {what}. It says: {text}")


def _parse(scope: Scope, query: str, key: str, text: str) -> dict[str, Any]:
    row = scope.con.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0]
    tree = json.loads(row[0])
    if tree.get("error", True):
        _wrong(key, text, f"DuckDB's parser says: {tree.get('error_message', 'not a SELECT')}")
    if len(tree["statements"]) != 1 or tree["statements"][0]["node"]["type"] != "SELECT_NODE":
        _wrong(key, text, "it must be one expression")
    statement: dict[str, Any] = tree["statements"][0]
    return statement


def _only(node: Mapping[str, Any], key: str, text: str, *, order_allowed: bool) -> None:
    """Nothing may follow the expression: no FROM, WHERE, GROUP BY, LIMIT and so on."""
    modifiers = [m["type"] for m in node["modifiers"]]
    is_plain = (
        node["from_table"]["type"] == "EMPTY"
        and not any(
            node[k]
            for k in ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")
        )
        and not node["cte_map"]["map"]
        and modifiers == (["ORDER_MODIFIER"] if order_allowed else [])
    )
    if not is_plain:
        _wrong(
            key, text, "only an expression may stand here, nothing after it (no FROM, WHERE, ORDER BY, LIMIT)"
        )


def _resolve(scope: Scope, node: Any, key: str, text: str, asked: _Asked) -> Any:
    """The tree with every class, function and column checked and every helper call replaced."""
    if isinstance(node, list):
        return [_resolve(scope, n, key, text, asked) for n in node]
    if not isinstance(node, dict):
        return node
    kind = node.get("class")
    if kind is not None and kind not in _CLASSES:
        _wrong(key, text, f"{_FORBIDDEN.get(kind, kind.lower())} is not allowed here")
    if kind == "COLUMN_REF":
        _check_column(scope, node["column_names"], key, text)
    if kind == "FUNCTION":
        name = str(node["function_name"]).lower()
        if scope.helpers and name in HELPERS:
            return _helper(scope, name, node, key, text, asked)
        _check_function(scope, name, node, key, text)
    return {k: _resolve(scope, v, key, text, asked) for k, v in node.items()}


def _check_function(scope: Scope, name: str, node: Mapping[str, Any], key: str, text: str) -> None:
    allowed = {f for names in allowed_functions().values() for f in names}
    is_plain = not (node["filter"] or node["distinct"] or node["order_bys"]["orders"] or node["schema"])
    if name in allowed and is_plain:
        return
    names = [f for f in allowed if f.isidentifier()] + (list(HELPERS) if scope.helpers else [])
    close = difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.7)
    hint = f"did you mean {' or '.join(close)}" if close else "the list is in docs/cohorts.md"
    _wrong(key, text, f"the function {name} is not allowed; {hint}")


def _check_column(scope: Scope, names: list[str], key: str, text: str) -> None:
    name = names[-1]
    if len(names) == 1 and name.lower() in scope.columns:
        return
    _wrong(
        key,
        text,
        f"there is no column {'.'.join(names)!r} in {scope.view}. {near(name.lower(), scope.columns)}",
    )


def _helper(scope: Scope, name: str, node: Mapping[str, Any], key: str, text: str, asked: _Asked) -> Any:
    arguments = [a["expression"] for a in node["arguments"]]
    literal = arguments[0].get("literal", {}) if len(arguments) == 1 else {}
    if literal.get("kind") != "STRING":
        _wrong(key, text, f"{name} takes one name in single quotes, such as {name}('nodule')")
    subject = str(literal["text"])
    if "{said}" in HELPERS[name]:
        subject = finding_name(subject)
        asked.findings.add(subject)
    else:
        asked.events.add(subject)
    columns = {kind: quote_name(f"{kind}:{subject}") for kind in ("said", "event", "patient_event", "days")}
    tree = _parse(scope, "SELECT " + HELPERS[name].format(**columns), key, text)
    return tree["node"]["select_list"][0]


def _to_sql(scope: Scope, expression: Any) -> str:
    row = scope.con.execute("SELECT json_serialize_sql('SELECT 1')").fetchall()[0]
    statement = copy.deepcopy(json.loads(row[0])["statements"][0])
    statement["node"]["select_list"] = [expression]
    return _deserialize(scope, statement).removeprefix("SELECT ")


def _deserialize(scope: Scope, statement: Mapping[str, Any]) -> str:
    tree = json.dumps({"error": False, "statements": [statement]})
    row = scope.con.execute("SELECT json_deserialize_sql(?::JSON)", [tree]).fetchall()[0]
    return str(row[0])
