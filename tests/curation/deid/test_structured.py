"""Structured reports: every row of Table E.3.4-1 under every option, trees that stay whole, and nobody left in them."""

from dataclasses import replace
from functools import cache

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ComprehensiveSRStorage, CTImageStorage

from curation.deid.header import Clean, clean_header
from curation.deid.policy import Policy, compile_policy, load_profile, read_rows
from curation.deid.pseudonyms import dicom_uid
from curation.records import Refused
from tests.curation.deid.objects import (
    SITE,
    canary_date,
    canary_uid,
    clean,
    code,
    ct,
    policy,
    pseudonyms,
    read,
    to_bytes,
)

ROWS = read_rows("ps315_content_2026d.csv")
OPTIONS = (
    "retain_uids",
    "retain_device_identity",
    "retain_institution_identity",
    "retain_patient_characteristics",
    "retain_longitudinal_full_dates",
    "retain_longitudinal_modified_dates",
    "clean_descriptors",
)
SECRET = "Zq00001canary"


def item(
    value_type: str, relation: str = "CONTAINS", concept: Dataset | None = None, **values: object
) -> Dataset:
    ds = Dataset()
    ds.RelationshipType, ds.ValueType = relation, value_type
    if concept is not None:
        ds.ConceptNameCodeSequence = Sequence([concept])
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def reference(uid: str, sop_class: str = CTImageStorage) -> Sequence:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = sop_class, uid
    return Sequence([ds])


def report(*items: Dataset, **changes: object) -> Dataset:
    """A Comprehensive SR with these items under its root."""
    ds = ct(SOPClassUID=ComprehensiveSRStorage, Modality="SR", **changes)
    for keyword in (
        "PixelData",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "SamplesPerPixel",
    ):
        delattr(ds, keyword)
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    ds.ConceptNameCodeSequence = Sequence([code("126000", "DCM", "Imaging Measurement Report")])
    ds.ContentSequence = Sequence(items)
    return ds


def cleaned(*items: Dataset, name: str = "research") -> Sequence:
    return read(clean(to_bytes(report(*items)), name)).ContentSequence


@cache
def with_options(*options: str) -> Policy:
    profile = load_profile("basic")
    return compile_policy(replace(profile, options=("clean_structured_content", *options)))


def secret(n: int) -> str:
    """A word like no other; no header says it, so an option that keeps text keeps it."""
    return f"zq{n:05d}canary"


def planted(row: dict[str, str], n: int) -> Dataset:
    """A content item of that row's concept and value type, its value unlike any other."""
    kind, word = row["value_type"], secret(n)
    concept = code(row["code"], row["scheme"], f"{word} meaning")
    values: dict[str, object] = {
        "TEXT": {"TextValue": word},
        "PNAME": {"PersonName": word},
        "DATE": {"Date": canary_date(n)},
        "TIME": {"Time": f"235959.{n:06d}"},
        "DATETIME": {"DateTime": canary_date(n) + "235959"},
        "UIDREF": {"UID": canary_uid(n)},
        "NUM": {"MeasuredValueSequence": Sequence([measured("93", "a")])},
        "CODE": {"ConceptCodeSequence": Sequence([code("121025", "DCM", f"{word} value")])},
        "CONTAINER": {"ContinuityOfContent": "SEPARATE"},
    }.get(kind, {"ReferencedSOPSequence": reference(canary_uid(n))})
    return item(kind, concept=concept, **values)


def measured(value: str, unit: str) -> Dataset:
    ds = Dataset()
    ds.NumericValue = value
    ds.MeasurementUnitsCodeSequence = Sequence([code(unit, "UCUM", unit)])
    return ds


def through(rows: tuple[dict[str, str], ...], policy: Policy) -> tuple[Clean, dict[tuple[str, str], Dataset]]:
    """One report with an item of every row, and what is left of it by code and value type."""
    ds = report(*[planted(row, n) for n, row in enumerate(rows)])
    found = clean_header(to_bytes(ds), policy, pseudonyms(), SITE)
    items = read(found).ContentSequence
    return found, {(i.ConceptNameCodeSequence[0].CodeValue, i.ValueType): i for i in items}


def expected(row: dict[str, str], option: str | None) -> str:
    chosen = row.get(option, "") if option else ""
    return chosen or {"X/D": "D"}.get(row["basic"], row["basic"])


