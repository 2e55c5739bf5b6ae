"""Slabs, volumes and clips show what lies there, in physical units, or the series is left out with the reason."""

from __future__ import annotations

import dataclasses
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.filewriter import dcmwrite

from curation import frames
from curation.pack import Pack, PackRecipe, build_pack, open_pack
from curation.pack_recipe import LEFT_OUT
from curation.records import ConfigurationError
from tests.curation.lake_rows import an_id
from tests.curation.pack_lake import COHORT, Made, ct, lake_with

AXIAL, CORONAL, SAGITTAL = [1.0, 0, 0, 0, 1.0, 0], [1.0, 0, 0, 0, 0, -1.0], [0, 1.0, 0, 0, 0, -1.0]
VOLUME = PackRecipe(size=16, text=False, kind="volume", depth=8)


def packed(tmp_path: Path, recipe: PackRecipe, *series: Made) -> Pack:
    return open_pack(build_pack(lake_with(tmp_path, *series), COHORT, recipe, workers=1))


def reasons(pack: Pack) -> list[str]:
    return [str(r) for r in pack.left_out["reason"].to_pylist()]


def header(**given: Any) -> bytes:
    """A clean header as the lake keeps it."""
    dataset = Dataset()
    for keyword, value in given.items():
        setattr(dataset, keyword, value)
    file = BytesIO()
    dcmwrite(file, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return file.getvalue()


def item(**given: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in given.items():
        setattr(dataset, keyword, value)
    return dataset


def field(position: np.ndarray) -> np.ndarray:
    """HU that rise by another amount along each of the patient's axes; position [..., 3] in mm."""
    return np.asarray(position @ np.array([3.0, 5.0, 7.0]) - 100)


def phantom(name: str, orientation: list[float], *, n: int = 12, step: float = 3.0, **given: Any) -> Made:
    """A stack of that orientation through the field, 20 x 24 px of 1.5 x 1.2 mm."""
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(along_row, along_column)
    corner = np.array([-14.0, 9.0, 30.0])
    rows, columns = np.mgrid[0:20, 0:24]
    images, positions = [], []
    for i in range(n):
        origin = corner + i * step * normal
        place = origin + rows[..., None] * 1.5 * along_column + columns[..., None] * 1.2 * along_row
        images.append(np.round(field(place) + 1024).astype("i2"))
        positions.append([float(v) for v in origin])
    spacing = {"pixel_spacing_row_mm": 1.5, "pixel_spacing_column_mm": 1.2}
    return Made(
        name, images, positions=positions, orientation=[float(v) for v in orientation],
        facts=spacing | given.pop("facts", {}), **given,
    )  # fmt: skip


def test_a_slab_is_a_tile_between_its_neighbours_in_one_window(tmp_path: Path) -> None:
    made = ct("s", n=9)
    slab = packed(tmp_path / "a", PackRecipe(size=32, text=False, kind="slab", gap=2), made)
    tile = packed(tmp_path / "b", PackRecipe(size=32, text=False), made)
    (row,) = slab.tiles.facts.to_pylist()
    assert slab.tiles[0].shape == (1, 3, 32, 32)
    assert (slab.tiles[0][0, 1] == tile.tiles[0][0]).all()
    assert [f["instance_id"] for f in row["frames"]] == [an_id(f"s/{i}") for i in (2, 4, 6)]
    hashes = [frames.encode(made.images[i]).pixel_sha256 for i in (2, 4, 6)]
    assert [f["pixel_sha256"] for f in row["frames"]] == hashes
    assert (row["instance_id"], row["pixel_sha256"]) == (an_id("s/4"), hashes[1])
    assert row["spacing_mm"] == [4.0, 1.4, 1.4]


def test_at_the_ends_of_a_stack_the_last_slice_stands_for_its_neighbour(tmp_path: Path) -> None:
    slab = packed(tmp_path, PackRecipe(size=32, text=False, kind="slab", tiles_per_series=2), ct("s", n=3))
    rows = slab.tiles.facts["frames"].to_pylist()
    assert [[f["instance_id"] for f in row] for row in rows] == [
        [an_id(f"s/{i}") for i in places] for places in ([0, 0, 1], [1, 2, 2])
    ]


@pytest.mark.parametrize("spacing", [None, (4.0, 2.5, 2.0), (1.0, 0.5, 0.6)])
def test_a_voxel_holds_the_hu_of_its_place_in_the_patient(
    tmp_path: Path, spacing: tuple[float, float, float] | None
) -> None:
    recipe = dataclasses.replace(VOLUME, spacing_mm=spacing)
    turned, oblique = [-1.0, 0, 0, 0, 1.0, 0], [0.96, 0.28, 0, -0.28, 0.96, 0]
    planes = [AXIAL, CORONAL, SAGITTAL, turned, oblique]
    pack = packed(tmp_path, recipe, *[phantom(f"v{i}", plane) for i, plane in enumerate(planes)])
    assert pack.tiles[0].shape == (5, 8, 16, 16) and pack.tiles[0].dtype == np.dtype("<i2")
    for orientation, row, volume in zip(planes, pack.tiles.facts.to_pylist(), pack.tiles[0], strict=True):
        assert row["unit"] == "HU" and len(row["frames"]) == 12
        assert row["spacing_mm"] == pytest.approx(spacing or row["spacing_mm"])
        directions = np.array(row["directions"]).reshape(3, 3)
        assert (np.abs(directions - [[0, 0, 1], [0, 1, 0], [1, 0, 0]]).max(axis=1) < 0.3).all()
        index = np.stack(np.mgrid[0:8, 0:16, 0:16], axis=-1)
        place = np.array(row["origin_mm"]) + (index * row["spacing_mm"]) @ directions
        inside = volume > -1024
        assert inside.mean() > 0.2
        known = _surrounded(inside)  # at the rim a place is known in part
        stack = np.array([np.cross(orientation[:3], orientation[3:]), orientation[3:], orientation[:3]])
        step = np.abs(field(stack) + 100) * [3.0, 1.5, 1.2]
        error = volume[known] - field(place[known])
        assert np.abs(error).max() <= step.sum() / 8 + 0.51, "an eighth of a voxel each way: means of boxes"


def _surrounded(inside: np.ndarray) -> np.ndarray:
    found = np.zeros_like(inside)
    found[1:-1, 1:-1, 1:-1] = inside[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        for step in (-1, 1):
            found &= np.roll(inside, step, axis)
    return found


def test_what_lies_outside_the_field_of_view_is_air(tmp_path: Path) -> None:
    recipe = dataclasses.replace(VOLUME, spacing_mm=(10.0, 10.0, 10.0))
    volume = packed(tmp_path, recipe, phantom("v", AXIAL)).tiles[0][0]
    assert (volume[0] == -1024).all() and (volume[:, 0] == -1024).all()
    assert (volume[3:5, 7:9, 7:9] > -1024).all()


def test_stacks_without_an_honest_geometry_are_left_out_with_the_reason(tmp_path: Path) -> None:
    good = phantom("good", AXIAL)

    def without(name: str, **given: Any) -> Made:
        return dataclasses.replace(good, name=name, **given)

    places = good.positions or []
    missing = without("missing", images=good.images[:5] + good.images[6:], positions=places[:5] + places[6:])
    twice = without("twice", images=[*good.images, good.images[3]], positions=[*places, places[3]])
    drifting = without("drifting", positions=[[x + 2.0 * i, y, z] for i, (x, y, z) in enumerate(places)])
    pack = packed(
        tmp_path, VOLUME, good, missing, twice, drifting,
        without("single", images=good.images[:1], positions=places[:1]),
        without("nowhere", facts={"pixel_spacing_row_mm": None}),
        without("colour", images=[np.zeros((20, 24, 3), "u1")] * 12, photometric="RGB"),
        without("no_hu", rescale=None),
        without("sizes", images=[*good.images[:-1], np.zeros((20, 25), "i2")]),
        without("pet", modality="PT", header=header(Units="CNTS")),
    )  # fmt: skip
    assert reasons(pack) == [
        "uneven_spacing", "duplicate_position", "sheared", "single_slice", "no_geometry", "colour", "no_rescale",
        "mixed_size", "no_suv",
    ]  # fmt: skip
    assert set(reasons(pack)) <= set(LEFT_OUT)
    assert pack.tiles.facts["series_id"].to_pylist() == [an_id("good")]


def test_mr_lies_between_its_percentiles_and_monochrome1_is_turned_around_and_said_to_be(
    tmp_path: Path,
) -> None:
    mr = phantom("mr", AXIAL, modality="MR", kind="t1", rescale=None)
    pack = packed(tmp_path, VOLUME, mr, dataclasses.replace(mr, name="turned", photometric="MONOCHROME1"))
    plain, turned = pack.tiles[0]
    row = pack.tiles.facts.to_pylist()[0]
    assert (row["unit"], row["value_scale"], plain.min(), plain.max()) == ("share", 1e-4, 0, 10000)
    values = np.stack(mr.images)
    assert values.min() < row["window_low"] < row["window_high"] < values.max()
    assert pack.tiles.facts["is_inverted"].to_pylist() == [False, True]
    assert np.abs(10000 - turned.astype(int) - plain).max() <= 1


PET = {
    "Units": "BQML", "DecayCorrection": "START", "SeriesDate": "20200102", "SeriesTime": "100000",
    "AcquisitionDate": "20200102", "AcquisitionTime": "100130.5", "PatientWeight": "70",
}  # fmt: skip
DOSE = {
    "RadionuclideTotalDose": "370000000", "RadionuclideHalfLife": "6586.2", "RadiopharmaceuticalStartTime": "090000.00"
}  # fmt: skip


def pet(name: str, dose: dict[str, str], **over: Any) -> Made:
    facts = {k: v for k, v in (PET | over).items() if v is not None}
    made = phantom(name, AXIAL, modality="PT", kind="axial", body_part=None, rescale=(2.0, 0.0))
    images = [np.full((20, 24), 5000, "i2")] * 12
    told = header(**facts, RadiopharmaceuticalInformationSequence=[item(**dose)])
    return dataclasses.replace(made, images=images, header=told)


def test_pet_is_in_suv_by_body_weight_or_left_out(tmp_path: Path) -> None:
    start = {"RadiopharmaceuticalStartDateTime": "20200102090000"}
    pack = packed(
        tmp_path, VOLUME, pet("hour", DOSE), pet("moment", DOSE | start), pet("admin", DOSE, DecayCorrection="ADMIN"),
        pet("gml", {}, Units="GML"), pet("weight", DOSE, PatientWeight=None),
        pet("half", DOSE | {"RadionuclideHalfLife": "0"}), pet("none", DOSE, DecayCorrection="NONE"),
        pet("late", DOSE | {"RadiopharmaceuticalStartTime": "101500"}),
    )  # fmt: skip
    decayed = 370e6 * 2 ** (-3600 / 6586.2)
    expected = [10000 * 70000 / decayed] * 2 + [10000 * 70000 / 370e6, 10000]
    found = pack.tiles[0][:, 4, 8, 8] * pack.tiles.facts["value_scale"].to_numpy()
    assert found[:3] == pytest.approx(expected[:3], abs=0.006)
    assert found[3] == pytest.approx(327.67), "int16 in steps of 0.01 ends there"
    assert set(pack.tiles.facts["unit"].to_pylist()) == {"SUV"}
    assert reasons(pack) == ["no_suv"] * 4


def enhanced(made: Made, **over: Any) -> Made:
    """The same stack as one object of many frames, in the opposite order."""
    positions = (made.positions or [])[::-1]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=made.orientation)],
        PixelMeasuresSequence=[item(PixelSpacing=[1.5, 1.2], SliceThickness=3.0)],
        PixelValueTransformationSequence=[item(RescaleSlope=1.0, RescaleIntercept=-1024.0)],
    )
    each = [item(PlanePositionSequence=[item(ImagePositionPatient=p)]) for p in positions]
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": each} | over
    return dataclasses.replace(
        made, name=f"{made.name} enhanced", images=made.images[::-1], is_cine=True, header=header(**groups)
    )


