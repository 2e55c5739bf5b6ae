"""What an object claims of its own de-identification is what was done to it."""

import json
from pathlib import Path

import pytest

from curation.deid.header import Clean, clean_header
from curation.deid.markers import mark
from curation.deid.policy import Policy, compile_policy, load_profile
from curation.records import Refused
from tests.curation.deid.objects import SITE, ct, policy, pseudonyms, read, to_bytes

RESEARCH = Path("curation/deid/rules/profiles/research.toml")


def with_options(tmp_path: Path, *options: str) -> Policy:
    """The research profile with other options."""
    text = (Path(__file__).parents[3] / RESEARCH).read_text()
    begin, end = text.index("options = ["), text.index("]\n", text.index("options = ["))
    path = tmp_path / "mine.toml"
    path.write_text(text[:begin] + "options = " + json.dumps(options) + text[end + 1 :])
    return compile_policy(load_profile(str(path)))


def marked(found: Clean, book: Policy, *, is_cleaned: bool = False, is_defaced: bool = False) -> object:
    header = mark(found.header, book.profile, is_cleaned=is_cleaned, is_defaced=is_defaced)
    return read(Clean(**{name: getattr(found, name) for name in Clean.__slots__} | {"header": header}))


def codes(ds) -> set[str]:
    return {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}


def test_pixel_options_are_claimed_only_by_objects_whose_pixels_were_done(tmp_path: Path) -> None:
    options = ("clean_pixel_data", "clean_recognizable_visual_features")
    book = with_options(tmp_path, *options)
    found = clean_header(to_bytes(ct()), book, pseudonyms(), SITE)
    plain = marked(found, book)
    assert codes(plain) == {"113100"}
    assert "BurnedInAnnotation" not in plain and "RecognizableVisualFeatures" not in plain
    cleaned = marked(found, book, is_cleaned=True)
    assert codes(cleaned) == {"113100", "113101"} and cleaned.BurnedInAnnotation == "NO"
    assert "RecognizableVisualFeatures" not in cleaned
    both = marked(found, book, is_cleaned=True, is_defaced=True)
    assert codes(both) == {"113100", "113101", "113102"}
    assert (both.BurnedInAnnotation, both.RecognizableVisualFeatures) == ("NO", "NO")


def test_marking_changes_nothing_else_and_keeps_the_order() -> None:
    data = to_bytes(ct(BurnedInAnnotation="NO"))
    found = clean_header(data, policy(), pseudonyms(), SITE)
    before, after = marked(found, policy()), marked(found, policy(), is_cleaned=True)
    assert list(after.keys()) == sorted(after.keys())
    del before.DeidentificationMethodCodeSequence, after.DeidentificationMethodCodeSequence
    assert before == after


def test_burned_in_yes_passes_only_where_pixels_are_cleaned(tmp_path: Path) -> None:
    data = to_bytes(ct(BurnedInAnnotation="YES"))
    with pytest.raises(Refused, match="identity_suspected"):
        clean_header(data, policy("basic"), pseudonyms(), SITE)
    book = with_options(tmp_path, "clean_pixel_data")
    found = clean_header(data, book, pseudonyms(), SITE)
    assert marked(found, book).BurnedInAnnotation == "YES"
    assert marked(found, book, is_cleaned=True).BurnedInAnnotation == "NO"


def test_retained_uids_are_the_originals_and_the_lakes_ids_keyed(tmp_path: Path) -> None:
    book = with_options(tmp_path, "retain_uids")
    source = ct()
    found = clean_header(to_bytes(source), book, pseudonyms(), SITE)
    ds = marked(found, book)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert ds[keyword].value == source[keyword].value
    item, original = ds.ReferencedImageSequence[0], source.ReferencedImageSequence[0]
    assert item.ReferencedSOPInstanceUID == original.ReferencedSOPInstanceUID
    assert found.sop_instance == source.SOPInstanceUID
    assert found.instance_id == pseudonyms().uid(source.SOPInstanceUID)
    assert codes(ds) == {"113100", "113110"}


def test_a_retained_uid_that_is_none_withholds_the_object(tmp_path: Path) -> None:
    data = to_bytes(ct()).replace(b"1.2.826.0.1.3680043.8.498.1.1", b"Smithson.John.Albert.19520314")
    with pytest.raises(Refused, match="malformed"):
        clean_header(data, with_options(tmp_path, "retain_uids"), pseudonyms(), SITE)
