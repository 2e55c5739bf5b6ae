"""Two cohorts side by side: who came, who left, who changed split or label, and why.

What belongs here: the comparison. What does not: building (cohort).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from curation.attrition import Selection, plan_cohort
from curation.cohort_folder import find_cohort, read_facts, read_spec
from curation.lake import Lake

_SCHEMA = pa.schema(
    [
        ("study_id", pa.string()),
        ("change", pa.string()),
        ("was", pa.string()),
        ("now", pa.string()),
        ("why", pa.string()),
    ]
)

_Study = dict[str, object]


@dataclass(frozen=True, slots=True)
class CohortDiff:
    """From cohort a to cohort b. counts: same, added, removed, moved (another split), relabelled.

    changes: one row a change: study_id, change, was, now, why.
    """

    a: str
    b: str
    counts: dict[str, int]
    changes: pa.Table


def diff_cohorts(lake: Lake, a: str, b: str) -> CohortDiff:
    """What changed from cohort a to cohort b, each by name or id.

    Raises ConfigurationError where one is not there.
    """
    before, after = find_cohort(lake, a), find_cohort(lake, b)
    old, new = _studies(before), _studies(after)
    added, removed = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
    rows = _rows("added", added, _why_out(lake, before, added), new, is_now=True)
    rows += _rows("removed", removed, _why_out(lake, after, removed), old, is_now=False)
    both = sorted(old.keys() & new.keys())
    moved = [s for s in both if old[s]["split"] != new[s]["split"]]
    rows += [
        _row(
            s,
            "moved",
            old[s]["split"],
            new[s]["split"],
            "the split of the spec, or the linked person, changed",
        )
        for s in moved
    ]
    relabelled = [s for s in both if _values(old[s]) != _values(new[s])]
    why = (
        "what is said of the study changed"
        if read_spec(before) == read_spec(after)
        else "the spec's labels or what is said of the study changed"
    )
    rows += [_row(s, "relabelled", _values(old[s]), _values(new[s]), why) for s in relabelled]
    counts = {
        "same": len(set(both) - set(moved) - set(relabelled)),
        "added": len(added),
        "removed": len(removed),
        "moved": len(moved),
        "relabelled": len(relabelled),
    }
    return CohortDiff(before.name, after.name, counts, pa.Table.from_pylist(rows, schema=_SCHEMA))


def _studies(folder: Path) -> dict[UUID, _Study]:
    rows = pq.read_table(
        folder / "members.parquet", columns=["study_id", "split", "labels", "covariates"]
    ).to_pylist()
    return {row["study_id"]: row for row in rows}


def _values(study: _Study) -> str:
    named = [*study["labels"], *study["covariates"]]  # type: ignore[misc]
    return ", ".join(
        f"{v['name']}={'unknown' if v['value'] is None else format(v['value'], 'g')}" for v in named
    )


def _row(study: UUID, change: str, was: object, now: object, why: str) -> dict[str, str]:
    return {"study_id": str(study), "change": change, "was": str(was), "now": str(now), "why": why}


def _rows(
    change: str, ids: Sequence[UUID], why: dict[UUID, str], known: dict[UUID, _Study], *, is_now: bool
) -> list[dict[str, str]]:
    return [
        _row(
            s,
            change,
            "" if is_now else known[s]["split"],
            known[s]["split"] if is_now else "",
            why.get(s, ""),
        )
        for s in ids
    ]


def _why_out(lake: Lake, folder: Path, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Why studies are not in a cohort, from its own spec on its own snapshot."""
    if not ids:
        return {}
    with lake.connect(int(read_facts(folder)["snapshot"])) as con:
        selection = Selection(con, plan_cohort(con, read_spec(folder)))
        return {s: f"not in {folder.name}: {fate}" for s, fate in selection.fates(ids).items()}
