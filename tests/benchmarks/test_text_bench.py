"""The text benchmark measures what it says: its answer key fits its reports, its controls fail as they must.

No test here looks at how well the rules do: that is measured, not tested, and its failures are not for the rules' author.
"""

import json
from datetime import date, timedelta
from typing import Any

import pytest

from benchmarks.deid.text import bench_text, corpora, scoring
from benchmarks.deid.text.page import page
from benchmarks.deid.text.test_side_dates import calendar, read, write
from benchmarks.deid.text.test_side_generator import make_reports
from curation.deid.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(bench_text.KEY)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_reports(160, 7)


def figures(rows: list[dict[str, Any]], texts: list[str | None]) -> dict[str, Any]:
    return scoring.summary(bench_text.score(rows, [(text, 1.0) for text in texts], PSEUDONYMS))


def replaced(row: dict[str, Any], stand_in: dict[int, str]) -> str:
    """The report with each span's text exchanged; spans that are not given become a tag."""
    text = row["text"]
    for n in reversed(range(len(row["spans"]))):
        span = row["spans"][n]
        own = text[span["start"] : span["end"]]
        instead = own if span["category"] == "neutral" else stand_in.get(n, "[X]")
        text = text[: span["start"]] + instead + text[span["end"] :]
    return text


def test_the_same_seed_makes_the_same_reports(rows: list[dict[str, Any]]) -> None:
    assert json.dumps(make_reports(160, 7)) == json.dumps(rows)
    assert json.dumps(make_reports(160, 8)) != json.dumps(rows)


def test_every_template_of_every_language_is_filled_and_no_slot_is_left() -> None:
    many = make_reports(700, 1)
    assert {row["language"] for row in many} == {"en", "de", "es", "fr"}
    assert len({row["template"] for row in many}) == 102
    assert not [row["id"] for row in many if "{" in row["text"] or "<<" in row["text"]]


