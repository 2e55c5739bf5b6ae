"""The generator keeps its promises: same bytes, balanced sites, refusals to be seen, honest refusal of bad numbers."""

from __future__ import annotations

import hashlib
import io
from collections import Counter

import pydicom
import pytest

from curation.records import ConfigurationError
from curation.synth import SITES, generate
from curation.synth.dialect import load_profile


def digests(root):
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(tmp_path / name, sites=2, patients=8, seed=seed, profile="tiny")
    first, second, third = (digests(tmp_path / name) for name in "abc")
    assert first == second
    assert not set(first.values()) & set(third.values())


def test_progress_counts_patients_to_the_end(tmp_path):
    seen = []
    generate(
        tmp_path / "x", sites=1, patients=3, seed=1, profile="tiny", progress=lambda *at: seen.append(at)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"sites": 9, "patients": 20}, "--sites"),
        ({"sites": 0, "patients": 20}, "--sites"),
        ({"sites": 4, "patients": 3}, "--patients"),
        ({"sites": 1, "patients": 1, "profile": "huge"}, "profile"),
    ],
)
def test_numbers_that_cannot_be_met_are_refused_with_the_remedy(tmp_path, numbers, word):
    with pytest.raises(ConfigurationError, match=word):
        generate(tmp_path / "x", seed=1, **{"profile": "tiny", **numbers})
    assert not (tmp_path / "x").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ConfigurationError, match="not empty"):
        generate(tmp_path, sites=1, patients=1, seed=1, profile="tiny")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_truth_has_one_row_a_study_and_the_images_carry_its_uid(generated):
    uids = {
        pydicom.dcmread(io.BytesIO(d), stop_before_pixels=True).StudyInstanceUID
        for _, d in generated.images()
    }
    assert uids == {row["study_uid"] for row in generated.truth}
    assert generated.summary.studies == len(generated.truth)


def test_expected_counts_are_those_of_the_folder(generated):
    per_site = Counter(name.split("/")[0] for name, _ in generated.images())
    for site, expected in generated.summary.expected.items():
        assert per_site[site] == expected["instances"]
        assert expected["files"] == sum(1 for p in (generated.root / site).rglob("*") if p.is_file())
        assert (expected["duplicate"], expected["truncated"], expected["not_dicom"]) == (2, 1, 1)


def test_duplicates_are_exact_and_the_broken_file_ends_early(generated):
    for site in SITES:
        files = dict(generated.files(site))
        whole = {hashlib.sha256(d).digest() for n, d in files.items() if "/resent/" not in n}
        resent = [d for n, d in files.items() if "/resent/" in n]
        assert len(resent) == 2
        assert all(hashlib.sha256(d).digest() in whole for d in resent)
        (cut,) = [d for n, d in files.items() if "/broken/cut" in n]
        assert any(d.startswith(cut) and len(d) > len(cut) for n, d in files.items() if "/broken/" not in n)


def test_answer_key_and_truth_lie_outside_the_sites(generated):
    assert sorted(p.name for p in generated.root.iterdir() if p.is_file()) == [
        "answer_key.parquet",
        "truth.parquet",
    ]


def test_every_site_has_all_four_modalities_and_chest_studies_are_the_majority(generated):
    by_site = {site: Counter(r["kind"] for r in generated.truth if r["site"] == site) for site in SITES}
    assert all(set(kinds) == {"radiograph", "ct", "mr", "us"} for kinds in by_site.values())
    for name in ("tiny", "demo", "default"):
        mix = Counter(load_profile(name).mix)
        assert mix["radiograph"] > mix["ct"] > mix["mr"]
        assert mix["radiograph"] + mix["ct"] > 0.7 * mix.total()


def test_some_persons_are_seen_twice_and_some_at_two_sites(generated):
    studies = Counter(r["patient_id"] for r in generated.truth)
    assert max(studies.values()) > 1
    places = {(r["person"], r["site"]) for r in generated.truth}
    visitors = [p for p, n in Counter(person for person, _ in places).items() if n > 1]
    assert visitors
    for person in visitors:
        rows = [r for r in generated.truth if r["person"] == person]
        assert len({r["patient_id"] for r in rows}) > 1
        assert len({r["sex"] for r in rows}) == 1


def test_all_study_dates_lie_within_a_year_so_that_a_shifted_date_is_never_a_planted_one(generated):
    days = [r["study_date"] for r in generated.truth]
    assert (max(days) - min(days)).days < 365 - 5


def test_nobody_is_imaged_after_death_and_disease_shortens_life(tmp_path):
    from curation.synth.chance import stream
    from curation.synth.dialect import load_dialects, load_profile
    from curation.synth.identity import Coiner
    from curation.synth.people import make_person

    dialect, profile, coiner = load_dialects()[0], load_profile("tiny"), Coiner(stream(1))
    people = [make_person(1, dialect, profile, coiner, i) for i in range(400)]
    assert all(p.outcome(s.day)[0] > 0 for p in people for s in p.studies)
    old_enough = [p for p in people if 50 < p.age_years(p.studies[0].day) < 75]
    died = {
        has: sum(p.outcome(p.studies[0].day)[1] for p in group) / len(group)
        for has in (True, False)
        if (group := [p for p in old_enough if p.disease.has("nodule") == has])
    }
    assert died[True] > died[False] + 0.15
    assert any(p.age_years(p.studies[0].day) > 89 for p in people)
