"""The page a scientist reads: verdict first, everything said, nothing from outside; and what lies beside it."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.training.judged import LABELS, judged, spec
from training import precheck
from training.evaluate import evaluate
from training.footprint import Meter
from training.report import write_report
from training.report.plots import ticks
from training.report.reading_sheet import reading_sheet
from training.report.verdicts import verdicts
from training.runs import RunFolder

VOID = {"meta", "br", "line", "circle", "polyline", "polygon"}


class Outline(HTMLParser):
    """Ids, links, words and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self.ids += [of["id"]] if of.get("id") else []
        self.links += [of["href"]] if of.get("href") else []
        assert not set(of) & {"src", "onclick", "onload"}, f"{tag} reaches outside, or runs"
        assert tag not in ("script", "link", "iframe", "img")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("lake")
    examples, truth, scores = judged(folder, gap=0.8)
    features = np.random.default_rng(0).normal(size=(len(examples), 8)).astype(np.float32)
    asked = spec(report={"bootstrap": 60, "statements": {"statements.limits": "Not for <children>."}})
    evidence = evaluate(folder, examples, LABELS, truth, scores, asked, "simulated", features)
    run = RunFolder(folder, "simulated")
    found = {**precheck.check(folder, examples, asked), "warnings": ["few & far"]}
    write_report(run, asked, examples, found, evidence, list(Meter().lines(9.0, None)), 9.0)
    return run


def report_of(run: RunFolder) -> dict[str, object]:
    report = run.read_json("report.json")
    assert report is not None
    return report


def test_the_page_is_whole_and_needs_nothing_but_itself(run: RunFolder) -> None:
    text = (run.path / "report.html").read_text()
    outline = Outline()
    outline.feed(text)
    assert not outline.open
    assert {link for link in outline.links if not link.startswith("#")} == set()
    assert {link[1:] for link in outline.links} <= set(outline.ids)
    assert outline.titles[:3] == ["Result", "Accuracy beside other diseases", "Every site"]
    assert text.index("class=verdict") < text.index("<h2")
    assert "Beside emphysema: gap +" in text[: text.index("<h2")], "the gap stands at the top"
    for plot in (
        "AUROC of every site",
        "Decision curve · nodule · test",
        "Workload · effusion · test",
        "Calibration · nodule · test",
    ):
        assert f"<title>{plot}</title>" in text
    assert "Not for &lt;children&gt;." in text
    assert "few &amp; far" in text
    assert not re.search(r"\bNone\b|\bnan\b", re.sub(r"<p class=quiet>None.</p>", "", text))


def test_every_item_of_the_catalogue_is_in_every_file(run: RunFolder) -> None:
    report = report_of(run)
    entries = {row["key"] for row in report["catalogue"]}  # type: ignore[attr-defined]
    assert {row["entry"] for row in pq.read_table(run.path / "report.parquet").to_pylist()} - {""} == entries
    page = (run.path / "report.html").read_text()
    assert all(row["title"].replace("'", "&#x27;") in page for row in report["catalogue"])  # type: ignore[attr-defined]
    computed = {row["key"] for row in report["catalogue"] if row["status"] == "computed"}  # type: ignore[attr-defined]
    assert {"strata.gap", "operating.points", "operating.net_benefit", "operating.workload", "calibration.sites", "calibration.brier",
            "calibration.conformal", "discrimination.multiplicity", "discrimination.micro", "discrimination.clinical",
            "discrimination.majority", "discrimination.delong", "subgroups.worst", "provenance.duplicates", "provenance.disjoint",
            "statements.limits", "compute.time"} <= computed  # fmt: skip
    assert json.dumps(report, allow_nan=False), "no NaN: other languages cannot read it"
    claim = {r["number"]: r["status"] for r in report["checklists"] if r["checklist"] == "CLAIM 2024"}  # type: ignore[attr-defined]
    assert (claim["29"], claim["44"]) == ("filled", "author")


def test_the_model_card_says_what_the_author_said_and_did_not(run: RunFolder) -> None:
    card = (run.path / "model_card.md").read_text()
    assert "* Known limits and harms: Not for <children>." in card
    assert "* Intended use: **the author must say**" in card
    assert "| emphysema | test | macro |" in card


def test_the_reading_sheet_is_blind(run: RunFolder, tmp_path: Path) -> None:
    rows = list(csv.DictReader((run.path / "reading_sheet.csv").read_text().splitlines()))
    assert len(rows) == 50
    examples, truth, _ = judged(tmp_path)
    place = {str(study): i for i, study in enumerate(examples.study_id)}
    chosen = [place[row["study_id"]] for row in rows]
    assert {examples.split[i] for i in chosen} == {"test"}
    assert truth[chosen, 0].sum() == 25
    assert len({examples.patient[i] for i in chosen}) == 50
    order = [truth[i, 0] for i in chosen]
    assert order != sorted(order), "positives do not come first"
    filled = {name for row in rows for name, value in row.items() if value}
    assert filled == {"case", "study_id", "series_id"}, "nothing leads the reader"
    assert set(rows[0]) >= {"nodule_yes_no_unsure", "effusion_yes_no_unsure", "comment"}
    few = [i for i in range(len(examples)) if examples.split[i] != "test"]
    examples.split[few[0]] = "holdout"
    again = list(csv.DictReader(io.StringIO(reading_sheet(examples, LABELS, 7))))
    assert len(again) == 50


def test_verdicts_say_yes_or_no_and_why(run: RunFolder) -> None:
    report = report_of(run)
    assert report["verdicts"] == verdicts(report)
    assert report["verdicts"]["tuned_is_better"]["passed"]  # type: ignore[index]
    complete = report["verdicts"]["report_is_complete"]  # type: ignore[index]
    assert not complete["passed"], "the hand-made cohort has no rules and no lake"
    assert "for the author to say: Did the backbone see these patients?" in complete["text"]
    worse = json.loads(json.dumps(report))
    worse["tables"]["gaps"][0]["verdict"] = "tuning widened the gap"
    worse["tables"]["near_duplicates"][0]["p"] = 1e-6
    for row in worse["catalogue"]:
        row["status"] = "missing" if row["by"] == "author" else "computed"
    found = verdicts(worse)
    assert not found["gap_not_widened"]["passed"]
    assert not found["no_near_duplicates"]["passed"]
    assert found["report_is_complete"]["passed"], "what the author owes does not fail the machine"
    lower = {**worse, "headline": {"test": {"metric": "mae", "gain": {"value": -1, "low": -2, "high": -0.5}}}}
    assert verdicts(lower)["tuned_is_better"]["passed"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.137, 0.604), (0.48, 1.01), (0, 3650), (1e-4, 2e-4)])
def test_axes_have_round_numbers(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 7
    assert low <= found[0] < found[-1] <= high
    assert all(len(f"{t:g}") <= 8 for t in found)


def test_gaps_have_the_names_that_the_page_of_evidence_reads(run: RunFolder) -> None:
    (first, *_) = report_of(run)["tables"]["gaps"]  # type: ignore[index]
    assert {"covariate", "split", "label", "n_without", "n_with", "narrowing"} <= set(first)
    for found in (first["narrowing"], first["untuned"]["gap"], first["tuned"]["gap"]):
        assert set(found) == {"value", "low", "high"}
