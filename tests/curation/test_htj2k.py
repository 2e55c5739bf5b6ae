"""Images of a reduced size: what the whole one shows, within its range, whatever the type leaves of room."""

from __future__ import annotations

import numpy as np
import pytest

from curation.frames import decode, encode
from tests.curation.pixel_source import ramp


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4"])
def test_the_full_range_of_a_type_survives_at_reduced_size(dtype: str) -> None:
    info = np.iinfo(dtype)
    values = np.full((64, 64), info.min, dtype=dtype)
    values[:, 31:] = info.max  # an odd edge, where a wavelet over- and undershoots most
    reduced = decode("htj2k", encode(values).payload, reduce=1)
    assert reduced.shape == (32, 32)
    assert (reduced[:, :14] == info.min).all()
    assert (reduced[:, 18:] == info.max).all()


def test_reduced_images_stay_in_the_range_of_the_whole_one() -> None:
    values = np.zeros((128, 128), dtype="u2")
    values[40:90, 33:97] = 12_000
    for reduce in (1, 2, 3):
        small = decode("htj2k", encode(values).payload, reduce=reduce)
        assert small.shape == (128 >> reduce, 128 >> reduce)
        assert small.max() <= 12_000
        assert small.min() == 0


@pytest.mark.parametrize(
    ("dtype", "low", "span"),
    [("u2", 800, 22_000), ("u2", 30_000, 29_000), ("i2", -20_000, 29_000), ("u2", 0, 32_767)],
)
def test_what_overshoots_most_does_not_wrap_around(dtype: str, low: int, span: int) -> None:
    values = np.full((64, 64), low, dtype=dtype)
    values[15:18, 15:18] += span  # three pixels wide: the low-pass has half as much again, or more
    values[::2, 40:44] += span
    for reduce in (1, 2, 3):
        small = decode("htj2k", encode(values).payload, reduce=reduce).astype(float)
        means = (
            values.astype(float).reshape(64 >> reduce, 1 << reduce, 64 >> reduce, 1 << reduce).mean((1, 3))
        )
        assert abs(small - means).max() < 0.8 * span
        assert abs(small - means).mean() < 0.1 * span


def test_a_reduced_image_shows_what_the_whole_one_shows() -> None:
    values = ramp(200, 301)
    small = decode("htj2k", encode(values).payload, reduce=2).astype(float)
    every_fourth = values[::4, ::4].astype(float)  # the low-pass is centred on the first pixel of a block
    assert small.shape == every_fourth.shape == (50, 76)
    assert abs(small - every_fourth).mean() < 12
    assert decode("htj2k", encode(values).payload, reduce=7).shape == (
        2,
        3,
    )  # more often than there are levels


def test_without_a_low_pass_a_reduced_image_is_the_mean_of_blocks() -> None:
    values = np.random.default_rng(4).integers(0, 256, (7, 9, 3), dtype=np.uint8)  # no headroom in 8 bits
    reduced = decode("htj2k", encode(values).payload, reduce=2)
    assert reduced.shape == (2, 3, 3)
    for top, left in ((0, 0), (4, 4), (4, 8)):
        mean = values[top : top + 4, left : left + 4].mean(axis=(0, 1))
        assert reduced[top // 4, left // 4].tolist() == np.floor(mean + 0.5).tolist()
