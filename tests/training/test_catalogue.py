"""Nothing is silently absent: every entry of the catalogue has a status, the checklists are whole, wrong files are refused."""

import pytest
from pydantic import ValidationError

from curation.records import ConfigurationError
from tests.training.judged import spec
from training.audit import Item
from training.report.catalogue import Catalogue, catalogue, check_statements, complete, summary
from training.report.checklists import Checklist, checklists, fill
from training.tasks import KINDS


def test_every_entry_has_a_status_whatever_was_computed() -> None:
    nothing = complete([], "multilabel", {})
    assert [line.entry for line in nothing] == [e.key for e in catalogue().entry]
    rows = summary(nothing)
    assert {row["status"] for row in rows} == {"missing", "not_applicable"}
    assert all(row["why"] for row in rows), "what is not there says why, or what to do"
    assert (
        next(r for r in rows if r["key"] == "survival.brier")["why"]
        == "not a question for the task multilabel"
    )


def test_a_line_answers_its_entry_and_one_that_answers_none_stays() -> None:
    items = [
        Item("strata", "gap by emphysema, test: nodule", "computed", 0.1, "x"),
        Item("strata", "gap by fibrosis, test: nodule", "not_applicable", None, "y"),
        Item("discrimination", "MAE, test: dose", "computed", 0.1, "x"),
        Item("discrimination", "DeLong, test: nodule", "computed", 0.1, "x"),
        Item("elsewhere", "something", "computed", 1.0, "z"),
    ]
    lines = complete(items, "multilabel", {})
    assert sum(line.entry == "strata.gap" for line in lines) == 2
    assert next(r for r in summary(lines) if r["key"] == "strata.gap")["status"] == "computed"
    assert {line.item for line in lines if line.entry == "discrimination.arms"} == {"MAE, test: dose"}
    assert {line.item for line in lines if line.entry == "discrimination.delong"} == {"DeLong, test: nodule"}
    assert (lines[-1].entry, lines[-1].item) == ("", "something")


def test_what_only_the_author_can_say_is_missing_until_it_is_said() -> None:
    key = "provenance.pretraining"
    silent = next(r for r in summary(complete([], "multilabel", {})) if r["key"] == key)
    assert (silent["status"], silent["by"]) == ("missing", "author")
    assert "author must fill" in silent["why"]
    said = complete([], "multilabel", {key: "None: it was trained on photographs."})
    line = next(line for line in said if line.entry == key)
    assert (line.status, line.text) == ("computed", "The author says: None: it was trained on photographs.")
    check_statements(spec(report={"statements": {key: "None."}}).report.statements)
    with pytest.raises(ConfigurationError, match=r"those are: provenance\.pretraining"):
        check_statements({"strata.gap": "we closed it"})


def test_tasks_of_the_catalogue_are_tasks() -> None:
    future = {"regression", "segmentation", "contrastive", "report_generation", "text_extraction", "vqa"}
    assert {t for e in catalogue().entry for t in e.tasks} <= set(KINDS) | future


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"section": "nowhere"}, "must begin with its section"),
        ({"key": "nowhere.gap", "section": "nowhere"}, "no such section"),
        ({"items": "("}, "unterminated|missing"),
        ({"remedy": ""}, "at least 1 character"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_wrong_catalogue_is_refused(change: dict[str, str], message: str) -> None:
    section = [{"key": "strata", "title": "Strata"}]
    entry = {
        "key": "strata.gap",
        "section": "strata",
        "title": "Gap",
        "means": "x",
        "items": "gap",
        "remedy": "y",
    }
    Catalogue.model_validate({"section": section, "entry": [entry]})
    with pytest.raises(Exception, match=message):
        Catalogue.model_validate({"section": section, "entry": [{**entry, **change}]})
    with pytest.raises(ValidationError, match="stands there twice"):
        Catalogue.model_validate({"section": section, "entry": [entry, entry]})


def test_both_checklists_are_whole_and_say_where_each_answer_stands() -> None:
    assert [(c.name, c.n_items) for c in checklists()] == [("CLAIM 2024", 44), ("TRIPOD+AI", 52)]
    empty = fill(summary(complete([], "multilabel", {})))
    assert len(empty) == 96
    assert {row["status"] for row in empty} == {"author"}
    items = [
        Item("provenance", "rules", "computed", None, "x"),
        Item("provenance", "left after adult", "computed", None, "x"),
    ]
    rows = {(r["checklist"], r["number"]): r for r in fill(summary(complete(items, "multilabel", {})))}
    assert rows["CLAIM 2024", "8"]["status"] == "filled"
    assert rows["CLAIM 2024", "13"]["status"] == "partly"
    assert "Subgroups: " in rows["CLAIM 2024", "13"]["where"], "what is not there says so"
    assert rows["CLAIM 2024", "44"]["status"] == "author"


def test_a_checklist_with_an_item_lost_is_refused() -> None:
    chapter = [{"title": "t", "item": [{"number": "1", "asks": "x"}]}]
    with pytest.raises(ValidationError, match="1 different items where 2"):
        Checklist.model_validate({"name": "n", "source": "s", "n_items": 2, "chapter": chapter})
    chapter[0]["item"][0]["entries"] = ["strata.nothing"]  # type: ignore[index]
    with pytest.raises(ValidationError, match="the catalogue has no"):
        Checklist.model_validate({"name": "n", "source": "s", "n_items": 1, "chapter": chapter})
