"""What is known of a person before the second look: from the originals, or from the restricted identities. RESTRICTED.

What belongs here: harvesting with pydicom, sorting values by what they look like. What does not: how they are searched for
(verify_forms).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import keyword_for_tag

from curation.deid.verify_dates import day_of, days_in, has_day
from curation.deid.verify_forms import Identifiers, compile_identifiers

if TYPE_CHECKING:
    from curation.deid.header import Identity

IDS = frozenset(
    [
        "PatientID",
        "OtherPatientIDs",
        "AccessionNumber",
        "AdmissionID",
        "ServiceEpisodeID",
        "MedicalRecordLocator",
        "StudyID",
        "RequestedProcedureID",
        "ScheduledProcedureStepID",
        "PerformedProcedureStepID",
        "FillerOrderNumberImagingServiceRequest",
        "PlacerOrderNumberImagingServiceRequest",
        "InsurancePlanIdentification",
        "ClinicalTrialSubjectID",
        "ClinicalTrialSubjectReadingID",
    ]
)
PLACES = frozenset(
    [
        "PatientAddress",
        "ReferringPhysicianAddress",
        "PersonAddress",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "RequestingService",
        "CurrentPatientLocation",
        "PatientInstitutionResidence",
        "ResponsibleOrganization",
        "PatientReligiousPreference",
        "Occupation",
    ]
)
PHONES = frozenset(
    [
        "PatientTelephoneNumbers",
        "PatientTelecomInformation",
        "OrderCallbackPhoneNumber",
        "ReferringPhysicianTelephoneNumbers",
        "PersonTelephoneNumbers",
    ]
)


@dataclass(frozen=True)
class Known:
    """RESTRICTED. What the originals say of one person."""

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    birth_days: frozenset[date] = frozenset()
    days: Mapping[int, frozenset[date]] = field(default_factory=dict)
    """Original days by tag; empty where the originals were not read."""
    uids: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return "Known(restricted)"

    def __or__(self, other: Known) -> Known:
        tags = set(self.days) | set(other.days)
        none: frozenset[date] = frozenset()
        return Known(
            self.names | other.names,
            self.ids | other.ids,
            self.phones | other.phones,
            self.places | other.places,
            self.birth_days | other.birth_days,
            {tag: self.days.get(tag, none) | other.days.get(tag, none) for tag in tags},
            self.uids | other.uids,
        )

    def compiled(self) -> Identifiers:
        """Ready to be searched for."""
        return compile_identifiers(
            sorted(self.names), sorted(self.ids), sorted(self.phones), sorted(self.places)
        )

    @property
    def original_days(self) -> frozenset[date]:
        """All original days, the birth days among them."""
        return self.birth_days.union(*self.days.values())


def known_by_identity(identity: Identity) -> Known:
    """What restricted/identities keeps of a study's headers and messages."""
    names: set[str] = set()
    ids: set[str] = set()
    uids: set[str] = set()
    born: set[date] = set()
    rest: list[str] = []
    for f in dataclasses.fields(identity):
        value = getattr(identity, f.name)
        values = [value] if isinstance(value, str) else [v for v in value or () if isinstance(v, str)]
        if f.name in ("site", "sex", "issuer"):
            continue
        if "name" in f.name:
            names.update(values)
        elif f.name in ("patient_id", "accession"):
            ids.update(values)
        elif f.name.endswith("uid"):
            uids.update(values)
        elif f.name == "birth_date":
            born.update(day for v in values for day in days_in(v))
        else:
            rest += values
    return Known(
        frozenset(names), frozenset(ids), birth_days=frozenset(born), uids=frozenset(uids)
    ) | by_shape(rest)


_PHONE = re.compile(r"\+?[\d\s()/.\-]{7,}")
_UID = re.compile(r"[0-2](?:\.\d+){3,}")


def by_shape(values: Iterable[str]) -> Known:
    """Values of which nobody said what they are: a UID, a day, a telephone number, a number, or words."""
    ids: set[str] = set()
    phones: set[str] = set()
    places: set[str] = set()
    uids: set[str] = set()
    born: set[date] = set()
    for value in values:
        text = value.strip(" \0")
        if _UID.fullmatch(text):
            uids.add(text)
        elif re.fullmatch(r"(?:19|20)\d{6}", text) and (day := day_of(text, "DA")):
            born.add(day)
        elif _PHONE.fullmatch(text):
            phones.add(text)
            ids.add(text)
        elif any(c.isdigit() for c in text) and " " not in text:
            ids.add(text)
        else:
            places.add(text)
    return Known(
        ids=frozenset(ids), phones=frozenset(phones), places=frozenset(places), birth_days=frozenset(born),
        uids=frozenset(uids),
    )  # fmt: skip


def harvest(dataset: Dataset) -> Known:
    """What one original object says, by pydicom: every name, number, address, day and UID, nested ones too."""
    found: dict[str, set[str]] = {k: set() for k in ("names", "ids", "phones", "places", "uids")}
    days: dict[int, set[date]] = {}
    born: set[date] = set()
    for element in dataset.iterall():
        if element.VR in ("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN") or element.value in (None, ""):
            continue
        many = element.value if element.VM > 1 else [element.value]
        values = [str(v).strip(" \0") for v in many]
        keyword = keyword_for_tag(element.tag)
        kind = _kind(keyword, element.VR)
        if kind == "days":
            read = {d for v in values if has_day(v, element.VR) and (d := day_of(v, element.VR))}
            days.setdefault(int(element.tag), set()).update(read)
            if keyword == "PatientBirthDate":
                born |= read
        elif kind:
            found[kind].update(v for v in values if v and (kind != "uids" or v not in UID_dictionary))
    return Known(
        frozenset(found["names"]),
        frozenset(found["ids"]),
        frozenset(found["phones"]),
        frozenset(found["places"]),
        birth_days=frozenset(born),
        days={tag: frozenset(read) for tag, read in days.items()},
        uids=frozenset(found["uids"]),
    )


def _kind(keyword: str, vr: str) -> str:
    if vr == "PN":
        return "names"
    if vr in ("DA", "DT"):
        return "days"
    if vr == "UI":
        return "uids"
    if keyword in IDS:
        return "ids"
    if keyword in PLACES:
        return "places"
    return "phones" if keyword in PHONES else ""
