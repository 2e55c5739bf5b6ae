"""Data checks as Dagster sees them: each `curation/checks/*.sql` is one asset check.

Wiring only: what is checked stands in the SQL files, how in curation.check. Checks of a delivery look at what is staged,
before it is visible, and block its publication; those of the catalogue look at the snapshot just made; those of a
cohort at its members.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.guarded import guarded
from assets.resources import RwidHome
from curation.check import Check, load_checks

if TYPE_CHECKING:
    from curation.check import CheckResult
    from curation.lake import Connection, Lake

ANCHORS = {"arrivals": "instances", "delivery": "instances", "catalogue": "studies", "cohort": "cohort"}
"""The asset that carries the checks of a scope."""

NO_LEAKAGE = dg.AssetCheckSpec(
    "no_leakage",
    asset=ANCHORS["cohort"],
    description="No picture, report or person in two splits: nothing lets a model be judged on what it has learned.",
    blocking=True,
)

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@dataclass(frozen=True, slots=True)
class Staged:
    """What the newest curation of a delivery staged, and whether this very run did it."""

    delivery: str
    part_list: str
    arrivals: int
    clinical: int
    is_of_this_run: bool


def _newest(context: Context, asset: str) -> tuple[dg.AssetMaterialization, str]:
    """The newest materialization of an asset in this run's partition, and the run that made it."""
    partition = context.run.tags["dagster/partition"]
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    found = context.instance.fetch_materializations(wanted, limit=1).records
    if not found or found[0].asset_materialization is None:
        raise dg.Failure(
            f"{asset} of '{partition}' has not been made yet. Run its whole job.", allow_retries=False
        )
    return found[0].asset_materialization, found[0].run_id


def find_staged(context: Context) -> Staged:
    """The newest staged part list of this run's delivery. Raises dagster.Failure where nothing was curated yet."""
    made, run_id = _newest(context, ANCHORS["delivery"])
    return Staged(
        delivery=str(made.partition),
        part_list=str(made.metadata["part_list"].value),
        arrivals=int(str(made.metadata["arrivals"].value)),
        clinical=int(str(made.metadata["clinical"].value)),
        is_of_this_run=run_id == context.run.run_id,
    )


def audit(con: "Connection", *scopes: str) -> Iterator[dg.AssetCheckResult]:
    """The verdict of every check of the scopes over a connection. Offending rows are counted, never shown."""
    from curation.check import run_check

    for check in (check for scope in scopes for check in load_checks(scope)):
        result = run_check(con, check)
        yield dg.AssetCheckResult(
            asset_key=ANCHORS[check.scope],
            check_name=check.name,
            passed=result.passed,
            severity=_severity(check),
            metadata={"offending_rows": result.n_offending, "title": check.title} | _where(result),
        )


SHOWN_WHERE = frozenset({"nothing_identifying_is_left"})
"""Checks whose offending rows hold places and kinds only, made to be shown."""


def _where(result: "CheckResult") -> dict[str, Any]:
    from assets.metadata import preview

    shown = preview(result.sample_rows) if result.name in SHOWN_WHERE else None
    return {} if shown is None else {"found_where": shown}


def audit_staged(lake: "Lake", staged: Staged) -> list[dg.AssetCheckResult]:
    """The verdicts over one staged delivery, and whether everything that arrived is accounted for."""
    from curation.check import register_arrivals

    counts = {"arrived": staged.arrivals, "clinical": staged.clinical}
    with lake.connect_staged(staged.delivery, staged.part_list) as con:
        register_arrivals(con, {(staged.delivery, kind): n for kind, n in counts.items()})
        return list(audit(con, "arrivals", "delivery"))


def audit_cohort(lake: "Lake", cohort_id: str, snapshot: int) -> list[dg.AssetCheckResult]:
    """The verdicts over the members of one cohort."""
    import pyarrow.parquet as pq

    with lake.connect(snapshot) as con:
        # of this cohort alone: it must not be blamed for another one
        con.register("members", pq.read_table(lake.root / "cohorts" / cohort_id / "members.parquet"))
        return [*audit(con, "cohort"), _leakage(lake, cohort_id)]


def _leakage(lake: "Lake", cohort_id: str) -> dg.AssetCheckResult:
    from curation.leakage import leakage

    problems = leakage(lake, lake.root / "cohorts" / cohort_id)
    return dg.AssetCheckResult(
        asset_key=ANCHORS["cohort"],
        check_name=NO_LEAKAGE.name,
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={problem.name: problem.n for problem in problems},
    )


def require_checks(results: Sequence[dg.AssetCheckResult]) -> None:
    """Raises dagster.Failure that names the blocking checks which do not hold."""
    failed = [
        str(r.check_name) for r in results if not r.passed and r.severity == dg.AssetCheckSeverity.ERROR
    ]
    if failed:
        raise dg.Failure(
            f"Not published: {', '.join(failed)} failed. Run the job curate_delivery.", allow_retries=False
        )


def _severity(check: Check) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN


def _specs(*scopes: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            check.name, asset=ANCHORS[scope], description=check.title, blocking=check.severity == "error"
        )
        for scope in scopes
        for check in load_checks(scope)
    ]


@dg.multi_asset_check(name="delivery_checks", specs=_specs("arrivals", "delivery"))
def delivery_checks(context: dg.AssetCheckExecutionContext, rwid: RwidHome) -> Iterator[dg.AssetCheckResult]:
    """Audits the staged delivery: where a blocking check fails, nothing of it becomes visible."""
    yield from guarded(audit_staged, rwid.lake(), find_staged(context))


@dg.multi_asset_check(name="catalogue_checks", specs=_specs("catalogue"))
def catalogue_checks(context: dg.AssetCheckExecutionContext, rwid: RwidHome) -> Iterator[dg.AssetCheckResult]:
    """Audits the catalogue of the snapshot that the delivery brought."""
    made, _ = _newest(context, ANCHORS["catalogue"])
    with rwid.lake().connect(int(str(made.metadata["snapshot"].value))) as con:
        yield from guarded(lambda: list(audit(con, "catalogue")))


@dg.multi_asset_check(name="cohort_checks", specs=[*_specs("cohort"), NO_LEAKAGE])
def cohort_checks(context: dg.AssetCheckExecutionContext, rwid: RwidHome) -> Iterator[dg.AssetCheckResult]:
    """Audits the members: no person in two splits, no held-out site in training."""
    made, _ = _newest(context, ANCHORS["cohort"])
    snapshot = int(str(made.metadata["snapshot"].value))
    yield from guarded(audit_cohort, rwid.lake(), str(made.metadata["cohort_id"].value), snapshot)
