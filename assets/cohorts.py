"""Cohorts and their model-ready tokens. Wiring only: curation.cohort freezes, curation.pack makes tiles and token ids."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from assets.guarded import guarded
from assets.metadata import cohort_facts, pack_facts
from assets.partitions import cohorts
from assets.resources import Progress, RwidHome
from curation.records import CATALOGUED


class CohortConfig(dg.Config):
    """What to build. Empty: the spec called like the partition, on the newest snapshot."""

    spec: str = ""
    """Name of a spec, or the path of a YAML file."""
    text: str = ""
    """The YAML itself, which then counts instead."""
    snapshot: int | None = None


class TokensConfig(dg.Config):
    """What to make tokens of. Empty: the newest cohort of the partition's name, in the default recipe."""

    cohort_id: str = ""
    input: dict[str, Any] = {}  # noqa: RUF012 - dagster copies a config's defaults
    """Keys of a TuneSpec's `model.input`: kind, size, tiles and the others."""


@dg.asset(
    group_name="cohort",
    partitions_def=cohorts,
    kinds={"parquet", "yaml"},
    deps=[
        dg.AssetDep(table, partition_mapping=dg.AllPartitionMapping())
        for table in (*CATALOGUED, "findings", "relabels")
    ],
    description="Members, patient-level splits and attrition, frozen from one snapshot under an id that is their hash.",
)
def cohort(context: dg.AssetExecutionContext, rwid: RwidHome, config: CohortConfig) -> dg.MaterializeResult:
    """Freezes the cohort of the partition's name."""
    started = time.monotonic()
    folder = guarded(_freeze, rwid, context.partition_key, config)
    return dg.MaterializeResult(
        metadata=guarded(cohort_facts, folder) | {"seconds": round(time.monotonic() - started, 2)},
        data_version=dg.DataVersion(folder.name),
    )


def _freeze(rwid: RwidHome, name: str, config: CohortConfig) -> Path:
    from curation.cohort import build_cohort, load_spec, parse_spec

    places = rwid.settings().places
    spec = parse_spec(config.text) if config.text else load_spec(config.spec or name, places)
    if spec.cohort != name:
        raise dg.Failure(
            f"The spec is of cohort '{spec.cohort}', the partition is '{name}'.", allow_retries=False
        )
    return build_cohort(rwid.lake(), spec, config.snapshot)


@dg.asset(
    group_name="cohort",
    partitions_def=cohorts,
    deps=["cohort"],
    kinds={"parquet"},
    description="Model-ready tokens of a cohort: image tiles and report token ids, in the order of its members.",
)
def cohort_tokens(
    context: dg.AssetExecutionContext,
    rwid: RwidHome,
    config: TokensConfig,
    progress: dg.ResourceParam[Progress],
) -> dg.MaterializeResult:
    """Makes the token pack, or finds it made."""
    from curation.cohort import find_cohort
    from curation.pack import build_pack
    from training.model_spec import Input
    from training.shown import recipe_of

    started = time.monotonic()
    lake = rwid.lake()
    frozen = guarded(find_cohort, lake, config.cohort_id or context.partition_key)
    recipe = replace(recipe_of(Input(**config.input)), text=True)
    pack = guarded(
        build_pack,
        lake,
        frozen.name,
        recipe,
        progress=lambda done, total: progress.items("tokens", done, total),
    )
    return dg.MaterializeResult(
        metadata=guarded(pack_facts, pack) | {"seconds": round(time.monotonic() - started, 2)},
        data_version=dg.DataVersion(pack.name),
    )
