"""Identity from FHIR resources: who they name, as they were sent.

What belongs here: Patient, RelatedPerson, Practitioner, Organization, Location, Encounter, ServiceRequest, ImagingStudy,
DiagnosticReport, alone or in a Bundle (R4). What does not: HL7 v2 (messages), the text of a report (sources).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curation.deid.identity import Identity

_Resource = Mapping[str, Any]
_PERSONS = ("Patient", "RelatedPerson", "Practitioner", "Person")
_PLACES = ("Organization", "Location", "HealthcareService")
_ORDERS = (
    "ServiceRequest",
    "Encounter",
    "ImagingStudy",
    "DiagnosticReport",
    "Observation",
    "PractitionerRole",
    "Coverage",
)


def identity_of_resources(resources: Iterable[_Resource], site: str) -> Identity:
    """What FHIR resources of one patient say of the person, relatives, staff and places; Bundles are opened."""
    found = _Found()
    for resource in flat(resources):
        found.take(resource)
    return Identity(
        site=site,
        patient_id=found.patient_id,
        issuer="",
        names=tuple(found.names),
        birth_date=found.birth_date.replace("-", ""),
        sex=found.sex,
        accession=found.accession,
        study_uid=found.study_uid,
        other=tuple(found.other),
        patient_name=found.patient_name,
    )


def keys_of_resources(resources: Iterable[_Resource]) -> dict[str, str]:
    """Order number and study UID that the resources state, by the names a table of reports has for them."""
    found = _Found()
    for resource in flat(resources):
        if str(resource.get("resourceType")) in _ORDERS:
            found.take(resource)
    return {"accession": found.accession, "study_instance_uid": found.study_uid}


def flat(resources: Iterable[_Resource]) -> Iterator[_Resource]:
    """Every resource, those inside Bundles and contained ones too."""
    for resource in resources:
        if resource.get("resourceType") == "Bundle":
            yield from flat(r for entry in each(resource, "entry") for r in each(entry, "resource"))
        else:
            yield resource
            yield from flat(each(resource, "contained"))


def each(value: _Resource, key: str) -> Iterator[_Resource]:
    """The objects under a key, one or a list of them; whatever else stands there is passed over."""
    under = value.get(key)
    yield from (v for v in (under if isinstance(under, list) else [under]) if isinstance(v, Mapping))


def _texts(value: _Resource, key: str) -> Iterator[str]:
    """The texts and numbers under a key, one or a list of them."""
    under = value.get(key)
    yield from (
        str(v) for v in (under if isinstance(under, list) else [under]) if v and isinstance(v, str | int)
    )


def _codes(identifier: _Resource) -> set[str]:
    return {
        c for t in each(identifier, "type") for coding in each(t, "coding") for c in _texts(coding, "code")
    }


class _Found:
    """What has been gathered so far."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.other: dict[str, None] = {}
        self.patient_id = self.birth_date = self.sex = self.accession = self.study_uid = self.patient_name = (
            ""
        )

    def take(self, resource: _Resource) -> None:
        """Adds one resource."""
        kind = str(resource.get("resourceType"))
        if kind in _PERSONS:
            self._person(resource, is_patient=kind == "Patient")
        elif kind in _PLACES:
            self._say(resource.get("name"), *_texts(resource, "alias"))
            self._reach(resource)
        elif kind in _ORDERS:
            self._order(resource)

    def _person(self, resource: _Resource, *, is_patient: bool) -> None:
        written = [w for name in each(resource, "name") for w in _written(name)]
        self.names.update(dict.fromkeys(written))
        self._reach(resource)
        numbers = [v for i in each(resource, "identifier") for v in _texts(i, "value")]
        if is_patient:
            self.patient_name = self.patient_name or (written[0] if written else "")
            self.birth_date = self.birth_date or str(resource.get("birthDate", ""))
            self.sex = self.sex or str(resource.get("gender", ""))[:1].upper()
            record = [
                v for i in each(resource, "identifier") if "MR" in _codes(i) for v in _texts(i, "value")
            ]
            self.patient_id = self.patient_id or next(iter(record or numbers), "")
            for contact in each(resource, "contact"):
                self.names.update(dict.fromkeys(w for name in each(contact, "name") for w in _written(name)))
                self._reach(contact)
        self._say(*numbers)

    def _order(self, resource: _Resource) -> None:
        for identifier in each(resource, "identifier"):
            value = next(_texts(identifier, "value"), "")
            if value.startswith("urn:oid:"):
                self.study_uid = self.study_uid or value.removeprefix("urn:oid:")
            elif "ACSN" in _codes(identifier) and not self.accession:
                self.accession = value
            else:
                self._say(value)
        # what a reference shows is a name where it points to a person or place
        for kind, shown in _displays(resource):
            if kind in _PERSONS:
                self.names[shown] = None
            elif kind in _PLACES:
                self._say(shown)
        self._say(resource.get("subscriberId"))

    def _reach(self, resource: _Resource) -> None:
        """Addresses, telephones and mail."""
        for telecom in each(resource, "telecom"):
            self._say(*_texts(telecom, "value"))
        for address in each(resource, "address"):
            for part in ("line", "city", "district", "postalCode", "text"):
                self._say(*_texts(address, part))

    def _say(self, *values: object) -> None:
        self.other.update(dict.fromkeys(str(v) for v in values if v and len(str(v)) > 2))


def _written(name: _Resource) -> Iterator[str]:
    """A HumanName as a DICOM name; its text too, where there is one."""
    family, given = next(_texts(name, "family"), ""), list(_texts(name, "given"))
    prefix = " ".join(_texts(name, "prefix"))
    parts = (family, given[0] if given else "", " ".join(given[1:]), prefix)
    written = "^".join(parts).rstrip("^")
    if written:
        yield written
    yield from _texts(name, "text")


def _displays(value: object) -> Iterator[tuple[str, str]]:
    """(kind of resource, display) of every reference inside a resource."""
    if isinstance(value, Mapping):
        display = value.get("display")
        if isinstance(display, str) and "reference" in value:
            yield str(value.get("type") or str(value["reference"]).split("/")[-2:][0]).split("?")[0], display
        for inner in value.values():
            yield from _displays(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _displays(inner)
