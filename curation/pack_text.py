"""The reports of a cohort as token ids, with the boundaries of their sections: text.parquet of a pack.

What belongs here: which reports, in which order, and their file. What does not: how text becomes ids (vocabulary).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation import vocabulary
from curation.lake import Lake, Snapshot
from curation.pack_file import write_synced
from curation.pack_frames import rows_of
from curation.tile import Row

_SECTIONS = pa.list_(pa.struct([("name", pa.string()), ("start", pa.int32()), ("end", pa.int32())]))
_TEXT_SCHEMA = pa.schema(
    [
        ("report_id", pa.uuid()),
        ("study_id", pa.uuid()),
        ("patient_id", pa.uuid()),
        ("tokenizer_sha256", pa.string()),
        ("ids", pa.list_(pa.uint16())),
        ("sections", _SECTIONS),
    ]
)


def write_text(
    lake: Lake, snapshot: Snapshot, members: Sequence[Row], tokenizer: str | None, folder: Path
) -> str:
    """text.parquet, one row per report in the order of members, and tokenizer.json; gives its SHA-256."""
    order = {s: i for i, s in reversed(list(enumerate(m["study_id"] for m in members)))}
    train = {m["study_id"] for m in members if m["split"] == "train"}
    con = lake.connect(snapshot.number)
    select = "SELECT report_id, study_id, patient_id, text, sections FROM reports"
    reports = sorted(
        rows_of(con, select, sorted(order), "study_id"), key=lambda r: (order[r["study_id"]], r["report_id"])
    )
    if tokenizer is None:
        tokenizer = vocabulary.train_tokenizer(r["text"] for r in reports if r["study_id"] in train)
    digest = vocabulary.hash_of(tokenizer)
    texts = vocabulary.tokenize(
        tokenizer, [r["text"] for r in reports], [r["sections"] or [] for r in reports]
    )
    columns = [
        [r["report_id"].bytes for r in reports],
        [r["study_id"].bytes for r in reports],
        [r["patient_id"].bytes for r in reports],
        [digest] * len(reports),
        [t.ids for t in texts],
        [t.sections for t in texts],
    ]
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, _TEXT_SCHEMA, strict=True)]
    with (folder / "text.parquet").open("wb") as raw:
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=_TEXT_SCHEMA), raw, compression="ZSTD", row_group_size=8192
        )
        raw.flush()
        os.fsync(raw.fileno())
    write_synced(folder / "tokenizer.json", tokenizer)
    return digest
