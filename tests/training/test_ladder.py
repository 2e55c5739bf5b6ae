"""The ladder: what each rung starts from, and the rungs side by side on the same studies."""

from pathlib import Path

import pytest
import torch

from curation.records import ConfigurationError
from tests.training.planted import lay_down, tree
from training import ladder
from training.spec import parse_spec
from training.tune import tune

torch.set_num_threads(1)


def test_a_rung_starts_from_the_one_before_where_that_moved_the_backbone() -> None:
    cut = ("cut", "0123456789abcdef")
    assert ladder.overrides_of("lora", cut, "cohort")[1] == "method.warm_start='0123456789abcdef'"
    assert ladder.overrides_of("cut", ("probe", "a" * 16), "cohort")[1] == "method.warm_start='probe'"
    assert ladder.overrides_of("lora", cut, "leave_one_site_out")[1] == "method.warm_start='probe'"
    spec = parse_spec(tree("cut"), ladder.overrides_of("full", ("lora", "0000000000000000"), "cohort"))
    assert (spec.method.kind, spec.method.warm_start) == ("full", "0" * 16)


@pytest.mark.parametrize("text", ["probe", "probe,probe", "probe,moon"])
def test_a_ladder_that_is_none_says_what_to_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="two or more of probe, cut"):
        ladder.parse_ladder(text)


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_rungs_are_judged_on_the_same_studies_and_say_what_they_add(tmp_path: Path, kind: str) -> None:
    lay_down(tmp_path, signal=15, measured=True)
    task = {"kind": kind, "labels": ["dose" if kind == "regression" else "opacity"]}
    before, runs = None, []
    budget = {"max_epochs": 2}
    for rung in ladder.parse_ladder("probe, cut, lora"):
        spec = parse_spec(tree(task=task, budget=budget), ladder.overrides_of(rung, before, "cohort"))
        runs.append(tune(tmp_path, spec, report=lambda event: None).name)
        before = (rung, runs[-1])
    found = ladder.rungs(tmp_path, runs)
    assert [(r.kind, r.starts_from) for r in found] == [
        ("probe", "probe"),
        ("cut", "probe"),
        ("lora", runs[1]),
    ]
    assert {(r.split, r.n, r.metric) for r in found} == {
        ("holdout", 32, "mae" if kind == "regression" else "auroc")
    }
    assert found[0].added is None
    if kind == "multilabel":
        assert found[2].added == pytest.approx((found[2].value or 0) - (found[1].value or 0))
        assert (found[2].added_low or 0) <= (found[2].added or 0) <= (found[2].added_high or 0)
