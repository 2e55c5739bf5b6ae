"""Which study a report, a table row or a message belongs to: by order number or study UID, in any delivery of the site."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from uuid import UUID

from curation.deid.identity import Identity
from curation.deid.messages import identity_of_message
from curation.deid.resources import identity_of_resources
from curation.gather import Gatherer
from curation.restricted import KnownStudy, find_known_studies, merge
from curation.settings import Places
from curation.source import Item
from curation.steps import Linked, TakenDocument

_LINES_WITH_KEYS = 10
_ACCESSION = re.compile(r"^\W*accession(?:\s+(?:number|no\.?|nr\.?))?\s*[:=#]\s*(\S.*?)\s*$", re.IGNORECASE)
_STUDY_UID = re.compile(r"^\W*study\s+instance\s+uid\s*[:=]\s*([0-9.]+)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A report, a table row or a message: by which ids its study may be known, and whom it names. RESTRICTED."""

    position: int
    item: Item
    keys: Sequence[UUID]
    """Keyed ids of the study or order, the surest first."""
    patients: Sequence[UUID]
    """Keyed ids under which a message's patient may be known."""
    said: Identity | None


def link_reports(gatherer: Gatherer, places: Places) -> list[tuple[int, Linked]]:
    """Position and linked report, for every report whose study is known; the others are refused as `unlinked_report`.

    Documents that came inside DICOM objects are reports too; their own header says which study they belong to. What
    messages say of a patient is known for every report of that patient, and is remembered with the patient's studies.
    """
    memo: dict[str, Identity] = {}  # reports of one bundle share what it says
    arrived = [_arrived(position, item, gatherer, memo) for position, item in gatherer.report_items()]
    wanted = {key for a in arrived for key in (*a.keys, *a.patients)}
    index = _Index(gatherer, places, wanted | {d.study_id for _, d in gatherer.documents}, arrived)
    linked = []
    for a in arrived:
        study = index.find(a)
        if study is None:
            gatherer.refuse(a.position, "link", "unlinked_report")
        elif gatherer.is_new_report(a.position):
            linked.append((a.position, _linked(gatherer, a, study)))
    for position, document in gatherer.documents:
        study = index.study(document.study_id)
        if study is None:
            gatherer.refuse(position, "link", "unlinked_report")
        elif gatherer.is_new_report(position):
            linked.append((position, _linked_document(document, study)))
    return linked


def _linked_document(document: TakenDocument, study: KnownStudy) -> Linked:
    identity = merge(study.identity, document.identity)
    return Linked(document.text, {}, document.source_digest, study.study_id, study.patient_id, identity)


def _linked(gatherer: Gatherer, arrived: _Arrived, study: KnownStudy) -> Linked:
    digest, item = gatherer.digest(arrived.position), arrived.item
    return Linked(item.text, item.fields, digest, study.study_id, study.patient_id, study.identity)


def _arrived(position: int, item: Item, gatherer: Gatherer, memo: dict[str, Identity]) -> _Arrived:
    pseudonyms, site = gatherer.context.pseudonyms, gatherer.context.stamp.site
    accessions = [item.fields.get(k, "") for k in ("accession", "accession_number", "accessionnumber")]
    uids = [item.fields.get(k, "") for k in ("study_instance_uid", "studyinstanceuid")]
    if item.message and item.message not in memo:
        memo[item.message] = _said(item.message, site)
    said = memo[item.message] if item.message else None
    if not item.fields and item.text is not None:
        lines = item.text.splitlines()[:_LINES_WITH_KEYS]
        accessions += [m[1] for line in lines if (m := _ACCESSION.match(line))]
        uids += [m[1] for line in lines if (m := _STUDY_UID.match(line))]
        accessions.append(PurePosixPath(item.path.rsplit("!", 1)[-1]).stem)
    keys = [pseudonyms.uid(u.strip()) for u in uids if u.strip()]
    keys += [pseudonyms.accession(site, a.strip()) for a in accessions if a.strip()]
    # modalities often leave the issuer out that a message states
    issuers = dict.fromkeys((said.issuer, "")) if said and said.patient_id else ()
    patients = [pseudonyms.patient(site, said.patient_id, issuer) for issuer in issuers] if said else []
    return _Arrived(position, item, keys, patients, said)


def _said(message: str, site: str) -> Identity:
    if message.lstrip().startswith("MSH"):
        return identity_of_message(message, site)
    return identity_of_resources(json.loads(message), site)


class _Index:
    """Known studies by study, accession and patient id; what is known of a person, from all studies, stands in each."""

    def __init__(
        self, gatherer: Gatherer, places: Places, wanted: set[UUID], arrived: Sequence[_Arrived]
    ) -> None:
        self._studies: dict[UUID, KnownStudy] = {}
        self._by_accession: dict[UUID, UUID] = {}
        self._by_patient: dict[UUID, list[UUID]] = {}
        self._people: dict[UUID, Identity] = {}
        for study in (*gatherer.studies.values(), *find_known_studies(places, wanted)):
            self._add(study)
        told: dict[UUID, None] = {}
        for a in arrived:
            known = self.find(a)
            if known and a.said:
                self._people[known.patient_id] = merge(known.identity, a.said)
                told[known.patient_id] = None
        for study_id in (s for patient_id in told for s in self._by_patient[patient_id]):
            gatherer.hear_of(self._whole(study_id))

    def _add(self, study: KnownStudy) -> None:
        if study.study_id not in self._studies:
            self._studies[study.study_id] = study
            self._by_patient.setdefault(study.patient_id, []).append(study.study_id)
        if study.accession_id:
            self._by_accession.setdefault(study.accession_id, study.study_id)
        person = self._people.get(study.patient_id)
        self._people[study.patient_id] = merge(person, study.identity) if person else study.identity

    def study(self, key: UUID) -> KnownStudy | None:
        """The study of that study or accession id."""
        study_id = key if key in self._studies else self._by_accession.get(key)
        return self._whole(study_id) if study_id else None

    def find(self, arrived: _Arrived) -> KnownStudy | None:
        """The study meant; for a message without a report, any study of its patient will do."""
        study = next((found for key in arrived.keys if (found := self.study(key))), None)
        if study is None and arrived.item.text is None and arrived.said:
            ids = next((s for p in arrived.patients if (s := self._by_patient.get(p))), None)
            return self._whole(ids[0]) if ids else None
        return study

    def _whole(self, study_id: UUID) -> KnownStudy:
        study = self._studies[study_id]
        return replace(study, identity=self._people[study.patient_id])
