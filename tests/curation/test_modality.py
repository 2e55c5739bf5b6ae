"""What a series is, which part of the body, whose device, which window, and which order and units."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from curation import modality
from curation.modality import (
    KIND_COLUMNS,
    Plane,
    Unreadable,
    body_part_of,
    kind_rules,
    kind_sql,
    maker_of,
    orientation_sql,
    series_array,
    window_for,
    windows_of,
)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def kinds_of(con: duckdb.DuckDBPyConnection, *series: dict[str, Any]) -> list[str]:
    columns = ", ".join(f"{name} {kind}" for name, kind in KIND_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE folded (position INTEGER, {columns})")
    for position, row in enumerate(series):
        names = ["position", *row]
        marks = ", ".join("?" for _ in names)
        con.execute(f"INSERT INTO folded ({', '.join(names)}) VALUES ({marks})", [position, *row.values()])
    return [k for (k,) in con.execute(f"SELECT {kind_sql()} FROM folded ORDER BY position").fetchall()]


SERIES: list[tuple[str, dict[str, Any]]] = [
    ("localizer", {"modality": "CT", "image_type": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "orientation": "coronal"}),
    ("localizer", {"modality": "CT", "series_description": "Topogram 0.6 T20f", "orientation": "coronal"}),
    ("axial", {"modality": "CT", "image_type": ["ORIGINAL", "PRIMARY", "AXIAL"], "orientation": "axial"}),
    ("reformat", {"modality": "CT", "orientation": "sagittal", "series_description": "Lunge sag"}),
    ("reformat", {"modality": "CT", "image_type": ["DERIVED", "SECONDARY", "REFORMATTED"], "orientation": "axial"}),
    ("projection", {"modality": "CT", "series_description": "MIP axial 8mm", "orientation": "axial"}),
    ("dose_report", {"modality": "CT", "series_description": "Dose Report"}),
    ("capture", {"modality": "CT", "sop_class": "1.2.840.10008.5.1.4.1.1.7"}),
    ("other", {"modality": "CT"}),
    ("localizer", {"modality": "MR", "series_description": "localizer_3-plane"}),
    ("localizer", {"modality": "MR", "n_distinct_orientations": 3, "n_instances": 9}),
    ("t1", {"modality": "MR", "series_description": "t1_mprage_sag_p2_iso"}),
    ("t1c", {"modality": "MR", "series_description": "t1_mprage_sag+C", "contrast": True}),
    ("t1c", {"modality": "MR", "series_description": "T1 VIBE tra KM"}),
    ("t1", {"modality": "MR", "series_description": "T1 TSE C-Spine sag"}),
    ("t1", {"modality": "MR", "series_description": "T1 nativ", "contrast": True}),
    ("t2", {"modality": "MR", "series_description": "T2 TSE tra"}),
    ("t2star", {"modality": "MR", "series_description": "T2* GRE ax"}),
    ("flair", {"modality": "MR", "series_description": "3D T2 FLAIR CUBE"}),
    ("t1", {"modality": "MR", "series_description": "T1 FLAIR sag"}),
    ("dwi", {"modality": "MR", "series_description": "ep2d_diff_b1000"}),
    ("dwi", {"modality": "MR", "b_value": 1000.0}),
    ("adc", {"modality": "MR", "image_type": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}),
    ("adc", {"modality": "MR", "series_description": "dADC map", "b_value": 500.0}),
    ("swi", {"modality": "MR", "series_description": "SWI_Images"}),
    ("mra", {"modality": "MR", "series_description": "TOF_3D_multi-slab"}),
    ("stir", {"modality": "MR", "series_description": "STIR cor"}),
    ("flair", {"modality": "MR", "scanning_sequence": ["SE", "IR"], "inversion_time_ms": 2500.0,
               "repetition_time_ms": 9000.0, "echo_time_ms": 90.0}),
    ("t1", {"modality": "MR", "scanning_sequence": ["SE"], "repetition_time_ms": 550.0, "echo_time_ms": 10.0}),
    ("t2", {"modality": "MR", "scanning_sequence": ["SE"], "repetition_time_ms": 4500.0, "echo_time_ms": 95.0}),
    ("pd", {"modality": "MR", "scanning_sequence": ["SE"], "repetition_time_ms": 3000.0, "echo_time_ms": 20.0}),
    ("b_mode", {"modality": "US", "samples_per_pixel": 3}),
    ("color", {"modality": "US", "image_type": ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0010"]}),
    ("b_mode", {"modality": "US", "image_type": ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]}),
    ("m_mode", {"modality": "US", "image_type": ["ORIGINAL", "PRIMARY", "CARDIAC", "0002"]}),
    ("pa", {"modality": "DX", "view": "PA"}),
    ("ap", {"modality": "CR", "view": "AP"}),
    ("ll", {"modality": "DX", "view": "LATERAL"}),
    ("pa", {"modality": "DX", "series_description": "Thorax p.a."}),
    ("ll", {"modality": "CR", "protocol_name": "Thorax seitlich"}),
    ("ap", {"modality": "DX", "series_description": "Chest portable"}),
    ("frontal", {"modality": "DX", "series_description": "Thorax de face"}),
    ("other", {"modality": "DX", "series_description": "Chest PA and lateral"}),
    ("cc", {"modality": "MG", "view": "CC"}),
    ("mlo", {"modality": "MG", "series_description": "R MLO"}),
    ("tomosynthesis", {"modality": "MG", "view": "CC", "sop_class": "1.2.840.10008.5.1.4.1.1.13.1.3"}),
    ("axial", {"modality": "PT", "orientation": "axial"}),
    ("run", {"modality": "XA", "n_frames": 60, "n_instances": 2}),
    ("segmentation", {"modality": "SEG"}),
    ("dose_report", {"modality": "SR", "sop_class": "1.2.840.10008.5.1.4.1.1.88.67"}),
    ("structured_report", {"modality": "SR", "sop_class": "1.2.840.10008.5.1.4.1.1.88.33"}),
    ("key_objects", {"modality": "KO"}),
    ("slide", {"modality": "SM", "image_type": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}),
    ("slide_label", {"modality": "SM", "image_type": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}),
    ("other", {"modality": "XX"}),
    ("other", {}),
]  # fmt: skip


def test_series_get_the_kind_their_words_types_and_timing_say(con: duckdb.DuckDBPyConnection) -> None:
    found = kinds_of(con, *[row for _, row in SERIES])
    wrong = [(row, kind, got) for (kind, row), got in zip(SERIES, found, strict=True) if kind != got]
    assert not wrong


def test_every_kind_rule_runs_on_a_series_that_says_nothing(con: duckdb.DuckDBPyConnection) -> None:
    modalities = sorted({m for rule in kind_rules() for m in rule.modalities})
    found = kinds_of(con, *[{"modality": m} for m in modalities])
    assert set(found) <= {rule.kind for rule in kind_rules()} | {"other"}
    assert found[modalities.index("CT")] == "other"


def test_no_kind_rule_has_words_that_can_never_match() -> None:
    for path in sorted(Path(modality.__file__).with_name("modalities").glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        assert table["kinds"]
        assert table["windows"]
        for rule in table["kinds"]:
            assert rule["title"], rule
            # words and types are upper case: a lower-case letter in a pattern matches nothing
            patterns = rule["where"].split("'")[1::2]
            assert not any(c.islower() for p in patterns if p.startswith(" ") for c in p), rule


def test_planes_are_named_by_their_normal(con: duckdb.DuckDBPyConnection) -> None:
    cases = {
        "axial": [1.0, 0, 0, 0, 1.0, 0],
        "coronal": [1.0, 0, 0, 0, 0, -1.0],
        "sagittal": [0, 1.0, 0, 0, 0, -1.0],
        "oblique": [0.7071, 0.7071, 0, 0, 0, -1.0],
    }
    cases_sql = ", ".join(f"('{name}', {cosines})" for name, cosines in cases.items())
    tilted = [1.0, 0, 0, 0, 0.9063, -0.4226]  # a gantry at 25 degrees
    sql = f"SELECT name, {orientation_sql('c')} FROM (VALUES {cases_sql}, ('axial', {tilted}), (NULL, NULL)) t(name, c)"
    assert all(name == found for name, found in con.execute(sql).fetchall())


@pytest.mark.parametrize(
    ("part", "texts"),
    [
        (
            "CHEST",
            ["CHEST", "Thorax", "TORAX", "RX Tórax PA", "胸部単純", "Klatka piersiowa", "ОГК Грудная клетка"],
        ),
        ("ABDOMEN", ["Abd", "Bauch nativ", "JAMA BRZUSZNA", "ABDÓMEN"]),
        ("ABDOMENPELVIS", ["CT Abdomen/Pelvis w contrast", "ABDOMEN_PELVIS"]),
        ("CHESTABDPELVIS", ["CT CHEST ABD PELVIS", "TAP"]),
        ("BRAIN", ["BRAIN", "MR Cerveau", "Head^Brain", "脑"]),
        ("HEAD", ["Schädel nativ", "KOPF", "GŁOWA"]),
        ("BREAST", ["Mammographie", "BREAST"]),
        ("FOOT", ["Fuß links"]),
        ("LSPINE", ["LWS", "L-SPINE", "lumbar spine"]),
        ("KNEE", ["RODILLA", "Knie re"]),
    ],
)
def test_body_parts_are_found_in_the_words_of_many_languages(part: str, texts: list[str]) -> None:
    assert {body_part_of(None, text) for text in texts} == {part}


def test_a_stated_body_part_wins_over_words_and_rubbish_gives_none() -> None:
    assert body_part_of("CHEST", "CT Abdomen") == "CHEST"
    assert body_part_of("UNKNOWN", None, "CT Abdomen") == "ABDOMEN"
    assert body_part_of(None, "метастаз") is None  # the pelvis is a part of that word only
    assert body_part_of("", "Routine", "") is None


def test_makers_have_one_spelling() -> None:
    assert {maker_of(m) for m in ("GE MEDICAL SYSTEMS", "GE Healthcare", "ge")} == {"GE HEALTHCARE"}
    assert {maker_of(m) for m in ("SIEMENS", "Siemens Healthineers")} == {"SIEMENS"}
    assert {maker_of(m) for m in ("TOSHIBA", "TOSHIBA_MEC", "Canon Medical Systems")} == {"CANON"}
    assert maker_of("Acme  devices") == "ACME DEVICES"
    assert maker_of("GEORGE & CO") == "GEORGE CO"  # begins like GE, is not GE
    assert maker_of(" ") is None
    assert maker_of(None) is None


def test_the_default_window_of_a_chest_ct_is_the_lung_and_others_are_offered() -> None:
    windows = windows_of("CT", "axial", "CHEST")
    assert windows[0].name == "lung"
    assert windows[0].limits(np.zeros((2, 2))) == (-1350.0, 150.0)
    assert {w.name for w in windows} >= {"lung", "soft tissue", "bone"}
    assert window_for("CT", "axial", "ABDOMEN").name == "soft tissue"
    assert window_for("CT", "axial", "BRAIN").name == "brain"


def test_windows_without_units_follow_the_pixels_shown() -> None:
    values = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    low, high = window_for("MR", "t1").limits(values)
    assert low == pytest.approx(50, abs=1)
    assert high == pytest.approx(9949, abs=1)
    flat = window_for("DX").limits(np.full((4, 4), 7.0))
    assert flat[0] < flat[1]
    assert window_for("US").limits(values, bits=8) == (0.0, 255.0)
    device = next(w for w in windows_of("DX") if w.name == "device")
    assert device.limits(values, (2000.0, 1001.0)) == (1499.5, 2499.5)


def stack(n: int = 5, spacing: float = 2.5, **given: Any) -> tuple[list[np.ndarray], list[Plane]]:
    frames = [np.full((4, 6), 100 + i, dtype=np.int16) for i in range(n)]
    facts = {
        "modality": "CT", "image_orientation": [1.0, 0, 0, 0, 1.0, 0], "pixel_spacing_row_mm": 0.7,
        "pixel_spacing_column_mm": 0.8, "rescale_slope": 2.0, "rescale_intercept": -1024.0,
    } | given  # fmt: skip
    return frames, [Plane(**facts, image_position=[0.0, 0.0, -50 + spacing * i]) for i in range(n)]


def test_a_ct_stack_is_in_hounsfield_units_and_in_order_along_the_normal() -> None:
    frames, planes = stack()
    shuffled = [3, 0, 4, 1, 2]
    array = series_array([frames[i] for i in shuffled], [planes[i] for i in shuffled])
    assert array.values.dtype == np.float32
    assert array.values[:, 0, 0].tolist() == [2.0 * (100 + i) - 1024 for i in range(5)]
    assert array.unit == "HU"
    assert array.spacing_mm == pytest.approx((2.5, 0.7, 0.8))
    assert [shuffled[i] for i in array.order] == [0, 1, 2, 3, 4]


def test_padding_around_the_field_of_view_is_air() -> None:
    frames, planes = stack(3, rescale_slope=1.0, rescale_intercept=-1000.0)
    padded = [np.where(np.eye(4, 6, dtype=bool), -2000, f).astype(np.int16) for f in frames]
    assert series_array(padded, planes).values.min() == -1024.0
    mr = [Plane(modality="MR", rescale_slope=1.0, rescale_intercept=0.0)]
    assert series_array(padded[:1], mr).values.min() == -2000.0  # signal has no floor


def test_without_a_rescale_there_are_no_hounsfield_units() -> None:
    frames, planes = stack(rescale_slope=None, rescale_intercept=None)
    array = series_array(frames, planes)
    assert array.unit == ""
    assert array.values[0, 0, 0] == 100.0


def test_a_missing_slice_a_double_slice_and_a_mixed_stack_are_unreadable() -> None:
    frames, planes = stack(8)
    with pytest.raises(Unreadable, match="unevenly"):
        series_array(frames[:3] + frames[4:], planes[:3] + planes[4:])
    with pytest.raises(Unreadable, match="one position"):
        series_array([*frames, frames[0]], [*planes, planes[0]])
    coronal = Plane(image_position=[0.0, 3.0, 0.0], image_orientation=[1.0, 0, 0, 0, 0, -1.0])
    with pytest.raises(Unreadable, match="orientation"):
        series_array([*frames, frames[0]], [*planes, coronal])
    with pytest.raises(Unreadable, match="differ in size"):
        series_array([*frames[:-1], np.zeros((2, 2))], planes)
    with pytest.raises(Unreadable, match="one plane a frame"):
        series_array([], [])


def test_positions_rounded_by_the_device_still_make_an_even_stack() -> None:
    frames, planes = stack(40, spacing=0.625)
    rounded = [
        Plane(image_orientation=p.image_orientation, image_position=[0.0, 0.0, round(p.image_position[2], 2)])
        for p in planes
        if p.image_position
    ]
    assert series_array(frames, rounded).spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def test_frames_without_positions_keep_the_device_order() -> None:
    frames = [np.full((2, 2), i, dtype=np.uint8) for i in range(3)]
    planes = [Plane(instance_number=n, photometric="MONOCHROME1", slice_thickness_mm=4.0) for n in (3, 1, 2)]
    array = series_array(frames, planes)
    assert array.order == (1, 2, 0)
    assert array.is_monochrome1  # flagged, not inverted
    assert array.values[2, 0, 0] == 0.0
    assert array.spacing_mm == (4.0, None, None)
