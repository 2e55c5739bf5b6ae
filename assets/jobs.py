"""The jobs: what is launched together. Wiring only."""

import dagster as dg

from curation.records import CATALOGUED, DELIVERED

curate_delivery = dg.define_asset_job(
    "curate_delivery",
    selection=dg.AssetSelection.assets("arrivals", *DELIVERED, *CATALOGUED),
    description="One delivery from the inbox to a new snapshot: walk, stage, check, publish.",
)
build_cohort = dg.define_asset_job(
    "build_cohort",
    selection=dg.AssetSelection.assets("cohort", "cohort_tokens"),
    description="One cohort frozen from the newest snapshot, and its model-ready tokens.",
)
relabel = dg.define_asset_job(
    "relabel",
    selection=dg.AssetSelection.assets("relabels"),
    description="Corrections of labels, in one commit; the cohort built next uses them.",
)
tune = dg.define_asset_job(
    "tune",
    selection=dg.AssetSelection.assets("tuned_model", "evaluation"),
    description="One run: a foundation model tuned on a cohort, then set beside the untuned one.",
)