def test_an_enhanced_object_gives_the_volume_and_slabs_of_its_slices(tmp_path: Path) -> None:
    made = phantom("v", CORONAL)
    broken = dataclasses.replace(enhanced(made, PerFrameFunctionalGroupsSequence=[item()] * 3), name="broken")
    pack = packed(tmp_path / "a", VOLUME, made, enhanced(made), broken)
    assert (pack.tiles[0][0] == pack.tiles[0][1]).all()
    columns = ["origin_mm", "spacing_mm", "directions"]
    one, other = pack.tiles.facts.select(columns).to_pylist()
    assert one == other
    assert reasons(pack) == ["no_geometry"]
    slab = PackRecipe(size=32, text=False, kind="slab")
    two = packed(tmp_path / "b", slab, made, enhanced(made))
    assert (two.tiles[0][0] == two.tiles[0][1]).all()
    assert two.tiles.facts["frame_index"].to_pylist() == [0, 5]


def cine(name: str, n: int, told: bytes = b"", **facts: Any) -> Made:
    images = [np.full((20, 40, 3), (10 * i, 200, 5 * i), dtype=np.uint8) for i in range(n)]
    return Made(
        name, images, "US", "b_mode", None, "RGB", is_cine=True, rescale=None, facts=facts, header=told
    )


