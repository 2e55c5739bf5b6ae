"""The second look at one object: every rule has a control that goes red, and a clean object that stays quiet."""

import base64
import io
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from curation.deid.verify import Found, Person, is_ours, look_at_dataset, look_at_text
from curation.deid.verify_forms import compile_identifiers, ordinary, plain
from curation.deid.verify_known import harvest
from tests.curation.deid.objects import clean, ct, pseudonyms, read, to_bytes

RECEIVED = date(2026, 11, 20)


def source() -> Dataset:
    return ct(PatientTelephoneNumbers="+49 30 1234567", PatientAddress="12 Mill Lane\\Springfield")


def second_look(
    spoil: Callable[[Dataset], object] | None = None, original: Dataset | None = None
) -> list[Found]:
    """What is found in the cleaned object after `spoil` put something into it."""
    original = original or source()
    cleaned = clean(to_bytes(original))
    person = Person(harvest(original), pseudonyms().offset_days(cleaned.patient_id), RECEIVED)
    dataset = read(cleaned)
    if spoil:
        spoil(dataset)
        out = io.BytesIO()
        pydicom.dcmwrite(out, dataset, enforce_file_format=False, implicit_vr=False, little_endian=True)
        dataset = pydicom.dcmread(io.BytesIO(out.getvalue()), force=True)
    return look_at_dataset(dataset, person, Counter())


def put(keyword: str, value: object) -> Callable[[Dataset], object]:
    return lambda ds: setattr(ds, keyword, value)


def test_a_cleaned_object_is_quiet() -> None:
    assert second_look() == []


FORMS = {
    "as it is": "Smithson",
    "small": "smithson",
    "with the first name": "Smithson, John",
    "turned round": "John Smithson",
    "initial and surname": "jsmithson",
    "joined": "JohnSmithson",
    "in a longer word": "xxSmithsonxx",
    "split by a delimiter": "Smith^son",
    "letter by letter": "S m i t h s o n",
    "base64": base64.b64encode(b"Smithson^John").decode(),
    "base64 inside": base64.b64encode(b"..Smithson..").decode(),
    "hex": b"Smithson".hex(),
    "percent": "%53mithson",
    "entities": "&#83;mithson",
    "record number": "48213377",
    "record number with separators": "482-133-77",
    "record number with zeros": "000048213377",
    "accession": "acc 47119",
    "telephone": "030/1234567",
    "address": "12 Mill Lane Springfield",
    "town": "Springfield",
}


@pytest.mark.parametrize("form", FORMS)
def test_an_identifier_is_found_however_it_is_written(form: str) -> None:
    found = second_look(put("SeriesDescription", FORMS[form]))
    assert ("(0008,103e)", "identity") in {(f.place, f.rule) for f in found}
    assert FORMS[form] not in repr(found)


def nested(ds: Dataset) -> None:
    inner, outer = Dataset(), Dataset()
    inner.CodeMeaning = "seen by Smithson"
    outer.ConceptNameCodeSequence = Sequence([Dataset(), inner])
    ds.ContentSequence = Sequence([outer])


def test_an_identifier_is_found_in_nested_items_with_its_path() -> None:
    found = second_look(nested)
    assert "(0040,a730)[0].(0040,a043)[1].(0008,0104)" in {f.place for f in found if f.rule == "identity"}


HIDING = {
    "private": (0x00091010, "UN", b"SMITHSON"),
    "wrongly typed": (0x00181030, "UN", b"smithson"),
    "utf-16 in bytes": (0x00091011, "OB", "Smithson".encode("utf-16-le")),
    "big-endian utf-16": (0x00091012, "OB", b"\1\2" + "Smithson".encode("utf-16-be")),
    "other group": (0x00280A02, "LO", "Smithson"),
}


