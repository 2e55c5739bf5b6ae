"""The corpus of the de-identification benchmark holds what its key says, and its scorer and search tell good from bad."""

from __future__ import annotations

from argparse import Namespace
from datetime import timedelta

import pydicom
import pytest
from pydicom.dataset import Dataset

from benchmarks.deid.bench_corpus import judge, write_result
from benchmarks.deid.corpus.answer_key import ACTIONS, Check, File, Planted, read_rows
from benchmarks.deid.corpus.canary import YEARS, Mint
from benchmarks.deid.corpus.common import start
from benchmarks.deid.corpus.generate import BUILDERS, CLASSES, write_corpus
from benchmarks.deid.corpus.people import SITES, make_patient
from benchmarks.deid.corpus.planting import wrong_vr
from benchmarks.deid.leak_search import LeakSearch, forms
from benchmarks.deid.mutations import MUTATIONS, elements, mutate
from benchmarks.deid.score import Pair, Scorer, summary
from benchmarks.deid.systems import Release, copy_only, delete_everything
from curation.deid.pseudonyms import OFFSET_DAYS_MAX, OFFSET_DAYS_MIN
from curation.synth.encoding import EXPLICIT


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    write_corpus(out, "dev", 1, 1)
    return out


def files_of(corpus):
    return read_rows(corpus / "files.parquet", File)


def test_every_kind_of_object_is_there_and_readable(corpus):
    files = files_of(corpus)
    assert {f.kind for f in files} == set(BUILDERS)
    assert len({f.syntax for f in files}) >= 9
    for file in files:
        if file.is_valid:
            ds = pydicom.dcmread(corpus / "files" / file.file)
            assert str(ds.SOPClassUID) == file.sop_class


def test_the_same_seed_gives_the_same_bytes(corpus, tmp_path):
    write_corpus(tmp_path, "dev", 1, 1)
    for file in files_of(corpus):
        assert (tmp_path / "files" / file.file).read_bytes() == (corpus / "files" / file.file).read_bytes()


def test_the_search_finds_what_was_planted_where_nothing_was_done(corpus):
    planted = read_rows(corpus / "planted.parquet", Planted)
    search = LeakSearch(planted)
    missed = []
    for file in files_of(corpus):
        found = search.in_file(corpus / "files" / file.file)
        here = [p for p in planted if p.file == file.file]
        missed += [(p.place, p.path, piece) for p in here for piece in p.pieces if piece not in found]
    # what was written over by a later place is not there; a search that misses a coding misses many more
    assert len(missed) < 0.01 * len(planted), missed


def test_controls_fail(corpus, tmp_path):
    files = files_of(corpus)
    copied, _, leaks = judge(corpus, copy_only(corpus, files, tmp_path / "copy"))
    assert copied["direct_identifiers"] < 20
    assert len(leaks) > 500
    deleted, _, leaks = judge(corpus, delete_everything(corpus, files, tmp_path / "deleted"))
    assert not leaks
    assert deleted["kept_for_science_of_released"] < 5
    assert deleted["score"] < 70


def test_every_action_of_the_key_is_used(corpus):
    assert {c.action for c in read_rows(corpus / "key.parquet", Check)} == set(ACTIONS)


def test_a_shifted_date_is_no_other_planted_date():
    mint = Mint("dev", 3)
    days = {year: mint._days[year] for year in YEARS}
    planted = {day for year in days.values() for day in year}
    for day in planted:
        for shift in (OFFSET_DAYS_MIN, 1000, OFFSET_DAYS_MAX):
            assert (day - timedelta(shift)).year not in YEARS


def test_sides_share_no_value(tmp_path):
    dev, test = Mint("dev", 1), Mint("test", 1)
    ours = {dev.word() for _ in range(500)}
    assert not ours & {test.word() for _ in range(500)}


def test_forms_are_found_and_a_cut_head_does_not_hide():
    planted = Planted("f", "p", "place", "name", "Bralvornquil", ["Bralvornquil"])
    search = LeakSearch([planted])
    for _, raw, _ in forms("Bralvornquil"):
        assert search.in_bytes(b"...." + raw + b"....")
    assert search.in_bytes(b"ralvornquil") == {}


def test_names_of_two_letters_never_run_out():
    mint = Mint("dev", 1)
    names = [mint.script_name("田中", "田中").text for _ in range(60)]
    assert len(set(names)) == 60


def test_a_name_is_planted_in_numbers_and_unknowns_as_it_is():
    site = SITES["dev"][0]
    mint = Mint("dev", 1)
    patient = make_patient(mint, site, 1)
    draft = start(mint, site, patient, patient.studies[0], "CT", EXPLICIT, *CLASSES["CT"])
    for keyword, vr in (("TableHeight", "UN"), ("KVP", "DS"), ("EchoNumbers", "IS")):
        wrong_vr(keyword, vr, "name")(draft, mint)
    data = draft.to_bytes()
    for _, _, canary, _, _ in draft.planted[-3:]:
        assert canary.text.encode() in data
    assert b"\x18\x00\x30\x11UN" in data


# ------------------------------------------------------------------ the scorer, check by check


def verdict(action, text, before, after, path="<(0018,0060)>", others=()):
    file = File("f", "site", "P1", "CT", "s", "c", True, False)
    checks = [Check("f", "i", path, action, text, "place", False), *others]
    return next(Scorer({"f": Pair(file, before, after)}, checks).verdicts()).passed


