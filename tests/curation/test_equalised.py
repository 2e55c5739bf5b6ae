"""Equalised tiles show ranks: what exposure, gamma and a maker's processing make of a film is not seen."""

from uuid import UUID

import numpy as np
import pytest

from curation.pack_recipe import PackRecipe, pack_id_of
from curation.records import ConfigurationError
from curation.samples.tile import look_of
from curation.tile import Source, equalised, make_tiles


def film() -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :100]
    return np.clip(90 + 60 * np.sin(x / 17) + 40 * np.cos(y / 11) + rng.normal(0, 12, x.shape), 0, 255)


@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.6])
def test_gamma_is_not_seen(gamma: float) -> None:
    levels = film()
    other = 255 * (levels / 255) ** gamma
    assert np.abs(levels - other).mean() > 10
    assert np.abs(equalised(levels) - equalised(other)).mean() < 0.5


def test_exposure_is_not_seen_and_order_is_kept() -> None:
    levels = film()
    darker = equalised(0.5 * levels)
    assert np.abs(equalised(levels) - darker).mean() < 0.5
    order = np.argsort(levels, axis=None)
    assert (np.diff(equalised(levels).ravel()[order]) >= 0).all()


def test_every_level_is_as_frequent() -> None:
    counts, _ = np.histogram(equalised(film()), bins=8, range=(0, 255))
    assert counts.min() > 0.9 * counts.mean()


def test_a_frame_of_one_level_stays_as_it_is() -> None:
    assert (equalised(np.full((4, 4), 37.0)) == 37).all()


def test_it_is_another_pack_and_of_tiles_alone() -> None:
    assert pack_id_of("c", PackRecipe(levels="equalised")) != pack_id_of("c", PackRecipe())
    with pytest.raises(ConfigurationError, match="has no levels"):
        PackRecipe(kind="volume", depth=8, levels="equalised")


def test_tiles_are_drawn_so_where_a_recipe_asks_for_it() -> None:
    instance = {
        "instance_id": UUID(int=1), "modality": "DX", "photometric": "MONOCHROME2", "rows_px": 120, "columns_px": 100,
        "bits_stored": 8, "samples_per_pixel": 1, "transfer_syntax": "1.2.840.10008.1.2.1", "rescale_slope": None, "rescale_intercept": None,
        "window_center": None, "window_width": None,
    }  # fmt: skip
    source = Source(instance, 0, None, None)

    def drawn(values: np.ndarray, levels: str) -> np.ndarray:
        look = look_of(PackRecipe(size=60, levels=levels))
        return make_tiles(lambda source, reduce: values, [source], look, {})[0].pixels.astype(float)

    film_, other = film().astype(np.uint8), (255 * (film() / 255) ** 0.6).astype(np.uint8)
    window, ranks = (np.abs(drawn(film_, how) - drawn(other, how)).mean() for how in ("window", "equalised"))
    assert ranks < 2 < window