@pytest.mark.parametrize("where", HIDING)
def test_an_identifier_is_found_in_any_element(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", False)
    tag, vr, value = HIDING[where]
    found = second_look(lambda ds: ds.add(DataElement(tag, vr, value)))
    rules = {f.rule for f in found if f.place == f"({tag >> 16:04x},{tag & 0xFFFF:04x})"}
    assert rules == {"identity", "element"}


def test_a_name_that_two_elements_share_is_found() -> None:
    def split(ds: Dataset) -> None:
        ds.SeriesDescription, ds.ManufacturerModelName = "xx smit", "hson 7"

    found = second_look(split)
    assert any(f.form == "split over elements" for f in found)


@pytest.mark.parametrize(
    "name",
    ["Müller^Jörg", "Mueller^Joerg", "MULLER^JORG"],
)
def test_every_spelling_of_an_umlaut_is_the_same_name(name: str) -> None:
    original = ct(PatientName="Müller^Jörg")
    found = second_look(put("SeriesDescription", name.replace("^", " ")), original)
    assert ("identity", "name") in {(f.rule, f.kind) for f in found}


def test_a_name_in_other_letters_is_found_in_latin_ones() -> None:
    known = compile_identifiers(["Яковлев^Пётр"], [], [], [])
    assert {s.kind for s in known.in_text("Iakovlev, P.")} == {"name"}
    assert {s.kind for s in known.in_text("ЯКОВЛЕВ")} == {"name"}


def test_ideographs_are_found() -> None:
    known = compile_identifiers(["Yamada^Tarou=山田^太郎"], [], [], [])
    assert [s.form for s in known.in_bytes("山田 CT".encode())] == ["ideographs"]
    assert [s.form for s in known.in_bytes("山田 CT".encode("shift_jis"))] == ["ideographs"]


CONTROLS = {
    "original date": (put("AcquisitionDate", "20190306"), "(0008,0022)", "date"),
    "original date elsewhere": (put("StudyDate", "20190305"), "(0008,0020)", "date"),
    "wrongly moved date": (put("SeriesDate", "20150101"), "(0008,0021)", "date"),
    "birth date": (put("PatientBirthDate", "19520314"), "(0010,0030)", "date"),
    "birth date in text": (put("SeriesDescription", "born 14 March 1952"), "(0008,103e)", "date"),
    "birth date in German": (put("SeriesDescription", "geb. 14.3.52"), "(0008,103e)", "date"),
    "study date in text": (put("SeriesDescription", "CT 2019-03-05"), "(0008,103e)", "date"),
    "impossible date": (put("ContentDate", "20190231"), "(0008,0023)", "date"),
    "after the window": (put("ContentDate", "20261119"), "(0008,0023)", "date"),
    "original UID": (put("FrameOfReferenceUID", "1.2.826.0.1.3680043.8.498.4"), "(0020,0052)", "uid"),
    "foreign UID": (put("FrameOfReferenceUID", "1.3.6.1.4.1.5962.1"), "(0020,0052)", "uid"),
    "unkeyed 2.25 UID": (put("FrameOfReferenceUID", "2.25.329800735698586629295641978511506172918"), "(0020,0052)", "uid"),
    "UID in text": (put("SeriesDescription", "of 1.2.826.0.1.3680043.8.498.2"), "(0008,103e)", "uid"),
    "private": (lambda ds: ds.add(DataElement(0x00091010, "LO", "x")), "(0009,1010)", "element"),
    "unregistered": (lambda ds: ds.add(DataElement(0x00080FFF, "LO", "x")), "(0008,0fff)", "element"),
    "overlay": (lambda ds: ds.add(DataElement(0x60000022, "LO", "x")), "(6000,0022)", "element"),
    "curve": (lambda ds: ds.add(DataElement(0x50002500, "LO", "x")), "(5000,2500)", "element"),
    "no dummy": (put("InstitutionalDepartmentName", "ward seven"), "(0008,1040)", "element"),
    "staff": (put("OperatorsName", "Nobody^Known"), "(0008,1070)", "element"),
    "removed by the table": (put("InstitutionName", "x"), "(0008,0080)", "element"),
    "emptied by the table": (put("AccessionNumber", "x"), "(0008,0050)", "element"),
    "URL": (put("RetrieveURL", "http://pacs"), "(0008,1190)", "element"),
    "no removal marker": (lambda ds: ds.pop("PatientIdentityRemoved"), "(0012,0062)", "marker"),
    "no method": (lambda ds: ds.pop("DeidentificationMethod"), "(0012,0063)", "marker"),
    "no codes": (lambda ds: ds.pop("DeidentificationMethodCodeSequence"), "(0012,0064)", "marker"),
    "no word of the dates": (lambda ds: ds.pop("LongitudinalTemporalInformationModified"), "(0028,0303)", "marker"),
    "dates said to be kept": (put("LongitudinalTemporalInformationModified", "UNMODIFIED"), "(0028,0303)", "marker"),
    "burned in": (put("BurnedInAnnotation", "YES"), "(0028,0301)", "marker"),
}  # fmt: skip


@pytest.mark.parametrize("what", CONTROLS)
def test_every_rule_goes_red(what: str) -> None:
    spoil, place, rule = CONTROLS[what]
    assert (place, rule) in {(f.place, f.rule) for f in second_look(spoil)}


def test_a_claimed_pixel_pass_must_be_marked() -> None:
    def claim(ds: Dataset) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
            "113101",
            "DCM",
            "Clean Pixel Data Option",
        )
        ds.DeidentificationMethodCodeSequence.append(item)

    assert ("(0028,0301)", "marker") in {(f.place, f.rule) for f in second_look(claim)}


