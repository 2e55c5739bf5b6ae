"""A recipe may ask for one window for every series: by name, or by black and white; what cannot be shown so is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation.modality import window_for, window_named, window_names
from curation.pack import Pack, PackRecipe, build_pack, open_pack
from curation.pack_recipe import pack_id_of
from curation.records import ConfigurationError
from tests.curation.pack_lake import COHORT, Made, ct, lake_with
from training.model_spec import Input

SOFT = (-160.0, 240.0)


def packed(root: Path, recipe: PackRecipe, *series: Made) -> Pack:
    return open_pack(build_pack(lake_with(root, *series), COHORT, recipe, workers=1))


def limits(pack: Pack) -> list[tuple[float, float]]:
    facts = pack.tiles.facts
    return list(zip(facts["window_low"].to_pylist(), facts["window_high"].to_pylist(), strict=True))


@pytest.mark.parametrize("kind", ["tile", "slab"])
def test_a_window_by_name_shows_every_body_part_alike(tmp_path: Path, kind: str) -> None:
    series = ct("chest"), ct("head", body_part="HEAD"), ct("whole", body_part="CHESTABDOMEN")
    own = packed(tmp_path / "own", PackRecipe(size=16, text=False, kind=kind), *series)
    assert limits(own) == [(-1350.0, 150.0), (0.0, 80.0), SOFT]
    asked = packed(tmp_path / "a", PackRecipe(size=16, text=False, kind=kind, window="soft tissue"), *series)
    assert limits(asked) == [SOFT] * 3


def test_black_and_white_in_hu_say_the_grey_levels(tmp_path: Path) -> None:
    flat = Made("flat", [np.full((48, 64), 1024 + 30, "i2")], rescale=(1.0, -1024.0))
    pack = packed(tmp_path, PackRecipe(size=64, text=False, window=(-20, 180)), flat)
    assert limits(pack) == [(-20.0, 180.0)]
    assert pack.tiles[0][0, 32, 32] == round(255 * 50 / 200)
    assert pack.recipe == PackRecipe(size=64, text=False, window=(-20.0, 180.0)), "read back as it was asked"


def test_what_cannot_be_shown_in_it_is_left_out_with_the_reason(tmp_path: Path) -> None:
    series = ct("ct"), ct("mr", modality="MR", rescale=None), ct("no_hu", rescale=None)
    named = packed(tmp_path / "n", PackRecipe(size=16, text=False, window="soft tissue"), *series)
    assert named.left_out["reason"].to_pylist() == ["no_window", "no_rescale"]
    values = packed(tmp_path / "v", PackRecipe(size=16, text=False, window=(0, 400)), *series)
    assert values.left_out["reason"].to_pylist() == ["no_rescale"], "MR has values of its own"


def test_a_name_that_no_modality_has_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="soft tissue"):
        PackRecipe(window="liver")
    with pytest.raises(ValueError, match="the lower one first"):
        Input(window=(80.0, 0.0))


def test_it_is_another_pack_and_the_spec_passes_it_on() -> None:
    assert pack_id_of("c", PackRecipe(window="bone")) != pack_id_of("c", PackRecipe())
    assert Input(size=28, window="soft tissue").recipe(2).window == "soft tissue"
    assert Input.model_validate({"window": [0, 80]}).recipe(2).window == (0.0, 80.0)


def test_names_are_those_of_the_rules() -> None:
    assert {"brain", "lung", "bone", "soft tissue"} <= set(window_names())
    window = window_named("lung", "CT")
    assert window == window_for("CT", "axial", "CHEST") and window_named("lung", "MR") is None
