"""The form that tunes a model on a cohort: recipe, choices, a check before any compute is spent, launch.

What belongs here: choices into a TuneSpec, the check of training.precheck, the launch by Dagster. What does not: the
meaning of a choice (training.spec says it; its sentences are the help texts) and following the run (views/run.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
import yaml

from curation.records import ConfigurationError
from training.backbones import BUILTIN
from training.precheck import estimate
from training.recipe import list_recipes
from training.spec import Budget, Data, Method, Split, TuneSpec, load_spec, parse_spec
from training.tasks import KINDS
from ui import formats
from ui.components import head
from ui.dagster_client import DagsterClient, DagsterRefusedError, DagsterUnreachableError

METHODS = ("probe", "cut", "lora", "last_n", "full")
OTHER = "another folder"
_FIRST_CHOICE = ("demo", "nodule-cut")


@st.fragment
def show(
    cohort: Mapping[str, Any],
    *,
    labels: Sequence[str],
    covariates: Sequence[str],
    lake_root: Path,
    recipe_folders: Sequence[Path],
) -> None:
    """The whole form for one cohort; launching leads to the run's page."""
    if not labels:
        st.info(
            "This cohort has no labels, so there is nothing to tune on. Add `labels:` to its spec and build it again."
        )
        return
    recipes = list_recipes(recipe_folders)
    names = list(recipes)
    first = next((n for n in _FIRST_CHOICE if n in recipes), names[0])
    left, right = st.columns([3, 2], gap="large")
    with left:
        recipe = st.selectbox(
            "Start from the recipe", names, index=names.index(first), key="recipe", bind="query-params",
            help="A recipe fills the form; every choice below can then be changed.",
        )  # fmt: skip
        base = load_spec(recipe, folders=recipe_folders)
        spec = _choices(base, cohort, labels, covariates, prefix=f"tune-{recipe}")
    with right:
        if spec is not None:
            _check_and_launch(spec, cohort, lake_root)


def _choices(
    base: TuneSpec, cohort: Mapping[str, Any], labels: Sequence[str], covariates: Sequence[str], prefix: str
) -> TuneSpec | None:
    """The form's choices as a TuneSpec of this cohort; None, with the reason on the page, where they make none."""

    def key(name: str) -> str:
        return f"{prefix}-{name}"

    name = st.text_input(
        "Name of the run", value=f"{cohort['name']}-{base.method.kind}", key=key("name"), max_chars=64
    )
    wanted = [label for label in base.task.labels if label in labels] or list(labels[:1])
    with st.grid(2, min_column_width=220):
        kind = st.selectbox(
            "Task",
            list(KINDS),
            index=list(KINDS).index(base.task.kind),
            key=key("kind"),
            format_func=formats.words,
        )
        task_labels = st.multiselect(
            "Labels to learn", labels, default=wanted, key=key("labels"), format_func=formats.words
        )
        kept = [c for c in base.task.covariates if c in covariates]
        task_covariates = st.multiselect(
            "Confounders to stratify by",
            covariates,
            default=kept,
            key=key("covariates"),
            format_func=formats.words,
            placeholder="none",
        )
        uncertain = st.selectbox(
            "Uncertain labels", ["ignore", "ones", "zeros", "soft"], index=["ignore", "ones", "zeros", "soft"].index(base.task.uncertain),
            key=key("uncertain"), help="What a label of -1 counts as in training; evaluation always leaves it out.",
        )  # fmt: skip
    method = st.segmented_control(
        "How much of the model moves", METHODS, default=base.method.kind, required=True, key=key("method"),
        help=Method.model_fields["kind"].description,
    )  # fmt: skip
    changes: dict[str, Any] = {"kind": method}
    with st.grid(2, min_column_width=220):
        if method in ("cut", "last_n"):
            changes["blocks"] = st.number_input(
                "Blocks that move", 1, 48, base.method.blocks, key=key("blocks")
            )
        if method == "lora":
            changes["rank"] = st.number_input(
                "Rank of the updates", 1, 256, base.method.rank, key=key("rank")
            )
        models = [*BUILTIN, OTHER]
        chosen = base.model.id if base.model.id in BUILTIN else OTHER
        model = st.selectbox("Foundation model", models, index=models.index(chosen), key=key("model"))
        if model == OTHER:
            model = st.text_input(
                "Folder of a transformers model",
                value="" if base.model.id in BUILTIN else base.model.id,
                key=key("folder"),
            )
        size = st.number_input("Image size, px", 14, 1024, base.model.input.size, step=14, key=key("size"))
        tiles = st.number_input(
            "Tiles a series",
            1,
            64,
            base.model.input.tiles,
            key=key("tiles"),
            help="Slices of a volume shown to the model.",
        )
        minutes = st.number_input(
            "At most, minutes", 1.0, 10_000.0, float(base.budget.max_minutes), step=1.0, key=key("minutes"),
            help=Budget.model_fields["max_minutes"].description,
        )  # fmt: skip
        epochs = st.number_input("At most, epochs", 1, 1000, base.budget.max_epochs, key=key("epochs"))
    loso = st.toggle(
        "Also leave each site out once", value=base.split.policy == "leave_one_site_out", key=key("loso"),
        help=Split.model_fields["policy"].description,
    )  # fmt: skip
    with st.expander("More", icon=":material/tune:"), st.grid(2, min_column_width=200):
        changes["batch_size"] = st.number_input(
            "Batch size", 1, 4096, base.method.batch_size, key=key("batch")
        )
        changes["head_lr"] = st.number_input(
            "Learning rate of the head", 1e-6, 0.9, base.method.head_lr, format="%.1e", key=key("head_lr")
        )
        augment = st.selectbox(
            "Augmentation", ["light", "none"], index=["light", "none"].index(base.data.augment), key=key("augment"),
            help=Data.model_fields["augment"].description,
        )  # fmt: skip
        weights = st.selectbox(
            "Loss weights", ["site_x_label", "label", "none"], index=["site_x_label", "label", "none"].index(base.data.weights),
            key=key("weights"), help=Data.model_fields["weights"].description,
        )  # fmt: skip
        patience = st.number_input("Patience, epochs", 1, 1000, base.budget.patience, key=key("patience"))
        device = st.selectbox("Device", ["auto", "cpu", "cuda"], key=key("device"))
        bootstrap = st.number_input(
            "Bootstrap replicates", 0, 20_000, base.report.bootstrap, step=100, key=key("bootstrap")
        )
        seed = st.number_input("Seed", 0, 2**31 - 1, base.seed, key=key("seed"))
    tree = base.model_dump(mode="json")
    tree |= {"name": name, "cohort": str(cohort["cohort_id"]), "seed": seed}
    tree["task"] |= {
        "kind": kind,
        "labels": task_labels,
        "covariates": task_covariates,
        "uncertain": uncertain,
    }
    tree["method"] |= changes
    tree["model"] |= {
        "id": model,
        "input": tree["model"]["input"] | {"size": size, "tiles": tiles},
        "revision": base.model.revision if model == base.model.id else None,
    }
    tree["split"]["policy"] = "leave_one_site_out" if loso else "cohort"
    tree["budget"] |= {"max_minutes": minutes, "max_epochs": epochs, "patience": patience}
    tree["data"] |= {"augment": augment, "weights": weights}
    tree["compute"]["device"] = device
    tree["report"]["bootstrap"] = bootstrap
    try:
        return parse_spec(tree, source="The form")
    except ConfigurationError as told:
        st.error(str(told), icon=":material/edit:")
        return None


