"""Overlap of masks: values that can be told by hand, symmetric, in mm."""

import numpy as np
import pytest

from training.overlap import dice, overlap, overlap_of_slices, surface_distances


def square(top: int, left: int, side: int = 10, shape: tuple[int, int] = (40, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_mask_fits_itself() -> None:
    found = overlap(square(5, 5), square(5, 5), (1.0, 1.0), 0.0)
    assert (found.dice, found.nsd, found.hd95_mm, found.volume, found.reference_volume) == (1, 1, 0, 100, 100)


def test_half_of_it_shifted() -> None:
    a, b = square(5, 5), square(5, 10)
    found = overlap(a, b, (1.0, 1.0), 0.5)
    assert found.dice == 0.5
    assert found.hd95_mm == 5.0
    again = overlap(b, a, (1.0, 1.0), 0.5)
    assert (again.dice, again.nsd, again.hd95_mm) == (found.dice, found.nsd, found.hd95_mm)


def test_distances_and_volumes_are_in_mm() -> None:
    a, b = square(5, 5), square(5, 8)
    wide = overlap(a, b, (1.0, 2.0), 1.0)
    assert wide.hd95_mm == 6.0
    assert wide.volume == 200.0
    assert overlap(a, b, (1.0, 2.0), 6.0).nsd == 1.0


def test_distances_are_those_of_every_pair_of_boundary_pixels() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((12, 14)) > 0.7, rng.random((12, 14)) > 0.6

    def border(m: np.ndarray) -> np.ndarray:
        p = np.pad(m, 1)
        inner = p[1:-1, 1:-1] & p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:]
        return np.argwhere(m & ~inner) * np.array([0.7, 1.3])

    pa, pb = border(a), border(b)
    each = np.linalg.norm(pa[:, None] - pb[None], axis=2)
    there, back = surface_distances(a, b, (0.7, 1.3))
    assert np.allclose(there, each.min(1))
    assert np.allclose(back, each.min(0))


@pytest.mark.parametrize("tolerance", [0.0, 2.0])
def test_nothing_found_is_zero_and_nothing_there_is_no_number(tolerance: float) -> None:
    nothing = np.zeros((40, 40), bool)
    missed = overlap(nothing, square(5, 5), (1.0, 1.0), tolerance)
    assert (missed.dice, missed.nsd, missed.volume) == (0, 0, 0)
    assert np.isnan(missed.hd95_mm)
    assert np.isnan(overlap(nothing, nothing, (1.0, 1.0), tolerance).dice)


def test_volumes_of_three_axes() -> None:
    cube = np.zeros((6, 20, 20), bool)
    cube[1:4, 5:10, 5:10] = True
    assert overlap(cube, cube, (5.0, 0.5, 0.5), 1.0).volume == 75 * 5 * 0.25
    assert dice(cube, cube[::-1]) == pytest.approx(2 * 50 / 150)


def test_slices_that_do_not_touch_are_judged_one_by_one() -> None:
    a = np.stack([square(5, 5), square(20, 20), np.zeros((40, 40), bool)])
    b = np.stack([square(5, 5), np.zeros((40, 40), bool), square(5, 5)])
    found = overlap_of_slices(a, b, (1.0, 1.0), 1.0)
    assert found.dice == pytest.approx(0.5)
    assert found.nsd == pytest.approx(0.5), "a mask in a slice of which the other has none is not near"
    assert found.hd95_mm == 0.0