def value_of(ds: Dataset) -> str:
    for keyword in ("TextValue", "PersonName", "Date", "Time", "DateTime", "UID"):
        if keyword in ds:
            return str(ds.get(keyword))
    if "ReferencedSOPSequence" in ds:
        return str(ds.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
    if "MeasuredValueSequence" in ds:
        return str(ds.MeasuredValueSequence[0].NumericValue)
    return ds.ConceptCodeSequence[0].CodeValue if "ConceptCodeSequence" in ds else ""


DUMMY = {
    "TEXT": "REMOVED",
    "PNAME": "REMOVED",
    "DATE": "19000101",
    "TIME": "000000",
    "DATETIME": "19000101000000",
}


@pytest.mark.parametrize("option", [None, *OPTIONS])
def test_every_content_item_becomes_what_the_table_says(option: str | None) -> None:
    wrong = []
    found, items = through(ROWS, with_options(*([option] if option else [])))
    told = found.header.lower()
    for n, row in enumerate(ROWS):
        got = items.get((row["code"], row["value_type"]))
        action = expected(row, option)
        original = value_of(planted(row, n))
        if got is None:
            is_right = action == "X"
        elif action == "K":
            shown = "90" if row["value_type"] == "NUM" else original  # an age
            is_right = value_of(got) == shown
        elif action == "C":
            is_right = value_of(got) != "" and (original not in str(got) or row["value_type"] == "TIME")
        else:
            is_right = action == "D" and value_of(got) == DUMMY.get(row["value_type"], keyed(original))
        leaks = action != "K" and secret(n).encode() in told
        if not is_right or leaks:
            wrong.append((row["code"], row["value_type"], action, got and value_of(got)))
    assert len(ROWS) == 214
    assert wrong == []


def keyed(uid: str) -> str:
    return dicom_uid(pseudonyms().uid(uid))


def test_a_date_moves_as_the_headers_dates_do() -> None:
    study = read(clean(to_bytes(ct()))).StudyDate
    moved = cleaned(item("DATE", concept=code("111060", "DCM", "Study Date"), Date="20190305"))[0]
    assert moved.Date == study != "20190305"


def test_text_goes_through_the_text_engine_with_what_the_header_knows() -> None:
    text = "Comparison with the CT of 05.03.2019 of Mr Smithson shows no new nodule in the left lung, Dr. Quackenbush."
    got = cleaned(item("TEXT", concept=code("121071", "DCM", "Finding"), TextValue=text))[0].TextValue
    for secret in ("Smithson", "Quackenbush", "2019"):
        assert secret not in got
    assert "no new nodule in the left lung" in got


def test_short_text_keeps_safe_words_only() -> None:
    finding = code("121071", "DCM", "Finding")
    texts = ["Left lung", "Zimmerling", "Zimmerling left lung", "Anneliese Zimmerling geb Hofstetter"]
    got = [i.TextValue for i in cleaned(*[item("TEXT", concept=finding, TextValue=t) for t in texts])]
    assert got == ["Left lung", "REMOVED", "left lung", "geb"]


def test_names_that_no_header_knows_do_not_pass_in_a_longer_text() -> None:
    text = "Nodule in the right upper lobe. Discussed with Yattholfjorine Quilvornzemine."
    (got,) = cleaned(item("TEXT", concept=code("121071", "DCM", "Finding"), TextValue=text))
    assert got.TextValue.startswith("Nodule in the right upper lobe.") and "Discussed with" in got.TextValue
    assert "Yatt" not in got.TextValue and "Quil" not in got.TextValue


def test_names_in_the_tree_are_looked_for_in_the_header_and_in_other_items() -> None:
    ds = report(
        item(
            "PNAME",
            "HAS OBS CONTEXT",
            code("121008", "DCM", "Person Observer Name"),
            PersonName="Thistlewood^Ada",
        ),
        item("TEXT", "HAS OBS CONTEXT", code("121030", "DCM", "Subject ID"), TextValue="QX-998877"),
        item(
            "TEXT",
            concept=code("121106", "DCM", "Comment"),
            TextValue="Discussed the chest CT with Thistlewood (QX-998877)",
        ),
        SeriesDescription="Chest thistlewood",
    )
    found = clean(to_bytes(ds))
    told = found.header.lower()
    assert b"thistlewood" not in told and b"qx-998877" not in told and b"998877" not in told
    assert "Thistlewood^Ada" in found.identity.names


def test_references_lead_to_the_released_image() -> None:
    image = clean(to_bytes(ct()))
    source = ct().SOPInstanceUID
    got = cleaned(item("IMAGE", ReferencedSOPSequence=reference(source)))[0]
    assert got.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == dicom_uid(image.instance_id)


def test_references_between_items_follow_what_was_removed() -> None:
    gone = item("TEXT", concept=code("121022", "DCM", "Accession Number"), TextValue=SECRET)
    region = item(
        "CODE",
        concept=code("121071", "DCM", "Finding"),
        ConceptCodeSequence=Sequence([code("39607008", "SCT", "Lung")]),
    )
    lost = Dataset()
    lost.RelationshipType, lost.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 1]
    good = Dataset()
    good.RelationshipType, good.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 2]
    container = item("CONTAINER", ContinuityOfContent="SEPARATE", ContentSequence=Sequence([lost, good]))
    items = cleaned(gone, region, container)
    assert [i.ValueType for i in items] == ["CODE", "CONTAINER"]
    assert [
        list(i.ReferencedContentItemIdentifier)
        if hasattr(i.ReferencedContentItemIdentifier, "__len__")
        else i.ReferencedContentItemIdentifier
        for i in items[1].ContentSequence
    ] == [[1, 1]]