def _check_and_launch(spec: TuneSpec, cohort: Mapping[str, Any], lake_root: Path) -> None:
    st.markdown("**Before any compute is spent**")
    try:
        found = estimate(lake_root, spec)
    except ConfigurationError as told:
        st.error(str(told), icon=":material/build:", title="This cannot run")
        return
    head.facts(
        {
            "Studies": formats.count(found["n"]),
            "Sites": formats.count(len(found["sites"])),
            "Takes about": "1 min" if found["minutes"] < 1 else f"{found['minutes']:.0f} min",
        }
    )
    st.caption(
        f"Run `{found['run_id']}`: the id is the hash of these choices and the cohort. Minutes are an order of magnitude."
    )
    for problem in found["problems"]:
        st.error(problem, icon=":material/block:")
    for warning in found["warnings"]:
        st.warning(warning, icon=":material/warning:")
    if not found["problems"] and not found["warnings"]:
        st.success(
            "No patient in two splits, every label can be learned, no label gives its site away.",
            icon=":material/verified:",
        )
    if found["exists"]:
        st.info("A run with exactly these choices exists.", icon=":material/history:")
        st.page_link(
            "views/run.py",
            label="Go to that run",
            icon=":material/arrow_forward:",
            query_params={"run": found["run_id"]},
        )
    again = "Run it again, or go on where it stopped" if found["exists"] else "Launch"
    if st.button(
        again, type="primary", icon=":material/rocket_launch:", disabled=bool(found["problems"]), key="launch"
    ):
        _launch(spec, cohort, found["run_id"])
    text = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with st.expander("The same as a file", icon=":material/code:"):
        st.code(text, language="yaml")
        st.download_button(
            "Download",
            text,
            file_name=f"{spec.name}.yaml",
            mime="text/yaml",
            on_click="ignore",
            icon=":material/download:",
        )
        st.code(_command(spec, cohort), language="bash")


def _launch(spec: TuneSpec, cohort: Mapping[str, Any], run_id: str) -> None:
    text = yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    config = {"ops": {"tuned_model": {"config": {"text": text, "cohort": str(cohort["cohort_id"])}}}}
    try:
        DagsterClient().launch("tune", partition_set="runs", key=run_id, config=config)
    except DagsterUnreachableError as told:
        st.error(
            f"{told} Or tune from a terminal: download the file below, then",
            icon=":material/power_off:",
            title="Dagster is off",
        )
        st.code(_command(spec, cohort), language="bash")
        return
    except DagsterRefusedError as told:
        st.error(str(told), icon=":material/block:", title="Dagster did not accept the run")
        return
    st.switch_page("views/run.py", query_params={"run": run_id})


def _command(spec: TuneSpec, cohort: Mapping[str, Any]) -> str:
    return f"rwid tune {spec.name}.yaml --cohort {cohort['cohort_id']}"
