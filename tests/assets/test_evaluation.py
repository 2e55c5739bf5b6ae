"""A finished run's verdicts become checks of the asset `evaluation`."""

from pathlib import Path

import dagster as dg
import torch

from assets.partitions import runs
from assets.resources import RwidHome
from assets.tuning import VERDICTS, evaluation
from curation.settings import load_settings, open_home
from tests.training.planted import lay_down, tree
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)


def test_every_verdict_of_a_report_is_a_check_and_says_why(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "home")
    open_home(settings)
    lay_down(settings.places.lake)
    run = tune(settings.places.lake, parse_spec(tree("probe")), report=lambda facts: None)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(runs.name, [run.name])
        result = dg.materialize(
            [evaluation],
            partition_key=run.name,
            resources={"rwid": RwidHome(home=str(tmp_path / "home"))},
            instance=instance,
        )
        found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert result.success
    assert set(found) == set(VERDICTS)
    assert not found["report_is_complete"].passed, "the lake that the cohort came from is not there"
    assert "De-identification" in found["report_is_complete"].metadata["verdict"].value
    assert found["gap_not_widened"].passed
    assert "judged studies" in found["no_near_duplicates"].metadata["verdict"].value
