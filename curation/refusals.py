"""What was refused and why, for those who must follow it up.

What belongs here: counting the lake's `refusals`, and finding the files behind them on the restricted side. What does not:
deciding what is refused (steps, deid, gather); the reasons themselves (records.REASONS).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from curation.lake import Lake
from curation.records import REASONS, ConfigurationError
from curation.settings import Places


@dataclass(frozen=True, slots=True)
class Count:
    """How many inputs of one delivery were refused for one reason."""

    delivery: str
    step: str
    reason: str
    meaning: str
    n: int


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """RESTRICTED. One input that was refused, by the path under which it arrived: it may name a person."""

    delivery: str
    path: str
    kind: str
    step: str
    reason: str


def count_refusals(places: Places, delivery: str | None = None) -> list[Count]:
    """Refusals by delivery, step and reason, most first.

    Raises LakeError where there is no lake, ConfigurationError for a delivery not there.
    """
    lake = Lake(places.lake)
    lake.snapshot()  # says what to do where there is none
    with lake.connect() as con:
        _check_delivery(con, places, delivery)
        rows = con.execute(
            "SELECT delivery, step, reason, count(*) FROM refusals WHERE ? IS NULL OR delivery = ? GROUP BY ALL "
            "ORDER BY delivery, count(*) DESC, reason, step",
            [delivery, delivery],
        ).fetchall()
    return [Count(d, step, reason, REASONS.get(reason, ""), n) for d, step, reason, n in rows]


def refused_files(
    places: Places, delivery: str | None = None, reason: str | None = None
) -> list[RefusedFile]:
    """The refused inputs with the paths under which they arrived, from the restricted arrivals table.

    Of a `duplicate` all copies are listed: their bytes are the same.

    Raises LakeError where there is no lake, ConfigurationError for a delivery or reason not there.
    """
    if reason is not None and reason not in REASONS:
        raise ConfigurationError(f"No reason {reason!r}; reasons are {', '.join(REASONS)}.")
    files = sorted(str(p) for p in (places.restricted / "arrivals").glob("*.parquet"))
    lake = Lake(places.lake)
    lake.snapshot()  # says what to do where there is none
    with lake.connect() as con:
        _check_delivery(con, places, delivery)
        if not files:
            return []
        rows = con.execute(
            "SELECT DISTINCT r.delivery, a.path, r.kind, r.step, r.reason "
            "FROM refusals r JOIN read_parquet(?) a ON a.source_digest = r.source_digest AND a.delivery = r.delivery "
            "WHERE (? IS NULL OR r.delivery = ?) AND (? IS NULL OR r.reason = ?) ORDER BY ALL",
            [files, delivery, delivery, reason, reason],
        ).fetchall()
    return [RefusedFile(*row) for row in rows]


def _check_delivery(con: duckdb.DuckDBPyConnection, places: Places, delivery: str | None) -> None:
    known = sorted(p.stem for p in places.deliveries.glob("*.json"))
    if delivery is not None and delivery not in known:
        raise ConfigurationError(
            f"Delivery '{delivery}' is not registered; registered are: {', '.join(known) or 'none'}."
        )
