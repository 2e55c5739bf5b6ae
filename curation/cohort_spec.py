"""CohortSpec: what a cohort is, as YAML says it.

What belongs here: the schema, its defaults, loading, and the cohort's id. What does not: what the SQL in it may say
(predicate) and running it (attrition).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from curation.records import ConfigurationError
from curation.settings import Places

COHORT_ENGINE_VERSION = 1
"""Changes only when the meaning of a spec changes."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
MAX_RULES = 60  # one bit a rule in an unsigned 64-bit mask


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Model):
    """A named SQL predicate over `studies`."""

    name: str = Field(min_length=1)
    where: str = Field(min_length=1)


class SeriesRule(_Model):
    """Which series of a study are used: SQL over `series`."""

    keep: str = "is_whole"
    order: str = "n_instances DESC"
    per_study: int = Field(default=1, ge=1)


class Sample(_Model):
    """A sample of at most `max` studies or patients, proportional over the strata; the same on every run."""

    per: Literal["study", "patient"] = "patient"
    max: int = Field(ge=1)
    stratify: tuple[str, ...] = ()


class Split(_Model):
    """Shares of the split buckets, and sites kept out as `holdout`."""

    train: float = Field(default=0.7, ge=0, le=1)
    tune: float = Field(default=0.1, ge=0, le=1)
    test: float = Field(default=0.2, ge=0, le=1)
    holdout_sites: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _sum(self) -> Split:
        if abs(self.train + self.tune + self.test - 1) > 1e-6:
            raise ValueError(
                f"train, tune and test add up to {self.train + self.tune + self.test:g}; make it 1"
            )
        return self


class CohortSpec(_Model):
    """The contract's YAML (design, specs)."""

    cohort: str
    purpose: str = ""
    index: Literal["study", "first_per_patient", "last_per_patient"] = "study"
    include: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()
    labels: dict[str, str] = {}
    covariates: dict[str, str] = {}
    series: SeriesRule = SeriesRule()
    sample: Sample | None = None
    split: Split = Split()
    min_cell: int = Field(default=11, ge=1)
    relabels: bool = True
    """Whether what readers corrected counts: a label takes the value that stands for its name, and `has_finding` and its kin
    see it as the last word on the finding of that name."""

    @field_validator("cohort")
    @classmethod
    def _slug(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("use lower-case letters, digits, dots and dashes, such as chest-ct-nodule")
        return value

    @field_validator("labels", "covariates")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        wrong = [name for name in value if not _LABEL.fullmatch(name)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no name: use letters, digits and underscores")
        return value

    @model_validator(mode="after")
    def _rules(self) -> CohortSpec:
        names = [r.name for r in (*self.include, *self.exclude)]
        if len(names) > MAX_RULES:
            raise ValueError(f"{len(names)} rules; at most {MAX_RULES} are possible. Join some with AND")
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two rules are called {twice[0]!r}; give each its own name")
        return self


def canonical(spec: CohortSpec) -> str:
    """The spec as one JSON text: the same for the same meaning, defaults written out.

    `relabels: true` is left out: it came later, and older cohorts keep their id.
    """
    tree = spec.model_dump(mode="json")
    if spec.relabels:
        del tree["relabels"]
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False)


def cohort_id(spec: CohortSpec, snapshot_sha256: str) -> str:
    """First 16 hex digits of the hash over spec, snapshot and engine version."""
    body = "\n".join((canonical(spec), snapshot_sha256, str(COHORT_ENGINE_VERSION)))
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def load_spec(path_or_name: str | Path, places: Places | None = None) -> CohortSpec:
    """A spec by path, else by name in the home's cohorts/, else by name among the shipped ones.

    Raises ConfigurationError naming the key and the remedy.
    """
    source = _find(str(path_or_name), places)
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source.name}: not UTF-8. Save it as UTF-8.") from None
    return parse_spec(text, source.name)


def parse_spec(text: str, name: str = "cohort spec") -> CohortSpec:
    """A spec from YAML. Raises ConfigurationError naming the key and the remedy."""
    try:
        facts = yaml.load(text, Loader=_OneKeyLoader)  # noqa: S506 - a SafeLoader that refuses a key given twice
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise ConfigurationError(f"{name}: not YAML{line}: {what}. Put SQL in double quotes.") from None
    if not isinstance(facts, dict):
        raise ConfigurationError(f"{name}: a cohort spec is a mapping that begins with `cohort: NAME`.")
    try:
        return CohortSpec.model_validate(facts)
    except ValidationError as error:
        raise ConfigurationError(f"{name}: " + "; ".join(_sentence(e) for e in error.errors())) from None


class _OneKeyLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML as data, where a key given twice is an error: the first would vanish in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping with each key once."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep=deep))


def _sentence(error: Any) -> str:
    key = ".".join(map(str, error["loc"])) or "spec"
    if error["type"] == "extra_forbidden":
        known = _keys_at(error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]}" if close else f"known here: {', '.join(known)}"
        return f"{key} is not a key of a cohort; {hint}"
    if error["type"] == "missing":
        return f"{key} is missing; add it"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}"


def _keys_at(path: tuple[Any, ...]) -> list[str]:
    models: dict[str, type[_Model]] = {
        "include": Rule,
        "exclude": Rule,
        "series": SeriesRule,
        "sample": Sample,
        "split": Split,
    }
    model: type[_Model] = models.get(str(path[0]), CohortSpec) if path else CohortSpec
    return list(model.model_fields)


def shipped_specs() -> dict[str, Traversable]:
    """Name to file of the specs that ship with rwid."""
    folder = resources.files("curation") / "cohorts"
    return {
        p.name.removesuffix(".yaml"): p
        for p in sorted(folder.iterdir(), key=lambda p: p.name)
        if p.name.endswith(".yaml")
    }


def _find(path_or_name: str, places: Places | None) -> Traversable:
    path = Path(path_or_name)
    if path.is_file():
        return path
    own = places.cohorts / f"{path_or_name}.yaml" if places else None
    if own is not None and _NAME.fullmatch(path_or_name) and own.is_file():
        return own
    shipped = shipped_specs()
    if path_or_name in shipped:
        return shipped[path_or_name]
    mine = sorted(p.stem for p in places.cohorts.glob("*.yaml")) if places else []
    raise ConfigurationError(
        f"No cohort spec {path_or_name!r}: neither a file nor a name. Known names: {', '.join([*mine, *shipped])}."
    )