def test_dates_stand_where_the_key_says(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        for span in row["spans"]:
            if span["pattern"]:
                day = date.fromisoformat(span["day"])
                found = read(row["text"][span["start"] : span["end"]], span["pattern"], row["language"], day)
                assert found is not None
                assert abs((found.day - day).days) <= 31


@pytest.mark.parametrize("country", ["us", "uk", "de", "es", "fr"])
def test_every_date_pattern_is_read_as_it_was_written(country: str) -> None:
    language = country if country in ("de", "es", "fr") else "en"
    for kind in ("house", "worded"):
        for pattern in calendar()[kind][country]:
            for n in range(0, 1500, 61):
                day = date(2015, 1, 1) + timedelta(days=n)
                found = read(write(day, pattern, language), pattern, language, day + timedelta(days=9))
                assert found is not None and found.day == day and found.weekday_fits, pattern


def test_nothing_done_removes_nothing_and_touches_nothing(rows: list[dict[str, Any]]) -> None:
    found = figures(rows, [row["text"] for row in rows])
    assert found["span_recall"] == 0
    assert found["reports_without_leak"] == 0
    assert found["clinical_words_touched"] == 0
    assert found["dates_same_format"] == 1 and found["dates_right_interval"] == 0


def test_everything_deleted_removes_all_and_touches_all(rows: list[dict[str, Any]]) -> None:
    found = figures(rows, ["" for _ in rows])
    assert found["span_recall"] == 1
    assert found["clinical_words_touched"] == 1
    assert found["dates_right_interval"] == 0


def test_known_words_alone_are_far_from_enough(rows: list[dict[str, Any]]) -> None:
    found = figures(rows, [bench_text.header_known_only(row) for row in rows])
    assert 0.05 < found["span_recall"] < 0.5
    assert found["recall_by"]["unknown"] < 0.05 < 0.5 < found["recall_by"]["known"]


def test_a_perfect_answer_is_perfect(rows: list[dict[str, Any]]) -> None:
    texts = []
    for row in rows:
        days = timedelta(PSEUDONYMS.offset_days(bench_text.patient_id(row)))
        shifted = {
            n: write(date.fromisoformat(s["day"]) + days, s["pattern"], row["language"])
            for n, s in enumerate(row["spans"])
            if s["pattern"]
        }
        texts.append(replaced(row, shifted))
    found = figures(rows, texts)
    assert found["span_recall"] == 1 and found["reports_without_leak"] == 1
    assert found["clinical_words_touched"] == 0
    assert found["dates_same_format"] == 1 and found["dates_right_interval"] == 1
    assert found["weekdays_right"] == 1 and found["stand_ins_consistent"] == 1


def test_one_surname_left_is_one_leak(rows: list[dict[str, Any]]) -> None:
    row = next(r for r in rows if any(s["category"] == "name" and s["form"] == "fl" for s in r["spans"]))
    at, span = next(
        (n, s) for n, s in enumerate(row["spans"]) if s["category"] == "name" and s["form"] == "fl"
    )
    surname = row["text"][span["start"] : span["end"]].split()[-1]
    found = figures([row], [replaced(row, {at: f"Erika {surname}"})])
    assert found["reports_without_leak"] == 0
    assert found["span_recall"] == pytest.approx((found["spans"] - 1) / found["spans"], abs=1e-5)


def test_a_date_shifted_by_another_offset_breaks_the_interval(rows: list[dict[str, Any]]) -> None:
    row = next(
        r for r in rows if any(s["pattern"].endswith("%Y") and "%d" in s["pattern"] for s in r["spans"])
    )
    wrong = timedelta(PSEUDONYMS.offset_days(bench_text.patient_id(row)) + 1)
    shifted = {
        n: write(date.fromisoformat(s["day"]) + wrong, s["pattern"], row["language"])
        for n, s in enumerate(row["spans"])
        if s["pattern"]
    }
    found = figures([row], [replaced(row, shifted)])
    assert found["span_recall"] == 1 and found["dates_same_format"] == 1
    assert found["dates_right_interval"] < 0.5


@pytest.mark.parametrize(
    ("original", "pattern", "instead", "is_removed", "keeps_format", "fits"),
    [
        ("12/03/2020", "%d/%m/%Y", "02/03/2020", True, True, True),
        ("12/03/2020", "%d/%m/%Y", "2/3/2020", True, True, True),  # nothing shows the house's zeros
        ("12/03/2020", "%d/%m/%Y", "12/03/2020", False, True, False),
        ("12/03/2020", "%d/%m/%Y", "[DATE]", True, False, False),
        ("12/03/2020", "%d/%m/%Y", "2 March 2020", True, False, False),
        ("12-Mar-2020", "%d-%b-%Y", "2-March-2020", True, False, True),
        ("Thursday 12 March", "%A %e %B", "Monday 12 March", False, True, False),
        ("12 March 2020", "%e %B %Y", "[DATE] March 2020", False, False, False),
        ("March 2020", "%B %Y", "March 2020", True, True, True),  # ten days earlier it is March still
    ],
)
def test_a_date_is_judged_by_what_it_says(
    original: str, pattern: str, instead: str, is_removed: bool, keeps_format: bool, fits: bool
) -> None:
    score = scoring.Score()
    span = {"category": "date", "pattern": pattern, "day": "2020-03-12"}
    assert scoring.score_date(score, span, original, instead, "en", -10) is is_removed
    assert (score.dates_same_format, score.dates_right_interval) == (keeps_format, fits)


def test_a_withheld_report_is_counted_and_not_praised(rows: list[dict[str, Any]]) -> None:
    found = figures(rows[:2], [None, rows[1]["text"]])
    assert found["withheld"] == 1 and found["reports"] == 2
    assert found["reports_without_leak"] == 0


def test_the_engine_runs_and_the_page_holds_no_report(rows: list[dict[str, Any]]) -> None:
    policy = bench_text.compile_policy(bench_text.load_profile("research"))
    found, own = bench_text.measure(rows[:6], policy, PSEUDONYMS, {})
    stamp = {"command": "c", "policy": "p", "cores": 1, "load_1min": 0, "peers_skipped": []}
    text = page({"test": stamp | {"ways": found}}) + json.dumps(found)
    assert not [missed for missed in own.missed if len(missed[2]) > 6 and missed[2] in text]


def test_public_sets_are_read_where_they_are() -> None:
    rows = corpora.public("meddocan_dev")
    if rows is None:
        pytest.skip("the public set is not beside this checkout")
    assert len(rows) == 250
    assert {"name", "date", "id"} <= {s["category"] for r in rows for s in r["spans"]}


def test_what_was_missed_on_the_test_side_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench_text", "--side", "test", "--show", "5"])
    with pytest.raises(SystemExit):
        bench_text.main()
