"""A cohort as a self-contained folder for somebody who has no lake.

What belongs here: which rows go along, and the README. What does not: who is a member (cohort).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation import records
from curation.cohort_folder import find_cohort, folder_aside, read_facts, write_json
from curation.croissant import croissant
from curation.export_dicom import Progress, export_dicom
from curation.hf_folder import write_hf
from curation.lake import Connection, Lake
from curation.pack import PackRecipe, build_pack, open_pack
from curation.records import ConfigurationError
from curation.view import quote_text

FORMATS = ("parquet", "croissant", "hf", "dicom")
"""parquet and croissant are one folder: croissant.json describes the Parquet files."""

_TABLES: Mapping[str, str] = {
    "studies": "study_id IN (SELECT study_id FROM exported)",
    "series": "series_id IN (SELECT series_id FROM exported)",
    "reports": "study_id IN (SELECT study_id FROM exported)",
    "findings": "study_id IN (SELECT study_id FROM exported)",
}
_PIXELS: Mapping[str, str] = {
    "instances": "series_id IN (SELECT series_id FROM exported)",
    "frames": "series_id IN (SELECT series_id FROM exported)",
}
_ORDER: Mapping[str, str] = {
    "studies": "study_id",
    "series": "series_id",
    "reports": "study_id, report_id",
    "findings": "study_id, finding, source, assertion",
    "instances": "series_id, instance_number NULLS LAST, instance_id",
    "frames": "series_id, instance_id, frame_index",
}


def export_cohort(
    lake: Lake,
    name_or_id: str,
    dst: Path,
    format: str = "parquet",  # noqa: A002 - the contract's word
    *,
    frames: bool = False,
    tiles: PackRecipe | None = None,
    progress: Progress | None = None,
) -> Path:
    """Members with their studies, series, reports and findings as Parquet, and a README, in a new folder `dst`.

    frames: also `instances` and `frames`, so that pixels go along. Format hf: images, labels and splits as Hugging Face's
    load_dataset reads them, `tiles` says of which size and how many a series (a pack that is built where needed). dicom: the
    objects of the members' series as files (export_dicom). progress(done, total) counts members (hf) or series (dicom).
    Raises ConfigurationError for a format that is not there,
    or where `dst` holds something.
    """
    if format not in FORMATS:
        raise ConfigurationError(f"There is no export format {format!r}; there is: {', '.join(FORMATS)}.")
    folder = find_cohort(lake, name_or_id)
    dst = Path(dst).absolute()
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise ConfigurationError(f"{dst.name} is not empty. Name a new folder.")
    if dst.exists():
        dst.rmdir()
    if format == "dicom":
        return export_dicom(lake, folder, dst, progress)
    facts = read_facts(folder)
    if format == "hf":
        pack = open_pack(build_pack(lake, folder.name, tiles or PackRecipe(text=False), progress=progress))
        with folder_aside(dst) as aside:
            shutil.copyfile(folder / "card.md", aside / "card.md")
            write_hf(pack, facts, aside)
        _forget_building(dst)
        return dst
    tables = {**_TABLES, **(_PIXELS if frames else {})}
    with folder_aside(dst) as aside:
        shutil.copyfile(folder / "members.parquet", aside / "members.parquet")
        shutil.copyfile(folder / "card.md", aside / "card.md")
        with lake.connect(int(facts["snapshot"])) as con:
            _copy(con, folder, aside, tables)
        classes = {name: records.TABLES[name] for name in ("members", *tables)}
        write_json(aside / "croissant.json", croissant(facts, aside, classes))
        (aside / "README.md").write_text(_readme(facts, classes), encoding="utf-8")
    _forget_building(dst)
    return dst


def _forget_building(dst: Path) -> None:
    with contextlib.suppress(OSError):  # another export may be building beside it
        (dst.parent / ".building").rmdir()


def _copy(con: Connection, folder: Path, dst: Path, tables: Mapping[str, str]) -> None:
    con.execute(
        f"CREATE TEMP TABLE exported AS SELECT * FROM read_parquet({quote_text(str(folder / 'members.parquet'))})"
    )
    con.execute("SET threads = 1")  # one writer: the same rows give the same bytes
    for name, condition in tables.items():
        path = quote_text(str(dst / f"{name}.parquet"))
        # a payload is compressed already, and its rows are heavy
        how = "COMPRESSION uncompressed, ROW_GROUP_SIZE 2048" if name == "frames" else "COMPRESSION zstd"
        con.execute(
            f"COPY (SELECT * FROM {name} WHERE {condition} ORDER BY {_ORDER[name]}) TO {path} (FORMAT parquet, {how})"
        )


def _readme(facts: Mapping[str, Any], tables: Mapping[str, type]) -> str:
    lines = [
        f"# Cohort {facts['name']}",
        "",
        facts["spec"]["purpose"],
        "",
        f"Exported from cohort `{facts['cohort_id']}`, snapshot {facts['snapshot']}. `card.md` says who is in it and what it is not",
        "good for. Every file is plain Parquet; `study_id`, `series_id` and `patient_id` join them.",
        "",
        "```sql",
        "SELECT split, count(*) FROM 'members.parquet' GROUP BY split;",
        "```",
    ]
    for name, row_class in tables.items():
        lines += [
            "",
            f"## {name}.parquet",
            "",
            (row_class.__doc__ or "").strip(),
            "",
            "| column | |",
            "|---|---|",
        ]
        lines += [
            f"| `{f.name}` | {(f.metadata or {}).get(b'sentence', b'').decode()} |"
            for f in records.schema_of(row_class)
        ]
    return "\n".join(lines) + "\n"
