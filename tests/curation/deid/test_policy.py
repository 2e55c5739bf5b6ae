"""A profile becomes one decision an attribute, by a written precedence; wrong profiles say what to mend."""

import csv
import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from curation.deid import policy as policy_module
from curation.deid.actions import RULES
from curation.deid.explain import with_block
from curation.deid.policy import Act, Policy, compile_policy, load_profile, read_rows
from curation.records import ConfigurationError
from tests.curation.deid.objects import policy

ROOT = Path(__file__).parents[3]
RESEARCH = (RULES / "profiles" / "research.toml").read_text()


def decision(book: Policy, keyword: str) -> policy_module.Decision:
    return next(d for d in book.decisions if d.keyword == keyword)


def profile_with(tmp_path: Path, *options: str, **attributes: str) -> Policy:
    lines = ['name = "mine"', 'edition = "2026d"', f"options = {json.dumps(options)}"]
    lines += ["[compound]", '"X/Z" = "Z"', '"X/D" = "D"', '"Z/D" = "D"', '"X/Z/D" = "D"', '"X/Z/U*" = "U"']
    lines += [
        "[compound_sequence]",
        '"D" = "X"',
        '"X/Z" = "Z"',
        '"X/D" = "X"',
        '"X/Z/D" = "X"',
        '"X/Z/U*" = "U"',
    ]
    lines += ["[attributes]", *(f'{k} = "{v}"' for k, v in attributes.items())]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines))
    return compile_policy(load_profile(str(path)))


def test_the_table_is_whole() -> None:
    rows = read_rows("ps315_2026d.csv")
    assert len(rows) == 657
    counts = Counter(row["basic"] for row in rows)
    assert counts == {
        "X": 417, "D": 93, "U": 55, "Z": 42, "X/D": 23, "X/Z": 11, "X/Z/D": 8, "Z/D": 6, "X/Z/U*": 2
    }  # fmt: skip
    assert sum(bool(row["clean_descriptors"]) for row in rows) == 141
    assert sum(row["retain_longitudinal_modified_dates"] == "C" for row in rows) == 169
    assert len(read_rows("ps315_content_2026d.csv")) == 214


def test_a_second_copy_of_the_table_agrees() -> None:
    second = "dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c"
    other = pytest.importorskip(second, reason="dicom-anonymizer, the second copy, is not installed")
    theirs = {}
    for name, code in (
        ("D_TAGS", "D"), ("Z_TAGS", "Z"), ("X_TAGS", "X"), ("U_TAGS", "U"), ("Z_D_TAGS", "Z/D"), ("X_Z_TAGS", "X/Z"),
        ("X_D_TAGS", "X/D"), ("X_Z_D_TAGS", "X/Z/D"), ("X_Z_U_STAR_TAGS", "X/Z/U*"),
    ):  # fmt: skip
        for tag in getattr(other, name):
            if len(tag) == 2:
                theirs[f"{tag[0]:04X}{tag[1]:04X}"] = code
    ours = {row["tag"]: row["basic"] for row in read_rows("ps315_2026d.csv")}
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 640
    assert {tag for tag in shared if ours[tag] != theirs[tag]} == set()


def test_every_row_of_the_table_is_decided_or_removed() -> None:
    book = policy()
    known = {d.tag: d for d in book.decisions}
    for row in read_rows("ps315_2026d.csv"):
        tag = row["tag"]
        if tag == "PRIVATE" or "x" in tag:
            continue
        found = known.get(int(tag, 16))
        # unknown to the dictionary, or of a group that has no place in a dataset: no rule, hence removed
        assert found is not None or all(int(tag, 16) not in rules for rules in book.by_vr.values())


def test_basic_keeps_nothing_that_the_table_names() -> None:
    book = policy("basic")
    rows = {
        int(r["tag"], 16): r
        for r in read_rows("ps315_2026d.csv")
        if "x" not in r["tag"] and r["tag"] != "PRIVATE"
    }
    allowed = {
        Act.DROP,
        Act.EMPTY,
        Act.DUMMY,
        Act.UID,
        Act.PATIENT_ID,
        Act.PATIENT_NAME,
        Act.MARKER,
        Act.SEQUENCE,
    }
    for found in book.decisions:
        if found.tag in rows:
            assert found.act in allowed, found
            is_sequence = found.act is Act.SEQUENCE
            assert not is_sequence or rows[found.tag]["basic"] == "X/Z/U*"


