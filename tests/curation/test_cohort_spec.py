"""Cohort specs: what is refused, and whether the sentence names key and remedy; what SQL may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation.attrition import plan_cohort
from curation.cohort import load_spec, parse_spec
from curation.cohort_spec import CohortSpec, canonical
from curation.lake import Connection
from curation.predicate import HELPERS, allowed_functions
from curation.records import ConfigurationError
from curation.settings import Places
from tests.curation.cohort_lake import tiny_lake

GOOD = "cohort: x\ninclude:\n  - {name: film, where: \"modality = 'DX'\"}\n"


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with tiny_lake(tmp_path_factory.mktemp("lake")).connect() as connection:
        yield connection


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cohort: x\ninclud: []", "includ is not a key of a cohort; did you mean include"),
        ("cohort: x\nsplit: {training: 0.7}", "split.training is not a key of a cohort; did you mean train"),
        ("cohort: x\nsplit: {train: 0.9, tune: 0.9, test: 0.1}", "add up to 1.9; make it 1"),
        ("purpose: nothing", "cohort is missing; add it"),
        ("cohort: Not A Slug", "use lower-case letters"),
        (
            "cohort: x\nindex: latest",
            "index: Input should be 'study', 'first_per_patient' or 'last_per_patient'",
        ),
        ("cohort: x\nlabels: {'a b': \"true\"}", "'a b' is no name"),
        ("cohort: x\ncohort: y", "the key 'cohort' is given twice"),
        (
            'cohort: x\ninclude: [{name: a, where: "true"}, {name: a, where: "false"}]',
            "two rules are called 'a'",
        ),
        ("- a list", "begins with `cohort: NAME`"),
        ('cohort: x\ninclude: [{name: a, where: "oops}]', "not YAML in line"),
        ("cohort: x\nsample: {per: site, max: 3}", "sample.per"),
        ("cohort: x\nmin_cell: 0", "min_cell"),
    ],
)
def test_a_wrong_spec_is_refused_with_key_and_remedy(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_spec(text, "my.yaml")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("age > 3", "there is no column 'age' in studies. Did you mean age_years?"),
        ("study_date > current_date", "there is no column 'current_date'"),
        ("site IN (SELECT site FROM studies)", "a subquery is not allowed"),
        ("EXISTS (SELECT 1)", "a subquery is not allowed"),
        ("true FROM read_text('x')", "only an expression may stand here"),
        ("true LIMIT 1", "only an expression may stand here"),
        ("true; DROP TABLE studies", "DuckDB's parser says"),
        ("read_text('x') = 'y'", "the function read_text is not allowed"),
        ("random() < 0.5", "the function random is not allowed"),
        ("getenv('HOME') = 'y'", "the function getenv is not allowed"),
        ("now() > study_date", "the function now is not allowed"),
        ("count(*) > 1", "is not allowed"),
        ("row_number() OVER () = 1", "a window function is not allowed"),
        ("COLUMNS(*) = 1", "a star is not allowed"),
        ("site = ?", "a parameter is not allowed"),
        ("list_contains(list_transform(findings, lambda x: x), 'a')", "is not allowed"),
        ("true, false", "it must be one expression"),
        ("age_years", "it gives DOUBLE, but must give BOOLEAN"),
        ("has_finding(site)", "takes one name in single quotes"),
        (
            "has_finding('nodul')",
            "Finding 'nodul' is neither in the lexicon nor in the lake. Did you mean nodule",
        ),
        ("has_outcome('death')", "No outcome of the lake is called 'death'"),
        ("main.has_finding('nodule') = main.lower('x')", "is not allowed"),
    ],
)
def test_sql_outside_the_language_is_refused_and_the_rule_is_named(
    con: Connection, where: str, sentence: str
) -> None:
    spec = CohortSpec.model_validate({"cohort": "x", "include": [{"name": "mine", "where": where}]})
    with pytest.raises(ConfigurationError) as caught:
        plan_cohort(con, spec)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "sex = 'F' AND age_years BETWEEN 18 AND 89.5",
        "manufacturer ILIKE '%klar%' OR manufacturer IS NULL",
        "'DX' IN modalities AND NOT list_contains(findings, 'mass')",
        "CASE WHEN sex = 'F' THEN age_years > 40 ELSE age_years > 50 END",
        "study_date BETWEEN DATE '2019-01-01' AND DATE '2021-01-01' + INTERVAL 30 DAY",
        "extract(year FROM study_date) = 2020 AND TRY_CAST(model AS INTEGER) IS NULL",
        "coalesce(country, '') NOT IN ('US', 'CA') AND n_series % 2 = 1",
        "regexp_matches(lower(manufacturer), '^k') AND bytes / 1000 < 1e9",
        "site = 'it''s'",
    ],
)
def test_ordinary_sql_is_accepted(con: Connection, where: str) -> None:
    plan_cohort(
        con, CohortSpec.model_validate({"cohort": "x", "include": [{"name": "mine", "where": where}]})
    )


@pytest.mark.parametrize(
    ("key", "given", "sentence"),
    [
        ("labels", {"a": "site"}, "labels.a: it gives VARCHAR"),
        ("covariates", {"a": "agee"}, "covariates.a: there is no column"),
        (
            "series",
            {"keep": "kidn = 'axial'"},
            "series.keep: there is no column 'kidn' in series. Did you mean kind",
        ),
        ("series", {"keep": "has_finding('nodule')"}, "series.keep: the function has_finding is not allowed"),
        (
            "series",
            {"order": "slice_thickness"},
            "series.order: there is no column 'slice_thickness' in series",
        ),
        ("series", {"order": "n_instances LIMIT 3"}, "series.order: only an expression may stand here"),
        ("series", {"order": "1"}, "series.order: order by a column"),
        ("sample", {"max": 3, "stratify": ["sax"]}, "sample.stratify: there is no column 'sax'"),
        ("split", {"holdout_sites": ["st-elswhere"]}, "Did you mean st-elsewhere?"),
    ],
)
def test_every_other_place_for_sql_or_names_is_checked(
    con: Connection, key: str, given: Any, sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_cohort(con, CohortSpec.model_validate({"cohort": "x", key: given}))
    assert sentence in str(caught.value)


def test_a_cast_that_fails_on_data_shows_no_value(tmp_path: Path) -> None:
    from curation.cohort import build_cohort

    spec = parse_spec('cohort: x\ninclude:\n  - {name: a, where: "CAST(manufacturer AS INTEGER) = 3"}')
    with pytest.raises(ConfigurationError, match="TRY_CAST") as caught:
        build_cohort(tiny_lake(tmp_path), spec)
    assert "Klar" not in str(caught.value)


def test_a_spec_is_found_by_path_then_in_the_home_then_among_the_shipped(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.cohorts.mkdir()
    assert load_spec("demo", places).cohort == "demo"
    (places.cohorts / "demo.yaml").write_text(GOOD)
    assert load_spec("demo", places).cohort == "x"
    (tmp_path / "mine.yaml").write_text(GOOD.replace("cohort: x", "cohort: mine"))
    assert load_spec(tmp_path / "mine.yaml", places).cohort == "mine"
    with pytest.raises(ConfigurationError, match=r"No cohort spec 'nothing'.*demo"):
        load_spec("nothing", places)


def test_the_order_of_labels_counts_and_writing_defaults_does_not() -> None:
    one = parse_spec("cohort: x\nlabels: {a: 'true', b: 'false'}")
    other = parse_spec("labels: {a: 'true', b: 'false'}\nindex: study\ncohort: x\nmin_cell: 11")
    assert canonical(one) == canonical(other)
    assert canonical(one) != canonical(parse_spec("cohort: x\nlabels: {b: 'false', a: 'true'}"))


def test_the_page_on_cohorts_names_every_helper_and_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cohorts.md").read_text()
    functions = [f for kind, names in allowed_functions().items() if kind != "operators" for f in names]
    for name in [*HELPERS, *functions]:
        assert f"`{name}" in page, name
