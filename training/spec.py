"""TuneSpec: what to tune, on what, how, for how long, and what to report (contract: design, section 6).

What belongs here: the schema, its defaults, loading with overrides, and the run's id. What does not: which backbone, and what it
sees (model_spec), finding recipes (recipe), judging whether the cohort can carry the spec (precheck). Loads without torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from curation.records import ConfigurationError
from training.model_spec import Input, Model, Part
from training.recipe import find_recipe
from training.tasks import KINDS

TUNER_VERSION = 8
"""Changes only when the same spec on the same cohort would give other weights or another report."""


class Task(Part):
    """What to learn."""

    kind: str = Field(description=f"One of: {', '.join(KINDS)}.")
    labels: tuple[str, ...] = Field(min_length=1, description="Label names of the cohort.")
    uncertain: Literal["ignore", "ones", "zeros", "soft"] = Field(
        default="ignore",
        description="What a label of -1 counts as in training; evaluation always leaves it out.",
    )
    covariates: tuple[str, ...] = Field(
        default=(), description="Covariates of the cohort; metrics with and without each."
    )
    horizons: tuple[float, ...] = Field(
        default=(),
        description="survival: days after the study at which it is judged; none: quartiles of the events' days.",
    )

    text_encoder: str = Field(
        default="builtin:token-bag",
        description="contrastive: what reads the reports; builtin:token-bag, or the folder of a transformers text model.",
    )
    error: Literal["huber", "squared"] = Field(
        default="huber",
        description="regression: what the loss counts; huber lets a few wild values pull less.",
    )

    focal_gamma: float = Field(
        default=0.0,
        ge=0,
        le=5,
        description="multilabel, multiclass: how much less an answer counts in the loss the better it is (Lin et al. 2017; 2 is "
        "usual), so that the many easy studies do not drown the few rare ones; 0: cross-entropy.",
    )

    @field_validator("kind")
    @classmethod
    def _kind_exists(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a task of this release; there are: {', '.join(KINDS)}")
        return kind

    @model_validator(mode="after")
    def _keys_belong_to_the_kind(self) -> Task:
        if self.kind == "survival" and len(self.labels) != 2:
            raise ValueError(
                "survival takes two labels: days after the study, and whether the event was seen then "
                "(in the cohort: outcome_days('death') and outcome_observed('death'))"
            )
        if self.horizons and (self.kind != "survival" or min(self.horizons) <= 0):
            raise ValueError("horizons are days above 0, and of the task survival alone")
        if self.focal_gamma and self.kind not in ("multilabel", "multiclass"):
            raise ValueError(
                f"focal_gamma is for multilabel and multiclass, not for {self.kind}; set it to 0"
            )
        return self


class Method(Part):
    """How much of the backbone moves."""

    kind: Literal["probe", "cut", "lora", "last_n", "full"] = Field(
        description="probe: a head on frozen features; cut: the last blocks, from cached activations; lora: low-rank "
        "updates; last_n: the last blocks, from pixels; full: everything."
    )
    head: Literal["linear", "mlp", "attentive"] = Field(
        default="linear",
        description="linear: solved to the optimum; mlp: a perceptron beside it; attentive: each output weighs the patch "
        "tokens. Every method starts from the head that was learned on frozen features.",
    )
    warm_start: str = Field(
        default="probe",
        pattern=r"^(probe|[0-9a-f]{16})$",
        description="probe: the backbone as it came, with the probe as head; or the id of a finished run whose weights are "
        "the start (last_n, lora, full).",
    )
    blocks: int = Field(default=2, ge=1, description="How many of the last blocks move (cut, last_n).")
    rank: int = Field(default=8, ge=1, le=256, description="Rank of the low-rank updates (lora).")
    views: int = Field(
        default=1, ge=1, le=16, description="Augmented copies cached at the cut; 1: no augmentation (cut)."
    )
    lr: float | None = Field(
        default=None, gt=0, lt=1, description="Peak learning rate of the backbone; default by method."
    )
    head_lr: float = Field(default=1e-3, gt=0, lt=1, description="Peak learning rate of the head.")
    weight_decay: float = Field(default=0.05, ge=0, lt=1, description="AdamW weight decay of matrices.")
    batch_size: int = Field(default=16, ge=1, le=4096, description="Series a step.")
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of what enters the low-rank updates (lora) and the head that is dropped while the backbone learns.",
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the weights, which is then judged and released; 0.999 is usual.",
    )

    @model_validator(mode="after")
    def _warm_start_from_pixels(self) -> Method:
        if self.warm_start != "probe" and self.kind in ("probe", "cut"):
            raise ValueError(
                f"{self.kind} reads what was cached of the backbone as it came; warm_start: probe is all it can"
            )
        return self


class Split(Part):
    """Who learns and who judges."""

    policy: Literal["cohort", "leave_one_site_out"] = Field(
        default="cohort",
        description="cohort: the cohort's own split; leave_one_site_out: besides, one fit a site that never saw it.",
    )


class Data(Part):
    """How examples count and vary."""

    weights: Literal["none", "label", "site_x_label"] = Field(
        default="site_x_label",
        description="Loss weights that give every cell of site and label the same say.",
    )
    augment: Literal["none", "light"] = Field(
        default="light",
        description="light: small shift, scale, contrast and noise; never a flip, for sides matter.",
    )
    project: str = Field(
        default="none",
        description="site, or a yes/no covariate of the task: the head does not see the directions that tell it, and weights "
        "count its values instead of sites (multilabel, multiclass).",
    )


class Budget(Part):
    """When to stop."""

    max_minutes: float = Field(
        default=20, gt=0, description="Compute time of the loop, all attempts together."
    )
    max_steps: int = Field(default=5000, ge=1, description="Optimiser steps.")
    max_epochs: int = Field(default=20, ge=1, description="Passes over the training split.")
    patience: int = Field(
        default=5, ge=1, description="Epochs without a better tune split than the best epoch's."
    )


class Compute(Part):
    """Where to run."""

    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto: bf16 on a GPU, fp32 on a CPU."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; nothing: as torch chooses.")
    memory_mb: int | None = Field(
        default=None,
        ge=0,
        description="MiB that a pack may take in memory, a larger one is read from disk; nothing: a quarter of the machine's.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes on this machine, a GPU each; a step shows the same batch_size series, shared among them.",
    )
    compile: Literal["auto", "off", "on"] = Field(
        default="auto", description="Compile the backbone's blocks; auto: on a GPU, unless deterministic."
    )
    deterministic: bool = Field(
        default=False,
        description="The same bytes every time on a GPU too, at some cost; a CPU gives them anyway.",
    )
    accumulate: int = Field(default=1, ge=1, description="Passes a step is made of: less memory, same step.")
    batch: Literal["fixed", "adapt"] = Field(
        default="fixed",
        description="adapt: where memory runs out, passes become smaller until it does not; the step stays the same.",
    )


class Report(Part):
    """What to say about it."""

    subgroups: tuple[str, ...] = Field(
        default=("site",),
        description="site, age_band, or a column of `studies`, such as sex, manufacturer, country.",
    )
    bootstrap: int = Field(
        default=1000, ge=0, le=20000, description="Patient-cluster bootstrap replicates; 0: no intervals."
    )
    min_cell: int = Field(default=11, ge=1, description="Smaller subgroups are suppressed.")
    statements: dict[str, str] = Field(
        default={},
        description="What only the author can say, by the report's key: statements.intended_use, "
        "provenance.pretraining and so on.",
    )


class TuneSpec(Part):
    """One run, wholly described."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    cohort: str = Field(min_length=1, description="Cohort name (its newest snapshot) or id.")
    model: Model
    task: Task
    method: Method
    split: Split = Split()
    data: Data = Data()
    budget: Budget = Budget()
    compute: Compute = Compute()
    report: Report = Report()
    seed: int = Field(default=7, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _focal_loss_has_something_to_teach(self) -> TuneSpec:
        if self.task.focal_gamma and (self.method.kind, self.method.head) == ("probe", "linear"):
            raise ValueError(
                "task.focal_gamma is for what is learned step by step; a linear probe is solved by cross-entropy: set it to 0, "
                "or choose another method.kind or method.head"
            )
        return self

    @model_validator(mode="after")
    def _projection_has_what_it_needs(self) -> TuneSpec:
        there = ("none", "site", *self.task.covariates)
        if self.data.project not in there:
            raise ValueError(
                f"data.project {self.data.project!r} is none of {', '.join(there)}; name it in task.covariates"
            )
        if self.data.project != "none" and self.task.kind not in ("multilabel", "multiclass"):
            raise ValueError(
                f"data.project is for multilabel and multiclass, not for {self.task.kind}; set it to none"
            )
        if self.data.project != "none" and (self.method.head, self.method.warm_start) != ("linear", "probe"):
            raise ValueError(
                "data.project is for a linear head that starts as the probe; set method.head to linear, warm_start to probe"
            )
        return self


def load_spec(
    path_or_recipe_name: str | Path, overrides: Sequence[str] = (), folders: Sequence[Path] = ()
) -> TuneSpec:
    """A TuneSpec from a YAML file or a recipe's name (`folders`: the user's own recipes), with `key.sub=value` overrides.

    Raises ConfigurationError that names the key and the remedy.
    """
    path = Path(path_or_recipe_name)
    is_file = path.suffix in (".yaml", ".yml", ".json")
    if not is_file:
        path = find_recipe(str(path_or_recipe_name), folders)
    elif not path.is_file():
        raise ConfigurationError(
            f"TuneSpec {path} does not exist. Give the path of a YAML file or a recipe's name."
        )
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path.name} is not YAML: {error}") from None
    return parse_spec(tree, overrides, source=path.name)