def test_coordinates_of_an_image_that_is_gone_go_too() -> None:
    def region(concept: Dataset) -> Dataset:
        image = item("IMAGE", "SELECTED FROM", concept, ReferencedSOPSequence=reference("1.2.3"))
        return item("SCOORD", GraphicType="POINT", GraphicData=[1.0, 2.0], ContentSequence=Sequence([image]))

    kept_one, gone_one = code("121112", "DCM", "Source of Measurement"), code("121342", "DCM", "Dose Image")
    items = cleaned(region(kept_one), region(gone_one))
    assert [i.ValueType for i in items] == ["SCOORD"]
    assert list(items[0].GraphicData) == [1.0, 2.0]


def test_private_concepts_keep_their_place_without_their_words() -> None:
    concept = code(SECRET[:16], "99CANARY", SECRET)
    unit = Dataset()
    unit.NumericValue, unit.MeasurementUnitsCodeSequence = "3", Sequence([code("mm", "UCUM", "millimeter")])
    one, two = cleaned(
        item("NUM", concept=concept, MeasuredValueSequence=Sequence([unit])),
        item("CODE", concept=concept, ConceptCodeSequence=Sequence([concept])),
    )
    name = one.ConceptNameCodeSequence[0]
    assert (name.CodingSchemeDesignator, name.CodeMeaning) == ("99RWID", "Private concept")
    assert name.CodeValue == two.ConceptNameCodeSequence[0].CodeValue
    assert one.MeasuredValueSequence[0].NumericValue == 3
    assert "canary" not in f"{one}{two}".lower()


@pytest.mark.parametrize("name", ["research"])
def test_what_no_content_item_may_hold_is_removed(name: str) -> None:
    ds = item("TEXT", concept=code("121071", "DCM", "Finding"), TextValue="Left lung")
    ds.PatientName, ds.InstitutionName, ds.PersonName = SECRET, SECRET, SECRET
    ds.add_new(0x00091001, "LO", SECRET)
    ds.add_new(0x00090010, "LO", SECRET)
    ds.RelationshipType = SECRET
    found = clean(to_bytes(report(ds)), name)
    assert b"canary" not in found.header.lower()


def test_a_value_type_of_nobodys_making_is_removed() -> None:
    assert "ContentSequence" in read(
        clean(
            to_bytes(
                report(
                    item(
                        "NUM",
                        concept=code("121033", "DCM", "Subject Age"),
                        MeasuredValueSequence=Sequence([measured("44", "a")]),
                    )
                )
            )
        )
    )
    ds = item(SECRET.upper()[:16], concept=code("121071", "DCM", "Finding"), TextValue=SECRET)
    assert b"canary" not in clean(to_bytes(report(ds))).header.lower()


def test_ages_over_89_are_capped() -> None:
    age = code("121033", "DCM", "Subject Age")
    got = cleaned(
        *[
            item("NUM", concept=age, MeasuredValueSequence=Sequence([measured(v, u)]))
            for v, u in (("93", "a"), ("61", "a"), ("1130", "mo"))
        ]
    )
    assert [float(i.MeasuredValueSequence[0].NumericValue) for i in got] == [90, 61, 1080]


def test_without_the_option_a_report_is_withheld() -> None:
    with pytest.raises(Refused, match="unsupported_class"):
        clean(to_bytes(report(item("CONTAINER", ContinuityOfContent="SEPARATE"))), "basic")


def test_broken_trees_are_refused() -> None:
    data = to_bytes(report(item("TEXT", concept=code("121071", "DCM", "Finding"), TextValue="Left lung")))
    at = data.index(b"\x40\x00\x60\xa1UT")
    with pytest.raises(Refused):
        clean(data[: at + 8] + b"\xff\x00\x00\x00" + data[at + 12 :])
    assert policy().profile.name == "research"
