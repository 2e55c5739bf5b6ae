"""Burned-in text: outside its regions an ultrasound is blanked; where nothing is known an object is withheld."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from curation import frames
from curation.deid.pixels import Box, _outside, blanker
from curation.steps import Stamp, TakenInstance, Withheld, make_context, take_instance
from tests.curation.test_delivery import radiograph

US = "1.2.840.10008.5.1.4.1.1.6.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def take(path: Path, **changes: Any) -> TakenInstance | Withheld:
    ds = radiograph(path)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.save_as(path, enforce_file_format=True)
    return take_instance(make_context(bytes(32), "research", Stamp("dev", "d", "0"), 1 << 30), path)


def region(left: int, top: int, right: int, bottom: int) -> Dataset:
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


def picture(taken: TakenInstance) -> NDArray[Any]:
    return frames.decode(taken.frames[0].codec, taken.frames[0].payload)


def test_an_ultrasound_keeps_its_regions_and_nothing_else(tmp_path: Path) -> None:
    whole = take(tmp_path / "a", SOPClassUID=US, Modality="US", BurnedInAnnotation="NO")
    cut = take(
        tmp_path / "a", SOPClassUID=US, Modality="US", SequenceOfUltrasoundRegions=[region(3, 4, 20, 15)]
    )
    assert isinstance(whole, TakenInstance) and isinstance(cut, TakenInstance)
    kept = np.zeros((16, 24), bool)
    kept[4:16, 3:21] = True
    assert (picture(cut)[kept] == picture(whole)[kept]).all()
    assert (picture(cut)[~kept] == 0).all()
    assert picture(whole)[~kept].any()
    assert sum(b["width"] * b["height"] for b in cut.instance.burned_in_regions) == (~kept).sum()
    assert cut.log.regions == cut.instance.burned_in_regions


@pytest.mark.parametrize(
    ("changes", "is_released"),
    [
        ({"SOPClassUID": US}, False),
        ({"SOPClassUID": US, "BurnedInAnnotation": "YES"}, False),
        ({"SOPClassUID": US, "BurnedInAnnotation": "NO"}, True),
        ({"SOPClassUID": SECONDARY_CAPTURE}, False),
        ({"SOPClassUID": SECONDARY_CAPTURE, "BurnedInAnnotation": "NO"}, True),
        ({}, True),
    ],
)
def test_what_may_show_a_name_is_withheld_unless_it_says_no(
    tmp_path: Path, changes: dict[str, str], is_released: bool
) -> None:
    taken = take(tmp_path / "a", **changes)
    assert isinstance(taken, TakenInstance) == is_released
    if isinstance(taken, Withheld):
        assert taken.reason == "identity_suspected"


def test_a_region_outside_the_picture_keeps_nothing(tmp_path: Path) -> None:
    taken = take(tmp_path / "a", SOPClassUID=US, SequenceOfUltrasoundRegions=[region(100, 100, 200, 200)])
    assert isinstance(taken, Withheld)


@pytest.mark.parametrize(
    "kept",
    [
        [Box(0, 0, 10, 8)],
        [Box(2, 1, 3, 4), Box(6, 3, 4, 5)],
        [Box(2, 1, 6, 6), Box(4, 2, 2, 2)],
        [Box(0, 0, 4, 8), Box(3, 0, 7, 8)],
    ],
)
def test_the_boxes_are_exactly_what_lies_outside(kept: list[Box]) -> None:
    expected = np.ones((8, 10), bool)
    for box in kept:
        expected[box.y : box.y + box.height, box.x : box.x + box.width] = False
    found = np.zeros((8, 10), int)
    for box in _outside(kept, 10, 8):
        found[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    assert (found == expected).all()


def test_black_is_black_in_every_colour_space() -> None:
    colour = np.full((4, 4, 3), 200, np.uint8)
    blank_rgb, blank_ybr = blanker([Box(0, 0, 4, 2)], is_ybr=False), blanker([Box(0, 0, 4, 2)], is_ybr=True)
    assert blank_rgb is not None and blank_ybr is not None
    assert blank_rgb(colour)[0, 0].tolist() == [0, 0, 0]
    assert blank_ybr(colour)[0, 0].tolist() == [0, 128, 128]
    assert blank_rgb(colour)[3, 3].tolist() == [200, 200, 200]
    assert blanker([], is_ybr=False) is None