def with_value(**values):
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("action", "text", "good", "bad"),
    [
        ("text_retained", "CT Thorax", "Thorax, CT", "Thorax"),
        ("text_removed", "Quilorbek", "CT Thorax", "CT quilorbek"),
        ("text_notnull", "", "x", ""),
        ("date_shifted", "20190305", "20120104", "20190305"),
        ("uid_changed", "1.2.3", "2.25.1", "1.2.3"),
    ],
)
def test_an_action_passes_and_fails(action, text, good, bad):
    before = with_value(ImageComments=text)
    for value, expected in ((good, True), (bad, False)):
        after = with_value(ImageComments=value)
        assert verdict(action, text, before, after, "<(0020,4000)>") is expected


def test_a_removed_element_passes_removal_and_fails_retention():
    before, after = with_value(ImageComments="x"), Dataset()
    assert verdict("text_removed", "x", before, after, "<(0020,4000)>")
    assert not verdict("text_retained", "x", before, after, "<(0020,4000)>")
    assert not verdict("date_interval", "20190305", before, after, "<(0020,4000)>")


def test_a_withheld_file_fails_and_a_class_never_released_does_not_count():
    checks = [Check("f", "i", "<(0020,4000)>", "text_removed", "x", "place", True)]
    valid = Pair(File("f", "s", "p", "CT", "s", "c", True, False), Dataset(), None)
    document = Pair(File("f", "s", "p", "PDF", "s", "c", True, True), Dataset(), None)
    assert [v.passed for v in Scorer({"f": valid}, checks).verdicts()] == [False]
    assert list(Scorer({"f": document}, checks).verdicts()) == []


def test_a_date_moved_by_another_offset_breaks_the_interval():
    before = with_value(StudyDate="20190305", SeriesDate="20190306", ContentDate="20190307")
    after = with_value(StudyDate="20150305", SeriesDate="20150306", ContentDate="20150309")
    checks = [
        Check("f", "i", path, "date_interval", day, "place", False)
        for path, day in (
            ("<(0008,0020)>", "20190305"),
            ("<(0008,0021)>", "20190306"),
            ("<(0008,0023)>", "20190307"),
        )
    ]
    file = File("f", "site", "P1", "CT", "s", "c", True, False)
    assert [v.passed for v in Scorer({"f": Pair(file, before, after)}, checks).verdicts()] == [
        True,
        True,
        False,
    ]


def test_two_uids_that_become_one_are_inconsistent():
    before = with_value(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    after = with_value(StudyInstanceUID="2.25.9", SeriesInstanceUID="2.25.9")
    checks = [
        Check("f", "i", "<(0020,000d)>", "uid_consistent", "1.2.3", "place", True),
        Check("f", "i", "<(0020,000e)>", "uid_consistent", "1.2.4", "place", True),
    ]
    file = File("f", "site", "P1", "CT", "s", "c", True, False)
    assert [v.passed for v in Scorer({"f": Pair(file, before, after)}, checks).verdicts()] == [False, False]


# ------------------------------------------------------------------ mutations


def test_a_mutation_is_the_same_for_its_seed_and_breaks_the_file(corpus):
    data = (
        corpus / "files" / next(f.file for f in files_of(corpus) if f.syntax.endswith("1.2.1"))
    ).read_bytes()
    assert elements(data)
    broken = [mutate(data, f"1 {n}") for n in range(150)]
    assert broken == [mutate(data, f"1 {n}") for n in range(150)]
    assert {name for name, _ in broken} == set(MUTATIONS)
    assert sum(out != data for _, out in broken) > 140


# ------------------------------------------------------------------ the figures


def test_what_bends_and_is_withheld_leaves_the_score_and_is_counted():
    checks = [
        Check(name, "i", "<(0020,4000)>", "text_removed", "x", "place", True)
        for name in ("good", "bent", "out")
    ]
    pairs = {
        "good": Pair(
            File("good", "s", "p", "CT", "s", "c", True, False), with_value(ImageComments="x"), Dataset()
        ),
        "bent": Pair(File("bent", "s", "p", "CT", "s", "c", False, False), Dataset(), None),
        "out": Pair(File("out", "s", "p", "CT", "s", "c", True, False), Dataset(), None),
    }
    figures = summary(list(Scorer(pairs, checks).verdicts()), pairs)
    assert (figures["checks"], figures["passed"], figures["score"]) == (2, 1, 50.0)
    assert figures["score_with_bent_withheld_as_failed"] == 33.333
    assert figures["withheld"] == {
        "valid": 1,
        "of_valid": 2,
        "bent": 1,
        "of_bent": 1,
        "class_never_released": 0,
    }


def test_a_name_in_a_log_is_a_leak(corpus):
    (one, *_) = read_rows(corpus / "planted.parquet", Planted)
    release = Release({}, besides=f"row of {one.pieces[0]}".encode())
    _, _, leaks = judge(corpus, release)
    assert [leak["file"] for leak in leaks] == ["names and log"]


def test_the_page_tells_both_sides(corpus, tmp_path):
    arguments = Namespace(side="dev", seed=1, patients=1, peers=False)
    files = files_of(corpus)
    figures, _, _ = judge(corpus, copy_only(corpus, files, tmp_path / "copy"))
    write_result(arguments, corpus, files, {"control: copy only": figures}, tmp_path)
    page = (tmp_path / "deid_corpus.md").read_text()
    assert f"| control: copy only | {figures['checks']} |" in page
    assert "synthetic" in page
