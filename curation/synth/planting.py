"""Identities where nobody looks: nested, private, of another value representation, in padding, preamble, codestreams.

What belongs here: the places; each is one that a real de-identifier was seen to miss. What does not: plain elements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from curation.synth.dialect import Device
from curation.synth.encoding import IMPLICIT, JPEG_BASELINE, NATIVE
from curation.synth.identity import Coiner, Planted, dicom_date, person_name
from curation.synth.people import Person, PlannedStudy


@dataclass(frozen=True)
class Oddities:
    """Which odd places a series uses. `surplus` puts bytes behind the pixels: such an object may well be refused."""

    preamble: bool = True
    wrong_vr: bool = True
    padding: bool = True
    unregistered: bool = True
    overlay: bool = False
    surplus: bool = False


@dataclass
class Odd:
    """What goes outside the dataset, and what was planted."""

    preamble: bytes = b""
    comment: str = ""
    surplus: bytes = b""
    meta: dict[str, str | bytes] = field(default_factory=dict)
    planted: list[Planted] = field(default_factory=list)


def plant_nested(ds: Dataset, planted: list[Planted], coiner: Coiner, study: PlannedStudy) -> None:
    """Identities one to three sequences deep."""
    uid, asked = coiner.uid(99), dicom_date(study.day - timedelta(days=2))
    order, other, meaning = coiner.canary("rq"), coiner.canary("op"), coiner.canary("cm")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-1", "99LOCAL", f"as asked by {meaning}"
    reason = Dataset()
    reason.RequestedProcedureID = order[:16]
    reason.ScheduledProcedureStepStartDate = asked
    reason.ReasonForRequestedProcedureCodeSequence = [code]
    ds.RequestAttributesSequence = [reason]
    referred = Dataset()
    referred.ReferencedSOPClassUID, referred.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", uid
    ds.ReferencedStudySequence = [referred]
    alias = Dataset()
    alias.PatientID, alias.TypeOfPatientID = other, "TEXT"
    ds.OtherPatientIDsSequence = [alias]
    nest = "RequestAttributesSequence[0]"
    planted += [
        Planted(f"{nest}.RequestedProcedureID", "text", order[:16]),
        Planted(f"{nest}.ScheduledProcedureStepStartDate", "date", asked),
        Planted(f"{nest}.ReasonForRequestedProcedureCodeSequence[0].CodeMeaning", "text", meaning),
        Planted("ReferencedStudySequence[0].ReferencedSOPInstanceUID", "uid", uid),
        Planted("OtherPatientIDsSequence[0].PatientID", "patient_id", other),
    ]


def plant_private(ds: Dataset, planted: list[Planted], coiner: Coiner, creator: str, name: str) -> None:
    """A private block: a text, a name, bytes that hide a text, and a private sequence with a text inside."""
    block = ds.private_block(0x0019, creator, create=True)
    text, hidden, deep = coiner.canary("pt"), coiner.canary("pb"), coiner.canary("ps")
    block.add_new(0x20, "LO", text)
    block.add_new(0x21, "PN", name)
    block.add_new(0x22, "OB", b"SV10\4\3\2\1" + hidden.encode() + b"\0\0")
    inner = Dataset()
    inner.private_block(0x0019, creator, create=True).add_new(0x23, "LO", deep)
    block.add_new(0x24, "SQ", [inner])
    planted += [
        Planted("private LO", "text", text),
        Planted("private PN", "person_name", name),
        Planted("private OB", "text", hidden),
        Planted("private SQ", "text", deep),
    ]


def plant_odd(ds: Dataset, coiner: Coiner, person: Person, device: Device, oddities: Oddities | None) -> Odd:
    """The places outside the ordinary, as asked; a JPEG comment wherever the syntax is JPEG."""
    odd = Odd()
    if device.transfer_syntax == JPEG_BASELINE:
        odd.comment = coiner.canary("jc")
        odd.planted.append(Planted("codestream comment", "text", odd.comment))
    if oddities is None:
        return odd
    if oddities.preamble:
        _preamble(odd, coiner)
    if oddities.wrong_vr and device.transfer_syntax != IMPLICIT:
        _wrong_vr(ds, odd, coiner, person)
    if oddities.unregistered:
        _unregistered(ds, odd, coiner)
    if oddities.padding:
        _padding(ds, odd, coiner)
    if oddities.overlay:
        _overlay(ds, odd, coiner)
    if oddities.surplus and device.transfer_syntax in NATIVE:
        text = coiner.canary("sp")
        odd.surplus = text.encode()
        odd.planted.append(Planted("pixel surplus", "text", text))
    return odd


def _preamble(odd: Odd, coiner: Coiner) -> None:
    front, private = coiner.canary("pr"), coiner.canary("mi")
    odd.preamble = b"\0" * 16 + front.encode()
    odd.meta = {
        "PrivateInformationCreatorUID": coiner.uid(98),
        "PrivateInformation": private.encode() + b"\0",
    }
    odd.planted += [Planted("preamble", "text", front), Planted("meta PrivateInformation", "text", private)]


def _wrong_vr(ds: Dataset, odd: Odd, coiner: Coiner, person: Person) -> None:
    """A name where a short text is due, and an id in a comment: legal to read, easy to overlook by VR."""
    value, number = person_name(person.name, "plain").split("=")[0], coiner.canary("wv")
    ds.add(DataElement(0x00102297, "LO", value))  # ResponsiblePerson, PN by the dictionary
    ds.add(DataElement(0x00204000, "UT", number))  # ImageComments, LT by the dictionary
    odd.planted += [
        Planted("ResponsiblePerson as LO", "person_name", value),
        Planted("ImageComments as UT", "text", number),
    ]


def _unregistered(ds: Dataset, odd: Odd, coiner: Coiner) -> None:
    """An element of an even group that the standard does not have."""
    text = coiner.canary("ue")
    ds.add(DataElement(0x0010F0A1, "LO", text))
    odd.planted.append(Planted("unregistered element", "text", text))


def _padding(ds: Dataset, odd: Odd, coiner: Coiner) -> None:
    """Values padded with blanks, and the trailing padding element that ends a dataset."""
    padded, tail = coiner.canary("pd"), coiner.canary("tp")
    ds.AdditionalPatientHistory = f"{padded}          "
    ds.DataSetTrailingPadding = b"\0" * 8 + tail.encode() + b"\0" * (8 + len(tail) % 2)
    odd.planted += [
        Planted("AdditionalPatientHistory padded", "text", padded),
        Planted("DataSetTrailingPadding", "text", tail),
    ]


def _overlay(ds: Dataset, odd: Odd, coiner: Coiner) -> None:
    """An empty graphic overlay whose description and label speak. Rows and Columns must be set."""
    label, words = coiner.canary("ol"), coiner.canary("od")
    rows, columns = int(ds.Rows), int(ds.Columns)
    bits = np.zeros((rows * columns + 7) // 8, np.uint8).tobytes()
    for element, vr, value in (
        (0x0010, "US", rows),
        (0x0011, "US", columns),
        (0x0022, "LO", words),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x1500, "LO", label),
        (0x3000, "OW", bits + b"\0" * (len(bits) % 2)),
    ):
        ds.add(DataElement(0x60000000 + element, vr, value))
    odd.planted += [Planted("OverlayDescription", "text", words), Planted("OverlayLabel", "text", label)]
