"""One object without the person: identities, dates, UIDs, codes, markers, character sets."""

import json
from datetime import datetime

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import SecondaryCaptureImageStorage, UltrasoundImageStorage

from curation.deid.pseudonyms import dicom_uid
from curation.records import Refused
from tests.curation.deid.objects import SITE, clean, code, ct, pseudonyms, read, to_bytes


def cleaned(name: str = "research", **changes: object) -> Dataset:
    return read(clean(to_bytes(ct(**changes)), name))


def reason(ds: Dataset) -> str:
    with pytest.raises(Refused) as caught:
        clean(to_bytes(ds))
    return caught.value.reason


def days_between(one: str, other: str) -> int:
    return (datetime.strptime(other, "%Y%m%d") - datetime.strptime(one, "%Y%m%d")).days


def test_what_research_needs_stays() -> None:
    ds = cleaned()
    assert ds.Manufacturer == "SIEMENS" and ds.ManufacturerModelName == "Sensation 64"
    assert ds.StudyDescription == "CT Thorax nativ" and ds.SeriesDescription == "Thorax 1.0 B31f"
    assert (ds.PatientSex, ds.PatientAge, ds.PatientWeight) == ("M", "066Y", 82.5)
    assert (
        ds.BodyPartExamined == "CHEST"
        and ds.ConvolutionKernel == "B31f"
        and ds.DeviceSerialNumber == "SN54321"
    )
    assert ds.ImagePositionPatient == [-170.5, -170.5, 1.0] and ds.RescaleIntercept == -1024
    assert ds.ImageType == ["ORIGINAL", "PRIMARY", "AXIAL"] and ds.Rows == 4


def test_basic_removes_descriptions_dates_and_characteristics() -> None:
    ds = cleaned("basic")
    assert "StudyDescription" not in ds and "PatientAge" not in ds and ds.PatientSex == ""
    # SeriesDate (X/D) is Type 3 in a CT image: removed
    assert ds.StudyDate == "" and "SeriesDate" not in ds
    assert "DeviceSerialNumber" not in ds and ds.Manufacturer == "SIEMENS"
    assert ds.LongitudinalTemporalInformationModified == "REMOVED"


