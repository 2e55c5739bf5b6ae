"""The methods as a ladder: each rung a run of its own that starts from the one before, all judged on the same studies.

What belongs here: what a rung asks of its spec, and the rungs side by side. What does not: running them (tune, the command),
pairing runs (compare). Caches are shared because rungs have one cohort, backbone and input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from curation.records import ConfigurationError
from training.compare import compare
from training.runs import read_run
from training.shared_studies import common_studies, judged_labels, judged_splits, kind_of, metrics_of

RUNGS = ("probe", "cut", "last_n", "lora", "full")
FROM_PIXELS = ("last_n", "lora", "full")
"""Rungs that can start from another run's weights; a cut reads what was cached of the backbone as it came."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One run of a ladder: its headline metric on the shared studies, and what it adds to the rung before (paired)."""

    run_id: str
    kind: str
    starts_from: str
    metric: str
    split: str
    value: float | None
    low: float | None
    high: float | None
    added: float | None
    added_low: float | None
    added_high: float | None
    n: int
    minutes: float


def parse_ladder(text: str) -> tuple[str, ...]:
    """`probe,cut,lora` as rungs. Raises ConfigurationError where one is unknown, twice, or there is but one."""
    kinds = tuple(kind.strip() for kind in text.split(","))
    unknown = [kind for kind in kinds if kind not in RUNGS]
    if unknown or len(set(kinds)) < len(kinds) or len(kinds) < 2:
        raise ConfigurationError(
            f"--ladder {text!r} must name two or more of {', '.join(RUNGS)}, each once, such as probe,cut,lora,full."
        )
    return kinds


def overrides_of(kind: str, before: tuple[str, str] | None, policy: str) -> list[str]:
    """What a rung changes of the spec. before: (kind, run id) of the rung below; a probe is the start of all rungs anyway.

    A ladder that leaves sites out starts each rung from the probe: a run's weights know every site.
    """
    is_warm = kind in FROM_PIXELS and before is not None and before[0] != "probe" and policy == "cohort"
    start = before[1] if is_warm and before else "probe"
    return [f"method.kind={kind}", f"method.warm_start='{start}'"]


def rungs(lake_root: Path, run_ids: Sequence[str]) -> list[Rung]:
    """The finished rungs side by side: on holdout where all judged it, else test; all labels together where several.

    A rung adds what it adds under the same bootstrap draws as the one before, where these can be told of answers alone.
    """
    runs = [read_run(lake_root, run_id) for run_id in run_ids]
    metric = str(runs[0]["report"]["metric"])
    splits = judged_splits(lake_root, run_ids)
    split = next((s for s in ("holdout", "test") if s in splits), splits[0])
    label = judged_labels(lake_root, run_ids)[0]
    if metric in metrics_of(kind_of(lake_root, run_ids, label), label):
        lines, differences = compare(common_studies(lake_root, run_ids, split, label), metric)
        own = {x.run_id: (x.value, x.low, x.high, x.n) for x in lines if (x.arm, x.site) == ("tuned", "all")}
        gaps = {(x.run_id, x.other): x for x in differences if x.site == "all"}
    else:
        own, gaps = {run_id: _reported(lake_root, run_id, metric, split) for run_id in run_ids}, {}
    found = []
    for at, run in enumerate(runs):
        # a difference is run minus other, and the lower rung comes first: turned round, it is what this rung adds
        gap = gaps.get((run_ids[at - 1], run_ids[at])) if at else None
        low_gap, high_gap = (None, None) if gap is None else (_minus(gap.high), _minus(gap.low))
        added = None if gap is None else _minus(gap.value)
        start = run["spec"]["method"]["warm_start"]
        kind = run["spec"]["method"]["kind"]
        value, low, high, n = own[run_ids[at]]
        minutes = round(float(run["report"]["seconds"]) / 60, 2)
        found.append(
            Rung(
                run_ids[at], kind, start, metric, split, value, low, high, added, low_gap, high_gap, n, minutes
            )
        )  # fmt: skip
    return found


def _minus(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # and no minus before a nought


def _reported(
    lake_root: Path, run_id: str, metric: str, split: str
) -> tuple[float | None, float | None, float | None, int]:
    rows = pq.read_table(lake_root / "runs" / run_id / "metrics.parquet").to_pylist()
    here = [
        r
        for r in rows
        if (r["arm"], r["split"], r["site"], r["subgroup"], r["name"])
        == ("tuned", split, "all", "all", metric)
    ]
    row = next((r for r in here if r["label"] == "macro"), here[0])
    return row["value"], row["low"], row["high"], row["n"]
