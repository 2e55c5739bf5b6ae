import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import assets
from assets.checks import ANCHORS
from assets.definitions import defs
from assets.metadata import UNTOLD, preview, preview_columns, schema_of
from curation.check import load_checks
from curation.records import CATALOGUED, DELIVERED, TABLES

ROOT = Path(assets.__file__).parent.parent
GRAPH = defs.resolve_asset_graph()

PARTITIONS = {
    **dict.fromkeys(["arrivals", *DELIVERED, *CATALOGUED], "deliveries"),
    **dict.fromkeys(["cohort", "cohort_tokens"], "cohorts"),
    "relabels": "relabels",
    **dict.fromkeys(["tuned_model", "evaluation"], "runs"),
}
GROUPS = {
    "arrivals": "arrived",
    **dict.fromkeys(DELIVERED, "curated"),
    **dict.fromkeys([*CATALOGUED, "findings"], "catalogued"),
    **dict.fromkeys(["cohort", "cohort_tokens", "relabels"], "cohort"),
    **dict.fromkeys(["tuned_model", "evaluation"], "model"),
}


def node(name: str) -> dg.AssetSpec:
    return GRAPH.get(dg.AssetKey(name))


def test_the_assets_are_the_tables_and_what_is_made_of_them() -> None:
    assert {key.to_user_string() for key in GRAPH.get_all_asset_keys()} == set(PARTITIONS)


@pytest.mark.parametrize("name", sorted(PARTITIONS))
def test_each_asset_is_in_its_group_and_partition_set(name: str) -> None:
    assert node(name).group_name == GROUPS[name]
    assert node(name).partitions_def.name == PARTITIONS[name]


def test_the_walk_goes_from_arrivals_to_evaluation() -> None:
    def parents(name: str) -> set[str]:
        return {key.to_user_string() for key in node(name).parent_keys}

    assert parents("arrivals") == set()
    assert all(parents(table) == {"arrivals"} for table in DELIVERED)
    assert all(parents(table) == set(DELIVERED) for table in CATALOGUED)
    assert parents("cohort") == {*CATALOGUED, "findings", "relabels"}
    assert parents("cohort_tokens") == {"cohort"}
    assert parents("tuned_model") == {"cohort_tokens"}
    assert parents("evaluation") == {"tuned_model"}


def test_every_check_file_is_an_asset_check_and_errors_block_what_comes_after() -> None:
    found = {key.name: GRAPH.get(key) for key in GRAPH.asset_check_keys}
    for scope, anchor in ANCHORS.items():
        for check in load_checks(scope):
            assert found[check.name].key.asset_key == dg.AssetKey(anchor)
            assert found[check.name].blocking == (check.severity == "error")


def test_jobs_and_the_sensor_are_there() -> None:
    assert {"curate_delivery", "build_cohort", "relabel", "tune"} <= {
        job.name for job in defs.resolve_all_job_defs()
    }
    sensor = defs.resolve_sensor_def("new_delivery")
    assert sensor.job_name == "curate_delivery"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_publishing_and_tuning_wait_for_their_pools() -> None:
    pools = {
        definition.op.name: definition.op.pool for definition in defs.assets if hasattr(definition, "op")
    }
    assert pools["catalogued"] == "lake"
    assert pools["tuned_model"] == "gpu"


def test_definitions_load_without_torch() -> None:
    code = "import sys, assets.definitions, assets.cli; print([m for m in ('torch', 'transformers', 'streamlit') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_the_command_loads_without_dagster() -> None:
    code = "import sys, assets.cli; print('dagster' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "False"


def test_the_workspace_of_the_repository_is_the_one_that_the_command_writes() -> None:
    assert (ROOT / "workspace.yaml").read_text() == (ROOT / "assets" / "workspace.yaml").read_text()


@pytest.mark.parametrize("table", sorted(TABLES))
def test_previews_show_no_words_and_no_bytes(table: str) -> None:
    assert not UNTOLD & set(preview_columns(table))
    assert {column.name for column in schema_of(table).columns} >= set(preview_columns(table))


def test_previews_shorten_ids() -> None:
    from uuid import UUID

    shown = preview([{"study_id": UUID("12345678-1234-8234-9234-123456789abc"), "n": 3}])
    assert shown is not None
    assert shown.records[0].data == {"study_id": "12345678", "n": 3}
