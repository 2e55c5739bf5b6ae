"""SEG objects of a delivery become masks on the grid of the tiles; what nobody segmented is unknown, not empty."""

from pathlib import Path

import numpy as np
import pytest

from curation.lake import Lake
from curation.masks import UNKNOWN, find_masks, structure_name, structures
from curation.pack import build_pack
from curation.pack_file import open_pack
from curation.pack_recipe import PackRecipe
from curation.records import ConfigurationError
from tests.curation.segmented import SIDE, make_lake

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    lake, folder = make_lake(tmp_path_factory.mktemp("masks") / "home", 10, n_slices=2)
    return lake, build_pack(lake, folder.name, PackRecipe(size=SIDE, tiles_per_series=2, text=False))


def test_a_mask_lies_where_the_lesion_is(packed: tuple[Lake, Path]) -> None:
    lake, folder = packed
    masks = find_masks(lake, folder, ["lung_lesion"])
    pack = open_pack(folder)
    tiles = np.concatenate([pack.tiles[g] for g in range(len(pack.tiles))]).reshape(10, 2, SIDE, SIDE)
    known = masks[:, 0, 0, 0, 0] != UNKNOWN
    assert known.sum() == 8, "one patient in five has no segmentation"
    assert (masks[~known] == UNKNOWN).all()
    for member in np.flatnonzero(known):
        for tile in range(2):
            mask = masks[member, tile, 0]
            assert 80 < (mask == 1).sum() < 500
            inside, outside = tiles[member, tile][mask == 1], tiles[member, tile][mask == 0]
            assert inside.mean() > outside.mean() + 60, "each slice has its own mask"


def test_the_structures_that_are_known_are_told(packed: tuple[Lake, Path]) -> None:
    lake, folder = packed
    studies = [m["study_id"] for m in open_pack(folder).members.to_pylist()]
    assert structures(lake, lake.snapshot(), studies) == {"lung_lesion": 8}
    with pytest.raises(ConfigurationError, match=r"structure 'spleen'; there are: lung_lesion"):
        find_masks(lake, folder, ["spleen"])


def test_names_are_written_one_way() -> None:
    assert structure_name("Lung lesion, (left)") == "lung_lesion_left"
