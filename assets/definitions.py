"""The one code location. Wiring only: what runs is below, and torch stays unloaded until a run needs it."""

import dagster as dg

from assets.arrivals import arrivals
from assets.catalogued import catalogued
from assets.checks import catalogue_checks, cohort_checks, delivery_checks
from assets.cohorts import cohort, cohort_tokens
from assets.curated import curated
from assets.jobs import build_cohort, curate_delivery, relabel, tune
from assets.relabels import relabels
from assets.resources import Progress, RwidHome
from assets.sensors import new_delivery
from assets.tuning import evaluation, tuned_model


def define(progress: Progress) -> dg.Definitions:
    """All of it, with somewhere to tell progress."""
    return dg.Definitions(
        assets=[arrivals, curated, catalogued, cohort, cohort_tokens, relabels, tuned_model, evaluation],
        asset_checks=[delivery_checks, catalogue_checks, cohort_checks],
        jobs=[curate_delivery, build_cohort, relabel, tune],
        sensors=[new_delivery],
        resources={"rwid": RwidHome(), "progress": progress},
        # one process a run: a killed run leaves no step behind that goes on writing
        executor=dg.in_process_executor,
    )


defs = define(Progress())
