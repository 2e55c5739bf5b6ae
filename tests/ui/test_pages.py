"""Every page draws, says what there is, and says what to do where there is nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import ui
from tests.ui import tiny
from tests.ui.conftest import Draw
from ui.catalog import Catalog
from ui.catalog import evidence as catalog_evidence
from ui.components import deidentified, report_text
from ui.components.run_compare import short_names

VIEWS = Path(ui.__file__).with_name("views")
LISTS = ("overview", "studies", "cohorts", "runs", "evidence", "lineage", "sql")
STUDY = str(tiny.uid("st-elsewhere", 0, "study"))


def texts(page: object) -> str:
    """Everything a reader reads, one line an element."""
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "code",
        "info",
        "warning",
        "error",
        "success",
        "html",
    )
    found = [
        str(e.value if kind != "html" else e.proto.body)
        for kind in kinds
        for e in getattr(page, kind, page.get(kind))
    ]
    return "\n".join(found)


def metrics(page: object) -> dict[str, str]:
    return {m.label: m.value for m in page.metric}


@pytest.mark.parametrize("view", LISTS)
def test_an_empty_home_draws_and_names_a_first_step(draw_empty: Draw, view: str) -> None:
    page = draw_empty(view)
    assert page.title
    if view in ("overview", "studies"):
        assert "make demo" in texts(page)


def test_the_overview_counts_the_lake(draw: Draw) -> None:
    page = draw("overview")
    assert metrics(page) | {"Studies": "12", "Sites": "2", "Images": "40", "With report": "33 %"} == metrics(
        page
    )
    deliveries = page.dataframe[0].value.set_index("delivery")
    assert deliveries.loc[
        "st-elsewhere-2024-01", ["arrivals", "instances", "reports", "refusals"]
    ].tolist() == [25, 20, 2, 3]


def test_the_studies_page_filters_by_its_address(draw: Draw) -> None:
    page = draw("studies", modality=["CT"], site=["st-elsewhere"])
    assert "**2 studies** of 2 patients" in texts(page)
    assert set(page.dataframe[0].value["modality"]) == {"CT"}


def test_words_in_reports_find_their_studies(draw: Draw) -> None:
    page = draw("studies", words="right upper lobe")
    assert "**2 studies**" in texts(page)


def test_a_filter_that_nothing_passes_says_so(draw: Draw) -> None:
    page = draw("studies", modality=["CT"], body_part=["ABDOMEN"])
    assert "No study passes all filters." in texts(page)


def test_a_study_shows_redactions_and_findings_as_marks(draw: Draw) -> None:
    page = draw("study", study=STUDY)
    html = texts(page)
    assert '<span class="tag" title="replaced by de-identification">[NAME]</span>' in html
    assert (
        '<mark class="present" title="nodule: present">There is a nodule in the right upper lobe.</mark>'
        in html
    )
    assert '<mark class="absent"' in html


def test_a_study_tells_what_was_removed_shifted_replaced_and_blanked(draw: Draw) -> None:
    page = draw("study", study=str(tiny.uid("st-elsewhere", 2, "study")))
    told = next(frame.value for frame in page.dataframe if "effect" in frame.value)
    by_attribute = dict(zip(told["attribute"], told["effect"], strict=True))
    assert by_attribute == {"PatientName": "removed", "StudyDate": "shifted", "StudyInstanceUID": "replaced"}
    assert "1 region on 1 image (detected)" in texts(page)


def test_a_study_whose_images_may_show_a_face_says_so_and_no_other_does(draw: Draw) -> None:
    warned = texts(draw("study", study=str(tiny.uid("st-elsewhere", 3, "study"))))
    assert "may show a face" in warned
    assert "may show a face" not in texts(draw("study", study=STUDY))


def test_faces_are_counted_by_image(catalog: Catalog) -> None:
    assert catalog.faces_of_study(str(tiny.uid("st-elsewhere", 3, "study"))) == 6
    assert catalog.faces_of_study(STUDY) == 0


@pytest.mark.parametrize(
    ("kind", "tag", "action", "told"),
    [
        ("instance", "(0008,1030)", "C", "cleaned"),
        ("instance", "(0040,a730)(0040,a120)", "C", "shifted"),
        ("instance", "(0010,0020)", "D", "replaced"),
        ("instance", "(0008,0080)", "Z", "removed"),
        ("report", "DATE", "C", "shifted"),
        ("report", "NAME", "C", "replaced"),
        ("report", "NAME", "X", "removed"),
    ],
)
def test_an_action_code_comes_to_one_effect(kind: str, tag: str, action: str, told: str) -> None:
    assert deidentified.effect(kind, tag, action) == told


@pytest.mark.parametrize(
    ("view", "query"),
    [
        ("study", {"study": "not-an-id"}),
        ("study", {"study": str(tiny.uid("nobody"))}),
        ("cohort", {"cohort": "../../restricted"}),
        ("run", {"run": "../../../etc"}),
        ("run", {"run": "0123456789abcdef"}),
        ("lineage", {"study": "x"}),
        ("lineage", {"run": "x" * 16}),
    ],
)
def test_a_page_of_a_thing_that_is_not_there_offers_the_list(
    draw: Draw, view: str, query: dict[str, str]
) -> None:
    page = draw(view, **query)
    assert "is not in this lake" in texts(page)


@pytest.mark.parametrize(
    "tab",
    ["Who is in it", "Attrition", "Splits and labels", "Images", "Runs", "Tune", "SQL and card", "Versions"],
)
def test_each_part_of_a_cohort_draws_from_its_address(draw: Draw, tab: str) -> None:
    page = draw("cohort", cohort="chest-nodule", tab=tab)
    assert metrics(page) | {"Studies": "8", "Sites": "2", "Train": "6"} == metrics(page)


def test_a_cohort_gives_the_sql_that_finds_its_members(draw: Draw, catalog: object, lake: tiny.Lake) -> None:
    import duckdb

    page = draw("cohort", cohort="chest-nodule", tab="SQL and card")
    attach, query = page.code[0].value.split(";")[:2]
    with duckdb.connect() as con:
        con.execute(attach)
        assert len(con.execute(query).fetchall()) == 8
    assert "nodules on chest images" in texts(page)


def test_two_versions_of_a_cohort_show_what_was_added(draw: Draw) -> None:
    page = draw("cohort", cohort="chest-nodule", tab="Versions")
    assert metrics(page)["Added"] == "4"
    assert metrics(page)["Removed"] == "0"


def test_tuning_is_refused_before_compute_where_nothing_can_be_learned(draw: Draw) -> None:
    page = draw("cohort", cohort="hopeless", tab="Tune")
    assert "nothing to learn" in texts(page)
    assert page.button(key="launch").disabled


def test_tuning_without_dagster_gives_the_command(draw: Draw, lake: tiny.Lake) -> None:
    page = draw("cohort", cohort="learnable", tab="Tune")
    page.button(key="launch").click().run()
    assert not page.exception
    assert f"rwid tune learnable-cut.yaml --cohort {tiny.find_cohort(lake, 'learnable').name}" in texts(page)
    assert "rwid up" in texts(page)


def test_the_tuning_form_follows_its_choices(draw: Draw) -> None:
    page = draw("cohort", cohort="learnable", tab="Tune")
    before = [c.value for c in page.caption if "the id is the hash" in c.value]
    page.number_input(key="tune-demo-seed").set_value(8).run()
    after = [c.value for c in page.caption if "the id is the hash" in c.value]
    assert len(before) == len(after) == 1
    assert before != after


def test_the_tuning_form_keeps_what_a_recipe_shows_the_model(draw: Draw, lake: tiny.Lake) -> None:
    recipe = lake.root.parent / "recipes" / "slabs.yaml"
    recipe.parent.mkdir(exist_ok=True)
    recipe.write_text(
        "{name: slabs, cohort: learnable, model: {id: 'builtin:tiny-vit', input: {kind: slab, size: 28, gap: 3}},"
        " task: {kind: multilabel, labels: [woman]}, method: {kind: cut, blocks: 1}}"
    )
    try:
        page = draw("cohort", cohort="learnable", tab="Tune", recipe="slabs")
    finally:
        recipe.unlink()
    assert {"kind: slab", "gap: 3", "size: 28"} <= {line.strip() for line in texts(page).splitlines()}


def test_a_finished_run_sets_untuned_beside_tuned(draw: Draw) -> None:
    page = draw("run", run=tiny.RUN)
    assert metrics(page) | {"Untuned": "0.610", "Tuned": "0.830", "Gain, paired": "+0.220"} == metrics(page)
    assert "better than untuned on these studies" in texts(page)


def test_a_live_run_shows_how_far_it_is(draw: Draw) -> None:
    page = draw("run", run=tiny.LIVE_RUN)
    progress = page.get("progress")[0].proto
    assert progress.value == 50
    assert "epoch 8 of 16" in progress.text


def test_the_runs_page_lists_every_run_with_its_result(draw: Draw) -> None:
    page = draw("runs")
    frame = page.dataframe[0].value.set_index("name")
    assert frame.loc["nodule-done", "tuned"] == pytest.approx(0.83)
    assert frame.loc["nodule-running", "status"] == ["running"]


def test_runs_are_compared_on_the_same_studies_with_what_they_cost(draw: Draw) -> None:
    page = draw("runs")
    assert "All judged on the same 4 studies of 4 patients" in texts(page)
    cost = next(f.value for f in page.dataframe if "minutes" in f.value).set_index("Method")
    assert cost.index.tolist() == ["probe", "cut"]
    assert cost.loc["cut", "Gain"].startswith("0.")
    assert cost.loc["cut", "minutes"] == pytest.approx(93 / 60)
    sites = next(f.value for f in page.dataframe if "Patients" in f.value)
    assert set(sites["Site"]) == set(tiny.SITES)
    pairs = next(f.value for f in page.dataframe if "Pair" in f.value)
    assert set(pairs["Site"]) == {"all", *tiny.SITES}
    assert pairs["Difference"].iloc[0].startswith("0.000")


def test_the_page_of_evidence_answers_what_runs_answer(draw: Draw) -> None:
    page = draw("evidence")
    told = texts(page)
    assert "fibrosis: tuning narrows the gap by +0.140, 95 % interval +0.050 to +0.230, 40 studies." in told
    assert (
        "charity-north: gain in AUROC -0.030, 95 % interval -0.110 to +0.040, 20 studies: the interval holds 0"
        in told
    )
    assert metrics(page) | {"Clinical alone": "0.610", "With the image": "0.700"} == metrics(page)
    assert "The image adds to concordance +0.090" in told
    assert "No run answers this" not in told


def test_the_page_of_evidence_names_the_command_where_no_run_answers(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = lambda self, run_ids: catalog_evidence.Evidence._metrics(self, [], "")  # noqa: E731
    for question in ("comorbidity_gaps", "unseen_sites", "outcomes"):
        monkeypatch.setattr(catalog_evidence.Evidence, question, nothing)
    told = texts(draw("evidence"))
    assert told.count("No run answers this") == 3
    for part in ("task.covariates=[", "split.policy=leave_one_site_out", "task.kind=survival"):
        assert part in told


def test_lineage_of_a_study_names_source_policy_cohort_and_run(draw: Draw) -> None:
    page = draw("lineage", study=STUDY)
    sources = page.dataframe[0].value
    assert len(sources) == 9
    assert set(sources["policy_version"]) == {tiny.POLICY}
    assert page.dataframe[1].value["action"].tolist() == ["C", "Z", "U"]
    graph = next(m.value for m in page.markdown if "flowchart" in m.value)
    for told in ("st-elsewhere-2024-01", tiny.POLICY, tiny.KEY, "cohort chest-nodule", "run nodule-done"):
        assert told in graph


def test_lineage_of_a_run_goes_back_to_its_deliveries(draw: Draw) -> None:
    page = draw("lineage", run=tiny.RUN)
    told = page.dataframe[0].value
    assert set(told["name"]) == {
        "nodule-done",
        "chest-nodule",
        "st-elsewhere-2024-01",
        "charity-north-2024-02",
    }


def test_no_view_asks_in_sql_reads_a_path_or_talks_with_dagster() -> None:
    for path in sorted(VIEWS.glob("*.py")):
        tree = ast.parse(path.read_text())
        modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)} | {
            a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
        }
        assert not {"duckdb", "pathlib", "os", "ui.dagster_client", "pyarrow"} & modules, path.name
        strings = [
            n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        assert not [
            s
            for s in strings
            if "SELECT " in s and " FROM " in s and "placeholder" not in s and "GROUP BY ALL" not in s
        ], path.name


def test_the_sql_page_answers_the_question_in_its_address(draw: Draw) -> None:
    page = draw("sql", q="SELECT modality, count(*) AS n FROM studies GROUP BY ALL ORDER BY 1")
    assert page.dataframe[0].value.to_dict("list") == {"modality": ["CR", "CT", "US"], "n": [4, 4, 4]}


def test_the_sql_page_refuses_what_is_no_question(draw: Draw, lake: tiny.Lake) -> None:
    page = draw("sql", q=f"COPY (SELECT 1) TO '{lake.root}/leak.csv'")
    assert page.error
    assert not (lake.root / "leak.csv").exists()


def test_every_example_question_has_an_answer(lake: tiny.Lake) -> None:
    from ui import console

    for title, query in console.examples().items():
        assert len(console.ask(lake.root, query, None).frame.columns), title


def test_the_sql_page_explains_every_column() -> None:
    from ui import console

    for table in console.tables():
        assert console.grain(table)
        assert all(console.columns(table)["meaning"])


def test_the_worst_errors_stand_beside_their_reports(draw: Draw, catalog: Catalog) -> None:
    wrong = catalog.mistakes(tiny.RUN, "nodule")
    assert wrong["error"].is_monotonic_decreasing and len(wrong) == 4
    for kind, target in (("false positive", 0), ("false negative", 1)):
        assert set(catalog.mistakes(tiny.RUN, "nodule", kind=kind)["target"]) <= {target}
    assert set(catalog.mistakes(tiny.RUN, "nodule", site="st-elsewhere")["site"]) == {"st-elsewhere"}
    page = draw("run", run=tiny.RUN)
    html = texts(page)
    assert f"/api/series/{wrong['series_id'].iloc[0]}/4.webp" in html
    assert html.count('class="rwid-report"') == 4


def test_a_correction_is_kept_and_recorded_by_dagster_or_told_as_a_command(
    draw: Draw, catalog: Catalog
) -> None:
    page = draw("run", run=tiny.RUN)
    study = catalog.mistakes(tiny.RUN, "nodule")["study_id"].iloc[0]
    page.button(key=f"keep-{study}-nodule").click().run()
    assert not page.exception
    assert "1 correction not recorded yet" in texts(page)
    page.button(key="record").click().run()
    assert "rwid relabel corrections.csv --cohort" in texts(page)
    assert "Nothing has come into the lake since" in texts(page)


def test_what_would_help_next_is_asked_of_finished_runs_and_says_what_is_missing(draw: Draw) -> None:
    page = draw("run", run=tiny.RUN)
    page.toggle(key="next_data").set_value(True).run()
    assert not page.exception
    assert "has no preprocess.json" in texts(page)


def test_lists_that_hold_nothing_say_so_or_what_to_do(draw: Draw) -> None:
    assert "Nothing here." in texts(draw("run", run=tiny.RUN, look="Suspect labels"))
    assert "has no preprocess.json" in texts(draw("run", run=tiny.RUN, look="To label next"))


def test_a_gain_of_nothing_at_all_is_told_as_the_start_that_was_kept() -> None:
    def script() -> None:
        from ui.components.run_results import _verdict

        _verdict({"value": 0.0, "low": 0.0, "high": 0.0}, "auroc")

    (told,) = AppTest.from_function(script).run().info
    assert "both answer alike" in told.value and "the start is kept" in told.value


def test_reports_say_that_names_in_them_are_stand_ins(draw: Draw) -> None:
    assert report_text.STAND_INS in texts(draw("study", study=STUDY))


def test_runs_side_by_side_are_called_by_what_tells_them_apart() -> None:
    def run(run_id: str, name: str, kind: str) -> dict[str, object]:
        return {"run_id": run_id, "name": name, "spec": {"method": {"kind": kind}}}

    ladder = [run("a" * 16, "demo", "probe"), run("b" * 16, "demo", "cut")]
    assert list(short_names(ladder).values()) == ["probe", "cut"]
    twice = [*ladder, run("c" * 16, "demo", "cut")]
    assert list(short_names(twice).values()) == ["probe", "cut · bbbbbbbb", "cut · cccccccc"]
    others = [*ladder, run("d" * 16, "mine", "cut")]
    assert list(short_names(others).values()) == ["demo · probe", "demo · cut", "mine · cut"]