def test_a_clip_is_even_in_time_not_in_frames(tmp_path: Path) -> None:
    slow_end = header(FrameTimeVector=[0, 10, 10, 10, 10, 10, 50, 50])
    recipe = PackRecipe(size=32, text=False, kind="clip", tiles_per_series=4)
    pack = packed(
        tmp_path, recipe, cine("even", 20, frame_time_ms=40.0), cine("slow", 8, slow_end),
        cine("rate", 8, header(CineRate=50)), cine("silent", 8), ct("still"),
    )  # fmt: skip
    facts = pack.tiles.facts
    index = np.array(facts["frame_index"].to_pylist()).reshape(4, 4)
    assert index.tolist() == [[2, 7, 12, 17], [2, 5, 6, 7], [1, 3, 5, 7], [1, 3, 5, 7]]
    times = [facts["time_ms"].to_pylist()[4 * i : 4 * i + 4] for i in range(4)]
    assert times == [[80, 280, 480, 680], [20, 50, 100, 150], [20, 60, 100, 140], [None] * 4]
    assert reasons(pack) == ["no_cine"]


def test_colour_is_kept_where_asked_for_and_grey_is_three_times_itself(tmp_path: Path) -> None:
    recipe = PackRecipe(size=40, text=False, kind="clip", color="rgb")
    ybr = np.array([76, 85, 255], np.uint8) * np.ones((20, 40, 1), np.uint8)  # pure red in YBR_FULL
    series = [
        cine("us", 3),
        Made("ybr", [ybr] * 2, "US", "b_mode", None, "YBR_FULL", is_cine=True, rescale=None),
        Made("grey", [np.full((20, 40), 99, "u1")] * 2, "US", "b_mode", None, is_cine=True, rescale=None),
    ]
    pack = packed(tmp_path, recipe, *series)
    assert pack.tiles[0].shape == (3, 3, 40, 40)
    middle = pack.tiles[0][:, :, 20, 20].astype(int)
    assert middle[0].tolist() == [10, 200, 5]
    assert np.abs(middle[1] - [254, 0, 0]).max() <= 1
    assert middle[2].tolist() == [99, 99, 99]