def test_the_method_is_written() -> None:
    found = clean(to_bytes(ct()))
    ds = read(found)
    assert ds.PatientIdentityRemoved == "YES"
    assert ds.DeidentificationMethod.startswith("rwid research-2026d-")
    codes = {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113103", "113104", "113105", "113107", "113108", "113109", "113111"}
    assert ds.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "BurnedInAnnotation" not in ds and "RecognizableVisualFeatures" not in ds


def test_ids_are_the_keyed_ones() -> None:
    found = clean(to_bytes(ct()))
    ds = read(found)
    expected = pseudonyms().patient(SITE, "48213377")
    assert found.patient_id == expected and ds.PatientID == str(expected)
    assert (
        ds.SOPInstanceUID
        == dicom_uid(found.instance_id)
        == dicom_uid(pseudonyms().uid("1.2.826.0.1.3680043.8.498.1.1"))
    )
    assert ds.StudyInstanceUID == dicom_uid(found.study_id)
    assert ds.SeriesInstanceUID == dicom_uid(found.series_id)
    assert found.accession_id == pseudonyms().accession(SITE, "ACC47119") and ds.AccessionNumber == ""
    assert clean(to_bytes(ct(AccessionNumber=""))).accession_id is None


def test_uids_are_consistent_across_files_and_items() -> None:
    other = ct(SOPInstanceUID="1.2.826.0.1.3680043.8.498.1.2")
    first, second = cleaned(), read(clean(to_bytes(other)))
    assert first.ReferencedImageSequence[0].ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"


def test_registered_uids_stay_unless_they_name_the_object() -> None:
    talairach = "1.2.840.10008.1.4.1.1"
    ds = cleaned(FrameOfReferenceUID=talairach, SeriesInstanceUID=talairach)
    assert ds.FrameOfReferenceUID == talairach and ds.SeriesInstanceUID != talairach


def test_intervals_survive() -> None:
    found = clean(to_bytes(ct()))
    ds = read(found)
    offset = pseudonyms().offset_days(found.patient_id)
    assert days_between("20190305", ds.StudyDate) == offset == days_between("20190306", ds.SeriesDate)
    assert days_between("19520314", ds.PatientBirthDate) == offset
    assert ds.StudyTime == "101500"
    assert ds.AcquisitionDateTime == ds.StudyDate + "101500.25"


def test_impossible_dates_are_emptied() -> None:
    ds = cleaned(SeriesDate="20191399")
    assert ds.SeriesDate == ""


def test_nobody_appears_older_than_90() -> None:
    ds = cleaned(PatientAge="095Y", PatientBirthDate="19230101")
    assert ds.PatientAge == "090Y"
    assert int(ds.StudyDate[:4]) - int(ds.PatientBirthDate[:4]) == 90
    assert cleaned(PatientAge="089Y").PatientAge == "089Y"
    assert cleaned(PatientAge="99 years").PatientAge == ""


def test_without_a_study_date_there_is_no_birth_date() -> None:
    assert cleaned(StudyDate=None, SeriesDate=None).PatientBirthDate == ""


def test_names_in_any_value_are_found() -> None:
    ds = cleaned(
        SeriesDescription="Thorax for Smithson",
        Manufacturer="Quackenbush Devices",
        StationName="MERCY-CT1",
        ImageType=["ORIGINAL", "PRIMARY", "SMITHSON"],
        SoftwareVersions="id 48213377",
    )
    told = ds.to_json()
    for word in ("mithson", "MITHSON", "uackenbush", "MERCY", "48213377"):
        assert word not in told


def test_a_patient_called_like_a_maker_does_not_rename_the_scanner() -> None:
    ds = cleaned(PatientName="Siemens^Chest")
    assert ds.Manufacturer == "SIEMENS" and ds.BodyPartExamined == "CHEST"


def test_identity_is_harvested_from_items_and_removed_attributes() -> None:
    request = Dataset()
    request.RequestingPhysician, request.RequestedProcedureID = "Pettigrew^Ann", "RP-98001"
    person = Dataset()
    person.PersonAddress, person.PersonTelephoneNumbers = "9 Elm Street", "555-867-5309"
    found = clean(
        to_bytes(
            ct(
                RequestAttributesSequence=Sequence([request]),
                ReferringPhysicianIdentificationSequence=Sequence([person]),
                OtherPatientIDs=["X-1", "Y-2"],
            )
        )
    )
    identity = found.identity
    assert {"Smithson^John^Albert", "Quackenbush^Eva", "Pettigrew^Ann"} <= set(identity.names)
    assert {"RP-98001", "9 Elm Street", "555-867-5309", "X-1", "Y-2", "Mercy Falls Hospital"} <= set(
        identity.other
    )
    assert (identity.patient_id, identity.birth_date, identity.sex) == ("48213377", "19520314", "M")
    assert (identity.accession, identity.site) == ("ACC47119", SITE)
    assert "Smithson" not in repr(identity) and "Smithson" not in repr(found)


def test_actions_name_tags_and_codes_and_no_values() -> None:
    actions = clean(to_bytes(ct())).actions
    assert (
        ("(0010,0010)", "D") in actions
        and ("(0008,0020)", "C") in actions
        and ("(0008,0080)", "X") in actions
    )
    told = json.dumps(actions)
    assert "Smithson" not in told and "48213377" not in told


def test_known_codes_get_the_meaning_of_their_scheme() -> None:
    ds = cleaned(ProcedureCodeSequence=Sequence([code("51185008", "SCT", "Chest of John Smithson")]))
    item = ds.ProcedureCodeSequence[0]
    assert (item.CodeValue, item.CodingSchemeDesignator) == ("51185008", "SCT")
    assert "Smithson" not in item.CodeMeaning and item.CodeMeaning


def test_local_codes_and_codes_that_are_none_are_removed() -> None:
    codes = [
        code("CT-JOHN", "99LOCAL", "Chest"),
        code("Smithson", "SCT", "Chest"),
        code("121311", "DCM", "x"),
    ]
    ds = cleaned(ProcedureCodeSequence=Sequence(codes))
    assert [item.CodeValue for item in ds.ProcedureCodeSequence] == ["121311"]


def test_burned_in_annotation_is_believed_when_it_confesses() -> None:
    for sop_class in (SecondaryCaptureImageStorage, UltrasoundImageStorage):
        data = to_bytes(ct(SOPClassUID=sop_class, BurnedInAnnotation="YES"))
        with pytest.raises(Refused, match="identity_suspected"):
            clean(data, "basic")  # research has its pixels cleaned
    assert cleaned(BurnedInAnnotation="NO").BurnedInAnnotation == "NO"
    assert "BurnedInAnnotation" not in cleaned()


def test_classes_that_are_not_understood_are_withheld() -> None:
    for sop_class in ("1.2.840.10008.5.1.4.1.1.66", "1.3.12.2.1107.5.9.1"):
        assert reason(ct(SOPClassUID=sop_class)) == "unsupported_class"
    assert reason(ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")) == "document"


def test_an_object_without_patient_or_uids_is_refused() -> None:
    assert reason(ct(PatientID="")) == "no_patient"
    assert reason(ct(PatientID=None)) == "no_patient"
    assert reason(ct(SeriesInstanceUID=None)) == "malformed"


def test_text_is_read_in_its_character_set() -> None:
    ds = cleaned(
        SpecificCharacterSet="ISO_IR 192", StudyDescription="Schädel nativ", PatientName="Müller^Jürgen"
    )
    assert ds.StudyDescription == "Schädel nativ"
    found = clean(to_bytes(ct(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen")))
    assert "Müller^Jürgen" in found.identity.names


def test_bytes_that_contradict_the_character_set_are_dropped() -> None:
    data = to_bytes(ct(SpecificCharacterSet="ISO_IR 192", StudyDescription="Schaedel nativ"))
    data = data.replace(b"Schaedel nativ", b"Sch\xe4del nativ ")
    assert read(clean(data)).StudyDescription == ""


def test_a_character_set_outside_the_list_keeps_no_text_of_it() -> None:
    data = to_bytes(ct(StudyDescription="Thorax nativ"))
    data = data.replace(b"ISO_IR 100", b"utf_7     ")
    ds = read(clean(data))
    assert "SpecificCharacterSet" not in ds and ds.StudyDescription == ""


def test_a_second_pass_is_possible_and_claims_the_same() -> None:
    first = clean(to_bytes(ct()))
    again = read(first)
    again.PixelData = ct().PixelData
    again["PixelData"].VR = "OW"
    second = read(clean(to_bytes(again)))
    assert len(second.DeidentificationMethodCodeSequence) == 8
    assert second.SOPInstanceUID != again.SOPInstanceUID


def test_the_order_of_files_does_not_matter() -> None:
    files = [
        to_bytes(ct(SOPInstanceUID=f"1.2.3.{n}", InstanceNumber=n, SliceThickness=n % 3 + 1))
        for n in range(12)
    ]
    forward = [clean(f) for f in files]
    backward = [clean(f) for f in reversed(files)]
    assert forward == backward[::-1]


def test_remembered_stretches_give_what_a_fresh_policy_gives() -> None:
    from curation.deid.header import clean_header
    from curation.deid.policy import compile_policy, load_profile

    for n in range(30):
        # series alternate, so that what is remembered fails and is learned again
        changes = {
            "InstanceNumber": n,
            "SeriesDescription": ["Thorax", "Abdomen 5.0"][n // 3 % 2],
            "KVP": str(80 + n % 4),
        }
        data = to_bytes(ct(SOPInstanceUID=f"1.2.3.{n}", AccessionNumber=f"A{n % 2}00", **changes))
        fresh = clean_header(
            data, compile_policy(load_profile("research")) if n % 10 == 9 else FRESH, pseudonyms(), SITE
        )
        FRESH.persons.clear()
        assert clean(data) == fresh


def _fresh_policy():
    from curation.deid.policy import compile_policy, load_profile

    return compile_policy(load_profile("research"))


FRESH = _fresh_policy()