def parse_spec(tree: Any, overrides: Sequence[str] = (), source: str = "TuneSpec") -> TuneSpec:
    """A TuneSpec from a mapping. Raises ConfigurationError that names the key and the remedy."""
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{source} must be a mapping with the keys {', '.join(TuneSpec.model_fields)}."
        )
    tree = json.loads(json.dumps(tree))  # a copy of our own: overrides must not change the caller's
    for override in overrides:
        _set(tree, override)
    try:
        return TuneSpec.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(
            f"{source}: " + "; ".join(_sentence(e) for e in error.errors()) + "."
        ) from None


def parse_input(settings: Sequence[str]) -> Input:
    """`model.input` from KEY=VALUE texts. Raises ConfigurationError that names the key and the remedy."""
    tree: dict[str, Any] = {}
    for setting in settings:
        _set(tree, setting, "--input")
    try:
        return Input.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(
            "--input: " + "; ".join(_sentence(e, Input) for e in error.errors()) + "."
        ) from None


def run_id(spec: TuneSpec, cohort_id: str) -> str:
    """First 16 hex digits of sha256 over canonical spec, cohort id and tuner version.

    The cohort's name in the spec does not count: the id says which cohort it is.
    """
    canonical = json.dumps(
        spec.model_dump(mode="json", exclude={"cohort"}), sort_keys=True, separators=(",", ":")
    )
    return hashlib.sha256(f"{canonical}\n{cohort_id}\n{TUNER_VERSION}".encode()).hexdigest()[:16]


def _set(tree: dict[str, Any], override: str, option: str = "--set") -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        such = {"--set": "method.blocks=3", "--input": "size=448"}[option]
        raise ConfigurationError(f"{option} {override!r} must look like key=value, such as {such}.")
    *parents, leaf = key.strip().split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigurationError(f"{option} {key}: {parent!r} is a value, not a group of keys.")
    node[leaf] = yaml.safe_load(value)


def _sentence(error: Any, part: Any = TuneSpec) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        siblings = _keys_beside(error["loc"], part)
        return f"unknown key {key!r}; remove it, or use one of {', '.join(siblings)}"
    if error["type"] == "missing":
        return f"key {key!r} is missing; add it"
    return f"key {key!r}: {error['msg'].removeprefix('Value error, ')}; mend it"


def _keys_beside(location: tuple[Any, ...], part: Any) -> list[str]:
    for name in location[:-1]:
        part = part.model_fields[name].annotation
    return list(part.model_fields)
