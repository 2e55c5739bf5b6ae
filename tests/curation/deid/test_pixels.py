"""Burned-in text: what the header tells, what is found, what several pictures say together; else an object is withheld."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from curation.deid.header import Clean, clean_header
from curation.deid.pixels import (
    SOURCE,
    Box,
    Look,
    Member,
    PixelRules,
    Plan,
    load_pixel_rules,
    plan_series,
    triage,
)
from curation.deid.policy import Policy, compile_policy, load_profile, read_rows
from curation.deid.pseudonyms import Pseudonyms
from curation.deid.regions import RegionRule, outside
from curation.records import Refused
from tests.curation.test_delivery import radiograph

CT = "1.2.840.10008.5.1.4.1.1.2"
CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
US = "1.2.840.10008.5.1.4.1.1.6.1"
CINE = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RESEARCH = load_profile("research")
WITH = compile_policy(
    replace(RESEARCH, options=tuple(dict.fromkeys((*RESEARCH.options, "clean_pixel_data"))))
)
WITHOUT = compile_policy(
    replace(RESEARCH, options=tuple(o for o in RESEARCH.options if o != "clean_pixel_data"))
)
NOTHING = PixelRules()


def clean(path: Path, values: NDArray[Any] | None = None, **changes: Any) -> Clean:
    """A cleaned object with that picture: [rows, columns] or [frames, rows, columns] of 8 bits."""
    ds = radiograph(path, sop=f"1.2.3.{int.from_bytes(path.name.encode(), 'big')}")
    if values is not None:
        ds.Rows, ds.Columns = values.shape[-2:]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        if values.ndim == 3:
            ds.NumberOfFrames = len(values)
        ds.PixelData = values.tobytes() + bytes(values.size & 1)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.save_as(path, enforce_file_format=True)
    return clean_header(path.read_bytes(), WITH, Pseudonyms(bytes(32)), "dev")


def member(path: Path, values: NDArray[np.uint8], **changes: Any) -> Member:
    frames = values if values.ndim == 3 else values[None]
    return Member(clean(path, values, **{"SOPClassUID": SECONDARY_CAPTURE, **changes}), frames.__getitem__)


def region(left: int, top: int, right: int, bottom: int) -> Dataset:
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


def picture(
    text: str = "", at: tuple[int, int] = (20, 20), level: int = 230, seed: int = 1
) -> NDArray[np.uint8]:
    """A small smooth picture, and perhaps a line of text in it."""
    rng = np.random.default_rng(seed)
    grey = np.clip(60 + rng.normal(0, 3, (128, 256)) + np.linspace(0, 40, 256), 0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    ImageDraw.Draw(image).text(at, text, fill=level, font=ImageFont.load_default(13))
    return np.asarray(image)


def covered(plan: Plan | str, box: tuple[int, int, int, int]) -> float:
    """How much of a box the plan blanks."""
    assert isinstance(plan, Plan)
    blank = np.zeros((128, 256), bool)
    for r in plan.regions:
        blank[r.box.y : r.box.y + r.box.height, r.box.x : r.box.x + r.box.width] = True
    x, y, width, height = box
    return float(blank[y : y + height, x : x + width].mean())


def plan_of(
    members: Sequence[Member], rules: PixelRules = NOTHING, policy: Policy = WITH
) -> list[Plan | str]:
    plans = plan_series(members, policy, rules)
    return [plans[m.clean.instance_id] for m in members]


NAME, WHERE = "BRANDVOLD ANNA 123456", (20, 23, 155, 9)
"""A line of text, and the part of the picture in which its letters certainly are."""


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({"SOPClassUID": CT, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, "release"),
        ({"SOPClassUID": CT, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "look"),
        ({"SOPClassUID": CT, "ImageType": ["DERIVED", "SECONDARY"], "BurnedInAnnotation": "NO"}, "look"),
        ({"SOPClassUID": CT, "ImageType": ["ORIGINAL", "PRIMARY"], "BurnedInAnnotation": "YES"}, "look"),
        ({"SOPClassUID": CR}, "look"),
        ({"SOPClassUID": CR, "BurnedInAnnotation": "NO"}, "look"),
        ({"SOPClassUID": DX, "BurnedInAnnotation": "NO"}, "release"),
        ({"SOPClassUID": DX}, "look"),
        ({"SOPClassUID": US, "BurnedInAnnotation": "NO"}, "look"),
        ({"SOPClassUID": SECONDARY_CAPTURE, "BurnedInAnnotation": "NO"}, "look"),
        ({"SOPClassUID": SECONDARY_CAPTURE, "ConversionType": "SD"}, "withhold"),
    ],
)
def test_a_class_an_image_type_and_a_statement_decide_whose_pixels_are_looked_at(
    tmp_path: Path, changes: dict[str, Any], decision: str
) -> None:
    one = clean(tmp_path / "a", **changes)
    if decision == "withhold":
        with pytest.raises(Refused, match="identity_suspected"):
            triage(one, WITH, NOTHING)
        return
    assert triage(one, WITH, NOTHING) == (Look("burned_in") if decision == "look" else Plan())


@pytest.mark.parametrize(
    ("changes", "is_released"),
    [
        ({"SOPClassUID": US}, False),
        ({"SOPClassUID": US, "BurnedInAnnotation": "NO"}, True),
        ({"SOPClassUID": SECONDARY_CAPTURE}, False),
        ({"SOPClassUID": SECONDARY_CAPTURE, "BurnedInAnnotation": "NO"}, True),
        ({}, True),
    ],
)
def test_without_the_option_what_may_show_a_name_is_withheld_unless_it_says_no(
    tmp_path: Path, changes: dict[str, Any], is_released: bool
) -> None:
    one = clean(tmp_path / "a", **changes)
    if is_released:
        assert triage(one, WITHOUT, NOTHING) == Plan()  # no pass was made: nothing is claimed
    else:
        with pytest.raises(Refused, match="identity_suspected"):
            triage(one, WITHOUT, NOTHING)


def test_without_the_option_an_ultrasound_keeps_its_regions_and_nothing_else(tmp_path: Path) -> None:
    one = clean(tmp_path / "a", SOPClassUID=US, SequenceOfUltrasoundRegions=[region(3, 4, 20, 15)])
    plan = triage(one, WITHOUT, NOTHING)
    assert isinstance(plan, Plan) and not plan.is_cleaned
    assert {r.source for r in plan.regions} == {SOURCE}
    assert sum(r.box.width * r.box.height for r in plan.regions) == 16 * 24 - 12 * 18


def test_an_ultrasound_is_looked_at_inside_its_regions(tmp_path: Path) -> None:
    values = picture(NAME, (20, 80))
    one = member(
        tmp_path / "a", values, SOPClassUID=US, SequenceOfUltrasoundRegions=[region(0, 40, 255, 127)]
    )
    (plan,) = plan_of([one])
    assert covered(plan, (0, 0, 256, 40)) == 1
    assert covered(plan, (20, 83, 155, 9)) > 0.95
    assert covered(plan, (0, 44, 256, 24)) == 0


def test_a_region_outside_the_picture_keeps_nothing(tmp_path: Path) -> None:
    regions = [region(100, 100, 200, 200)]
    with pytest.raises(Refused, match="identity_suspected"):
        triage(clean(tmp_path / "a", SOPClassUID=US, SequenceOfUltrasoundRegions=regions), WITHOUT, NOTHING)


@pytest.mark.parametrize("is_inverse", [False, True])
def test_text_is_found_and_nothing_else_is_blanked(tmp_path: Path, is_inverse: bool) -> None:
    values, empty = picture(NAME), picture()
    photometric = "MONOCHROME1" if is_inverse else "MONOCHROME2"
    if is_inverse:
        values, empty = 255 - values, 255 - empty
    written = member(tmp_path / "a", values, PhotometricInterpretation=photometric)
    plain = member(tmp_path / "b", empty, PhotometricInterpretation=photometric, Manufacturer="OTHER")
    found, none = plan_of([written, plain])
    assert covered(found, WHERE) > 0.95
    assert covered(found, (0, 60, 256, 68)) == 0
    assert none == Plan(is_cleaned=True)


def test_faint_text_in_16_bits_is_found_at_any_level_of_the_range(tmp_path: Path) -> None:
    for number, top in enumerate((4095, 65535)):
        values = picture().astype(np.uint16) * 10
        letters = picture(NAME).astype(int) - picture().astype(int) > 60
        values[letters] = top
        one = Member(
            clean(
                tmp_path / f"{number}", Rows=128, Columns=256, BitsStored=16, HighBit=15,
                PixelData=values.tobytes(), SOPClassUID=SECONDARY_CAPTURE,
            ),
            lambda _, v=values: v,
        )  # fmt: skip
        (plan,) = plan_of([one])
        assert covered(plan, WHERE) > 0.9, top


def test_an_object_that_says_yes_and_shows_no_text_is_withheld(tmp_path: Path) -> None:
    one = member(tmp_path / "a", picture(), BurnedInAnnotation="YES")
    assert plan_of([one]) == ["identity_suspected"]
    two = member(tmp_path / "a", picture(NAME), BurnedInAnnotation="YES")
    assert covered(plan_of([two])[0], WHERE) > 0.95


def test_a_page_of_text_is_withheld(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((128, 256), np.uint8))
    for line in range(6):
        ImageDraw.Draw(image).text((4, 4 + 20 * line), "Accession 8841 Fairweather 1961", fill=220, font=ImageFont.load_default(16))  # fmt: skip
    assert plan_of([member(tmp_path / "a", np.asarray(image))]) == ["identity_suspected"]


def test_a_frame_that_cannot_be_read_withholds_its_object_alone(tmp_path: Path) -> None:
    def broken(_: int) -> NDArray[Any]:
        raise Refused("truncated")

    good = member(tmp_path / "a", picture())
    bad = Member(member(tmp_path / "b", picture()).clean, broken)
    assert plan_of([bad, good]) == ["truncated", Plan(is_cleaned=True)]


def test_what_stands_still_in_a_loop_is_blanked_in_all_its_frames(tmp_path: Path) -> None:
    """Too faint for one frame: the speckle of nine frames together is not."""
    rng = np.random.default_rng(4)
    still = 30 * (picture(NAME).astype(int) - picture() > 60)
    frames = np.stack([np.clip(picture() + rng.rayleigh(22, (128, 256)) + still, 0, 255) for _ in range(9)])
    one = member(tmp_path / "a", frames.astype(np.uint8), SOPClassUID=CINE)
    alone = member(tmp_path / "b", frames[0].astype(np.uint8), SOPClassUID=US)
    assert covered(plan_of([one])[0], WHERE) > 0.9
    assert covered(plan_of([alone])[0], WHERE) < 0.9  # else the median is not what finds it


def test_objects_of_one_device_and_size_speak_for_each_other(tmp_path: Path) -> None:
    """A line that two of them show plainly is blanked in the third, in which it is too faint to be read."""
    series = [member(tmp_path / n, picture(NAME, seed=i)) for i, n in enumerate(("a", "b"))]
    faint = member(tmp_path / "c", picture(NAME, level=92, seed=9))
    other = member(tmp_path / "d", picture(seed=8), Manufacturer="OTHER")
    plans = plan_of([*series, faint, other])
    assert covered(plans[2], WHERE) > 0.95
    assert isinstance(plans[2], Plan) and "consensus" in {r.source for r in plans[2].regions}
    assert plans[3] == Plan(is_cleaned=True)


def test_the_order_of_a_series_changes_nothing(tmp_path: Path) -> None:
    series = [member(tmp_path / n, picture(NAME, (20, 20 + 9 * i), seed=i)) for i, n in enumerate("abc")]
    assert plan_series(series, WITH, NOTHING) == plan_series(series[::-1], WITH, NOTHING)


def test_a_site_knows_its_devices(tmp_path: Path) -> None:
    blank = RegionRule(name="banner", manufacturer="acme", modality="CR", blank=((0, 0, 24, 4),))
    rules = PixelRules(site=(blank,))
    one = clean(tmp_path / "a", SOPClassUID=CT)
    assert triage(one, WITH, rules) == Look(
        "burned_in"
    )  # a device that writes is not believed to write nothing else
    trusted = PixelRules(site=(blank.model_copy(update={"otherwise": "trust"}),))
    plan = triage(one, WITH, trusted)
    assert isinstance(plan, Plan) and plan.is_cleaned
    assert [(r.box, r.source) for r in plan.regions] == [(Box(0, 0, 24, 4), "site: banner")]
    never = PixelRules(site=(blank.model_copy(update={"otherwise": "withhold"}),))
    with pytest.raises(Refused, match="identity_suspected"):
        triage(one, WITH, never)
    assert triage(clean(tmp_path / "a", SOPClassUID=CT, Manufacturer="ZENITH"), WITH, never) == Plan()


def test_pixel_rules_can_be_sent_to_a_worker() -> None:
    rules = PixelRules(
        site=(RegionRule(name="banner", blank=((0, 0, 1, 1),)),), shipped=load_pixel_rules(None).shipped
    )
    assert pickle.loads(pickle.dumps(rules)) == rules
    assert rules.shipped


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
    for box in outside(kept, 10, 8):
        found[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    assert (found == expected).all()


def test_every_row_of_the_look_table_names_a_class_of_the_standard() -> None:
    from pydicom._uid_dict import UID_dictionary

    for row in read_rows("burned_in.csv"):
        root = row["sop_class"].removesuffix(".*")
        assert root == "*" or any(uid == root or uid.startswith(root + ".") for uid in UID_dictionary), root
