"""Seconds to plan, select and freeze a cohort on a made-up lake of N studies, and milliseconds a report for findings.

    python benchmarks/cohort/bench.py --studies 1000000

The lake is metadata alone, made by SQL from row numbers: 6 modalities, 40 sites, 0.4 patients a study, 2 findings a study.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from curation import records, view
from curation.attrition import Selection, plan_cohort
from curation.cohort import build_cohort, parse_spec
from curation.finding import find_findings
from curation.lake import Connection, Lake
from curation.part import conform

SPEC = """
cohort: bench
include:
  - {name: CT of the chest, where: "modality = 'CT' AND body_part = 'CHEST'"}
  - {name: adult, where: "age_years BETWEEN 18 AND 89"}
  - {name: assessed, where: "has_finding('nodule') OR lacks_finding('nodule')"}
exclude:
  - {name: no report, where: "NOT has_report"}
labels: {nodule: "asserted('nodule')"}
covariates: {emphysema: "has_finding('emphysema')"}
split: {train: 0.7, tune: 0.1, test: 0.2, holdout_sites: [site-3]}
"""

GIVEN: Mapping[str, Mapping[str, str]] = {
    "studies": {
        "study_id": "md5('s' || i)::UUID", "patient_id": "md5('p' || i * 2 // 5)::UUID", "site": "'site-' || (i * 2 // 5 % 40)",
        "modality": "['CT','DX','MR','US','MG','CR'][1 + i % 6]", "modalities": "[['CT','DX','MR','US','MG','CR'][1 + i % 6]]",
        "body_part": "['CHEST','HEAD','ABDOMEN'][1 + i // 6 % 3]", "age_years": "10.0 + i % 85", "sex": "['F','M'][1 + i % 2]",
        "has_report": "i % 10 > 0", "split_bucket": "(hash(i * 2 // 5) % 1000)::INTEGER", "study_date": "DATE '2020-01-01' + (i % 900)::INTEGER",
        "findings": "[]::VARCHAR[]",
    },
    "series": {
        "series_id": "md5('x' || i)::UUID", "study_id": "md5('s' || i)::UUID", "patient_id": "md5('p' || i * 2 // 5)::UUID",
        "site": "'site-' || (i * 2 // 5 % 40)", "modality": "['CT','DX','MR','US','MG','CR'][1 + i % 6]", "is_whole": "true",
        "n_instances": "(1 + i % 300)::INTEGER", "kind": "'axial'",
    },
    "patients": {"patient_id": "md5('p' || i)::UUID", "site": "'site-' || (i % 40)", "n_studies": "2", "split_bucket": "(hash(i) % 1000)::INTEGER"},
    "findings": {
        "study_id": "md5('s' || i // 2)::UUID", "finding": "['nodule','emphysema'][1 + i % 2]", "source": "'report'", "evidence": "''",
        "assertion": "['present','absent','absent','uncertain'][1 + (i // 2 + i % 2) % 4]",
    },
}  # fmt: skip
EMPTY = {
    "VARCHAR": "''",
    "BIGINT": "0::BIGINT",
    "INTEGER": "0",
    "DOUBLE": "0.0",
    "BOOLEAN": "false",
    "VARCHAR[]": "[]::VARCHAR[]",
}


def made_up(con: duckdb.DuckDBPyConnection, table: str, n: int) -> pa.Table:
    columns = []
    for field in records.schema_of(records.TABLES[table]):
        kind = view.sql_type(field.type)
        value = GIVEN[table].get(field.name, f"NULL::{kind}" if field.nullable else EMPTY.get(kind, "NULL"))
        columns.append(f'{value} AS "{field.name}"')
    return conform(table, con.sql(f"SELECT {', '.join(columns)} FROM range({n}) AS r(i)").to_arrow_table())


def make_lake(root: Path, n: int) -> Lake:
    lake = Lake(root)
    with duckdb.connect() as con:
        con.execute("SET arrow_lossless_conversion = true")
        part = lake.write_part("findings", made_up(con, "findings", 2 * n))
        patients = n * 2 // 5

        def fold(_: Connection) -> dict[str, pa.Table]:
            return {t: made_up(con, t, m) for t, m in (("studies", n), ("series", n), ("patients", patients))}

        lake.commit({"bench": lake.stage("bench", {"findings": [part]})}, fold)
    return lake


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1_000_000)
    n = parser.parse_args().studies
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        lake = make_lake(Path(folder), n)
        print(f"lake of {n:,} studies made in {time.perf_counter() - started:.1f} s")
        spec = parse_spec(SPEC)
        with lake.connect() as con:
            started = time.perf_counter()
            plan = plan_cohort(con, spec)
            planned = time.perf_counter()
            selection = Selection(con, plan)
            print(
                f"plan {planned - started:.2f} s, select with attrition {time.perf_counter() - planned:.2f} s"
            )
            for step in selection.steps:
                print(f"  {step.rule:20} {step.studies:>10,} {step.patients:>10,} {step.sites:>4}")
        started = time.perf_counter()
        build_cohort(lake, spec)
        print(f"freeze, all files {time.perf_counter() - started:.2f} s")
    text = "CT CHEST\n\nFINDINGS: There is an 8 mm nodule in the right upper lobe. No pleural effusion, pneumothorax or consolidation. "
    text += "Heart size is normal. Mild centrilobular emphysema.\n\nIMPRESSION: 1. Pulmonary nodule. 2. Emphysema.\n"
    find_findings(text)
    started = time.process_time()
    for _ in range(500):
        find_findings(text)
    print(f"findings {(time.process_time() - started) * 2:.2f} ms a report of {len(text)} characters")


if __name__ == "__main__":
    main()
