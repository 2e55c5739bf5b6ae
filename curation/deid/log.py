"""The log of a de-identified folder: DST/deid_log.parquet, one row a file, in the order of SRC's names.

What belongs here: rows of DeidLog from what became of the files. What does not: what a run needs to go on (journal).
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from curation.deid.policy import Policy
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.take import Taken
from curation.records import DeidLog, schema_of, to_table

LOG_NAME = "deid_log.parquet"
_BATCH_ROWS = 20_000


def stamp_of(policy: Policy, pseudonyms: Pseudonyms, site: str) -> dict[str, str]:
    """What every row carries; a released file under another stamp is not this run's."""
    return {
        "policy_version": policy.version,
        "key_id": pseudonyms.key_id,
        "site": site,
        "code_version": importlib.metadata.version("rwid"),
    }


def write_log(
    dst: Path, taken: Iterable[Taken | None], policy: Policy, pseudonyms: Pseudonyms, site: str
) -> None:
    """The whole log in place of an older one; files that could not be read have no digest and no row."""
    stamp = stamp_of(policy, pseudonyms, site)
    rows = (_row(one, stamp) for one in taken if one is not None and (one.withheld or one.released))
    aside = dst / f".{LOG_NAME}.{os.getpid()}.part"
    with pq.ParquetWriter(aside, schema_of(DeidLog), compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_table(to_table(DeidLog, batch))
    aside.rename(dst / LOG_NAME)


def _batches(rows: Iterator[DeidLog]) -> Iterator[Sequence[DeidLog]]:
    first = list(islice(rows, _BATCH_ROWS))
    yield first  # a log of no rows is a log
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch


def _row(taken: Taken, stamp: dict[str, str]) -> DeidLog:
    released = taken.released
    return DeidLog(
        source_digest=taken.digest,
        kind="instance",
        instance_id=released.instance_id if released else None,
        report_id=None,
        study_id=released.study_id if released else None,
        actions=[{"tag": tag, "action": action} for tag, action in released.actions] if released else [],
        regions=[{**asdict(r.box), "source": r.source} for r in released.regions] if released else [],
        withheld=taken.withheld,
        delivery="",
        **stamp,
    )
