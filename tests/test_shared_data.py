"""Real files of many makers: every one ends as an instance, a report or a refusal with a reason. Skips where there are none."""

from pathlib import Path

import pytest

from curation.delivery import curate, register
from curation.lake import Lake
from curation.records import REASONS
from curation.settings import load_settings

SHARED = Path(__file__).parents[2] / "shared" / "data" / "dicom"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample files are not beside this checkout")
def test_every_real_file_is_accounted_for(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "home")
    register(settings, SHARED, "dev", "shared")
    curated = curate(settings, "shared")
    n_files = sum(1 for p in SHARED.rglob("*") if p.is_file())
    assert curated.arrivals >= n_files
    refused = sum(curated.refusals.values())
    assert curated.arrivals == curated.instances + curated.reports + curated.clinical + refused
    assert set(curated.refusals) <= set(REASONS) - {"internal_fault"}
    assert curated.instances > 0.7 * curated.arrivals
    with Lake(settings.places.lake).connect_staged("shared", curated.part_list) as con:
        counted = con.execute("SELECT count(*), count(*) FILTER (n_frames > 0) FROM instances").fetchone()
    assert counted is not None and counted[0] == curated.instances and counted[1] > 0
