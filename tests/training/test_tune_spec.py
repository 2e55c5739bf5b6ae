"""A TuneSpec says everything, refuses what it does not know, and gives the run its name."""

import subprocess
import sys
from pathlib import Path

import pytest

from curation.records import ConfigurationError
from training.recipe import list_recipes
from training.spec import load_spec, parse_spec, run_id

CONTRACT = """
name: nodule-cut
cohort: chest-ct-nodule
model: {id: builtin:vits14, revision: "sha256:8efe5f46", input: {size: 224}}
task: {kind: multilabel, labels: [nodule], uncertain: ignore, covariates: [emphysema]}
method: {kind: cut, blocks: 2}
split: {policy: cohort}
data: {weights: site_x_label, augment: light}
budget: {max_minutes: 20, max_steps: 5000, patience: 5}
compute: {device: auto, precision: auto}
report: {subgroups: [site, sex, age_band, manufacturer], bootstrap: 1000}
seed: 7
"""


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(CONTRACT)
    return path


def test_the_yaml_of_the_contract_is_accepted_as_it_stands(contract: Path) -> None:
    spec = load_spec(contract)
    assert (spec.method.kind, spec.method.blocks, spec.report.bootstrap) == ("cut", 2, 1000)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.blockz=3", "unknown key 'method.blockz'"),
        ("colour=red", "unknown key 'colour'"),
        ("task.kind=telepathy", "task.kind"),
        ("budget.max_steps=0", "budget.max_steps"),
        ("task.labels=[]", "task.labels"),
        ("model.revision=main", "model.revision"),
        ("nonsense", "must look like key=value"),
        ("name.sub=1", "is a value, not a group"),
    ],
)
def test_a_wrong_key_is_refused_by_its_name(contract: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_spec(contract, [override])


def test_overrides_reach_into_groups_and_keep_their_type(contract: Path) -> None:
    spec = load_spec(contract, ["method.blocks=3", "task.labels=[a, b]", "compute.device=cpu"])
    assert (spec.method.blocks, spec.task.labels, spec.compute.device) == (3, ("a", "b"), "cpu")


def test_the_run_id_follows_spec_and_cohort_and_nothing_else(contract: Path) -> None:
    spec = load_spec(contract)
    name = run_id(spec, "c0ffee")
    assert len(name) == 16
    assert name == run_id(load_spec(contract, ["cohort=c0ffee"]), "c0ffee"), "name and id of a cohort are one"
    assert name == run_id(load_spec(contract, ["split.policy=cohort"]), "c0ffee"), (
        "a default said aloud is no change"
    )
    assert name != run_id(spec, "c0ffed")
    assert name != run_id(load_spec(contract, ["seed=8"]), "c0ffee")


def test_every_shipped_recipe_loads_by_its_name() -> None:
    recipes = list_recipes()
    assert {"demo", "nodule-probe", "nodule-cut", "nodule-lora"} <= set(recipes)
    for name in recipes:
        assert load_spec(name).name == name


def test_a_users_recipe_hides_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(CONTRACT.replace("nodule-cut", "mine"))
    assert load_spec("demo", folders=[tmp_path]).name == "mine"


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="nodule-lora"):
        load_spec("nodul-lora")


def test_a_spec_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be a mapping"):
        parse_spec(["name"])


def test_pages_load_specs_runs_metrics_and_estimates_without_torch() -> None:
    code = (
        "import sys, training.spec, training.runs, training.metrics, training.precheck, training.recipe\n"
        "assert not {'torch', 'transformers', 'sklearn', 'peft'} & set(sys.modules), 'too heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