def test_a_private_block_needs_a_declaration() -> None:
    def declare(ds: Dataset, status: str) -> None:
        block = Dataset()
        block.PrivateGroupReference, block.PrivateCreatorReference = 0x0019, "ACME HEADER"
        block.BlockIdentifyingInformationStatus = status
        if status == "MIXED":
            block.NonidentifyingPrivateElements = [0x000C]
        ds.PrivateDataElementCharacteristicsSequence = Sequence([block])

    def spoil(ds: Dataset, status: str) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
            "113111",
            "DCM",
            "Retain Safe Private Option",
        )
        ds.DeidentificationMethodCodeSequence.append(item)
        ds.add(DataElement(0x00190010, "LO", "ACME HEADER"))
        ds.add(DataElement(0x0019100C, "IS", "1000"))
        ds.add(DataElement(0x0019100D, "IS", "7"))
        if status:
            declare(ds, status)

    def faults(status: str) -> set[str]:
        return {f.place for f in second_look(lambda ds: spoil(ds, status)) if f.rule == "element"}

    assert faults("SAFE") == set()
    assert faults("MIXED") == {"(0019,100d)"}
    assert faults("UNSAFE") == faults("") == {"(0019,0010)", "(0019,100c)", "(0019,100d)"}


def test_common_words_raise_no_alarm_and_are_counted() -> None:
    original = ct(PatientName="Chest^Wall", ReferringPhysicianName="Lee^An", PatientID="12")
    cleaned = clean(to_bytes(original))
    person = Person(harvest(original), pseudonyms().offset_days(cleaned.patient_id), RECEIVED)
    assert look_at_dataset(read(cleaned), person, Counter()) == []
    assert look_at_text("Chest wall without lesion, no leeway. 12 mm.", person) == []
    # both names and the record number are too common or too short to be searched for
    assert person.identifiers.n_unknown >= 3


def test_a_short_name_beside_its_other_part_is_found() -> None:
    known = compile_identifiers(["Lee^Zhanwei"], [], [], [])
    assert known.n_unknown == 0
    assert {s.form for s in known.in_text("Lee Zhanwei was seen")} >= {"first and last"}
    assert list(known.in_text("leeward slope")) == []


def test_numbers_are_not_found_in_longer_numbers_or_coordinates() -> None:
    known = compile_identifiers([], ["482133"], [], [])
    for text in ("0.482133", "1482133", "4821334", "48.2133E", "4821.33"):
        assert list(known.in_text(text, is_free=False)) == [], text
    assert list(known.in_text("1482133 and 4821334")) == []
    assert [s.kind for s in known.in_text("no. 482 133")] == ["id"]


def test_a_report_is_looked_at() -> None:
    original = source()
    person = Person(harvest(original), -1000, RECEIVED)
    assert look_at_text("CT thorax of 3 June 2016. No nodule.", person) == []
    text = f"Mr Smithson, born 14/03/1952, MRN 48213377. Compared with {date(2019, 3, 5):%d.%m.%Y}."
    found = look_at_text(text, person)
    assert {(f.rule, f.kind) for f in found} >= {
        ("identity", "name"), ("identity", "id"), ("date", "birth_date"), ("date", "original_date"),
    }  # fmt: skip


def test_a_moved_date_that_falls_on_another_original_raises_no_alarm() -> None:
    first, second = date(2019, 3, 5), date(2019, 3, 6)
    original = ct(StudyDate=f"{first:%Y%m%d}", SeriesDate=f"{second:%Y%m%d}")
    person = Person(harvest(original), -1, RECEIVED)
    assert not person.is_original(second - timedelta(days=1))
    assert Person(harvest(original), None, RECEIVED).is_original(first)


def test_only_keyed_uids_are_ours() -> None:
    assert is_ours(f"2.25.{pseudonyms().uid('1.2.3').int}")
    assert not is_ours("2.25.1")
    assert not is_ours("2.25." + "9" * 38)


def test_plain_letters() -> None:
    assert plain("Größe") == "grosse"
    assert plain("MÜLLER") == plain("Mueller") == plain("Muller")
    assert {"chest", "thorax", "park"} <= ordinary()


def test_a_maker_that_shares_a_word_with_a_name_is_told_and_blocks_nothing() -> None:
    found = {f.is_blocking for f in second_look(put("Manufacturer", "Smithson")) if f.place == "(0008,0070)"}
    assert found == {False}
    found = {
        f.is_blocking for f in second_look(put("Manufacturer", "Smithson John")) if f.place == "(0008,0070)"
    }
    assert True in found  # the whole name is no chance


def test_a_body_part_is_nobodys_name_and_newer_classes_are_the_standards() -> None:
    assert "headneck" in ordinary()
    assert not second_look(put("SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.7"))
    assert second_look(put("ReferencedSOPClassUID", "1.2.840.10009.5.1.4.1.1.66.7"))
