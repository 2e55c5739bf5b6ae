"""Pixels of unusual kinds are looked at or refused with a reason: a picture never stops the run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from curation.deid.pixels import Member, PixelRules, Plan, plan_series
from curation.records import Refused
from tests.curation.deid.test_pixels import NAME, SECONDARY_CAPTURE, WHERE, WITH, clean, covered, picture

COLOURS = ("Red", "Green", "Blue")


def plan(path: Path, values: NDArray[Any], **header: Any) -> Plan | str:
    """The plan of an object whose frames are `values` [frames, ...], as a decoder hands them over."""
    stored = np.zeros(values.shape[1:3], np.uint8)  # the walk counts the bytes of the element
    one = Member(clean(path, stored, SOPClassUID=SECONDARY_CAPTURE, **header), values.__getitem__)
    return plan_series([one], WITH, PixelRules())[one.clean.instance_id]


def palette(entries: int = 256, *, data: int = 512, bits: int = 16) -> dict[str, Any]:
    """The attributes of a grey palette; `data` bytes of each table are there."""
    table = (np.arange(entries) * 257).astype("<u2").tobytes()[:data]
    return {"PhotometricInterpretation": "PALETTE COLOR"} | {
        f"{c}PaletteColorLookupTable{part}": v
        for c in COLOURS
        for part, v in (("Descriptor", [entries, 0, bits]), ("Data", table))
    }


def grey(text: str = NAME) -> NDArray[np.uint8]:
    return picture(text)[None]


@pytest.mark.parametrize(
    ("values", "header"),
    [
        pytest.param(grey(), palette(), id="palette"),
        pytest.param(grey() > 150, {}, id="1 bit"),
        pytest.param(grey().astype(np.float32) / 7 - 3, {}, id="float"),
        pytest.param(grey().astype(np.float64) * 1e-9, {}, id="double"),
        pytest.param(grey().astype(np.int16) * 16 - 2000, {"PixelRepresentation": 1}, id="signed"),
        pytest.param(grey().astype(np.uint32) << 20, {}, id="32 bits"),
        pytest.param(255 - grey(), {"PhotometricInterpretation": "MONOCHROME1"}, id="inverse"),
        pytest.param(np.repeat(grey()[..., None], 3, axis=3), {"PhotometricInterpretation": "RGB"}, id="RGB"),
        pytest.param(
            np.stack([grey(), np.full_like(grey(), 128), np.full_like(grey(), 128)], axis=-1),
            {"PhotometricInterpretation": "YBR_FULL"},
            id="YBR",
        ),
    ],
)
def test_text_is_found_in_stored_values_of_every_kind(
    tmp_path: Path, values: NDArray[Any], header: dict[str, Any]
) -> None:
    assert covered(plan(tmp_path / "a", values, **header), WHERE) > 0.95


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(palette(data=100), id="short table"),
        pytest.param(palette(entries=0), id="empty table"),
        pytest.param(palette(bits=12), id="odd bits"),
        pytest.param({"PhotometricInterpretation": "PALETTE COLOR"}, id="no table"),
    ],
)
def test_a_broken_palette_is_refused_or_seen_as_grey(tmp_path: Path, header: dict[str, Any]) -> None:
    made = plan(tmp_path / "a", grey(), **header)
    assert made == "malformed" or covered(made, WHERE) > 0.95


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.zeros((1, 4, 4), np.uint8), id="tiny"),
        pytest.param(np.arange(16, dtype=np.uint8).reshape(1, 4, 4) * 16, id="tiny, not flat"),
        pytest.param(np.arange(300, dtype=np.uint16).reshape(1, 1, 300) * 9, id="one row"),
        pytest.param(np.arange(300, dtype=np.uint16).reshape(1, 300, 1) * 9, id="one column"),
        pytest.param(np.full((1, 64, 64), np.nan, np.float32), id="no numbers"),
        pytest.param(np.array([[[np.inf, -np.inf], [0.0, 1.0]]]), id="infinite"),
        pytest.param(np.array([[[-1.7e308, 1.7e308], [0.0, 1.0]]]), id="wider than a double"),
    ],
)
def test_a_picture_in_which_nothing_can_stand_is_released_whole(tmp_path: Path, values: NDArray[Any]) -> None:
    assert plan(tmp_path / "a", values) == Plan(is_cleaned=True)


def test_a_picture_of_no_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="pixel_mismatch"):
        plan(tmp_path / "a", np.zeros((1, 0, 0), np.uint8))
    one = Member(clean(tmp_path / "b", SOPClassUID=SECONDARY_CAPTURE), lambda _: np.zeros((0, 0), np.uint8))
    assert plan_series([one], WITH, PixelRules()) == {one.clean.instance_id: "malformed"}


def test_one_unreadable_frame_of_a_loop_withholds_the_loop(tmp_path: Path) -> None:
    frames = np.repeat(grey(), 8, axis=0)

    def frame(i: int) -> NDArray[Any]:
        if i == len(frames) - 1:
            raise Refused("decoder_failed")
        return np.asarray(frames[i])

    one = Member(clean(tmp_path / "a", frames, SOPClassUID=SECONDARY_CAPTURE), frame)
    assert plan_series([one], WITH, PixelRules()) == {one.clean.instance_id: "decoder_failed"}
