"""`rwid retrain`: a run's spec once more, on the next version of its cohort."""

from typing import Annotated

import typer

from assets.commands.runs import shown_metrics
from assets.console import Session


def retrain(
    context: typer.Context, run_id: Annotated[str, typer.Argument(help="As rwid runs lists it.")]
) -> None:
    """Freeze a run's cohort anew on the newest snapshot, with what was relabelled since, and tune the same spec on it.

    Example: rwid retrain 3f2a9c0d1e4b5a67
    """
    from assets.commands.tune import read
    from assets.instance import opened
    from assets.launch import launch
    from curation.settings import open_home
    from training.retrain import plan_retrain
    from training.runs import RunFolder

    session: Session = context.obj
    settings = session.settings()
    root = settings.places.lake
    plan = plan_retrain(root, run_id)
    if plan.is_same:
        session.say("Nothing has come into the lake since: this is the run that is there.")
    with opened(open_home(settings)) as instance, session.bar() as bar:
        if not plan.is_frozen:
            config = {"cohort": {"text": plan.cohort_text}}
            launch(
                instance, "build_cohort", "cohorts", plan.cohort, bar=bar, config=config, assets=["cohort"]
            )
        RunFolder(root, plan.run_id).write_json("spec.json", plan.spec.model_dump(mode="json"))
        launch(instance, "tune", "runs", plan.run_id, bar=bar)
    facts = read(root, plan.run_id) | {"former": run_id, "cohort_id": plan.cohort_id}
    session.done(facts, *shown_metrics(facts))
