"""The catalogue: instances, reports and findings folded into series, studies and patients."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow.parquet as pq
import pytest

from curation import records
from curation.catalog import attach_file, publish
from curation.finding import finding_bits
from curation.lake import Lake, Snapshot
from curation.site import Site
from tests.curation.lake_rows import an_id, instance, row

SITES = {"st-elsewhere": Site(name="st-elsewhere", country="IS", continent="Europe")}
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


def bucket(patient_id: UUID) -> int:
    return patient_id.int % 1000


def ct(n: int = 5, spacing_mm: float = 2.5, series: str = "s", **given: Any) -> list[records.Instance]:
    """An even axial stack."""
    facts = {
        "series_id": an_id(series),
        "study_id": an_id("study"),
        "patient_id": an_id("patient"),
        "modality": "CT",
        "sop_class": CT_IMAGE,
        "image_type": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "body_part": "CHEST",
        "study_date": date(2019, 5, 6),
        "age_years": 61.0,
        "sex": "F",
        "birth_year": 1958,
        "rows_px": 64,
        "columns_px": 64,
        "samples_per_pixel": 1,
        "n_frames": 1,
        "pixel_spacing_row_mm": 0.7,
        "pixel_spacing_column_mm": 0.7,
        "image_orientation": AXIAL,
        "bytes": 1000,
        "site": "st-elsewhere",
        "delivery": "d1",
        **given,
    }
    return [
        instance(
            **{
                "instance_id": an_id(f"{series}/{k}"),
                "instance_number": k + 1,
                "image_position": [0.0, 0.0, spacing_mm * k],
                **facts,
            }
        )
        for k in range(n)
    ]


def changed(rows: list[records.Instance], at: int, **given: Any) -> list[records.Instance]:
    return [dataclasses.replace(r, **given) if k == at else r for k, r in enumerate(rows)]


def staged(lake: Lake, delivery: str, **rows: list[Any]) -> dict[str, str]:
    parts = {}
    for table, of_table in rows.items():
        row_class = records.DELIVERED[table]
        parts[table] = [lake.write_part(table, records.to_table(row_class, of_table))]
    return {delivery: lake.stage(delivery, parts)}


def publish_rows(lake: Lake, delivery: str = "d1", **rows: list[Any]) -> Snapshot:
    return publish(lake, staged(lake, delivery, **rows), SITES, bucket)


def one(lake: Lake, query: str) -> Any:
    with lake.connect() as con:
        return con.execute(query).fetchone()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_stack_becomes_one_series_one_study_and_one_patient(lake: Lake) -> None:
    publish_rows(lake, instances=ct())
    assert one(lake, "SELECT kind, orientation, is_whole, quality, n_instances, n_frames, rows_px FROM series") == (
        "axial", "axial", True, 1.0, 5, 5, 64,
    )  # fmt: skip
    assert one(
        lake,
        "SELECT modality, modalities, body_part, site, country, n_series, n_instances, bytes FROM studies",
    ) == ("CT", ["CT"], "CHEST", "st-elsewhere", "IS", 1, 5, 5000)
    assert one(
        lake, "SELECT sex, birth_year, n_studies, first_study_date, last_study_date, person_id FROM patients"
    ) == ("F", 1958, 1, date(2019, 5, 6), date(2019, 5, 6), None)
    assert one(
        lake, "SELECT s.split_bucket, p.split_bucket FROM studies s JOIN patients p USING (patient_id)"
    ) == ((bucket(an_id("patient")),) * 2)


STACKS = {
    "even": (ct(), True),
    "rounded header": (changed(ct(), 2, image_position=[0.0, 0.0, 5.1]), True),
    "a slice is missing": (ct(6)[:2] + ct(6)[3:], False),
    "two images at one position": (changed(ct(), 3, image_position=[0.0, 0.0, 5.0]), False),
    "two sizes": (changed(ct(), 1, rows_px=32), False),
    "two pixel spacings": (changed(ct(), 1, pixel_spacing_row_mm=0.9), False),
    "two orientations": (changed(ct(), 1, image_orientation=[0.0, 1.0, 0.0, 0.0, 0.0, -1.0]), False),
    "one without a position": (changed(ct(), 4, image_position=None), False),
    "none with a position": (ct(image_position=None), False),
    "one image": (ct(1, image_position=None, image_orientation=None), True),
    "one multi-frame object": (ct(1, n_frames=40), True),
    "two X-ray images": (ct(2, modality="DX", image_position=None, image_orientation=None), True),
    "two X-ray images of two sizes": (
        changed(ct(2, modality="DX", image_position=None, image_orientation=None), 1, rows_px=9),
        False,
    ),
}


def test_a_series_is_whole_where_it_has_no_gap_no_duplicate_and_one_geometry(lake: Lake) -> None:
    rows = [
        dataclasses.replace(one_row, series_id=an_id(name), instance_id=an_id(f"{name}/{k}"))
        for name, (stack, _) in STACKS.items()
        for k, one_row in enumerate(stack)
    ]
    publish_rows(lake, instances=rows)
    with lake.connect() as con:
        found = {
            i: (whole, q)
            for i, whole, q in con.execute("SELECT series_id, is_whole, quality FROM series").fetchall()
        }
    for name, (_, is_whole) in STACKS.items():
        whole, quality = found[an_id(name)]
        assert (whole, quality == 1.0) == (is_whole, is_whole), name


def test_what_varies_inside_a_series_is_null_or_given_as_min_and_max(lake: Lake) -> None:
    rows = changed(ct(kvp=120.0, kernel="B30f", exposure_mas=10.0), 2, kvp=100.0, exposure_mas=30.0)
    publish_rows(lake, instances=changed(rows, 4, image_position=[0.0, 0.0, 12.5]))
    assert one(
        lake,
        "SELECT kvp, kernel, exposure_mas_min, exposure_mas_max, spacing_between_slices_mm, "
        "spacing_between_slices_mm_min, spacing_between_slices_mm_max FROM series",
    ) == (None, "B30f", 10.0, 30.0, 2.5, 2.5, 5.0)


def test_a_tilted_stack_is_measured_along_its_normal(lake: Lake) -> None:
    tilted = [1.0, 0.0, 0.0, 0.0, 0.96, 0.28]
    rows = [
        r
        for k, base in enumerate(ct(4))
        for r in changed(
            [base], 0, image_orientation=tilted, image_position=[5.0, -0.28 * 3 * k, 0.96 * 3 * k]
        )
    ]
    publish_rows(lake, instances=rows)
    assert one(lake, "SELECT is_whole, orientation, spacing_between_slices_mm FROM series") == (
        True,
        "axial",
        3.0,
    )


def test_the_study_is_named_by_its_images_not_by_localizers_or_reports(lake: Lake) -> None:
    scout = ct(9, series="scout", image_type=["ORIGINAL", "PRIMARY", "LOCALIZER"], body_part="ABDOMEN")
    report = ct(20, series="sr", modality="SR", n_frames=0, rows_px=None, columns_px=None, body_part=None)
    publish_rows(lake, instances=ct(5) + scout + report)
    assert one(lake, "SELECT modality, modalities, body_part, n_series FROM studies") == (
        "CT", ["CT", "SR"], "CHEST", 3,
    )  # fmt: skip
    with lake.connect() as con:
        kinds = con.execute("SELECT kind FROM series ORDER BY kind").fetchall()
    assert kinds == [("axial",), ("localizer",), ("structured_report",)]


def test_a_study_without_images_is_named_by_what_it_has(lake: Lake) -> None:
    publish_rows(lake, instances=ct(1, modality="SR", n_frames=0))
    assert one(lake, "SELECT modality FROM studies") == ("SR",)


def test_findings_asserted_present_set_their_bits_and_nothing_else_does(lake: Lake) -> None:
    def found(finding: str, assertion: str) -> records.Finding:
        facts = {"study_id": an_id("study"), "finding": finding, "assertion": assertion, "source": "report"}
        return row(records.Finding, **facts, site="st-elsewhere", delivery="d1")

    bits = finding_bits()
    rows = [found("nodule", "present"), found("emphysema", "absent"), found("edema", "uncertain")]
    rows += [found("tumour_board", "present"), found("fracture", "present")]
    report = row(records.Report, report_id=an_id("r"), study_id=an_id("study"), patient_id=an_id("patient"))
    publish_rows(lake, instances=ct(), findings=rows, reports=[report])
    assert one(lake, "SELECT findings, finding_mask, has_report FROM studies") == (
        ["fracture", "nodule", "tumour_board"],
        1 << bits["nodule"] | 1 << bits["fracture"],
        True,
    )


def test_a_study_without_findings_or_report_has_an_empty_list_and_no_bits(lake: Lake) -> None:
    publish_rows(lake, instances=ct())
    assert one(lake, "SELECT findings, finding_mask, has_report FROM studies") == ([], 0, False)


def test_a_study_that_two_sites_delivered_is_still_one_study_of_one_patient(lake: Lake) -> None:
    other = ct(2, series="t", patient_id=an_id("other"), site="far-away")
    publish_rows(lake, instances=ct(5) + other)
    assert one(lake, "SELECT count(*), any_value(site), any_value(n_series) FROM studies") == (
        1,
        "st-elsewhere",
        2,
    )
    assert one(lake, "SELECT count(*), sum(n_studies) FROM patients") == (2, 1)


def many_deliveries(lake: Lake) -> list[dict[str, str]]:
    found = []
    for k in range(3):
        rows = []
        for n in range(4):
            # studies that span deliveries, patients that span studies
            facts = {"study_id": an_id(f"study {(k + n) % 5}"), "patient_id": an_id(f"patient {(k + n) % 3}")}
            rows += ct(3, series=f"{k}/{n}", **facts, delivery=f"d{k}", manufacturer=f"maker {n % 2}")
        found.append(staged(lake, f"d{k}", instances=rows))
    return found


def test_the_same_deliveries_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    heads = []
    for seed in range(2):
        lake = Lake(tmp_path / f"lake {seed}")
        deliveries = many_deliveries(lake)
        deliveries = deliveries[seed:] + deliveries[:seed]
        for delivery in deliveries:
            publish(lake, delivery, SITES, bucket)
        heads.append(lake.snapshot())
    assert heads[0].tables == heads[1].tables
    assert heads[0].deliveries == heads[1].deliveries
    assert all(heads[0].tables[name] for name in records.CATALOGUED)


def test_studies_lie_in_the_order_by_which_cohorts_ask(lake: Lake) -> None:
    rows = (
        ct(2) + ct(1, series="m", study_id=an_id("b"), modality="MR") + ct(1, series="a", study_id=an_id("c"))
    )
    publish_rows(lake, instances=rows)
    (part,) = lake.snapshot().tables["studies"]
    with duckdb.connect() as con:
        path = str(lake.root / part.path)
        keys = con.execute(f"SELECT modality, body_part, site, patient_id FROM '{path}'").fetchall()
    assert keys == sorted(keys)
    assert (part.min["modality"], part.max["modality"]) == ("CT", "MR")


def test_publishing_the_same_again_adds_no_snapshot(lake: Lake) -> None:
    first = publish_rows(lake, instances=ct())
    assert publish_rows(lake, instances=ct()) == first
    assert lake.numbers() == [1]


def test_attach_and_connect_give_the_same_answers_at_every_snapshot(lake: Lake) -> None:
    for delivery in many_deliveries(lake)[:2]:
        publish(lake, delivery, SITES, bucket)
    for number in (1, 2):
        with lake.connect(number) as inside, duckdb.connect() as outside:
            outside.execute(f"ATTACH '{attach_file(lake, number)}' AS rwid (READ_ONLY)")
            for table in records.TABLES:
                query = "SELECT * FROM {} ORDER BY ALL"
                expected = inside.execute(query.format(table)).fetchall()
                assert outside.execute(query.format(f"rwid.{table}")).fetchall() == expected
            uid = "SELECT {}dicom_uid(study_id) FROM {}studies ORDER BY 1"
            expected = inside.execute(uid.format("", "")).fetchall()
            assert outside.execute(uid.format("rwid.", "rwid.")).fetchall() == expected


def cohort_table(name: str) -> Any:
    return records.to_table(records.Cohort, [row(records.Cohort, cohort_id=name, name=name, studies=3)])


def test_cohorts_and_runs_written_later_appear_in_an_attached_file(lake: Lake) -> None:
    publish_rows(lake, instances=ct())
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{attach_file(lake)}' AS rwid (READ_ONLY)")
        assert con.execute("SELECT count(*) FROM rwid.cohorts").fetchone() == (0,)
        assert con.execute("SELECT count(*) FROM rwid.metrics").fetchone() == (0,)
        for name in ("aa", "bb"):
            (lake.root / "cohorts" / name).mkdir(parents=True)
            pq.write_table(cohort_table(name), lake.root / "cohorts" / name / "cohort.parquet")
        assert con.execute("SELECT name, studies FROM rwid.cohorts ORDER BY 1").fetchall() == [
            ("aa", 3),
            ("bb", 3),
        ]
        metric = row(records.Metric, run_id="r", name="auroc", value=0.9)
        (lake.root / "runs" / "r").mkdir(parents=True)
        table = records.to_table(records.Metric, [metric]).drop_columns("n_positive")
        pq.write_table(table, lake.root / "runs" / "r" / "metrics.parquet")
        assert con.execute("SELECT name, value, n_positive FROM rwid.metrics").fetchall() == [
            ("auroc", 0.9, None)
        ]
    assert one(lake, "SELECT count(*) FROM cohorts") == (2,)
    assert one(lake, "SELECT count(*) FROM metrics") == (1,)


def test_the_attached_file_explains_its_tables_and_columns(lake: Lake) -> None:
    publish_rows(lake, instances=ct())
    with duckdb.connect(attach_file(lake), read_only=True) as con:
        views = dict(
            con.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
        )
        columns = con.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        )
        comments = {(t, c): comment for t, c, comment in columns.fetchall()}
    assert views["studies"] == "One row per study."
    assert comments["series", "kvp"] == "Tube voltage; NULL where it varies. [kV, KVP]"
    for table, row_class in records.TABLES.items():
        assert all(comments[table, name] for name in records.schema_of(row_class).names)


def test_a_lake_that_moved_gets_a_new_attach_file(lake: Lake, tmp_path: Path) -> None:
    publish_rows(lake, instances=ct())
    shutil.move(lake.root, tmp_path / "elsewhere")
    moved = Lake(tmp_path / "elsewhere")
    with duckdb.connect(attach_file(moved), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM studies").fetchone() == (1,)
    attach_file(moved).unlink()
    assert attach_file(moved).exists()
    attach_file(moved).write_bytes(b"not a database")
    with duckdb.connect(attach_file(moved), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM instances").fetchone() == (5,)