def test_sixteen_bits_keep_the_depth_of_a_mammogram(tmp_path: Path) -> None:
    ramp = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    mg = Made("mg", [ramp], "MG", "cc", "BREAST", rescale=None)
    deep = packed(tmp_path / "a", PackRecipe(size=64, text=False, bits=16), mg)
    flat = packed(tmp_path / "b", PackRecipe(size=64, text=False), mg)
    assert deep.tiles[0].dtype == np.dtype("<u2")
    assert len(np.unique(deep.tiles[0])) > 3900 > 256 >= len(np.unique(flat.tiles[0]))
    scale = deep.tiles.facts["value_scale"].to_pylist()[0]
    assert np.abs(deep.tiles[0] * scale - flat.tiles[0]).max() <= 0.51


@pytest.mark.parametrize("recipe", [VOLUME, PackRecipe(size=32, text=False, kind="slab")])
def test_kinds_give_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path, recipe: PackRecipe) -> None:
    series = [phantom(f"v{i}", AXIAL, n=4) for i in range(5)]
    one = build_pack(lake_with(tmp_path / "a", *series), COHORT, recipe, workers=1)
    two = build_pack(lake_with(tmp_path / "b", *series), COHORT, recipe, workers=3)
    assert (one / "tiles.parquet").read_bytes() == (two / "tiles.parquet").read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "cube"}, {"gap": 2}, {"depth": 8}, {"kind": "volume"}, {"spacing_mm": (1.0, 1.0, 1.0)},
        {"kind": "volume", "depth": 8, "tiles_per_series": 2}, {"kind": "slab", "color": "rgb"}, {"bits": 12},
        {"kind": "volume", "depth": 8, "spacing_mm": (1.0, 0.0, 1.0)}, {"kind": "volume", "depth": 8, "bits": 16},
        {"kind": "slab", "gap": 0}, {"color": "grey"}, {"window": "liver"}, {"window": (80.0, 0.0)},
        {"kind": "volume", "depth": 8, "window": "lung"},
    ],
)  # fmt: skip
def test_a_recipe_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PackRecipe(**wrong)


def test_the_page_on_tokens_names_every_reason_to_be_left_out() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tokens.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| (.+) \|$", page.split("## Who is left out")[1], re.M) == list(
        LEFT_OUT.items()
    )
