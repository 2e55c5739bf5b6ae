"""One study in the making: whose it is, where, when, and how its files start. Shared by all kinds of study.

What belongs here: the modules of PS3.3 that every object of a study has. What does not: modality modules (studies/).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from curation.synth.chance import stream
from curation.synth.dialect import Device, Dialect, Profile
from curation.synth.encoding import set_pixels, to_bytes
from curation.synth.identity import Coiner, Name, Planted, dicom_date, person_name
from curation.synth.people import Person, PlannedStudy
from curation.synth.planting import Oddities, plant_nested, plant_odd, plant_private

Frames = list[np.ndarray]


@dataclass(frozen=True)
class Staff:
    """People who work at a site."""

    readers: tuple[Name, ...]
    referrers: tuple[Name, ...]


@dataclass(frozen=True)
class Case:
    """One study of one person. `number` counts the studies of the site from 0."""

    seed: int
    dialect: Dialect
    profile: Profile
    person: Person
    study: PlannedStudy
    coiner: Coiner
    staff: Staff
    number: int

    @property
    def referrer(self) -> Name:
        """Who asked for the study."""
        return self.staff.referrers[self.number % len(self.staff.referrers)]

    @property
    def reader(self) -> Name:
        """Who reads the study."""
        return self.staff.readers[self.number % len(self.staff.readers)]

    def stream(self, *names: str | int) -> np.random.Generator:
        """Randomness of this study."""
        return stream(self.seed, self.study.uid, *names)

    def anatomy(self) -> np.random.Generator:
        """Randomness of the person's body: the same at every study, at every site."""
        return stream(self.seed, self.person.key, "anatomy")


@dataclass(frozen=True)
class Made:
    """One file made: its numbers, its bytes, what is planted in it. Values lie in the DICOM elements named by `where`."""

    series_number: int
    instance_number: int
    sop_uid: str
    data: bytes
    planted: tuple[Planted, ...]


@dataclass
class Draft:
    """A dataset being filled; what is set through `plant` is remembered for the answer key."""

    ds: Dataset
    planted: list[Planted] = field(default_factory=list)

    def plant(self, keyword: str, kind: str, value: str) -> None:
        """Set an identifying element."""
        setattr(self.ds, keyword, value)
        self.planted.append(Planted(keyword, kind, value))

    def set(self, **values: object) -> None:
        """Set elements that identify nobody."""
        for keyword, value in values.items():
            setattr(self.ds, keyword, value)


def start_series(
    case: Case,
    device: Device,
    *,
    sop_class: str,
    modality: str,
    number: int,
    description: str,
    body_part: str,
) -> Draft:
    """The elements that all objects of a series share, identities planted."""
    draft = Draft(Dataset())
    draft.set(SpecificCharacterSet=case.dialect.character_set, SOPClassUID=sop_class)
    _patient(draft, case)
    _study(draft, case, device)
    _equipment(draft, case, device)
    draft.set(Modality=modality, SeriesNumber=number, SeriesDescription=description, ProtocolName=description)
    if case.dialect.states_body_part:
        draft.set(BodyPartExamined=body_part)
    elif modality == "CR":
        draft.set(BodyPartExamined="")
    draft.plant("SeriesInstanceUID", "uid", f"{case.study.uid}.{number}")
    draft.plant("SeriesDate", "date", dicom_date(case.study.day))
    draft.set(SeriesTime="101523")
    plant_nested(draft.ds, draft.planted, case.coiner, case.study)
    plant_private(
        draft.ds, draft.planted, case.coiner, device.private_creator, person_name(case.person.name, "plain")
    )
    return draft