@pytest.mark.parametrize(
    ("option", "keyword", "act", "without"),
    [
        ("retain_longitudinal_modified_dates", "StudyDate", Act.DATE, Act.EMPTY),
        ("retain_longitudinal_modified_dates", "StudyTime", Act.TIME, Act.EMPTY),
        ("retain_longitudinal_full_dates", "StudyDate", Act.NUMBER, Act.EMPTY),
        ("clean_descriptors", "SeriesDescription", Act.WORDS, Act.DROP),
        ("retain_patient_characteristics", "PatientAge", Act.AGE, Act.DROP),
        ("retain_patient_characteristics", "PatientSex", Act.CODE, Act.EMPTY),
        ("retain_device_identity", "DeviceSerialNumber", Act.PLAIN, Act.DUMMY),
        ("retain_institution_identity", "InstitutionName", Act.PLAIN, Act.DUMMY),
        ("clean_graphics", "GraphicAnnotationSequence", Act.SEQUENCE, Act.DROP),
    ],
)
def test_each_option_changes_what_it_names(
    tmp_path: Path, option: str, keyword: str, act: Act, without: Act
) -> None:
    assert decision(profile_with(tmp_path, option), keyword).act is act
    assert decision(policy("basic"), keyword).act is without


def test_cleaning_goes_before_keeping(tmp_path: Path) -> None:
    # DateOfLastCalibration: Retain Device Identity K, Modified Dates C
    options = ("retain_device_identity", "retain_longitudinal_modified_dates")
    assert decision(profile_with(tmp_path, *options), "DateOfLastCalibration").act is Act.DATE
    assert decision(profile_with(tmp_path, *reversed(options)), "DateOfLastCalibration").act is Act.DATE
    orders = [int(row["order"]) for row in read_rows("options.csv")]
    assert orders == sorted(orders) and len(set(orders)) == 12


def test_the_profiles_own_attributes_go_before_everything(tmp_path: Path) -> None:
    book = profile_with(tmp_path, "clean_descriptors", SeriesDescription="X")
    assert decision(book, "SeriesDescription").act is Act.DROP


def test_a_changed_profile_is_another_version(tmp_path: Path) -> None:
    one, other = profile_with(tmp_path), profile_with(tmp_path, "clean_descriptors")
    assert one.version != other.version
    assert one.version == profile_with(tmp_path).version
    assert policy().version.startswith("research-2026d-") and len(policy().version) <= 59


def test_the_default_deny_covers_every_vr() -> None:
    named = {row["vr"] for row in read_rows("vr.csv")}
    with (RULES / "vr.csv").open() as file:
        assert len(list(csv.reader(file))) == len(named) + 1
    assert {vr.decode() for vr in policy().by_vr} == named
    assert len(named) == 34


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('edition = "2026d"', 'edition = "1999z"'), "rules/ has 2026d"),
        (('"clean_graphics"', '"clean_everything"'), "no option 'clean_everything'"),
        (("languages =", 'safe_private = "all"\nlanguages ='), "lists are standard, tcia"),
        (('by_type = ["X/Z"', 'by_type = ["X/K"'), "no compound codes"),
        (('"clean_graphics"', '"retain_longitudinal_full_dates"'), "exclude each other"),
        (('DeviceUID = "U"', 'DeviceUID = "Q"'), "codes are X, Z, D, C, U, K"),
        (('DeviceUID = "U"', 'DeviceUuid = "U"'), "no DICOM keyword"),
        (("languages =", "langauges ="), "unknown keys"),
        (('name = "research"', "name = "), "not a profile"),
    ],
)
def test_wrong_profiles_say_what_to_mend(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in RESEARCH
    path = tmp_path / "wrong.toml"
    path.write_text(RESEARCH.replace(*change))
    with pytest.raises(ConfigurationError, match=message):
        load_profile(str(path))


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="basic, research"):
        load_profile("nothing-of-this-name")


def test_explain_speaks_of_every_attribute_the_rules_name() -> None:
    sentences = policy().explain()
    told = "\n".join(sentences)
    for row in read_rows("ps315_2026d.csv"):
        tag = row["tag"]
        if tag != "PRIVATE" and "x" not in tag and tag >= "0008":
            assert f"({tag[:4].lower()},{tag[4:].lower()})" in told, tag
    assert all(s.endswith((".", ":")) for s in sentences)
    assert len(sentences) == len(set(sentences))


def test_the_page_equals_the_policy() -> None:
    page = (ROOT / "docs" / "deidentification.md").read_text()
    assert with_block(page, policy()) == page, "run: python -m curation.deid.explain docs/deidentification.md"
    assert "(0010,0010) PatientName" in page


def test_the_readme_of_the_rules_names_every_file() -> None:
    readme = (RULES / "README.md").read_text()
    for path in RULES.iterdir():
        if path.is_file() and path.name != "README.md":
            assert f"`{path.name}`" in readme, path.name


@pytest.mark.skipif(find_spec("presidio_analyzer") is not None, reason="the extra is installed")
def test_a_second_opinion_needs_its_extra_and_says_so_before_any_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text('second_opinion = "presidio"\n' + RESEARCH, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"pip install 'rwid\[presidio\]'"):
        load_profile(str(path))
