"""Which study a report or a table row belongs to: by order number or study UID, in this delivery or an earlier one."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from uuid import UUID

from curation.gather import Gatherer
from curation.restricted import KnownStudy, find_known_studies, merge
from curation.settings import Places
from curation.source import Item
from curation.steps import Linked, TakenDocument

_LINES_WITH_KEYS = 10
_ACCESSION = re.compile(r"^\W*accession(?:\s+(?:number|no\.?|nr\.?))?\s*[:=#]\s*(\S.*?)\s*$", re.IGNORECASE)
_STUDY_UID = re.compile(r"^\W*study\s+instance\s+uid\s*[:=]\s*([0-9.]+)\s*$", re.IGNORECASE)


def link_reports(gatherer: Gatherer, places: Places) -> list[tuple[int, Linked]]:
    """Position and linked report, for every report whose study is known; the others are refused as `unlinked_report`.

    Documents that came inside DICOM objects are reports too; their own header says which study they belong to.
    """
    wanted = [(p, item, _keys(item, gatherer)) for p, item in gatherer.report_items()]
    ids = {key for _, _, keys in wanted for key in keys} | {d.study_id for _, d in gatherer.documents}
    index = _index(gatherer, places, ids)
    linked = []
    for position, item, keys in wanted:
        study = next((index[key] for key in keys if key in index), None)
        if study is None:
            gatherer.refuse(position, "link", "unlinked_report")
        elif gatherer.is_new_report(position):
            linked.append((position, _linked(gatherer, position, item, study)))
    for position, document in gatherer.documents:
        study = index.get(document.study_id)
        if study is None:
            gatherer.refuse(position, "link", "unlinked_report")
        elif gatherer.is_new_report(position):
            linked.append((position, _linked_document(document, study)))
    return linked


def _linked_document(document: TakenDocument, study: KnownStudy) -> Linked:
    identity = merge(study.identity, document.identity)
    return Linked(document.text, {}, document.source_digest, study.study_id, study.patient_id, identity)


def _linked(gatherer: Gatherer, position: int, item: Item, study: KnownStudy) -> Linked:
    digest = gatherer.digest(position)
    return Linked(item.text, item.fields, digest, study.study_id, study.patient_id, study.identity)


def _keys(item: Item, gatherer: Gatherer) -> list[UUID]:
    """Keyed ids under which the study may be known, the surest first."""
    pseudonyms, site = gatherer.context.pseudonyms, gatherer.context.stamp.site
    accessions = [item.fields.get(k, "") for k in ("accession", "accession_number", "accessionnumber")]
    uids = [item.fields.get(k, "") for k in ("study_instance_uid", "studyinstanceuid")]
    if not item.fields and item.text is not None:
        lines = item.text.splitlines()[:_LINES_WITH_KEYS]
        accessions += [m[1] for line in lines if (m := _ACCESSION.match(line))]
        uids += [m[1] for line in lines if (m := _STUDY_UID.match(line))]
        accessions.append(PurePosixPath(item.path.rsplit("!", 1)[-1]).stem)
    keys = [pseudonyms.uid(u.strip()) for u in uids if u.strip()]
    return keys + [pseudonyms.accession(site, a.strip()) for a in accessions if a.strip()]


def _index(gatherer: Gatherer, places: Places, wanted: set[UUID]) -> dict[UUID, KnownStudy]:
    """Known studies by study id and accession id; a person's names from all studies stand in each."""
    studies = {study.study_id: study for study in find_known_studies(places, wanted)}
    studies |= gatherer.studies
    people: dict[UUID, KnownStudy] = {}
    for study in studies.values():
        known = people.get(study.patient_id)
        identity = merge(known.identity, study.identity) if known else study.identity
        people[study.patient_id] = KnownStudy(study.study_id, study.patient_id, None, identity)
    index: dict[UUID, KnownStudy] = {}
    for study in studies.values():
        whole = KnownStudy(
            study.study_id, study.patient_id, study.accession_id, people[study.patient_id].identity
        )
        index[study.study_id] = whole
        if study.accession_id:
            index.setdefault(study.accession_id, whole)
    return index