def _patient(draft: Draft, case: Case) -> None:
    person = case.person
    draft.plant("PatientName", "person_name", person_name(person.name, case.dialect.name_order))
    draft.plant("PatientID", "patient_id", person.patient_id)
    draft.plant("PatientBirthDate", "birth_date", dicom_date(person.birth_date))
    draft.set(PatientSex=person.sex)
    if case.dialect.states_age:
        draft.set(PatientAge=f"{person.age_years(case.study.day):03d}Y")
    draft.plant("PatientAddress", "address", person.address)
    draft.plant("PatientTelephoneNumbers", "phone", person.phone.replace(" ", ""))
    draft.plant("PatientMotherBirthName", "person_name", person_name(person.mother, "plain"))
    draft.plant("PatientComments", "text", f"Ward 4, ask {person.name.given} {case.coiner.canary('pc')}")


def _study(draft: Draft, case: Case, device: Device) -> None:
    draft.plant("StudyInstanceUID", "uid", case.study.uid)
    draft.plant("AccessionNumber", "accession", case.study.accession)
    draft.plant("StudyDate", "date", dicom_date(case.study.day))
    draft.set(StudyTime="101502", StudyID=str(case.number + 1))
    draft.plant("ReferringPhysicianName", "physician_name", person_name(case.referrer, "plain"))
    description = device.description
    if case.number % 5 == 2:
        description = f"{description} Dr. {case.referrer.family}"
        draft.planted.append(Planted("StudyDescription", "physician_name", case.referrer.family))
    draft.set(StudyDescription=description)


def _equipment(draft: Draft, case: Case, device: Device) -> None:
    draft.set(Manufacturer=device.manufacturer, ManufacturerModelName=device.model, SoftwareVersions="4.2.1")
    draft.plant("InstitutionName", "institution", case.dialect.title)
    draft.plant("StationName", "device", device.station)
    serial = f"SN{case.dialect.order}-{device.station}-77"
    draft.plant("DeviceSerialNumber", "device", serial)
    draft.plant("OperatorsName", "physician_name", person_name(case.staff.readers[-1], "plain"))


def finish(
    case: Case,
    device: Device,
    draft: Draft,
    pictures: Iterator[tuple[dict[str, object], Frames]],
    *,
    oddities: Oddities | None = None,
) -> Iterator[Made]:
    """Files of one series: for every picture its own elements, pixels, UID and dates are set, then it is written.

    The one dataset is written again and again with what differs: making a fresh one costs ten times as much.
    """
    ds, number = draft.ds, int(draft.ds.SeriesNumber)
    odd = plant_odd(ds, case.coiner, case.person, device, oddities)
    for instance, (elements, frames) in enumerate(pictures, start=1):
        uid = f"{case.study.uid}.{number}.{instance}"
        ds.SOPInstanceUID = uid
        ds.InstanceNumber = instance
        ds.AcquisitionDate = ds.ContentDate = dicom_date(case.study.day)
        ds.AcquisitionTime = ds.ContentTime = (
            f"{10 + instance // 3600:02d}{instance // 60 % 60:02d}{instance % 60:02d}.25"
        )
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
        _describe_pixels(ds, frames)
        set_pixels(ds, frames, device.transfer_syntax, odd.comment, odd.surplus)
        meta: dict[str, str | bytes] = {"SourceApplicationEntityTitle": f"{device.station}_STORE", **odd.meta}
        own = (
            Planted("SOPInstanceUID", "uid", uid),
            Planted("AcquisitionDate", "date", dicom_date(case.study.day)),
            Planted("meta SourceApplicationEntityTitle", "device", f"{device.station}_STORE"),
        )
        data = to_bytes(ds, device.transfer_syntax, meta, odd.preamble)
        yield Made(number, instance, uid, data, (*draft.planted, *odd.planted, *own))


def _describe_pixels(ds: Dataset, frames: Frames) -> None:
    first = frames[0]
    ds.Rows, ds.Columns = first.shape[:2]
    ds.BitsAllocated = 8 * first.dtype.itemsize
    ds.PixelRepresentation = int(first.dtype.kind == "i")
    ds.SamplesPerPixel = 3 if first.ndim == 3 else 1
    if "BitsStored" not in ds:
        ds.BitsStored = ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
