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
    for resource in _flat(resources):
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


def _flat(resources: Iterable[_Resource]) -> Iterator[_Resource]:
    for resource in resources:
        if resource.get("resourceType") == "Bundle":
            yield from _flat(e["resource"] for e in resource.get("entry", ()) if "resource" in e)
        else:
            yield resource
            yield from _flat(resource.get("contained", ()))


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
        kind = resource.get("resourceType")
        if kind in _PERSONS:
            self._person(resource, is_patient=kind == "Patient")
        elif kind in _PLACES:
            self._say(resource.get("name"), *resource.get("alias", ()))
            self._reach(resource)
        elif kind in _ORDERS:
            self._order(resource)

    def _person(self, resource: _Resource, *, is_patient: bool) -> None:
        written = [w for name in resource.get("name", ()) for w in _written(name)]
        self.names.update(dict.fromkeys(written))
        self._reach(resource)
        numbers = [str(i["value"]) for i in resource.get("identifier", ()) if i.get("value")]
        if is_patient:
            self.patient_name = self.patient_name or (written[0] if written else "")
            self.birth_date = self.birth_date or str(resource.get("birthDate", ""))
            self.sex = self.sex or str(resource.get("gender", ""))[:1].upper()
            record = [
                str(i["value"])
                for i in resource.get("identifier", ())
                if i.get("value") and any(c.get("code") == "MR" for c in i.get("type", {}).get("coding", ()))
            ]
            self.patient_id = self.patient_id or next(iter(record or numbers), "")
            for contact in resource.get("contact", ()):
                self.names.update(dict.fromkeys(_written(contact.get("name", {}))))
                self._reach(contact)
        self._say(*numbers)

    def _order(self, resource: _Resource) -> None:
        for identifier in resource.get("identifier", ()):
            value = str(identifier.get("value", ""))
            codes = {c.get("code") for c in identifier.get("type", {}).get("coding", ())}
            if value.startswith("urn:oid:"):
                self.study_uid = self.study_uid or value.removeprefix("urn:oid:")
            elif "ACSN" in codes and not self.accession:
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
        for telecom in resource.get("telecom", ()):
            self._say(telecom.get("value"))
        addresses = resource.get("address", ())
        for address in [addresses] if isinstance(addresses, Mapping) else addresses:
            self._say(
                *address.get("line", ()),
                address.get("city"),
                address.get("district"),
                address.get("postalCode"),
            )

    def _say(self, *values: object) -> None:
        self.other.update(dict.fromkeys(str(v) for v in values if v and len(str(v)) > 2))


def _written(name: _Resource) -> Iterator[str]:
    """A HumanName as a DICOM name; its text too, where there is one."""
    family, given = str(name.get("family", "")), [str(g) for g in name.get("given", ())]
    prefix = " ".join(name.get("prefix", ()))
    parts = (family, given[0] if given else "", " ".join(given[1:]), prefix)
    written = "^".join(parts).rstrip("^")
    if written:
        yield written
    if name.get("text"):
        yield str(name["text"])


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
